//! What is compared: functions, and stacks.

use crate::call_tree::{CallTree, NodeHandle};
use crate::function_statistics::group_statistics;
use crate::function_table::FrameKind;
use crate::grouping::{GroupHandle, Grouping};
use crate::sample::Sample;
use crate::table::Handle;
use crate::weight::Weight;

/// Own and total of one row.
pub(super) type Figures = [Weight; 2];

/// What is compared.
pub(super) trait Compared {
    /// What names a row.
    type Of: Handle;

    /// Whether a row's total decides, too, what is to be thought of it.
    const JUDGES_TOTAL: bool;

    /// The figures of every row.
    fn figures(&self, samples: &[Sample]) -> Vec<Figures>;

    /// The rows whose own count a sample is in, each once.
    fn own_rows(&self, sample: &Sample, meet: &mut dyn FnMut(usize));

    /// The rows whose total a sample is in, each once; asked for only if they decide.
    fn total_rows(&self, sample: &Sample, meet: &mut dyn FnMut(usize));
}

pub(super) struct Functions<'a, 'p> {
    tree: &'a CallTree,
    grouping: &'a Grouping<'p>,
    is_python: Vec<bool>,
}

impl<'a, 'p> Functions<'a, 'p> {
    pub(super) fn new(tree: &'a CallTree, grouping: &'a Grouping<'p>) -> Self {
        let kinds = grouping.iter().map(|(_, group)| group.kind);
        Self {
            tree,
            grouping,
            is_python: kinds.map(|kind| kind == FrameKind::Python).collect(),
        }
    }
}

impl Compared for Functions<'_, '_> {
    type Of = GroupHandle;
    const JUDGES_TOTAL: bool = true;

    fn figures(&self, samples: &[Sample]) -> Vec<Figures> {
        group_statistics(self.tree, &self.tree.weigh(samples), self.grouping)
            .iter()
            .map(|group| [group.self_weight(), group.total])
            .collect()
    }

    fn own_rows(&self, sample: &Sample, meet: &mut dyn FnMut(usize)) {
        let leaf = self.tree.leaf(sample).and_then(|leaf| self.tree.find(leaf));
        let Some(leaf) = leaf else { return };
        let group = leaf.group.index() as usize;
        if !self.is_python.get(group).copied().unwrap_or_default() {
            meet(group);
        }
        if let Some(python) = leaf.python.and_then(|python| self.tree.find(python)) {
            meet(python.group.index() as usize);
        }
    }

    fn total_rows(&self, sample: &Sample, meet: &mut dyn FnMut(usize)) {
        for node in self.tree.leaf_first(sample) {
            if let Some(node) = self.tree.find(node).filter(|node| node.outermost) {
                meet(node.group.index() as usize);
            }
        }
    }
}

pub(super) struct Stacks<'a> {
    pub(super) tree: &'a CallTree,
}

impl Compared for Stacks<'_> {
    type Of = NodeHandle;
    /// The callees of a stack are stacks of their own.
    const JUDGES_TOTAL: bool = false;

    fn figures(&self, samples: &[Sample]) -> Vec<Figures> {
        let weights = self.tree.weigh(samples);
        let figures = |(node, _)| [weights.own(node), weights.total(node)];
        self.tree.iter().map(figures).collect()
    }

    fn own_rows(&self, sample: &Sample, meet: &mut dyn FnMut(usize)) {
        if let Some(leaf) = self.tree.leaf(sample) {
            meet(leaf.index() as usize);
        }
    }

    fn total_rows(&self, _: &Sample, _: &mut dyn FnMut(usize)) {}
}
