//! pprof: gzip around one protocol buffer, as `go tool pprof` and many servers read it. `docs/formats/pprof.md` says what of a
//! profile is in it.

mod message;
mod read;
mod write;

pub use read::decode;
pub(crate) use read::is_pprof;
pub use write::{Options, encode};

/// The mapping of what runs in the kernel; a module's is `[kernel:MODULE]`.
const KERNEL: &str = "[kernel]";

/// What a module's mapping begins with.
const MODULE_START: &str = "[kernel:";

#[cfg(test)]
mod tests;
