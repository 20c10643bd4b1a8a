//! What each compiler on this machine writes for the same sources, with each set of options.
//!
//! The same code is built twice: with `.eh_frame`, and with `.debug_frame` alone. The second is also looked at without
//! it, as a file without any call frame information.

use std::path::{Path, PathBuf};
use std::process::Command;

use viperf_elf::Image;

use super::files::compare_image;
use crate::analysis::{Agreement, compare};
use crate::{RowTable, analyse_code, build_rows_of_image, build_rows_of_images};

const SHAPES: &str = include_str!("samples/shapes.c");
const THROWS: &str = include_str!("samples/throws.cpp");
const PANICS: &str = include_str!("samples/panics.rs");

/// The compiler and the options: the first four always, all where `VIPERF_CORPUS` names a corpus.
const C_COMPILERS: [(&str, &[&str]); 18] = [
    ("gcc", &["-O2"]),
    ("gcc", &["-O0"]),
    ("clang-19", &["-O2"]),
    ("gcc", &["-O3", "-fno-omit-frame-pointer"]),
    ("gcc", &["-O1"]),
    ("gcc", &["-O3"]),
    ("gcc", &["-Os"]),
    ("gcc", &["-O1", "-fno-omit-frame-pointer"]),
    ("gcc", &["-O2", "-fno-omit-frame-pointer"]),
    ("gcc", &["-O2", "-flto"]),
    ("gcc", &["-O3", "-mavx2", "-fcf-protection"]),
    ("clang-19", &["-O0"]),
    ("clang-19", &["-O1"]),
    ("clang-19", &["-O3"]),
    ("clang-19", &["-Os"]),
    ("clang-19", &["-O0", "-fno-omit-frame-pointer"]),
    ("clang-19", &["-O2", "-fno-omit-frame-pointer"]),
    ("clang-19", &["-O2", "-flto"]),
];
const USUAL: usize = 4;

const EH_FRAME: &[&str] = &["-fasynchronous-unwind-tables"];
const DEBUG_FRAME: &[&str] = &[
    "-g",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
];

fn usual<T>(all: &[T]) -> &[T] {
    if std::env::var_os("VIPERF_CORPUS").is_some() {
        all
    } else {
        all.get(..USUAL).unwrap_or(all)
    }
}

/// The library built from the source; `None` if there is no such compiler or it does not know the options.
fn build(
    folder: &Path,
    name: &str,
    text: &str,
    compiler: &str,
    options: &[&[&str]],
) -> Option<Vec<u8>> {
    let source = folder.join(name);
    std::fs::write(&source, text).unwrap();
    let library: PathBuf = folder.join("sample.so");
    let mut command = Command::new(compiler);
    command
        .args(options.concat())
        .arg("-o")
        .arg(&library)
        .arg(&source);
    let output = command.current_dir(folder).output();
    match output {
        Ok(output) if output.status.success() => Some(std::fs::read(library).unwrap()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            println!("skipped: {command:?}: {said}");
            None
        }
        Err(error) => {
            println!("skipped: {compiler}: {error}");
            None
        }
    }
}

#[test]
fn rules_of_what_c_compilers_write_find_what_gimli_finds() {
    let folder = tempfile::tempdir().unwrap();
    for (compiler, options) in usual(&C_COMPILERS) {
        let shared = &["-shared", "-fPIC"][..];
        for tables in [EH_FRAME, DEBUG_FRAME] {
            let all = [shared, *options, tables];
            if let Some(bytes) = build(folder.path(), "shapes.c", SHAPES, compiler, &all) {
                let image = Image::parse(&bytes).unwrap();
                let line = compare_image(Path::new("shapes.c"), &image);
                println!("{compiler} {options:?}: {line:?}");
            }
        }
    }
}

#[test]
fn instructions_of_what_c_compilers_write_say_what_their_tables_say() {
    let folder = tempfile::tempdir().unwrap();
    for (compiler, options) in usual(&C_COMPILERS) {
        let all = [&["-shared", "-fPIC"][..], *options, DEBUG_FRAME];
        let Some(bytes) = build(folder.path(), "shapes.c", SHAPES, compiler, &all) else {
            continue;
        };
        let tables = build_rows_of_image(&Image::parse(&bytes).unwrap()).unwrap();
        let sections = [".symtab", ".debug_frame", ".eh_frame"];
        let stripped = without_sections(&bytes, &sections);
        let mut analysed = RowTable::default();
        analyse_code(&Image::parse(&stripped).unwrap(), &mut analysed);
        let agreement: Agreement = compare(&tables.rows, &analysed.rows);
        println!("{compiler} {options:?}: {agreement:?}");
        // The sources are made of the hard cases; musl has 95 to 99 % right and 0.02 % wrong.
        assert!(agreement.share_right() > 0.7, "{compiler} {options:?}");
        assert!(agreement.share_wrong() < 0.03, "{compiler} {options:?}");
    }
}

