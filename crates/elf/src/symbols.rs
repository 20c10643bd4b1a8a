//! Names and what they stand for.

use object::LittleEndian;
use object::elf::{
    SHN_UNDEF, STB_LOCAL, STT_FILE, STT_FUNC, STT_GNU_IFUNC, STT_OBJECT, STT_SECTION, STT_TLS,
    Sym64,
};
use object::read::elf::Sym as _;

use crate::address::Svma;

/// The longest symbol name given out; C++ templates reach a few kilobytes. It bounds what a table
/// without a single NUL costs.
const MAX_NAME_LENGTH: usize = 16 * 1024;

/// One defined symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Where it is; for [`SymbolKind::ThreadLocal`] the offset in the thread-local segment instead.
    pub svma: Svma,
    /// Its size in bytes as stated; zero where the assembler was not told.
    pub size: u64,
    /// What it names.
    pub kind: SymbolKind,
}

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SymbolKind {
    /// Code.
    Function,
    /// Code that returns the address of the function to use.
    IndirectFunction,
    /// A variable.
    Object,
    /// A thread-local variable: [`Symbol::svma`] is an offset in the thread-local segment.
    ThreadLocal,
    /// A label without a type, or a type unknown here.
    Other,
}

/// One symbol table and the strings its names are in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Table<'data> {
    pub(crate) symbols: &'data [Sym64<LittleEndian>],
    pub(crate) strings: &'data [u8],
}

/// Whether the string that starts at `offset` is `name`, NUL and all; costs `name`'s length.
pub(crate) fn is_string_at(strings: &[u8], offset: u32, name: &[u8]) -> bool {
    usize::try_from(offset)
        .ok()
        .and_then(|offset| strings.get(offset..))
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| rest.first() == Some(&0))
}

pub(crate) fn string_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = strings.get(usize::try_from(offset).ok()?..)?;
    let bounded = rest.get(..MAX_NAME_LENGTH).unwrap_or(rest);
    let length = bounded.iter().position(|&byte| byte == 0)?;
    bounded.get(..length)
}

/// `None` for a symbol that is only used here, and for the names of sections and source files.
fn defined_symbol(symbol: &Sym64<LittleEndian>) -> Option<Symbol> {
    let endian = LittleEndian;
    let kind = match symbol.st_type() {
        STT_SECTION | STT_FILE => return None,
        STT_FUNC => SymbolKind::Function,
        STT_GNU_IFUNC => SymbolKind::IndirectFunction,
        STT_OBJECT => SymbolKind::Object,
        STT_TLS => SymbolKind::ThreadLocal,
        _ => SymbolKind::Other,
    };
    (symbol.st_shndx(endian) != SHN_UNDEF && !symbol.is_common(endian)).then(|| Symbol {
        svma: Svma(symbol.st_value(endian)),
        size: symbol.st_size(endian),
        kind,
    })
}

impl<'data> Table<'data> {
    /// The defined symbol of that name: a global one before a local one, else the first.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Symbol> {
        let mut local = None;
        for symbol in self.symbols {
            if !is_string_at(self.strings, symbol.st_name(LittleEndian), name) {
                continue;
            }
            let Some(found) = defined_symbol(symbol) else {
                continue;
            };
            if symbol.st_bind() != STB_LOCAL {
                return Some(found);
            }
            local.get_or_insert(found);
        }
        local
    }

    /// All defined functions, with or without a name.
    pub(crate) fn functions(self) -> impl Iterator<Item = Symbol> {
        let defined = self.symbols.iter().filter_map(defined_symbol);
        defined.filter(|symbol| {
            matches!(
                symbol.kind,
                SymbolKind::Function | SymbolKind::IndirectFunction
            )
        })
    }

    /// All defined symbols with a name.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'data [u8], Symbol)> {
        self.symbols.iter().filter_map(move |symbol| {
            let name = string_at(self.strings, symbol.st_name(LittleEndian))?;
            (!name.is_empty())
                .then(|| defined_symbol(symbol))
                .flatten()
                .map(|defined| (name, defined))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_equal_only_as_a_whole_and_inside_the_table() {
        let strings = b"\0main\0domain\0cut";
        assert!(is_string_at(strings, 1, b"main"));
        assert!(is_string_at(strings, 8, b"main")); // tails are shared by linkers
        assert!(!is_string_at(strings, 1, b"mai"));
        assert!(!is_string_at(strings, 13, b"cut")); // no NUL
        assert!(!is_string_at(strings, 400, b"main"));
        assert_eq!(string_at(strings, 6), Some(&b"domain"[..]));
        assert_eq!(string_at(strings, 13), None);
        assert_eq!(string_at(strings, u32::MAX), None);
    }
}
