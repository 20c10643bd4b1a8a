//! Symbolization against `nm` and `addr2line`, on programs compiled here and on the machine's own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod aliases;
mod compiled;
mod cython;
mod debug_files;
mod generated;
mod hostile;
mod inlined;
mod installed;
mod kernel;
mod lines;
mod oracle;
