//! The functions of one ELF file by address.
//!
//! Symbols overlap: aliases start at one address, and assembly nests one function in another. Here the address
//! space is cut into parts that belong to one symbol each, so that a lookup is one binary search and its answer
//! never depends on the order in a file.
//!
//! An address belongs to a symbol only if it lies in `[symbol, symbol + size)`; a symbol without a size (a label
//! in assembly) names its first byte, and that only where nothing with a size does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use object::elf::{
    SHN_ABS, SHN_COMMON, SHN_UNDEF, SHT_DYNSYM, SHT_SYMTAB, STB_LOCAL, STT_FUNC, STT_GNU_IFUNC,
    STT_NOTYPE, SectionHeader64, Sym64,
};
use object::read::elf::Sym as _;
use object::{LittleEndian, pod};

use crate::elf_file::{ENDIAN, ElfError, ElfFile};

/// 5.6 million symbols. A debug build of Chromium has three million.
const LARGEST_TABLE: u64 = 128 << 20;
/// Names of 50 bytes each for as many.
const LARGEST_STRINGS: u64 = 256 << 20;
/// The longest name given out; C++ templates reach a few kilobytes.
const LONGEST_NAME: usize = 16 << 10;

/// Where a name is: in which of the tables' strings, and from which byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NamePlace {
    strings: u8,
    offset: u32,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    start: u64,
    /// The first address behind it; `start` for a label.
    end: u64,
    name: NamePlace,
    is_function: bool,
    is_global: bool,
}

/// Addresses that have one name.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    end: u64,
    name: NamePlace,
}

/// The functions of one file, or of one table in it.
#[derive(Debug, Default)]
pub(crate) struct SymbolTable {
    /// Sorted, not overlapping.
    parts: Vec<Part>,
    /// Sorted by address, one for each.
    labels: Vec<(u64, NamePlace)>,
    strings: Vec<Rc<[u8]>>,
    /// There was a `.symtab`, so that local functions have names too.
    pub(crate) has_local_names: bool,
}

