//! The demo: two real programs, ten seconds of record, one page.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Interpreter, fixtures};

use crate::{command, python, say, tree};

/// The page, in the project's root; ignored by git.
const PAGE: &str = "viperf-demo.html";

/// A program under the profiler; it is killed when this goes away.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself, which is just as good.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Builds, starts, records, and says where the page is.
///
/// # Errors
/// No supported Python, not root, or a step that fails.
pub(crate) fn run() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "sampling in the kernel needs root: run `sudo make demo`"
    );
    say("demo: building viperf");
    command::run(
        Command::new("cargo")
            .args(["build", "--release", "--package", "viperf"])
            .current_dir(tree::root()),
    )?;
    let interpreters = Interpreter::find_all();
    // The oldest that the site's Django runs on.
    let mut interpreters = interpreters
        .iter()
        .filter(|found| python::has_venv(found) && found.version >= (3, 10, 0));
    let interpreter = interpreters
        .find(|found| found.is_supported())
        .context("no CPython 3.10 or newer is installed")?;
    let python = python::environment(interpreter, None)?;

    let folder = tree::root().join("target/demo");
    std::fs::create_dir_all(&folder)?;
    let database = folder.join("site.sqlite3");
    // A database of an earlier run would already have its users.
    std::fs::remove_file(&database).ok();
    say(&format!(
        "demo: starting a Django site on SQLite and the talk's zlib example ({})",
        interpreter.name()
    ));
    let site = start(
        &python,
        "django_site.py",
        &["--database".as_ref(), database.as_ref()],
    )?;
    let talk = start(&python, "talk.py", &["--size".as_ref(), "1000000".as_ref()])?;
    let processes = format!("{},{}", site.0.id(), talk.0.id());

    say(&format!(
        "demo: viperf record -p {processes} -F 499 -d 10s -o {PAGE}"
    ));
    let page = tree::root().join(PAGE);
    let viperf = tree::root().join("target/release/viperf");
    let arguments = ["record", "-p", &processes, "-F", "499", "-d", "10s", "-o"];
    command::run(Command::new(viperf).args(arguments).arg(&page))?;
    say(&format!("\ndemo: the page is {}", page.display()));
    Ok(())
}

/// Starts a fixture and waits for its first line, which says that it is at work.
fn start(python: &Path, program: &str, arguments: &[&std::ffi::OsStr]) -> Result<Program> {
    let mut child = Command::new(python)
        .arg(fixtures().join(program))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", python.display()))?;
    let output = child.stdout.take().context("the program has no output")?;
    let program_started = Program(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line.contains("ready"), "{program} did not start: {line:?}");
    Ok(program_started)
}
