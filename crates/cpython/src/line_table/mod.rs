//! From an instruction to its place in the source, on every CPython.
//!
//! CPython has written this down in four ways, see [`LineTableKind`]. Common to them: a table is a sequence of
//! entries in the order of the code; each covers a stretch of it and says how its line differs from the one before;
//! the running line starts at `co_firstlineno`.
//!
//! A **position** is what a frame holds, as its version counts it:
//!
//! ```text
//! 2.7, 3.6 … 3.9   f_lasti              bytes from the start of co_code
//! 3.10             f_lasti              units of 2 bytes
//! 3.11 and later   (prev_instr or instr_ptr − start of the code) / 2
//! negative         the frame has not run its first instruction: it is on its first line
//! ```
//!
//! One question is answered by [`LineTableKind::find_position`], which reads the table from its start.
//! Many about one code object are answered by a [`LineTable`].
//!
//! Tables come from another process and are not trusted: none panics, and none costs more than one look at each of
//! its bytes. A table that is cut off, or whose lines leave the 32 bits that CPython has for them, ends there.

mod lnotab;
mod locations;
mod ranges;

use serde::Deserialize;

/// A place in the source. Columns count bytes of UTF-8 from 0, as `co_positions()` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// First line, from 1. Up to 3.10 the only one that is known.
    ///
    /// From 3.11 on a module starts with an instruction on line 0.
    pub line: u32,
    /// Last line, from 1.
    pub end_line: u32,
    /// Column in the first line.
    pub start_column: Option<u32>,
    /// Column after the last character, in the last line.
    pub end_column: Option<u32>,
}

impl Position {
    /// A line of which no more is known; `None` for a negative one, which CPython uses for "no line".
    fn from_line(line: i32) -> Option<Self> {
        let line = u32::try_from(line).ok()?;
        Some(Self {
            line,
            end_line: line,
            start_column: None,
            end_column: None,
        })
    }
}

/// One entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How much code it covers: instruction units of 2 bytes in a location table, bytes in the older kinds.
    pub units: u32,
    /// Where that code comes from; `None` for instructions without a source line.
    pub position: Option<Position>,
}

/// How a version of CPython writes its line tables. In a layout file: the name in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineTableKind {
    /// `co_lnotab` of 2.7: lines only grow.
    LnotabUnsigned,
    /// `co_lnotab` of 3.6 to 3.9: a line step is signed.
    LnotabSigned,
    /// `co_linetable` of 3.10: ranges of bytecode, of which some have no line.
    Ranges,
    /// `co_linetable` of 3.11 and later: lines, end lines and columns.
    Locations,
}

impl LineTableKind {
    /// Finds line, end line and columns of a position, which is counted as the [module](self) says.
    ///
    /// `None` if the instruction has no line or lies after the end of the table. An lnotab does not say where the
    /// code ends: its last line goes on.
    #[must_use]
    pub fn find_position(self, table: &[u8], first_line: i32, position: i32) -> Option<Position> {
        match self.offset(position) {
            Some(offset) => self.find_from(Checkpoint::at_start(first_line), table, offset),
            None => Position::from_line(first_line),
        }
    }

    /// Finds the line of a position, otherwise as [`find_position`](Self::find_position).
    #[must_use]
    pub fn find_line(self, table: &[u8], first_line: i32, position: i32) -> Option<u32> {
        self.find_position(table, first_line, position)
            .map(|position| position.line)
    }

    /// A position in the units of the table's entries; `None` before the first instruction.
    fn offset(self, position: i32) -> Option<u32> {
        let position = u32::try_from(position).ok()?;
        Some(match self {
            Self::LnotabUnsigned | Self::LnotabSigned | Self::Locations => position,
            // Below 2³², because it was no more than 2³¹ − 1.
            Self::Ranges => position.saturating_mul(2),
        })
    }

