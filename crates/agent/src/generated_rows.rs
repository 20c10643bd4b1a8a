//! Unwind rows for code that processes generate: made of the call frame information that its compiler tells debuggers of and
//! of its instructions, and made anew when the kernel's walk does not get through it, for a compiler goes on writing to memory
//! that it has mapped long before.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use viperf_abi::{Reason, UnwindRow, Word};
use viperf_process::Pid;
use viperf_sample::Sampler;
use viperf_unwind::GeneratedFrames;

use crate::generated_code::GeneratedNames;

/// Compilers at run time make some kilobytes for each function; a larger mapping is looked at up to here. It takes a quarter
/// of a second.
const LARGEST_MAPPING: u64 = 1 << 20;

/// Of one process, empty ends of mappings left away; what is beyond has no rows.
const LARGEST_PROCESS: usize = 16 << 20;

/// So many bytes of call frame information are read for one mapping.
const LARGEST_FRAMES: u64 = 16 << 20;

/// Of all processes, at 8 bytes each; and never more than this part of the memory for rows.
const MOST_ROWS: usize = 4 << 20;
const PART_OF_MEMORY: usize = 4;

/// Code is looked at again after so long, and each time twice as long after the time before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// And at most so long, and not more often where the walk gets through.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
const RECHECK: Duration = Duration::from_secs(1);

/// One mapping of generated code.
#[derive(Debug)]
struct Analysed {
    end: u64,
    /// Bytes that were looked at.
    length: usize,
    /// Of its contents, and what is said of them.
    hash: u64,
    /// The table of its rows in the kernel.
    rows: Option<Rows>,
    made: Instant,
    pause: Duration,
    is_stale: bool,
}

/// A table in the kernel, and how many rows it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rows {
    table: u32,
    count: usize,
}

/// The rows of all generated code.
#[derive(Debug, Default)]
pub(crate) struct GeneratedRows {
    /// Who knows where call frame information is.
    names: Arc<GeneratedNames>,
    /// By process and start.
    mappings: HashMap<u32, HashMap<u64, Analysed>>,
    /// Tables that no mapping needs any longer.
    unused: Vec<Rows>,
}

impl GeneratedRows {
    /// None yet; `names` knows what processes tell of their code.
    pub(crate) fn new(names: &Arc<GeneratedNames>) -> Self {
        Self {
            names: Arc::clone(names),
            ..Self::default()
        }
    }

    /// The table of a mapping's rows in the kernel; `None` when its instructions tell nothing, or there is no room.
    pub(crate) fn find_or_make(
        &mut self,
        pid: u32,
        mapping: Range<u64>,
        sampler: &mut Sampler,
    ) -> Option<u32> {
        self.give_back(sampler);
        let of_process = self.mappings.entry(pid).or_default();
        let known = of_process
            .get(&mapping.start)
            .filter(|known| known.end == mapping.end);
        if let Some(known) = known.filter(|known| !known.is_stale) {
            return known.rows.map(|rows| rows.table);
        }
        let pause = known.map_or(FIRST_PAUSE, |known| (known.pause * 2).min(LONGEST_PAUSE));
        let (old_hash, old_rows) = known.map_or((0, None), |known| (known.hash, known.rows));
        let others = of_process
            .iter()
            .filter(|(start, _)| **start != mapping.start);
        let used: usize = others.map(|(_, other)| other.length).sum();
        let length = (mapping.end - mapping.start).min(LARGEST_MAPPING);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let is_read = viperf_process::read_memory(Pid(pid), mapping.start, &mut bytes).is_ok();
        // Compilers map more than they have filled yet.
        let filled = bytes.iter().rposition(|byte| *byte != 0);
        let filled = filled.map_or(0, |last| last + 1);
        let left = LARGEST_PROCESS.saturating_sub(used);
        bytes.truncate(filled.min(left));
        let frames = match bytes.is_empty() {
            true => Vec::new(),
            false => self.read_frames(pid, &mapping, left - bytes.len()),
        };
        let told: usize = frames.iter().map(|section| section.bytes.len()).sum();
        let mut hasher = DefaultHasher::new();
        (&bytes, &frames).hash(&mut hasher);
        let hash = hasher.finish();
        let rows = match is_read && hash != old_hash {
            true => {
                let made = viperf_unwind::build_rows_of_generated_code;
                let made = made(&bytes, mapping.start, &frames);
                self.fill(&made, old_rows, sampler).or(old_rows)
            }
            false => old_rows,
        };
        let analysed = Analysed {
            end: mapping.end,
            length: bytes.len() + told,
            hash,
            rows,
            made: Instant::now(),
            pause,
            is_stale: false,
        };
        let of_process = self.mappings.entry(pid).or_default();
        let replaced = of_process.insert(mapping.start, analysed);
        // Another mapping was there before.
        let replaced = replaced.and_then(|replaced| replaced.rows);
        let is_other = |replaced: &Rows| rows.is_none_or(|rows| rows.table != replaced.table);
        self.unused.extend(replaced.filter(is_other));
        rows.map(|rows| rows.table)
    }

