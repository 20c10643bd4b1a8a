//! Rows for code that has no call frame information, from its instructions.
//!
//! A C library built without tables (musl's in Debian and Alpine), assembly without directives, the linkage tables of
//! lld: compilers and people still move rsp by constants. From the start of each function, by symbol or by a call, all
//! visible ways are followed ([`flow`]), and what each instruction does to rsp and rbp is added up ([`frame`]). Where that
//! is not known (after an `and` or a `sub` of a register from rsp without a frame pointer), there is no row.
//!
//! Nothing here overrules what a file says of itself: rows are added where there are none.

mod flow;
mod frame;

#[cfg(test)]
mod against_tables;
#[cfg(test)]
mod tests;

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};
use viperf_elf::{Image, Svma};

use crate::build::{RowTable, count_unsupported, push_row};
use crate::fill::fill_gaps;
use crate::images::{add_entry_of, code_sections};
use crate::rule::{CallerRbp, Cfa, Row, Rule, Step};
use flow::{Flow, Part};
use frame::Frame;

#[cfg(test)]
pub(crate) use against_tables::{Agreement, compare};

/// Shorter gaps that end where a function may start are padding.
const SHORTEST_GAP: u64 = 16;

/// More code than this is not analysed at a time: it takes nine bytes of memory for each byte. musl has 400 KB, OpenBLAS 20 MB.
const MAX_AT_ONCE: u64 = 16 << 20;

/// Nor more than this of one file: it takes a second for each ten MB. The MKL in torch has 31 MB.
const MAX_CODE: u64 = 64 << 20;

/// How far before a gap a row may start for the instructions between to be looked at.
const MAX_BEFORE_GAP: u64 = 4096;

/// The code that [`analyse_code`] would look at, and the symbols it needs: offset and size of parts of the file, in bytes.
///
/// For callers that have read only the sections that [`crate::build_rows_of_images`] wants. Empty for most files.
#[must_use]
pub fn find_code_to_analyse(image: &Image<'_>, table: &RowTable) -> Vec<(u64, u64)> {
    let gaps = find_gaps(image, &table.rows);
    let mut files: Vec<(u64, u64)> = gaps
        .iter()
        .filter_map(|gap| {
            let start = row_before(&table.rows, gap).map_or(gap.start, |row| u64::from(row.pc));
            let offset = image.file_offset(Svma(start))?;
            Some((offset, gap.end - start))
        })
        .collect();
    if !files.is_empty() {
        files.extend(image.symbol_table_files());
    }
    files
}

/// Adds rows for the code that has none, as far as its instructions tell; how many bytes of code they cover.
///
/// `image` must have the bytes that [`find_code_to_analyse`] names.
pub fn analyse_code(image: &Image<'_>, table: &mut RowTable) -> u64 {
    // A file without any call frame information comes with an empty table.
    add_entry_of(image, &mut table.rows);
    let gaps = find_gaps(image, &table.rows);
    let mut covered = 0;
    let mut left = gaps.as_slice();
    while !left.is_empty() {
        let (portion, rest) = left.split_at(first_portion(left));
        let is_first = left.len() == gaps.len();
        covered += analyse_gaps(image, table, portion, is_first);
        left = rest;
    }
    covered
}

/// So many gaps, one at least, are looked at together.
fn first_portion(gaps: &[Range<u64>]) -> usize {
    let mut size = 0;
    let fitting = gaps.iter().take_while(|gap| {
        size += gap.end - gap.start;
        size <= MAX_AT_ONCE
    });
    fitting.count().max(1)
}

/// Adds rows for some of the gaps. Those of the linkage table belong to none, and come with the first.
fn analyse_gaps(
    image: &Image<'_>,
    table: &mut RowTable,
    gaps: &[Range<u64>],
    is_first: bool,
) -> u64 {
    let part = |gap: &Range<u64>| {
        let length = usize::try_from(gap.end - gap.start).ok()?;
        Some(Part::new(
            gap.start,
            image.bytes_at(Svma(gap.start), length)?,
        ))
    };
    let mut flow = Flow::new(gaps.iter().filter_map(part).collect());
    add_linkage_tables(image, &mut flow);
    for function in image.functions() {
        let start = function.svma.0;
        flow.add_start(start..start.saturating_add(function.size), Frame::ENTRY);
    }
    for gap in gaps {
        if let Some(frame) = frame_running_into(image, &table.rows, gap) {
            flow.add_start(gap.start..gap.start, frame);
        }
    }
    let mut rows = flow.into_rows();
    if let Some(table) = image.section(".plt").filter(|_| is_first) {
        rows = fill_gaps(&find_lazy_linkage_table(table.svma.0, table.data), &rows);
    }
    for gap in gaps {
        rows = add_signal_returns(image, rows, gap);
    }
    let covered = covered_bytes(&rows);
    table.rows = fill_gaps(&table.rows, &rows);
    table.unsupported_rows = count_unsupported(&table.rows);
    covered
}

