//! Samples merged into one call tree (the whole, its processes, their threads, their frames), and where in it each ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use viperf_profile::{FunctionHandle, Handle as _, Profile, Sample, StackHandle, ThreadHandle};

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
    let mut builder = Builder::new(profile)?;
    let mut in_order: Vec<&Sample> = profile.samples.iter().collect();
    in_order.sort_by_key(|sample| sample.time_ns);
    let mut places = Vec::with_capacity(in_order.len());
    for sample in &in_order {
        places.push(builder.place_of_stack(sample.thread, sample.stack)?);
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

struct Builder<'a> {
    profile: &'a Profile,
    frames: Vec<PageFrame>,
    /// The page's frame of each frame of the profile.
    page_frames: Vec<u32>,
    nodes: Vec<Node>,
    children: HashMap<(usize, u32), usize>,
    /// Where the stacks of a thread end: most of a stack was placed with one before.
    stacks: HashMap<(ThreadHandle, StackHandle), usize>,
}

impl<'a> Builder<'a> {
    fn new(profile: &'a Profile) -> Result<Self, EncodeError> {
        let mut frames = Vec::new();
        let mut numbers = HashMap::new();
        let mut page_frames = Vec::with_capacity(profile.frames.len());
        for (_, frame) in profile.frames.iter() {
            let page_frame = PageFrame {
                function: frame.function,
                line: frame.source.line,
            };
            let number = *numbers.entry(page_frame).or_insert(frames.len());
            if number == frames.len() {
                frames.push(page_frame);
            }
            page_frames.push(page_number("frames", number)?);
        }
        let root = Node { parent: 0, row: 0 };
        Ok(Self {
            profile,
            frames,
            page_frames,
            nodes: vec![root],
            children: HashMap::new(),
            stacks: HashMap::new(),
        })
    }

    fn place_of_stack(
        &mut self,
        thread: ThreadHandle,
        stack: StackHandle,
    ) -> Result<usize, EncodeError> {
        let mut pending = Vec::new();
        let mut next = Some(stack);
        let mut place = None;
        while let Some(handle) = next {
            place = self.stacks.get(&(thread, handle)).copied();
            if place.is_some() {
                break;
            }
            pending.push(handle);
            next = self
                .profile
                .stacks
                .find(handle)
                .and_then(|stack| stack.parent);
        }
        let mut place = match place {
            Some(place) => place,
            None => self.place_of_thread(thread)?,
        };
        for handle in pending.into_iter().rev() {
            if let Some(stack) = self.profile.stacks.find(handle)
                && let Some(&row) = self.page_frames.get(stack.frame.index() as usize)
            {
                place = self.child(place, row)?;
                self.stacks.insert((thread, handle), place);
            }
        }
        Ok(place)
    }

    fn place_of_thread(&mut self, thread: ThreadHandle) -> Result<usize, EncodeError> {
        let process = self.profile.thread(thread)?.process;
        let place = self.child(0, process.index())?;
        self.child(place, thread.index())
    }

    fn child(&mut self, parent: usize, row: u32) -> Result<usize, EncodeError> {
        let next = self.nodes.len();
        match self.children.entry((parent, row)) {
            Entry::Occupied(place) => Ok(*place.get()),
            Entry::Vacant(vacant) => {
                page_number("boxes", next)?;
                vacant.insert(next);
                self.nodes.push(Node { parent, row });
                Ok(next)
            }
        }
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