/// As distributions do: the tables of a program built without `.eh_frame` are in its debug file, compressed.
#[test]
fn a_separate_debug_file_has_the_rows_that_its_program_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let all = [&["-shared", "-fPIC", "-O2"][..], DEBUG_FRAME];
    let Some(whole) = build(folder.path(), "shapes.c", SHAPES, "gcc", &all) else {
        return;
    };
    let copy = |arguments: &[&str], name: &str| {
        let status = Command::new("objcopy")
            .args(arguments)
            .args(["sample.so", name])
            .current_dir(folder.path())
            .status();
        let copied = status.is_ok_and(|status| status.success());
        copied.then(|| std::fs::read(folder.path().join(name)).unwrap())
    };
    let debug = copy(
        &["--only-keep-debug", "--compress-debug-sections=zlib"],
        "debug",
    );
    let (Some(debug), Some(stripped)) = (debug, copy(&["--strip-debug"], "stripped")) else {
        println!("skipped: no objcopy");
        return;
    };
    let rows_of = |main: &[u8], debug: Option<&[u8]>| {
        let debug = debug.map(|bytes| Image::parse(bytes).unwrap());
        build_rows_of_images(&Image::parse(main).unwrap(), debug.as_ref()).unwrap()
    };
    let expected = rows_of(&whole, None);
    assert!(expected.fdes > 20);
    assert_eq!(rows_of(&stripped, Some(&debug)), expected);
    // The linker has described its own table, and nothing else is.
    assert!(rows_of(&stripped, None).fdes < 4);
}

/// The file with these sections cut out of its tables: they have no name and no type any more.
fn without_sections(bytes: &[u8], names: &[&str]) -> Vec<u8> {
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let long = |bytes: &[u8], at: usize| {
        usize::try_from(u64::from_le_bytes(*bytes[at..].first_chunk().unwrap())).unwrap()
    };
    let mut stripped = bytes.to_vec();
    let table = long(bytes, 40);
    let strings = long(bytes, table + 64 * word(62) + 24);
    for index in 0..word(60) {
        let header = table + 64 * index;
        let name = u32::from_le_bytes(*bytes[header..].first_chunk().unwrap());
        let text = &bytes[strings + name as usize..];
        let length = text.iter().position(|&byte| byte == 0).unwrap();
        if names.iter().any(|name| name.as_bytes() == &text[..length]) {
            stripped[header..header + 8].fill(0);
        }
    }
    // Program headers that lead to them, too.
    const EH_FRAME_HEADER: [u8; 4] = [0x50, 0xe5, 0x74, 0x64];
    for index in 0..word(56) {
        let header = long(bytes, 32) + 56 * index;
        if stripped[header..header + 4] == EH_FRAME_HEADER {
            stripped[header..header + 4].fill(0);
        }
    }
    stripped
}

#[test]
fn rules_of_what_cpp_and_rust_compilers_write_find_what_gimli_finds() {
    let folder = tempfile::tempdir().unwrap();
    let shared = &["-shared", "-fPIC"][..];
    let levels: [&[&str]; 5] = [&["-O2"], &["-O0"], &["-O1"], &["-O3"], &["-O2", "-flto"]];
    let levels = if std::env::var_os("VIPERF_CORPUS").is_some() {
        &levels[..]
    } else {
        &levels[..1]
    };
    for options in levels {
        for compiler in ["g++", "clang++-19"] {
            let all = [shared, *options];
            if let Some(bytes) = build(folder.path(), "throws.cpp", THROWS, compiler, &all) {
                let image = Image::parse(&bytes).unwrap();
                println!(
                    "{compiler}: {:?}",
                    compare_image(Path::new("throws.cpp"), &image)
                );
            }
        }
    }
    let shared = &["--crate-type=cdylib", "--edition=2024"][..];
    let levels: [&[&str]; 4] = [
        &["-O"],
        &["-Copt-level=0"],
        &["-O", "-Cforce-frame-pointers=yes"],
        &["-O", "-Clto=fat"],
    ];
    let levels = if std::env::var_os("VIPERF_CORPUS").is_some() {
        &levels[..]
    } else {
        &levels[..1]
    };
    for options in levels {
        let all = [shared, *options];
        if let Some(bytes) = build(folder.path(), "panics.rs", PANICS, "rustc", &all) {
            let image = Image::parse(&bytes).unwrap();
            println!("rustc: {:?}", compare_image(Path::new("panics.rs"), &image));
        }
    }
}
