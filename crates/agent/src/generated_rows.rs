//! Unwind rows for code that processes generate: made of its instructions, and made anew when the kernel's walk does not get
//! through it, for a compiler goes on writing to memory that it has mapped long before.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    time::{Duration, Instant},
};

use viperf_abi::{Reason, UnwindRow, Word};
use viperf_process::Pid;
use viperf_sample::Sampler;

/// Compilers at run time make some kilobytes for each function; a larger mapping is looked at up to here. It takes a quarter
/// of a second.
const LARGEST_MAPPING: u64 = 1 << 20;

/// Of one process, empty ends of mappings left away; what is beyond has no rows.
const LARGEST_PROCESS: usize = 16 << 20;

/// Of all processes of a recording, at 8 bytes each: rows that were replaced are not given back.
const MOST_ROWS: usize = 4 << 20;

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
    /// Of its contents.
    hash: u64,
    /// Where its rows are in the kernel.
    rows: Option<(u32, u32)>,
    made: Instant,
    pause: Duration,
    is_stale: bool,
}

/// The rows of all generated code.
#[derive(Debug, Default)]
pub(crate) struct GeneratedRows {
    /// By process and start.
    mappings: HashMap<u32, HashMap<u64, Analysed>>,
    rows: usize,
}

impl GeneratedRows {
    /// The run of a mapping's rows in the kernel; `None` when its instructions tell nothing, or there is no room.
    pub(crate) fn find_or_make(
        &mut self,
        pid: u32,
        mapping: Range<u64>,
        sampler: &mut Sampler,
    ) -> Option<(u32, u32)> {
        let of_process = self.mappings.entry(pid).or_default();
        let known = of_process
            .get(&mapping.start)
            .filter(|known| known.end == mapping.end);
        if let Some(known) = known.filter(|known| !known.is_stale) {
            return known.rows;
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
        bytes.truncate(filled.min(LARGEST_PROCESS.saturating_sub(used)));
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();
        let rows = match is_read && hash != old_hash {
            true => self.add(&bytes, sampler).or(old_rows),
            false => old_rows,
        };
        let analysed = Analysed {
            end: mapping.end,
            length: bytes.len(),
            hash,
            rows,
            made: Instant::now(),
            pause,
            is_stale: false,
        };
        let of_process = self.mappings.entry(pid).or_default();
        of_process.insert(mapping.start, analysed);
        rows
    }

    fn add(&mut self, bytes: &[u8], sampler: &mut Sampler) -> Option<(u32, u32)> {
        let rows = viperf_unwind::analyse_generated_code(bytes);
        // One row says only that there is none.
        if rows.len() < 2 || self.rows + rows.len() > MOST_ROWS {
            return None;
        }
        let rows: Vec<UnwindRow> = rows
            .iter()
            .map(|row| UnwindRow {
                pc: row.pc,
                rule: row.rule.0,
            })
            .collect();
        let first = sampler.add_rows(&rows).ok()?;
        self.rows += rows.len();
        Some((first, rows.len() as u32))
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

    /// What a process no longer maps is forgotten: other code may come to be there.
    pub(crate) fn retain(&mut self, pid: u32, starts: &HashSet<u64>) {
        if let Some(of_process) = self.mappings.get_mut(&pid) {
            of_process.retain(|start, _| starts.contains(start));
        }
    }

    /// A process has ended, or runs another program.
    pub(crate) fn forget(&mut self, pid: u32) {
        self.mappings.remove(&pid);
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
            rows: Some((5, 3)),
            made,
            pause: FIRST_PAUSE,
            is_stale: false,
        };
        GeneratedRows {
            mappings: HashMap::from([(7, HashMap::from([(START, analysed)]))]),
            rows: 3,
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
    fn what_is_no_longer_mapped_is_forgotten() {
        let made = Instant::now();
        let mut rows = rows_of_one_mapping(made);
        rows.retain(7, &HashSet::from([START]));
        let lost = words(START, Word::Reason(Ok(Reason::NativeNoTable)));
        assert!(rows.note(7, &lost, made + RECHECK));
        rows.retain(7, &HashSet::new());
        assert!(!rows.note(7, &lost, made + RECHECK));
    }
}
