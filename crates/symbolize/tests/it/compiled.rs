//! Programs compiled for the test, so that every answer is known.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use viperf_symbolize::{NoSymbol, Options, Symbolizer};

use crate::oracle;

const C_LIBRARY: &str = r#"
#include <stdlib.h>
static __attribute__((noinline)) int hidden(int x) {
    volatile int y = x;
    for (int i = 0; i < 10; i++)
        y += i * x;
    return y;
}
__attribute__((cold, noinline)) static void complain(int x) {
    if (x == 12345) abort();
}
int exported(int x) {
    if (__builtin_expect(x < 0, 0)) {
        complain(x);
        complain(x + 1);
        abort();
    }
    return hidden(x) + 1;
}
/* A function of assembly: it has a size, and inside it stands a label that has none. */
__asm__(".text\n.globl assembled\n.type assembled,@function\nassembled:\n nop\n nop\n"
        "label_inside:\n nop\n nop\n ret\n.size assembled,.-assembled\n");
/* A label with no function around it. */
__asm__(".text\n.balign 64\nlabel_alone:\n nop\n nop\n nop\n ret\n.balign 64\n");
"#;

const CPP_LIBRARY: &str = r#"
#include <string>
#include <vector>
namespace shapes {
struct Circle {
    double radius;
    double area(int scale) const;
};
__attribute__((noinline)) double Circle::area(int scale) const { return radius * scale; }
template <typename T> __attribute__((noinline)) T twice(T value) { return value + value; }
template int twice<int>(int);
}
"#;

pub(crate) struct Built {
    folder: TempDir,
    pub(crate) library: PathBuf,
}

pub(crate) fn build(compiler: &str, name: &str, source: &str, flags: &[&str]) -> Built {
    let folder = TempDir::new().unwrap();
    let source_path = folder.path().join(name);
    let library = folder.path().join("library.so");
    std::fs::write(&source_path, source).unwrap();
    let mut arguments = vec!["-shared", "-fPIC", "-g", "-O2"];
    arguments.extend_from_slice(flags);
    arguments.extend(["-o", path_text(&library), path_text(&source_path)]);
    oracle::run(compiler, &arguments);
    Built { folder, library }
}

pub(crate) fn build_c() -> Built {
    build("gcc", "library.c", C_LIBRARY, &[])
}

pub(crate) fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn symbolizer() -> Symbolizer {
    Symbolizer::new(Options::default())
}

fn name_at(path: &Path, svma: u64) -> Result<String, NoSymbol> {
    let mut found = symbolizer().symbolize_file(path, &[svma]);
    found.remove(0).map(|symbol| symbol.name)
}

pub(crate) fn address_of(path: &Path, name: &str) -> u64 {
    let listing = oracle::run("nm", &[path_text(path)]);
    let line = listing
        .lines()
        .find(|line| line.ends_with(&format!(" {name}")))
        .unwrap_or_else(|| panic!("{name} is not in\n{listing}"));
    u64::from_str_radix(&line[..16], 16).unwrap()
}

#[test]
fn every_byte_of_every_function_has_the_name_that_nm_gives() {
    let built = build_c();
    for function in oracle::functions(&built.library, &[]) {
        for svma in [
            function.address,
            function.address + function.size / 2,
            function.address + function.size - 1,
        ] {
            assert_eq!(name_at(&built.library, svma).unwrap(), function.name);
        }
    }
}

#[test]
fn cold_parts_keep_their_suffix() {
    let built = build_c();
    let cold = address_of(&built.library, "exported.cold");
    assert_eq!(name_at(&built.library, cold).unwrap(), "exported.cold");
}

#[test]
fn cplusplus_names_are_demangled() {
    let built = build("g++", "library.cpp", CPP_LIBRARY, &[]);
    let functions = oracle::functions(&built.library, &[]);
    let demangled = oracle::functions(&built.library, &["--demangle"]);
    let mangled = functions
        .iter()
        .find(|function| function.name == "_ZNK6shapes6Circle4areaEi")
        .unwrap();
    let name = name_at(&built.library, mangled.address).unwrap();
    assert_eq!(name, "shapes::Circle::area(int) const");
    assert!(demangled.iter().any(|function| function.name == name));
    let template = functions
        .iter()
        .find(|function| function.name.starts_with("_ZN6shapes5twice"))
        .unwrap();
    assert_eq!(
        name_at(&built.library, template.address).unwrap(),
        "int shapes::twice<int>(int)"
    );
}

#[test]
fn file_and_line_are_those_of_addr2line() {
    let built = build_c();
    let addresses: Vec<u64> = ["exported", "hidden", "exported.cold", "complain"]
        .iter()
        .flat_map(|name| {
            let start = address_of(&built.library, name);
            [start, start + 4]
        })
        .collect();
    let expected = oracle::lines(&built.library, &addresses);
    let found = symbolizer().symbolize_file(&built.library, &addresses);
    for ((found, expected), address) in found.into_iter().zip(expected).zip(addresses) {
        let symbol = found.unwrap();
        let line = symbol.line.map_or("?".to_owned(), |line| line.to_string());
        let ours = format!("{}:{line}", symbol.file.unwrap_or_default());
        assert_eq!(ours, expected, "at {address:#x}");
    }
}

#[test]
fn without_lines_only_the_name_is_given() {
    let built = build_c();
    let exported = address_of(&built.library, "exported");
    let symbolizer = Symbolizer::new(Options {
        native_lines: false,
        ..Options::default()
    });
    let found = symbolizer.symbolize_file(&built.library, &[exported]);
    let symbol = found[0].as_ref().unwrap();
    assert_eq!(
        (symbol.name.as_str(), &symbol.file, symbol.line),
        ("exported", &None, None)
    );
}