    /// Reads on from a checkpoint until an entry covers the offset.
    fn find_from(self, from: Checkpoint, table: &[u8], offset: u32) -> Option<Position> {
        let mut rest = table.get(from.bytes..)?;
        let mut line = from.line;
        let mut start = from.start;
        loop {
            let entry = self.decode_entry(&mut rest, &mut line)?;
            start = start.saturating_add(entry.units);
            if offset < start {
                return entry.position;
            }
        }
    }

    /// Takes one entry off the front. `None` at the end, which an lnotab reaches with an entry of 2³² − 1 bytes.
    fn decode_entry(self, rest: &mut &[u8], line: &mut i32) -> Option<Entry> {
        match self {
            Self::LnotabUnsigned => lnotab::decode_entry(rest, line, i32::from),
            Self::LnotabSigned => {
                lnotab::decode_entry(rest, line, |step| i32::from(i8::from_le_bytes([step])))
            }
            Self::Ranges => ranges::decode_entry(rest, line),
            Self::Locations => locations::decode_entry(rest, line),
        }
    }
}

/// Number of entries from one checkpoint to the next, which is what a lookup reads at most.
const ENTRIES_PER_CHECKPOINT: usize = 32;

/// Where in a table an entry starts, and what must be known to read on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Checkpoint {
    /// Number of units of code before the entry.
    start: u32,
    /// The running line.
    line: i32,
    /// Number of bytes of the table before the entry.
    bytes: usize,
}

impl Checkpoint {
    fn at_start(first_line: i32) -> Self {
        Self {
            start: 0,
            line: first_line,
            bytes: 0,
        }
    }
}

/// A line table that is asked for many positions.
///
/// It keeps the table as it is and a sorted list of checkpoints, one every 32 entries, so a lookup is a binary search
/// and at most 32 entries, however long the function. It takes little more memory than the table alone: nothing
/// for a short one, and half a byte for each byte of the densest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineTable {
    kind: LineTableKind,
    table: Box<[u8]>,
    first_line: i32,
    /// All but the one at the start of the table.
    checkpoints: Vec<Checkpoint>,
}

impl LineTable {
    /// Reads a table once from start to end.
    #[must_use]
    pub fn decode(kind: LineTableKind, table: impl Into<Box<[u8]>>, first_line: i32) -> Self {
        let table = table.into();
        let mut checkpoints = Vec::new();
        let mut rest = &table[..];
        let mut line = first_line;
        let mut start = 0_u32;
        let mut entries = 0_usize;
        while !rest.is_empty() {
            if entries != 0 && entries.is_multiple_of(ENTRIES_PER_CHECKPOINT) {
                checkpoints.push(Checkpoint {
                    start,
                    line,
                    bytes: table.len() - rest.len(),
                });
            }
            let Some(entry) = kind.decode_entry(&mut rest, &mut line) else {
                break;
            };
            start = start.saturating_add(entry.units);
            entries += 1;
        }
        checkpoints.shrink_to_fit();
        Self {
            kind,
            table,
            first_line,
            checkpoints,
        }
    }

    /// Finds what [`LineTableKind::find_position`] finds in the same table.
    #[must_use]
    pub fn find(&self, position: i32) -> Option<Position> {
        let Some(offset) = self.kind.offset(position) else {
            return Position::from_line(self.first_line);
        };
        let after = self
            .checkpoints
            .partition_point(|checkpoint| checkpoint.start <= offset);
        let before = after
            .checked_sub(1)
            .and_then(|index| self.checkpoints.get(index));
        let from = before
            .copied()
            .unwrap_or(Checkpoint::at_start(self.first_line));
        self.kind.find_from(from, &self.table, offset)
    }

    /// Finds the line of a position.
    #[must_use]
    pub fn find_line(&self, position: i32) -> Option<u32> {
        self.find(position).map(|position| position.line)
    }

    /// The bytes it was made of.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.table
    }
}