    /// Gives the tables of code that is gone back to the kernel.
    pub(crate) fn give_back(&mut self, sampler: &mut Sampler) {
        for rows in self.unused.drain(..) {
            sampler.release_row_table(rows.table);
        }
    }

    /// What the process says of the code in a mapping, of `most` bytes. It may give the memory back at any time, and lie.
    fn read_frames(&self, pid: u32, mapping: &Range<u64>, most: usize) -> Vec<GeneratedFrames> {
        let mut left = LARGEST_FRAMES.min(most as u64);
        let mut frames = Vec::new();
        for section in self.names.frame_sections(pid, mapping) {
            let Some(rest) = left.checked_sub(section.size) else {
                continue;
            };
            let mut bytes = vec![0; usize::try_from(section.size).unwrap_or(0)];
            if viperf_process::read_memory(Pid(pid), section.address, &mut bytes).is_ok() {
                left = rest;
                let address = section.address;
                frames.push(GeneratedFrames { address, bytes });
            }
        }
        frames
    }

    /// Puts rows into a table: into that of the code that was there before, or a new one.
    fn fill(
        &self,
        rows: &[viperf_unwind::Row],
        old: Option<Rows>,
        sampler: &mut Sampler,
    ) -> Option<Rows> {
        let limit = sampler.row_memory().limit / size_of::<UnwindRow>() / PART_OF_MEMORY;
        // One row says only that there is none.
        if rows.len() < 2 || self.count() + rows.len() > MOST_ROWS.min(limit) {
            return None;
        }
        let rows: Vec<UnwindRow> = rows
            .iter()
            .map(|row| UnwindRow {
                pc: row.pc,
                rule: row.rule.0,
            })
            .collect();
        let table = match old {
            Some(old) => old.table,
            None => sampler.add_row_table().ok()?,
        };
        if let Ok(true) = sampler.fill_rows(table, &rows) {
            let count = rows.len();
            return Some(Rows { table, count });
        }
        if old.is_none() {
            sampler.release_row_table(table);
        }
        None
    }

    /// All rows.
    fn count(&self) -> usize {
        let mappings = self.mappings.values().flat_map(HashMap::values);
        mappings
            .filter_map(|mapping| mapping.rows.map(|rows| rows.count))
            .sum()
    }

    /// A stack of a process has come in: true if the walk did not get through generated code that may have changed since it
    /// was looked at, so that its mappings are to be read again.
    pub(crate) fn note(&mut self, pid: u32, native: &[u64], now: Instant) -> bool {
        let Some(of_process) = self.mappings.get_mut(&pid) else {
            return false;
        };
        let mut is_changed = false;
        for pair in native.windows(2) {
            let [frame, reason] = pair else {
                continue;
            };
            let Word::Address(address) = Word::decode(*frame) else {
                continue;
            };
            // Code can be replaced in place, too, and old rows then lead astray without a reason.
            let is_lost = matches!(
                Word::decode(*reason),
                Word::Reason(Ok(Reason::NativeNoTable))
            );
            let least = if is_lost { Duration::ZERO } else { RECHECK };
            let stale = of_process.iter_mut().find(|(start, mapping)| {
                (**start..mapping.end).contains(&address)
                    && now.duration_since(mapping.made) >= mapping.pause.max(least)
            });
            if let Some((_, mapping)) = stale {
                mapping.is_stale = true;
                is_changed = true;
            }
        }
        is_changed
    }

