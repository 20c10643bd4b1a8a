//! Which threads are wanted, and what has been seen of each.

use std::collections::BTreeMap;

use viperf_abi::{SampleRecord, THREAD_ENDS, THREAD_HAS_MOVED, THREAD_RUNS, ThreadRecord};

use viperf_cpython::FrameLocals;

use crate::stacks::StackNumber;

/// A stack with a gap is taken only when so many looks have given none without: rows, mappings and thread states that were
/// missing may be there soon.
const LOOKS_FOR_A_WHOLE_STACK: u32 = 12;

/// One thread at one moment.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) sample: SampleRecord,
    pub(super) stack: StackNumber,
    /// Local variables, frame by frame; empty where they are not known.
    pub(super) locals: Vec<FrameLocals>,
    /// What the look found; `None` when it ran and the clock has taken it.
    pub(super) record: Option<ThreadRecord>,
}

impl Seen {
    pub(super) const fn on_cpu(sample: SampleRecord, stack: StackNumber) -> Self {
        Self {
            sample,
            stack,
            locals: Vec::new(),
            record: None,
        }
    }
}

/// Why a thread has no stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    NotSeen,
    Ran,
    Moved,
}

#[derive(Debug)]
struct Wanted {
    pid: u32,
    why: Why,
    name: [u8; 16],
    looks: u32,
    record: Option<ThreadRecord>,
    /// One with a gap.
    candidate: Option<Seen>,
}

/// A thread of which no stack is known.
#[derive(Debug)]
pub(super) struct Unseen {
    pub(super) tid: u32,
    pub(super) pid: u32,
    pub(super) why: Why,
    pub(super) name: [u8; 16],
}

/// All threads of one dump.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    wanted: BTreeMap<u32, Wanted>,
    seen: BTreeMap<u32, Seen>,
    /// A thread that is looked at once more, and how often it had left a CPU by then; `None`: it ran.
    confirming: Option<(u32, Option<u64>)>,
}

impl Sightings {
    /// Nothing is seen yet of these, pids by tid.
    pub(super) fn of(threads: &BTreeMap<u32, u32>) -> Self {
        let wanted = threads.iter().map(|(tid, pid)| {
            let wanted = Wanted {
                pid: *pid,
                why: Why::NotSeen,
                name: [0; 16],
                looks: 0,
                record: None,
                candidate: None,
            };
            (*tid, wanted)
        });
        Self {
            wanted: wanted.collect(),
            seen: BTreeMap::new(),
            confirming: None,
        }
    }

    /// What the looks have found: tid, pid, record.
    pub(super) fn records(&self) -> Vec<(u32, u32, ThreadRecord)> {
        let looked_at = self.seen.iter().filter_map(|(tid, seen)| {
            let record = seen.record?;
            Some((*tid, record.tgid, record))
        });
        looked_at.collect()
    }

    /// The next look at this thread says whether it has run since.
    pub(super) const fn want_confirmation(&mut self, tid: u32) {
        self.confirming = Some((tid, None));
    }

