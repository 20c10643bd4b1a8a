//! ELF files, call frame information, and code without any.

use std::fs;
use std::path::{Path, PathBuf};

use viperf_elf::{Image, Svma, read_partially};
use viperf_unwind::{
    Row, RowTable, Rule, analyse_code, build_rows, build_rows_of_debug_frame, build_rows_of_image,
    find_code_to_analyse, find_moved_parts, is_wanted_for_rows,
};

use crate::Target;

/// Where libraries are.
const FOLDERS: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
];

/// Small files are read often.
const LARGEST_SEED: u64 = 40 * 1024;
const MOST_SEEDS: usize = 12;

/// What a compressed section may become, and what a table costs: 1032 bytes for each.
const DECOMPRESSED: usize = 1100;

/// ELF files: everything there is to ask of them.
#[must_use]
pub fn elf() -> Target {
    Target {
        name: "elf",
        seeds: small_libraries,
        read: |bytes| {
            let Ok(image) = Image::parse(bytes) else {
                return;
            };
            let mut answers = image.symbols().count() + image.functions().count();
            answers += image.symbol_table_files().len();
            for segment in image.load_segments() {
                answers += usize::from(image.load_bias(0x1000, segment.file_offset).is_some());
                answers += image.bytes_at(segment.svma, 4096).map_or(0, <[u8]>::len);
                answers += usize::from(image.file_offset(segment.svma).is_some());
            }
            answers += image.build_id().map_or(0, <[u8]>::len);
            answers += image.eh_frame().map_or(0, |section| section.data.len());
            answers += image.debug_frame().map_or(0, |data| data.len());
            answers += usize::from(image.symbol("main").is_some());
            answers += usize::from(image.entry().is_some());
            answers += usize::from(image.thread_local_segment().is_some());
            std::hint::black_box(answers);
        },
        allocation_limit: |length| length * DECOMPRESSED + (1 << 16),
    }
}

/// ELF files of which only some sections are read.
#[must_use]
pub fn partial_elf() -> Target {
    Target {
        name: "partial-elf",
        seeds: small_libraries,
        read: |bytes| {
            let read_at = |offset: u64, buffer: &mut [u8]| {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = bytes.get(start..).and_then(|rest| rest.get(..buffer.len()));
                part.map(|part| buffer.copy_from_slice(part)).is_some()
            };
            let wanted = |name: &str, _: &[&str]| is_wanted_for_rows(name);
            let read = read_partially(bytes.len(), wanted, read_at);
            if let Some(image) = read.as_deref().and_then(|read| Image::parse(read).ok()) {
                std::hint::black_box(image.eh_frame());
            }
        },
        allocation_limit: |length| length * 64 + (1 << 16),
    }
}

/// `.eh_frame` sections.
#[must_use]
pub fn eh_frame() -> Target {
    Target {
        name: "eh-frame",
        seeds: || sections(|image| Some(image.eh_frame()?.data.to_vec())),
        read: |bytes| {
            if let Ok(table) = build_rows(bytes, Svma(0x10_0000)) {
                check(&table);
            }
        },
        allocation_limit: row_limit,
    }
}

/// `.debug_frame` sections; made of `.eh_frame`, from which they differ in one number.
#[must_use]
pub fn debug_frame() -> Target {
    Target {
        name: "debug-frame",
        seeds: || sections(|image| Some(as_debug_frame(image.eh_frame()?.data))),
        read: |bytes| {
            let everywhere = 0..u64::from(u32::MAX);
            if let Ok(table) = build_rows_of_debug_frame(bytes, &[everywhere]) {
                check(&table);
            }
        },
        allocation_limit: row_limit,
    }
}

