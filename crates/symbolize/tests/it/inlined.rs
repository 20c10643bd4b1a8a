//! Functions that were inlined, against addr2line and gdb's way of telling them.

use viperf_symbolize::{NativeSymbol, Options, Symbolizer};

use crate::compiled::build;
use crate::oracle;

const C: &str = r#"
volatile int sink;
static inline __attribute__((always_inline)) void innermost(int x) {
    sink = x * 3;
    sink = x / 7;
}
static inline __attribute__((always_inline)) void middle(int x) {
    innermost(x + 1);
    sink = x;
}
int outer(int x) {
    middle(x);
    if (__builtin_expect(x == 77, 0)) {
        middle(x * x);
    }
    return x;
}
"#;

const CPP: &str = r#"
#include <vector>
#include <numeric>
namespace app {
struct Account {
    std::vector<int> values;
    __attribute__((always_inline)) int total() const { return std::accumulate(values.begin(), values.end(), 0); }
};
int audit(const Account &account) { return account.total() * 3; }
}
"#;

fn symbolize(
    path: &std::path::Path,
    addresses: &[u64],
    inlined_functions: bool,
) -> Vec<NativeSymbol> {
    let symbolizer = Symbolizer::new(Options {
        inlined_functions,
        ..Options::default()
    });
    let found = symbolizer.symbolize_file(path, addresses);
    found.into_iter().map(Result::unwrap).collect()
}

/// `FUNCTION FILE:LINE` of each frame, innermost first.
fn frames(symbol: &NativeSymbol) -> Vec<String> {
    let frame = |name: &str, file: &Option<String>, line: Option<u32>| {
        let line = line.map_or("?".to_owned(), |line| line.to_string());
        format!("{name} {}:{line}", file.as_deref().unwrap_or("??"))
    };
    let inlined = symbol
        .inlined
        .iter()
        .map(|i| frame(&i.name, &i.file, i.line));
    let itself = frame(&symbol.name, &symbol.file, symbol.line);
    inlined.chain([itself]).collect()
}

#[test]
fn every_address_has_the_inlined_functions_that_addr2line_gives() {
    for (compiler, name, source, flags) in [
        ("gcc", "library.c", C, &["-O2"][..]),
        ("gcc", "library.c", C, &["-O2", "-gdwarf-4"]),
        ("gcc", "library.c", C, &["-O0"]),
        ("g++", "library.cpp", CPP, &["-O2"]),
        ("g++", "library.cpp", CPP, &["-O3", "-flto"]),
    ] {
        let built = build(compiler, name, source, flags);
        let functions = oracle::functions(&built.library, &[]);
        let ours = functions
            .iter()
            .filter(|f| f.name == "outer" || f.name.contains("audit"));
        let addresses: Vec<u64> = ours.flat_map(|f| f.address..f.address + f.size).collect();
        assert!(!addresses.is_empty());
        let expected = oracle::inlined_frames(&built.library, &addresses);
        let found = symbolize(&built.library, &addresses, true);
        for ((symbol, expected), address) in found.iter().zip(&expected).zip(&addresses) {
            assert_eq!(&frames(symbol), expected, "{flags:?} at {address:#x}");
        }
        let deepest = found
            .iter()
            .map(|symbol| symbol.inlined.len())
            .max()
            .unwrap();
        assert!(deepest >= 1, "{flags:?}: nothing was inlined");
    }
}

#[test]
fn inlined_functions_are_given_only_if_asked_for() {
    let built = build("gcc", "library.c", C, &[]);
    let outer = oracle::functions(&built.library, &[])
        .into_iter()
        .find(|f| f.name == "outer")
        .unwrap();
    let found = symbolize(&built.library, &[outer.address + outer.size / 2], false);
    assert_eq!(found[0].inlined, []);
}

#[test]
fn cold_parts_keep_their_names_around_inlined_functions() {
    const COLD: &str = r#"
extern void complain(int);
static inline __attribute__((always_inline)) void report(int x) { complain(x); complain(x + 1); }
__attribute__((cold)) void complain(int x) { volatile int y = x; (void)y; }
int checked(int x) { if (x < 0) report(x); return x + 1; }
"#;
    let built = build("gcc", "library.c", COLD, &["-fno-inline-small-functions"]);
    let cold = oracle::functions(&built.library, &[])
        .into_iter()
        .find(|f| f.name == "checked.cold")
        .unwrap();
    let addresses: Vec<u64> = (cold.address..cold.address + cold.size).collect();
    let expected = oracle::inlined_frames(&built.library, &addresses);
    let mut with_report = 0;
    for (symbol, expected) in symbolize(&built.library, &addresses, true)
        .iter()
        .zip(&expected)
    {
        assert_eq!(symbol.name, "checked.cold");
        let found = frames(symbol);
        assert_eq!(found[..found.len() - 1], expected[..expected.len() - 1]);
        with_report += usize::from(found[0].starts_with("report "));
    }
    assert!(with_report > 0);
}
