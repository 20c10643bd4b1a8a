//! `viperf view`: profiles as a web page, served on loopback.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use viperf_serve::{Choice, FileContent, Server};

use crate::arguments::ShapeArguments;
use crate::convert::read_with_damage;
use crate::exit::{ExitStatus, Failure};
use crate::output::encode_options;
use crate::report::quoted;
use crate::sources::SourceArguments;
use crate::terminal;

pub(crate) const VIEW_EXAMPLES: &str = "\
Examples:
  viperf view cpu.viperf                    prints an address; open it in a browser
  viperf view cpu.viperf --open             opens the browser, too
  viperf view monday.viperf tuesday.viperf  both as one, one of them, or what changed: chosen in the page
  viperf view --diff old.viperf new.viperf  begins with what changed
  viperf view cpu.viperf --source-root .    with the text of the sources in this folder
  viperf view profile.pb.gz                 profiles of other tools: pprof, speedscope, folded, perf script
  ssh -L 8000:127.0.0.1:8000 HOST viperf view --port 8000 cpu.viperf
                                            from another machine: the address then works here
";

pub(crate) const VIEW_NOTES: &str = "\
The page is served on 127.0.0.1, to whoever has the whole address. A file that changes is read again
and the page follows. Ctrl-C ends it.

Exit codes: 0 ended by Ctrl-C, 1 viperf failed (a file cannot be read, the port is taken), 2 wrong usage.
";

/// `viperf view`.
#[derive(Debug, Args)]
pub(crate) struct ViewArguments {
    /// Profiles: .viperf, folded stacks, pprof, speedscope, or what `perf script` printed
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Listen on this port [default: one that is free]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// Begin with what changed from the first file to the second
    #[arg(long)]
    diff: bool,

    /// Open a browser, too
    #[arg(long)]
    open: bool,

    #[command(flatten)]
    shape: ShapeArguments,

    #[command(flatten)]
    sources: SourceArguments,
}

/// Serves until Ctrl-C.
pub(crate) fn run(arguments: ViewArguments) -> Result<ExitStatus, Failure> {
    let ViewArguments {
        files,
        port,
        diff,
        open,
        shape,
        sources,
    } = arguments;
    let opening = match (diff, files.len()) {
        (false, _) => Choice::All,
        (true, 2..) => Choice::Changes { base: 0, new: 1 },
        (true, _) => {
            return Err(Failure::wrong_usage(
                "--diff compares two files: name both, the older one first".to_owned(),
            ));
        }
    };
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::failed(format!("signals cannot be caught: {error}")))?;
    sources.check()?;
    let read = move |path: &Path| {
        let (mut profile, damage) = read_with_damage(path)?;
        if !sources.is_empty() {
            let added = sources.add_to(&mut profile);
            added.map_err(|failure| failure.message().to_owned())?;
        }
        Ok((profile, damage))
    };
    let next = files
        .first()
        .map(|file| format!("viperf report {}", quoted(file)));
    let content = FileContent::new(files, opening, encode_options(shape).html, Box::new(read));
    content.read().map_err(Failure::failed)?;
    let server = Server::start(port, Arc::new(content))
        .map_err(|error| Failure::failed(error.to_string()))?;
    announce(server.address(), open);
    terminal::tell("Ctrl-C ends it");
    signals.forever().next();
    if let Some(next) = next {
        terminal::suggest(&next);
    }
    Ok(ExitStatus::DONE)
}

/// Tells the address, and opens a browser if that is wanted.
pub(crate) fn announce(address: &str, open: bool) {
    terminal::say(&format!("open {address}"));
    if !open {
        return;
    }
    let browser = Command::new("xdg-open")
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match browser {
        // It hands the address on and ends; whoever it is waited for here is none of our business.
        Ok(mut browser) => drop(std::thread::spawn(move || browser.wait())),
        Err(error) => terminal::say(&format!(
            "no browser could be opened (xdg-open: {error}): open the address yourself"
        )),
    }
}
