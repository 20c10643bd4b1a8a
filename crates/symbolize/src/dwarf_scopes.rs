//! Functions and what was inlined into them, from the tree of a unit.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gimli::{AttributeValue, Reader, UnitOffset, constants};

use crate::debug_information::{Budget, Bytes, DebugError, Headers, Unit};
use crate::demangle::demangle;

/// Inlined functions at one address beyond this are left out; compilers stop far below.
const MOST_INLINED: usize = 128;
/// A name is at the end of a few references: from an inlined function to its code, to its declaration.
const MOST_REFERENCES: usize = 16;
/// Units that hold names of other units, kept open.
const MOST_OPEN_UNITS: usize = 64;
const MOST_NAMES: usize = 200_000;

/// A function that covers an address, or one inlined there.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Of its entry in the tree.
    depth: isize,
    pub(crate) entry: UnitOffset<usize>,
    /// Where it is called; of the function itself nothing.
    pub(crate) call_file: u64,
    pub(crate) call_line: u32,
}

/// Where the code of an entry is.
#[derive(Default)]
struct Bounds {
    low: Option<u64>,
    high: Option<u64>,
    size: Option<u64>,
    ranges: Option<AttributeValue<Bytes>>,
}

/// The function at each of `svmas`, which are sorted, and what was inlined there, outermost first.
pub(crate) fn find_scopes(
    dwarf: &gimli::Dwarf<Bytes>,
    unit: &Unit,
    svmas: &[u64],
    budget: &Budget,
) -> Result<Vec<Vec<Scope>>, DebugError> {
    let mut chains = vec![Vec::new(); svmas.len()];
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() {
        budget.spend()?;
        let (depth, entry) = (entries.next_depth(), entries.next_offset());
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        let is_inlined = match abbreviation.tag() {
            constants::DW_TAG_subprogram => false,
            constants::DW_TAG_inlined_subroutine => true,
            _ => {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
        };
        let mut scope = Scope {
            depth,
            entry,
            call_file: 0,
            call_line: 0,
        };
        let mut bounds = Bounds::default();
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            let value = attribute.value();
            match attribute.name() {
                constants::DW_AT_low_pc => bounds.low = dwarf.attr_address(unit, value)?,
                constants::DW_AT_high_pc => match value {
                    AttributeValue::Udata(size) => bounds.size = Some(size),
                    other => bounds.high = dwarf.attr_address(unit, other)?,
                },
                constants::DW_AT_ranges => bounds.ranges = Some(value),
                constants::DW_AT_call_file => scope.call_file = number(&value),
                constants::DW_AT_call_line => {
                    scope.call_line = u32::try_from(number(&value)).unwrap_or(0);
                }
                _ => {}
            }
        }
        bounds.for_each(dwarf, unit, budget, |start, end| {
            let first = svmas.partition_point(|&svma| svma < start);
            let covered = svmas.iter().skip(first).take_while(|&&svma| svma < end);
            let covered = first..first + covered.count();
            for chain in chains.get_mut(covered).into_iter().flatten() {
                budget.spend()?;
                add_scope(chain, &scope, is_inlined);
            }
            Ok(())
        })?;
    }
    Ok(chains)
}

fn add_scope(chain: &mut Vec<Scope>, scope: &Scope, is_inlined: bool) {
    if !is_inlined {
        chain.clear();
    } else if chain.is_empty() {
        return;
    }
    while chain.last().is_some_and(|last| last.depth >= scope.depth) {
        chain.pop();
    }
    if chain.len() <= MOST_INLINED {
        chain.push(scope.clone());
    }
}

fn number(value: &AttributeValue<Bytes>) -> u64 {
    match value {
        AttributeValue::FileIndex(number) => *number,
        other => other.udata_value().unwrap_or(0),
    }
}

impl Bounds {
    fn for_each(
        self,
        dwarf: &gimli::Dwarf<Bytes>,
        unit: &Unit,
        budget: &Budget,
        mut add: impl FnMut(u64, u64) -> Result<(), DebugError>,
    ) -> Result<(), DebugError> {
        // Linkers put functions that they leave out at address 0.
        let mut add = |start: u64, end: u64| match start != 0 && start < end {
            true => add(start, end),
            false => Ok(()),
        };
        let ranges = match self.ranges {
            Some(value) => dwarf.attr_ranges(unit, value)?,
            None => None,
        };
        if let Some(mut ranges) = ranges {
            while let Some(range) = ranges.next()? {
                budget.spend()?;
                add(range.begin, range.end)?;
            }
        } else if let Some(low) = self.low {
            let end = self.size.and_then(|size| low.checked_add(size));
            add(low, self.high.or(end).unwrap_or(low))?;
        }
        Ok(())
    }
}

