//! The stacks as one tree of groups: who called whom, and what each branch weighs.
//!
//! A [`CallTree`] is made once and weighed as often as there are sets of samples to compare.
//! Everything takes time in proportion to the number of nodes, however deep the stacks are.

use crate::child_index::ChildIndex;
use crate::function_table::FrameKind;
use crate::grouping::{GroupHandle, Grouping};
use crate::profile::Profile;
use crate::sample::Sample;
use crate::table::{Handle as _, handle, row_number};
use crate::validate::ProfileError;
use crate::weight::Weight;

handle! {
    /// Names a node of a [`CallTree`].
    NodeHandle
}

/// A group, called from its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallNode {
    /// The caller; `None` for a root.
    pub parent: Option<NodeHandle>,
    /// What is called.
    pub group: GroupHandle,
    /// No caller, however far up, is of the same group: of a recursion, only the first call is.
    pub outermost: bool,
    /// The nearest Python node, from this one up; `None` when there is none.
    pub python: Option<NodeHandle>,
}

/// Nodes, each later than its parent.
#[derive(Clone, Debug, Default)]
pub struct CallTree {
    nodes: Vec<CallNode>,
    of_stack: Vec<NodeHandle>,
}

impl CallTree {
    /// The tree of all stacks of `profile`, also of those without samples.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when `grouping` is not of this profile.
    pub fn new(profile: &Profile, grouping: &Grouping<'_>) -> Result<Self, ProfileError> {
        let mut builder = Builder::default();
        builder.nodes.reserve(profile.stacks.len());
        builder.places.reserve(profile.stacks.len());
        let mut of_stack: Vec<NodeHandle> = Vec::with_capacity(profile.stacks.len());
        for (_, stack) in profile.stacks.iter() {
            let group = grouping
                .of_frame(stack.frame)
                .ok_or_else(|| ProfileError::no_such_row("frames", stack.frame, grouping.len()))?;
            let parent = stack
                .parent
                .and_then(|parent| of_stack.get(parent.index() as usize).copied());
            let python = is_python(grouping, group);
            of_stack.push(builder.node(parent, group, python));
        }
        let mut nodes = builder.nodes;
        mark_outermost(&mut nodes, grouping.len());
        Ok(Self { nodes, of_stack })
    }

