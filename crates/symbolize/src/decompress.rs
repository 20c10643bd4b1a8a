//! Compressed bytes of hostile files: what comes out, and what it takes to get it out, is bounded.

use std::io::{self, Read};

use flate2::read::ZlibDecoder;
use lzma_rust2::XzReader;

/// What the xz decoder may use. `xz -9`, the most that any tool asks for, needs 65 MiB.
const XZ_MEMORY_KILOBYTES: u32 = 80 << 10;
/// The window of zstd's highest level is 2²⁷ bytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The first `size` bytes of a zlib stream; `is_all` when it has no more.
pub(crate) fn decompress_zlib(compressed: &[u8], size: u64, is_all: bool) -> io::Result<Vec<u8>> {
    read_exactly(ZlibDecoder::new(compressed), size, is_all)
}

/// The first `size` bytes of a zstd stream; `is_all` when it has no more.
pub(crate) fn decompress_zstd(compressed: &[u8], size: u64, is_all: bool) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::Decoder::with_buffer(compressed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_exactly(decoder, size, is_all)
}

/// The bytes of an xz stream, if they are no more than `limit`.
pub(crate) fn decompress_xz(compressed: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let decoder = XzReader::new_mem_limit(compressed, true, XZ_MEMORY_KILOBYTES);
    let mut bytes = Vec::new();
    decoder.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// The stated size is not allocated before that much has come out: a hostile one would cost the memory at once.
fn read_exactly(decoder: impl Read, size: u64, is_all: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = size.saturating_add(u64::from(is_all));
    decoder.take(most).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size {
        Ok(bytes)
    } else {
        Err(io::Error::other(format!(
            "it does not have the {size} bytes it says"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};

    use super::*;

    #[test]
    fn a_stream_is_taken_only_with_the_size_it_states_unless_only_its_start_is_wanted() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&[7; 1000]).unwrap();
        let zlib = encoder.finish().unwrap();
        assert_eq!(decompress_zlib(&zlib, 1000, true).unwrap(), [7; 1000]);
        assert!(decompress_zlib(&zlib, 999, true).is_err());
        assert!(decompress_zlib(&zlib, 1001, true).is_err());
        assert_eq!(decompress_zlib(&zlib, 999, false).unwrap(), [7; 999]);
        assert!(decompress_zlib(&zlib, 1001, false).is_err());
        let zstd = zstd::encode_all(&[7; 1000][..], 3).unwrap();
        assert_eq!(decompress_zstd(&zstd, 1000, true).unwrap(), [7; 1000]);
        assert!(decompress_zstd(&zstd, 999, true).is_err());
        assert_eq!(decompress_zstd(&zstd, 999, false).unwrap(), [7; 999]);
        assert!(decompress_zstd(b"no stream", 999, true).is_err());
    }

    #[test]
    fn a_stream_that_states_a_huge_dictionary_is_refused() {
        // Stream header, then a block header that asks for a dictionary of 4 GiB (property 40).
        let mut stream = vec![
            0xfd, b'7', b'z', b'X', b'Z', 0, 0, 0, 0xff, 0x12, 0xd9, 0x41,
        ];
        let mut header = vec![2, 0, 0x21, 1, 40, 0, 0, 0];
        header.extend(crc32fast::hash(&header).to_le_bytes());
        stream.extend(header);
        stream.extend([1; 64]);
        assert!(decompress_xz(&stream, 1 << 20).is_err());
    }
}
