//! What each group takes: by itself, in all, and by what kind of code.

use crate::call_tree::{CallTree, NodeWeights};
use crate::function_table::FrameKind;
use crate::gil::takes_gil;
use crate::grouping::{Group, Grouping};
use crate::table::Handle as _;
use crate::weight::Weight;

/// What one group takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStatistics {
    /// Samples whose leaf is of the group. Over all groups this is every sample once.
    pub own: Weight,
    /// Samples with the group anywhere in the stack; of a recursion each sample counts once.
    pub total: Weight,
    /// For a Python group, the samples in which it is the innermost Python frame, by what ran; else empty.
    pub split: Split,
}

impl GroupStatistics {
    /// What a person calls the function's own time: for a Python function with the C and kernel code that it called
    /// directly, for any other function the leaf alone.
    #[must_use]
    pub fn self_weight(&self) -> Weight {
        match self.split.sum() {
            sum if sum.is_empty() => self.own,
            sum => sum,
        }
    }
}

/// The time of a Python function itself and of the code below it that is not Python, told apart by the leaf.
///
/// A sample belongs to the innermost Python frame of its stack, so over all Python functions this is every sample with a
/// Python frame once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// The leaf is the Python frame (or the eval loop that runs it): bytecode.
    pub python: Weight,
    /// The leaf is native code, the interpreter's own included.
    pub native: Weight,
    /// The leaf is the kernel.
    pub kernel: Weight,
    /// A native frame below the Python frame takes the GIL, whatever the leaf: on-CPU time in asking for it, going to sleep
    /// and waking up, and not the time asleep.
    pub gil_wait: Weight,
    /// The walk could not go on, so the leaf is not known.
    pub unknown: Weight,
}

impl Split {
    /// All of it.
    #[must_use]
    pub fn sum(&self) -> Weight {
        let Self {
            python,
            native,
            kernel,
            gil_wait,
            unknown,
        } = *self;
        python + native + kernel + gil_wait + unknown
    }
}

impl std::ops::AddAssign for Split {
    fn add_assign(&mut self, other: Self) {
        let Self {
            python,
            native,
            kernel,
            gil_wait,
            unknown,
        } = other;
        self.python += python;
        self.native += native;
        self.kernel += kernel;
        self.gil_wait += gil_wait;
        self.unknown += unknown;
    }
}

/// What each group takes, by the group's number. `grouping` and `weights` are those of `tree`.
#[must_use]
pub fn group_statistics(
    tree: &CallTree,
    weights: &NodeWeights,
    grouping: &Grouping<'_>,
) -> Vec<GroupStatistics> {
    let mut statistics = vec![GroupStatistics::default(); grouping.len()];
    let waits = waiting_nodes(tree, grouping);
    for ((handle, node), waits) in tree.iter().zip(waits) {
        let own = weights.own(handle);
        if let Some(group) = statistics.get_mut(node.group.index() as usize) {
            group.own += own;
            if node.outermost {
                group.total += weights.total(handle);
            }
        }
        let python = node.python.and_then(|python| tree.find(python));
        let python = python.and_then(|python| statistics.get_mut(python.group.index() as usize));
        if let Some(GroupStatistics { split, .. }) = python
            && let Some(Group { kind, .. }) = grouping.find(node.group)
        {
            *part_of(split, *kind, waits) += own;
        }
    }
    statistics
}

fn part_of(split: &mut Split, leaf: FrameKind, waits: bool) -> &mut Weight {
    match leaf {
        FrameKind::Native | FrameKind::Kernel | FrameKind::Interpreter if waits => {
            &mut split.gil_wait
        }
        FrameKind::Python | FrameKind::Interpreter => &mut split.python,
        FrameKind::Native => &mut split.native,
        FrameKind::Kernel => &mut split.kernel,
        FrameKind::Incomplete => &mut split.unknown,
    }
}

