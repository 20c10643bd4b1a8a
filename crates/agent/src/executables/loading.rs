//! Which files' unwind rows the kernel has: built beside the sampling, given up when they have not been needed for long and
//! others need their memory, and built again when a walk needs them.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use viperf_abi::{Mapping, Reason, Word};
use viperf_sample::{RowSearch, SampleError, Sampler};

use super::{
    Executable, Executables,
    builders::{Builders, Built},
    rows::Source,
};

/// A build that takes longer is worth a word.
const LONG_BUILD: Duration = Duration::from_secs(1);

/// The first sample waits so long for the rows of what runs already.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const BREATH: Duration = Duration::from_millis(2);

/// What becomes of the rows of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowState {
    /// Not built, or given up.
    Absent,
    Building {
        since: Instant,
        /// A walk waits for them; otherwise they must find room without taking another's.
        is_wanted: bool,
    },
    /// So many are in the kernel.
    Loaded { count: usize },
    /// There are none.
    Nothing,
    /// There was no room for so many.
    WithoutRoom { since: Instant, pause: Duration },
}

/// Whether the instructions of a file tell rows beyond those of its tables. They are asked when a walk has met a place without a
/// row: for most files never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    /// They have been asked, or there is nothing that they could tell.
    Settled,
    CanTell,
    /// Somebody looks at them.
    Asked,
}

/// What goes on between the files and the kernel.
#[derive(Debug, Default)]
pub(super) struct Loading {
    builders: Builders,
    /// Built, and waiting for room; walks in user space have them already.
    pub(super) waiting: Vec<Built>,
    /// So many rows may wait; what comes then is left out.
    pub(super) most_waiting: usize,
    /// Until then rows that are in use are not taken away for others.
    pub(super) next_displacement: Option<Instant>,
    pub(super) notes: Vec<String>,
    /// That builds take long.
    is_told: bool,
    pub(super) counts: RowCounts,
    /// Files that have been without room.
    pub(super) left_out: HashSet<u32>,
}

/// How often rows came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowCounts {
    /// Files whose rows were given up.
    pub(crate) evicted: u64,
    /// Files whose rows came back.
    pub(crate) reloaded: u64,
    /// Files whose rows found no room at some time.
    pub(crate) without_room: u64,
}

impl Executables {
    /// The kernel's table of an executable's rows, which are built from the first call on; `None` when there are too many.
    pub(crate) fn row_table(
        &mut self,
        number: u32,
        sampler: &mut Sampler,
    ) -> Result<Option<u32>, SampleError> {
        let memory = sampler.row_memory();
        let Some(executable) = self.find_mut(number) else {
            return Ok(None);
        };
        if executable.row_table.is_none() {
            executable.row_table = Some(sampler.add_row_table()?);
            // Where memory is short, a walk must ask first.
            if memory.used <= memory.limit / 4 * 3 {
                self.build(number, false);
            }
        }
        Ok(self.find(number).and_then(|found| found.row_table))
    }

    /// A walk waits for the rows of a file.
    pub(crate) fn want_rows(&mut self, number: u32) {
        let Some(executable) = self.find_mut(number) else {
            return;
        };
        match &mut executable.rows {
            RowState::Absent => self.build(number, true),
            RowState::Building { is_wanted, .. } => {
                if !std::mem::replace(is_wanted, true) {
                    self.loading.builders.hurry(number);
                }
            }
            RowState::Loaded { .. } => self.analyse(number),
            RowState::Nothing | RowState::WithoutRoom { .. } => {}
        }
    }

    /// Whether rows of a file are on their way.
    pub(crate) fn awaits_rows(&self, number: u32) -> bool {
        let is_building = |found: &Executable| {
            matches!(found.rows, RowState::Building { .. }) && self.find_waiting(number).is_none()
        };
        self.find(number)
            .is_some_and(|found| is_building(found) || found.instructions == Instructions::Asked)
    }

    /// The rule that holds at `pc` (SVMA) in a mapping, for walks in user space: by the rows that the kernel has, or those that
    /// wait for room there.
    pub(crate) fn find_rule(&self, mapping: &Mapping, pc: u32, sampler: &Sampler) -> RowSearch {
        match sampler.find_rule(mapping.row_table, pc) {
            RowSearch::Awaited => match self.find_waiting(mapping.executable) {
                Some(built) => built.find_rule(pc),
                None => RowSearch::Awaited,
            },
            found => found,
        }
    }

    pub(super) fn find_waiting(&self, number: u32) -> Option<&Built> {
        let mut waiting = self.loading.waiting.iter();
        waiting.find(|built| built.number == number && !built.rows.rows.is_empty())
    }

    /// Whether rows of any file are.
    pub(crate) fn is_building(&self) -> bool {
        self.all.keys().any(|number| self.awaits_rows(*number))
    }

    /// How often rows came and went so far.
    pub(crate) fn row_counts(&self) -> RowCounts {
        self.loading.counts
    }

    /// A stack has come in: files in whose code the walk found no row are looked at more closely, also where that takes long.
    pub(crate) fn note_lost(&mut self, native: &[u64]) {
        for pair in native.windows(2) {
            let [frame, reason] = pair else {
                continue;
            };
            if let (Word::Native { executable, .. }, Word::Reason(Ok(Reason::NativeNoRow))) =
                (Word::decode(*frame), Word::decode(*reason))
            {
                self.analyse(executable);
            }
        }
    }

