//! Reading the file back, as far as it is whole.

use thiserror::Error;
use viperf_profile::{Profile, SourceFile};

use crate::viperf_file::{MAGIC, VERSION, apply, block, message, unnamed};

/// Bounds on what a file may cost its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// How many bytes all blocks may have together once decompressed. Default is 4 GiB.
    pub maximum_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            maximum_bytes: 4 << 30,
        }
    }
}

/// A profile from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What could be read; always valid.
    pub profile: Profile,
    /// What is wrong with the file from some point on, in words; `None` for a whole one.
    pub damage: Option<String>,
}

/// Why nothing can be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The first bytes are not those of a .viperf file.
    #[error("this is not a .viperf file: it does not begin with the bytes of one")]
    NotViperf,
    /// A later viperf wrote it.
    #[error(
        "the file has version {found} of the .viperf format, this viperf reads version {VERSION}: use a newer viperf"
    )]
    UnknownVersion {
        /// The version it has.
        found: u32,
    },
}

/// The profile of a file's bytes, and what is wrong with them.
///
/// Everything up to the first damaged block is kept; blocks of types that this version does not know are skipped.
///
/// # Errors
///
/// [`DecodeError`] when the file is no .viperf file of a version that can be read.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    decode_observed(bytes, limits, &mut |_| {})
}

/// The same; `progress` hears after each block how many bytes are read.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_observed(
    bytes: &[u8],
    limits: &DecodeLimits,
    progress: &mut dyn FnMut(usize),
) -> Result<Decoded, DecodeError> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(DecodeError::NotViperf)?;
    let (version, mut rest) = rest
        .split_first_chunk::<4>()
        .ok_or(DecodeError::NotViperf)?;
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(DecodeError::UnknownVersion { found });
    }
    let mut profile = Profile::default();
    let mut left = |left: usize| progress(bytes.len() - left);
    let damage = read_blocks(&mut profile, &mut rest, limits, &mut left)
        .map_err(|reason| format!("at byte {}: {reason}", bytes.len() - rest.len()));
    let damage = damage.err().map(|reason| {
        let last_ns = profile.samples.last().map_or(0, |sample| sample.time_ns);
        let duration_ns = &mut profile.information.duration_ns;
        // The sample before the cut may be later than what was last said of the recording.
        *duration_ns = last_ns.max(*duration_ns);
        let seconds = *duration_ns as f64 / 1e9;
        let samples = profile.samples.len();
        format!("{reason}; {samples} samples of {seconds:.1} s stand before that")
    });
    Ok(Decoded { profile, damage })
}

/// Reads blocks into `profile` up to the end block; the error is the damage.
fn read_blocks(
    profile: &mut Profile,
    rest: &mut &[u8],
    limits: &DecodeLimits,
    left: &mut dyn FnMut(usize),
) -> Result<(), String> {
    let mut budget = limits.maximum_bytes;
    let mut unnamed = Vec::new();
    let end = read_to_end(profile, rest, (&mut budget, left), &mut unnamed);
    end.map_err(
        |damage| match unnamed::apply(profile, &unnamed, &mut budget) {
            0 => damage,
            count => format!("{damage}; the last {count} samples waited for names"),
        },
    )
}

/// The same without the blocks of samples that waited for names, which are collected in `unnamed`.
fn read_to_end<'b>(
    profile: &mut Profile,
    rest: &mut &'b [u8],
    (budget, left): (&mut u64, &mut dyn FnMut(usize)),
    unnamed: &mut Vec<block::Block<'b>>,
) -> Result<(), String> {
    let mut rows = apply::FileRows::default();
    let mut number = 0_u64;
    while !rest.is_empty() {
        number += 1;
        let mut after = *rest;
        let done = block::split_block(&mut after)
            .and_then(|block| match block.block_type {
                block::UNNAMED_ROWS => {
                    unnamed.push(block);
                    Ok(false)
                }
                _ => read_block(profile, &mut rows, &block, budget),
            })
            .map_err(|reason| format!("block {number} is damaged, {reason}"))?;
        *rest = after;
        left(rest.len());
        if done {
            return if rest.is_empty() {
                Ok(())
            } else {
                Err(format!("{} bytes follow the last block", rest.len()))
            };
        }
    }
    Err("the file ends before its last block: the recording was cut off".into())
}

/// Whether this was the end block.
fn read_block(
    profile: &mut Profile,
    rows: &mut apply::FileRows,
    block: &block::Block<'_>,
    budget: &mut u64,
) -> Result<bool, String> {
    match block.block_type {
        block::INFORMATION => apply::apply_information(profile, block.decode(budget)?),
        block::ROWS => apply::apply_rows(profile, rows, block.decode(budget)?)?,
        block::CHAPTER_ROWS => apply::apply_chapter_rows(profile, rows, block.decode(budget)?)?,
        block::STANDING => apply::apply_standing(profile, block.decode(budget)?),
        block::END => {
            let message: message::End = block.decode(budget)?;
            apply::apply_end(profile, message)?;
            return Ok(true);
        }
        block::SOURCE => {
            let message::Source {
                path,
                text,
                changed_since,
            } = block.decode(budget)?;
            let file = SourceFile {
                text,
                changed_since,
            };
            // What is larger than a profile keeps is left out: lines then stand without their text.
            profile.sources.insert(&path, file);
        }
        // A later version's news, which it allows us to leave out.
        _ => {}
    }
    Ok(false)
}
