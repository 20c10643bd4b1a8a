//! What changed between two profiles.
//!
//! Functions are compared by [`GroupBy::Name`], stacks by their functions, so lines may move.
//! A change is called one only when its interval excludes 0, and the intervals are wide enough that, of all rows of one
//! comparison together, not one is called a change by chance in 95 of 100 comparisons (Bonferroni's rule).
//!
//! How much a count scatters is taken from the profile itself: its time is cut in blocks, and what a row has in one block
//! more than in the block before (against its share of the block) is what chance does.
//! That knows of bursts, and is not disturbed by a program that does one thing after another.
//! What it cannot know is what differs from one run to the next: another machine, another load, another input.

mod compared;
mod scatter;

use compared::{Compared, Figures, Functions, Stacks};
use scatter::{blocks, design_effects};

use crate::call_tree::{CallTree, NodeHandle};
use crate::grouping::{GroupBy, GroupHandle, Grouping};
use crate::information::ProfileInformation;
use crate::interval::{Estimate, Interval, count_interval, difference, share_interval, width};
use crate::merge::append;
use crate::profile::Profile;
use crate::sample::Sample;
use crate::table::Handle;
use crate::validate::ProfileError;
use crate::weight::Weight;

/// Of 100 comparisons in which nothing changed, so many call nothing a change.
pub const CONFIDENCE: f64 = 0.95;

/// Rows with fewer samples in both profiles together are not judged: nothing could be said of them.
pub const FEWEST_SAMPLES: u64 = 10;

/// What makes two recordings comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// Shares of all samples of the profile: how the program divides its time, whatever it does in all.
    Samples,
    /// Time per second of recording, 1 being one CPU: what the program takes under the same load.
    Time,
}

/// Two profiles with the same handles.
#[derive(Clone, Debug)]
pub struct Pair {
    merged: Profile,
    base_samples: usize,
    base: ProfileInformation,
    new: ProfileInformation,
}

impl Pair {
    /// Puts `base` and `new` together.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when a handle is not of its profile.
    pub fn new(base: &Profile, new: &Profile) -> Result<Self, ProfileError> {
        let mut merged = Profile::default();
        append(&mut merged, base, 0)?;
        append(&mut merged, new, 0)?;
        Ok(Self {
            merged,
            base_samples: base.samples.len(),
            base: base.information.clone(),
            new: new.information.clone(),
        })
    }

    /// The profile whose handles both sides use.
    #[must_use]
    pub fn merged(&self) -> &Profile {
        &self.merged
    }

    /// How many of the merged profile's samples are the base's; they stand first, each side in its own order.
    #[must_use]
    pub fn base_samples(&self) -> usize {
        self.base_samples
    }

    /// What is known of the base and of the new profile as recordings.
    #[must_use]
    pub fn information(&self) -> [&ProfileInformation; 2] {
        [&self.base, &self.new]
    }

    fn sides(&self) -> [(&[Sample], &ProfileInformation); 2] {
        let (base, new) = self
            .merged
            .samples
            .split_at_checked(self.base_samples)
            .unwrap_or_default();
        [(base, &self.base), (new, &self.new)]
    }
}

/// One of the two profiles as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiffSide {
    /// All its samples.
    pub weight: Weight,
    /// How long it lasted, in nanoseconds; 0 when not known.
    pub duration_ns: u64,
}

/// One row: a function, or a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffRow<H> {
    /// The [`GroupHandle`] of a function, the [`NodeHandle`] of a stack.
    pub of: H,
    /// Of a function [`crate::GroupStatistics::self_weight`]; of a stack the samples that end in it.
    pub own: Change,
    /// The function anywhere in the stack; the stack and all that begin with it. A stack is not judged by its total, whose
    /// interval takes samples for independent.
    pub total: Change,
    /// What is to be thought of it.
    pub verdict: Verdict,
}

/// One figure before and after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Samples and time in the base.
    pub base: Weight,
    /// Samples and time in the new profile.
    pub new: Weight,
    /// The base's normalized figure: a share from 0 to 1, or CPUs.
    pub base_value: f64,
    /// The new profile's normalized figure.
    pub new_value: f64,
    /// Where `new_value - base_value` lies.
    pub interval: Interval,
}

