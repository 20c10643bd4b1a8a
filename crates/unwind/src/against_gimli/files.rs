//! Every address of real files: a few of this machine always, a folder of others where `VIPERF_CORPUS` names one.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gimli::{BaseAddresses, DebugFrame, EhFrame, LittleEndian};
use viperf_elf::Image;

use super::{Comparison, check_shape, compare_all};
use crate::images::{code_ranges, code_sections};
use crate::{build_rows, build_rows_of_debug_frame};

/// The share of bytes that rules cannot say must be at most this, in percent. Of all files seen, the worst two have 0.19:
/// libitm has a `longjmp` of its own, librav1e has assembly with offsets of four bytes.
const MOST_UNSUPPORTED: f64 = 0.2;

/// Files smaller than this may be one function that no rule can say.
const FEW_BYTES: u64 = 4096;

/// Compares both sections of a file; what was found of its `.eh_frame`, for a table.
pub(super) fn compare_image(path: &Path, image: &Image<'_>) -> Option<String> {
    if let Some(data) = image.debug_frame() {
        let code = code_ranges(image);
        let table = build_rows_of_debug_frame(&data, &code).unwrap();
        check_shape(&table.rows);
        let mut section = DebugFrame::new(&data, LittleEndian);
        section.set_address_size(8);
        let is_code = |start: u64, end: u64| {
            let inside = |part: &std::ops::Range<u64>| part.start <= start && end <= part.end;
            start < end && code.iter().any(inside)
        };
        let bases = BaseAddresses::default();
        compare_all(&section, &bases, &table.rows, |fde| {
            is_code(fde.initial_address(), fde.end_address())
        });
    }
    let eh_frame = image.eh_frame()?;
    let started = Instant::now();
    let table = build_rows(eh_frame.data, eh_frame.svma).unwrap();
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    check_shape(&table.rows);
    let section = EhFrame::new(eh_frame.data, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(eh_frame.svma.0);
    let comparison = compare_all(&section, &bases, &table.rows, |fde| {
        fde.len() > 0 && fde.initial_address() != 0
    });
    let line = describe(path, image, &table, &comparison, milliseconds);
    let unsupported = comparison.share(comparison.unsupported_bytes);
    assert!(
        unsupported <= MOST_UNSUPPORTED || comparison.bytes < FEW_BYTES,
        "too much is unsupported: {line}",
    );
    Some(line)
}

fn describe(
    path: &Path,
    image: &Image<'_>,
    table: &crate::RowTable,
    comparison: &Comparison,
    milliseconds: f64,
) -> String {
    let code: u64 = code_sections(image)
        .iter()
        .map(|range| range.end - range.start)
        .sum();
    format!(
        "| {} | {} | {} | {} | {} | {:.1} | {milliseconds:.1} | {:.2} | {:.4} | {:.4} | {:.4} | {} | {:?} |",
        path.file_name().unwrap_or_default().to_string_lossy(),
        code,
        table.fdes,
        table.skipped_fdes,
        table.rows.len(),
        table.rows.len() as f64 * 8.0 / 1024.0,
        100.0 * comparison.bytes as f64 / code.max(1) as f64,
        comparison.share(comparison.unsupported_bytes),
        comparison.share(comparison.rbp_unknown_bytes),
        comparison.share(comparison.innermost_only_bytes),
        comparison.addresses,
        comparison.causes,
    )
}

fn compare_file(path: &Path) {
    let Ok(bytes) = std::fs::read(path) else {
        println!("skipped: no file {}", path.display());
        return;
    };
    // Scripts and libraries for other processors are in folders of libraries, too.
    if let Ok(image) = Image::parse(&bytes)
        && let Some(line) = compare_image(path, &image)
    {
        println!("{line}");
    }
}

#[test]
fn rules_of_libpython_find_what_gimli_finds() {
    let versions = std::env::var_os("HOME")
        .map(|home| PathBuf::from(home).join(".pyenv/versions"))
        .and_then(|folder| std::fs::read_dir(folder).ok());
    let mut libraries: Vec<PathBuf> = versions
        .into_iter()
        .flatten()
        .flat_map(|version| std::fs::read_dir(version.ok()?.path().join("lib")).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".so.1.0"))
        .collect();
    libraries.sort();
    libraries.truncate(2);
    libraries.push(PathBuf::from("/usr/bin/python3.11"));
    libraries.iter().for_each(|path| compare_file(path));
}

#[test]
fn rules_of_the_c_library_find_what_gimli_finds() {
    compare_file(Path::new("/lib/x86_64-linux-gnu/libc.so.6"));
    compare_file(Path::new("/lib64/ld-linux-x86-64.so.2"));
}

#[test]
fn rules_of_a_cpp_library_find_what_gimli_finds() {
    compare_file(Path::new("/lib/x86_64-linux-gnu/libstdc++.so.6"));
}

#[test]
fn rules_of_libcrypto_find_what_gimli_finds() {
    compare_file(Path::new("/lib/x86_64-linux-gnu/libcrypto.so.3"));
}

/// Folders or files, separated by colons, with all that is below them. The lines are those of a table: file, bytes of
/// code, functions, those that cannot be read, rows, KiB, milliseconds, percent of code with rows, of those without a rule, with rbp not known,
/// with a rule for the innermost frame only, addresses compared, causes.
#[test]
fn rules_of_all_files_of_the_corpus_find_what_gimli_finds() {
    let Some(paths) = std::env::var_os("VIPERF_CORPUS") else {
        println!("skipped: VIPERF_CORPUS names no folder");
        return;
    };
    let mut waiting: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let (mut compared, mut failed) = (0, Vec::new());
    while let Some(path) = waiting.pop() {
        if path.is_dir() && !path.is_symlink() {
            let entries = std::fs::read_dir(&path).into_iter().flatten();
            waiting.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        } else if path.is_file() && !path.is_symlink() && is_elf(&path) {
            compared += 1;
            // One file that differs must not hide the next.
            if std::panic::catch_unwind(|| compare_file(&path)).is_err() {
                failed.push(path);
            }
        }
    }
    println!("{compared} files");
    assert!(failed.is_empty(), "{failed:#?}");
}

fn is_elf(path: &Path) -> bool {
    use std::io::Read as _;
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}
