//! Lines of a library of several units, found by its address ranges or by all of its entries.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use viperf_symbolize::{Options, Symbolizer};

use crate::compiled::{Built, address_of, build, path_text};
use crate::oracle;

const FIRST: &str = "
int first(int x) {
    volatile int y = x;
    y += 7;
    return y;
}
";
const SECOND: &str = "
static __attribute__((noinline)) int inner(int x) {
    volatile int y = x * 3;
    return y;
}
int second(int x) {
    return inner(x) + inner(x + 1);
}
";

/// The unit of `first` comes first.
fn build_two_units() -> Built {
    let folder = TempDir::new().unwrap();
    let first = folder.path().join("first.c");
    fs::write(&first, FIRST).unwrap();
    build("gcc", "second.c", SECOND, &[path_text(&first)])
}

fn change(library: &Path, folder: &TempDir, option: &str) -> PathBuf {
    let changed = folder.path().join("changed.so");
    oracle::run(
        "objcopy",
        &[option, path_text(library), path_text(&changed)],
    );
    changed
}

fn lines(library: &Path, addresses: &[u64]) -> Vec<String> {
    let found = Symbolizer::new(Options::default()).symbolize_file(library, addresses);
    let say = |symbol: viperf_symbolize::NativeSymbol| {
        let line = symbol.line.map_or("?".to_owned(), |line| line.to_string());
        format!("{}:{line}", symbol.file.unwrap_or_default())
    };
    let said = found.into_iter().map(|symbol| say(symbol.unwrap()));
    said.collect()
}

#[test]
fn every_byte_has_the_line_of_addr2line_however_its_unit_is_found() {
    let built = build_two_units();
    let functions = oracle::functions(&built.library, &[]);
    let ours = functions.iter();
    let ours = ours.filter(|function| ["first", "inner", "second"].contains(&&*function.name));
    let addresses: Vec<u64> = ours
        .flat_map(|function| function.address..function.address + function.size)
        .collect();
    let expected = oracle::lines(&built.library, &addresses);
    assert!(expected.iter().any(|line| line.contains("first.c:")));
    assert_eq!(lines(&built.library, &addresses), expected);
    let folder = TempDir::new().unwrap();
    for option in [
        "--remove-section=.debug_aranges",
        "--compress-debug-sections=zlib",
    ] {
        let changed = change(&built.library, &folder, option);
        assert_eq!(lines(&changed, &addresses), expected, "{option}");
    }
}

#[test]
fn entries_of_units_that_are_not_asked_for_are_not_read() {
    let built = build_two_units();
    let addresses = [address_of(&built.library, "second")];
    let expected = lines(&built.library, &addresses);
    assert!(expected[0].contains("second.c:"), "{expected:?}");
    // A length that no unit has: who reads all of them finds none.
    let listing = oracle::run("readelf", &["-SW", path_text(&built.library)]);
    let section = listing.lines().find(|line| line.contains(" .debug_info "));
    let (_, words) = section.unwrap().split_once("] ").unwrap();
    let offset = words.split_whitespace().nth(3).unwrap();
    let offset = usize::from_str_radix(offset, 16).unwrap();
    let mut bytes = fs::read(&built.library).unwrap();
    bytes[offset..offset + 4].fill(0xfe);
    fs::write(&built.library, bytes).unwrap();
    assert_eq!(lines(&built.library, &addresses), expected);
}
