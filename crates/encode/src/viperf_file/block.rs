//! One block: a head of twelve bytes, then its payload.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | type, little-endian `u32` |
//! | 4..8 | length of the payload, little-endian `u32` |
//! | 8..12 | CRC-32 (IEEE) of the type, the length and the payload, little-endian `u32` |
//! | 12.. | payload: one zstd frame that holds one protocol buffer message |

use std::io::Read as _;

use prost::Message;

use crate::EncodeError;
use crate::viperf_file::MAXIMUM_BLOCK_BYTES;

pub(super) const INFORMATION: u32 = 1;
pub(super) const ROWS: u32 = 2;
pub(super) const END: u32 = 3;
pub(super) const SOURCE: u32 = 4;
pub(super) const CHAPTER_ROWS: u32 = 6;
pub(super) const STANDING: u32 = 5;
pub(super) const UNNAMED_ROWS: u32 = 7;

const HEAD_BYTES: usize = 12;

/// zstd's window is what decompression allocates before it has seen a byte; 2^24 is the greatest block.
const WINDOW_LOG_LIMIT: u32 = 24;

/// Appends `message` to `file` as one block.
pub(super) fn write_block(
    file: &mut Vec<u8>,
    block_type: u32,
    message: &impl Message,
    level: i32,
) -> Result<(), EncodeError> {
    let bytes = message.encoded_len();
    let too_large = || EncodeError::RowTooLarge {
        bytes,
        limit: MAXIMUM_BLOCK_BYTES,
    };
    if bytes > MAXIMUM_BLOCK_BYTES {
        return Err(too_large());
    }
    let payload = zstd::stream::encode_all(message.encode_to_vec().as_slice(), level)?;
    let length = u32::try_from(payload.len()).ok().ok_or_else(too_large)?;
    file.extend(block_type.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(checksum(block_type, length, &payload).to_le_bytes());
    file.extend(payload);
    Ok(())
}

/// A block whose checksum holds.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) block_type: u32,
    payload: &'a [u8],
}

/// Takes the block at the start of `rest` off it; the error says what is wrong with it.
pub(super) fn split_block<'a>(rest: &mut &'a [u8]) -> Result<Block<'a>, String> {
    let bytes: &'a [u8] = rest;
    let Some((head, after_head)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Err(format!(
            "its head is cut off ({} of {HEAD_BYTES} bytes)",
            bytes.len()
        ));
    };
    let [t0, t1, t2, t3, l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let block_type = u32::from_le_bytes([t0, t1, t2, t3]);
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let Some((payload, after_block)) = after_head.split_at_checked(length as usize) else {
        return Err(format!(
            "it is cut off ({} of {length} bytes)",
            after_head.len()
        ));
    };
    if checksum(block_type, length, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err("its checksum does not match".into());
    }
    *rest = after_block;
    Ok(Block {
        block_type,
        payload,
    })
}

impl Block<'_> {
    /// The message inside, its size before decompression taken off `budget`.
    pub(super) fn decode<M: Message + Default>(&self, budget: &mut u64) -> Result<M, String> {
        let limit = (*budget).min(MAXIMUM_BLOCK_BYTES as u64);
        let mut decoder = zstd::stream::read::Decoder::with_buffer(self.payload)
            .map_err(|error| error.to_string())?;
        decoder
            .window_log_max(WINDOW_LOG_LIMIT)
            .map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        decoder
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("it does not decompress: {error}"))?;
        if bytes.len() as u64 > limit {
            return Err(format!("it is larger than {limit} bytes"));
        }
        *budget -= bytes.len() as u64;
        M::decode(bytes.as_slice()).map_err(|error| format!("it does not decode: {error}"))
    }
}

fn checksum(block_type: u32, length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block_type.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
