//! Source lines of addresses: line programs are run, and nothing of them is kept but what was asked for.

use std::collections::HashMap;

use gimli::{LineProgramHeader, Reader, ReaderOffset, Section as _};

use crate::debug_information::{Budget, Bytes, DebugError, Unit};

/// The part of a line program in front of its instructions: folders and files.
const LARGEST_HEADER: u64 = 1 << 20;
/// The longest path given out.
const LONGEST_PATH: usize = 4096;

/// File, as a number of its line program, and line.
pub(crate) type Row = (u64, u32);

/// The lines of one unit at some addresses, and the names of its files.
#[derive(Debug, Default)]
pub(crate) struct UnitLines {
    /// One for each address asked for.
    pub(crate) rows: Vec<Option<Row>>,
    header: Option<LineProgramHeader<Bytes>>,
    files: HashMap<u64, Option<String>>,
}

/// The lines at `svmas`, which are sorted.
pub(crate) fn find_lines(
    unit: &Unit,
    svmas: &[u64],
    budget: &Budget,
) -> Result<UnitLines, DebugError> {
    let mut found = UnitLines {
        rows: vec![None; svmas.len()],
        ..UnitLines::default()
    };
    let Some(program) = unit.line_program.clone() else {
        return Ok(found);
    };
    let mut rows = program.rows();
    let mut start = None;
    let mut before: Option<(u64, Row)> = None;
    while let Some((_, row)) = rows.next_row()? {
        budget.spend()?;
        let address = row.address();
        start.get_or_insert(address);
        // Linkers put functions that they leave out at address 0.
        if let Some((from, place)) = before
            && start != Some(0)
            && from < address
        {
            let first = svmas.partition_point(|&svma| svma < from);
            let behind = svmas.partition_point(|&svma| svma < address);
            let covered = found.rows.get_mut(first..behind.max(first));
            for row in covered.into_iter().flatten() {
                budget.spend()?;
                *row = Some(place);
            }
        }
        if row.end_sequence() {
            (start, before) = (None, None);
            continue;
        }
        let line = row.line().map_or(0, |line| line.get());
        let line = u32::try_from(line).unwrap_or(0);
        before = Some((address, (row.file_index(), line)));
    }
    found.header = Some(rows.header().clone());
    Ok(found)
}

/// The address ranges that the line program of a unit covers.
pub(crate) fn find_line_ranges(
    unit: &Unit,
    budget: &Budget,
    add: &mut impl FnMut(u64, u64),
) -> Result<(), DebugError> {
    let Some(program) = unit.line_program.clone() else {
        return Ok(());
    };
    let mut rows = program.rows();
    let mut start = None;
    while let Some((_, row)) = rows.next_row()? {
        budget.spend()?;
        let first = *start.get_or_insert(row.address());
        if row.end_sequence() {
            add(first, row.address());
            start = None;
        }
    }
    Ok(())
}

impl UnitLines {
    /// The path of a file, with the folder in which the compiler ran in front if it is a relative one.
    pub(crate) fn file(
        &mut self,
        dwarf: &gimli::Dwarf<Bytes>,
        unit: &Unit,
        number: u64,
    ) -> Option<String> {
        let header = self.header.as_ref()?;
        let render = || render_file(dwarf, unit, header, number).ok().flatten();
        self.files.entry(number).or_insert_with(render).clone()
    }
}

fn render_file(
    dwarf: &gimli::Dwarf<Bytes>,
    unit: &Unit,
    header: &LineProgramHeader<Bytes>,
    number: u64,
) -> Result<Option<String>, gimli::Error> {
    let Some(file) = header.file(number) else {
        return Ok(None);
    };
    let mut path = String::new();
    if let Some(folder) = &unit.comp_dir {
        path.push_str(&folder.to_string_lossy()?);
    }
    // Folder 0 is the one in which the compiler ran.
    if file.directory_index() != 0
        && let Some(folder) = file.directory(header)
    {
        push_path(
            &mut path,
            &dwarf.attr_string(unit, folder)?.to_string_lossy()?,
        );
    }
    let name = dwarf.attr_string(unit, file.path_name())?;
    push_path(&mut path, &name.to_string_lossy()?);
    Ok((path.len() <= LONGEST_PATH && !path.is_empty()).then_some(path))
}

fn push_path(path: &mut String, part: &str) {
    if part.starts_with('/') {
        path.clear();
    } else if !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(part);
}

/// Whether the header of the line program at `offset` is small enough to be read: each of its bytes may cost a hundred.
pub(crate) fn has_small_header(debug_line: &gimli::DebugLine<Bytes>, offset: usize) -> bool {
    read_header_length(debug_line, offset).is_ok_and(|length| length <= LARGEST_HEADER)
}

fn read_header_length(
    debug_line: &gimli::DebugLine<Bytes>,
    offset: usize,
) -> Result<u64, gimli::Error> {
    let mut input = debug_line.reader().clone();
    input.skip(offset)?;
    let (_, format) = input.read_initial_length()?;
    if input.read_u16()? >= 5 {
        // Sizes of addresses and of segment selectors.
        input.read_u16()?;
    }
    Ok(input.read_length(format)?.into_u64())
}