impl Change {
    /// `new_value - base_value`.
    #[must_use]
    pub fn difference(&self) -> f64 {
        self.new_value - self.base_value
    }
}

/// What is to be thought of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The base has none of it.
    Appeared,
    /// The new profile has none of it.
    Vanished,
    /// More than before.
    Grew,
    /// Less than before.
    Shrank,
    /// What differs can be chance.
    Unchanged,
    /// There are fewer than [`FEWEST_SAMPLES`].
    TooFew,
}

impl Verdict {
    /// The name in prose and in files: `appeared`, `too-few-samples`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Vanished => "vanished",
            Self::Grew => "grew",
            Self::Shrank => "shrank",
            Self::Unchanged => "unchanged",
            Self::TooFew => "too-few-samples",
        }
    }

    /// Whether it is a change that chance does not explain.
    #[must_use]
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Unchanged | Self::TooFew)
    }
}

/// Everything that can be said of two profiles.
#[derive(Clone, Debug)]
pub struct Diff<'p> {
    /// How the figures were made comparable.
    pub normalization: Normalization,
    /// The base.
    pub base: DiffSide,
    /// The new profile.
    pub new: DiffSide,
    /// What `functions` and the nodes of `tree` are, by [`GroupBy::Name`].
    pub grouping: Grouping<'p>,
    /// What `stacks` are.
    pub tree: CallTree,
    /// Every function that one of them has.
    pub functions: Vec<DiffRow<GroupHandle>>,
    /// Every stack that is a sample's whole stack in one of them.
    pub stacks: Vec<DiffRow<NodeHandle>>,
}

/// Compares both sides of `pair`.
///
/// [`Normalization::Time`] of a profile whose duration is not known takes its samples' time for it.
///
/// # Errors
///
/// [`ProfileError`] when a handle is not of this profile.
pub fn diff(pair: &Pair, normalization: Normalization) -> Result<Diff<'_>, ProfileError> {
    let grouping = Grouping::new(&pair.merged, GroupBy::Name)?;
    let tree = CallTree::new(&pair.merged, &grouping)?;
    let functions = rows(pair, normalization, &Functions::new(&tree, &grouping));
    let stacks = rows(pair, normalization, &Stacks { tree: &tree });
    let [base, new] = pair.sides().map(|(samples, information)| DiffSide {
        weight: Weight::of(samples),
        duration_ns: information.duration_ns,
    });
    Ok(Diff {
        normalization,
        base,
        new,
        functions,
        stacks,
        grouping,
        tree,
    })
}

/// One profile, looked at row by row.
struct Observed {
    whole: Weight,
    duration_ns: u64,
    figures: Vec<Figures>,
    /// How much more each figure scatters than independent samples would, 1 or more.
    design_effects: [Vec<f64>; 2],
    blocks: u64,
}

fn rows<C: Compared>(
    pair: &Pair,
    normalization: Normalization,
    compared: &C,
) -> Vec<DiffRow<C::Of>> {
    let sides = pair.sides().map(|(samples, information)| {
        observe(samples, information.duration_ns, normalization, compared)
    });
    let [base, new] = &sides;
    let seen = |[own, total]: &Figures, [other_own, other_total]: &Figures| match C::JUDGES_TOTAL {
        true => total.samples.saturating_add(other_total.samples),
        false => own.samples.saturating_add(other_own.samples),
    };
    let both = || base.figures.iter().zip(&new.figures);
    let judged = both()
        .filter(|(one, other)| seen(one, other) >= FEWEST_SAMPLES)
        .count();
    // Functions and stacks are two tables of one comparison: each may err half as often.
    let tests = 2 * judged.max(1) * (1 + usize::from(C::JUDGES_TOTAL));
    let outside = (1.0 - CONFIDENCE) / tests as f64;
    let blocks = base.blocks.min(new.blocks);
    // Differences of neighbours overlap: n of them are worth two thirds.
    let degrees = (blocks > 1).then(|| 2.0 * (blocks - 1) as f64 / 3.0);
    let width = width(outside, degrees);
    let mut rows = Vec::new();
    for (index, (one, other)) in both().enumerate() {
        if seen(one, other) == 0 {
            continue;
        }
        let change = |which: usize| change(&sides, index, which, normalization, width);
        let (own, total) = (change(0), change(1));
        let verdict = match seen(one, other) < FEWEST_SAMPLES {
            true => Verdict::TooFew,
            false => judge(&own, C::JUDGES_TOTAL.then_some(&total)),
        };
        let of = C::Of::from_index(crate::table::row_number(index));
        rows.push(DiffRow {
            of,
            own,
            total,
            verdict,
        });
    }
    rows
}