/// The names of functions, each found once.
pub(crate) struct Names<'dwarf> {
    dwarf: &'dwarf gimli::Dwarf<Bytes>,
    headers: &'dwarf Headers,
    shared_headers: &'dwarf Headers,
    units: RefCell<HashMap<(bool, usize), Rc<Unit>>>,
    names: RefCell<HashMap<usize, Option<String>>>,
}

/// An entry: in the file of shared names or not, in which unit, and where there.
struct EntryPlace {
    is_shared: bool,
    unit: Rc<Unit>,
    entry: UnitOffset<usize>,
}

impl<'dwarf> Names<'dwarf> {
    pub(crate) fn new(
        dwarf: &'dwarf gimli::Dwarf<Bytes>,
        headers: &'dwarf Headers,
        shared_headers: &'dwarf Headers,
    ) -> Self {
        Self {
            dwarf,
            headers,
            shared_headers,
            units: RefCell::default(),
            names: RefCell::default(),
        }
    }

    /// The name of the function of an entry.
    pub(crate) fn find(&self, unit: &Rc<Unit>, entry: UnitOffset<usize>) -> Option<String> {
        let key = entry.to_debug_info_offset(&unit.header)?.0;
        if let Some(known) = self.names.borrow().get(&key) {
            return known.clone();
        }
        let place = EntryPlace {
            is_shared: false,
            unit: Rc::clone(unit),
            entry,
        };
        let name = self.follow(place).ok().flatten();
        let mut names = self.names.borrow_mut();
        if names.len() < MOST_NAMES {
            names.insert(key, name.clone());
        }
        name
    }

    /// The linkage name, which tells the whole C++ or Rust name, before the plain one.
    fn follow(&self, mut place: EntryPlace) -> Result<Option<String>, DebugError> {
        for _ in 0..MOST_REFERENCES {
            let unit = &place.unit;
            let (mut name, mut linkage_name, mut next) = (None, None, None);
            let mut entries = unit.entries_raw(Some(place.entry))?;
            let Some(abbreviation) = entries.read_abbreviation()? else {
                return Ok(None);
            };
            for specification in abbreviation.attributes() {
                let attribute = entries.read_attribute(*specification)?;
                match attribute.name() {
                    constants::DW_AT_linkage_name | constants::DW_AT_MIPS_linkage_name => {
                        linkage_name = Some(attribute.value());
                    }
                    constants::DW_AT_name => name = Some(attribute.value()),
                    constants::DW_AT_abstract_origin | constants::DW_AT_specification => {
                        next = Some(attribute.value());
                    }
                    _ => {}
                }
            }
            if let Some(text) = linkage_name.or(name) {
                let dwarf = match place.is_shared {
                    true => self.dwarf.sup().unwrap_or(self.dwarf),
                    false => self.dwarf,
                };
                let text = dwarf.attr_string(unit, text)?;
                return Ok(Some(demangle(&text.to_slice()?)).filter(|name| !name.is_empty()));
            }
            match next.and_then(|next| self.resolve(&place, &next)) {
                Some(found) => place = found,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn resolve(&self, from: &EntryPlace, to: &AttributeValue<Bytes>) -> Option<EntryPlace> {
        let (is_shared, offset) = match *to {
            AttributeValue::UnitRef(entry) => {
                return Some(EntryPlace {
                    is_shared: from.is_shared,
                    unit: Rc::clone(&from.unit),
                    entry,
                });
            }
            AttributeValue::DebugInfoRef(offset) => (from.is_shared, offset),
            AttributeValue::DebugInfoRefSup(offset) => (true, offset),
            _ => return None,
        };
        let headers = match is_shared {
            true => self.shared_headers,
            false => self.headers,
        };
        let index = headers.find(offset.0)?;
        let header = headers.get(index)?;
        let entry = offset.to_unit_offset(header)?;
        let mut units = self.units.borrow_mut();
        if let Some(unit) = units.get(&(is_shared, index)) {
            let unit = Rc::clone(unit);
            return Some(EntryPlace {
                is_shared,
                unit,
                entry,
            });
        }
        let dwarf = match is_shared {
            true => self.dwarf.sup()?,
            false => self.dwarf,
        };
        let unit = Rc::new(crate::debug_information::open_unit(dwarf, header)?);
        if units.len() >= MOST_OPEN_UNITS {
            units.clear();
        }
        units.insert((is_shared, index), Rc::clone(&unit));
        Some(EntryPlace {
            is_shared,
            unit,
            entry,
        })
    }
}
