//! The report: what takes the time.

use serde::Serialize;
use viperf_profile::{
    CallTree, DivideBy, FrameKind, Group, GroupBy, GroupStatistics, Grouping, Handle as _, Measure,
    NodeWeights, Profile, ProfileError, Weight, group_statistics,
};

use crate::ReportError;
use crate::divided::{Divided, Measured};
use crate::figures::{Amount, Whole};
use crate::fold::{FoldOptions, Folding, TreeRow, fold};
use crate::json::to_json;
use crate::place::Places;
use crate::rows::{FunctionRow, LineRow, ModuleRow, ProcessRow, ThreadRow};
use crate::summary::Summary;

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Processes and threads.
    Processes,
    /// Python functions.
    Functions,
    /// Python lines.
    Lines,
    /// Native and kernel functions.
    Native,
    /// Packages, files of the project, native libraries.
    Modules,
    /// The call tree.
    Tree,
}

impl Section {
    /// Every section, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Processes,
        Self::Modules,
        Self::Native,
        Self::Lines,
        Self::Functions,
        Self::Tree,
    ];

    /// The name by which `--show` knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Functions => "functions",
            Self::Lines => "lines",
            Self::Native => "native",
            Self::Modules => "modules",
            Self::Tree => "tree",
        }
    }
}

/// By what tables are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// The function's own time.
    Own,
    /// The time of the function and all it calls.
    Total,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// The sections. Default is all.
    pub sections: Vec<Section>,
    /// Rows per table. Default is 10.
    pub limit: usize,
    /// By what tables are sorted. Default is [`SortBy::Own`].
    pub sort: SortBy,
    /// Show every frame of the call tree as it is. Default is `false`.
    pub full_tree: bool,
    /// Branches with a smaller share of the time are left out. Default is 0.01.
    pub least_share: f64,
    /// Branches of the call tree. Default is 40.
    pub tree_rows: usize,
    /// Say also what each part takes. Default is `None`.
    pub divide_by: Option<DivideBy>,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            sections: Section::ALL.to_vec(),
            limit: 10,
            sort: SortBy::Own,
            full_tree: false,
            least_share: 0.01,
            tree_rows: 40,
            divide_by: None,
        }
    }
}

/// What takes the time.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The form of these keys; a later viperf may add keys without counting up.
    pub version: u32,
    /// What was recorded, and how well.
    pub summary: Summary,
    /// What each part takes, if that was asked for.
    pub groups: Option<Divided>,
    /// Processes, those with most time first.
    pub processes: Vec<ProcessRow>,
    /// Packages, files of the project, native libraries; `own` of all adds up to the whole.
    pub modules: Vec<ModuleRow>,
    /// Native and kernel functions.
    pub native: Vec<FunctionRow>,
    /// Python lines.
    pub lines: Vec<LineRow>,
    /// Python functions.
    pub functions: Vec<FunctionRow>,
    /// The call tree.
    pub tree: Vec<TreeRow>,
}

impl Report {
    /// Looks at the whole of `profile`.
    ///
    /// # Errors
    ///
    /// [`ReportError::Profile`] when a handle is not of this profile.
    pub fn new(profile: &Profile, options: &ReportOptions) -> Result<Self, ReportError> {
        profile.validate()?;
        let whole = Whole::new(Weight::of(&profile.samples));
        let grouping = Grouping::new(profile, GroupBy::Function)?;
        let tree = CallTree::new(profile, &grouping)?;
        let weights = tree.weigh(&profile.samples);
        let statistics = group_statistics(&tree, &weights, &grouping);
        let with_python = statistics.iter().map(|group| group.split.sum()).sum();
        let threads = thread_weights(profile);
        let shows = |section| options.sections.contains(&section);
        let places = Places::new(&grouping);
        let measured = Measured {
            profile,
            grouping: &grouping,
            tree: &tree,
            places: &places,
            whole,
        };
        let divide = |by| measured.divide(by, options.limit);
        let groups = options.divide_by.map(divide).transpose()?;
        let context = Context {
            profile,
            options,
            places,
            whole,
        };
        let is_python = |kind| kind == FrameKind::Python;
        let functions =
            |wanted: &dyn Fn(FrameKind) -> bool| context.functions(&grouping, &statistics, wanted);
        let fold_options = FoldOptions {
            folding: match options.full_tree {
                true => Folding::Nothing,
                false => Folding::Libraries,
            },
            least_share: options.least_share,
            most_rows: options.tree_rows,
        };
        Ok(Self {
            version: 1,
            summary: Summary::new(profile, with_python, &threads)?,
            groups,
            processes: some(shows(Section::Processes), || context.processes(&threads))?,
            modules: some(shows(Section::Modules), || {
                context.modules(&tree, &weights, &grouping)
            })?,
            native: some(shows(Section::Native), || {
                Ok(functions(&|kind| !is_python(kind)))
            })?,
            lines: some(shows(Section::Lines), || context.lines())?,
            functions: some(shows(Section::Functions), || Ok(functions(&is_python)))?,
            tree: some(shows(Section::Tree), || {
                let scale = (&context.whole, &context.places);
                Ok(fold(&tree, &weights, &grouping, scale, fold_options))
            })?,
        })
    }

