//! A file's `.eh_frame` as one sorted table.

use std::{collections::HashMap, ops::Range};

use gimli::{
    BaseAddresses, CommonInformationEntry, EhFrame, EhFrameOffset, FrameDescriptionEntry,
    LittleEndian, UnwindContext, UnwindSection as _,
};
use viperf_elf::{Image, Svma};

use crate::dwarf::{Bytes, Function};
use crate::rule::{Cfa, Row, Rule, Step};

/// The largest common information entry that is believed, in bytes. Compilers write about 20. Each
/// function evaluates its entry again, so a hostile file could ask for the square of its size.
const MAX_COMMON_ENTRY_LENGTH: usize = 512;

/// Bytes of a process entry that has no unwind information, at most; glibc's is 50 long.
const MAX_ENTRY_LENGTH: u32 = 64;

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
    /// No `.eh_frame`, by section or by program header.
    #[error("the file has no .eh_frame; rebuild it with -fasynchronous-unwind-tables")]
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
}

/// Evaluates the `.eh_frame` of a file; see [`build_rows`].
///
/// # Errors
///
/// As [`build_rows`], and when the file has no `.eh_frame`.
pub fn build_rows_of_image(image: &Image<'_>) -> Result<RowTable, RowError> {
    let section = image.eh_frame().ok_or(RowError::NoUnwindInformation)?;
    let mut table = build_rows(section.data, section.svma)?;
    if let Some(entry) = image.entry().and_then(|entry| u32::try_from(entry.0).ok()) {
        add_entry(&mut table.rows, entry);
    }
    Ok(table)
}

/// The address ranges with a frame description entry of their own that do not begin as a called function does: parts of
/// functions that a compiler has moved away (`.cold`, `.part`), reached by a jump. Sorted.
///
/// # Errors
///
/// As [`build_rows_of_image`].
pub fn find_moved_parts(image: &Image<'_>) -> Result<Vec<Range<u64>>, RowError> {
    let section = image.eh_frame().ok_or(RowError::NoUnwindInformation)?;
    let mut builder = Builder::default();
    builder.evaluate_all(section.data, section.svma)?;
    let is_moved = |span: &&Span| {
        let first = builder.rows.get(span.first_row);
        first.is_some_and(|row| !is_rule_of_a_call(row.rule))
    };
    let parts = builder.spans.iter().filter(is_moved);
    let mut parts: Vec<Range<u64>> = parts.map(|span| span.start..span.end).collect();
    parts.sort_unstable_by_key(|part| part.start);
    Ok(parts)
}

/// Nothing has been pushed since the call: the return address is on top of the stack.
fn is_rule_of_a_call(rule: Rule) -> bool {
    let cfa = match rule.decode() {
        Step::Caller { cfa, .. } => cfa,
        // What has no rule is no part that anything could be learnt from.
        _ => return true,
    };
    cfa == Cfa::Rsp { offset: 8 }
}

/// Where the process entry has no unwind information, it is the root all the same: nothing called it
/// (System V ABI, AMD64 supplement, 3.4.1). So it is in glibc's ld.so, in which every program begins
/// (`_start` in <https://github.com/bminor/glibc/blob/glibc-2.36/sysdeps/x86_64/dl-machine.h#L140>).
fn add_entry(rows: &mut Vec<Row>, entry: u32) {
    let next = rows.partition_point(|row| row.pc <= entry);
    let before = next.checked_sub(1).and_then(|index| rows.get(index));
    if before.is_some_and(|row| row.rule != Rule::NONE) {
        return;
    }
    let end = entry.saturating_add(MAX_ENTRY_LENGTH);
    let root = Row {
        pc: entry,
        rule: Rule::encode(Step::Root),
    };
    let ends_before_next = rows.get(next).is_none_or(|row| end < row.pc);
    let after = ends_before_next.then_some(Row {
        pc: end,
        rule: Rule::NONE,
    });
    rows.splice(next..next, std::iter::once(root).chain(after));
}

/// Evaluates all frame description entries of the `.eh_frame` with these bytes at that address.
///
/// An entry that cannot be read is counted and left out, no others. Entries for no bytes or for
/// address 0 (code that the linker discarded) do not count. Where entries overlap, the one that
/// starts later holds from there on, as in the binary search of the C runtime's unwinder; of two
/// with one start, the first in the section.
///
/// # Errors
///
/// When a function is not below 4 GiB.
pub fn build_rows(eh_frame: &[u8], eh_frame_svma: Svma) -> Result<RowTable, RowError> {
    let mut builder = Builder::default();
    builder.evaluate_all(eh_frame, eh_frame_svma)?;
    Ok(builder.into_table())
}

