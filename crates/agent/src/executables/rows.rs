//! The unwind rows of one file.

use std::fs::File;

use viperf_abi::UnwindRow;
use viperf_elf::Image;
use viperf_unwind::{Row, RowTable, Rule, Step};

use super::{GREENLET_PREFIX, read_code_at, read_file};

/// greenlet's function that starts a greenlet.
const GREENLET_START: &[u8] = b"g_initialstub";

/// A file of which the tables say next to nothing, as musl, which every stack of its processes goes through, is looked at at
/// once: so much code takes a third of a second.
const AT_ONCE: usize = 1 << 20;
const FEW_ROWS: usize = 1000;

/// What rows are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The tables of the file, and its instructions where these say next to nothing.
    Tables,
    /// All of its instructions, too.
    Instructions,
}

/// The rows of a file.
#[derive(Debug, Default)]
pub(super) struct FileRows {
    pub(super) rows: Vec<UnwindRow>,
    /// Instructions can tell more.
    pub(super) can_be_more: bool,
}

/// The rows of a file; none when it cannot be read. `name` is the last part of its path.
pub(super) fn build_rows(file: &File, name: &str, source: Source) -> FileRows {
    build(file, name, source).unwrap_or_default()
}

fn build(file: &File, name: &str, source: Source) -> Option<FileRows> {
    let is_greenlet = name.starts_with(GREENLET_PREFIX);
    let wanted = match is_greenlet {
        true => is_wanted_for_rows_and_symbols,
        false => is_wanted_for_rows,
    };
    let mut bytes = read_file(file, wanted)?;
    let image = Image::parse(&bytes).ok()?;
    // Without any tables the instructions may still tell.
    let mut table = viperf_unwind::build_rows_of_images(&image, None).unwrap_or_default();
    let code = viperf_unwind::find_code_to_analyse(&image, &table);
    let code: Vec<(u64, usize)> = code
        .into_iter()
        .filter_map(|(offset, size)| Some((offset, usize::try_from(size).ok()?)))
        .collect();
    let size: usize = code.iter().map(|(_, size)| *size).sum();
    if is_greenlet {
        end_at_greenlets(&image, &mut table);
    }
    let is_asked =
        source == Source::Instructions || (size <= AT_ONCE && table.rows.len() < FEW_ROWS);
    if is_asked && size > 0 {
        read_code_at(file, &mut bytes, code);
        viperf_unwind::analyse_code(&Image::parse(&bytes).ok()?, &mut table);
    }
    let rows = table.rows.iter().map(|row| UnwindRow {
        pc: row.pc,
        rule: row.rule.0,
    });
    Some(FileRows {
        rows: rows.collect(),
        can_be_more: size > 0 && !is_asked,
    })
}

/// A greenlet's stack begins where greenlet's library starts it. What lies above is not its caller: the library copies parts
/// of stacks away and back
/// (<https://github.com/python-greenlet/greenlet/blob/3.1.1/src/greenlet/TUserGreenlet.cpp>).
fn end_at_greenlets(image: &Image<'_>, table: &mut RowTable) {
    for (name, symbol) in image.symbols() {
        let is_start = name
            .windows(GREENLET_START.len())
            .any(|part| part == GREENLET_START);
        let end = symbol.svma.0.saturating_add(symbol.size);
        let (Ok(start), Ok(end)) = (u32::try_from(symbol.svma.0), u32::try_from(end)) else {
            continue;
        };
        if !is_start || start >= end {
            continue;
        }
        let behind = viperf_unwind::find_rule(&table.rows, end);
        table.rows.retain(|row| !(start..=end).contains(&row.pc));
        let place = table.rows.partition_point(|row| row.pc < start);
        let rows = [(start, Rule::encode(Step::Root)), (end, behind)];
        let rows = rows.map(|(pc, rule)| Row { pc, rule });
        table.rows.splice(place..place, rows);
    }
}

fn is_wanted_for_rows(section: &str, _all: &[&str]) -> bool {
    viperf_unwind::is_wanted_for_rows(section)
}

fn is_wanted_for_rows_and_symbols(section: &str, all: &[&str]) -> bool {
    is_wanted_for_rows(section, all)
        || matches!(section, ".symtab" | ".strtab" | ".dynsym" | ".dynstr")
}
