//! A file's call frame information as one sorted table.

use std::ops::Range;

use gimli::UnwindSection;
use viperf_elf::Svma;

use crate::dwarf::{Bytes, Function};
use crate::entries::{Entries, Place};
use crate::rule::{Row, Rule};

/// The largest common information entry that is believed, in bytes. Compilers write about 20. Each
/// function evaluates its entry again, so a hostile file could ask for the square of its size.
const MAX_COMMON_ENTRY_LENGTH: usize = 512;

/// As many rows as the kernel can search, 512 MiB of them. The largest file known, 790 MB of TensorFlow, has six million.
const MAX_ROWS: usize = 1 << 26;

/// The rows of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowTable {
    /// Sorted by address, no two with the same address, no two neighbours with the same rule. The
    /// last one is NONE, unless the code reaches up to 4 GiB.
    pub rows: Vec<Row>,
    /// How many frame description entries the rows come from.
    pub fdes: usize,
    /// How many were left out because they could not be read; their addresses are NONE.
    pub skipped_fdes: usize,
    /// How many rows are UNSUPPORTED.
    pub unsupported_rows: usize,
}

/// Why a file has no table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RowError {
    /// No `.eh_frame`, by section or by program header, and no `.debug_frame`.
    #[error(
        "the file has no .eh_frame and no .debug_frame; rebuild it with -fasynchronous-unwind-tables"
    )]
    NoUnwindInformation,
    /// A function is where the 32 bits of a row cannot say.
    #[error(
        "code at {start} to {end:#x} is not below 4 GiB; rows hold 32-bit addresses, link the file lower"
    )]
    AddressTooLarge {
        /// The function's first byte.
        start: Svma,
        /// The byte behind its last.
        end: u64,
    },
    /// There are more rows than the kernel can search.
    #[error(
        "the file has more than {limit} unwind rows; no program is so large, the file is damaged"
    )]
    TooManyRows {
        /// How many there may be.
        limit: usize,
    },
}

/// Evaluates all frame description entries of the `.eh_frame` with these bytes at that address.
///
/// An entry that cannot be read is counted and left out, no others. Entries for no bytes or for
/// address 0 (code that the linker discarded) do not count. Where entries overlap, the one that
/// starts later holds from there on, as in the binary search of the C runtime's unwinder; of two
/// with one start, the first in the section.
///
/// Rows are written in the order of their addresses straight into the table, so that building takes eight bytes for
/// each function beside the rows themselves.
///
/// # Errors
///
/// When a function is not below 4 GiB, or there are more than 2²⁶ rows.
pub fn build_rows(eh_frame: &[u8], eh_frame_svma: Svma) -> Result<RowTable, RowError> {
    build_table(Entries::of_eh_frame(eh_frame, eh_frame_svma)?)
}

/// Evaluates all frame description entries of a `.debug_frame` with these bytes, as [`build_rows`] does; `code` is where
/// the program has code, sorted.
///
/// Entries for other addresses do not count: linkers leave those of discarded functions behind, at addresses near zero
/// or at the highest ones.
///
/// # Errors
///
/// When there are more than 2²⁶ rows.
pub fn build_rows_of_debug_frame(
    debug_frame: &[u8],
    code: &[Range<u64>],
) -> Result<RowTable, RowError> {
    build_table(Entries::of_debug_frame(debug_frame, code))
}

/// Evaluates the `.eh_frame` with these bytes at that address, of code that was made at run time, as [`build_rows`] does.
/// Only functions within `code` count, and addresses of rows from its start.
///
/// # Errors
///
/// When there are more than 2²⁶ rows.
pub(crate) fn build_rows_of_generated(
    eh_frame: &[u8],
    address: u64,
    code: &Range<u64>,
) -> Result<RowTable, RowError> {
    build_table(Entries::of_generated(eh_frame, address, code))
}

