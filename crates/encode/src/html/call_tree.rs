//! Samples merged into one call tree (the whole, its processes, their threads, their frames), and where in it each ends.

use std::collections::HashMap;

use viperf_profile::{
    ChildIndex, FunctionHandle, Handle as _, Profile, Sample, StackHandle, ThreadHandle,
};

use crate::EncodeError;

/// A frame as the page knows it: it shows neither addresses nor columns, so frames that differ only in them are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageFrame {
    pub(super) function: FunctionHandle,
    pub(super) line: u32,
}

/// One node; parents stand before their children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The parent's place; the root's is its own.
    pub(super) parent: usize,
    /// By depth: 0 the root, 1 a process, 2 a thread, then [`CallTree::frames`].
    pub(super) row: u32,
}

/// The tree in preorder: neighbours in the file are neighbours in the tree, which compresses well.
#[derive(Debug, Default)]
pub(super) struct CallTree<'a> {
    pub(super) frames: Vec<PageFrame>,
    pub(super) nodes: Vec<Node>,
    /// Every sample in time order, and the node of its leaf.
    pub(super) samples: Vec<(&'a Sample, u32)>,
}

/// The tree of all samples.
pub(super) fn build(profile: &Profile) -> Result<CallTree<'_>, EncodeError> {
    page_number("samples", profile.samples.len())?;
    let mut builder = Builder::default();
    builder.learn_frames(profile)?;
    let mut in_order: Vec<&Sample> = profile.samples.iter().collect();
    in_order.sort_by_key(|sample| sample.time_ns);
    let mut places = Vec::with_capacity(in_order.len());
    for sample in &in_order {
        places.push(builder.place_of_stack(profile, sample.thread, sample.stack)?);
    }
    let (nodes, numbers) = in_preorder(&builder.nodes);
    let leaves = places
        .iter()
        .map(|&place| numbers.get(place).copied().unwrap_or_default());
    let samples = in_order.into_iter().zip(leaves).collect();
    Ok(CallTree {
        frames: builder.frames,
        nodes,
        samples,
    })
}

/// Places stacks in a tree that grows; the tables may grow in between, as long as their rows stay what they are.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) frames: Vec<PageFrame>,
    numbers: HashMap<PageFrame, usize>,
    /// The page's frame of each frame of the profile.
    page_frames: Vec<u32>,
    pub(super) nodes: Vec<Node>,
    /// The same without the first, which is the parent of its roots.
    children: ChildIndex,
    /// Where the stacks of a thread's samples end.
    stacks: HashMap<(ThreadHandle, StackHandle), usize>,
    /// Where each stack of the profile ends for the thread that had it last: most of a stack was placed with one before.
    last_places: Vec<Option<(ThreadHandle, u32)>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            frames: Vec::new(),
            numbers: HashMap::new(),
            page_frames: Vec::new(),
            nodes: vec![Node { parent: 0, row: 0 }],
            children: ChildIndex::default(),
            stacks: HashMap::new(),
            last_places: Vec::new(),
        }
    }
}

impl Builder {
    /// Takes in the frames that the profile has more than before.
    pub(super) fn learn_frames(&mut self, profile: &Profile) -> Result<(), EncodeError> {
        for (_, frame) in profile.frames.iter().skip(self.page_frames.len()) {
            let page_frame = PageFrame {
                function: frame.function,
                line: frame.source.line,
            };
            let next = self.frames.len();
            let number = *self.numbers.entry(page_frame).or_insert(next);
            if number == next {
                self.frames.push(page_frame);
            }
            self.page_frames.push(page_number("frames", number)?);
        }
        Ok(())
    }

    /// The node of a stack's leaf.
    pub(super) fn place_of_stack(
        &mut self,
        profile: &Profile,
        thread: ThreadHandle,
        stack: StackHandle,
    ) -> Result<usize, EncodeError> {
        if let Some(place) = self.stacks.get(&(thread, stack)) {
            return Ok(*place);
        }
        self.last_places.resize(profile.stacks.len(), None);
        let mut pending = Vec::new();
        let mut next = Some(stack);
        let mut place = None;
        while let Some(handle) = next {
            let last = self.last_places.get(handle.index() as usize);
            let last = last.copied().flatten();
            let of_thread = last.filter(|(of, _)| *of == thread);
            place = of_thread.map(|(_, place)| place as usize);
            if place.is_some() {
                break;
            }
            pending.push(handle);
            next = profile.stacks.find(handle).and_then(|stack| stack.parent);
        }
        let mut place = match place {
            Some(place) => place,
            None => self.place_of_thread(profile, thread)?,
        };
        for handle in pending.into_iter().rev() {
            if let Some(stack) = profile.stacks.find(handle)
                && let Some(&row) = self.page_frames.get(stack.frame.index() as usize)
            {
                place = self.child(place, row)?;
                if let Some(last) = self.last_places.get_mut(handle.index() as usize) {
                    *last = Some((thread, page_number("boxes", place)?));
                }
            }
        }
        self.stacks.insert((thread, stack), place);
        Ok(place)
    }

    fn place_of_thread(
        &mut self,
        profile: &Profile,
        thread: ThreadHandle,
    ) -> Result<usize, EncodeError> {
        let process = profile.thread(thread)?.process;
        let place = self.child(0, process.index())?;
        self.child(place, thread.index())
    }

    fn child(&mut self, parent: usize, row: u32) -> Result<usize, EncodeError> {
        let above = parent
            .checked_sub(1)
            .and_then(|above| u32::try_from(above).ok());
        let (node, is_new) = self.children.find_or_add(above, row);
        let place = node as usize + 1;
        if is_new {
            page_number("boxes", place)?;
            self.nodes.push(Node { parent, row });
        }
        Ok(place)
    }
}

/// The page numbers its rows with 32 bits, the greatest of which means "none".
pub(super) fn page_number(what: &'static str, number: usize) -> Result<u32, EncodeError> {
    match u32::try_from(number) {
        Ok(number) if number < u32::MAX => Ok(number),
        _ => Err(EncodeError::TooMany {
            what,
            count: number,
        }),
    }
}

/// The same nodes, each subtree in one run, and the new number of each old one.
fn in_preorder(nodes: &[Node]) -> (Vec<Node>, Vec<u32>) {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (place, node) in nodes.iter().enumerate().skip(1) {
        if let Some(siblings) = children.get_mut(node.parent) {
            siblings.push(place);
        }
    }
    let mut ordered = Vec::with_capacity(nodes.len());
    let mut numbers = vec![0; nodes.len()];
    let mut pending = vec![(0, 0)];
    while let Some((place, parent)) = pending.pop() {
        let (Some(&node), Some(below), Some(number)) = (
            nodes.get(place),
            children.get(place),
            numbers.get_mut(place),
        ) else {
            continue;
        };
        let new_place = ordered.len();
        // Every node's number was found to fit when it was made.
        *number = u32::try_from(new_place).unwrap_or_default();
        ordered.push(Node { parent, ..node });
        pending.extend(below.iter().rev().map(|&child| (child, new_place)));
    }
    (ordered, numbers)
}