/// Takes one byte off the front.
fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, tail) = rest.split_first()?;
    *rest = tail;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const KINDS: [LineTableKind; 4] = [
        LineTableKind::LnotabUnsigned,
        LineTableKind::LnotabSigned,
        LineTableKind::Ranges,
        LineTableKind::Locations,
    ];

    #[test]
    fn layout_files_name_the_kinds_in_kebab_case() {
        #[derive(Deserialize)]
        struct File {
            line_table: LineTableKind,
        }
        let names = ["lnotab-unsigned", "lnotab-signed", "ranges", "locations"];
        for (kind, name) in KINDS.into_iter().zip(names) {
            let file: File = toml::from_str(&format!("line_table = '{name}'")).unwrap();
            assert_eq!(file.line_table, kind);
        }
    }

    #[test]
    fn a_frame_before_its_first_instruction_is_on_its_first_line() {
        for kind in KINDS {
            for table in [&[][..], &[0, 3, 8, 1], &[0x80 | 11 << 3, 1, 2]] {
                for position in [-1, -2, i32::MIN] {
                    assert_eq!(kind.find_line(table, 10, position), Some(10));
                    let whole = LineTable::decode(kind, table, 10);
                    assert_eq!(whole.find_line(position), Some(10));
                    assert_eq!(kind.find_line(table, -3, position), None);
                }
            }
        }
    }

    /// xorshift64: the seed makes every run the same.
    fn random_numbers(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    #[test]
    fn random_tables_never_panic_and_their_checkpoints_change_no_answer() {
        let mut random = random_numbers(0x9e37_79b9_7f4a_7c15);
        for turn in 0..8_000_u64 {
            let kind = KINDS[usize::try_from(turn % 4).unwrap()];
            let length = usize::try_from(random() % 400).unwrap();
            let [a, b, mask, or, ..] = random().to_le_bytes();
            // Few set bits make small steps, so that decoding goes deep; bit 7 starts an entry of a location table.
            let (mask, or) = if a & 1 == 0 {
                (0xff, 0)
            } else {
                (mask, or & 0x80)
            };
            let table: Vec<u8> = (0..length)
                .map(|_| random().to_le_bytes()[3] & mask | or)
                .collect();
            let first_line = i32::from_le_bytes([a, b, a, b]) >> (random() % 32);
            let whole = LineTable::decode(kind, table.clone(), first_line);
            assert_eq!(whole.bytes(), table);
            for position in (-2..600).chain([10_000, 60_000, i32::MAX - 1, i32::MAX]) {
                let found = kind.find_position(&table, first_line, position);
                assert_eq!(whole.find(position), found, "{kind:?} {position} {table:?}");
            }
        }
    }

    #[test]
    fn hostile_tables_of_4_mib_are_read_once_and_searched_fast() {
        let mut random = random_numbers(0x1234_5678_9abc_def1);
        // The longest steps forward and back, entries that cover nothing, entries with no line, a number without
        // an end, and noise.
        let mut tables: Vec<Vec<u8>> = [
            [0xff, 0x7f],
            [0xff, 0x81],
            [0xff, 0xff],
            [0x00, 0x01],
            [0x00, 0x00],
            [0xff, 0x80],
            [0xf8, 0xf8],
            [0xe8, 0x7f],
            [0x80, 0x00],
        ]
        .into_iter()
        .map(|pair| pair.repeat(2 << 20))
        .collect();
        tables.push((0..4 << 20).map(|_| random().to_le_bytes()[3]).collect());
        for table in tables {
            for kind in KINDS {
                let start = Instant::now();
                let whole = LineTable::decode(kind, table.clone(), i32::MAX - 1000);
                assert!(whole.checkpoints.len() <= table.len() / ENTRIES_PER_CHECKPOINT);
                for turn in 0..1000 {
                    let position = i32::from_le_bytes([0, turn as u8, (turn >> 4) as u8, 1]);
                    let _ = whole.find(position);
                }
                let last = kind.find_position(&table, i32::MAX - 1000, i32::MAX);
                assert_eq!(whole.find(i32::MAX), last);
                // A second look at each entry for each entry would take hours.
                assert!(start.elapsed() < Duration::from_secs(10), "{kind:?}");
            }
        }
    }
}