    /// The report as JSON, ended by a newline.
    #[must_use]
    pub fn json(&self) -> String {
        to_json(self)
    }
}

fn some<T>(
    is_shown: bool,
    rows: impl FnOnce() -> Result<Vec<T>, ProfileError>,
) -> Result<Vec<T>, ProfileError> {
    if is_shown { rows() } else { Ok(Vec::new()) }
}

fn thread_weights(profile: &Profile) -> Vec<Weight> {
    let mut weights = vec![Weight::default(); profile.threads.len()];
    for sample in &profile.samples {
        if let Some(weight) = weights.get_mut(sample.thread.index() as usize) {
            *weight += Weight::from(sample);
        }
    }
    weights
}

/// A thread that was renamed is two rows of the profile; the name that it had for longest is shown.
fn one_row_per_tid(rows: Vec<ThreadRow>) -> Vec<ThreadRow> {
    let mut merged: Vec<ThreadRow> = Vec::new();
    for row in rows {
        let Some(same) = merged.iter_mut().find(|other| other.tid == row.tid) else {
            merged.push(row);
            continue;
        };
        if row.total.samples > same.total.samples {
            same.name = row.name;
        }
        same.total = same.total + row.total;
    }
    merged
}

/// What every part of the report needs.
struct Context<'a> {
    profile: &'a Profile,
    options: &'a ReportOptions,
    places: Places,
    whole: Whole,
}

