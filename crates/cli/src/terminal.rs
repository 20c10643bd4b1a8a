//! Writing to standard output and standard error when whoever reads them may be gone.
//!
//! Rust ignores SIGPIPE and `println!` panics instead; dying of SIGPIPE would be worse, because a
//! closed standard error (`viperf record … 2>&1 | head`) would throw the samples away. So a reader that
//! has gone is no failure.

use std::io::{self, Write};

use crate::exit::Failure;

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

/// Writes text for people to standard error as it is.
pub(crate) fn show(text: &str) {
    // As above.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