/// Whole files, to rows and to the code that has none.
#[must_use]
pub fn rows_of_file() -> Target {
    Target {
        name: "rows-of-file",
        seeds: small_libraries,
        read: |bytes| {
            let Ok(image) = Image::parse(bytes) else {
                return;
            };
            let _ = find_moved_parts(&image);
            let mut table = build_rows_of_image(&image).unwrap_or_default();
            check(&table);
            for (offset, size) in find_code_to_analyse(&image, &table) {
                std::hint::black_box((offset, size));
            }
            analyse_code(&image, &mut table);
            check(&table);
        },
        // Of the analysis, which looks at each byte that a segment claims and the file has, once for each segment.
        allocation_limit: |length| length * DECOMPRESSED + (64 << 20),
    }
}

/// Code that nothing is said of.
#[must_use]
pub fn code() -> Target {
    Target {
        name: "code",
        seeds: || {
            let code = sections(|image| Some(image.section(".text")?.data.to_vec()));
            code.into_iter().filter(|code| !code.is_empty()).collect()
        },
        read: |bytes| {
            let file = file_of_code(bytes);
            let image = Image::parse(&file).expect("the header is ours");
            let mut table = RowTable::default();
            analyse_code(&image, &mut table);
            check(&table);
        },
        allocation_limit: |length| length * 512 + (4 << 20),
    }
}

/// Eight bytes a row, of which an instruction of two bytes can make one, twice while the table grows.
fn row_limit(length: usize) -> usize {
    length * 64 + (1 << 18)
}

/// The promises of the table's type.
fn check(table: &RowTable) {
    let in_order = |pair: &[Row]| match pair {
        [row, next] => row.pc < next.pc && row.rule != next.rule,
        _ => false,
    };
    assert!(
        table.rows.windows(2).all(in_order),
        "the rows are not in order"
    );
    let unsupported = table.rows.iter().filter(|row| row.rule.is_unsupported());
    assert_eq!(unsupported.count(), table.unsupported_rows);
    let first = table.rows.first();
    assert!(first.is_none_or(|row| row.rule != Rule::NONE));
}

pub(super) fn small_libraries() -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = FOLDERS
        .iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten())
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_small_library(path))
        .collect();
    paths.sort();
    let step = (paths.len() / MOST_SEEDS).max(1);
    let chosen = paths.iter().step_by(step).take(MOST_SEEDS);
    chosen.filter_map(|path| fs::read(path).ok()).collect()
}

fn is_small_library(path: &Path) -> bool {
    path.to_string_lossy().contains(".so")
        && fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LARGEST_SEED)
}

pub(super) fn sections(find: fn(&Image<'_>) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    small_libraries()
        .iter()
        .filter_map(|bytes| find(&Image::parse(bytes).ok()?))
        .collect()
}

/// Common entries are marked by all bits instead of none, and named by their place instead of the distance to it.
/// The addresses stay relative to themselves, so that they mean something else; that does not matter here.
fn as_debug_frame(eh_frame: &[u8]) -> Vec<u8> {
    let mut bytes = eh_frame.to_vec();
    let mut at = 0;
    while let Some(length) = read_u32(&bytes, at).filter(|length| *length != 0) {
        let Some(id) = read_u32(&bytes, at + 4) else {
            break;
        };
        let here = u32::try_from(at + 4).unwrap_or(u32::MAX);
        let new = if id == 0 {
            u32::MAX
        } else {
            here.wrapping_sub(id)
        };
        if let Some(place) = bytes.get_mut(at + 4..at + 8) {
            place.copy_from_slice(&new.to_le_bytes());
        }
        at += 4 + length as usize;
    }
    bytes
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// An ELF file with this code at 4096, and nothing else.
fn file_of_code(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    const SVMA: u64 = 0x1000;
    let length = code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([3, 0, 62, 0, 1, 0, 0, 0]); // a library for x86-64, version 1
    for word in [0, 64, 0] {
        file.extend(u64::to_le_bytes(word)); // no entry, program headers at 64, no sections
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]); // one program header
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, readable and executable
    for word in [HEADERS, SVMA, SVMA, length, length, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}