/// Whether a node takes the GIL, or stands between one that does and the leaf, without a Python node between.
fn waiting_nodes(tree: &CallTree, grouping: &Grouping<'_>) -> Vec<bool> {
    let mut waits: Vec<bool> = Vec::with_capacity(tree.len());
    for (handle, node) in tree.iter() {
        let parent = node.parent.and_then(|parent| tree.find(parent));
        let caller = parent.and_then(|parent| grouping.find(parent.group));
        let called = grouping.find(node.group);
        let takes = called.is_some_and(|called| takes_gil(called, caller));
        let above = node.parent.filter(|_| node.python != Some(handle));
        let above = above.and_then(|parent| waits.get(parent.index() as usize).copied());
        waits.push(takes || above.unwrap_or_default());
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grouping::GroupBy;
    use crate::made_up::{MadeUp, random_profile};
    use crate::profile::Profile;
    use std::collections::HashSet;

    fn statistics_of(profile: &Profile, by: GroupBy) -> Vec<(String, GroupStatistics)> {
        let grouping = Grouping::new(profile, by).unwrap();
        let tree = CallTree::new(profile, &grouping).unwrap();
        let statistics = group_statistics(&tree, &tree.weigh(&profile.samples), &grouping);
        let names = grouping
            .iter()
            .map(|(_, group)| format!("{} {}:{}", group.name, group.first_line, group.line));
        names.zip(statistics).collect()
    }

    #[test]
    fn a_python_functions_time_is_split_by_what_ran() {
        let mut made = MadeUp::default();
        let thread = made.thread("p", 1, 1);
        let main = made.python("main", "a.py", 1, 1);
        let work = made.python("work", "a.py", 5, 6);
        let eval = made.of_kind(FrameKind::Interpreter, "eval", "python3");
        let deflate = made.native("deflate", "libz.so");
        let take_gil = made.native("take_gil.lto_priv.0", "python3");
        let read = made.kernel("read");
        let broken = made.of_kind(FrameKind::Incomplete, "native: unreadable stack", "");
        made.samples(thread, &[eval, main, eval, work], 1);
        made.samples(thread, &[eval, main, work, eval], 2);
        made.samples(thread, &[main, work, deflate], 4);
        made.samples(thread, &[main, work, deflate, read], 8);
        made.samples(thread, &[main, work, take_gil], 16);
        made.samples(thread, &[main, work, take_gil, read], 32);
        made.samples(thread, &[main, work, broken], 64);
        made.samples(thread, &[main, deflate, main, read], 128);
        made.samples(thread, &[deflate], 256);
        let statistics = statistics_of(&made.profile, GroupBy::Function);
        let (_, work) = statistics
            .iter()
            .find(|(name, _)| name.starts_with("work"))
            .unwrap();
        let Split {
            python,
            native,
            kernel,
            gil_wait,
            unknown,
        } = work.split;
        let parts = [python, native, kernel, gil_wait, unknown].map(|part| part.samples);
        assert_eq!(parts, [3, 4, 8, 48, 64]);
        assert_eq!(work.self_weight().samples, 127);
        let (_, main) = &statistics[0];
        assert_eq!((main.total.samples, main.split.kernel.samples), (255, 128));
        let with_python: u64 = statistics
            .iter()
            .map(|(_, group)| group.split.sum().samples)
            .sum();
        assert_eq!(with_python, 511 - 256);
    }

    /// The oracle is a walk over every sample's frames with a set.
    #[test]
    fn own_adds_up_to_the_whole_and_totals_count_a_sample_once() {
        for seed in 1..40 {
            let profile = random_profile(seed, 300);
            for by in [
                GroupBy::Function,
                GroupBy::Line,
                GroupBy::Module,
                GroupBy::Name,
            ] {
                let grouping = Grouping::new(&profile, by).unwrap();
                let mut expected = vec![(0, 0); grouping.len()];
                for sample in &profile.samples {
                    let groups: Vec<_> = profile
                        .stacks
                        .frames_leaf_first(sample.stack)
                        .map(|frame| grouping.of_frame(frame).unwrap().index() as usize)
                        .collect();
                    expected[groups[0]].0 += 1;
                    for group in groups.into_iter().collect::<HashSet<_>>() {
                        expected[group].1 += 1;
                    }
                }
                let seen: Vec<_> = statistics_of(&profile, by)
                    .into_iter()
                    .map(|(_, group)| (group.own.samples, group.total.samples))
                    .collect();
                assert_eq!(seen, expected, "seed {seed}, {by:?}");
                assert_eq!(seen.iter().map(|(own, _)| own).sum::<u64>(), 300);
            }
        }
    }
}
