//! Stacks: a prefix tree of frames.

use crate::child_index::ChildIndex;
use crate::frame_table::FrameHandle;
use crate::table::{Handle as _, handle, row_number};
use crate::validate::ProfileError;

handle! {
    /// Names a stack of a [`StackTable`]: its leaf, and through the parents every frame down to the root.
    StackHandle
}

/// A frame and the stack it was called from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// The caller's stack; `None` when this frame is the root.
    pub parent: Option<StackHandle>,
    /// The frame on top of it.
    pub frame: FrameHandle,
}

/// Distinct stacks in order of arrival, each later than its parent.
///
/// "Later than its parent" is kept by the only ways in, so a walk from a leaf to its root always ends.
#[derive(Clone, Debug, Default)]
pub struct StackTable {
    rows: Vec<Stack>,
    /// The same rows by parent and frame.
    index: ChildIndex,
}

impl StackTable {
    /// The handle of the stack equal to `stack`, added at the end if there is none.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoSuchRow`] when the parent is not in this table.
    pub fn intern(&mut self, stack: Stack) -> Result<StackHandle, ProfileError> {
        if let Some(parent) = stack.parent
            && parent.index() as usize >= self.rows.len()
        {
            return Err(ProfileError::no_such_row("stacks", parent, self.rows.len()));
        }
        Ok(self.add(stack))
    }

    /// The handle of the stack of these frames, the root first; `None` when there are no frames.
    pub fn intern_root_first(
        &mut self,
        frames: impl IntoIterator<Item = FrameHandle>,
    ) -> Option<StackHandle> {
        let mut parent = None;
        for frame in frames {
            // The parent is what this loop has just put in, so there is nothing to check.
            parent = Some(self.add(Stack { parent, frame }));
        }
        parent
    }

    /// Its parent is in this table.
    fn add(&mut self, stack: Stack) -> StackHandle {
        let parent = stack.parent.map(StackHandle::index);
        let (index, is_new) = self.index.find_or_add(parent, stack.frame.index());
        if is_new {
            self.rows.push(stack);
        }
        StackHandle::from_index(index)
    }

    /// Makes room for so many stacks more.
    pub fn reserve(&mut self, stacks: usize) {
        self.rows.reserve(stacks);
        self.index.reserve(stacks);
    }

    /// The stack of `handle`; `None` for a handle of another profile or of a corrupt file.
    #[must_use]
    pub fn find(&self, handle: StackHandle) -> Option<Stack> {
        self.rows.get(handle.index() as usize).copied()
    }

    /// The frames of a stack from its leaf to its root; none for a handle that is not valid.
    #[must_use]
    pub fn frames_leaf_first(&self, stack: StackHandle) -> FramesLeafFirst<'_> {
        FramesLeafFirst {
            stacks: self,
            next: Some(stack),
        }
    }

    /// The frames of a stack from its root to its leaf; none for a handle that is not valid.
    #[must_use]
    pub fn frames_root_first(&self, stack: StackHandle) -> Vec<FrameHandle> {
        let mut frames: Vec<_> = self.frames_leaf_first(stack).collect();
        frames.reverse();
        frames
    }

    /// How many stacks there are, callers included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no stacks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every stack with its handle, each after its parent.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (StackHandle, Stack)> + '_ {
        self.rows
            .iter()
            .enumerate()
            .map(|(index, stack)| (StackHandle::from_index(row_number(index)), *stack))
    }
}

impl PartialEq for StackTable {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl Eq for StackTable {}

/// The frames of one stack from its leaf to its root; made by [`StackTable::frames_leaf_first`].
#[derive(Clone, Debug)]
pub struct FramesLeafFirst<'a> {
    stacks: &'a StackTable,
    next: Option<StackHandle>,
}

impl Iterator for FramesLeafFirst<'_> {
    type Item = FrameHandle;

    fn next(&mut self) -> Option<FrameHandle> {
        let stack = self.stacks.find(self.next?)?;
        self.next = stack.parent;
        Some(stack.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(index: u32) -> FrameHandle {
        FrameHandle::from_index(index)
    }

    #[test]
    fn stacks_share_their_roots() {
        let mut stacks = StackTable::default();
        let left = stacks.intern_root_first([frame(0), frame(1), frame(2)]);
        let right = stacks.intern_root_first([frame(0), frame(1), frame(3)]);
        assert_ne!(left, right);
        assert_eq!(stacks.len(), 4);
    }

    #[test]
    fn frames_come_back_in_the_order_they_went_in() {
        let mut stacks = StackTable::default();
        let frames = [frame(5), frame(5), frame(1)];
        let stack = stacks.intern_root_first(frames).unwrap();
        assert_eq!(stacks.frames_root_first(stack), frames);
        assert_eq!(
            stacks.frames_leaf_first(stack).collect::<Vec<_>>(),
            [frame(1), frame(5), frame(5)]
        );
    }

    #[test]
    fn no_frames_is_no_stack() {
        assert_eq!(StackTable::default().intern_root_first([]), None);
    }

    #[test]
    fn a_stack_cannot_name_itself_or_a_later_one_as_its_parent() {
        let mut stacks = StackTable::default();
        for index in [0, 1, u32::MAX] {
            let parent = Some(StackHandle::from_index(index));
            let answer = stacks.intern(Stack {
                parent,
                frame: frame(0),
            });
            assert!(matches!(answer, Err(ProfileError::NoSuchRow { .. })));
        }
        assert!(stacks.is_empty());
    }
}
