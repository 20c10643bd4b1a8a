//! Which format a file is in, and what it holds.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use crate::import::{Limits, ReadError};
use crate::viperf_file::{self, Decoded};
use crate::{folded, perf_script, pprof, speedscope};

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputFormat {
    /// Our own file.
    Viperf,
    /// Folded stacks: ours, those of `stackcollapse-perf.pl`, py-spy's `raw`.
    Folded,
    /// pprof, compressed or not.
    Pprof,
    /// speedscope's own format.
    Speedscope,
    /// What `perf script` prints.
    PerfScript,
}

/// The first two bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How many lines of a text are looked at.
const LINES_LOOKED_AT: usize = 200;

impl InputFormat {
    /// Its name in messages: `viperf`, `folded`, `pprof`, `speedscope`, `perf script`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viperf => "viperf",
            Self::Folded => "folded",
            Self::Pprof => "pprof",
            Self::Speedscope => "speedscope",
            Self::PerfScript => "perf script",
        }
    }

    /// The format of a file's bytes, after decompression; `None` for one that is not read.
    ///
    /// The contents decide, not the name: profiles come with all kinds of names.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&viperf_file::MAGIC) {
            return Some(Self::Viperf);
        }
        let start = bytes.get(..bytes.len().min(1 << 16)).unwrap_or_default();
        if start.trim_ascii_start().starts_with(b"{") {
            // Other tools have JSON of their own.
            let has = |text: &[u8]| start.windows(text.len()).any(|window| window == text);
            let is_speedscope = has(b"speedscope") || has(b"\"shared\"");
            return is_speedscope.then_some(Self::Speedscope);
        }
        if start.contains(&0) || std::str::from_utf8(start).is_err_and(is_inside) {
            return pprof::is_pprof(bytes).then_some(Self::Pprof);
        }
        let text = String::from_utf8_lossy(start);
        if text.lines().any(perf_script::is_event_line) {
            return Some(Self::PerfScript);
        }
        let mut lines = text.lines().take(LINES_LOOKED_AT);
        if lines.any(folded::is_folded_line) {
            return Some(Self::Folded);
        }
        pprof::is_pprof(bytes).then_some(Self::Pprof)
    }
}

/// Whether text stops being UTF-8 before its end, where a character may just be cut.
fn is_inside(error: std::str::Utf8Error) -> bool {
    error.error_len().is_some()
}

/// The profile in a file of any format that is read; of one that is cut off, what is whole.
///
/// # Errors
///
/// [`ReadError`], when nothing can be read from it.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, ReadError> {
    decode_observed(bytes, limits, &mut |_| {})
}

/// The same; of a .viperf file and of folded lines, of which a profile can have very many bytes, `progress` hears how many of
/// `bytes` are read.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_observed(
    bytes: &[u8],
    limits: &Limits,
    progress: &mut dyn FnMut(usize),
) -> Result<Decoded, ReadError> {
    let packed = bytes.len();
    let bytes = decompress(bytes, limits)?;
    let of = bytes.len().max(1);
    // What was compressed is told in proportion.
    let progress =
        &mut |done: usize| progress((done as u128 * packed as u128 / of as u128) as usize);
    match InputFormat::detect(&bytes).ok_or(ReadError::UnknownFormat)? {
        InputFormat::Viperf => {
            let limits = (*limits).into();
            Ok(viperf_file::decode_observed(&bytes, &limits, progress)?)
        }
        InputFormat::Folded => folded::decode_observed(&bytes, limits, progress),
        InputFormat::Pprof => pprof::decode(&bytes, limits),
        InputFormat::Speedscope => speedscope::decode(&bytes, limits),
        InputFormat::PerfScript => perf_script::decode(&bytes, limits),
    }
}

/// The bytes inside gzip; others as they are.
pub(crate) fn decompress<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, ReadError> {
    let limit = limits.maximum_bytes;
    let too_large = || ReadError::TooLarge { limit };
    if !bytes.starts_with(&GZIP) {
        return match bytes.len() as u64 > limit {
            true => Err(too_large()),
            false => Ok(Cow::Borrowed(bytes)),
        };
    }
    let mut whole = Vec::new();
    let decoder = MultiGzDecoder::new(bytes);
    match decoder
        .take(limit.saturating_add(1))
        .read_to_end(&mut whole)
    {
        Ok(_) if whole.len() as u64 > limit => Err(too_large()),
        Ok(_) => Ok(Cow::Owned(whole)),
        Err(source) => Err(ReadError::Compression {
            bytes: whole.len(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