#[test]
fn a_stripped_library_names_its_exports_and_nothing_else() {
    let built = build_c();
    let hidden = address_of(&built.library, "hidden");
    let exported = address_of(&built.library, "exported");
    let cold = address_of(&built.library, "exported.cold");
    oracle::run("strip", &[path_text(&built.library)]);
    assert_eq!(name_at(&built.library, exported).unwrap(), "exported");
    assert_eq!(name_at(&built.library, hidden), Err(NoSymbol::Stripped));
    assert_eq!(name_at(&built.library, cold), Err(NoSymbol::Stripped));
}

#[test]
fn an_address_behind_every_symbol_has_no_symbol() {
    let built = build_c();
    assert_eq!(
        name_at(&built.library, 0x7fff_ffff),
        Err(NoSymbol::NoSymbolAtAddress)
    );
    assert_eq!(
        name_at(&built.library, u64::MAX),
        Err(NoSymbol::NoSymbolAtAddress)
    );
}

#[test]
fn a_label_without_a_size_is_not_stretched() {
    let built = build_c();
    let alone = address_of(&built.library, "label_alone");
    assert_eq!(name_at(&built.library, alone).unwrap(), "label_alone");
    assert_eq!(
        name_at(&built.library, alone + 2),
        Err(NoSymbol::NoSymbolAtAddress)
    );
}

#[test]
fn a_label_inside_a_function_does_not_hide_it() {
    let built = build_c();
    let label = address_of(&built.library, "label_inside");
    assert_eq!(name_at(&built.library, label + 1).unwrap(), "assembled");
}

#[test]
fn a_deleted_file_is_read_through_its_descriptor() {
    let built = build_c();
    let exported = address_of(&built.library, "exported");
    let file = File::open(&built.library).unwrap();
    std::fs::remove_file(&built.library).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    assert_eq!(name_at(&path, exported).unwrap(), "exported");
}

#[test]
fn a_descriptor_number_used_again_is_another_file() {
    let first = build_c();
    let second = build("g++", "library.cpp", CPP_LIBRARY, &[]);
    let link = first.folder.path().join("link");
    let symbolizer = symbolizer();
    let exported = address_of(&first.library, "exported");
    std::os::unix::fs::symlink(&first.library, &link).unwrap();
    assert!(symbolizer.symbolize_file(&link, &[exported])[0].is_ok());
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&second.library, &link).unwrap();
    let area = address_of(&second.library, "_ZNK6shapes6Circle4areaEi");
    let found = symbolizer.symbolize_file(&link, &[area]);
    assert_eq!(
        found[0].as_ref().unwrap().name,
        "shapes::Circle::area(int) const"
    );
}

#[test]
fn results_stand_in_the_order_of_the_addresses() {
    let built = build_c();
    let hidden = address_of(&built.library, "hidden");
    let exported = address_of(&built.library, "exported");
    let found = symbolizer().symbolize_file(&built.library, &[hidden, 0x7fff_ffff, exported]);
    let names: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().ok().map(|symbol| symbol.name.as_str()))
        .collect();
    assert_eq!(names, [Some("hidden"), None, Some("exported")]);
}

#[test]
fn a_file_that_is_no_elf_or_not_there_is_a_reason_not_a_failure() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "no ELF at all").unwrap();
    let missing = folder.path().join("missing");
    for path in [text.as_path(), missing.as_path(), folder.path()] {
        let found = symbolizer().symbolize_file(path, &[1, 2]);
        assert_eq!(found.len(), 2);
        assert!(matches!(found[0], Err(NoSymbol::Unreadable(_))), "{path:?}");
    }
}

#[test]
fn damaged_files_never_do_worse_than_give_no_names() {
    let built = build_c();
    let bytes = std::fs::read(&built.library).unwrap();
    let addresses: Vec<u64> = (0..64).map(|index| 0x1000 + index * 16).collect();
    let damaged = built.folder.path().join("damaged.so");
    // A fixed walk over the file: every run damages the same places.
    for step in 0..400_usize {
        let mut copy = bytes.clone();
        for hit in 0..4 {
            let place = (step * 7919 + hit * 104_729) % copy.len();
            copy[place] = copy[place].wrapping_add(0x55 + u8::try_from(step % 100).unwrap());
        }
        if step % 5 == 0 {
            copy.truncate(copy.len() * (step + 1) / 401);
        }
        std::fs::write(&damaged, &copy).unwrap();
        let found = symbolizer().symbolize_file(&damaged, &addresses);
        assert_eq!(found.len(), addresses.len());
    }
}

#[test]
fn a_separate_debug_file_next_to_the_library_gives_lines_and_local_names() {
    let built = build_c();
    let hidden = address_of(&built.library, "hidden");
    let library = path_text(&built.library);
    let expected = oracle::lines(&built.library, &[hidden]).remove(0);
    let debug = format!("{library}.debug");
    oracle::run("objcopy", &["--only-keep-debug", library, &debug]);
    oracle::run("strip", &[library]);
    let link = format!("--add-gnu-debuglink={debug}");
    oracle::run("objcopy", &[&link, library]);
    let found = symbolizer().symbolize_file(&built.library, &[hidden]);
    let symbol = found[0].as_ref().unwrap();
    assert_eq!(symbol.name, "hidden");
    let ours = format!(
        "{}:{}",
        symbol.file.as_deref().unwrap(),
        symbol.line.unwrap()
    );
    assert_eq!(ours, expected);
}
