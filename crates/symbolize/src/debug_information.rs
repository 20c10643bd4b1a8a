//! Lines, inlined functions and names from DWARF.
//!
//! DWARF is written in programs and references, and a few bytes of a hostile file can stand for gigabytes of rows, or for
//! hours. So the addresses asked for are carried through the data, and only what belongs to them is kept; sections have
//! a largest size together, and a look-up has a longest time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use gimli::{AttributeValue, EndianReader, LittleEndian, SectionId, UnitHeader, constants};

use crate::InlinedFunction;
use crate::dwarf_lines::{Row, UnitLines, find_line_ranges, find_lines, has_small_header};
use crate::dwarf_scopes::{Names, Scope, find_scopes};
use crate::elf_file::{ElfError, ElfFile};

pub(crate) type Bytes = EndianReader<LittleEndian, Rc<[u8]>>;
pub(crate) type Unit = gimli::Unit<Bytes>;

/// How long reading and each look-up may take. 1 GB of DWARF needs some ten seconds.
const LONGEST_TIME: Duration = Duration::from_secs(60);
/// Forms of entries, each of which is kept while a unit is open. A debug build of Chromium has 10 MB.
const LARGEST_ABBREVIATIONS: u64 = 32 << 20;
/// Address ranges of all units.
pub(crate) const MOST_RANGES: usize = 4_000_000;
const MOST_UNITS: usize = 1_000_000;

/// Why DWARF is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DebugError {
    #[error(transparent)]
    File(#[from] ElfError),
    #[error("its debug information is malformed: {0}")]
    Malformed(#[from] gimli::Error),
    #[error("its debug information takes too long to read")]
    TooLong,
    #[error("its debug information is malformed")]
    Panicked,
}

/// The time that is left.
#[derive(Debug)]
pub(crate) struct Budget {
    end: Instant,
    steps: Cell<u32>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            end: Instant::now() + LONGEST_TIME,
            steps: Cell::new(0),
        }
    }

    /// To be called for each row, entry and range.
    pub(crate) fn spend(&self) -> Result<(), DebugError> {
        let steps = self.steps.get().wrapping_add(1);
        self.steps.set(steps);
        // Looking at the clock costs more than a step.
        match steps.is_multiple_of(4096) && Instant::now() > self.end {
            true => Err(DebugError::TooLong),
            false => Ok(()),
        }
    }
}

/// The units of a file, by where they begin in `.debug_info`.
#[derive(Debug, Default)]
pub(crate) struct Headers(Vec<UnitHeader<Bytes>>);

impl Headers {
    fn read(dwarf: &gimli::Dwarf<Bytes>, budget: &Budget) -> Result<Self, DebugError> {
        let mut headers = Vec::new();
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            budget.spend()?;
            if headers.len() == MOST_UNITS {
                break;
            }
            headers.push(header);
        }
        Ok(Self(headers))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&UnitHeader<Bytes>> {
        self.0.get(index)
    }

    /// The unit that holds an offset of `.debug_info`.
    pub(crate) fn find(&self, offset: usize) -> Option<usize> {
        let starts_before = |header: &UnitHeader<Bytes>| {
            header
                .debug_info_offset()
                .is_some_and(|start| start.0 <= offset)
        };
        self.0.partition_point(starts_before).checked_sub(1)
    }
}

/// Opens a unit, unless its line program has a header that is too large.
pub(crate) fn open_unit(dwarf: &gimli::Dwarf<Bytes>, header: &UnitHeader<Bytes>) -> Option<Unit> {
    let abbreviations = dwarf.abbreviations(header).ok()?;
    let mut entries = header.entries_raw(&abbreviations, None).ok()?;
    let abbreviation = entries.read_abbreviation().ok()??;
    for specification in abbreviation.attributes() {
        let attribute = entries.read_attribute(*specification).ok()?;
        let is_line_program = attribute.name() == constants::DW_AT_stmt_list;
        if let AttributeValue::DebugLineRef(offset) = attribute.value()
            && is_line_program
            && !has_small_header(&dwarf.debug_line, offset.0)
        {
            return None;
        }
    }
    gimli::Unit::new_with_abbreviations(dwarf, header.clone(), abbreviations).ok()
}

/// The DWARF of one file.
#[derive(Debug)]
pub(crate) struct DebugInformation {
    dwarf: gimli::Dwarf<Bytes>,
    headers: Headers,
    /// Of the file of names that several files share.
    shared_headers: Headers,
    /// Start, end and unit, sorted.
    ranges: Vec<(u64, u64, u32)>,
    /// It took too long once, or made the parser panic; it is not asked again.
    is_broken: Cell<bool>,
    /// What it holds in memory.
    pub(crate) bytes: usize,
}

/// What DWARF says about an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    /// The function, not one inlined into it.
    pub(crate) name: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    /// Innermost first.
    pub(crate) inlined: Vec<InlinedFunction>,
}

