//! Reading the file back, as far as it is whole.

use thiserror::Error;
use viperf_profile::Profile;

use crate::viperf_file::{MAGIC, VERSION, apply, block, message};

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
    let rest = bytes.strip_prefix(&MAGIC).ok_or(DecodeError::NotViperf)?;
    let (version, mut rest) = rest
        .split_first_chunk::<4>()
        .ok_or(DecodeError::NotViperf)?;
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(DecodeError::UnknownVersion { found });
    }
    let mut profile = Profile::default();
    let damage = read_blocks(&mut profile, &mut rest, limits)
        .map_err(|reason| format!("at byte {}: {reason}", bytes.len() - rest.len()));
    Ok(Decoded {
        profile,
        damage: damage.err(),
    })
}

/// Reads blocks into `profile` up to the end block; the error is the damage.
fn read_blocks(
    profile: &mut Profile,
    rest: &mut &[u8],
    limits: &DecodeLimits,
) -> Result<(), String> {
    let mut budget = limits.maximum_bytes;
    let mut rows = apply::FileRows::default();
    let mut number = 0_u64;
    while !rest.is_empty() {
        number += 1;
        let mut after = *rest;
        let done = block::split_block(&mut after)
            .and_then(|block| read_block(profile, &mut rows, &block, &mut budget))
            .map_err(|reason| format!("block {number} is damaged, {reason}"))?;
        *rest = after;
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
        block::END => {
            let message: message::End = block.decode(budget)?;
            apply::apply_end(profile, message)?;
            return Ok(true);
        }
        // A later version's news, which it allows us to leave out.
        _ => {}
    }
    Ok(false)
}
