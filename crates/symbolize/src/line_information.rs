//! Lines without reading all of DWARF.
//!
//! The entries of `.debug_info` are the largest part of DWARF, and of the entry of a unit a line needs no more than where the
//! unit's line program is. `.debug_aranges` says which unit an address belongs to: only the entries of that unit are read.
//! What this does not find is looked for in all of it, see [`crate::debug_information`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use gimli::{DebugInfo, EndianReader, LittleEndian, SectionId};

use crate::debug_information::{
    Budget, Bytes, DebugError, Details, MOST_RANGES, open_unit, place, read_dwarf,
};
use crate::dwarf_lines::find_lines;
use crate::elf_file::{ElfError, ElfFile};

/// What is not read at the start: the entries, and the address ranges that they name.
const LEFT_OUT: [SectionId; 3] = [
    SectionId::DebugInfo,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
];
/// By it a debug file names another one, whose strings are then needed, too (`dwz`).
const SHARED_NAMES: &str = ".gnu_debugaltlink";

/// The lines of a file whose units say which addresses are theirs.
#[derive(Debug)]
pub(crate) struct LineInformation {
    /// All but what is left out.
    dwarf: gimli::Dwarf<Bytes>,
    /// Start, end and where the unit is in `.debug_info`, sorted.
    ranges: Vec<(u64, u64, u64)>,
    /// Where units are in `.debug_info`, sorted, and its end.
    units: Vec<u64>,
    /// The start of compressed entries, which cannot be read from their midst.
    decompressed: RefCell<Option<Bytes>>,
    limit: u64,
    /// It took too long once, or made the parser panic; it is not asked again.
    is_broken: Cell<bool>,
    /// What it holds in memory, without `decompressed`.
    bytes: usize,
}

/// Reads what is needed of `file`; `None` if there are no address ranges, or the file cannot do without another one.
pub(crate) fn read_line_information(file: &ElfFile, limit: u64) -> Option<LineInformation> {
    let entries = file.find(SectionId::DebugInfo.name())?;
    let address_ranges = file.find(SectionId::DebugAranges.name())?;
    if file.find(SHARED_NAMES).is_some() {
        return None;
    }
    let end = file.decompressed_size(entries).ok()?;
    let mut left = limit.checked_sub(end)?;
    let address_ranges = file.read_section(address_ranges, left).ok()?;
    left -= (address_ranges.len() as u64).min(left);
    let dwarf = read_dwarf(file, &LEFT_OUT, &mut left).ok()?;
    let address_ranges = EndianReader::new(address_ranges, LittleEndian);
    let read = catch_unwind(AssertUnwindSafe(|| read_ranges(address_ranges, end)));
    let (ranges, units) = read.ok()?.ok()?;
    let tables = size_of_val(ranges.as_slice()) + size_of_val(units.as_slice());
    let sections = usize::try_from(limit - end - left).unwrap_or(usize::MAX);
    Some(LineInformation {
        dwarf,
        ranges,
        units,
        decompressed: RefCell::default(),
        limit,
        is_broken: Cell::new(false),
        bytes: sections.saturating_add(tables),
    })
}

type Ranges = (Vec<(u64, u64, u64)>, Vec<u64>);

fn read_ranges(section: Bytes, end: u64) -> Result<Ranges, DebugError> {
    let budget = Budget::new();
    let (mut ranges, mut units) = (Vec::new(), vec![end]);
    let mut headers = gimli::DebugAranges::from(section).headers();
    while let Some(header) = headers.next()? {
        let unit = header.debug_info_offset().0 as u64;
        if unit >= end {
            continue;
        }
        units.push(unit);
        let mut entries = header.entries();
        while let Some(entry) = entries.next()? {
            budget.spend()?;
            let Range { start, end } = entry.range().begin..entry.range().end;
            // Linkers put what they leave out at address 0.
            if start != 0 && start < end && ranges.len() < MOST_RANGES {
                ranges.push((start, end, unit));
            }
        }
    }
    ranges.sort_unstable();
    units.sort_unstable();
    units.dedup();
    Ok((ranges, units))
}

