//! The rows of a file from all that it, and its separate debug file, say.

use std::ops::Range;

use gimli::UnwindSection;
use viperf_elf::Image;

use crate::build::{RowError, RowTable, build_rows, build_rows_of_debug_frame, count_unsupported};
use crate::dwarf::{Bytes, Function};
use crate::entries::Entries;
use crate::fill::fill_gaps;
use crate::rule::{Cfa, Row, Rule, Step};

/// Bytes of a process entry that has no unwind information, at most; glibc's is 50 long.
const MAX_ENTRY_LENGTH: u32 = 64;

/// Linkers write one or two segments of code and about five sections, binary optimizers a few more. A hostile file could
/// have thousands, all of the same bytes.
const MAX_CODE_PARTS: usize = 16;

/// Whether [`build_rows_of_images`] looks at the section of that name, of the file or its debug file: for
/// [`viperf_elf::read_partially`].
#[must_use]
pub fn is_wanted_for_rows(section: &str) -> bool {
    matches!(
        section,
        ".eh_frame" | ".eh_frame_hdr" | ".debug_frame" | ".zdebug_frame"
    )
}

/// The rows of a file by itself: [`build_rows_of_images`] without a debug file.
///
/// # Errors
///
/// As [`build_rows_of_images`].
pub fn build_rows_of_image(image: &Image<'_>) -> Result<RowTable, RowError> {
    build_rows_of_images(image, None)
}

/// The rows of a file: of its `.eh_frame`, where that says nothing of its `.debug_frame`, and then of the `.debug_frame`
/// of its separate debug file.
///
/// It is for the caller to know that the debug file is this file's, by build ID. The process entry is a root where
/// nothing says otherwise.
///
/// # Errors
///
/// As [`build_rows`] and [`build_rows_of_debug_frame`], and when no section says anything.
pub fn build_rows_of_images(
    image: &Image<'_>,
    debug: Option<&Image<'_>>,
) -> Result<RowTable, RowError> {
    let mut table = match image.eh_frame() {
        Some(section) => Some(build_rows(section.data, section.svma)?),
        None => None,
    };
    for file in std::iter::once(image).chain(debug) {
        let Some(debug_frame) = file.debug_frame() else {
            continue;
        };
        let other = build_rows_of_debug_frame(&debug_frame, &code_ranges(image))?;
        table = Some(match table {
            Some(table) => joined(table, other),
            None => other,
        });
    }
    let mut table = table.ok_or(RowError::NoUnwindInformation)?;
    add_entry_of(image, &mut table.rows);
    Ok(table)
}

/// The process entry is a root where the rows say nothing of it.
pub(crate) fn add_entry_of(image: &Image<'_>, rows: &mut Vec<Row>) {
    if let Some(entry) = image.entry().and_then(|entry| u32::try_from(entry.0).ok()) {
        add_entry(rows, entry);
    }
}

/// What the second table says where the first says nothing.
fn joined(first: RowTable, second: RowTable) -> RowTable {
    if second.rows.is_empty() {
        return first;
    }
    let rows = fill_gaps(&first.rows, &second.rows);
    RowTable {
        unsupported_rows: count_unsupported(&rows),
        fdes: first.fdes + second.fdes,
        skipped_fdes: first.skipped_fdes + second.skipped_fdes,
        rows,
    }
}

/// Where the file may have code, by its segments.
pub(crate) fn code_ranges(image: &Image<'_>) -> Vec<Range<u64>> {
    let segments = image.load_segments().iter();
    let code = segments.filter(|segment| segment.executable);
    let ranges =
        code.map(|segment| segment.svma.0..segment.svma.0.saturating_add(segment.file_size));
    without_overlaps(ranges.take(MAX_CODE_PARTS).collect())
}

/// Where the file has code, by its sections; by its segments if it has none.
pub(crate) fn code_sections(image: &Image<'_>) -> Vec<Range<u64>> {
    let mut sections = image.code_sections();
    if sections.is_empty() {
        return code_ranges(image);
    }
    sections.truncate(MAX_CODE_PARTS);
    without_overlaps(sections)
}

/// The same addresses in ranges that are sorted, apart from each other, and below 4 GiB.
fn without_overlaps(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut covered_to = 0;
    for range in &mut ranges {
        range.start = range.start.max(covered_to);
        range.end = range.end.min(1 << 32);
        covered_to = covered_to.max(range.end);
    }
    ranges.retain(|range| range.start < range.end);
    ranges
}

/// The address ranges with a frame description entry of their own that do not begin as a called function does: parts of
/// functions that a compiler has moved away (`.cold`, `.part`), reached by a jump. Sorted.
///
/// # Errors
///
/// When the file has no `.eh_frame`, or a function is not below 4 GiB.
pub fn find_moved_parts(image: &Image<'_>) -> Result<Vec<Range<u64>>, RowError> {
    let section = image.eh_frame().ok_or(RowError::NoUnwindInformation)?;
    let mut entries = Entries::of_eh_frame(section.data, section.svma)?;
    let places = entries.take_places().into_iter();
    let mut parts: Vec<Range<u64>> = places
        .filter_map(|place| {
            let fde = entries.parse(place)?;
            let rule = first_rule(&mut entries, &fde)?;
            let range = fde.initial_address()..fde.end_address();
            (!is_rule_of_a_call(rule)).then_some(range)
        })
        .collect();
    parts.dedup();
    Ok(parts)
}

fn first_rule<'data, S: UnwindSection<Bytes<'data>>>(
    entries: &mut Entries<'data, S>,
    fde: &gimli::FrameDescriptionEntry<Bytes<'data>>,
) -> Option<Rule> {
    let common = fde.cie();
    let function = Function {
        section: &entries.section,
        encoding: common.encoding(),
        return_address_register: common.return_address_register(),
        is_signal_trampoline: fde.is_signal_trampoline(),
    };
    let context = &mut entries.context;
    let mut table = fde.rows(&entries.section, &entries.bases, context).ok()?;
    let row = table.next_row().ok()??;
    Some(Rule::encode(function.translate(row)))
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
    let mut entry_rows = vec![root];
    if end > entry {
        let rule = Rule::NONE;
        entry_rows.push(Row { pc: end, rule });
    }
    *rows = fill_gaps(rows, &entry_rows);
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
