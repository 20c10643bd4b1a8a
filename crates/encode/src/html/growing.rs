//! A profile that grows, and what of it is newer than what a page has.
//!
//! Rows are numbered in order of arrival and never change, so how many of each a page has says what it lacks: nothing is
//! kept for a page, however many there are.
//! When the rows of a profile are not those of the last one with more behind them, numbering begins anew, and a page that
//! comes with a position of before gets everything.

use viperf_profile::{Profile, Sample};

use super::call_tree::Builder;
use super::data::{self, Columns, FINEST_TIME_NS, SampleUnits, append_frames, append_functions};
use super::{Options, Served, groups};
use crate::EncodeError;

/// A page that is shown while it is recorded holds this many samples at most; the file has them all.
pub const LIVE_SAMPLES: usize = 2_000_000;

/// And about this many nodes.
pub const LIVE_NODES: usize = 1_000_000;

/// A sample as the page has it.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// In units of [`FINEST_TIME_NS`], never less than the row's before: CPUs deliver in turns.
    time: u64,
    weight_ns: u64,
    node: u32,
    cpu: u32,
    complete: bool,
}

/// How many rows of each table a page has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    epoch: u64,
    /// Counts what was taken in, also what brought no row.
    turn: u64,
    strings: usize,
    functions: usize,
    frames: usize,
    nodes: usize,
    samples: usize,
}

impl Position {
    fn parse(text: &str) -> Option<Self> {
        let numbers: Option<Vec<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
        let [epoch, turn, rest @ ..] = numbers.as_deref()? else {
            return None;
        };
        let counts: Option<Vec<usize>> = rest
            .iter()
            .map(|&count| usize::try_from(count).ok())
            .collect();
        let [strings, functions, frames, nodes, samples] = *counts.as_deref()? else {
            return None;
        };
        Some(Self {
            epoch: *epoch,
            turn: *turn,
            strings,
            functions,
            frames,
            nodes,
            samples,
        })
    }

    fn text(self) -> String {
        let Self {
            epoch,
            turn,
            strings,
            functions,
            frames,
            nodes,
            samples,
        } = self;
        format!("{epoch}.{turn}.{strings}.{functions}.{frames}.{nodes}.{samples}")
    }

    /// Whether every count is one that `newest` grew out of.
    fn is_before(self, newest: Self) -> bool {
        self.epoch == newest.epoch
            && self.strings <= newest.strings
            && self.functions <= newest.functions
            && self.frames <= newest.frames
            && self.nodes <= newest.nodes
            && self.samples <= newest.samples
    }
}

/// A profile as far as it has grown.
#[derive(Debug, Default)]
pub struct Growing {
    options: Options,
    /// Everything but samples.
    tables: Profile,
    builder: Builder,
    rows: Vec<Row>,
    /// The last sample that was taken in, by which its successors are known.
    last: Option<Sample>,
    /// Samples of the profile that were taken in or are beyond the limits.
    seen: usize,
    complete: u64,
    /// What every sample so far weighs; `None` once they differ.
    weight_ns: Option<u64>,
    epoch: u64,
    turn: u64,
    /// The limits, smaller in tests.
    most: (usize, usize),
}