fn build_table<'data, S: UnwindSection<Bytes<'data>>>(
    mut entries: Entries<'data, S>,
) -> Result<RowTable, RowError> {
    let places = entries.take_places();
    let mut table = RowTable {
        skipped_fdes: entries.skipped,
        ..RowTable::default()
    };
    let mut groups = places.chunk_by(|a, b| a.start == b.start).peekable();
    let mut covered_to = None;
    while let Some(group) = groups.next() {
        let next_start = groups.peek().and_then(|next| next.first());
        let limit = next_start.map_or(u64::MAX, |next| u64::from(next.start));
        for place in group {
            match append_function(&mut entries, *place, limit, covered_to, &mut table.rows) {
                Ok(end) => {
                    covered_to = Some(end);
                    table.fdes += 1;
                    break;
                }
                Err(NotReadable) => table.skipped_fdes += 1,
            }
        }
        if table.rows.len() > MAX_ROWS {
            return Err(RowError::TooManyRows { limit: MAX_ROWS });
        }
    }
    push_gap(&mut table.rows, covered_to);
    table.rows.shrink_to_fit();
    table.unsupported_rows = count_unsupported(&table.rows);
    Ok(table)
}

pub(crate) fn count_unsupported(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.rule.is_unsupported()).count()
}

/// Appends the rows of the function at that place as far as they are below `limit`, and NONE before them where the last
/// function ended earlier; the byte behind its last. Nothing is appended if it cannot be read.
fn append_function<'data, S: UnwindSection<Bytes<'data>>>(
    entries: &mut Entries<'data, S>,
    place: Place,
    limit: u64,
    covered_to: Option<u64>,
    rows: &mut Vec<Row>,
) -> Result<u64, NotReadable> {
    let rows_before = rows.len();
    let fde = entries.parse(place).ok_or(NotReadable)?;
    let common = fde.cie();
    if common.entry_len() > MAX_COMMON_ENTRY_LENGTH {
        return Err(NotReadable);
    }
    let origin = entries.origin;
    let first = fde.initial_address().saturating_sub(origin);
    let end = first.saturating_add(fde.len()).min(limit);
    push_gap(rows, covered_to.filter(|&covered| covered < first));
    let function = Function {
        section: &entries.section,
        encoding: common.encoding(),
        return_address_register: common.return_address_register(),
        is_signal_trampoline: fde.is_signal_trampoline(),
    };
    let context = &mut entries.context;
    let evaluated = fde
        .rows(&entries.section, &entries.bases, context)
        .and_then(|mut table| {
            while let Some(row) = table.next_row()? {
                // Instructions may advance beyond the function's end, where its rows mean nothing.
                let start = row.start_address().saturating_sub(origin);
                let Some(pc) = u32::try_from(start).ok().filter(|_| start < end) else {
                    break;
                };
                let rule = Rule::encode(function.translate(row));
                push_row(rows, Row { pc, rule });
            }
            Ok(end)
        });
    evaluated.map_err(|_unreadable| {
        rows.truncate(rows_before);
        NotReadable
    })
}

/// A frame description entry with an instruction or a length that makes no sense.
pub(crate) struct NotReadable;

/// Appends a row: the one of no bytes before it is replaced, a row that changes nothing left out.
pub(crate) fn push_row(rows: &mut Vec<Row>, row: Row) {
    if rows.last().is_some_and(|last| last.pc == row.pc) {
        rows.pop();
    }
    let rule_before = rows.last().map_or(Rule::NONE, |last| last.rule);
    if rule_before != row.rule {
        rows.push(row);
    }
}

/// From `start` on nothing is known.
fn push_gap(rows: &mut Vec<Row>, start: Option<u64>) {
    // Behind the last address there is nothing to say.
    if let Some(pc) = start.and_then(|start| u32::try_from(start).ok()) {
        let rule = Rule::NONE;
        push_row(rows, Row { pc, rule });
    }
}

#[cfg(test)]
mod tests {
    use viperf_elf::Image;

    use super::*;
    use crate::rule::{CallerRbp, Cfa, Step, find_rule};

    /// A section written by hand: one CIE as gcc writes it, then entries.
    struct Section(Vec<u8>);

    /// DW_CFA_def_cfa_offset 16; DW_CFA_offset rbp at CFA - 16.
    const PUSH_RBP: [u8; 4] = [0x0e, 16, 0x86, 2];

    fn advance(bytes: u8) -> u8 {
        0x40 | bytes
    }