    /// The same nodes, and so the same weights, in larger groups: `larger` of each group of this tree says which, and there
    /// are `groups` of them.
    #[must_use]
    pub fn regrouped(&self, larger: &[GroupHandle], groups: usize) -> Self {
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            if let Some(group) = larger.get(node.group.index() as usize) {
                node.group = *group;
            }
        }
        mark_outermost(&mut nodes, groups);
        Self {
            nodes,
            of_stack: self.of_stack.clone(),
        }
    }

    /// What each node weighs in `samples`.
    #[must_use]
    pub fn weigh(&self, samples: &[Sample]) -> NodeWeights {
        let mut own = vec![Weight::default(); self.nodes.len()];
        for sample in samples {
            let node = self.of_stack.get(sample.stack.index() as usize);
            if let Some(weight) = node.and_then(|node| own.get_mut(node.index() as usize)) {
                *weight += Weight::from(sample);
            }
        }
        self.sum_up(own)
    }

    /// Adds what is below to what is above; children stand after their parents, so one walk back does.
    fn sum_up(&self, own: Vec<Weight>) -> NodeWeights {
        let mut total = own.clone();
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let weight = total.get(index).copied().unwrap_or_default();
            if let Some(parent) = node.parent
                && let Some(above) = total.get_mut(parent.index() as usize)
            {
                *above += weight;
            }
        }
        NodeWeights { own, total }
    }

    /// The node of `handle`; `None` for a handle of another tree.
    #[must_use]
    pub fn find(&self, handle: NodeHandle) -> Option<&CallNode> {
        self.nodes.get(handle.index() as usize)
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every node with its handle, each after its parent.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeHandle, &CallNode)> + '_ {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node_handle(index), node))
    }

    /// The node that a sample ends in; `None` for a sample of another profile.
    #[must_use]
    pub fn leaf(&self, sample: &Sample) -> Option<NodeHandle> {
        self.of_stack.get(sample.stack.index() as usize).copied()
    }

    /// The nodes of a sample from its leaf to its root.
    pub fn leaf_first(&self, sample: &Sample) -> impl Iterator<Item = NodeHandle> + '_ {
        std::iter::successors(self.leaf(sample), |node| self.find(*node)?.parent)
    }

    /// The groups from the root to `node`, at most the last `limit` of them.
    #[must_use]
    pub fn path(&self, node: NodeHandle, limit: usize) -> Vec<GroupHandle> {
        let mut path = Vec::new();
        let mut next = Some(node);
        while let Some(node) = next.and_then(|node| self.find(node))
            && path.len() < limit
        {
            path.push(node.group);
            next = node.parent;
        }
        path.reverse();
        path
    }

    /// What `group` calls: a tree whose one root is `group`, with what is below its outermost calls, so the root weighs
    /// the total of the group.
    #[must_use]
    pub fn callees(
        &self,
        weights: &NodeWeights,
        grouping: &Grouping<'_>,
        group: GroupHandle,
    ) -> (Self, NodeWeights) {
        let mut builder = Builder::default();
        let mut own = Vec::new();
        let mut place_of: Vec<Option<NodeHandle>> = vec![None; self.nodes.len()];
        for (handle, node) in self.iter() {
            let above = node
                .parent
                .and_then(|parent| place_of.get(parent.index() as usize).copied().flatten());
            let is_root = above.is_none() && node.group == group;
            if above.is_none() && !is_root {
                continue;
            }
            let place = builder.node(above, node.group, is_python(grouping, node.group));
            add(&mut own, place, weights.own(handle));
            if let Some(entry) = place_of.get_mut(handle.index() as usize) {
                *entry = Some(place);
            }
        }
        builder.finish(own, grouping.len())
    }

    /// Who calls `group`: a tree whose one root is `group` and whose children are callers, with at most `levels` of them
    /// one above the other. Each sample is under the caller of the outermost call, so the root weighs the group's total.
    #[must_use]
    pub fn callers(
        &self,
        weights: &NodeWeights,
        grouping: &Grouping<'_>,
        group: GroupHandle,
        levels: usize,
    ) -> (Self, NodeWeights) {
        let mut builder = Builder::default();
        let mut own = Vec::new();
        for (handle, node) in self.iter() {
            let weight = weights.total(handle);
            if node.group != group || !node.outermost || weight.is_empty() {
                continue;
            }
            let mut place = None;
            let mut next = Some(*node);
            for _ in 0..=levels {
                let Some(node) = next else { break };
                let python = is_python(grouping, node.group);
                place = Some(builder.node(place, node.group, python));
                next = node.parent.and_then(|parent| self.find(parent).copied());
            }
            if let Some(place) = place {
                add(&mut own, place, weight);
            }
        }
        builder.finish(own, grouping.len())
    }
}

fn is_python(grouping: &Grouping<'_>, group: GroupHandle) -> bool {
    grouping
        .find(group)
        .is_some_and(|group| group.kind == FrameKind::Python)
}

fn add(weights: &mut Vec<Weight>, node: NodeHandle, weight: Weight) {
    let index = node.index() as usize;
    if weights.len() <= index {
        weights.resize(index + 1, Weight::default());
    }
    if let Some(entry) = weights.get_mut(index) {
        *entry += weight;
    }
}

fn node_handle(index: usize) -> NodeHandle {
    NodeHandle::from_index(row_number(index))
}

/// Nodes found again by caller and group.
#[derive(Default)]
struct Builder {
    nodes: Vec<CallNode>,
    places: ChildIndex,
}