/// Rows for code that was made at run time, as far as its instructions tell: addresses count from the start of `bytes`.
///
/// Nothing says where its functions start, so that the rows are good guesses, to be checked by who walks by them.
/// More than [`MAX_AT_ONCE`] is not looked at.
pub(crate) fn analyse_generated_code(bytes: &[u8]) -> Vec<Row> {
    let length = bytes.len().min(usize::try_from(MAX_AT_ONCE).unwrap_or(0));
    let code = bytes.get(..length).unwrap_or_default();
    Flow::new(vec![Part::new(0, code)]).into_rows()
}

/// Where there is code without rows. Sorted.
fn find_gaps(image: &Image<'_>, rows: &[Row]) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut total = 0;
    for code in code_sections(image) {
        let first = rows.partition_point(|row| u64::from(row.pc) <= code.start);
        let inside = rows.get(first..).unwrap_or_default();
        let mut start = match first.checked_sub(1).and_then(|index| rows.get(index)) {
            Some(row) if row.rule != Rule::NONE => None,
            _ => Some(code.start),
        };
        let end = Row {
            pc: u32::try_from(code.end).unwrap_or(u32::MAX),
            rule: Rule(u32::MAX),
        };
        for row in inside.iter().chain(std::iter::once(&end)) {
            let pc = u64::from(row.pc).min(code.end);
            if row.rule == Rule::NONE {
                start = Some(pc);
            } else if let Some(gap) = start.take().map(|start| start..pc)
                && may_be_code(&gap)
                && gap.end - gap.start <= MAX_AT_ONCE
            {
                total += gap.end - gap.start;
                if total > MAX_CODE {
                    return gaps;
                }
                gaps.push(gap);
            }
            if pc >= code.end {
                break;
            }
        }
    }
    gaps
}

fn may_be_code(gap: &Range<u64>) -> bool {
    gap.end - gap.start >= SHORTEST_GAP
        || (gap.end > gap.start && !gap.end.is_multiple_of(SHORTEST_GAP))
}

/// The last row before the gap, if it is near.
fn row_before<'rows>(rows: &'rows [Row], gap: &Range<u64>) -> Option<&'rows Row> {
    let after = rows.partition_point(|row| u64::from(row.pc) < gap.start);
    rows.get(after.checked_sub(1)?)
        .filter(|row| row.rule != Rule::NONE && gap.start - u64::from(row.pc) <= MAX_BEFORE_GAP)
}

/// The frame at the gap's start, if the instruction before it goes on there. So do glibc's `clone` and `clone3`, which
/// end their unwind information before the system call, for it would be wrong in the child
/// (<https://github.com/bminor/glibc/blob/glibc-2.40/sysdeps/unix/sysv/linux/x86_64/clone3.S>).
fn frame_running_into(image: &Image<'_>, rows: &[Row], gap: &Range<u64>) -> Option<Frame> {
    let row = row_before(rows, gap)?;
    let start = u64::from(row.pc);
    let length = usize::try_from(gap.start - start).ok()?;
    let bytes = image.bytes_at(Svma(start), length)?;
    let mut frame = Frame::of_rule(row.rule)?;
    let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    let mut last = Instruction::default();
    while decoder.can_decode() {
        last = decoder.decode();
        frame = frame.after(&last);
    }
    let goes_on = matches!(
        last.flow_control(),
        FlowControl::Next | FlowControl::ConditionalBranch
    );
    (goes_on && last.next_ip() == gap.start).then_some(frame)
}

