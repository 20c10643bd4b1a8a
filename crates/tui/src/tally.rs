//! What each row of a table takes.

use std::collections::HashMap;

use viperf_profile::{FrameKind, StackHandle, ThreadHandle};

use crate::history::{Parts, Window};
use crate::live::{FrameFacts, Live};
use crate::view::{Key, Selection, View};

/// What one row takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Samples of its own: of a Python function with the C and kernel code that it calls directly, of everything else
    /// those whose leaf it is; of a thread or process, all.
    pub(crate) own: Parts,
    /// Samples with it anywhere in the stack; each once.
    pub(crate) total: Parts,
    /// Of a thread or process: samples that ran bytecode, and so held the GIL.
    pub(crate) gil: Parts,
    /// Of a thread or process: samples that were waiting for the GIL, on the CPU.
    pub(crate) gil_wait: Parts,
    /// The last sample that was counted in `total`, from 1.
    counted: usize,
}

/// What every row takes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// All samples of the selection.
    pub(crate) whole: Parts,
    pub(crate) rows: HashMap<Key, Figures>,
}

/// The stacks of the selected threads with what they weigh.
pub(crate) fn selected(
    live: &Live,
    window: Window,
    selection: Selection,
) -> Vec<(ThreadHandle, StackHandle, Parts)> {
    let is_selected = |thread, stack| {
        selection.has_thread(live.profile(), thread)
            && selection.function.is_none_or(|function| {
                live.frames_leaf_first(stack)
                    .any(|facts| facts.frame.function == function)
            })
    };
    live.parts(window)
        .into_iter()
        .filter(|((thread, stack), _)| is_selected(*thread, *stack))
        .map(|((thread, stack), parts)| (thread, stack, parts))
        .collect()
}

/// Sums up what each row of `view` takes.
pub(crate) fn tally(live: &Live, view: View, window: Window, selection: Selection) -> Tally {
    let mut tally = Tally::default();
    let samples = selected(live, window, selection);
    for (number, (thread, stack, parts)) in samples.into_iter().enumerate() {
        tally.whole += parts;
        match view {
            View::Processes | View::Threads => tally.add_thread(live, view, thread, stack, parts),
            _ => tally.add_frames(live, view, stack, parts, number + 1),
        }
    }
    tally
}

impl Tally {
    fn add_thread(
        &mut self,
        live: &Live,
        view: View,
        thread: ThreadHandle,
        stack: StackHandle,
        parts: Parts,
    ) {
        let Ok(thread) = live.profile().thread(thread) else {
            return;
        };
        let key = match view {
            View::Processes => Key::Process(thread.process),
            _ => Key::Thread(thread.process, thread.tid),
        };
        let row = self.rows.entry(key).or_default();
        row.own += parts;
        row.total += parts;
        match gil_use(live.frames_leaf_first(stack)) {
            Some(GilUse::Holds) => row.gil += parts,
            Some(GilUse::Waits) => row.gil_wait += parts,
            None => {}
        }
    }

    fn add_frames(
        &mut self,
        live: &Live,
        view: View,
        stack: StackHandle,
        parts: Parts,
        number: usize,
    ) {
        // Python code is charged for the C code that it calls; everything else for its leaves.
        let is_of_python = matches!(view, View::Functions | View::Lines);
        let mut is_owned = false;
        for (depth, facts) in live.frames_leaf_first(stack).enumerate() {
            let Some(key) = Key::of_frame(view, facts) else {
                is_owned |= is_of_python && facts.kind == FrameKind::Python;
                continue;
            };
            let row = self.rows.entry(key).or_default();
            if !is_owned && (is_of_python || depth == 0) {
                row.own += parts;
                is_owned = true;
            }
            if row.counted != number {
                row.counted = number;
                row.total += parts;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GilUse {
    Holds,
    Waits,
}

/// What a stack says of the GIL: who runs bytecode has it, who takes it waits for it. C code that was called from
/// Python may have given it away, so of that nothing is said.
fn gil_use<'a>(leaf_first: impl Iterator<Item = &'a FrameFacts>) -> Option<GilUse> {
    for (depth, facts) in leaf_first.enumerate() {
        match facts.kind {
            FrameKind::Python if depth == 0 => return Some(GilUse::Holds),
            FrameKind::Python => return None,
            _ if facts.takes_gil => return Some(GilUse::Waits),
            _ => {}
        }
    }
    None
}