impl Builder {
    fn node(
        &mut self,
        parent: Option<NodeHandle>,
        group: GroupHandle,
        is_python: bool,
    ) -> NodeHandle {
        let number = parent.map(NodeHandle::index);
        let (place, is_new) = self.places.find_or_add(number, group.index());
        let place = NodeHandle::from_index(place);
        if is_new {
            let above = parent.and_then(|parent| self.nodes.get(parent.index() as usize));
            let python = match is_python {
                true => Some(place),
                false => above.and_then(|above| above.python),
            };
            self.nodes.push(CallNode {
                parent,
                group,
                outermost: true,
                python,
            });
        }
        place
    }

    fn finish(self, mut own: Vec<Weight>, groups: usize) -> (CallTree, NodeWeights) {
        let mut nodes = self.nodes;
        mark_outermost(&mut nodes, groups);
        own.resize(nodes.len(), Weight::default());
        let tree = CallTree {
            nodes,
            of_stack: Vec::new(),
        };
        let weights = tree.sum_up(own);
        (tree, weights)
    }
}

/// Walks the tree depth first with a count of the open calls of each group.
fn mark_outermost(nodes: &mut [CallNode], groups: usize) {
    let (roots, children) = children_of(nodes);
    let mut open = vec![0_u32; groups];
    // A node is met twice: on the way down, and when all below it has been seen.
    let mut todo: Vec<(usize, bool)> = roots.into_iter().map(|root| (root, false)).collect();
    while let Some((index, is_left)) = todo.pop() {
        let Some(node) = nodes.get_mut(index) else {
            continue;
        };
        let Some(count) = open.get_mut(node.group.index() as usize) else {
            continue;
        };
        if is_left {
            *count -= 1;
            continue;
        }
        node.outermost = *count == 0;
        *count += 1;
        todo.push((index, true));
        let mut child = children.first.get(index).copied().flatten();
        while let Some(index) = child {
            todo.push((index, false));
            child = children.next.get(index).copied().flatten();
        }
    }
}

/// Each node's first child and next sibling.
struct Children {
    first: Vec<Option<usize>>,
    next: Vec<Option<usize>>,
}

fn children_of(nodes: &[CallNode]) -> (Vec<usize>, Children) {
    let mut children = Children {
        first: vec![None; nodes.len()],
        next: vec![None; nodes.len()],
    };
    let mut roots = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let Some(parent) = node.parent else {
            roots.push(index);
            continue;
        };
        if let Some(first) = children.first.get_mut(parent.index() as usize)
            && let Some(next) = children.next.get_mut(index)
        {
            *next = first.replace(index);
        }
    }
    (roots, children)
}

/// What each node of one [`CallTree`] weighs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeWeights {
    own: Vec<Weight>,
    total: Vec<Weight>,
}

