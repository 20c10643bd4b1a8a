//! From records to interned stacks: every sample ends as one number.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use viperf_abi::{Reason, Word};
use viperf_profile::SourceRange;

use crate::{
    calls::{CallMarks, mark_owners},
    code_objects::{CodeObjects, Place},
    merge::{Merged, MergedFrame, merge, merge_borrowed},
    thread_start::without_end_in_start,
};

/// A frame that means the same in every process and for the whole recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RawFrame {
    Kernel(u64),
    Native {
        executable: u32,
        svma: u64,
    },
    Interpreter {
        executable: u32,
        svma: u64,
    },
    /// In memory without a file: the address means something in that process only.
    Address {
        process: u32,
        address: u64,
    },
    Python {
        function: u32,
        source: SourceRange,
    },
    Reason(Reason),
}

/// The number of an interned stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StackNumber(pub(crate) u32);

/// A distinct stack.
#[derive(Clone, Debug)]
pub(crate) struct RawStack {
    /// Leaf first.
    pub(crate) frames: Arc<[RawFrame]>,
    pub(crate) incomplete: Option<Reason>,
}

/// The three sections of a stack as the kernel sent them.
#[derive(Debug)]
pub(crate) struct Sections {
    pub(crate) kernel: Vec<u64>,
    pub(crate) native: Vec<u64>,
    pub(crate) python: Vec<u64>,
}

/// What must be known of the files that native frames are in.
pub(crate) struct KnownFiles<'a> {
    /// The native frames of the evaluation loop, where each Python frame is a call of it.
    pub(crate) calls: Option<CallMarks<'a>>,
    /// The sample's memory is that of the process that started it.
    pub(crate) is_borrowed: bool,
    /// A C library without unwind information.
    pub(crate) is_musl: &'a dyn Fn(u32) -> bool,
}

/// Whether any run of Python frames has found its place among the native frames.
fn has_owner(python: &[u64]) -> bool {
    let is_owned = |word: &u64| matches!(Word::decode(*word), Word::Entry { owner: Some(_) });
    python.iter().any(is_owned)
}

/// All distinct stacks, and which one each slot of the kernel's caches holds.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    by_frames: HashMap<(Arc<[RawFrame]>, Option<Reason>), u32>,
    /// Frames in all of them.
    frames: usize,
    /// So many are remembered: beyond that only the stacks that the kernel knows are. One that comes again later has another
    /// number, and the same row in the profile.
    most_frames: usize,
    /// How many there may be until those that the kernel does not know are forgotten.
    forget_at: usize,
    next: u32,
    /// Those that are not complete, as far as they are remembered.
    incomplete: HashSet<u32>,
    /// Those that have not been handed over, in the order of their numbers.
    new: Vec<RawStack>,
    slots: HashMap<(u32, u32), StackNumber>,
}

impl Stacks {
    /// None, of which so many frames will be remembered.
    pub(crate) fn new(most_frames: usize) -> Self {
        Self {
            most_frames,
            ..Self::default()
        }
    }

    /// Takes a new stack: merges it and names its lines.
    pub(crate) fn define(
        &mut self,
        process: u32,
        sections: &Sections,
        codes: &CodeObjects,
        native_walked: bool,
        files: &KnownFiles<'_>,
    ) -> StackNumber {
        let Sections {
            kernel,
            native,
            python,
        } = sections;
        let marked = files.calls.map(|marks| mark_owners(native, python, marks));
        let python = marked.as_deref().unwrap_or(python);
        let native = without_end_in_start(native, python, files.is_musl);
        let mut merged = match files.is_borrowed && !has_owner(python) {
            true => merge_borrowed(kernel, native, python, native_walked),
            false => merge(kernel, native, python, native_walked),
        };
        let frames = place_frames(&mut merged, process, codes);
        self.intern(frames, merged.incomplete)
    }

    /// From now on the slot of the kernel's cache holds this stack.
    pub(crate) fn assign(&mut self, slot: (u32, u32), stack: StackNumber) {
        self.slots.insert(slot, stack);
    }

    /// The stack that the kernel's cache has in a slot; `None` if the record that brought it was lost.
    pub(crate) fn find(&self, slot: (u32, u32)) -> Option<StackNumber> {
        self.slots.get(&slot).copied()
    }

    /// Whether no frame of a stack is missing that was just defined or found.
    pub(crate) fn is_complete(&self, stack: StackNumber) -> bool {
        stack.0 < self.next && !self.incomplete.contains(&stack.0)
    }

    /// The stacks that are new since the last call, in the order of their numbers.
    pub(crate) fn take_new(&mut self) -> Vec<RawStack> {
        std::mem::take(&mut self.new)
    }

    fn forget_unknown_to_kernel(&mut self) {
        let known: HashSet<u32> = self.slots.values().map(|stack| stack.0).collect();
        self.by_frames.retain(|_, number| known.contains(number));
        self.incomplete.retain(|number| known.contains(number));
        self.frames = self.by_frames.keys().map(|(frames, _)| frames.len()).sum();
        // All that the kernel knows may be nearly as much: then it is not worth looking until there are as many more.
        self.forget_at = 2 * self.frames;
    }

