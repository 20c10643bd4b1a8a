//! The call tree as a person wants it: slow branches only, and library code folded into the call that entered it.
//!
//! What is kept of a stack, from the root:
//! - Python functions of the project;
//! - installed Python code (packages and the standard library) where the project calls it; what that calls in turn is
//!   folded into it, until it calls the project back;
//! - native code as one branch per library, and the kernel as one branch; the interpreter's own native code counts as the
//!   Python function's, and what leads from the thread's start to the first Python frame is left out.
//!
//! A profile in which less than a tenth of the time has to do with the project is of a program that was installed: then
//! all Python code counts as the project's.

use std::collections::HashMap;

use serde::Serialize;
use viperf_profile::{
    CallNode, CallTree, FrameKind, Group, GroupHandle, Grouping, Handle as _, Module, NodeHandle,
    NodeWeights, Origin, Weight, is_interpreter,
};

use crate::figures::{Amount, Whole};
use crate::place::Places;

/// Code of the project in less than this part of the time: there is no project.
const LEAST_PROJECT: f64 = 0.1;
/// Installed code below the thread's start is left out if it leads to the project for this part of its time.
const MOSTLY_PROJECT: f64 = 0.9;

/// One branch, in the order in which it is shown; its parent is the last row before it with a smaller depth.
#[derive(Clone, Debug, Serialize)]
pub struct TreeRow {
    /// 0 for a root.
    pub depth: usize,
    /// `python`, `native`, `kernel`, `incomplete`, `interpreter`.
    pub kind: &'static str,
    /// `project`, `package`, `standard-library`.
    pub origin: &'static str,
    /// The function's name; of folded native code the library's, `[kernel]` for the kernel.
    pub name: String,
    /// Where the function begins, or its library; empty when not known.
    pub place: String,
    /// The time of the branch.
    pub total: Amount,
    /// The part of it that is in no branch below; of what is folded, that is all.
    pub own: Amount,
    /// The packages whose frames between this branch and the one above are folded, those with most time first.
    pub through: Vec<String>,
}

/// Which frames are folded into what called them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folding {
    /// None: every frame is shown as it is.
    Nothing,
    /// The interpreter's native code.
    Interpreter,
    /// The same in a tree of callers, and what leads from the thread's start to the first Python frame.
    InterpreterAbove,
    /// As the module's text says.
    Libraries,
}

/// What is left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldOptions {
    /// Which frames are folded.
    pub(crate) folding: Folding,
    /// Branches with a smaller share are left out.
    pub(crate) least_share: f64,
    /// No more branches than these.
    pub(crate) most_rows: usize,
}

/// The rows of a tree, those with most time first among siblings.
pub(crate) fn fold(
    tree: &CallTree,
    weights: &NodeWeights,
    grouping: &Grouping<'_>,
    (whole, places): (&Whole, &Places),
    options: FoldOptions,
) -> Vec<TreeRow> {
    let mut folder = Folder::new(tree, weights, grouping, whole, options.folding);
    for (handle, node) in tree.iter() {
        folder.place(handle, node);
    }
    let Folder { branches, .. } = folder;
    let chosen = choose(&branches, whole, options);
    let row = |(index, depth): (usize, usize)| {
        let branch = branches.get(index)?;
        Some(branch.row(depth, grouping, whole, places))
    };
    chosen.into_iter().filter_map(row).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key<'p> {
    Function(GroupHandle),
    Library(&'p str),
    Kernel,
}

#[derive(Debug)]
struct Branch<'p> {
    parent: Option<usize>,
    key: Key<'p>,
    total: Weight,
    below: Weight,
    through: HashMap<&'p str, u64>,
}

