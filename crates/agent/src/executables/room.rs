//! Room for rows, where memory is bounded: who gives theirs up for others, and who is left without.

use std::time::{Duration, Instant};

use viperf_abi::UnwindRow;
use viperf_sample::Sampler;

use super::{Executables, builders::Built, loading::RowState, rows::Source};

/// Rows that a walk has needed since then are given up only now and then: what is in use now would be built over and over.
const IN_USE: Duration = Duration::from_secs(1);
/// Rows that a walk has needed since then are never given up.
const JUST_USED: Duration = Duration::from_millis(150);
/// Between two times that rows in use are displaced lies so often the time that it takes to build those that come.
const DISPLACEMENT_FACTOR: u32 = 20;
const SHORTEST_DISPLACEMENT: Duration = Duration::from_millis(200);

/// A file that found no room is tried again after so long, if walks still need it, and each time twice as long after the time
/// before.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

impl Executables {
    /// What a walk waits for is tried again when others have given up their rows; what nobody waits for is forgotten.
    pub(super) fn wait_for_room(&mut self, built: Built, table: u32, sampler: &mut Sampler) {
        let number = built.number;
        let is_wanted = self.find(number).is_some_and(|found| {
            matches!(
                found.rows,
                RowState::Building {
                    is_wanted: true,
                    ..
                }
            )
        });
        if built.source == Source::Tables && !is_wanted {
            if let Some(executable) = self.find_mut(number) {
                executable.rows = RowState::Absent;
            }
        } else if self.make_room(&built, sampler) || self.may_wait(&built) {
            self.loading.waiting.push(built);
        } else if built.source == Source::Instructions && self.has_rows_of_tables(number) {
            self.give_up_instructions(number, table, sampler);
        } else {
            self.settle(number, table, sampler);
            if built.source == Source::Tables {
                self.leave_out(number, table, sampler);
            }
        }
    }

    /// Whether the tables of a file, which are being built or wait for room, have rows.
    fn has_rows_of_tables(&self, number: u32) -> bool {
        self.find_waiting(number).is_some()
            || self.find(number).is_some_and(|found| found.was_evicted)
    }

    /// Whether rows for which nobody can make room now may wait for it, walks in user space having them meanwhile.
    fn may_wait(&self, built: &Built) -> bool {
        let others = self.loading.waiting.iter();
        let rows: usize = others.map(|other| other.rows.rows.len()).sum();
        built.source == Source::Tables && rows + built.rows.rows.len() <= self.loading.most_waiting
    }

    /// Takes their rows from files that have not needed them for the longest time; true when there will be room in a moment,
    /// or more can be given up then.
    fn make_room(&mut self, built: &Built, sampler: &mut Sampler) -> bool {
        let (rows, asking) = (&built.rows.rows, built.number);
        let memory = sampler.row_memory();
        if memory.is_clearing {
            return true;
        }
        if size_of_val(rows.as_slice()) > memory.limit {
            return false;
        }
        let now = Instant::now();
        let next = self.loading.next_displacement;
        let least_idle = match next.is_none_or(|next| now >= next) {
            true => JUST_USED,
            false => IN_USE,
        };
        let mut idle: Vec<(Duration, u32, u32, usize)> = Vec::new();
        for (&number, executable) in &self.all {
            if let (RowState::Loaded { count }, Some(table)) =
                (executable.rows, executable.row_table)
                && number != asking
            {
                let since = sampler.row_table_idle(table).unwrap_or(Duration::MAX);
                if since >= least_idle {
                    idle.push((since, number, table, count));
                }
            }
        }
        idle.sort_unstable_by_key(|(since, ..)| std::cmp::Reverse(*since));
        // Rooms of a few rows are no use to the next one that asks.
        let enough = rows.len().max(memory.limit / size_of::<UnwindRow>() / 16);
        let mut given_up = 0;
        for (since, number, table, count) in idle {
            if given_up >= enough {
                break;
            }
            if since < IN_USE {
                let pause = (built.took * DISPLACEMENT_FACTOR).max(SHORTEST_DISPLACEMENT);
                self.loading.next_displacement = Some(now + pause);
            }
            given_up += count;
            sampler.evict_rows(table);
            self.loading.counts.evicted += 1;
            if let Some(executable) = self.find_mut(number) {
                executable.rows = RowState::Absent;
                executable.was_evicted = true;
            }
        }
        given_up > 0
    }

    pub(super) fn leave_out(&mut self, number: u32, table: u32, sampler: &mut Sampler) {
        sampler.clear_rows(table);
        if self.loading.left_out.insert(number) {
            self.loading.counts.without_room += 1;
        }
        let limit = sampler.row_memory().limit >> 20;
        self.loading.notes.push(format!(
            "the unwind tables of what runs need more than {limit} MiB: stacks through some libraries are incomplete; allow more with --max-memory"
        ));
        if let Some(executable) = self.find_mut(number) {
            let pause = executable.pause.map_or(FIRST_PAUSE, |pause| pause * 2);
            let pause = pause.min(LONGEST_PAUSE);
            executable.pause = Some(pause);
            executable.rows = RowState::WithoutRoom {
                since: Instant::now(),
                pause,
            };
        }
    }

    /// Files that had no room some time ago, and whose code runs still.
    pub(super) fn try_again(&mut self, now: Instant, sampler: &mut Sampler) {
        if self.loading.left_out.is_empty() {
            return;
        }
        for executable in self.all.values_mut() {
            if let (RowState::WithoutRoom { since, pause }, Some(table)) =
                (executable.rows, executable.row_table)
                && now.duration_since(since) >= pause
                && sampler
                    .row_table_idle(table)
                    .is_some_and(|idle| idle < now.duration_since(since))
            {
                // The next walk asks for them.
                sampler.evict_rows(table);
                executable.rows = RowState::Absent;
            }
        }
    }
}
