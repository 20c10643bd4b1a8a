//! speedscope's own file format, for its page and for its importers. `docs/formats/speedscope.md` says what of a profile is in
//! it.

mod read;
mod write;

pub use read::decode;
pub use write::{Options, encode};

/// Where the format's own schema stands; files are known by it.
const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

/// The file of a kernel function that is in no module.
const KERNEL: &str = "[kernel]";

/// What a kernel module's file begins with.
const MODULE_START: &str = "[kernel:";

#[cfg(test)]
mod tests;