    /// Gives the kernel what has been built since the last call: sentences for the user.
    pub(crate) fn load_built(&mut self, sampler: &mut Sampler) -> Vec<String> {
        let mut built = std::mem::take(&mut self.loading.waiting);
        built.extend(self.loading.builders.take());
        for built in built {
            self.load(built, sampler);
        }
        let now = Instant::now();
        self.note_long_builds(now);
        self.try_again(now, sampler);
        std::mem::take(&mut self.loading.notes)
    }

    /// Waits until all rows are there that are being built, but not for ever: a walk that is deferred has only the top of its
    /// stack to go on with, so that what is known before the first sample is better there.
    pub(crate) fn wait_for_rows(&mut self, sampler: &mut Sampler) -> Vec<String> {
        let end = Instant::now() + LONGEST_WAIT;
        let mut notes = Vec::new();
        let are_tables_awaited = |found: &Executable| {
            matches!(found.rows, RowState::Building { .. })
                && found.instructions != Instructions::Asked
        };
        while self.all.values().any(are_tables_awaited) && Instant::now() < end {
            std::thread::sleep(BREATH);
            notes.extend(self.load_built(sampler));
        }
        notes
    }

    fn build(&mut self, number: u32, is_wanted: bool) {
        if let Some(executable) = self.all.get_mut(&number) {
            executable.rows = RowState::Building {
                since: Instant::now(),
                is_wanted,
            };
            let (file, name) = (&executable.file, &executable.name);
            let builders = &mut self.loading.builders;
            builders.add(number, file, name, Source::Tables, is_wanted);
        }
    }

    /// Has a file's instructions looked at, if that has not been done.
    fn analyse(&mut self, number: u32) {
        if let Some(executable) = self.all.get_mut(&number)
            && executable.instructions == Instructions::CanTell
        {
            executable.instructions = Instructions::Asked;
            let (file, name) = (&executable.file, &executable.name);
            let builders = &mut self.loading.builders;
            builders.add(number, file, name, Source::Instructions, true);
        }
    }

    fn load(&mut self, built: Built, sampler: &mut Sampler) {
        let Some(executable) = self.find_mut(built.number) else {
            return;
        };
        let Some(table) = executable.row_table else {
            return;
        };
        let (number, count) = (built.number, built.rows.rows.len());
        let is_news = match (built.source, executable.rows) {
            (Source::Tables, state) => matches!(state, RowState::Building { .. }),
            (Source::Instructions, RowState::Building { .. }) => true,
            (Source::Instructions, RowState::Loaded { count: known }) => count > known,
            // Given up meanwhile.
            (Source::Instructions, _) => false,
        };
        if is_news && count > 0 {
            match sampler.fill_rows(table, &built.rows.rows) {
                Ok(true) => {
                    executable.rows = RowState::Loaded { count };
                    let came_back = std::mem::take(&mut executable.was_evicted);
                    self.loading.counts.reloaded += u64::from(came_back);
                }
                Ok(false) => return self.wait_for_room(built, table, sampler),
                Err(error) => {
                    self.loading.notes.push(error.to_string());
                    self.settle(number, table, sampler);
                    return self.leave_out(number, table, sampler);
                }
            }
        }
        if built.source == Source::Instructions {
            self.settle(number, table, sampler);
        } else if is_news {
            self.expect_more(&built, table, sampler);
        }
    }

    /// The tables of a file have been read: whether its instructions can tell more. Where they are all that there is, they are
    /// asked at once.
    fn expect_more(&mut self, built: &Built, table: u32, sampler: &mut Sampler) {
        let can_be_more = built.rows.can_be_more;
        let has_rows = !built.rows.rows.is_empty();
        let Some(executable) = self.find_mut(built.number) else {
            return;
        };
        if !can_be_more {
            self.settle(built.number, table, sampler);
            return;
        }
        executable.instructions = Instructions::CanTell;
        match has_rows {
            true => sampler.expect_more_rows(table, true),
            false => self.analyse(built.number),
        }
    }

    /// A file's instructions are asked no more.
    pub(super) fn give_up_instructions(&mut self, number: u32, table: u32, sampler: &mut Sampler) {
        sampler.expect_more_rows(table, false);
        if let Some(executable) = self.find_mut(number) {
            executable.instructions = Instructions::Settled;
        }
    }

    /// There is no more to be known of a file.
    pub(super) fn settle(&mut self, number: u32, table: u32, sampler: &mut Sampler) {
        self.give_up_instructions(number, table, sampler);
        let Some(executable) = self.find_mut(number) else {
            return;
        };
        if matches!(executable.rows, RowState::Building { .. }) {
            sampler.clear_rows(table);
            executable.rows = RowState::Nothing;
        }
    }

    fn note_long_builds(&mut self, now: Instant) {
        let building = self.all.iter();
        let building = building.filter_map(|(&number, found)| match found.rows {
            // Those that wait for room have been built.
            RowState::Building { since, .. } if self.find_waiting(number).is_none() => {
                Some((since, &found.name))
            }
            _ => None,
        });
        let building: Vec<_> = building.collect();
        let is_long = |(since, _): &&(Instant, _)| now.duration_since(*since) >= LONG_BUILD;
        match building.iter().find(is_long) {
            Some((_, name)) if !self.loading.is_told => {
                self.loading.is_told = true;
                let note = format!(
                    "unwind tables take long to build: {name} and {} more files to go; samples of their code are kept until then",
                    building.len() - 1
                );
                self.loading.notes.push(note);
            }
            None if building.is_empty() => self.loading.is_told = false,
            Some(_) | None => {}
        }
    }
}