/// Whether there is DWARF in the file.
pub(crate) fn has_debug_information(file: &ElfFile) -> bool {
    file.find(".debug_info").is_some()
}

/// Reads the DWARF of `file`, and of the file of names that it shares with others.
///
/// More than `limit` bytes in all are not read.
pub(crate) fn read_debug_information(
    file: &ElfFile,
    shared: Option<&ElfFile>,
    limit: u64,
) -> Result<DebugInformation, DebugError> {
    let mut left = limit;
    let mut dwarf = read_dwarf(file, &[], &mut left)?;
    if let Some(shared) = shared {
        dwarf.set_sup(read_dwarf(shared, &[], &mut left)?);
    }
    let bytes = usize::try_from(limit - left).unwrap_or(usize::MAX);
    let read = catch_unwind(AssertUnwindSafe(|| DebugInformation::new(dwarf, bytes)));
    read.map_err(|_panic| DebugError::Panicked)?
}

/// Reads the sections that are used, but for some, as long as they have no more than `left` bytes.
pub(crate) fn read_dwarf(
    file: &ElfFile,
    left_out: &[SectionId],
    left: &mut u64,
) -> Result<gimli::Dwarf<Bytes>, ElfError> {
    let read = |id: SectionId| -> Result<Bytes, ElfError> {
        let is_used = matches!(
            id,
            SectionId::DebugAbbrev
                | SectionId::DebugAddr
                | SectionId::DebugInfo
                | SectionId::DebugLine
                | SectionId::DebugLineStr
                | SectionId::DebugRanges
                | SectionId::DebugRngLists
                | SectionId::DebugStr
                | SectionId::DebugStrOffsets
        );
        let limit = match id {
            SectionId::DebugAbbrev => LARGEST_ABBREVIATIONS.min(*left),
            _ => *left,
        };
        let is_wanted = is_used && !left_out.contains(&id);
        let bytes = match file.find(id.name()).filter(|_| is_wanted) {
            Some(section) => file.read_section(section, limit)?,
            None => Rc::from([]),
        };
        *left -= (bytes.len() as u64).min(*left);
        Ok(EndianReader::new(bytes, LittleEndian))
    };
    gimli::Dwarf::load(read)
}

impl DebugInformation {
    fn new(dwarf: gimli::Dwarf<Bytes>, bytes: usize) -> Result<Self, DebugError> {
        let budget = Budget::new();
        let headers = Headers::read(&dwarf, &budget)?;
        let shared_headers = match dwarf.sup() {
            Some(shared) => Headers::read(shared, &budget)?,
            None => Headers::default(),
        };
        let ranges = read_ranges(&dwarf, &headers, &budget)?;
        Ok(Self {
            bytes: bytes + ranges.capacity() * size_of::<(u64, u64, u32)>(),
            dwarf,
            headers,
            shared_headers,
            ranges,
            is_broken: Cell::new(false),
        })
    }