/// One function's address range, and where its rows are among all rows.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
    first_row: usize,
    row_count: usize,
}

/// Rows in the order of the section, not yet in that of the addresses.
#[derive(Default)]
struct Builder {
    rows: Vec<Row>,
    spans: Vec<Span>,
    skipped_fdes: usize,
}

type CommonEntry<'data> = CommonInformationEntry<Bytes<'data>>;

impl Builder {
    fn evaluate_all(&mut self, eh_frame: &[u8], svma: Svma) -> Result<(), RowError> {
        let section = EhFrame::new(eh_frame, LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame(svma.0);
        let mut common_entries: HashMap<usize, gimli::Result<CommonEntry<'_>>> = HashMap::new();
        let mut context = UnwindContext::new();
        for offset in fde_offsets(eh_frame) {
            let fde =
                section.fde_from_offset(&bases, EhFrameOffset(offset), |section, bases, offset| {
                    common_entries
                        .entry(offset.0)
                        .or_insert_with(|| section.cie_from_offset(bases, offset))
                        .clone()
                });
            let Ok(fde) = fde else {
                self.skipped_fdes += 1;
                continue;
            };
            if fde.len() == 0 || fde.initial_address() == 0 {
                continue;
            }
            let span = self.find_span(&fde)?;
            match self.evaluate(&section, &bases, &fde, &mut context) {
                Ok(row_count) => self.spans.push(Span { row_count, ..span }),
                Err(NotReadable) => {
                    self.rows.truncate(span.first_row);
                    self.skipped_fdes += 1;
                }
            }
        }
        Ok(())
    }

    /// The range of the function, with no rows yet.
    fn find_span(&self, fde: &FrameDescriptionEntry<Bytes<'_>>) -> Result<Span, RowError> {
        const LIMIT: u64 = 1 << 32;
        let start = fde.initial_address();
        let end = start.saturating_add(fde.len());
        if end > LIMIT {
            let start = Svma(start);
            return Err(RowError::AddressTooLarge { start, end });
        }
        Ok(Span {
            start,
            end,
            first_row: self.rows.len(),
            row_count: 0,
        })
    }

    /// Appends the rows of one function; their number.
    fn evaluate<'data>(
        &mut self,
        section: &EhFrame<Bytes<'data>>,
        bases: &BaseAddresses,
        fde: &FrameDescriptionEntry<Bytes<'data>>,
        context: &mut UnwindContext<usize>,
    ) -> Result<usize, NotReadable> {
        let common = fde.cie();
        if common.entry_len() > MAX_COMMON_ENTRY_LENGTH {
            return Err(NotReadable);
        }
        let function = Function {
            section,
            encoding: common.encoding(),
            return_address_register: common.return_address_register(),
            is_signal_trampoline: fde.is_signal_trampoline(),
        };
        let first_row = self.rows.len();
        let mut table = fde.rows(section, bases, context).or(Err(NotReadable))?;
        while let Some(row) = table.next_row().or(Err(NotReadable))? {
            // Instructions may advance beyond the function's end, where its rows mean nothing.
            let Some(pc) = u32::try_from(row.start_address())
                .ok()
                .filter(|&pc| u64::from(pc) < fde.end_address())
            else {
                break;
            };
            let rule = Rule::encode(function.translate(row));
            push_row(&mut self.rows, first_row, Row { pc, rule });
        }
        Ok(self.rows.len() - first_row)
    }

    fn into_table(mut self) -> RowTable {
        // The position in the section breaks ties, so that the result does not depend on the sort.
        self.spans
            .sort_unstable_by_key(|span| (span.start, span.first_row));
        self.spans.dedup_by_key(|span| span.start);
        let mut rows = Vec::with_capacity(self.rows.len() + self.spans.len() / 8 + 1);
        let mut covered_to = None;
        for (index, span) in self.spans.iter().enumerate() {
            let end = match self.spans.get(index + 1) {
                Some(next) => span.end.min(next.start),
                None => span.end,
            };
            push_gap(
                &mut rows,
                covered_to.filter(|&covered| covered < span.start),
            );
            let own = self
                .rows
                .get(span.first_row..span.first_row + span.row_count)
                .unwrap_or_default();
            for &row in own.iter().take_while(|row| u64::from(row.pc) < end) {
                push_row(&mut rows, 0, row);
            }
            covered_to = Some(end);
        }
        push_gap(&mut rows, covered_to);
        RowTable {
            unsupported_rows: rows.iter().filter(|row| row.rule.is_unsupported()).count(),
            fdes: self.spans.len(),
            skipped_fdes: self.skipped_fdes,
            rows,
        }
    }
}