    impl Section {
        /// Augmentation "zR" with absolute 8-byte pointers, code 1, data -8, return address 16;
        /// DW_CFA_def_cfa rsp 8; DW_CFA_offset rip at CFA - 8.
        fn new() -> Self {
            let mut section = Self(Vec::new());
            let mut body = vec![0, 0, 0, 0, 1];
            body.extend(b"zR\0\x01\x78\x10\x01\x00\x0c\x07\x08\x90\x01");
            section.entry(&body);
            section
        }

        fn entry(&mut self, body: &[u8]) {
            let padded = body.len().next_multiple_of(4);
            self.0.extend(u32::try_from(padded).unwrap().to_le_bytes());
            self.0.extend(body);
            self.0.extend(vec![0; padded - body.len()]);
        }

        fn function(mut self, start: u64, length: u64, instructions: &[u8]) -> Self {
            let to_cie = u32::try_from(self.0.len() + 4).unwrap();
            let mut body = to_cie.to_le_bytes().to_vec();
            body.extend(start.to_le_bytes());
            body.extend(length.to_le_bytes());
            body.push(0);
            body.extend(instructions);
            self.entry(&body);
            self
        }

        fn build(&self) -> RowTable {
            build_rows(&self.0, Svma(0x10_0000)).unwrap()
        }
    }

    fn rsp(offset: i64, rbp: CallerRbp) -> Rule {
        let cfa = Cfa::Rsp { offset };
        Rule::encode(Step::Caller { cfa, rbp })
    }

    const SAVED: CallerRbp = CallerRbp::BelowCfa { distance: 16 };

    fn pcs(table: &RowTable) -> Vec<(u32, Rule)> {
        table.rows.iter().map(|row| (row.pc, row.rule)).collect()
    }

    #[test]
    fn functions_in_any_order_become_sorted_rows_with_gaps_between() {
        let entry = rsp(8, CallerRbp::Unchanged);
        let mut pushed = vec![advance(1)];
        pushed.extend(PUSH_RBP);
        let table = Section::new()
            .function(0x3000, 0x10, &pushed)
            .function(0x1000, 0x20, &[])
            .function(0x1020, 0x08, &[])
            .function(0x2000, 0x10, &pushed)
            .build();
        assert_eq!(
            pcs(&table),
            [
                (0x1000, entry), // two functions with the same rule
                (0x1028, Rule::NONE),
                (0x2000, entry),
                (0x2001, rsp(16, SAVED)),
                (0x2010, Rule::NONE),
                (0x3000, entry),
                (0x3001, rsp(16, SAVED)),
                (0x3010, Rule::NONE),
            ]
        );
        assert_eq!((table.fdes, table.skipped_fdes), (4, 0));
        assert_eq!(find_rule(&table.rows, 0xfff), Rule::NONE);
    }

    #[test]
    fn discarded_and_empty_functions_leave_no_rows() {
        let table = Section::new()
            .function(0, 0x10, &[])
            .function(0x1000, 0, &[])
            .build();
        assert_eq!(table, RowTable::default());
    }

    #[test]
    fn of_overlapping_functions_the_later_start_holds_and_of_equal_ones_the_first() {
        let wide = rsp(8, CallerRbp::Unchanged);
        let table = Section::new()
            .function(0x1000, 0x100, &[])
            .function(0x1040, 0x20, &PUSH_RBP)
            .function(0x1040, 0x80, &[0x0e, 32])
            .build();
        assert_eq!(
            pcs(&table),
            [
                (0x1000, wide),
                (0x1040, rsp(16, SAVED)),
                (0x1060, Rule::NONE),
            ]
        );
        assert_eq!(table.fdes, 2);
    }

