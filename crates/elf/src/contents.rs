//! What is in a section, decompressed where it is compressed.

use std::borrow::Cow;

use object::elf::{ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};
use object::read::elf::{CompressionHeader as _, SectionHeader as _};
use object::read::{CompressedData, CompressionFormat};

use crate::image::{ENDIAN, Image};

/// A section that claims to be larger than this when decompressed is not believed. The largest known is 300 MB, and a few
/// bytes of a hostile file could claim anything.
const MAX_DECOMPRESSED: u64 = 512 << 20;

/// Nor one that claims to be so many times as large as its compressed bytes: deflate cannot do better than 1032.
const MAX_RATIO: u64 = 1032;

/// Before the bytes of a `.zdebug_` section: `ZLIB`, then the size as a big-endian number of eight bytes
/// (<https://sourceware.org/binutils/docs/as/Overview.html>, `--compress-debug-sections=zlib-gnu`).
const GNU_MAGIC: &[u8; 4] = b"ZLIB";

impl<'data> Image<'data> {
    /// The bytes of the first section of that name, decompressed if they are compressed by zlib or zstd (`SHF_COMPRESSED`).
    ///
    /// `None` without such a section, for one of zeroes, and for one that cannot be decompressed, claims more than
    /// 512 MiB, or more than 1032 times its compressed size.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Cow<'data, [u8]>> {
        let section = self.find_section_header(name)?;
        let Some((header, offset, size)) = section.compression(ENDIAN, self.data).ok()? else {
            let data = section.data(ENDIAN, self.data).ok()?;
            return (!data.is_empty()).then_some(Cow::Borrowed(data));
        };
        let format = match header.ch_type(ENDIAN) {
            ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
            ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
            _ => return None,
        };
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        decompress(format, self.data.get(start..end)?, header.ch_size(ENDIAN))
    }

    /// The call frame information for debuggers: `.debug_frame`, else `.zdebug_frame`, decompressed.
    ///
    /// `None` when there is none; see [`Image::contents`].
    #[must_use]
    pub fn debug_frame(&self) -> Option<Cow<'data, [u8]>> {
        self.contents(".debug_frame").or_else(|| {
            let bytes = self.section(".zdebug_frame")?.data;
            let (size, data) = bytes.strip_prefix(GNU_MAGIC)?.split_first_chunk::<8>()?;
            decompress(CompressionFormat::Zlib, data, u64::from_be_bytes(*size))
        })
    }
}

fn decompress(format: CompressionFormat, data: &[u8], size: u64) -> Option<Cow<'_, [u8]>> {
    let largest = u64::try_from(data.len()).ok()?.checked_mul(MAX_RATIO)?;
    if size == 0 || size > largest.min(MAX_DECOMPRESSED) {
        return None;
    }
    let compressed = CompressedData {
        format,
        data,
        uncompressed_size: size,
    };
    compressed.decompress().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    const SOURCE: &[u8] =
        b"int twice(int x) { return x + x; }\nint main(void) { return twice(0); }\n";

    /// A program with `.debug_frame` linked by the machine's own compiler, with these options.
    fn linked(folder: &Path, name: &str, options: &[&str]) -> Option<Vec<u8>> {
        let source = folder.join("a.c");
        std::fs::File::create(&source)
            .unwrap()
            .write_all(SOURCE)
            .unwrap();
        let program = folder.join(name);
        let status = Command::new("gcc")
            .args(["-g", "-fno-asynchronous-unwind-tables", "-o"])
            .arg(&program)
            .args(options)
            .arg(&source)
            .status();
        status
            .ok()?
            .success()
            .then(|| std::fs::read(program).unwrap())
    }

    #[test]
    fn compressed_sections_have_the_bytes_of_those_that_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let Some(plain) = linked(folder.path(), "plain", &["-gz=none"]) else {
            println!("skipped: no gcc");
            return;
        };
        let plain = Image::parse(&plain).unwrap();
        let expected = plain.debug_frame().unwrap();
        assert_eq!(expected, plain.section(".debug_frame").unwrap().data);
        for how in ["-gz=zlib", "-gz=zlib-gnu", "-gz=zstd"] {
            let Some(bytes) = linked(folder.path(), how, &[how]) else {
                println!("skipped: gcc knows no {how}");
                continue;
            };
            let image = Image::parse(&bytes).unwrap();
            assert_eq!(image.debug_frame(), Some(expected.clone()), "{how}");
        }
    }

    #[test]
    fn claims_that_cannot_be_true_are_not_believed() {
        let zlib = |data, size| decompress(CompressionFormat::Zlib, data, size);
        assert_eq!(zlib(&[0; 8], 8 * MAX_RATIO + 1), None);
        assert_eq!(zlib(&[0; 8], u64::MAX), None);
        assert_eq!(zlib(&[0; 8], 100), None);
        assert_eq!(zlib(&[], 0), None);
    }
}
