//! Reading only the sections of a file that are wanted: most of many files is debug information.

use object::read::elf::{FileHeader as _, SectionHeader as _};

use crate::image::{ENDIAN, Header, Image};

/// Covers the file header and, in nearly every file, the program headers.
const FIRST_BYTES: u64 = 4096;

/// Wanted sections larger than this together are not believed: the largest library known has 100 MB of unwind information,
/// and a sparse file can claim anything.
const MAX_WANTED_BYTES: u64 = 512 << 20;

/// The bytes of a file of `length` bytes as far as they are wanted; the rest is zeros, which cost no memory.
///
/// Headers are always there, so that [`Image::parse`] takes the result. `wanted` is asked for each section by its
/// name, and is told all names. A file without section headers, or one that is no ELF file, is read whole.
/// `read_at(offset, buffer)` fills the buffer from the file, or says that it cannot.
///
/// `None` when the file cannot be read, more than 512 MiB of it are wanted, or it is larger than what a machine can address.
pub fn read_partially(
    length: usize,
    wanted: impl Fn(&str, &[&str]) -> bool,
    mut read_at: impl FnMut(u64, &mut [u8]) -> bool,
) -> Option<Vec<u8>> {
    // A sparse file can be as large as it likes, and what asks for more zeros than there can be ends the program. Asked for
    // other files, too, this would have the allocator keep their memory, so that zeros would cost some.
    if length as u64 > MAX_WANTED_BYTES {
        let mut room = Vec::<u8>::new();
        room.try_reserve_exact(length).ok()?;
        // An allocation that nobody uses may be left out by the compiler.
        std::hint::black_box(&mut room);
    }
    let mut bytes = vec![0; length];
    let mut read = |bytes: &mut Vec<u8>, offset: u64, size: u64| {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(length);
        let end = usize::try_from(offset.saturating_add(size))
            .unwrap_or(usize::MAX)
            .min(length);
        bytes
            .get_mut(start..end)
            .is_some_and(|part| part.is_empty() || read_at(offset, part))
    };
    read(&mut bytes, 0, FIRST_BYTES).then_some(())?;
    for (offset, size) in header_tables(&bytes) {
        read(&mut bytes, offset, size).then_some(())?;
    }
    let (offset, size) = section_names(&bytes).unwrap_or_default();
    read(&mut bytes, offset, size).then_some(())?;
    let Some(sections) = wanted_sections(&bytes, wanted) else {
        if length as u64 > MAX_WANTED_BYTES {
            return None;
        }
        return read(&mut bytes, 0, u64::MAX).then_some(bytes);
    };
    if sections
        .iter()
        .map(|(_, size)| *size)
        .fold(0, u64::saturating_add)
        > MAX_WANTED_BYTES
    {
        return None;
    }
    for (offset, size) in sections {
        read(&mut bytes, offset, size).then_some(())?;
    }
    Some(bytes)
}

/// Offset and size of the program headers and of the section headers.
fn header_tables(bytes: &[u8]) -> Vec<(u64, u64)> {
    let Ok(header) = Header::parse(bytes) else {
        return Vec::new();
    };
    let table = |offset: u64, entry: u16, count: u16| (offset, u64::from(entry) * u64::from(count));
    vec![
        table(
            header.e_phoff.get(ENDIAN),
            header.e_phentsize(ENDIAN),
            header.e_phnum(ENDIAN),
        ),
        table(
            header.e_shoff.get(ENDIAN),
            header.e_shentsize(ENDIAN),
            header.e_shnum(ENDIAN),
        ),
    ]
}

/// Offset and size of the names of the sections.
fn section_names(bytes: &[u8]) -> Option<(u64, u64)> {
    let header = Header::parse(bytes).ok()?;
    let sections = header.section_headers(ENDIAN, bytes).ok()?;
    let index = header.section_strings_index(ENDIAN, bytes).ok()?;
    sections.get(index.0)?.file_range(ENDIAN)
}

/// Offset and size of the wanted sections; `None` when the file has no sections to choose from.
fn wanted_sections(
    bytes: &[u8],
    wanted: impl Fn(&str, &[&str]) -> bool,
) -> Option<Vec<(u64, u64)>> {
    let image = Image::parse(bytes).ok()?;
    let sections = image.section_files();
    if sections.is_empty() {
        return None;
    }
    let names: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    let found = sections.iter().filter(|(name, _)| wanted(name, &names));
    Some(found.filter_map(|(_, range)| *range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    fn read_from<'file>(
        file: &'file [u8],
        total: &'file mut usize,
    ) -> impl FnMut(u64, &mut [u8]) -> bool + 'file {
        |offset, buffer| {
            *total += buffer.len();
            let start = usize::try_from(offset).unwrap();
            file.get(start..start + buffer.len()).is_some_and(|part| {
                buffer.copy_from_slice(part);
                true
            })
        }
    }

    #[test]
    fn wanted_sections_are_whole_and_the_others_are_not_read() {
        let file = own_program();
        let mut total = 0;
        let wanted = |name: &str, _: &[&str]| name == ".eh_frame";
        let partial = read_partially(file.len(), wanted, read_from(&file, &mut total)).unwrap();
        let (whole, partial) = (
            Image::parse(&file).unwrap(),
            Image::parse(&partial).unwrap(),
        );
        assert_eq!(
            partial.eh_frame().unwrap().data,
            whole.eh_frame().unwrap().data
        );
        assert_eq!(partial.load_segments(), whole.load_segments());
        assert!(
            partial
                .section(".text")
                .unwrap()
                .data
                .iter()
                .all(|byte| *byte == 0)
        );
        assert!(total < file.len() / 2, "{total} of {}", file.len());
    }

    #[test]
    fn what_has_no_sections_is_read_whole() {
        for file in [
            b"#!/bin/sh\nexec true\n".to_vec(),
            Vec::new(),
            own_program()[..4096].to_vec(),
        ] {
            let mut total = 0;
            let read = read_partially(file.len(), |_, _| false, read_from(&file, &mut total));
            assert!(read.is_some_and(|read| read == file));
        }
    }

    #[test]
    fn a_file_that_claims_to_be_larger_than_any_memory_is_none() {
        for length in [usize::MAX, isize::MAX.cast_unsigned(), 1 << 50] {
            assert_eq!(read_partially(length, |_, _| true, |_, _| true), None);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_none() {
        assert_eq!(read_partially(10_000, |_, _| true, |_, _| false), None);
    }
}
