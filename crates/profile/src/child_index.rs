//! The nodes of a prefix tree, found again by parent and label.
//!
//! A hash table of all nodes would do the same, with a miss of the processor's caches or two for each node. Here the children
//! of a node hang on it: who has just come down to a node has it at hand, and a new branch is made without looking anywhere
//! else. Only the children that a node has beyond the first few are in a hash table.

use std::collections::HashMap;

/// How many children of a node are looked through one after the other.
const LISTED: usize = 2;

const NONE: u32 = u32::MAX;

/// Distinct nodes in order of arrival, each with a parent that came before it and a label.
///
/// The first node is 0. There are fewer than 2^32 - 1 of them: more would take over 64 GiB.
#[derive(Clone, Debug)]
pub struct ChildIndex {
    /// By the number of the parent plus one; the first is the parent of roots.
    lists: Vec<List>,
    /// Those that are not in the list of their parent.
    others: HashMap<(u32, u32), u32>,
}

/// One node, in the list of its parent's children.
#[derive(Clone, Copy, Debug)]
struct List {
    label: u32,
    /// Its own children.
    first: u32,
    /// The next child of its parent.
    next: u32,
}

impl Default for ChildIndex {
    fn default() -> Self {
        Self {
            lists: vec![List::with_label(0)],
            others: HashMap::new(),
        }
    }
}

impl List {
    fn with_label(label: u32) -> Self {
        Self {
            label,
            first: NONE,
            next: NONE,
        }
    }
}

impl ChildIndex {
    /// The number of the child of `parent` with this label, and whether it is new: then its number is that of all nodes before
    /// it. Of a parent that is no node, no children are found again.
    pub fn find_or_add(&mut self, parent: Option<u32>, label: u32) -> (u32, bool) {
        let place = parent.map_or(0, |parent| parent as usize + 1);
        let mut child = self.lists.get(place).map_or(NONE, |list| list.first);
        let mut last = NONE;
        let mut looked_at = 0;
        while let Some(list) = self.list(child) {
            if list.label == label {
                return (child, false);
            }
            looked_at += 1;
            (last, child) = (child, list.next);
        }
        let new = u32::try_from(self.lists.len() - 1).expect("2^32 nodes take more than 48 GiB");
        if looked_at >= LISTED {
            let known = *self.others.entry((place as u32, label)).or_insert(new);
            if known != new {
                return (known, false);
            }
        } else if let Some(list) = self
            .lists
            .get_mut(last as usize + 1)
            .filter(|_| last != NONE)
        {
            list.next = new;
        } else if let Some(list) = self.lists.get_mut(place) {
            list.first = new;
        }
        self.lists.push(List::with_label(label));
        (new, true)
    }

    fn list(&self, node: u32) -> Option<List> {
        match node {
            NONE => None,
            node => self.lists.get(node as usize + 1).copied(),
        }
    }

    /// Makes room for so many nodes more.
    pub fn reserve(&mut self, nodes: usize) {
        self.lists.reserve(nodes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_finds_what_a_hash_table_of_all_nodes_finds() {
        let mut index = ChildIndex::default();
        let mut oracle: HashMap<(Option<u32>, u32), u32> = HashMap::new();
        let mut state = 1_u64;
        let mut random = |below: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32 % below
        };
        for _ in 0..100_000 {
            // Some parents have one child, a few have thousands.
            let count = oracle.len() as u32;
            let parent = match random(3) {
                0 => None,
                1 => Some(random(5)),
                _ => Some(random(count.max(1))),
            };
            let parent = parent.filter(|parent| *parent < count);
            let label = random(3_000);
            let next = count;
            let expected = *oracle.entry((parent, label)).or_insert(next);
            assert_eq!(
                index.find_or_add(parent, label),
                (expected, expected == next)
            );
        }
        assert!(index.others.len() > 1_000, "{}", index.others.len());
        assert!(
            oracle.len() > index.others.len() + 1_000,
            "{}",
            oracle.len()
        );
    }
}
