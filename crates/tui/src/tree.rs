//! The call tree of what is selected, as far as it is open.

use std::collections::HashMap;

use viperf_profile::{FrameKind, FunctionHandle, ProfileError, StackHandle};

use crate::history::{Parts, Window};
use crate::live::{FrameFacts, Live};
use crate::rows::{Named, Row, RowId};
use crate::search::Search;
use crate::tally::selected;
use crate::trend::find_trend;
use crate::view::Selection;

/// Branches from this share on are open until told otherwise.
const OPEN_SHARE: f64 = 0.02;

/// No more rows than anybody scrolls through.
const MOST_ROWS: usize = 1000;

/// How a row stands in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// What stands before the name: `│  ├─ `. A branch that does not fork goes straight down.
    pub prefix: String,
    /// Whether what is below is shown; none if there is nothing below.
    pub is_open: Option<bool>,
}

/// Branches that were opened (true) or closed by hand, by the functions from the root to them.
pub(crate) type Toggled = HashMap<Vec<FunctionHandle>, bool>;

/// How the tree is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeOptions<'a> {
    /// Show the interpreter's own C functions and what leads from the thread's start to Python, too.
    pub is_full: bool,
    /// What was opened and closed.
    pub toggled: &'a Toggled,
    /// Branches with what this finds, in them or above them.
    pub search: &'a Search,
}

/// The open rows of the tree, those with most samples first among siblings.
///
/// # Errors
///
/// [`ProfileError`] when a handle is not of this profile.
pub(crate) fn tree_rows(
    live: &Live,
    window: Window,
    selection: Selection,
    options: TreeOptions<'_>,
) -> Result<Vec<Row>, ProfileError> {
    let mut tree = Tree::default();
    for (_, stack, parts) in selected(live, window, selection) {
        tree.add(frames_shown(live, stack, selection, options.is_full), parts);
    }
    tree.hide_unfound(live, options.search)?;
    tree.sort();
    tree.rows(live, options.toggled)
}

/// The functions of a stack that are shown, the root first.
fn frames_shown(
    live: &Live,
    stack: StackHandle,
    selection: Selection,
    is_full: bool,
) -> Vec<FunctionHandle> {
    let mut frames: Vec<&FrameFacts> = live.frames_leaf_first(stack).collect();
    frames.reverse();
    let is_python = |facts: &&FrameFacts| facts.kind == FrameKind::Python;
    let first_python = frames.iter().position(is_python);
    let starts_at = match selection.function {
        Some(function) => frames
            .iter()
            .position(|facts| facts.frame.function == function),
        None if is_full => None,
        None => first_python,
    };
    let is_folded = |facts: &FrameFacts| {
        !is_full
            && first_python.is_some()
            && facts.is_interpreter
            && selection.function != Some(facts.frame.function)
    };
    let shown = frames.into_iter().skip(starts_at.unwrap_or_default());
    shown
        .filter(|facts| !is_folded(facts))
        .map(|facts| facts.frame.function)
        .collect()
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    function: FunctionHandle,
    own: Parts,
    total: Parts,
    is_hidden: bool,
}

#[derive(Debug, Default)]
struct Tree {
    whole: Parts,
    nodes: Vec<Node>,
    places: HashMap<(Option<usize>, FunctionHandle), usize>,
    children: HashMap<Option<usize>, Vec<usize>>,
}

impl Tree {
    fn add(&mut self, functions: Vec<FunctionHandle>, parts: Parts) {
        self.whole += parts;
        let mut parent = None;
        for function in functions {
            let next = self.nodes.len();
            let place = *self.places.entry((parent, function)).or_insert(next);
            if place == next {
                self.nodes.push(Node {
                    parent,
                    function,
                    own: Parts::default(),
                    total: Parts::default(),
                    is_hidden: false,
                });
            }
            if let Some(node) = self.nodes.get_mut(place) {
                node.total += parts;
            }
            parent = Some(place);
        }
        if let Some(node) = parent.and_then(|leaf| self.nodes.get_mut(leaf)) {
            node.own += parts;
        }
    }

    /// Hides branches that have nothing to do with what is searched. Children stand after their parents.
    fn hide_unfound(&mut self, live: &Live, search: &Search) -> Result<(), ProfileError> {
        if search.is_empty() {
            return Ok(());
        }
        let mut found = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let above = node
                .parent
                .and_then(|parent| found.get(parent).copied())
                .unwrap_or_default();
            let named = Named::of_function(live, node.function, 0)?;
            found.push(above || search.finds(&[&named.name, &named.place]));
        }
        for index in (0..self.nodes.len()).rev() {
            let is_found = found.get(index).copied().unwrap_or_default();
            if let Some(node) = self.nodes.get_mut(index) {
                node.is_hidden = !is_found;
                if is_found
                    && let Some(above) = node.parent.and_then(|parent| found.get_mut(parent))
                {
                    *above = true;
                }
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.is_hidden && !node.total.window.is_empty() {
                self.children.entry(node.parent).or_default().push(index);
            }
        }
        let nodes = &self.nodes;
        let order = |index: &usize| {
            nodes
                .get(*index)
                .map(|node| (std::cmp::Reverse(node.total.window.samples), node.function))
        };
        for children in self.children.values_mut() {
            children.sort_by_key(order);
        }
    }

    fn share(&self, parts: Parts) -> f64 {
        match self.whole.window.samples {
            0 => 0.0,
            whole => parts.window.samples as f64 / whole as f64,
        }
    }

    fn rows(&self, live: &Live, toggled: &Toggled) -> Result<Vec<Row>, ProfileError> {
        let mut rows = Vec::new();
        let mut todo = self.below(None, &[], "");
        while let Some((index, path, prefix, below)) = todo.pop() {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            if rows.len() >= MOST_ROWS {
                break;
            }
            let has_children = self.children.contains_key(&Some(index));
            let is_open = toggled
                .get(&path)
                .copied()
                .unwrap_or_else(|| self.share(node.total) >= OPEN_SHARE);
            if has_children && is_open {
                todo.extend(self.below(Some(index), &path, &below));
            }
            let named = Named::of_function(live, node.function, 0)?;
            rows.push(Row {
                id: RowId::Path(path),
                own: self.share(node.own),
                total: self.share(node.total),
                own_time: node.own.since_reset,
                total_time: node.total.since_reset,
                trend: find_trend(node.total, self.whole),
                gil: None,
                gil_wait: None,
                number: 0,
                name: named.name,
                place: named.place,
                kind: named.kind,
                origin: named.origin,
                branch: Some(Branch {
                    prefix,
                    is_open: has_children.then_some(is_open),
                }),
            });
        }
        Ok(rows)
    }

    /// The children of a node, the last first, each with its path, what stands before it, and what stands before those
    /// below it.
    fn below(
        &self,
        parent: Option<usize>,
        path: &[FunctionHandle],
        outer: &str,
    ) -> Vec<(usize, Vec<FunctionHandle>, String, String)> {
        let children = self.children.get(&parent);
        let children = children.map(Vec::as_slice).unwrap_or_default();
        let child = |(number, index): (usize, &usize)| {
            let mut path = path.to_vec();
            path.extend(self.nodes.get(*index).map(|node| node.function));
            let (own, below) = match number + 1 == children.len() {
                _ if children.len() == 1 => ("", ""),
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            (
                *index,
                path,
                format!("{outer}{own}"),
                format!("{outer}{below}"),
            )
        };
        children.iter().enumerate().rev().map(child).collect()
    }
}