    #[test]
    fn one_bad_entry_loses_only_itself() {
        let good = Section::new().function(0x1000, 0x10, &[]);
        // 0x3f is no instruction; the rows before it must go, too.
        let mut section = good
            .function(0x2000, 0x10, &[advance(4), 0x0e, 16, 0x3f])
            .function(0x3000, 0x10, &[]);
        section.entry(&[0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4]); // no CIE there
        let mut section = section.function(0x4000, 0x10, &[]);
        section.0.extend([0; 4]); // a terminator in the middle
        let mut section = section.function(0x5000, 0x10, &[]);
        section.0.extend([0xf0, 0xff, 0, 0, 1, 0, 0, 0]); // longer than the section
        let table = section.build();
        let starts: Vec<u32> = table
            .rows
            .iter()
            .filter(|row| row.rule != Rule::NONE)
            .map(|row| row.pc)
            .collect();
        assert_eq!(starts, [0x1000, 0x3000, 0x4000, 0x5000]);
        assert_eq!((table.fdes, table.skipped_fdes), (4, 3));
    }

    #[test]
    fn rows_behind_the_end_of_a_function_are_not_believed() {
        let table = Section::new()
            .function(
                0x1000,
                0x10,
                &[advance(0x10), 0x0e, 16, advance(1), 0x0e, 24],
            )
            .function(0x1010, 0x10, &[advance(0), 0x0e, 32])
            .build();
        assert_eq!(
            pcs(&table),
            [
                (0x1000, rsp(8, CallerRbp::Unchanged)),
                (0x1010, rsp(32, CallerRbp::Unchanged)), // the row of no bytes is gone
                (0x1020, Rule::NONE),
            ]
        );
    }

    #[test]
    fn code_above_four_gigabytes_is_an_error_that_says_so() {
        let high = Section::new().function(0x1_0000_0000, 0x10, &[]);
        let error = build_rows(&high.0, Svma(0)).unwrap_err();
        assert!(error.to_string().contains("0x100000000"), "{error}");
        let wraps = Section::new().function(u64::MAX - 3, 0x10, &[]);
        assert!(build_rows(&wraps.0, Svma(0)).is_err());
        let last = Section::new().function(0xffff_fff0, 0x10, &[]).build();
        assert_eq!(pcs(&last).len(), 1);
    }

    #[test]
    fn what_has_no_kind_is_counted_as_unsupported() {
        let table = Section::new()
            .function(0x1000, 0x10, &[0x90, 2]) // return address at CFA - 16
            .function(0x2000, 0x10, &[0x0e, 12]) // not a multiple of 8
            .function(0x3000, 0x10, &[0x0c, 17, 8]) // CFA from xmm0
            .function(0x4000, 0x10, &[0x0f, 1, 0x50]) // an expression: rax
            .function(0x5000, 0x10, &[0x07, 16]) // return address undefined
            .build();
        assert_eq!(table.unsupported_rows, 4);
        assert_eq!(find_rule(&table.rows, 0x5000).decode(), Step::Root);
    }

    #[test]
    fn every_truncation_of_a_section_is_survived() {
        let section = Section::new()
            .function(0x1000, 0x10, &[advance(1), 0x0e, 16])
            .function(0x2000, 0x10, &[0x0f, 4, 0x77, 0x78, 0x06, 0x23]);
        for length in 0..section.0.len() {
            let table = build_rows(&section.0[..length], Svma(0x10_0000)).unwrap();
            assert!(table.fdes <= 2);
        }
    }

    /// xorshift64*: the same flips every time.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
            usize::try_from(value).unwrap() % limit
        }
    }

    #[test]
    fn flipped_bytes_are_survived_and_leave_sorted_rows() {
        let path = "/lib/x86_64-linux-gnu/libc.so.6";
        let Ok(bytes) = std::fs::read(path) else {
            println!("skipped: no file {path}");
            return;
        };
        let section = Image::parse(&bytes).unwrap().eh_frame().unwrap();
        let beginning = &section.data[..8192.min(section.data.len())];
        let mut random = Random(0x5eed_5eed_5eed_5eed);
        let mut tables = 0;
        for _ in 0..3000 {
            let mut damaged = beginning.to_vec();
            for _ in 0..=random.below(8) {
                let position = random.below(damaged.len());
                damaged[position] = u8::try_from(random.below(256)).unwrap();
            }
            // A function beyond 4 GiB is an error by design.
            if let Ok(table) = build_rows(&damaged, section.svma) {
                assert!(table.rows.windows(2).all(|pair| pair[0].pc < pair[1].pc));
                tables += 1;
            }
        }
        assert!(tables > 1000, "{tables}");
    }
}
