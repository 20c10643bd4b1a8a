//! What changed between two profiles, in rows.

use serde::Serialize;
use viperf_profile::{
    CONFIDENCE, Change, Diff, GroupHandle, Handle, NodeHandle, Normalization, Pair, Profile,
    Verdict, diff,
};

use crate::ReportError;
use crate::json::to_json;
use crate::place::Places;

/// Frames of a stack that are named, the leaf and its callers.
const NAMED_FRAMES: usize = 64;

/// How to compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiffOptions {
    /// How the figures are made comparable. Default is by samples.
    pub normalization: Normalization,
    /// Rows per table. Default is 20.
    pub limit: usize,
    /// Growth that fails the comparison, from 0 to 1 of the whole (by time: of one CPU). Default is none.
    pub fail_above: Option<f64>,
    /// Show rows that chance explains, too. Default is `false`.
    pub all: bool,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self {
            normalization: Normalization::Samples,
            limit: 20,
            fail_above: None,
            all: false,
        }
    }
}

/// What changed between two profiles.
#[derive(Clone, Debug, Serialize)]
pub struct DiffReport {
    /// The form of these keys.
    pub version: u32,
    /// `samples` (figures are shares of all samples) or `time` (figures are CPUs: time per second of recording).
    pub normalized_by: &'static str,
    /// Of so many comparisons without a change, that part calls nothing a change: 0.95.
    pub confidence: f64,
    /// The base.
    pub base: DiffSide,
    /// The new profile.
    pub new: DiffSide,
    /// Functions that were compared and that changed, before the limit.
    pub functions_compared: usize,
    /// Those that are called a change.
    pub functions_changed: usize,
    /// Stacks that were compared.
    pub stacks_compared: usize,
    /// Those that are called a change.
    pub stacks_changed: usize,
    /// Functions, the greatest change of `self` first.
    pub functions: Vec<DiffRow>,
    /// Stacks, the greatest change first; `name` is the leaf's.
    pub stacks: Vec<DiffRow>,
    /// What was not to be exceeded, and what does.
    pub failing: Option<Failing>,
}

/// One side.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DiffSide {
    /// Samples.
    pub samples: u64,
    /// The time they stand for, in nanoseconds.
    pub ns: u64,
    /// How long it lasted; 0 when not known.
    pub duration_ns: u64,
}

/// A function or a stack.
#[derive(Clone, Debug, Serialize)]
pub struct DiffRow {
    /// `python`, `native`, `kernel`, `incomplete`.
    pub kind: &'static str,
    /// Whose code it is.
    pub origin: &'static str,
    /// The function's name, or that of the stack's leaf.
    pub name: String,
    /// Where it is.
    pub place: String,
    /// Of a stack: the functions from the root to the leaf.
    pub path: Vec<String>,
    /// The function with the C and kernel code it calls directly; of a stack, the samples that end in it.
    #[serde(rename = "self")]
    pub self_figure: Figure,
    /// The function anywhere in the stack; the stack and all that begin with it.
    pub total: Figure,
    /// `grew`, `shrank`, `appeared`, `vanished`, `unchanged`, `too-few-samples`.
    pub verdict: &'static str,
}

/// A figure before and after.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// Samples in the base.
    pub base_samples: u64,
    /// Samples in the new profile.
    pub new_samples: u64,
    /// The base's normalized figure.
    pub base: f64,
    /// The new one's.
    pub new: f64,
    /// `new - base`.
    pub change: f64,
    /// The lower end of the change's interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What was not to be exceeded.
#[derive(Clone, Debug, Serialize)]
pub struct Failing {
    /// The growth that fails, from 0 to 1.
    pub above: f64,
    /// The functions that grew more, for certain.
    pub functions: Vec<String>,
}

impl DiffReport {
    /// Compares two profiles.
    ///
    /// # Errors
    ///
    /// [`ReportError::Profile`] when a handle is not of its profile.
    pub fn new(base: &Profile, new: &Profile, options: &DiffOptions) -> Result<Self, ReportError> {
        let pair = Pair::new(base, new)?;
        let diff = diff(&pair, options.normalization)?;
        let rows = Rows {
            diff: &diff,
            places: Places::new(&diff.grouping),
            options,
        };
        let side = |side: viperf_profile::DiffSide| DiffSide {
            samples: side.weight.samples,
            ns: side.weight.ns,
            duration_ns: side.duration_ns,
        };
        let changed = |verdicts: &mut dyn Iterator<Item = Verdict>| {
            verdicts.filter(|verdict| verdict.is_change()).count()
        };
        let failing = options.fail_above.map(|above| Failing {
            above,
            functions: rows.failing(above),
        });
        Ok(Self {
            version: 1,
            normalized_by: match options.normalization {
                Normalization::Samples => "samples",
                Normalization::Time => "time",
            },
            confidence: CONFIDENCE,
            base: side(diff.base),
            new: side(diff.new),
            functions_compared: diff.functions.len(),
            functions_changed: changed(&mut diff.functions.iter().map(|row| row.verdict)),
            stacks_compared: diff.stacks.len(),
            stacks_changed: changed(&mut diff.stacks.iter().map(|row| row.verdict)),
            functions: rows.functions(),
            stacks: rows.stacks(),
            failing,
        })
    }

