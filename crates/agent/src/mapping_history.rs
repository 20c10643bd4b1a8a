//! What the kernel recorded of the executable mappings of processes that have just begun to run a program. A process can be
//! gone, or run another program, before anybody has read its mappings; its samples are finished from this.

use std::collections::{BTreeMap, HashMap};

use viperf_process::{Mapping, parse_recorded_path};
use viperf_sample::{MappingRecord, RecordedChange, RecordedMapping};

/// So long after its last record a process is gone or has been read. Its number has no other owner by then: numbers are given
/// in turn, and there are 32,768 at least.
const LONGEST_AGE_NS: u64 = 2_000_000_000;

/// Who has mapped more lives long enough to be read.
const MOST_RECORDS: usize = 1024;

/// A mapping, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastMapping {
    pub(crate) mapping: Mapping,
    pub(crate) time_ns: u64,
}

/// The records of each process.
#[derive(Debug, Default)]
pub(crate) struct MappingHistory {
    by_pid: HashMap<u32, Known>,
    /// Of all processes together.
    most_bytes: usize,
}

/// The records of one process, oldest first.
#[derive(Debug, Default)]
struct Known {
    records: Vec<(u64, RecordedChange)>,
    bytes: usize,
}

impl Known {
    fn newest_ns(&self) -> u64 {
        self.records.last().map_or(0, |(time_ns, _)| *time_ns)
    }

    fn add(&mut self, record: MappingRecord) {
        self.bytes += bytes_of(&record.change);
        // Records of another CPU can come later.
        let place = self
            .records
            .partition_point(|(time_ns, _)| *time_ns <= record.time_ns);
        self.records.insert(place, (record.time_ns, record.change));
    }
}

/// Part of a mapping: its first address is the key.
struct Part<'a> {
    end: u64,
    file_offset: u64,
    mapped: &'a RecordedMapping,
    time_ns: u64,
}

impl MappingHistory {
    /// Nothing, and no more than so many bytes.
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            ..Self::default()
        }
    }

    /// Takes the records of one poll, which are kept for its samples however old they are. After a loss no process that runs
    /// now is known any longer.
    pub(crate) fn note(&mut self, records: Vec<MappingRecord>, are_some_lost: bool, now_ns: u64) {
        self.by_pid.retain(|_, known| {
            known.records.len() <= MOST_RECORDS
                && now_ns.saturating_sub(known.newest_ns()) < LONGEST_AGE_NS
        });
        self.make_room();
        for record in records {
            self.by_pid.entry(record.pid).or_default().add(record);
        }
        if are_some_lost {
            self.by_pid.clear();
        }
    }

    /// Lets the longest silent go where there is too much.
    fn make_room(&mut self) {
        let mut bytes: usize = self.by_pid.values().map(|known| known.bytes).sum();
        if bytes <= self.most_bytes {
            return;
        }
        let mut by_age: Vec<(u64, u32)> = self
            .by_pid
            .iter()
            .map(|(pid, known)| (known.newest_ns(), *pid))
            .collect();
        by_age.sort_unstable();
        for (_, pid) in by_age {
            if bytes <= self.most_bytes / 2 {
                return;
            }
            bytes -= self.by_pid.remove(&pid).map_or(0, |known| known.bytes);
        }
    }

    /// A process has been made: what is older was its number's last owner's.
    pub(crate) fn begin(&mut self, pid: u32, time_ns: u64) {
        if let Some(known) = self.by_pid.get_mut(&pid) {
            known
                .records
                .retain(|(recorded_ns, _)| *recorded_ns >= time_ns);
            let changes = known.records.iter().map(|(_, change)| change);
            known.bytes = changes.map(bytes_of).sum();
        }
    }

    /// The executable mappings of a process at a time, by address; `None` if its program began before what is known.
    pub(crate) fn mappings_at(&self, pid: u32, time_ns: u64) -> Option<Vec<PastMapping>> {
        let known = &self.by_pid.get(&pid)?.records;
        let until = known.partition_point(|(recorded_ns, _)| *recorded_ns <= time_ns);
        let known = known.get(..until)?;
        let exec = known
            .iter()
            .rposition(|(_, change)| *change == RecordedChange::Exec)?;
        let mut parts = BTreeMap::new();
        for (time_ns, change) in known.get(exec..)? {
            if let RecordedChange::Mapped(mapped) = change {
                take_out(&mut parts, mapped.start, mapped.end);
                let part = Part {
                    end: mapped.end,
                    file_offset: mapped.file_offset,
                    mapped,
                    time_ns: *time_ns,
                };
                parts.insert(mapped.start, part);
            }
        }
        let whole = |(start, part): (u64, Part<'_>)| PastMapping {
            mapping: mapping_of(start, &part),
            time_ns: part.time_ns,
        };
        Some(parts.into_iter().map(whole).collect())
    }
}

