//! The frame description entries of a section, in the order of their addresses.

use std::{collections::HashMap, ops::Range};

use gimli::{
    BaseAddresses, CommonInformationEntry, DebugFrame, EhFrame, FrameDescriptionEntry,
    LittleEndian, UnwindContext, UnwindOffset, UnwindSection,
};
use viperf_elf::Svma;

use crate::build::RowError;
use crate::dwarf::Bytes;

/// The address behind the last that a row can say.
const LIMIT: u64 = 1 << 32;

type CommonEntry<'data> = CommonInformationEntry<Bytes<'data>>;

/// A section with what is needed to read its entries again and again.
pub(crate) struct Entries<'data, S: UnwindSection<Bytes<'data>>> {
    pub(crate) section: S,
    pub(crate) bases: BaseAddresses,
    pub(crate) context: UnwindContext<usize>,
    /// Where the addresses of rows count from.
    pub(crate) origin: u64,
    common: HashMap<usize, gimli::Result<CommonEntry<'data>>>,
    places: Vec<Place>,
    /// How many entries cannot be read at all.
    pub(crate) skipped: usize,
}

/// Where a function starts, and where in the section its entry is. Sections are smaller than 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) start: u32,
    offset: u32,
}

impl<'data> Entries<'data, EhFrame<Bytes<'data>>> {
    pub(crate) fn of_eh_frame(data: &'data [u8], svma: Svma) -> Result<Self, RowError> {
        let bases = BaseAddresses::default().set_eh_frame(svma.0);
        let mut entries = Self::new(EhFrame::new(data, LittleEndian), bases);
        for offset in fde_offsets(data, Format::EhFrame) {
            let Some(fde) = entries.parse_at(offset) else {
                entries.skipped += 1;
                continue;
            };
            let start = fde.initial_address();
            if fde.len() == 0 || start == 0 {
                continue;
            }
            let end = start.saturating_add(fde.len());
            if end > LIMIT {
                let start = Svma(start);
                return Err(RowError::AddressTooLarge { start, end });
            }
            entries.places.extend(Place::new(start, offset));
        }
        Ok(entries)
    }

    /// Of a section at that address, those of functions that lie in `code`, from the start of which addresses count.
    pub(crate) fn of_generated(data: &'data [u8], address: u64, code: &Range<u64>) -> Self {
        let bases = BaseAddresses::default().set_eh_frame(address);
        let mut entries = Self::new(EhFrame::new(data, LittleEndian), bases);
        entries.origin = code.start;
        for offset in fde_offsets(data, Format::EhFrame) {
            let Some(fde) = entries.parse_at(offset) else {
                entries.skipped += 1;
                continue;
            };
            let start = fde.initial_address();
            let is_inside = code.contains(&start)
                && start.saturating_add(fde.len()) <= code.end
                && fde.len() > 0;
            if is_inside {
                entries
                    .places
                    .extend(Place::new(start - code.start, offset));
            }
        }
        entries
    }
}

impl<'data> Entries<'data, DebugFrame<Bytes<'data>>> {
    pub(crate) fn of_debug_frame(data: &'data [u8], code: &[Range<u64>]) -> Self {
        let mut section = DebugFrame::new(data, LittleEndian);
        section.set_address_size(8);
        let mut entries = Self::new(section, BaseAddresses::default());
        for offset in fde_offsets(data, Format::DebugFrame) {
            let Some(fde) = entries.parse_at(offset) else {
                entries.skipped += 1;
                continue;
            };
            let start = fde.initial_address();
            let is_code = code.iter().any(|part| {
                part.contains(&start) && start.saturating_add(fde.len()) <= part.end.min(LIMIT)
            });
            if fde.len() > 0 && is_code {
                entries.places.extend(Place::new(start, offset));
            }
        }
        entries
    }
}

impl<'data, S: UnwindSection<Bytes<'data>>> Entries<'data, S> {
    fn new(section: S, bases: BaseAddresses) -> Self {
        Self {
            section,
            bases,
            context: UnwindContext::new(),
            origin: 0,
            common: HashMap::new(),
            places: Vec::new(),
            skipped: 0,
        }
    }

    /// Where the functions are, sorted by their start; of equal ones the first in the section first.
    pub(crate) fn take_places(&mut self) -> Vec<Place> {
        let mut places = std::mem::take(&mut self.places);
        places.sort_unstable();
        places
    }

    pub(crate) fn parse(&mut self, place: Place) -> Option<FrameDescriptionEntry<Bytes<'data>>> {
        self.parse_at(usize::try_from(place.offset).ok()?)
    }

    fn parse_at(&mut self, offset: usize) -> Option<FrameDescriptionEntry<Bytes<'data>>> {
        let common = &mut self.common;
        let fde =
            self.section
                .fde_from_offset(&self.bases, offset.into(), |section, bases, offset| {
                    common
                        .entry(UnwindOffset::into(offset))
                        .or_insert_with(|| section.cie_from_offset(bases, offset))
                        .clone()
                });
        fde.ok()
    }
}

impl Place {
    fn new(start: u64, offset: usize) -> Option<Self> {
        let start = u32::try_from(start).ok()?;
        let offset = u32::try_from(offset).ok()?;
        Some(Self { start, offset })
    }
}

/// How the two sections tell common information entries from frame description entries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// By four bytes of zero behind the length.
    EhFrame,
    /// By all bits set: in four bytes, or in eight where the length has eight.
    DebugFrame,
}

impl Format {
    fn is_common(self, is_64_bit: bool, body: &[u8]) -> bool {
        match self {
            Self::EhFrame => body.starts_with(&[0; 4]) || body.len() < 4,
            Self::DebugFrame if is_64_bit => body.starts_with(&[0xff; 8]) || body.len() < 8,
            Self::DebugFrame => body.starts_with(&[0xff; 4]) || body.len() < 4,
        }
    }
}

/// Where the frame description entries start.
///
/// Each entry is: its length (4 bytes, or `ffffffff` and 8 bytes), then that many bytes, which
/// start with a number that tells a common information entry. A length of zero, which ends
/// the list for a reader without a search table, is stepped over: some links leave one in the
/// middle. An entry that is longer than the section is the last one given out; it cannot be read.
fn fde_offsets(section: &[u8], format: Format) -> impl Iterator<Item = usize> {
    let mut position = 0_usize;
    std::iter::from_fn(move || {
        loop {
            let start = position;
            let (body, length) = entry_at(section, start)?;
            let end = body.checked_add(length);
            let Some((end, bytes)) = end.and_then(|end| Some((end, section.get(body..end)?)))
            else {
                position = section.len();
                return Some(start);
            };
            position = end;
            if !format.is_common(body - start > 4, bytes) {
                return Some(start);
            }
        }
    })
}

/// Where the entry's body starts and how long it is.
fn entry_at(section: &[u8], start: usize) -> Option<(usize, usize)> {
    const LENGTH_IS_64_BIT: u32 = 0xffff_ffff;
    let rest = section.get(start..)?;
    match u32::from_le_bytes(*rest.first_chunk()?) {
        LENGTH_IS_64_BIT => {
            let length = u64::from_le_bytes(*rest.get(4..)?.first_chunk()?);
            Some((start.checked_add(12)?, usize::try_from(length).ok()?))
        }
        length => Some((start.checked_add(4)?, usize::try_from(length).ok()?)),
    }
}