    /// Whether something grew more than was allowed.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.failing
            .as_ref()
            .is_some_and(|failing| !failing.functions.is_empty())
    }

    /// The comparison as JSON, ended by a newline.
    #[must_use]
    pub fn json(&self) -> String {
        to_json(self)
    }
}

struct Rows<'a, 'p> {
    diff: &'a Diff<'p>,
    places: Places,
    options: &'a DiffOptions,
}

impl Rows<'_, '_> {
    /// What changed, the greatest change first; all rows if asked for.
    fn first<'r, H: Handle>(
        &self,
        rows: &'r [viperf_profile::DiffRow<H>],
    ) -> Vec<&'r viperf_profile::DiffRow<H>> {
        let mut rows: Vec<_> = rows
            .iter()
            .filter(|row| self.options.all || row.verdict.is_change())
            .collect();
        let size = |change: &Change| change.difference().abs();
        rows.sort_by(|one, other| {
            let by_own = size(&other.own).total_cmp(&size(&one.own));
            by_own
                .then(size(&other.total).total_cmp(&size(&one.total)))
                .then(one.of.cmp(&other.of))
        });
        rows.truncate(self.options.limit);
        rows
    }

    fn functions(&self) -> Vec<DiffRow> {
        let rows = self.first(&self.diff.functions);
        let row = |row: &&viperf_profile::DiffRow<GroupHandle>| {
            self.row(row.of, (&row.own, &row.total), row.verdict, Vec::new())
        };
        rows.iter().map(row).collect()
    }

    fn stacks(&self) -> Vec<DiffRow> {
        let rows = self.first(&self.diff.stacks);
        let row = |row: &&viperf_profile::DiffRow<NodeHandle>| {
            let path = self.diff.tree.path(row.of, NAMED_FRAMES);
            let leaf = path.last().copied();
            let names = path.iter().map(|group| self.name(*group)).collect();
            let leaf = leaf.unwrap_or_else(|| GroupHandle::from_index(u32::MAX));
            self.row(leaf, (&row.own, &row.total), row.verdict, names)
        };
        rows.iter().map(row).collect()
    }

    fn name(&self, group: GroupHandle) -> String {
        let group = self.diff.grouping.find(group);
        group
            .map(|group| group.name.to_string())
            .unwrap_or_default()
    }

    fn row(
        &self,
        group: GroupHandle,
        (own, total): (&Change, &Change),
        verdict: Verdict,
        path: Vec<String>,
    ) -> DiffRow {
        let found = self.diff.grouping.find(group);
        DiffRow {
            kind: found.map_or("incomplete", |group| group.kind.name()),
            origin: found.map_or("project", |group| group.origin.name()),
            name: self.name(group),
            place: found
                .map(|group| self.places.place(group))
                .unwrap_or_default(),
            path,
            self_figure: figure(own),
            total: figure(total),
            verdict: verdict.name(),
        }
    }

    /// Functions of which the self or the total grew by more than `above` and not by chance.
    fn failing(&self, above: f64) -> Vec<String> {
        let grew = |change: &Change| change.difference() > above && change.interval.low > 0.0;
        let mut rows: Vec<_> = self
            .diff
            .functions
            .iter()
            .filter(|row| row.verdict.is_change() && (grew(&row.own) || grew(&row.total)))
            .collect();
        rows.sort_by(|one, other| {
            let (one, other) = (&one.own, &other.own);
            other.difference().total_cmp(&one.difference())
        });
        rows.iter().map(|row| self.name(row.of)).collect()
    }
}

fn figure(change: &Change) -> Figure {
    Figure {
        base_samples: change.base.samples,
        new_samples: change.new.samples,
        base: rounded(change.base_value),
        new: rounded(change.new_value),
        change: rounded(change.difference()),
        low: rounded(change.interval.low),
        high: rounded(change.interval.high),
    }
}

/// To nine decimals: what comes after them depends on the order of additions.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}