    /// What is known of each of `svmas`: lines, and functions if they are wanted.
    pub(crate) fn look_up(&self, svmas: &[u64], functions: Functions) -> Vec<Details> {
        let mut sorted = svmas.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut details = vec![Details::default(); sorted.len()];
        if !self.is_broken.get() {
            // The parser is written for well-formed files and computes with what it reads; a file made to break it
            // shall cost its own lines, not its names, nor the profile.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                self.look_up_sorted(&sorted, functions, &mut details)
            }));
            self.is_broken.set(!matches!(outcome, Ok(Ok(()))));
        }
        let find = |svma: &u64| {
            let index = sorted.binary_search(svma).unwrap_or(usize::MAX);
            details.get(index).cloned().unwrap_or_default()
        };
        svmas.iter().map(find).collect()
    }

    fn look_up_sorted(
        &self,
        svmas: &[u64],
        functions: Functions,
        details: &mut [Details],
    ) -> Result<(), DebugError> {
        let budget = Budget::new();
        let names = Names::new(&self.dwarf, &self.headers, &self.shared_headers);
        for (unit, indices) in self.units_of(svmas, &budget)? {
            let header = self.headers.get(unit as usize);
            let Some(unit) = header.and_then(|header| open_unit(&self.dwarf, header)) else {
                continue;
            };
            let asked = Asked {
                svmas: indices
                    .iter()
                    .filter_map(|&index| svmas.get(index).copied())
                    .collect(),
                unit: Rc::new(unit),
            };
            // A unit that is malformed takes nothing away from the others.
            match self.look_up_in_unit(&asked, functions, &names, &budget) {
                Ok(found) => {
                    for (index, found) in indices.into_iter().zip(found) {
                        if let Some(details) = details.get_mut(index) {
                            merge(details, found);
                        }
                    }
                }
                Err(DebugError::TooLong) => return Err(DebugError::TooLong),
                Err(_malformed) => {}
            }
        }
        Ok(())
    }

    /// The units that cover some of `svmas`, and which of them.
    fn units_of(
        &self,
        svmas: &[u64],
        budget: &Budget,
    ) -> Result<BTreeMap<u32, Vec<usize>>, DebugError> {
        let mut units: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for &(start, end, unit) in &self.ranges {
            budget.spend()?;
            let first = svmas.partition_point(|&svma| svma < start);
            let covered = svmas.iter().enumerate().skip(first);
            for (index, _) in covered.take_while(|(_, svma)| **svma < end) {
                budget.spend()?;
                let indices = units.entry(unit).or_default();
                // Ranges are sorted, so are the addresses in them, unless ranges of a unit overlap.
                if indices.last().is_none_or(|&last| last < index) {
                    indices.push(index);
                }
            }
        }
        Ok(units)
    }

    fn look_up_in_unit(
        &self,
        asked: &Asked,
        functions: Functions,
        names: &Names<'_>,
        budget: &Budget,
    ) -> Result<Vec<Details>, DebugError> {
        let Asked { unit, svmas } = asked;
        let mut lines = find_lines(unit, svmas, budget)?;
        let chains = match functions {
            Functions::LeftOut => vec![Vec::new(); svmas.len()],
            Functions::Wanted => find_scopes(&self.dwarf, unit, svmas, budget)?,
        };
        let rows = lines.rows.clone();
        let found = rows.into_iter().zip(chains).map(|(row, chain)| {
            let place = match row {
                Some(row) => place(&self.dwarf, unit, &mut lines, row),
                None => (None, None),
            };
            self.describe(unit, &mut lines, names, place, &chain)
        });
        Ok(found.collect())
    }

    /// From the innermost function outwards: each is called where its caller then is.
    fn describe(
        &self,
        unit: &Rc<Unit>,
        lines: &mut UnitLines,
        names: &Names<'_>,
        innermost: (Option<String>, Option<u32>),
        chain: &[Scope],
    ) -> Details {
        let mut details = Details::default();
        let (mut file, mut line) = innermost;
        if let Some((function, inlined)) = chain.split_first() {
            for scope in inlined.iter().rev() {
                let name = names.find(unit, scope.entry);
                let call = (scope.call_file, scope.call_line);
                let (call_file, call_line) = place(&self.dwarf, unit, lines, call);
                details.inlined.push(InlinedFunction {
                    name: name.unwrap_or_else(|| "[inlined function]".to_owned()),
                    file: std::mem::replace(&mut file, call_file),
                    line: std::mem::replace(&mut line, call_line),
                });
            }
            details.name = names.find(unit, function.entry);
        }
        Details {
            file,
            line,
            ..details
        }
    }
}

/// The file and the line of a row. Line 0 is DWARF's way to say that the compiler made the instruction up.
pub(crate) fn place(
    dwarf: &gimli::Dwarf<Bytes>,
    unit: &Unit,
    lines: &mut UnitLines,
    (file, line): Row,
) -> (Option<String>, Option<u32>) {
    let file = lines.file(dwarf, unit, file);
    (file, (line != 0).then_some(line))
}

/// Whether functions and their names are looked up, which takes longer than lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Functions {
    Wanted,
    LeftOut,
}

/// Addresses of one unit, sorted.
struct Asked {
    unit: Rc<Unit>,
    svmas: Vec<u64>,
}

/// Of two units that cover an address the one that knows more is believed.
fn merge(known: &mut Details, found: Details) {
    let knows = |details: &Details| {
        (
            details.name.is_some(),
            details.line.is_some(),
            details.file.is_some(),
        )
    };
    if knows(&found) > knows(known) {
        *known = found;
    }
}

fn read_ranges(
    dwarf: &gimli::Dwarf<Bytes>,
    headers: &Headers,
    budget: &Budget,
) -> Result<Vec<(u64, u64, u32)>, DebugError> {
    let mut all = Vec::new();
    for (number, header) in headers.0.iter().enumerate() {
        budget.spend()?;
        let Ok(number) = u32::try_from(number) else {
            break;
        };
        let Some(unit) = open_unit(dwarf, header) else {
            continue;
        };
        let before = all.len();
        let mut add = |start: u64, end: u64| {
            // Linkers put what they leave out at address 0.
            if start != 0 && start < end && all.len() < MOST_RANGES {
                all.push((start, end, number));
            }
        };
        let mut has_ranges = false;
        if let Ok(mut ranges) = dwarf.unit_ranges(&unit) {
            while let Ok(Some(range)) = ranges.next() {
                budget.spend()?;
                has_ranges = true;
                add(range.begin, range.end);
            }
        }
        if !has_ranges {
            match find_line_ranges(&unit, budget, &mut add) {
                Err(DebugError::TooLong) => return Err(DebugError::TooLong),
                Err(_malformed) => all.truncate(before),
                Ok(()) => {}
            }
        }
    }
    all.sort_unstable();
    Ok(all)
}