impl Growing {
    /// Nothing yet; pages open as `options` say.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            most: (LIVE_SAMPLES, LIVE_NODES),
            weight_ns: Some(0),
            ..Self::default()
        }
    }

    /// Takes in what `profile` has more than the one before; its cost is that of what is new, and a look at what is known.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the profile is not sound or has more rows than the page can number.
    pub fn take_in(&mut self, profile: &Profile) -> Result<(), EncodeError> {
        if !self.is_grown(profile) {
            *self = Self {
                epoch: self.epoch + 1,
                turn: self.turn,
                most: self.most,
                ..Self::new(self.options.clone())
            };
        }
        self.turn += 1;
        self.learn_tables(profile)?;
        self.builder.learn_frames(profile)?;
        let new = profile.samples.get(self.seen..).unwrap_or_default();
        let mut new: Vec<&Sample> = new.iter().collect();
        self.last = profile.samples.last().copied();
        self.seen = profile.samples.len();
        new.sort_by_key(|sample| sample.time_ns);
        for sample in new {
            self.complete += u64::from(sample.complete);
            if !self.is_full() {
                self.push(profile, sample)?;
            }
        }
        Ok(())
    }

    /// Whether the limits were met: later samples are counted, but not shown.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows.len() >= self.most.0 || self.builder.nodes.len() >= self.most.1
    }

    /// Samples that were taken in, shown or not.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.seen
    }

    /// Whether a page that has what `position` says lacks something.
    #[must_use]
    pub fn is_newer_than(&self, position: &str) -> bool {
        Position::parse(position).is_none_or(|known| {
            known.turn != self.turn
                || !known.is_before(self.position())
                || known.epoch != self.epoch
        })
    }

    /// What a page with `position` lacks, compressed with gzip; everything when that is no position of this profile.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when there are more names than the page can number.
    pub fn encode_after(&self, position: &str, served: &Served) -> Result<Vec<u8>, EncodeError> {
        let known = Position::parse(position).filter(|known| known.is_before(self.position()));
        let from = known.unwrap_or_default();
        let mut columns = Columns::default();
        append_functions(&mut columns, &self.tables, from.functions)?;
        append_frames(
            &mut columns,
            self.builder.frames.get(from.frames..).unwrap_or_default(),
        );
        data::append_nodes(
            &mut columns,
            self.builder.nodes.iter().enumerate().skip(from.nodes),
        );
        let units = self.append_rows(&mut columns, from.samples);
        // Whole each time: a function's number may change with what comes.
        groups::append_groups(&mut columns, &self.tables)?;
        let served = Served {
            position: self.position().text(),
            append: known.is_some(),
            ..served.clone()
        };
        let mut head = data::head(&self.tables, &self.options, &columns.descriptions, units);
        head.strings.drain(..from.strings);
        head.samples = self.seen as u64;
        head.complete = self.complete;
        head.served = Some(&served);
        data::pack(&head, &columns)
    }

    fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            turn: self.turn,
            strings: self.tables.strings.len(),
            functions: self.tables.functions.len(),
            frames: self.builder.frames.len(),
            nodes: self.builder.nodes.len(),
            samples: self.rows.len(),
        }
    }

    /// Whether every row that is known stands at the same place in `profile`.
    fn is_grown(&self, profile: &Profile) -> bool {
        let Profile {
            strings,
            libraries,
            functions,
            frames,
            stacks,
            threads,
            ..
        } = &self.tables;
        let last = self.seen.checked_sub(1);
        begins_with(profile.strings.iter(), strings.iter())
            && begins_with(profile.libraries.iter(), libraries.iter())
            && begins_with(profile.functions.iter(), functions.iter())
            && begins_with(profile.frames.iter(), frames.iter())
            && begins_with(profile.stacks.iter(), stacks.iter())
            && profile.processes.len() >= self.tables.processes.len()
            && begins_with(
                profile.threads.iter().map(|(_, thread)| thread.process),
                threads.iter().map(|(_, thread)| thread.process),
            )
            && last.is_none_or(|last| profile.samples.get(last).copied() == self.last)
    }

    fn learn_tables(&mut self, profile: &Profile) -> Result<(), EncodeError> {
        let tables = &mut self.tables;
        tables.information.clone_from(&profile.information);
        tables.incomplete.clone_from(&profile.incomplete);
        tables.lost = profile.lost;
        // Few, and their names may be learnt late.
        tables.processes.clone_from(&profile.processes);
        tables.threads.clone_from(&profile.threads);
        for (_, text) in profile.strings.iter().skip(tables.strings.len()) {
            tables.strings.intern(text);
        }
        for (_, &library) in profile.libraries.iter().skip(tables.libraries.len()) {
            tables.libraries.intern(library);
        }
        for (_, &function) in profile.functions.iter().skip(tables.functions.len()) {
            tables.functions.intern(function);
        }
        for (_, &frame) in profile.frames.iter().skip(tables.frames.len()) {
            tables.frames.intern(frame);
        }
        for (_, stack) in profile.stacks.iter().skip(tables.stacks.len()) {
            tables.stacks.intern(stack)?;
        }
        Ok(())
    }

    fn push(&mut self, profile: &Profile, sample: &Sample) -> Result<(), EncodeError> {
        let node = self
            .builder
            .place_of_stack(profile, sample.thread, sample.stack)?;
        let before = self.rows.last().map_or(0, |row| row.time);
        if self.rows.is_empty() {
            self.weight_ns = Some(sample.weight_ns);
        } else if self
            .weight_ns
            .is_some_and(|weight| weight != sample.weight_ns)
        {
            // A page that has no column of weights needs one for what it has, too.
            self.weight_ns = None;
            self.epoch += 1;
        }
        self.rows.push(Row {
            time: before.max(sample.time_ns / FINEST_TIME_NS),
            weight_ns: sample.weight_ns,
            node: super::call_tree::page_number("boxes", node)?,
            cpu: sample.cpu,
            complete: sample.complete,
        });
        Ok(())
    }

    fn append_rows(&self, columns: &mut Columns, from: usize) -> SampleUnits {
        let rows = self.rows.get(from..).unwrap_or_default();
        let mut before = from
            .checked_sub(1)
            .and_then(|last| self.rows.get(last))
            .map_or(0, |row| row.time);
        let steps = rows.iter().map(|row| {
            let step = row.time - before;
            before = row.time;
            // Without a sample for more than an hour, the time of what follows is too early.
            u32::try_from(step).unwrap_or(u32::MAX)
        });
        columns.append_u32("sample_step", steps);
        columns.append_u32("sample_node", rows.iter().map(|row| row.node));
        columns.append_u32("sample_cpu", rows.iter().map(|row| row.cpu));
        let complete = rows.iter().map(|row| [u8::from(row.complete)]);
        columns.append("sample_complete", "u8", complete);
        if self.weight_ns.is_none() {
            let weights = rows.iter().map(|row| (row.weight_ns as f64).to_le_bytes());
            columns.append("sample_weight", "f64", weights);
        }
        SampleUnits {
            weight_ns: self.weight_ns.unwrap_or_default(),
            time_ns: FINEST_TIME_NS,
        }
    }
}

fn begins_with<T: PartialEq>(
    mut all: impl Iterator<Item = T>,
    mut beginning: impl Iterator<Item = T>,
) -> bool {
    beginning.all(|row| all.next().is_some_and(|other| other == row))
}

#[cfg(test)]
mod tests;