    /// The thread has these variables, if it has not run since it had left a CPU so often.
    pub(super) fn confirm(&mut self, tid: u32, switches: u64, locals: Vec<FrameLocals>) {
        let confirmed = self.confirming.take();
        if confirmed == Some((tid, Some(switches)))
            && let Some(seen) = self.seen.get_mut(&tid)
        {
            seen.locals = locals;
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Those without a stack, by pid.
    pub(super) fn missing(&self) -> BTreeMap<u32, Vec<u32>> {
        let mut missing: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (tid, wanted) in &self.wanted {
            missing.entry(wanted.pid).or_default().push(*tid);
        }
        missing
    }

    /// The thread has ended.
    pub(super) fn forget(&mut self, tid: u32) {
        self.wanted.remove(&tid);
    }

    /// The process has ended.
    pub(super) fn forget_process(&mut self, pid: u32) {
        self.wanted.retain(|_, wanted| wanted.pid != pid);
    }

    /// What a look has found, before the stack.
    pub(super) fn note(&mut self, record: &ThreadRecord) {
        if let Some((tid, switches)) = &mut self.confirming
            && *tid == record.tid
        {
            let ran = record.flags & (THREAD_ENDS | THREAD_RUNS | THREAD_HAS_MOVED) != 0;
            *switches = (!ran).then_some(record.switches);
        }
        let Some(wanted) = self.wanted.get_mut(&record.tid) else {
            return;
        };
        wanted.name = record.thread_name;
        if record.flags & THREAD_ENDS != 0 {
            self.wanted.remove(&record.tid);
        } else if record.flags & THREAD_RUNS != 0 {
            wanted.why = Why::Ran;
        } else if record.flags & THREAD_HAS_MOVED != 0 {
            wanted.why = Why::Moved;
        } else {
            wanted.record = Some(*record);
        }
    }

    /// The sample of a thread that was looked at, with what the look found.
    pub(super) fn looked_at(&mut self, sample: SampleRecord, stack: StackNumber) -> Option<Seen> {
        let record = self.wanted.get_mut(&sample.tid)?.record.take();
        Some(Seen {
            sample,
            stack,
            locals: Vec::new(),
            record: Some(record?),
        })
    }

    /// A stack of a thread; the first whole one counts.
    pub(super) fn take(&mut self, seen: Seen, is_complete: bool) {
        let tid = seen.sample.tid;
        let Some(wanted) = self.wanted.get_mut(&tid) else {
            return;
        };
        wanted.looks += 1;
        if is_complete || wanted.looks >= LOOKS_FOR_A_WHOLE_STACK {
            self.wanted.remove(&tid);
            self.seen.insert(tid, seen);
        } else {
            wanted.candidate = Some(seen);
        }
    }

    /// What has been seen of each thread, and of which nothing.
    pub(super) fn into_parts(self) -> (Vec<Seen>, Vec<Unseen>) {
        let mut seen: Vec<Seen> = self.seen.into_values().collect();
        let mut unseen = Vec::new();
        for (tid, wanted) in self.wanted {
            match wanted.candidate {
                Some(candidate) => seen.push(candidate),
                None => unseen.push(Unseen {
                    tid,
                    pid: wanted.pid,
                    why: wanted.why,
                    name: wanted.name,
                }),
            }
        }
        (seen, unseen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sightings() -> Sightings {
        Sightings::of(&BTreeMap::from([(7, 7), (8, 7)]))
    }

    fn sample(tid: u32) -> SampleRecord {
        SampleRecord {
            tid,
            ..SampleRecord::default()
        }
    }

    fn record(tid: u32, flags: u32) -> ThreadRecord {
        ThreadRecord {
            tid,
            flags,
            ..ThreadRecord::default()
        }
    }

    #[test]
    fn a_thread_that_ran_is_wanted_until_the_clock_takes_it() {
        let mut sightings = sightings();
        sightings.note(&record(7, THREAD_RUNS));
        assert_eq!(sightings.missing(), BTreeMap::from([(7, vec![7, 8])]));
        sightings.take(Seen::on_cpu(sample(7), StackNumber(0)), true);
        sightings.note(&record(8, THREAD_ENDS));
        assert!(sightings.is_done());
        let (seen, unseen) = sightings.into_parts();
        assert!(seen.len() == 1 && unseen.is_empty());
    }

    #[test]
    fn a_stack_without_the_look_it_belongs_to_is_not_taken_for_one() {
        let mut sightings = sightings();
        assert!(sightings.looked_at(sample(7), StackNumber(0)).is_none());
        sightings.note(&record(7, 0));
        assert!(sightings.looked_at(sample(8), StackNumber(0)).is_none());
        assert!(sightings.looked_at(sample(7), StackNumber(0)).is_some());
        assert!(sightings.looked_at(sample(7), StackNumber(0)).is_none());
    }

    #[test]
    fn variables_of_a_thread_that_has_run_since_are_thrown_away() {
        for (flags, switches, are_kept) in [(0, 5, true), (0, 6, false), (THREAD_RUNS, 5, false)] {
            let mut sightings = sightings();
            sightings.note(&record(7, 0));
            let seen = sightings.looked_at(sample(7), StackNumber(0)).unwrap();
            sightings.take(seen, true);
            sightings.want_confirmation(7);
            sightings.note(&ThreadRecord {
                switches,
                ..record(7, flags)
            });
            let locals = FrameLocals {
                code_name: "f".to_owned(),
                first_line: 1,
                variables: Vec::new(),
            };
            sightings.confirm(7, 5, vec![locals]);
            let (seen, _) = sightings.into_parts();
            assert_eq!(!seen[0].locals.is_empty(), are_kept);
        }
    }

    #[test]
    fn a_stack_with_a_gap_is_better_than_none() {
        let mut sightings = sightings();
        sightings.take(Seen::on_cpu(sample(7), StackNumber(3)), false);
        sightings.note(&record(8, THREAD_HAS_MOVED));
        assert!(!sightings.is_done());
        let (seen, unseen) = sightings.into_parts();
        assert_eq!(seen[0].stack, StackNumber(3));
        assert_eq!((unseen[0].tid, unseen[0].why), (8, Why::Moved));
    }
}
