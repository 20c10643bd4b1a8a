//! Names as people wrote them: C++, Rust (both manglings) and Cython.

use std::fmt::{self, Write};
use std::panic::catch_unwind;

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

use crate::cython;

/// A name that grows beyond this is shown as it was mangled: a few bytes of substitutions can stand for gigabytes.
const LONGEST_NAME: usize = 16 << 10;
/// How deep types may be nested; boost and Eigen stay below 100.
const DEEPEST_NESTING: u32 = 160;

/// The name that a symbol stands for; a name that is not mangled is given back.
///
/// What the compiler appends (`.cold`, `.part.0`, `.constprop.0`) is kept as it is: it says where the time went.
pub(crate) fn demangle(symbol: &[u8]) -> String {
    let symbol = String::from_utf8_lossy(symbol);
    let (name, suffix) = split_suffix(&symbol);
    // A name made to make a demangler panic is shown as it is.
    let demangled = catch_unwind(|| {
        demangle_rust(name)
            .or_else(|| demangle_cplusplus(name))
            .or_else(|| cython::decode_name(name))
    });
    match demangled {
        Ok(Some(demangled)) => demangled + suffix,
        Ok(None) | Err(_) => symbol.into_owned(),
    }
}

/// Mangled names hold no dot, except Rust's, which end before `.llvm.` and numbers.
fn split_suffix(symbol: &str) -> (&str, &str) {
    let is_mangled = ["_Z", "_R", "__pyx_"]
        .iter()
        .any(|prefix| symbol.starts_with(prefix));
    // Rust's legacy mangling writes `..` for `::` within a part; a suffix begins with a letter or a digit.
    let is_suffix = |at: &usize| {
        let bytes = symbol.as_bytes();
        let neighbour = |index: Option<usize>| index.and_then(|index| bytes.get(index)).copied();
        let ends_the_name = neighbour(at.checked_sub(1)) != Some(b'.');
        ends_the_name && neighbour(Some(at + 1)).is_some_and(|next| next.is_ascii_alphanumeric())
    };
    // Behind the last `E` of a nested name nothing but a suffix has a dot.
    let from = match symbol.starts_with("_ZN") {
        true => symbol.rfind("E.").unwrap_or(0),
        false => 0,
    };
    let found = symbol.get(from..).unwrap_or_default().match_indices('.');
    let dot = found.map(|(at, _)| from + at).find(is_suffix);
    match dot.filter(|_| is_mangled) {
        Some(at) => symbol.split_at(at),
        None => (symbol, ""),
    }
}

fn demangle_rust(name: &str) -> Option<String> {
    let demangled = rustc_demangle::try_demangle(name).ok()?;
    let mut bounded = Bounded(String::new());
    // The alternate form leaves out the hash.
    write!(bounded, "{demangled:#}").ok()?;
    Some(bounded.0)
}

fn demangle_cplusplus(name: &str) -> Option<String> {
    if !name.starts_with("_Z") || name.len() > LONGEST_NAME {
        return None;
    }
    let parsing = ParseOptions::default().recursion_limit(DEEPEST_NESTING);
    let options = DemangleOptions::new().recursion_limit(DEEPEST_NESTING);
    let symbol = Symbol::new_with_options(name, &parsing).ok()?;
    let mut bounded = Bounded(String::new());
    symbol.structured_demangle(&mut bounded, &options).ok()?;
    Some(bounded.0)
}

/// Text that refuses to grow beyond [`LONGEST_NAME`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LONGEST_NAME {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demangled(symbol: &str) -> String {
        demangle(symbol.as_bytes())
    }

    #[test]
    fn names_of_each_language_are_recognized() {
        for (symbol, name) in [
            (
                "_ZNK6shapes6Circle4areaEi",
                "shapes::Circle::area(int) const",
            ),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            (
                "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE",
                "core::fmt::Formatter::pad",
            ),
            (
                "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
                "<Test + 'static as foo::Bar<Test>>::bar",
            ),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            (
                "_RNvNtNtCs1234_7mycrate3foo3bar3baz",
                "mycrate::foo::bar::baz",
            ),
            ("__pyx_pw_6sample_6Python_1method", "sample.Python.method"),
            ("PyObject_Call", "PyObject_Call"),
            (
                "_PyEval_EvalFrameDefault.cold",
                "_PyEval_EvalFrameDefault.cold",
            ),
            ("_Z", "_Z"),
            ("", ""),
        ] {
            assert_eq!(demangled(symbol), name);
        }
    }

    #[test]
    fn what_the_compiler_appends_is_kept() {
        for (symbol, name) in [
            (
                "_ZNK6shapes6Circle4areaEi.cold",
                "shapes::Circle::area(int) const.cold",
            ),
            (
                "_ZNK6shapes6Circle4areaEi.part.0.constprop.1",
                "shapes::Circle::area(int) const.part.0.constprop.1",
            ),
            (
                "_ZN3foo3bar17h0123456789abcdefE.llvm.123",
                "foo::bar.llvm.123",
            ),
            ("__pyx_f_6sample_inl.isra.0", "sample.inl.isra.0"),
            ("complain.part.0", "complain.part.0"),
        ] {
            assert_eq!(demangled(symbol), name);
        }
    }

    #[test]
    fn a_name_made_to_explode_is_shown_as_it_is() {
        // Each substitution holds the one before twice.
        let mut bomb = String::from("_Z1fI1aE");
        for level in 0..60 {
            bomb.push_str(&format!("1bIS{}_S{}_E", "0", level % 10));
        }
        assert!(demangled(&bomb).len() <= LONGEST_NAME);
        let nested = format!("_Z1f{}i", "P".repeat(100_000));
        assert_eq!(demangled(&nested), nested);
        let deep = format!("_R{}", "N".repeat(10_000));
        assert_eq!(demangled(&deep), deep);
    }
}
