//! The executable mappings that processes make, as the kernel records them: also those of processes that are gone before
//! anybody has looked at them.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{SampleError, memory_map::MemoryMap, perf_event};

/// Pages of a ring of mapping records, a power of two: 64 KiB hold about 600 of them.
const RING_PAGES: usize = 16;
const PAGE: usize = 4096;
/// With the longest path (`PATH_MAX`), and what stands around it.
const LARGEST_RECORD: usize = PAGE + 256;

/// What a process did to its executable mappings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingRecord {
    /// The process.
    pub pid: u32,
    /// When, by the clock of samples.
    pub time_ns: u64,
    /// What it did.
    pub change: RecordedChange,
}

/// A change of executable mappings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedChange {
    /// It runs another program: there are none yet.
    Exec,
    /// There is another one, in the place of whatever was there.
    Mapped(RecordedMapping),
}

/// An executable mapping at the time at which it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedMapping {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Where in the file it starts.
    pub file_offset: u64,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// The file's number there; 0 without a file.
    pub inode: u64,
    /// As the kernel writes it.
    pub path: Vec<u8>,
}

/// What one reading of the rings brought.
#[derive(Debug, Default)]
pub(crate) struct MappingChanges {
    pub(crate) records: Vec<MappingRecord>,
    /// Records were lost: any process may have mapped something.
    pub(crate) lost: bool,
}

/// The records of one CPU.
#[derive(Debug)]
pub(crate) struct MappingRecords {
    event: OwnedFd,
    ring: MemoryMap,
}

impl MappingRecords {
    pub(crate) fn open(cpu: u32) -> Result<Self, SampleError> {
        let event = perf_event::open_mapping_event(cpu)?;
        let ring = MemoryMap::new(event.as_fd(), (RING_PAGES + 1) * PAGE)?;
        Ok(Self { event, ring })
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Reads what has come in.
    pub(crate) fn read(&self, changes: &mut MappingChanges) {
        // data_head and data_tail of struct perf_event_mmap_page.
        const HEAD: usize = 1024 / 8;
        const TAIL: usize = 1032 / 8;
        let words = self.ring.words();
        let (Some(head), Some(tail), Some(data)) =
            (words.get(HEAD), words.get(TAIL), words.get(PAGE / 8..))
        else {
            return;
        };
        let data = data.get(..RING_PAGES * PAGE / 8).unwrap_or(data);
        let end = head.load(Ordering::Acquire);
        let mut position = tail.load(Ordering::Relaxed);
        // The kernel tells of a loss in front of the next record that fits: none has come yet to a ring that is full.
        let waiting = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
        changes.lost |= waiting > RING_PAGES * PAGE - LARGEST_RECORD;
        while position < end {
            // struct perf_event_header: type u32, misc u16, size u16.
            let size = word(data, position) >> 48;
            if size < 8 {
                changes.lost = true;
                position = end;
                break;
            }
            let record: Vec<u8> = (position..position + size)
                .step_by(8)
                .flat_map(|position| word(data, position).to_le_bytes())
                .collect();
            decode(&record, changes);
            position += size;
        }
        tail.store(position, Ordering::Release);
    }
}

fn word(data: &[AtomicU64], position: u64) -> u64 {
    data.get((position / 8) as usize % data.len())
        .map_or(0, |word| word.load(Ordering::Relaxed))
}

/// One record; the layouts are those of perf_event_open(2), each with the time behind it.
fn decode(record: &[u8], changes: &mut MappingChanges) {
    const RECORD_LOST: u32 = 2;
    const RECORD_COMM: u32 = 3;
    const RECORD_MMAP2: u32 = 10;
    const MISC_COMM_EXEC: u16 = 1 << 13;
    let half = |offset: usize| read::<4>(record, offset).map_or(0, u32::from_le_bytes);
    let misc = read(record, 4).map_or(0, u16::from_le_bytes);
    let change = match half(0) {
        RECORD_LOST => {
            changes.lost = true;
            return;
        }
        RECORD_COMM if misc & MISC_COMM_EXEC != 0 => Some(RecordedChange::Exec),
        RECORD_MMAP2 => decode_mapping(record).map(RecordedChange::Mapped),
        _ => return,
    };
    let time_ns = record.last_chunk().copied().map(u64::from_le_bytes);
    match change.zip(time_ns) {
        Some((change, time_ns)) => changes.records.push(MappingRecord {
            pid: half(8),
            time_ns,
            change,
        }),
        None => changes.lost = true,
    }
}

/// After pid and tid: address, length and offset u64, major and minor u32, inode and its generation u64, protection and flags
/// u32, the path with a NUL.
fn decode_mapping(record: &[u8]) -> Option<RecordedMapping> {
    const PATH: usize = 72;
    let half = |offset| read(record, offset).map(u32::from_le_bytes);
    let whole = |offset| read(record, offset).map(u64::from_le_bytes);
    let start = whole(16)?;
    let path = record.get(PATH..record.len().checked_sub(8)?)?;
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(RecordedMapping {
        start,
        end: start.checked_add(whole(24)?)?,
        file_offset: whole(32)?,
        device: (half(40)?, half(44)?),
        inode: whole(48)?,
        path: path.to_vec(),
    })
}

fn read<const N: usize>(record: &[u8], offset: usize) -> Option<[u8; N]> {
    record.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
        let mut record = kind.to_le_bytes().to_vec();
        record.extend(misc.to_le_bytes());
        record.extend((body.len() as u16 + 16).to_le_bytes());
        record.extend(body);
        record.extend(77_u64.to_le_bytes());
        record
    }

    fn mapping(path: &[u8]) -> Vec<u8> {
        let mut body = [7_u32, 8].map(u32::to_le_bytes).concat();
        body.extend([0x1000_u64, 0x2000, 0x3000].map(u64::to_le_bytes).concat());
        body.extend([254_u32, 1].map(u32::to_le_bytes).concat());
        body.extend([99_u64, 5].map(u64::to_le_bytes).concat());
        body.extend([5_u32, 2].map(u32::to_le_bytes).concat());
        body.extend(path);
        record(10, 2, &body)
    }

    fn decoded(record: &[u8]) -> (Vec<MappingRecord>, bool) {
        let mut changes = MappingChanges::default();
        decode(record, &mut changes);
        (changes.records, changes.lost)
    }

    #[test]
    fn mappings_and_execs_are_decoded_and_other_names_are_not_execs() {
        let expected = RecordedMapping {
            start: 0x1000,
            end: 0x3000,
            file_offset: 0x3000,
            device: (254, 1),
            inode: 99,
            path: b"/bin/a".to_vec(),
        };
        let expect = |change| MappingRecord {
            pid: 7,
            time_ns: 77,
            change,
        };
        let (records, lost) = decoded(&mapping(b"/bin/a\0\0"));
        assert_eq!(records, [expect(RecordedChange::Mapped(expected))]);
        assert!(!lost);
        let name = [7_u32.to_le_bytes(), 7_u32.to_le_bytes(), *b"true", [0; 4]].concat();
        assert_eq!(
            decoded(&record(3, 1 << 13, &name)).0,
            [expect(RecordedChange::Exec)]
        );
        assert_eq!(decoded(&record(3, 0, &name)), (Vec::new(), false));
        assert_eq!(decoded(&record(2, 0, &[0; 16])), (Vec::new(), true));
    }

    #[test]
    fn records_that_are_cut_off_are_counted_as_lost() {
        let whole = mapping(b"/bin/a\0\0");
        for length in 16..72 {
            let (records, lost) = decoded(whole.get(..length).unwrap());
            assert!(records.is_empty() && lost, "{length}");
        }
    }
}