/// A frame description entry with an instruction or a length that makes no sense.
struct NotReadable;

/// Appends a row to those from `first` on: rows of no bytes are replaced, rows that change nothing
/// left out.
fn push_row(rows: &mut Vec<Row>, first: usize, row: Row) {
    if rows.len() > first && rows.last().is_some_and(|last| last.pc == row.pc) {
        rows.pop();
    }
    if rows.len() == first || rows.last().is_none_or(|last| last.rule != row.rule) {
        rows.push(row);
    }
}

/// From `start` on nothing is known.
fn push_gap(rows: &mut Vec<Row>, start: Option<u64>) {
    // Behind the last address there is nothing to say.
    if let Some(pc) = start.and_then(|start| u32::try_from(start).ok()) {
        let rule = Rule::NONE;
        push_row(rows, 0, Row { pc, rule });
    }
}

/// Where the frame description entries start.
///
/// Each entry is: its length (4 bytes, or `ffffffff` and 8 bytes), then that many bytes, which
/// start with 4 bytes that are zero in a common information entry. A length of zero, which ends
/// the list for a reader without a search table, is stepped over: some links leave one in the
/// middle. An entry that is longer than the section is the last one given out; it cannot be read.
fn fde_offsets(eh_frame: &[u8]) -> impl Iterator<Item = usize> {
    let mut position = 0_usize;
    std::iter::from_fn(move || {
        loop {
            let start = position;
            let (body, length) = entry_at(eh_frame, start)?;
            let end = body.checked_add(length);
            let Some((end, bytes)) = end.and_then(|end| Some((end, eh_frame.get(body..end)?)))
            else {
                position = eh_frame.len();
                return Some(start);
            };
            position = end;
            let id = bytes.first_chunk::<4>();
            if id.is_some_and(|id| u32::from_le_bytes(*id) != 0) {
                return Some(start);
            }
        }
    })
}

/// Where the entry's body starts and how long it is.
fn entry_at(eh_frame: &[u8], start: usize) -> Option<(usize, usize)> {
    const LENGTH_IS_64_BIT: u32 = 0xffff_ffff;
    let rest = eh_frame.get(start..)?;
    match u32::from_le_bytes(*rest.first_chunk()?) {
        LENGTH_IS_64_BIT => {
            let length = u64::from_le_bytes(*rest.get(4..)?.first_chunk()?);
            Some((start.checked_add(12)?, usize::try_from(length).ok()?))
        }
        length => Some((start.checked_add(4)?, usize::try_from(length).ok()?)),
    }
}

#[cfg(test)]
mod tests {
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

#[cfg(test)]
mod entry_tests {
    use super::*;

    const FUNCTION: Rule = Rule(1);

    fn rows(pcs: &[(u32, Rule)]) -> Vec<Row> {
        pcs.iter().map(|&(pc, rule)| Row { pc, rule }).collect()
    }

    #[test]
    fn an_entry_in_a_gap_is_a_root_up_to_the_next_function() {
        let root = Rule::encode(Step::Root);
        let mut near = rows(&[(16, FUNCTION), (32, Rule::NONE), (96, FUNCTION)]);
        add_entry(&mut near, 40);
        let expected = [(16, FUNCTION), (32, Rule::NONE), (40, root), (96, FUNCTION)];
        assert_eq!(near, rows(&expected));
        let mut far = rows(&[(200, FUNCTION)]);
        add_entry(&mut far, 40);
        assert_eq!(far, rows(&[(40, root), (104, Rule::NONE), (200, FUNCTION)]));
    }

    #[test]
    fn an_entry_with_unwind_information_keeps_it() {
        let mut covered = rows(&[(16, FUNCTION), (96, Rule::NONE)]);
        add_entry(&mut covered, 40);
        assert_eq!(covered, rows(&[(16, FUNCTION), (96, Rule::NONE)]));
    }
}
