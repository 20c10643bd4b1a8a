//! The profile's stacks without the frames that a format hides, and with those put together that it tells not apart.

use std::collections::HashMap;

use viperf_profile::{
    ChildIndex, Frame, FrameKind, Function, Handle as _, Profile, ProfileError, StackHandle,
};

/// "No node": the parent of a root, and a stack all of whose frames are hidden.
const NONE: u32 = u32::MAX;

/// Rows of a format's own frame table: what each frame of the profile becomes there.
#[derive(Debug)]
pub(crate) struct FrameRows<K> {
    /// One entry per row, in order of arrival.
    pub(crate) rows: Vec<K>,
    /// By frame of the profile; `None` for a frame that is hidden.
    row_of_frame: Vec<Option<u32>>,
}

impl<K: Clone + Eq + std::hash::Hash> FrameRows<K> {
    /// `key` says what a frame is in the format; frames of equal keys are one row, and `None` hides the frame.
    pub(crate) fn build(
        profile: &Profile,
        mut key: impl FnMut(Frame, Function) -> Option<K>,
    ) -> Result<Self, ProfileError> {
        let mut rows = Vec::new();
        let mut numbers: HashMap<K, u32> = HashMap::new();
        let mut row_of_frame = Vec::with_capacity(profile.frames.len());
        for (_, &frame) in profile.frames.iter() {
            let key = key(frame, profile.function(frame.function)?);
            row_of_frame.push(key.map(|key| {
                // A profile has fewer than 2^32 frames, and there are no more rows than frames.
                *numbers.entry(key).or_insert_with_key(|key| {
                    rows.push(key.clone());
                    (rows.len() - 1) as u32
                })
            }));
        }
        Ok(Self { rows, row_of_frame })
    }
}

/// Whether a frame of this kind is hidden unless `interpreter_frames` are asked for.
pub(crate) fn is_hidden(kind: FrameKind, interpreter_frames: bool) -> bool {
    kind == FrameKind::Interpreter && !interpreter_frames
}

/// A frame on top of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    parent: u32,
    row: u32,
}

/// A prefix tree of rows. Parents stand before their children.
#[derive(Debug, Default)]
pub(crate) struct StackTree {
    nodes: Vec<Node>,
    node_of_stack: Vec<u32>,
}

impl StackTree {
    /// The tree of all stacks of the profile.
    pub(crate) fn build<K>(profile: &Profile, frames: &FrameRows<K>) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        let mut numbers = ChildIndex::default();
        numbers.reserve(profile.stacks.len());
        let mut node_of_stack: Vec<u32> = Vec::with_capacity(profile.stacks.len());
        for (_, stack) in profile.stacks.iter() {
            let above = stack.parent.and_then(|parent| {
                let node = node_of_stack.get(parent.index() as usize);
                node.copied()
            });
            let parent = above.unwrap_or(NONE);
            let row = frames.row_of_frame.get(stack.frame.index() as usize);
            let node = match row.copied().flatten() {
                None => parent,
                Some(row) => {
                    let above = Some(parent).filter(|&parent| parent != NONE);
                    let (node, is_new) = numbers.find_or_add(above, row);
                    if is_new {
                        nodes.push(Node { parent, row });
                    }
                    node
                }
            };
            node_of_stack.push(node);
        }
        Self {
            nodes,
            node_of_stack,
        }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Each node's parent, `None` at a root, and its row.
    pub(crate) fn nodes(&self) -> impl ExactSizeIterator<Item = (Option<u32>, u32)> + '_ {
        self.nodes
            .iter()
            .map(|node| (Some(node.parent).filter(|&parent| parent != NONE), node.row))
    }

    /// The node of a stack; `None` when all of its frames are hidden.
    pub(crate) fn find(&self, stack: StackHandle) -> Option<u32> {
        let node = self.node_of_stack.get(stack.index() as usize).copied()?;
        Some(node).filter(|&node| node != NONE)
    }

    /// The row and the parent of a node.
    pub(crate) fn node(&self, number: u32) -> Option<(u32, Option<u32>)> {
        let node = self.nodes.get(number as usize)?;
        Some((node.row, Some(node.parent).filter(|&parent| parent != NONE)))
    }

    /// The rows of a stack from its leaf to its root; none when all of its frames are hidden.
    pub(crate) fn rows_leaf_first(&self, stack: StackHandle) -> RowsLeafFirst<'_> {
        RowsLeafFirst {
            tree: self,
            next: self.find(stack),
        }
    }
}

/// The rows of one stack; see [`StackTree::rows_leaf_first`].
#[derive(Debug)]
pub(crate) struct RowsLeafFirst<'a> {
    tree: &'a StackTree,
    next: Option<u32>,
}

impl Iterator for RowsLeafFirst<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (row, parent) = self.tree.node(self.next?)?;
        self.next = parent;
        Some(row)
    }
}

/// What samples are weighed in: time where it is known, else their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Each sample stands for some time.
    Nanoseconds,
    /// No sample says for how much time it stands, as in a profile read from folded lines.
    Samples,
}

impl Unit {
    /// The unit of a profile's samples.
    pub(crate) fn of(profile: &Profile) -> Self {
        match profile.samples.iter().any(|sample| sample.weight_ns != 0) {
            true => Self::Nanoseconds,
            false => Self::Samples,
        }
    }

    /// `count` samples that stand for `weight_ns` together, in this unit.
    pub(crate) fn amount(self, count: u64, weight_ns: u64) -> u64 {
        match self {
            Self::Nanoseconds => weight_ns,
            Self::Samples => count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_profile::{profile_of_one_line, small_profile};

    #[test]
    fn hidden_frames_are_left_out_and_equal_ones_are_one() {
        let profile = profile_of_one_line();
        let rows = FrameRows::build(&profile, |frame, _| {
            Some((frame.function, frame.source.line))
        })
        .unwrap();
        assert_eq!(rows.rows.len(), 2);
        assert_eq!(StackTree::build(&profile, &rows).len(), 2);

        let profile = small_profile();
        let rows = FrameRows::build(&profile, |frame, function| {
            (!is_hidden(function.kind, false)).then_some(frame.function)
        })
        .unwrap();
        let tree = StackTree::build(&profile, &rows);
        for sample in &profile.samples {
            let names = tree.rows_leaf_first(sample.stack).map(|row| {
                let function = profile.function(rows.rows[row as usize]).unwrap();
                profile.string(function.name).unwrap()
            });
            let names: Vec<_> = names.collect();
            assert!(!names.contains(&"_PyEval_EvalFrameDefault"), "{names:?}");
            assert!(names.ends_with(&["_start"]) || names.ends_with(&["stack page not present"]));
        }
    }

    #[test]
    fn a_stack_of_hidden_frames_alone_has_no_node() {
        let profile = small_profile();
        let rows = FrameRows::build(&profile, |_, _| None::<u32>).unwrap();
        let tree = StackTree::build(&profile, &rows);
        assert_eq!(tree.len(), 0);
        assert_eq!(tree.find(profile.samples[0].stack), None);
    }
}
