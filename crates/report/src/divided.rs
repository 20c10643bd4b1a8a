//! The parts of a profile: what each thread, process, program, container, pod, unit or control group takes, and on what.

use std::collections::BTreeSet;

use serde::Serialize;
use viperf_profile::{
    CallTree, DivideBy, Division, FrameKind, Group, GroupStatistics, Grouping, Part, Profile,
    Sample, Split, Weight, group_statistics,
};

use crate::ReportError;
use crate::figures::{Amount, SplitAmounts, Whole};
use crate::place::Places;

/// Functions that are named of each part.
const MOST_FUNCTIONS: usize = 3;

/// The parts of a profile.
#[derive(Clone, Debug, Serialize)]
pub struct Divided {
    /// `thread`, `process`, `program`, `container`, `pod`, `unit`, `cgroup`.
    pub by: &'static str,
    /// Those with most time first.
    pub parts: Vec<PartRow>,
    /// How many there are, before `--limit`.
    pub parts_in_all: u64,
    /// What those take that are not in `parts`.
    pub others: Amount,
}

/// One part.
#[derive(Clone, Debug, Serialize)]
pub struct PartRow {
    /// What people know it by; null for the samples that belong to none.
    pub name: Option<String>,
    /// Tid, pid, the container's ID, the pod's UID; empty where the name alone tells it from others.
    pub id: String,
    /// A process's command line, a thread's process, a container's image; empty when nothing is known.
    pub about: String,
    /// Processes with samples.
    pub processes: u64,
    /// Threads with samples.
    pub threads: u64,
    /// All its samples.
    pub total: Amount,
    /// Those with a Python frame, by what ran.
    pub split: SplitAmounts,
    /// Those without one.
    pub without_python: Amount,
    /// The functions with most time of their own.
    pub functions: Vec<PartFunction>,
}

/// A function of one part; amounts are those in the part, shares of the whole profile.
#[derive(Clone, Debug, Serialize)]
pub struct PartFunction {
    /// `python`, `native`, `kernel`, `incomplete`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// File and line, or library, in few words.
    pub place: String,
    /// For a Python function with the C and kernel code that it calls directly.
    #[serde(rename = "self")]
    pub self_amount: Amount,
}

/// What the parts of one profile are measured with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) grouping: &'a Grouping<'a>,
    pub(crate) tree: &'a CallTree,
    pub(crate) places: &'a Places,
    pub(crate) whole: Whole,
}

impl Measured<'_> {
    /// The first `limit` parts.
    pub(crate) fn divide(&self, by: DivideBy, limit: usize) -> Result<Divided, ReportError> {
        let division = Division::new(self.profile, by)?;
        let samples = division.samples(&self.profile.samples);
        let mut parts: Vec<(&Part, Vec<Sample>, Weight)> = division
            .parts()
            .iter()
            .zip(samples)
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(part, samples)| {
                let weight = Weight::of(&samples);
                (part, samples, weight)
            })
            .collect();
        let by_weight = |(_, _, weight): &(_, _, Weight)| weight.by(self.whole.measure);
        parts.sort_by_key(|part| std::cmp::Reverse(by_weight(part)));
        let parts_in_all = parts.len() as u64;
        let others = parts.iter().skip(limit).map(|(_, _, weight)| *weight).sum();
        parts.truncate(limit);
        let rows = parts
            .iter()
            .map(|(part, samples, total)| self.part(part, samples, *total));
        Ok(Divided {
            by: by.name(),
            parts: rows.collect::<Result<_, _>>()?,
            parts_in_all,
            others: self.whole.amount(others),
        })
    }

    fn part(&self, part: &Part, samples: &[Sample], total: Weight) -> Result<PartRow, ReportError> {
        let weights = self.tree.weigh(samples);
        let statistics = group_statistics(self.tree, &weights, self.grouping);
        let mut split = Split::default();
        for group in &statistics {
            split += group.split;
        }
        let with_python = split.sum();
        let (processes, threads) = self.running(samples)?;
        let functions = self.functions(&statistics, with_python);
        Ok(PartRow {
            name: part.name.clone(),
            id: part.id.clone(),
            about: part.about.clone(),
            processes,
            threads,
            total: self.whole.amount(total),
            split: self.whole.split(&split),
            without_python: self.whole.amount(Weight {
                samples: total.samples.saturating_sub(with_python.samples),
                ns: total.ns.saturating_sub(with_python.ns),
            }),
            functions,
        })
    }

    /// How many processes and threads there are among `samples`.
    fn running(&self, samples: &[Sample]) -> Result<(u64, u64), ReportError> {
        let handles: BTreeSet<_> = samples.iter().map(|sample| sample.thread).collect();
        let (mut processes, mut threads) = (BTreeSet::new(), BTreeSet::new());
        for handle in handles {
            let thread = self.profile.thread(handle)?;
            processes.insert(thread.process);
            // One that was renamed is two rows of the profile.
            threads.insert((thread.process, thread.tid));
        }
        Ok((processes.len() as u64, threads.len() as u64))
    }

    /// Python functions with most time of their own; native ones where there is no Python.
    fn functions(&self, statistics: &[GroupStatistics], with_python: Weight) -> Vec<PartFunction> {
        let by = |weight: Weight| weight.by(self.whole.measure);
        let groups = self.grouping.iter().map(|(_, group)| group);
        let mut seen: Vec<(&Group<'_>, Weight)> = groups
            .zip(statistics)
            .filter(|(group, _)| group.kind == FrameKind::Python || with_python.is_empty())
            .map(|(group, statistics)| (group, statistics.self_weight()))
            .filter(|(_, own)| !own.is_empty())
            .collect();
        seen.sort_by_key(|(_, own)| std::cmp::Reverse(by(*own)));
        let first = seen.into_iter().take(MOST_FUNCTIONS);
        first
            .map(|(group, own)| self.function(group, own))
            .collect()
    }

    fn function(&self, group: &Group<'_>, own: Weight) -> PartFunction {
        PartFunction {
            kind: group.kind.name(),
            name: group.name.to_string(),
            place: self.places.place(group),
            self_amount: self.whole.amount(own),
        }
    }
}