struct Folder<'a, 'p> {
    tree: &'a CallTree,
    weights: &'a NodeWeights,
    grouping: &'a Grouping<'p>,
    whole: &'a Whole,
    folding: Folding,
    has_project: bool,
    /// By group: the package of installed Python code.
    packages: Vec<Option<&'p str>>,
    /// By node: the samples that have to do with the project.
    reach: Vec<Weight>,
    /// By node: whether Python is below it.
    leads_to_python: Vec<bool>,
    /// By node: the branch it is in, and the package that was folded last.
    places: Vec<(Option<usize>, Option<&'p str>)>,
    branches: Vec<Branch<'p>>,
    found: HashMap<(Option<usize>, Key<'p>), usize>,
}

impl<'a, 'p> Folder<'a, 'p> {
    fn new(
        tree: &'a CallTree,
        weights: &'a NodeWeights,
        grouping: &'a Grouping<'p>,
        whole: &'a Whole,
        folding: Folding,
    ) -> Self {
        let mut reach = vec![Weight::default(); tree.len()];
        let mut leads_to_python = vec![false; tree.len()];
        let mut in_project = Weight::default();
        for (handle, node) in tree.iter().rev() {
            let index = handle.index() as usize;
            let group = grouping.find(node.group);
            let is_python = group.is_some_and(|group| group.kind == FrameKind::Python);
            if group.is_some_and(is_project)
                && let Some(entry) = reach.get_mut(index)
            {
                *entry = weights.total(handle);
            }
            let own = reach.get(index).copied().unwrap_or_default();
            let leads = leads_to_python.get(index).copied().unwrap_or_default()
                || (is_python && !weights.total(handle).is_empty());
            match node.parent.map(|parent| parent.index() as usize) {
                None => in_project += own,
                Some(parent) => {
                    if let Some(above) = reach.get_mut(parent) {
                        *above += own;
                    }
                    if let Some(above) = leads_to_python.get_mut(parent) {
                        *above |= leads;
                    }
                }
            }
        }
        Self {
            tree,
            weights,
            grouping,
            whole,
            folding,
            packages: grouping
                .iter()
                .map(|(_, group)| package_of(group))
                .collect(),
            has_project: whole.share(in_project) >= LEAST_PROJECT,
            reach,
            leads_to_python,
            places: Vec::with_capacity(tree.len()),
            branches: Vec::new(),
            found: HashMap::new(),
        }
    }

    fn place(&mut self, handle: NodeHandle, node: &CallNode) {
        let (above, folded) = node
            .parent
            .and_then(|parent| self.places.get(parent.index() as usize).copied())
            .unwrap_or_default();
        let total = self.weights.total(handle);
        let group = self.grouping.find(node.group);
        let key = group
            .filter(|_| !total.is_empty())
            .and_then(|group| self.key(handle, node, group, above));
        let Some(key) = key else {
            let package = self.package_of_group(node.group);
            self.places.push((above, package.or(folded)));
            return;
        };
        let caller = above.and_then(|above| self.package_of_branch(above));
        let next = self.branches.len();
        let place = *self.found.entry((above, key)).or_insert(next);
        if place == next {
            self.branches.push(Branch {
                parent: above,
                key,
                total: Weight::default(),
                below: Weight::default(),
                through: HashMap::new(),
            });
        }
        if let Some(branch) = self.branches.get_mut(place) {
            branch.total += total;
            if let Some(package) = folded.filter(|package| Some(*package) != caller) {
                *branch.through.entry(package).or_default() += total.samples;
            }
        }
        if let Some(parent) = above.and_then(|above| self.branches.get_mut(above)) {
            parent.below += total;
        }
        self.places.push((Some(place), None));
    }

    /// The package that a branch enters: that the code below it is of that package, too, need not be said.
    fn package_of_branch(&self, branch: usize) -> Option<&'p str> {
        match self.branches.get(branch)?.key {
            Key::Function(group) => self.package_of_group(group),
            Key::Library(_) | Key::Kernel => None,
        }
    }

    fn package_of_group(&self, group: GroupHandle) -> Option<&'p str> {
        let package = self.packages.get(group.index() as usize);
        package.copied().flatten()
    }

    /// The branch that a node is, or `None` if it is folded into the one above.
    fn key(
        &self,
        handle: NodeHandle,
        node: &CallNode,
        group: &Group<'p>,
        above: Option<usize>,
    ) -> Option<Key<'p>> {
        let function = Key::Function(node.group);
        if self.folding != Folding::Libraries {
            return self.is_kept(handle, node, group).then_some(function);
        }
        let above = above
            .and_then(|above| self.branches.get(above))
            .map(|branch| branch.key);
        let index = handle.index() as usize;
        match group.kind {
            FrameKind::Incomplete => Some(function),
            FrameKind::Interpreter => None,
            FrameKind::Python if is_project(group) || !self.has_project => Some(function),
            FrameKind::Python => self.is_entered(index, node).then_some(function),
            FrameKind::Kernel => (above != Some(Key::Kernel)).then_some(Key::Kernel),
            FrameKind::Native => {
                let leads = self.leads_to_python.get(index).copied().unwrap_or_default();
                let library = group.library.unwrap_or("[native]");
                let key = Key::Library(library);
                let is_start = node.python.is_none() && leads;
                let is_shown = !is_start && !is_interpreter(library) && above != Some(key);
                is_shown.then_some(key)
            }
        }
    }

    /// Whether a frame is shown when only the interpreter is folded; the root always is, for it was asked for.
    fn is_kept(&self, handle: NodeHandle, node: &CallNode, group: &Group<'_>) -> bool {
        if self.folding == Folding::Nothing
            || node.parent.is_none()
            || group.kind != FrameKind::Native
        {
            return true;
        }
        let index = handle.index() as usize;
        let leads = self.leads_to_python.get(index).copied().unwrap_or_default();
        let is_start = self.folding == Folding::InterpreterAbove && node.python.is_some() && !leads;
        !is_start && !group.library.is_some_and(is_interpreter)
    }

    /// Whether installed code is called by the project, or begins a thread and does not lead to the project.
    fn is_entered(&self, index: usize, node: &CallNode) -> bool {
        let caller = node.parent.and_then(|parent| self.tree.find(parent));
        let caller = caller
            .and_then(|caller| caller.python)
            .and_then(|python| self.tree.find(python))
            .and_then(|python| self.grouping.find(python.group));
        match caller {
            Some(caller) => is_project(caller),
            None => {
                let reach = self.reach.get(index).copied().unwrap_or_default();
                let total = self.weights.total(NodeHandle::from_index(index as u32));
                self.whole.share(reach) < MOSTLY_PROJECT * self.whole.share(total)
            }
        }
    }
}