fn bytes_of(change: &RecordedChange) -> usize {
    let path = match change {
        RecordedChange::Exec => 0,
        RecordedChange::Mapped(mapped) => mapped.path.len(),
    };
    size_of::<(u64, RecordedChange)>() + path
}

/// Leaves of the mappings what lies outside a range that another one takes.
fn take_out(parts: &mut BTreeMap<u64, Part<'_>>, start: u64, end: u64) {
    if start >= end {
        return;
    }
    let above = |from: u64, part: &Part<'_>| part.file_offset.wrapping_add(end - from);
    if let Some((first, below)) = parts.range_mut(..start).next_back()
        && below.end > start
    {
        let rest = (below.end > end).then(|| Part {
            file_offset: above(*first, below),
            ..*below
        });
        below.end = start;
        parts.extend(rest.map(|rest| (end, rest)));
    }
    let within: Vec<u64> = parts.range(start..end).map(|(first, _)| *first).collect();
    for first in within {
        if let Some(part) = parts.remove(&first)
            && part.end > end
        {
            let file_offset = above(first, &part);
            parts.insert(
                end,
                Part {
                    file_offset,
                    ..part
                },
            );
        }
    }
}

fn mapping_of(start: u64, part: &Part<'_>) -> Mapping {
    let recorded = part.mapped;
    let (path, deleted) = parse_recorded_path(&recorded.path);
    Mapping {
        start,
        end: part.end,
        file_offset: part.file_offset,
        readable: true,
        writable: false,
        executable: true,
        shared: false,
        device: recorded.device,
        inode: recorded.inode,
        path,
        deleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST_BYTES: usize = 16 << 20;

    fn exec(pid: u32, time_ns: u64) -> MappingRecord {
        MappingRecord {
            pid,
            time_ns,
            change: RecordedChange::Exec,
        }
    }

    fn mapped(pid: u32, time_ns: u64, start: u64, end: u64) -> MappingRecord {
        let change = RecordedChange::Mapped(RecordedMapping {
            start,
            end,
            file_offset: start * 10,
            path: b"/bin/a (deleted)".to_vec(),
            ..RecordedMapping::default()
        });
        MappingRecord {
            pid,
            time_ns,
            change,
        }
    }

    /// Start, end and file offset.
    fn at(history: &MappingHistory, pid: u32, time_ns: u64) -> Option<Vec<(u64, u64, u64)>> {
        let found = history.mappings_at(pid, time_ns)?;
        let ranges = found.iter().map(|one| &one.mapping);
        let ranges = ranges.map(|one| (one.start, one.end, one.file_offset));
        Some(ranges.collect())
    }

    #[test]
    fn mappings_are_those_since_the_exec_and_before_the_sample() {
        let mut history = MappingHistory::new(MOST_BYTES);
        // The CPU that was read last had the older records.
        let records = vec![
            mapped(1, 30, 300, 400),
            exec(1, 50),
            mapped(1, 60, 500, 600),
            exec(1, 10),
            mapped(1, 20, 100, 200),
            mapped(2, 20, 100, 200),
        ];
        history.note(records, false, 100);
        assert_eq!(at(&history, 1, 9), None);
        assert_eq!(at(&history, 1, 15), Some(vec![]));
        assert_eq!(at(&history, 1, 20), Some(vec![(100, 200, 1000)]));
        let both = vec![(100, 200, 1000), (300, 400, 3000)];
        assert_eq!(at(&history, 1, 49), Some(both));
        assert_eq!(at(&history, 1, 55), Some(vec![]));
        assert_eq!(at(&history, 1, 99), Some(vec![(500, 600, 5000)]));
        // No exec of it is known: what it has from before is not.
        assert_eq!(at(&history, 2, 99), None);
        let found = history.mappings_at(1, 99).unwrap().remove(0);
        assert_eq!(found.mapping.path.to_str(), Some("/bin/a"));
        assert!(found.mapping.deleted);
        history.begin(1, 55);
        assert_eq!(at(&history, 1, 99), None);
    }

    #[test]
    fn a_newer_mapping_takes_the_place_of_what_was_there() {
        let mut history = MappingHistory::new(MOST_BYTES);
        let records = vec![
            exec(1, 1),
            mapped(1, 2, 100, 200),
            mapped(1, 3, 120, 140),
            mapped(1, 4, 190, 250),
        ];
        history.note(records, false, 5);
        assert_eq!(
            at(&history, 1, 5).unwrap(),
            [
                (100, 120, 1000),
                (120, 140, 1200),
                (140, 190, 1040),
                (190, 250, 1900)
            ]
        );
    }

    #[test]
    fn however_many_processes_map_the_history_is_bounded_and_the_newest_are_kept() {
        let mut history = MappingHistory::new(MOST_BYTES);
        for pid in 1..=MOST_BYTES as u32 / 1000 {
            let time = u64::from(pid);
            history.note(vec![exec(pid, time), mapped(pid, time, 1, 2)], false, time);
            let bytes: usize = history.by_pid.values().map(|known| known.bytes).sum();
            assert!(bytes <= MOST_BYTES + 1000);
            assert_eq!(at(&history, pid, time), Some(vec![(1, 2, 10)]));
            let path = vec![b'a'; 3000];
            if let Some(known) = history.by_pid.get_mut(&pid) {
                // As a mapping of a long path, made in one go.
                let change = RecordedChange::Mapped(RecordedMapping {
                    start: 7,
                    end: 8,
                    path,
                    ..RecordedMapping::default()
                });
                known.add(MappingRecord {
                    pid,
                    time_ns: time,
                    change,
                });
            }
        }
        assert!(history.by_pid.len() > 1000);
        assert_eq!(at(&history, 1, 10), None);
    }

    #[test]
    fn a_thousand_mappings_are_told_as_fast_as_they_were_made() {
        let mut history = MappingHistory::new(MOST_BYTES);
        let many = (1..MOST_RECORDS as u64).map(|at| mapped(1, at, at * 10, at * 10 + 10));
        let records = [exec(1, 0)].into_iter().chain(many).collect();
        history.note(records, false, 5);
        for _ in 0..1000 {
            assert_eq!(
                history.mappings_at(1, 5000).map(|all| all.len()),
                Some(MOST_RECORDS - 1)
            );
        }
    }

    #[test]
    fn after_a_loss_and_after_a_while_nothing_is_known() {
        let mut history = MappingHistory::new(MOST_BYTES);
        history.note(vec![exec(1, 1)], true, 5);
        assert_eq!(at(&history, 1, 5), None);
        history.note(vec![exec(1, 10), mapped(2, 10, 1, 2)], false, 15);
        assert_eq!(at(&history, 1, 20), Some(vec![]));
        history.note(Vec::new(), false, 10 + LONGEST_AGE_NS);
        assert_eq!(at(&history, 1, 20), None);
        assert!(history.by_pid.is_empty());
        let many = (0..=MOST_RECORDS as u64).map(|time| mapped(1, time, time, time + 1));
        history.note(many.collect(), false, 5);
        history.note(Vec::new(), false, 5);
        assert!(history.by_pid.is_empty());
    }
}
