//! The parts of the file that the loader maps.

use object::LittleEndian;
use object::elf::{PF_W, PF_X, PT_LOAD, PT_TLS, ProgramHeader64};
use object::read::elf::ProgramHeader as _;

use crate::address::{LoadBias, Svma};

/// The page size of x86-64; the kernel and ld.so round the parts they map to it, whatever the
/// alignment stated in the program header.
const PAGE_SIZE: u64 = 4096;

/// One `PT_LOAD` program header: bytes of the file that are mapped together. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadSegment {
    /// Where the segment starts, not rounded to a page.
    pub svma: Svma,
    /// Size in memory; what exceeds `file_size` is zero-filled.
    pub memory_size: u64,
    /// Where its bytes start in the file, not rounded to a page.
    pub file_offset: u64,
    /// How many bytes come from the file.
    pub file_size: u64,
    /// The pages may be executed.
    pub executable: bool,
    /// The pages may be written.
    pub writable: bool,
    /// The alignment the file asks for (up to 2 MiB in practice); zero and one mean none.
    pub align: u64,
}

/// The `PT_TLS` program header: what every thread's copy of the file's thread-local variables
/// needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadLocalSegment {
    /// Where the initial values are in the file's own image.
    pub svma: Svma,
    /// Bytes of one thread's copy.
    pub memory_size: u64,
    /// Alignment of one thread's copy in bytes; zero and one mean none.
    pub align: u64,
}

fn page_start(value: u64) -> u64 {
    value & !(PAGE_SIZE - 1)
}

impl LoadSegment {
    /// The file offset of the first page that the kernel maps for this segment.
    fn first_page(&self) -> u64 {
        page_start(self.file_offset)
    }

    /// Whether the byte at `file_offset` is in one of the pages mapped for this segment.
    fn maps_page_of(&self, file_offset: u64) -> bool {
        self.file_size > 0
            && file_offset >= self.first_page()
            && file_offset < self.file_offset.saturating_add(self.file_size)
    }

    /// How well a mapping that starts at `file_offset` fits: higher is better, `None` not at all.
    ///
    /// Two segments may share a page of the file. Then a mapping that starts with the first page
    /// of a segment most likely is that segment; one that starts inside is what `mprotect` or
    /// RELRO split off. Among equals the executable one wins: it is the one that is sampled.
    fn fit(&self, file_offset: u64) -> Option<(bool, bool)> {
        self.maps_page_of(file_offset)
            .then(|| (self.first_page() == file_offset, self.executable))
    }
}

/// The parts to load, in the order of the program headers.
pub(crate) fn parse_load_segments(
    headers: &[ProgramHeader64<LittleEndian>],
) -> impl Iterator<Item = LoadSegment> {
    let endian = LittleEndian;
    headers
        .iter()
        .filter(move |header| header.p_type(endian) == PT_LOAD)
        .map(move |header| LoadSegment {
            svma: Svma(header.p_vaddr(endian)),
            memory_size: header.p_memsz(endian),
            file_offset: header.p_offset(endian),
            file_size: header.p_filesz(endian),
            executable: header.p_flags(endian).0 & PF_X.0 != 0,
            writable: header.p_flags(endian).0 & PF_W.0 != 0,
            align: header.p_align(endian),
        })
}

/// The first `PT_TLS` header.
pub(crate) fn find_thread_local_segment(
    headers: &[ProgramHeader64<LittleEndian>],
) -> Option<ThreadLocalSegment> {
    let endian = LittleEndian;
    let header = headers
        .iter()
        .find(|header| header.p_type(endian) == PT_TLS)?;
    Some(ThreadLocalSegment {
        svma: Svma(header.p_vaddr(endian)),
        memory_size: header.p_memsz(endian),
        align: header.p_align(endian),
    })
}

/// How far from its stated addresses a file with these segments is mapped, given one of its
/// mappings: its first address and the file offset it starts at, in bytes.
///
/// For callers that keep the segments and not the file; [`crate::Image::load_bias`] is the same
/// and says which segment is meant where two share a page.
///
/// The kernel (`elf_map` in <https://github.com/torvalds/linux/blob/v6.12/fs/binfmt_elf.c>) and
/// ld.so (`_dl_map_object_from_fd` in
/// <https://github.com/bminor/glibc/blob/glibc-2.40/elf/dl-load.c>) map from
/// `page_start(file offset)` to `page_start(SVMA) + load bias`.
#[must_use]
pub fn find_load_bias(
    segments: &[LoadSegment],
    mapping_start: u64,
    mapping_file_offset: u64,
) -> Option<LoadBias> {
    let (_, segment) = segments
        .iter()
        .rev() // max_by_key keeps the last of equals; the first header shall win
        .filter_map(|segment| Some((segment.fit(mapping_file_offset)?, segment)))
        .max_by_key(|(fit, _)| *fit)?;
    let svma = page_start(segment.svma.0)
        .wrapping_add(mapping_file_offset.wrapping_sub(segment.first_page()));
    Some(LoadBias(mapping_start.wrapping_sub(svma)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(file_offset: u64, svma: u64, size: u64, executable: bool) -> LoadSegment {
        LoadSegment {
            svma: Svma(svma),
            memory_size: size,
            file_offset,
            file_size: size,
            executable,
            writable: false,
            align: PAGE_SIZE,
        }
    }

    #[test]
    fn a_mapping_in_the_middle_of_a_segment_has_the_bias_of_the_segment() {
        let segments = [
            segment(0, 0, 0x2_3456, false),
            segment(0x2_3460, 0x2_4460, 0x8000, true),
        ];
        let bias = |start, offset| find_load_bias(&segments, start, offset);
        assert_eq!(bias(0x7f00_0000_0000, 0), Some(LoadBias(0x7f00_0000_0000)));
        assert_eq!(
            bias(0x7f00_0000_1000, 0x1000),
            Some(LoadBias(0x7f00_0000_0000))
        );
        // The shared page 0x23000: the executable segment starts there, one page higher in memory.
        assert_eq!(
            bias(0x7f00_0002_4000, 0x2_3000),
            Some(LoadBias(0x7f00_0000_0000))
        );
        assert_eq!(
            bias(0x7f00_0002_6000, 0x2_5000),
            Some(LoadBias(0x7f00_0000_0000))
        );
        assert_eq!(bias(0x7f00_0000_0000, 0x10_0000), None);
    }

    #[test]
    fn of_two_segments_in_one_page_the_executable_one_is_meant() {
        let segments = [
            segment(0, 0x40_0000, 0x200, false),
            segment(0x200, 0x40_1200, 0x300, true),
            segment(0x500, 0x40_2500, 0x100, false),
        ];
        assert_eq!(
            find_load_bias(&segments, 0x40_1000, 0),
            Some(LoadBias::default())
        );
    }

    #[test]
    fn sizes_at_the_end_of_the_address_space_do_not_overflow() {
        let segments = [segment(u64::MAX - 5, u64::MAX - 5, u64::MAX, true)];
        assert!(find_load_bias(&segments, 0x1000, u64::MAX - 2).is_some());
        assert_eq!(find_load_bias(&segments, 0x1000, 0), None);
    }
}
