//! What the kernel recorded of the executable mappings of processes that have just begun to run a program. A process can be
//! gone, or run another program, before anybody has read its mappings; its samples are finished from this.

use std::collections::HashMap;

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

/// The records of each process, oldest first.
#[derive(Debug, Default)]
pub(crate) struct MappingHistory {
    by_pid: HashMap<u32, Vec<(u64, RecordedChange)>>,
}

impl MappingHistory {
    /// Takes the records of one poll, which are kept for its samples however old they are. After a loss no process that runs
    /// now is known any longer.
    pub(crate) fn note(&mut self, records: Vec<MappingRecord>, are_some_lost: bool, now_ns: u64) {
        self.by_pid.retain(|_, known| {
            let is_young =
                |(time_ns, _): &(u64, _)| now_ns.saturating_sub(*time_ns) < LONGEST_AGE_NS;
            known.len() <= MOST_RECORDS && known.last().is_some_and(is_young)
        });
        for record in records {
            let known = self.by_pid.entry(record.pid).or_default();
            // Records of another CPU can come later.
            let place = known.partition_point(|(time_ns, _)| *time_ns <= record.time_ns);
            known.insert(place, (record.time_ns, record.change));
        }
        if are_some_lost {
            self.by_pid.clear();
        }
    }

    /// A process has been made: what is older was its number's last owner's.
    pub(crate) fn begin(&mut self, pid: u32, time_ns: u64) {
        if let Some(known) = self.by_pid.get_mut(&pid) {
            known.retain(|(recorded_ns, _)| *recorded_ns >= time_ns);
        }
    }

    /// The executable mappings of a process at a time, by address; `None` if its program began before what is known.
    pub(crate) fn mappings_at(&self, pid: u32, time_ns: u64) -> Option<Vec<PastMapping>> {
        let known = self.by_pid.get(&pid)?;
        let until = known.partition_point(|(recorded_ns, _)| *recorded_ns <= time_ns);
        let known = known.get(..until)?;
        let exec = known
            .iter()
            .rposition(|(_, change)| *change == RecordedChange::Exec)?;
        let mut mappings: Vec<PastMapping> = Vec::new();
        for (time_ns, change) in known.get(exec..)? {
            if let RecordedChange::Mapped(mapped) = change {
                mappings = mappings
                    .into_iter()
                    .flat_map(|older| parts_beside(older, mapped.start, mapped.end))
                    .collect();
                let mapping = mapping_of(mapped);
                let time_ns = *time_ns;
                mappings.push(PastMapping { mapping, time_ns });
            }
        }
        mappings.sort_by_key(|one| one.mapping.start);
        Some(mappings)
    }
}

/// What is left of a mapping once another one has taken the range.
fn parts_beside(older: PastMapping, start: u64, end: u64) -> Vec<PastMapping> {
    let PastMapping { mapping, time_ns } = older;
    let part = |first: u64, last: u64| PastMapping {
        mapping: Mapping {
            start: first,
            end: last,
            file_offset: mapping.file_offset.wrapping_add(first - mapping.start),
            ..mapping.clone()
        },
        time_ns,
    };
    let below = (mapping.start < start).then(|| part(mapping.start, mapping.end.min(start)));
    let above = (mapping.end > end).then(|| part(mapping.start.max(end), mapping.end));
    below.into_iter().chain(above).collect()
}

fn mapping_of(recorded: &RecordedMapping) -> Mapping {
    let (path, deleted) = parse_recorded_path(&recorded.path);
    Mapping {
        start: recorded.start,
        end: recorded.end,
        file_offset: recorded.file_offset,
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
        let mut history = MappingHistory::default();
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
        let mut history = MappingHistory::default();
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
    fn after_a_loss_and_after_a_while_nothing_is_known() {
        let mut history = MappingHistory::default();
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
