//! The native file: everything that was seen, in time order. `docs/formats/viperf.md` describes its bytes.
//!
//! A header, then blocks that stand alone: each says its type and length, carries its own checksum, and holds only table
//! rows and samples that no block before it held.
//! So the file can be appended to while recording ([`Writer`]), and one that was cut off is read as far as it is whole
//! ([`Decoded::damage`]).
//!
//! ```
//! use viperf_encode::viperf_file::{self, DecodeLimits, Options};
//!
//! let profile = viperf_profile::Profile::default();
//! let bytes = viperf_file::encode(&profile, &Options::default()).expect("an empty profile is valid");
//! let decoded = viperf_file::decode(&bytes, &DecodeLimits::default()).expect("its own file");
//! assert_eq!((decoded.profile, decoded.damage), (profile, None));
//! ```

mod apply;
mod block;
mod message;
mod read;
mod rows;
mod unnamed;
mod write;

pub use read::{DecodeError, DecodeLimits, Decoded, decode, decode_observed};
pub use write::{Options, Writer, encode};

/// The first eight bytes of every file. The byte above 127 and the newline show a transfer that took it for text.
pub const MAGIC: [u8; 8] = *b"\x93viperf\n";

/// The version this crate writes and the only one it reads, after the magic as a little-endian `u32`.
///
/// It changes when an old reader would misread a new file; what an old reader may leave out comes as a new block type or
/// a new field instead.
/// Rows that differ only in a field which the reader does not know are one row to it.
pub const VERSION: u32 = 1;

/// The greatest size of a block before compression, in bytes. Readers may refuse more.
pub const MAXIMUM_BLOCK_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests;