    fn intern(&mut self, frames: Vec<RawFrame>, incomplete: Option<Reason>) -> StackNumber {
        let key = (Arc::from(frames), incomplete);
        if let Some(number) = self.by_frames.get(&key) {
            return StackNumber(*number);
        }
        if self.frames >= self.forget_at.max(self.most_frames) {
            self.forget_unknown_to_kernel();
        }
        let number = self.next;
        self.next += 1;
        self.frames += key.0.len();
        if incomplete.is_some() {
            self.incomplete.insert(number);
        }
        self.new.push(RawStack {
            frames: Arc::clone(&key.0),
            incomplete,
        });
        self.by_frames.insert(key, number);
        StackNumber(number)
    }
}

fn place_frames(merged: &mut Merged, process: u32, codes: &CodeObjects) -> Vec<RawFrame> {
    let mut lost = false;
    let frames = merged
        .frames
        .iter()
        .filter_map(|frame| match *frame {
            MergedFrame::Kernel(address) => Some(RawFrame::Kernel(address)),
            MergedFrame::Native { executable, svma } => Some(RawFrame::Native { executable, svma }),
            MergedFrame::Interpreter { executable, svma } => {
                Some(RawFrame::Interpreter { executable, svma })
            }
            MergedFrame::Address(address) => Some(RawFrame::Address { process, address }),
            MergedFrame::Reason(reason) => Some(RawFrame::Reason(reason)),
            MergedFrame::Python { code, unit } => match codes.place(code, unit) {
                Place::Line { function, source } => Some(RawFrame::Python { function, source }),
                Place::Hidden => None,
                Place::Unknown => {
                    lost = true;
                    Some(RawFrame::Reason(Reason::PythonCodeLost))
                }
            },
        })
        .collect();
    if lost {
        merged.incomplete.get_or_insert(Reason::PythonCodeLost);
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: KnownFiles<'_> = KnownFiles {
        calls: None,
        is_borrowed: false,
        is_musl: &|_| false,
    };

    fn sections(native: &[u64]) -> Sections {
        Sections {
            kernel: Vec::new(),
            native: native.to_vec(),
            python: Vec::new(),
        }
    }

    #[test]
    fn a_slot_means_the_last_stack_that_was_sent_for_it() {
        let (mut stacks, codes) = (Stacks::new(1000), CodeObjects::default());
        let first = stacks.define(0, &sections(&[1 << 60 | 5]), &codes, true, &NOTHING);
        stacks.assign((0, 7), first);
        assert_eq!(stacks.find((0, 7)), Some(first));
        assert_eq!(stacks.find((1, 7)), None);
        let second = stacks.define(0, &sections(&[1 << 60 | 6]), &codes, true, &NOTHING);
        stacks.assign((0, 7), second);
        assert_ne!(first, second);
        assert_eq!(stacks.find((0, 7)), Some(second));
        // The same stack from another CPU is the same stack.
        assert_eq!(
            stacks.define(0, &sections(&[1 << 60 | 5]), &codes, true, &NOTHING),
            first
        );
    }

    #[test]
    fn stacks_that_the_kernel_does_not_know_are_forgotten_and_come_again_by_another_number() {
        let (mut stacks, codes) = (Stacks::new(1000), CodeObjects::default());
        let define = |stacks: &mut Stacks, address: u64| {
            stacks.define(0, &sections(&[1 << 60 | address]), &codes, true, &NOTHING)
        };
        let kept = define(&mut stacks, 5);
        stacks.assign((0, 7), kept);
        let forgotten = define(&mut stacks, 6);
        stacks.forget_unknown_to_kernel();
        assert_eq!(define(&mut stacks, 5), kept);
        assert_eq!(stacks.find((0, 7)), Some(kept));
        let again = define(&mut stacks, 6);
        assert_ne!(again, forgotten);
        assert_eq!(stacks.take_new().len(), 3);
        assert!(stacks.is_complete(again));
        assert!(!stacks.is_complete(StackNumber(again.0 + 1)));
    }

    #[test]
    fn a_python_frame_without_definition_is_said_to_be_lost() {
        let (mut stacks, codes) = (Stacks::new(1000), CodeObjects::default());
        let python = vec![3 << 60 | 9 << 28, 4 << 60];
        let sections = Sections {
            kernel: Vec::new(),
            native: vec![1 << 60],
            python,
        };
        let number = stacks.define(0, &sections, &codes, true, &NOTHING);
        let stack = &stacks.take_new()[number.0 as usize];
        assert_eq!(stack.incomplete, Some(Reason::PythonCodeLost));
        assert!(!stacks.is_complete(number));
        stacks.forget_unknown_to_kernel();
        assert!(stacks.incomplete.is_empty());
    }
}