    /// It is known now what a process tells of its code, which has been looked at without: true if that is to be done again.
    pub(crate) fn expect_frames(&mut self, pid: u32) -> bool {
        let mappings = self.mappings.get_mut(&pid).into_iter();
        let mut is_any = false;
        for mapping in mappings.flat_map(HashMap::values_mut) {
            mapping.is_stale = true;
            is_any = true;
        }
        is_any
    }

    /// What a process no longer maps is forgotten: other code may come to be there.
    pub(crate) fn retain(&mut self, pid: u32, starts: &HashSet<u64>) {
        if let Some(of_process) = self.mappings.get_mut(&pid) {
            let gone = of_process.extract_if(|start, _| !starts.contains(start));
            self.unused.extend(gone.filter_map(|(_, gone)| gone.rows));
        }
    }

    /// A process has ended, or runs another program.
    pub(crate) fn forget(&mut self, pid: u32) {
        let gone = self.mappings.remove(&pid).into_iter().flatten();
        self.unused.extend(gone.filter_map(|(_, gone)| gone.rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x7f00_0000_0000;

    fn rows_of_one_mapping(made: Instant) -> GeneratedRows {
        let analysed = Analysed {
            end: START + 0x1000,
            length: 16,
            hash: 1,
            rows: Some(Rows { table: 5, count: 3 }),
            made,
            pause: FIRST_PAUSE,
            is_stale: false,
        };
        GeneratedRows {
            mappings: HashMap::from([(7, HashMap::from([(START, analysed)]))]),
            ..GeneratedRows::default()
        }
    }

    fn words(address: u64, next: Word) -> [u64; 2] {
        [Word::Address(address).encode(), next.encode()]
    }

    #[test]
    fn a_walk_that_is_lost_in_generated_code_has_it_looked_at_again_after_a_pause() {
        let made = Instant::now();
        let mut rows = rows_of_one_mapping(made);
        let lost = words(START + 8, Word::Reason(Ok(Reason::NativeNoTable)));
        assert!(!rows.note(7, &lost, made + FIRST_PAUSE / 2));
        assert!(!rows.note(8, &lost, made + FIRST_PAUSE));
        let elsewhere = words(START + 0x1000, Word::Reason(Ok(Reason::NativeNoTable)));
        assert!(!rows.note(7, &elsewhere, made + FIRST_PAUSE));
        assert!(rows.note(7, &lost, made + FIRST_PAUSE));
    }

    #[test]
    fn code_that_a_walk_gets_through_is_looked_at_again_now_and_then() {
        let made = Instant::now();
        let mut rows = rows_of_one_mapping(made);
        let through = words(
            START + 8,
            Word::Native {
                executable: 1,
                svma: 2,
            },
        );
        assert!(!rows.note(7, &through, made + FIRST_PAUSE));
        assert!(rows.note(7, &through, made + RECHECK));
    }

    #[test]
    fn when_it_is_known_what_a_process_tells_its_code_is_looked_at_again() {
        let mut rows = rows_of_one_mapping(Instant::now());
        assert!(!rows.expect_frames(8));
        assert!(!rows.mappings[&7][&START].is_stale);
        assert!(rows.expect_frames(7));
        assert!(rows.mappings[&7][&START].is_stale);
    }

    #[test]
    fn what_is_no_longer_mapped_is_forgotten() {
        let made = Instant::now();
        let mut rows = rows_of_one_mapping(made);
        rows.retain(7, &HashSet::from([START]));
        let lost = words(START, Word::Reason(Ok(Reason::NativeNoTable)));
        assert!(rows.note(7, &lost, made + RECHECK));
        assert_eq!(rows.unused, []);
        rows.retain(7, &HashSet::new());
        assert!(!rows.note(7, &lost, made + RECHECK));
        assert_eq!(rows.unused, [Rows { table: 5, count: 3 }]);
    }
}
