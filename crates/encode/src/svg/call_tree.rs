//! Samples merged into the boxes of the picture.

use std::collections::BTreeMap;

use viperf_profile::{FrameKind, Profile, ProfileError, ThreadHandle};

use crate::folded;
use crate::stack_tree::{FrameRows, StackTree, Unit, is_hidden};
use crate::svg::Options;

/// What a box is called and coloured by.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) text: String,
    /// `None` for a process and for the whole.
    pub(super) kind: Option<FrameKind>,
}

/// One box: samples and time of its own and of what is below it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) label: usize,
    pub(super) samples: u64,
    pub(super) amount: u64,
    pub(super) children: Vec<usize>,
}

/// The boxes; the first is the whole.
#[derive(Debug)]
pub(super) struct CallTree {
    pub(super) labels: Vec<Label>,
    pub(super) nodes: Vec<Node>,
    pub(super) unit: Unit,
    /// How many boxes are too narrow.
    pub(super) left_out: usize,
}

/// One row of samples: the node of its stack, how many they are, and what they weigh.
type Row = (Option<u32>, u64, u64);

/// The tree of all samples, without what is narrower than `narrowest` of the whole, a share from 0 to 1; children stand in
/// the order of their labels.
pub(super) fn build(
    profile: &Profile,
    options: &Options,
    narrowest: f64,
) -> Result<CallTree, ProfileError> {
    let frames = FrameRows::build(profile, |frame, function| {
        let shown = !is_hidden(function.kind, options.interpreter_frames);
        shown.then_some((frame.function, frame.source.line))
    })?;
    let stacks = StackTree::build(profile, &frames);
    let unit = Unit::of(profile);
    let mut processes: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let (mut samples, mut whole) = (0, 0_u64);
    for row in profile.aggregate() {
        let amount = unit.amount(row.count, row.weight_ns);
        samples += row.count;
        whole = whole.saturating_add(amount);
        let process = process_name(profile, row.thread, options)?;
        let rows = processes.entry(process).or_default();
        rows.push((stacks.find(row.stack), row.count, amount));
    }
    let mut builder = Builder::new(&stacks, whole as f64 * narrowest);
    for &(function, line) in &frames.rows {
        builder.labels.push(Label {
            text: folded::describe(profile, function, line)?,
            kind: Some(profile.function(function)?.kind),
        });
    }
    let root = builder.label("all".to_owned());
    builder.push(None, root, (samples, whole));
    for (name, rows) in processes {
        builder.add_process(name, &rows);
    }
    Ok(builder.finish(unit))
}

fn process_name(
    profile: &Profile,
    thread: ThreadHandle,
    options: &Options,
) -> Result<String, ProfileError> {
    let process = profile.process(profile.thread(thread)?.process)?;
    Ok(match options.merge_processes {
        true => profile.string(process.name)?.to_owned(),
        false => format!(
            "{} ({})",
            profile.string(process.shown_name())?,
            process.pid
        ),
    })
}

struct Builder<'a> {
    stacks: &'a StackTree,
    /// Boxes of less than this are left out.
    narrowest: f64,
    labels: Vec<Label>,
    nodes: Vec<Node>,
    left_out: usize,
    /// Samples and amount of each node in the process in hand.
    totals: Vec<(u64, u64)>,
    /// Its box there, which is 0, the whole, where it has none.
    boxes: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn new(stacks: &'a StackTree, narrowest: f64) -> Self {
        Self {
            stacks,
            narrowest,
            labels: Vec::new(),
            nodes: Vec::new(),
            left_out: 0,
            totals: vec![(0, 0); stacks.len()],
            boxes: vec![0; stacks.len()],
        }
    }

    fn label(&mut self, text: String) -> usize {
        self.labels.push(Label { text, kind: None });
        self.labels.len() - 1
    }

    /// The place of a new box; `None` if it is too narrow.
    fn push(
        &mut self,
        parent: Option<usize>,
        label: usize,
        (samples, amount): (u64, u64),
    ) -> Option<usize> {
        if parent.is_some() && (amount as f64) < self.narrowest {
            self.left_out += 1;
            return None;
        }
        let place = self.nodes.len();
        self.nodes.push(Node {
            label,
            samples,
            amount,
            children: Vec::new(),
        });
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(parent)) {
            parent.children.push(place);
        }
        Some(place)
    }

    fn add_process(&mut self, name: String, rows: &[Row]) {
        let stacks = self.stacks;
        let mut touched = Vec::new();
        let (mut samples, mut whole) = (0, 0_u64);
        for &(node, count, amount) in rows {
            samples += count;
            whole = whole.saturating_add(amount);
            let mut next = node;
            while let Some(number) = next {
                if let Some(total) = self.totals.get_mut(number as usize) {
                    if total.0 == 0 {
                        touched.push(number);
                    }
                    total.0 += count;
                    total.1 = total.1.saturating_add(amount);
                }
                next = stacks.node(number).and_then(|(_, parent)| parent);
            }
        }
        let label = self.label(name);
        let process = self.push(Some(0), label, (samples, whole));
        // Parents have the lower numbers, and are as wide at least.
        touched.sort_unstable();
        for &number in &touched {
            let (Some((row, parent)), Some(&total)) =
                (stacks.node(number), self.totals.get(number as usize))
            else {
                continue;
            };
            let parent = match parent {
                Some(parent) => self.boxes.get(parent as usize).copied(),
                None => process,
            };
            let place = self.push(Some(parent.unwrap_or(0)), row as usize, total);
            if let (Some(place), Some(slot)) = (place, self.boxes.get_mut(number as usize)) {
                *slot = place;
            }
        }
        for number in touched {
            if let Some(total) = self.totals.get_mut(number as usize) {
                *total = (0, 0);
            }
        }
    }

    fn finish(mut self, unit: Unit) -> CallTree {
        let label_of: Vec<usize> = self.nodes.iter().map(|node| node.label).collect();
        let text = |place: &usize| {
            let label = label_of
                .get(*place)
                .and_then(|label| self.labels.get(*label));
            label.map_or("", |label| label.text.as_str())
        };
        for node in &mut self.nodes {
            node.children.sort_by_key(text);
        }
        CallTree {
            labels: self.labels,
            nodes: self.nodes,
            unit,
            left_out: self.left_out,
        }
    }
}