fn judge(own: &Change, total: Option<&Change>) -> Verdict {
    let Change { base, new, .. } = total.unwrap_or(own);
    let Some(changed) = [Some(own), total]
        .into_iter()
        .flatten()
        .find(|change| change.interval.excludes_zero())
    else {
        return Verdict::Unchanged;
    };
    match changed.interval.low > 0.0 {
        true if base.is_empty() => Verdict::Appeared,
        true => Verdict::Grew,
        false if new.is_empty() => Verdict::Vanished,
        false => Verdict::Shrank,
    }
}

fn change(
    [base, new]: &[Observed; 2],
    index: usize,
    which: usize,
    normalization: Normalization,
    width: f64,
) -> Change {
    let figure = |side: &Observed| side.figure(index, which);
    let effect = |side: &Observed| side.design_effect(index, which);
    // What comes in bursts on one side does so on the other, also if too little of it was seen there to tell.
    let effect = effect(base).max(effect(new));
    let [before, after] =
        [base, new].map(|side| side.estimate(figure(side), normalization, effect, width));
    Change {
        base: figure(base),
        new: figure(new),
        base_value: before.value,
        new_value: after.value,
        interval: difference(before, after),
    }
}

impl Observed {
    fn figure(&self, index: usize, which: usize) -> Weight {
        self.figures
            .get(index)
            .and_then(|figures| figures.get(which))
            .copied()
            .unwrap_or_default()
    }

    fn design_effect(&self, index: usize, which: usize) -> f64 {
        self.design_effects
            .get(which)
            .and_then(|effects| effects.get(index))
            .copied()
            .unwrap_or(1.0)
    }

    fn estimate(
        &self,
        figure: Weight,
        normalization: Normalization,
        effect: f64,
        width: f64,
    ) -> Estimate {
        let count = figure.samples as f64;
        match normalization {
            Normalization::Samples => {
                let of = self.whole.samples as f64;
                Estimate {
                    value: ratio(count, of),
                    interval: share_interval(count / effect, of / effect, width),
                }
            }
            Normalization::Time => {
                let duration = match self.duration_ns {
                    0 => self.whole.ns,
                    duration => duration,
                };
                // What one sample stands for; of a figure without samples, what it would.
                let period = match figure.samples {
                    0 => ratio(self.whole.ns as f64, self.whole.samples as f64),
                    samples => figure.ns as f64 / samples as f64,
                };
                Estimate {
                    value: count,
                    interval: count_interval(count / effect, width),
                }
                .with_interval_times(effect)
                .scale(ratio(period, duration as f64))
            }
        }
    }
}

impl Estimate {
    /// The interval was made of a count that had been divided by the design effect.
    fn with_interval_times(self, effect: f64) -> Self {
        Self {
            interval: self.scale(effect).interval,
            ..self
        }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn observe<C: Compared>(
    samples: &[Sample],
    duration_ns: u64,
    normalization: Normalization,
    compared: &C,
) -> Observed {
    let figures = compared.figures(samples);
    let blocks = blocks(samples);
    let rows = figures.len();
    let own = design_effects(&blocks, rows, normalization, &|sample, meet| {
        compared.own_rows(sample, meet);
    });
    let total = match C::JUDGES_TOTAL {
        true => design_effects(&blocks, rows, normalization, &|sample, meet| {
            compared.total_rows(sample, meet);
        }),
        // A walk up every stack of a million samples for figures that decide nothing.
        false => Vec::new(),
    };
    Observed {
        whole: Weight::of(samples),
        duration_ns,
        design_effects: [own, total],
        blocks: blocks.len() as u64,
        figures,
    }
}

#[cfg(test)]
mod tests;