impl NodeWeights {
    /// The samples whose leaf is `node`.
    #[must_use]
    pub fn own(&self, node: NodeHandle) -> Weight {
        self.own
            .get(node.index() as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The samples that go through `node`.
    #[must_use]
    pub fn total(&self, node: NodeHandle) -> Weight {
        self.total
            .get(node.index() as usize)
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grouping::GroupBy;
    use crate::made_up::MadeUp;

    /// main calls f and g; f calls itself, then g.
    fn recursive() -> Profile {
        let mut made = MadeUp::default();
        let thread = made.thread("p", 1, 1);
        let [main, f, g] = ["main", "f", "g"].map(|name| made.python(name, "a.py", 1, 1));
        made.samples(thread, &[main, f, f, g], 5);
        made.samples(thread, &[main, f], 2);
        made.samples(thread, &[main, g], 3);
        made.profile
    }

    fn shape(tree: &CallTree, weights: &NodeWeights, grouping: &Grouping<'_>) -> Vec<String> {
        let name = |node: NodeHandle| {
            let path = tree.path(node, usize::MAX);
            let names: Vec<_> = path
                .iter()
                .map(|group| grouping.find(*group).unwrap().name.to_string())
                .collect();
            let (own, total) = (weights.own(node).samples, weights.total(node).samples);
            format!("{} {own} {total}", names.join(">"))
        };
        tree.iter().map(|(node, _)| name(node)).collect()
    }

    #[test]
    fn branches_weigh_what_goes_through_them() {
        let profile = recursive();
        let grouping = Grouping::new(&profile, GroupBy::Function).unwrap();
        let tree = CallTree::new(&profile, &grouping).unwrap();
        let weights = tree.weigh(&profile.samples);
        assert_eq!(
            shape(&tree, &weights, &grouping),
            [
                "main 0 10",
                "main>f 2 7",
                "main>f>f 0 5",
                "main>f>f>g 5 5",
                "main>g 3 3"
            ]
        );
        let outermost: Vec<_> = tree.iter().map(|(_, node)| node.outermost).collect();
        assert_eq!(outermost, [true, true, false, true, true]);
    }

    #[test]
    fn in_larger_groups_it_is_the_tree_of_those() {
        let mut made = MadeUp::default();
        let thread = made.thread("p", 1, 1);
        let [main, f, g] = [("main", "a.py"), ("f", "b.py"), ("g", "b.py")]
            .map(|(name, file)| made.python(name, file, 1, 1));
        made.samples(thread, &[main, f, g, main], 5);
        made.samples(thread, &[main, g], 3);
        let profile = made.profile;
        let functions = Grouping::new(&profile, GroupBy::Function).unwrap();
        let modules = Grouping::new(&profile, GroupBy::Module).unwrap();
        let tree = CallTree::new(&profile, &functions).unwrap();
        let regrouped = tree.regrouped(&functions.within(&modules), modules.len());
        let direct = CallTree::new(&profile, &modules).unwrap();
        let statistics = |tree: &CallTree| {
            crate::group_statistics(tree, &tree.weigh(&profile.samples), &modules)
        };
        assert_eq!(statistics(&regrouped), statistics(&direct));
        assert_eq!(statistics(&direct)[1].total.samples, 8);
    }

    #[test]
    fn callers_and_callees_weigh_the_groups_total() {
        let profile = recursive();
        let grouping = Grouping::new(&profile, GroupBy::Function).unwrap();
        let tree = CallTree::new(&profile, &grouping).unwrap();
        let weights = tree.weigh(&profile.samples);
        let of = |name: &str| {
            let found = grouping.iter().find(|(_, group)| group.name == name);
            found.unwrap().0
        };
        let (callees, below) = tree.callees(&weights, &grouping, of("f"));
        assert_eq!(
            shape(&callees, &below, &grouping),
            ["f 2 7", "f>f 0 5", "f>f>g 5 5"]
        );
        let (callers, above) = tree.callers(&weights, &grouping, of("g"), 1);
        assert_eq!(
            shape(&callers, &above, &grouping),
            ["g 0 8", "g>f 5 5", "g>main 3 3"]
        );
        let (callers, above) = tree.callers(&weights, &grouping, of("f"), 9);
        assert_eq!(
            shape(&callers, &above, &grouping),
            ["f 0 7", "f>main 7 7"],
            "a recursion has the callers of its first call"
        );
    }

    #[test]
    fn a_stack_of_a_million_frames_takes_no_recursion() {
        let mut made = MadeUp::default();
        let thread = made.thread("p", 1, 1);
        let f = made.python("f", "a.py", 1, 1);
        made.samples(thread, &vec![f; 1_000_000], 1);
        let grouping = Grouping::new(&made.profile, GroupBy::Function).unwrap();
        let tree = CallTree::new(&made.profile, &grouping).unwrap();
        let weights = tree.weigh(&made.profile.samples);
        assert_eq!(weights.total(node_handle(0)).samples, 1);
        let (callers, _) = tree.callers(&weights, &grouping, GroupHandle::from_index(0), 100);
        assert_eq!(callers.len(), 1);
    }
}