/// A group that was seen, and what it takes.
type Seen<'g, 'p> = (&'g Group<'p>, &'g GroupStatistics);

impl Context<'_> {
    /// Sorts what was seen as asked for, and keeps the first.
    fn first<'g, 'p>(
        &self,
        seen: impl Iterator<Item = Seen<'g, 'p>>,
        own: impl Fn(&GroupStatistics) -> Weight,
    ) -> Vec<Seen<'g, 'p>> {
        let by = |weight: Weight| weight.by(self.whole.measure);
        let mut rows: Vec<_> = seen
            .filter(|(_, statistics)| !statistics.total.is_empty())
            .collect();
        rows.sort_by_key(|(_, statistics)| {
            let (own, total) = (by(own(statistics)), by(statistics.total));
            std::cmp::Reverse(match self.options.sort {
                SortBy::Own => (own, total),
                SortBy::Total => (total, own),
            })
        });
        // What has no time of its own is not hot, however much of it there is.
        if self.options.sort == SortBy::Own {
            rows.retain(|(_, statistics)| !own(statistics).is_empty());
        }
        rows.truncate(self.options.limit);
        rows
    }

    fn functions(
        &self,
        grouping: &Grouping<'_>,
        statistics: &[GroupStatistics],
        wanted: &dyn Fn(FrameKind) -> bool,
    ) -> Vec<FunctionRow> {
        let seen = grouping.iter().map(|(_, group)| group).zip(statistics);
        let seen = seen.filter(|(group, _)| wanted(group.kind));
        let rows = self.first(seen, GroupStatistics::self_weight);
        let row = |(group, statistics): &Seen<'_, '_>| self.function(group, statistics);
        rows.iter().map(row).collect()
    }

    fn function(&self, group: &Group<'_>, statistics: &GroupStatistics) -> FunctionRow {
        let is_python = group.kind == FrameKind::Python;
        FunctionRow {
            kind: group.kind.name(),
            origin: group.origin.name(),
            name: group.name.to_string(),
            file: group.file.map(str::to_owned),
            library: group.library.map(str::to_owned),
            first_line: group.first_line,
            place: self.places.place(group),
            own: self.whole.amount(statistics.own),
            total: self.whole.amount(statistics.total),
            self_amount: self.whole.amount(statistics.self_weight()),
            split: is_python.then(|| self.whole.split(&statistics.split)),
        }
    }

    fn lines(&self) -> Result<Vec<LineRow>, ProfileError> {
        let grouping = Grouping::new(self.profile, GroupBy::Line)?;
        let tree = CallTree::new(self.profile, &grouping)?;
        let weights = tree.weigh(&self.profile.samples);
        let statistics = group_statistics(&tree, &weights, &grouping);
        let seen = grouping.iter().map(|(_, group)| group).zip(&statistics);
        let seen = seen.filter(|(group, _)| group.kind == FrameKind::Python && group.line != 0);
        let rows = self.first(seen, GroupStatistics::self_weight);
        let row = |(group, statistics): &Seen<'_, '_>| LineRow {
            function: group.name.to_string(),
            file: group.file.unwrap_or_default().to_owned(),
            line: group.line,
            place: self.places.place(group),
            origin: group.origin.name(),
            self_amount: self.whole.amount(statistics.self_weight()),
            total: self.whole.amount(statistics.total),
            split: self.whole.split(&statistics.split),
        };
        Ok(rows.iter().map(row).collect())
    }

    /// `tree`, its `weights` and `functions` are of functions, each of which is in one module.
    fn modules(
        &self,
        tree: &CallTree,
        weights: &NodeWeights,
        functions: &Grouping<'_>,
    ) -> Result<Vec<ModuleRow>, ProfileError> {
        let grouping = Grouping::new(self.profile, GroupBy::Module)?;
        let tree = tree.regrouped(&functions.within(&grouping), grouping.len());
        let statistics = group_statistics(&tree, weights, &grouping);
        let seen = grouping.iter().map(|(_, group)| group).zip(&statistics);
        let rows = self.first(seen, |statistics| statistics.own);
        let row = |(group, statistics): &Seen<'_, '_>| ModuleRow {
            kind: group.kind.name(),
            origin: group.origin.name(),
            name: match (group.kind, group.origin) {
                (FrameKind::Python, viperf_profile::Origin::Project) => {
                    self.places.file(&group.name)
                }
                _ => group.name.to_string(),
            },
            own: self.whole.amount(statistics.own),
            total: self.whole.amount(statistics.total),
        };
        Ok(rows.iter().map(row).collect())
    }

    fn processes(&self, threads: &[Weight]) -> Result<Vec<ProcessRow>, ProfileError> {
        let profile = self.profile;
        let by = |amount: &Amount| match self.whole.measure {
            Measure::Samples => amount.samples,
            Measure::Time => amount.ns,
        };
        let mut rows = Vec::new();
        for (handle, process) in profile.processes.iter() {
            let own = profile.threads.iter().zip(threads);
            let own =
                own.filter(|((_, thread), weight)| thread.process == handle && !weight.is_empty());
            let mut total = Weight::default();
            let mut threads = Vec::new();
            for ((_, thread), weight) in own {
                total += *weight;
                threads.push(ThreadRow {
                    tid: thread.tid,
                    name: profile.string(thread.name)?.to_owned(),
                    total: self.whole.amount(*weight),
                });
            }
            let mut threads = one_row_per_tid(threads);
            threads.sort_by_key(|thread| std::cmp::Reverse(by(&thread.total)));
            if total.is_empty() {
                continue;
            }
            let version = process.python_version;
            let text = |handle| profile.string(handle).map(str::to_owned);
            let placement = process.placement.known();
            rows.push(ProcessRow {
                pid: process.pid,
                name: text(process.name)?,
                title: process.title.map(text).transpose()?,
                placement: placement
                    .map(|(field, place)| Ok((field, text(place)?)))
                    .collect::<Result<_, ProfileError>>()?,
                command_line: text(process.command_line)?,
                python_version: version.map(text).transpose()?,
                total: self.whole.amount(total),
                threads,
            });
        }
        rows.sort_by_key(|row| std::cmp::Reverse(by(&row.total)));
        rows.truncate(self.options.limit);
        Ok(rows)
    }
}