impl LineInformation {
    /// The lines of `svmas`, in their order; `None` for those that are not found. `file` is the one that this was read from.
    pub(crate) fn look_up(&self, file: &ElfFile, svmas: &[u64]) -> Vec<Option<Details>> {
        let mut found = vec![None; svmas.len()];
        if !self.is_broken.get() {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                self.look_up_by_units(file, svmas, &mut found)
            }));
            self.is_broken.set(!matches!(outcome, Ok(Ok(()))));
        }
        found
    }

    fn look_up_by_units(
        &self,
        file: &ElfFile,
        svmas: &[u64],
        found: &mut [Option<Details>],
    ) -> Result<(), DebugError> {
        let mut asked: BTreeMap<u64, BTreeMap<u64, Option<Details>>> = BTreeMap::new();
        for (unit, svma) in svmas
            .iter()
            .filter_map(|svma| Some((self.unit_of(*svma)?, *svma)))
        {
            asked.entry(unit).or_default().insert(svma, None);
        }
        let budget = Budget::new();
        // From the last one on: compressed entries are then decompressed once.
        for (unit, details) in asked.iter_mut().rev() {
            // A unit that is malformed takes nothing away from the others.
            if let Err(DebugError::TooLong) = self.look_up_in_unit(file, *unit, details, &budget) {
                return Err(DebugError::TooLong);
            }
        }
        for (found, svma) in found.iter_mut().zip(svmas) {
            let of_unit = self.unit_of(*svma).and_then(|unit| asked.get(&unit));
            *found = of_unit.and_then(|details| details.get(svma).cloned().flatten());
        }
        Ok(())
    }

    fn unit_of(&self, svma: u64) -> Option<u64> {
        let behind = self.ranges.partition_point(|(start, ..)| *start <= svma);
        let (_, end, unit) = self.ranges.get(behind.checked_sub(1)?)?;
        (svma < *end).then_some(*unit)
    }

    fn look_up_in_unit(
        &self,
        file: &ElfFile,
        unit: u64,
        details: &mut BTreeMap<u64, Option<Details>>,
        budget: &Budget,
    ) -> Result<(), DebugError> {
        let entries = DebugInfo::from(self.read_entries(file, unit)?);
        let Some(header) = entries.units().next()? else {
            return Ok(());
        };
        let Some(unit) = open_unit(&self.dwarf, &header) else {
            return Ok(());
        };
        let svmas: Vec<u64> = details.keys().copied().collect();
        let mut lines = find_lines(&unit, &svmas, budget)?;
        for (row, details) in lines.rows.clone().into_iter().zip(details.values_mut()) {
            *details = row.map(|row| {
                let (file, line) = place(&self.dwarf, &unit, &mut lines, row);
                Details {
                    file,
                    line,
                    ..Details::default()
                }
            });
        }
        Ok(())
    }

    /// The entries of the unit at `start`, and maybe of others behind it.
    fn read_entries(&self, file: &ElfFile, start: u64) -> Result<Bytes, ElfError> {
        let entries = file.find(SectionId::DebugInfo.name());
        let entries = entries.ok_or(ElfError::Malformed)?;
        let next = self.units.partition_point(|unit| *unit <= start);
        let end = *self.units.get(next).ok_or(ElfError::Malformed)?;
        if !file.is_compressed(entries) {
            let bytes = file.read_part(entries, start, end - start)?;
            return Ok(EndianReader::new(Rc::from(bytes), LittleEndian));
        }
        let mut known = self.decompressed.borrow_mut();
        let is_there = |bytes: &Bytes| gimli::Reader::len(bytes) as u64 >= end;
        let bytes = match known.take() {
            Some(bytes) if is_there(&bytes) => bytes,
            // Who asks for more a second time may ask a third time.
            Some(_) => EndianReader::new(file.read_section(entries, self.limit)?, LittleEndian),
            None => EndianReader::new(file.read_start(entries, end)?, LittleEndian),
        };
        let (start, end) = (start as usize, end as usize);
        let of_unit = is_there(&bytes).then(|| bytes.range(start..end));
        *known = Some(bytes);
        of_unit.ok_or(ElfError::Malformed)
    }

    /// What it holds in memory.
    pub(crate) fn bytes(&self) -> usize {
        let decompressed = self.decompressed.borrow();
        self.bytes + decompressed.as_ref().map_or(0, gimli::Reader::len)
    }
}