fn is_project(group: &Group<'_>) -> bool {
    group.kind == FrameKind::Python && group.origin == Origin::Project
}

fn package_of<'p>(group: &Group<'p>) -> Option<&'p str> {
    let file = group.file.filter(|_| group.kind == FrameKind::Python)?;
    // The name borrows from the file unless it has dots in it, and then the package stands in the path, too.
    let module = Module::of_file(file);
    let package = module.package();
    let at = file.rfind(package)?;
    let at = file.find(&format!("/{package}/")).map_or(at, |at| at + 1);
    file.get(at..at + package.len())
}

/// The branches that are shown, each with its depth, in the order in which they are shown.
fn choose(branches: &[Branch<'_>], whole: &Whole, options: FoldOptions) -> Vec<(usize, usize)> {
    let samples = |index: usize| {
        branches
            .get(index)
            .map_or(0, |branch| branch.total.by(whole.measure))
    };
    // A branch has no more than its parent and stands after it, so the first of this order never lack their parents.
    let mut order: Vec<usize> = (0..branches.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(samples(*index)), *index));
    order.retain(|index| {
        branches
            .get(*index)
            .is_some_and(|branch| whole.share(branch.total) >= options.least_share)
    });
    order.truncate(options.most_rows);
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for index in order {
        let parent = branches.get(index).and_then(|branch| branch.parent);
        children.entry(parent).or_default().push(index);
    }
    let mut rows = Vec::new();
    let mut todo: Vec<(usize, usize)> = Vec::new();
    let push = |parent: Option<usize>, depth: usize, todo: &mut Vec<(usize, usize)>| {
        let below = children.get(&parent).map(Vec::as_slice).unwrap_or_default();
        todo.extend(below.iter().rev().map(|child| (*child, depth)));
    };
    push(None, 0, &mut todo);
    while let Some((index, depth)) = todo.pop() {
        rows.push((index, depth));
        push(Some(index), depth + 1, &mut todo);
    }
    rows
}

impl Branch<'_> {
    fn row(
        &self,
        depth: usize,
        grouping: &Grouping<'_>,
        whole: &Whole,
        places: &Places,
    ) -> TreeRow {
        let mut through: Vec<_> = self.through.iter().collect();
        through.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        let (kind, origin, name, place) = match self.key {
            Key::Kernel => (
                FrameKind::Kernel,
                Origin::Project,
                "[kernel]".to_owned(),
                String::new(),
            ),
            Key::Library(library) => (
                FrameKind::Native,
                Origin::Project,
                library.to_owned(),
                String::new(),
            ),
            Key::Function(group) => match grouping.find(group) {
                Some(group) => (
                    group.kind,
                    group.origin,
                    group.name.to_string(),
                    places.place(group),
                ),
                None => return TreeRow::nothing(depth),
            },
        };
        let Weight { samples, ns } = self.total;
        let own = Weight {
            samples: samples.saturating_sub(self.below.samples),
            ns: ns.saturating_sub(self.below.ns),
        };
        TreeRow {
            depth,
            kind: kind.name(),
            origin: origin.name(),
            name,
            place,
            total: whole.amount(self.total),
            own: whole.amount(own),
            through: through
                .into_iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        }
    }
}

impl TreeRow {
    /// For a handle of another grouping, which cannot be.
    fn nothing(depth: usize) -> Self {
        Self {
            depth,
            kind: FrameKind::Incomplete.name(),
            origin: Origin::Project.name(),
            name: String::new(),
            place: String::new(),
            total: Amount::default(),
            own: Amount::default(),
            through: Vec::new(),
        }
    }
}
