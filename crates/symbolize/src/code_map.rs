//! Generated code by address, where memory is used again: the newest function holds an address.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::NativeSymbol;

/// A function's name is cut here; numba's reach a few kilobytes.
pub(crate) const LONGEST_NAME: usize = 4 << 10;
/// Functions beyond this are not taken in. A large Java or numba process has some ten thousand.
const MOST_FUNCTIONS: usize = 2_000_000;
/// Nor those whose names together would need more than this.
const MOST_NAME_BYTES: usize = 256 << 20;

/// A source line that begins at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CodeLine {
    /// Counted from the start of the function.
    pub(crate) offset: u64,
    pub(crate) line: u32,
    pub(crate) file: Arc<str>,
}

/// One generated function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) end: u64,
    pub(crate) name: Box<str>,
    /// Sorted by offset.
    pub(crate) lines: Box<[CodeLine]>,
}

/// Functions that do not overlap, by their start.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeMap {
    functions: BTreeMap<u64, Code>,
    name_bytes: usize,
}

impl CodeMap {
    /// Adds a function that was generated after all the others. Those that it overlaps are gone: their memory was
    /// given to it.
    pub(crate) fn insert(&mut self, start: u64, code: Code) {
        if code.end <= start || code.name.is_empty() {
            return;
        }
        self.remove_overlapping(start, code.end);
        let name_bytes = self.name_bytes + code.name.len();
        if self.functions.len() < MOST_FUNCTIONS && name_bytes <= MOST_NAME_BYTES {
            self.name_bytes = name_bytes;
            self.functions.insert(start, code);
        }
    }

    fn remove_overlapping(&mut self, start: u64, end: u64) {
        while let Some((&last, code)) = self.functions.range(..end).next_back()
            && code.end > start
        {
            self.take(last);
        }
    }

    /// Takes out the function that starts at `start`.
    pub(crate) fn take(&mut self, start: u64) -> Option<Code> {
        let code = self.functions.remove(&start)?;
        self.name_bytes -= code.name.len();
        Some(code)
    }

    pub(crate) fn len(&self) -> usize {
        self.functions.len()
    }

    /// Where each function starts.
    pub(crate) fn starts(&self) -> impl Iterator<Item = u64> {
        self.functions.keys().copied()
    }

    /// The function that `address` lies in.
    pub(crate) fn find(&self, address: u64) -> Option<NativeSymbol> {
        let (&start, code) = self.functions.range(..=address).next_back()?;
        if address >= code.end {
            return None;
        }
        let behind = code
            .lines
            .partition_point(|line| line.offset <= address - start);
        let line = behind
            .checked_sub(1)
            .and_then(|index| code.lines.get(index));
        let (name, file) = split_python_name(&code.name);
        Some(NativeSymbol {
            name: name.to_owned(),
            file: line
                .map(|line| line.file.to_string())
                .or(file.map(str::to_owned)),
            line: line.map(|line| line.line).filter(|&line| line != 0),
            inlined: Vec::new(),
        })
    }
}

/// `python -X perf` calls its trampolines `py::QUALNAME:FILE`.
/// <https://github.com/python/cpython/blob/v3.14.0/Python/perf_trampoline.c#L253-L277>
fn split_python_name(name: &str) -> (&str, Option<&str>) {
    const PREFIX: &str = "py::";
    let split = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once(':'))
        .filter(|(qualname, file)| !qualname.is_empty() && !file.is_empty());
    match split {
        Some((qualname, file)) => {
            let end = PREFIX.len() + qualname.len();
            (name.get(..end).unwrap_or(name), Some(file))
        }
        None => (name, None),
    }
}

/// A name as text: cut at [`LONGEST_NAME`], and without what could move a terminal's cursor.
pub(crate) fn readable_name(bytes: &[u8]) -> String {
    let cut = bytes.get(..LONGEST_NAME).unwrap_or(bytes);
    let text = String::from_utf8_lossy(cut);
    text.trim()
        .replace(|character: char| character.is_control(), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(functions: &[(u64, u64, &str)]) -> CodeMap {
        let mut map = CodeMap::default();
        for &(start, end, name) in functions {
            let lines = Box::default();
            let name = name.into();
            map.insert(start, Code { end, name, lines });
        }
        map
    }

    fn name(map: &CodeMap, address: u64) -> String {
        map.find(address)
            .map(|found| found.name)
            .unwrap_or_default()
    }

    #[test]
    fn the_newest_function_holds_an_address_and_ends_those_it_overlaps() {
        let map = map(&[
            (100, 200, "old"),
            (200, 300, "neighbour"),
            (150, 160, "new"),
            (400, 500, "a"),
            (500, 600, "b"),
            (600, 700, "c"),
            (450, 601, "over all three"),
        ]);
        assert_eq!(name(&map, 155), "new");
        assert_eq!(name(&map, 120), "");
        assert_eq!(name(&map, 160), "");
        assert_eq!(name(&map, 299), "neighbour");
        assert_eq!(name(&map, 300), "");
        assert_eq!(name(&map, 600), "over all three");
        assert_eq!(name(&map, 410), "");
        assert_eq!(name(&map, 650), "");
    }

    #[test]
    fn the_last_written_function_covering_an_address_is_the_one_found() {
        // Against the rule said slowly: the last one that covers, if no later one overlaps it.
        let mut state = 99_u64;
        let mut random = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % limit
        };
        for _ in 0..200 {
            let functions: Vec<(u64, u64, String)> = (0..50)
                .map(|index| {
                    let start = random(300);
                    (start, start + 1 + random(40), format!("f{index}"))
                })
                .collect();
            let borrowed: Vec<_> = functions
                .iter()
                .map(|(s, e, n)| (*s, *e, n.as_str()))
                .collect();
            let map = map(&borrowed);
            for address in 0..360 {
                let alive = functions
                    .iter()
                    .enumerate()
                    .filter(|(index, (start, end, _))| {
                        functions[index + 1..]
                            .iter()
                            .all(|(s, e, _)| e <= start || s >= end)
                    });
                let expected = alive
                    .filter(|(_, (start, end, _))| (*start..*end).contains(&address))
                    .map(|(_, (_, _, name))| name.as_str())
                    .next();
                assert_eq!(
                    name(&map, address),
                    expected.unwrap_or_default(),
                    "at {address}"
                );
            }
        }
    }

    #[test]
    fn pythons_trampolines_give_name_and_file() {
        assert_eq!(
            split_python_name("py::Class.method:/srv/a:b.py"),
            ("py::Class.method", Some("/srv/a:b.py"))
        );
        for other in ["py::", "py:::", "py::x", "py::x:", "std::sort:x"] {
            assert_eq!(split_python_name(other), (other, None));
        }
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(readable_name(b" a\x1b[2J b\xff "), "a\u{fffd}[2J b\u{fffd}");
    }
}
