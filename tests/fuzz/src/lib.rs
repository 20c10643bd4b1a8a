//! Damaged and made-up bytes for everything that reads a file or a process.
//!
//! A [`Target`] is one reader: a plain function of bytes, and the good inputs to begin with. [`run`] damages these for
//! as long as it is told to and fails if the reader panics, takes more than a second, or allocates more than its bound.
//! The same seed gives the same inputs, so that a failure comes again; the input is kept in a file, too, which goes to
//! `inputs/NAME/` once the fault is mended and is tried first from then on.
//!
//! What it asks of you: the counting allocator as the program's own, and one run at a time.
//!
//! What it will not do: follow coverage. It needs no other compiler than the stable one; a reader that a mere mutation
//! cannot reach into (checksums, compression) has a target that repairs them first.

#![forbid(unsafe_code)]

mod mutate;
mod run;
pub mod targets;

pub use mutate::Mutator;
pub use run::{Failure, Summary, run};

/// One reader.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is called in messages and folders.
    pub name: &'static str,
    /// Good inputs to begin with; real ones where there are any.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Reads the bytes and asks whatever can be asked of the result.
    pub read: fn(&[u8]),
    /// Bytes that may be allocated at once for an input of so many bytes.
    pub allocation_limit: fn(usize) -> usize,
}
