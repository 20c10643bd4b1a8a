//! What can be done with a file that was written, and the command to type for it.

use std::path::Path;

use viperf_encode::Format;

use crate::output::url_path;
use crate::output_format::OutputFormat;
use crate::quantities::show_bytes;
use crate::report::quoted;
use crate::terminal;

/// Tells that `bytes` bytes were written to the file at `path`, and what to do with them.
pub(crate) fn tell_written(format: OutputFormat, path: &Path, bytes: u64) {
    tell_written_as(path, bytes, &opened_by(format, path));
    if let Some(command) = command_for(format, path) {
        terminal::suggest(&command);
    }
}

/// The same for a file of which `what` says what it is.
pub(crate) fn tell_written_as(path: &Path, bytes: u64, what: &str) {
    terminal::tell(&format!(
        "wrote {} ({}); {what}",
        path.display(),
        show_bytes(bytes)
    ));
}

/// `open it in a browser: file:///tmp/cpu.html`.
pub(crate) fn open_in_browser(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_unknown| path.to_path_buf());
    format!("open it in a browser: file://{}", url_path(&absolute))
}

fn opened_by(format: OutputFormat, path: &Path) -> String {
    match format {
        OutputFormat::HTML => open_in_browser(path),
        _ => format.opened_by().to_owned(),
    }
}

/// `None` where the line above says what to open, and no command does it.
fn command_for(format: OutputFormat, path: &Path) -> Option<String> {
    let file = quoted(path);
    Some(match format {
        OutputFormat::Encoded(Format::Viperf) => {
            format!("viperf report {file}, or viperf view {file}")
        }
        OutputFormat::Encoded(Format::Pprof) => format!("go tool pprof -top {file}"),
        OutputFormat::Encoded(Format::Pstats) => format!("python3 -m pstats {file}"),
        OutputFormat::Text => format!("less {file}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_names_the_file_as_it_would_be_typed() {
        let viperf = OutputFormat::Encoded(Format::Viperf);
        assert_eq!(
            command_for(viperf, Path::new("my cpu.viperf")).unwrap(),
            "viperf report 'my cpu.viperf', or viperf view 'my cpu.viperf'"
        );
        assert_eq!(command_for(OutputFormat::HTML, Path::new("a.html")), None);
        assert_eq!(
            opened_by(OutputFormat::HTML, Path::new("/tmp/my page;ü.html")),
            "open it in a browser: file:///tmp/my%20page%3B%C3%BC.html"
        );
    }
}
