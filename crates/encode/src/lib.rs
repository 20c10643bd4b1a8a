//! One file per output format: a profile in, bytes out.
//!
//! [`encode`] turns a [`Profile`] into one [`Format`]; each format is a module of its own with its own `Options`, whose
//! defaults are what the command line gives without flags.
//! [`decode`] reads the formats of [`InputFormat`] back: our own file, and what other profilers write.
//!
//! What it asks of you: a profile whose handles are its own; a dangling one is an error, never a panic.
//! What is read may be hostile: it is bounded, checked, and read as far as it is whole.
//!
//! What it does not do: no I/O, no clock, no environment. The same profile and options give the same bytes.
//!
//! ```
//! use std::path::Path;
//! use viperf_encode::{Format, Options, encode};
//!
//! let profile = viperf_profile::Profile::default();
//! let format = Format::from_path(Path::new("out.folded")).expect("a suffix it knows");
//! let bytes = encode(&profile, format, &Options::default()).expect("a valid profile");
//! assert!(bytes.is_empty(), "no samples, no lines");
//! ```

#![forbid(unsafe_code)]

pub mod firefox;
pub mod folded;
mod format;
#[cfg(test)]
mod golden;
pub mod html;
mod import;
mod input;
pub mod json;
mod json_text;
pub mod perf_script;
pub mod pprof;
pub mod pstats;
#[cfg(test)]
mod sample_profile;
pub mod speedscope;
mod stack_tree;
pub mod svg;
pub mod viperf_file;

use thiserror::Error;
use viperf_profile::{Profile, ProfileError};

pub use format::{Format, FormatError};
pub use import::{Limits, ReadError};
pub use input::{InputFormat, decode, decode_observed};
pub use viperf_file::Decoded;

/// The options of every format; [`encode`] takes the part that its format needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// For [`Format::Firefox`].
    pub firefox: firefox::Options,
    /// For [`Format::Folded`].
    pub folded: folded::Options,
    /// For [`Format::Html`].
    pub html: html::Options,
    /// For [`Format::Pprof`].
    pub pprof: pprof::Options,
    /// For [`Format::Pstats`].
    pub pstats: pstats::Options,
    /// For [`Format::Speedscope`].
    pub speedscope: speedscope::Options,
    /// For [`Format::Svg`].
    pub svg: svg::Options,
    /// For [`Format::Viperf`].
    pub viperf_file: viperf_file::Options,
}

/// Why a profile could not be written.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The profile is not sound.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// One row is larger than a block of the native file may be.
    #[error(
        "a row of {bytes} bytes does not fit in a block of the .viperf file, which holds {limit}: shorten the name"
    )]
    RowTooLarge {
        /// The row's size.
        bytes: usize,
        /// The greatest size of a block.
        limit: usize,
    },
    /// The page's node, frame or thread numbers do not fit in 32 bits.
    #[error(
        "{count} {what} are more than the page can number: record for a shorter time or with a lower rate"
    )]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// The compressor gave up.
    #[error("the profile could not be compressed")]
    Compression(#[from] std::io::Error),
    /// A text could not be written as JSON.
    #[error("the profile could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// The profile in one format, as the bytes of a file.
///
/// # Errors
///
/// [`EncodeError`], when the profile is not sound or too large for the format.
pub fn encode(
    profile: &Profile,
    format: Format,
    options: &Options,
) -> Result<Vec<u8>, EncodeError> {
    match format {
        Format::Html => html::encode(profile, &options.html).map(String::into_bytes),
        Format::Viperf => viperf_file::encode(profile, &options.viperf_file),
        Format::Folded => folded::encode(profile, &options.folded).map(String::into_bytes),
        Format::Svg => svg::encode(profile, &options.svg).map(String::into_bytes),
        Format::Pprof => pprof::encode(profile, &options.pprof),
        Format::Speedscope => speedscope::encode(profile, &options.speedscope),
        Format::Firefox => firefox::encode(profile, &options.firefox),
        Format::Pstats => pstats::encode(profile, &options.pstats),
        Format::Json => json::encode(profile),
    }
}