/// Starts at each entry of the linkage tables that have no rows; lld writes none for them.
///
/// In the one for functions that are bound at their first call, the first entry is jumped to by the others, which have
/// pushed a number.
fn add_linkage_tables(image: &Image<'_>, flow: &mut Flow<'_>) {
    const ENTRY: u64 = 16;
    for name in [".plt", ".plt.sec", ".plt.got", ".iplt"] {
        let Some(section) = image.section(name) else {
            continue;
        };
        let end = section.svma.0.saturating_add(section.size.min(MAX_CODE));
        let mut entry = section.svma.0;
        while entry < end {
            let is_first = entry == section.svma.0 && name == ".plt";
            let pushed = if is_first { 16 } else { 8 };
            let next = entry.saturating_add(ENTRY);
            flow.add_start(entry..next, Frame::entry_with(pushed));
            entry = next;
        }
    }
}

/// The linkage table of functions that are bound at their first call, in three rows for all its entries, which else
/// were two each: TensorFlow's has 156,000. Nothing if an entry is not `jmp *place(%rip)`, `push number`, `jmp first`.
fn find_lazy_linkage_table(start: u64, table: &[u8]) -> Vec<Row> {
    const ENTRY: usize = 16;
    // Of an entry: behind `jmp` and `push`; of the first one, which pushes first: behind that.
    const PUSH: usize = 6;
    const PUSHED: u32 = 11;
    const FIRST_PUSHED: u32 = 6;
    let is_lazy = |entry: &[u8]| {
        entry.starts_with(&[0xff, 0x25])
            && entry.get(PUSH) == Some(&0x68)
            && entry.get(11) == Some(&0xe9)
    };
    let entries = table.get(ENTRY..).unwrap_or_default();
    let place = u32::try_from(start)
        .ok()
        .zip(u32::try_from(table.len()).ok());
    let Some((start, length)) = place.filter(|(start, _)| start.is_multiple_of(16)) else {
        return Vec::new();
    };
    if entries.is_empty() || !entries.chunks(ENTRY).all(is_lazy) {
        return Vec::new();
    }
    let step = |cfa| {
        Rule::encode(Step::Caller {
            cfa,
            rbp: CallerRbp::Unchanged,
        })
    };
    let rows = [
        (0, step(Cfa::Rsp { offset: 16 })),
        (FIRST_PUSHED, step(Cfa::Rsp { offset: 24 })),
        (16, step(Cfa::Plt { threshold: PUSHED })),
        (length, Rule::NONE),
    ];
    rows.into_iter()
        .filter_map(|(offset, rule)| {
            Some(Row {
                pc: start.checked_add(offset)?,
                rule,
            })
        })
        .collect()
}

/// Adds a row for each place in the gap that returns from a signal handler: `mov $15,%eax` or `mov $15,%rax`, `syscall`.
/// musl's and Go's have no unwind information
/// (<https://git.musl-libc.org/cgit/musl/tree/src/signal/x86_64/restore.s?h=v1.2.5>).
fn add_signal_returns(image: &Image<'_>, rows: Vec<Row>, gap: &Range<u64>) -> Vec<Row> {
    let bytes = usize::try_from(gap.end - gap.start)
        .ok()
        .and_then(|length| image.bytes_at(Svma(gap.start), length))
        .unwrap_or_default();
    let found = find_signal_returns(gap.start, bytes);
    if found.is_empty() {
        return rows;
    }
    fill_gaps(&found, &rows)
}

/// A row starts a byte early, where a walk looks up the return address of the handler; glibc's entry does so, too.
fn find_signal_returns(start: u64, bytes: &[u8]) -> Vec<Row> {
    const CODES: [&[u8]; 2] = [
        &[0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05],
        &[0xb8, 15, 0, 0, 0, 0x0f, 0x05],
    ];
    let mut found = Vec::new();
    for (skipped, pc) in (0..bytes.len()).zip(start..) {
        let rest = bytes.get(skipped..).unwrap_or_default();
        let Some(code) = CODES.iter().find(|code| rest.starts_with(code)) else {
            continue;
        };
        let first = u32::try_from(pc.saturating_sub(1).max(start));
        let behind = u32::try_from(pc + code.len() as u64);
        if let (Ok(first), Ok(behind)) = (first, behind) {
            let (signal, none) = (Rule::encode(Step::Signal), Rule::NONE);
            for (pc, rule) in [(first, signal), (behind, none)] {
                push_row(&mut found, Row { pc, rule });
            }
        }
    }
    found
}

fn covered_bytes(rows: &[Row]) -> u64 {
    let ranges = rows.windows(2).filter_map(|pair| match pair {
        [row, next] if row.rule != Rule::NONE => Some(u64::from(next.pc - row.pc)),
        _ => None,
    });
    ranges.sum()
}