/// Reads `.symtab` and `.dynsym` of a file. A table that cannot be read counts as missing if the other one can.
pub(crate) fn read_symbol_table(file: &ElfFile) -> Result<SymbolTable, ElfError> {
    let mut table = SymbolTable::default();
    let mut symbols = Vec::new();
    let mut failed = None;
    for kind in [SHT_SYMTAB, SHT_DYNSYM] {
        let section = file
            .sections()
            .iter()
            .find(|section| section.sh_type.get(ENDIAN) == kind);
        let Some(section) = section else {
            continue;
        };
        match read_one(file, section) {
            Ok((entries, strings)) => {
                table.add(&entries, strings, &mut symbols);
                table.has_local_names |= kind == SHT_SYMTAB;
            }
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if symbols.is_empty() => Err(error),
        _ => {
            table.cut_into_parts(symbols);
            Ok(table)
        }
    }
}

fn read_one(
    file: &ElfFile,
    section: &SectionHeader64<LittleEndian>,
) -> Result<(Vec<u8>, Rc<[u8]>), ElfError> {
    let strings = file
        .sections()
        .get(section.sh_link.get(ENDIAN) as usize)
        .ok_or(ElfError::Malformed)?;
    let entries = file.read_raw(section, LARGEST_TABLE)?;
    Ok((entries, file.read_section(strings, LARGEST_STRINGS)?))
}

impl SymbolTable {
    fn add(&mut self, entries: &[u8], strings: Rc<[u8]>, symbols: &mut Vec<Symbol>) {
        let whole = entries.len() - entries.len() % size_of::<Sym64<LittleEndian>>();
        let Some(Ok(entries)) = entries
            .get(..whole)
            .map(pod::slice_from_all_bytes::<Sym64<LittleEndian>>)
        else {
            return;
        };
        let Ok(number) = u8::try_from(self.strings.len()) else {
            return;
        };
        symbols.extend(
            entries
                .iter()
                .filter_map(|entry| decode_function(entry, number)),
        );
        self.strings.push(strings);
    }

    /// The best name for each address: of the innermost symbol, and of those that start together the best one.
    fn cut_into_parts(&mut self, mut symbols: Vec<Symbol>) {
        symbols.retain(|symbol| !self.name_at(symbol.name).is_empty());
        symbols.sort_unstable_by(|a, b| {
            let start = a.start.cmp(&b.start);
            let rank = || self.rank(a).cmp(&self.rank(b));
            let name = || self.name_at(a.name).cmp(self.name_at(b.name));
            start.then_with(rank).then_with(name)
        });
        symbols.dedup_by(|later, kept| {
            later.start == kept.start && later.end <= kept.end && later.end > later.start
        });
        let (labels, sized): (Vec<Symbol>, Vec<Symbol>) = symbols
            .into_iter()
            .partition(|symbol| symbol.start == symbol.end);
        self.labels = labels
            .iter()
            .map(|label| (label.start, label.name))
            .collect();
        self.labels.dedup_by_key(|(address, _)| *address);
        self.parts = cut(&sized);
    }

    /// Smaller is better. Functions before what has no type, the larger of two (so that one function has one name
    /// from its first to its last byte), global before local, few leading underscores, the shorter.
    fn rank(&self, symbol: &Symbol) -> impl Ord + use<> {
        let name = self.name_at(symbol.name);
        let underscores = name.iter().take_while(|&&byte| byte == b'_').count();
        // Every mangled name starts with underscores that the reader never sees.
        let is_mangled = name.starts_with(b"_Z") || name.starts_with(b"_R");
        (
            !symbol.is_function,
            Reverse(symbol.end - symbol.start),
            !symbol.is_global,
            if is_mangled { 0 } else { underscores },
            name.len(),
        )
    }

    /// The name of the function that `svma` lies in, as the file spells it.
    pub(crate) fn find(&self, svma: u64) -> Option<&[u8]> {
        let behind = self.parts.partition_point(|part| part.start <= svma);
        let part = behind
            .checked_sub(1)
            .and_then(|index| self.parts.get(index));
        if let Some(part) = part.filter(|part| svma < part.end) {
            return Some(self.name_at(part.name));
        }
        let label = self
            .labels
            .binary_search_by_key(&svma, |(address, _)| *address)
            .ok()?;
        self.labels.get(label).map(|(_, name)| self.name_at(*name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.labels.is_empty()
    }

    /// What it holds in memory.
    pub(crate) fn bytes(&self) -> usize {
        let strings: usize = self.strings.iter().map(|strings| strings.len()).sum();
        strings
            + self.parts.capacity() * size_of::<Part>()
            + self.labels.capacity() * size_of::<(u64, NamePlace)>()
    }

    /// The name without its version (`memcpy@@GLIBC_2.14`); empty if there is none.
    fn name_at(&self, place: NamePlace) -> &[u8] {
        let rest = self
            .strings
            .get(usize::from(place.strings))
            .and_then(|strings| strings.get(place.offset as usize..))
            .unwrap_or_default();
        let bounded = rest.get(..LONGEST_NAME).unwrap_or(rest);
        let name = bounded.split(|&byte| byte == 0).next().unwrap_or_default();
        match name.iter().position(|&byte| byte == b'@') {
            // `@` at the start belongs to the name.
            Some(version) if version > 0 => name.get(..version).unwrap_or(name),
            _ => name,
        }
    }
}

/// `None` for data, for what is only used here, and for the names of sections and source files.
fn decode_function(entry: &Sym64<LittleEndian>, strings: u8) -> Option<Symbol> {
    let is_function = matches!(entry.st_type(), STT_FUNC | STT_GNU_IFUNC);
    let is_code = is_function || entry.st_type() == STT_NOTYPE;
    let is_defined = !matches!(entry.st_shndx(ENDIAN), SHN_UNDEF | SHN_ABS | SHN_COMMON);
    let start = entry.st_value(ENDIAN);
    (is_code && is_defined && start != 0).then(|| Symbol {
        start,
        end: start.saturating_add(entry.st_size(ENDIAN)),
        name: NamePlace {
            strings,
            offset: entry.st_name(ENDIAN),
        },
        is_function,
        is_global: entry.st_bind() != STB_LOCAL,
    })
}

/// Cuts symbols, sorted by start and best first, into parts: of those that cover an address, the one that starts
/// last holds it, and of those the first of the list.
fn cut(symbols: &[Symbol]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(symbols.len());
    // Those that have started, innermost and best on top.
    let mut open: BinaryHeap<(u64, Reverse<usize>)> = BinaryHeap::new();
    let mut position = 0;
    let mut emit_until = |limit: u64, open: &mut BinaryHeap<(u64, Reverse<usize>)>| {
        while let Some(symbol) = open.peek().and_then(|(_, top)| symbols.get(top.0)) {
            if symbol.end <= position {
                open.pop();
                continue;
            }
            let start = position.max(symbol.start);
            let end = symbol.end.min(limit);
            if start >= end {
                break;
            }
            parts.push(Part {
                start,
                end,
                name: symbol.name,
            });
            position = end;
        }
        position = position.max(limit);
    };
    for (index, symbol) in symbols.iter().enumerate() {
        emit_until(symbol.start, &mut open);
        open.push((symbol.start, Reverse(index)));
    }
    emit_until(u64::MAX, &mut open);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start, size, name, whether it is global.
    fn table(entries: &[(u64, u64, &str, bool)]) -> SymbolTable {
        let mut strings = vec![0];
        let mut symbols = Vec::new();
        for &(start, size, name, is_global) in entries {
            symbols.push(Symbol {
                start,
                end: start + size,
                name: NamePlace {
                    strings: 0,
                    offset: u32::try_from(strings.len()).unwrap(),
                },
                is_function: true,
                is_global,
            });
            strings.extend(name.as_bytes());
            strings.push(0);
        }
        let mut table = SymbolTable {
            strings: vec![strings.into()],
            ..SymbolTable::default()
        };
        table.cut_into_parts(symbols);
        table
    }

    fn name(table: &SymbolTable, svma: u64) -> &str {
        table
            .find(svma)
            .map_or("", |name| std::str::from_utf8(name).unwrap())
    }

    #[test]
    fn an_address_belongs_to_the_innermost_symbol_that_covers_it() {
        let table = table(&[
            (0x100, 0x100, "outer", true),
            (0x140, 0x10, "inner", false),
            (0x1f0, 0x40, "behind", true),
        ]);
        assert_eq!(name(&table, 0xff), "");
        assert_eq!(name(&table, 0x100), "outer");
        assert_eq!(name(&table, 0x14f), "inner");
        assert_eq!(name(&table, 0x150), "outer");
        assert_eq!(name(&table, 0x1f0), "behind");
        assert_eq!(name(&table, 0x22f), "behind");
        assert_eq!(name(&table, 0x230), "");
        assert_eq!(name(&table, u64::MAX), "");
    }

    #[test]
    fn of_several_names_the_global_the_plain_and_the_short_one_is_shown_in_any_order() {
        let mut entries = vec![
            (0x100, 0x10, "__libc_write", true),
            (0x100, 0x10, "write@@GLIBC_2.2.5", true),
            (0x100, 0x10, "write_alias", true),
            (0x100, 0x10, "w", false),
        ];
        for _ in 0..entries.len() {
            assert_eq!(name(&table(&entries), 0x10f), "write");
            entries.rotate_left(1);
        }
    }

    #[test]
    fn one_function_has_one_name_to_its_last_byte() {
        let table = table(&[(0x100, 0x10, "entry", true), (0x100, 0x40, "whole", false)]);
        assert_eq!(name(&table, 0x100), "whole");
        assert_eq!(name(&table, 0x13f), "whole");
    }

    #[test]
    fn a_label_names_its_byte_and_never_hides_a_function() {
        let table = table(&[
            (0x100, 0x10, "function", true),
            (0x108, 0, "label_inside", true),
            (0x200, 0, "label_alone", true),
        ]);
        assert_eq!(name(&table, 0x108), "function");
        assert_eq!(name(&table, 0x200), "label_alone");
        assert_eq!(name(&table, 0x201), "");
    }

    #[test]
    fn parts_agree_with_a_search_through_all_symbols() {
        let mut state = 12345_u64;
        let mut random = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % limit
        };
        for _ in 0..200 {
            let symbols: Vec<Symbol> = (0..40)
                .map(|index| {
                    let start = 1 + random(300);
                    Symbol {
                        start,
                        end: start + 1 + random(60),
                        name: NamePlace {
                            strings: 0,
                            offset: index,
                        },
                        is_function: true,
                        is_global: true,
                    }
                })
                .collect();
            let mut sorted = symbols;
            sorted.sort_by_key(|symbol| symbol.start);
            let parts = cut(&sorted);
            for address in 0..400 {
                let covering = sorted
                    .iter()
                    .filter(|symbol| (symbol.start..symbol.end).contains(&address));
                let innermost = covering.clone().map(|symbol| symbol.start).max();
                let expected = covering
                    .filter(|symbol| Some(symbol.start) == innermost)
                    .map(|symbol| symbol.name)
                    .next();
                let found = parts
                    .iter()
                    .find(|part| (part.start..part.end).contains(&address));
                assert_eq!(found.map(|part| part.name), expected, "at {address}");
            }
        }
    }
}
