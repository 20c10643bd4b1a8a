//! Writing to standard output and standard error when whoever reads them may be gone.
//!
//! Rust ignores SIGPIPE and `println!` panics instead; dying of SIGPIPE would be worse, because a
//! closed standard error (`viperf record … 2>&1 | head`) would throw the samples away. So a reader that
//! has gone is no failure.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Failure;

/// Whether only what went wrong is said; set once, from the command line.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on, only what went wrong is said.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether only what went wrong is said.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether the terminal's user has said that it shows another character set than UTF-8.
///
/// Where nothing is said (in most containers), terminals of today show UTF-8.
pub(crate) fn is_ascii_only() -> bool {
    // The first that is set and not empty counts:
    // https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html#tag_08_02
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty());
    locale.is_some_and(|locale| !is_utf8(&locale.to_string_lossy()))
}

/// `de_DE.UTF-8`, `C.utf8@x`.
fn is_utf8(locale: &str) -> bool {
    let charset = locale.split_once('.').map_or("", |(_, charset)| charset);
    let charset = charset.split('@').next().unwrap_or_default();
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

/// Writes text for people to standard output; on a terminal that shows ASCII only, in ASCII.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    match io::stdout().is_terminal() && is_ascii_only() {
        true => print(viperf_report::to_ascii(text).as_bytes()),
        false => print(text.as_bytes()),
    }
}

/// Writes all of `bytes` to standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "standard output cannot be written: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Writes one message for people to standard error.
pub(crate) fn say(message: &str) {
    // Nobody is left to be told that standard error is gone.
    let _ = writeln!(io::stderr().lock(), "viperf: {message}");
}

/// Writes one message on what went well to standard error, unless `--quiet` is given.
pub(crate) fn tell(message: &str) {
    if !is_quiet() {
        say(message);
    }
}

/// Writes the command to type next to standard error, if that is a terminal and `--quiet` is not given.
pub(crate) fn suggest(command: &str) {
    if io::stderr().is_terminal() {
        tell(&format!("next: {command}"));
    }
}

/// The same after a text on standard output, if that is a terminal, too: a line of this kind would tear a pager's page.
pub(crate) fn suggest_below_text(command: &str) {
    if io::stdout().is_terminal() {
        suggest(command);
    }
}

/// Writes text for people to standard error as it is.
pub(crate) fn show(text: &str) {
    // As above.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_say_their_character_set() {
        for locale in ["C.UTF-8", "de_DE.utf8", "de_DE.UTF-8@euro", "en_US.Utf-8"] {
            assert!(is_utf8(locale), "{locale}");
        }
        for locale in [
            "C",
            "POSIX",
            "de_DE",
            "de_DE.ISO-8859-15@euro",
            "ja_JP.eucJP",
        ] {
            assert!(!is_utf8(locale), "{locale}");
        }
    }
}
