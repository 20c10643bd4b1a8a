//! What is not needed any more: what belongs to processes and files that are gone.

use std::{collections::HashSet, mem, sync::Arc, time::Instant};

use super::Builder;
use crate::{
    handover::{Ended, GoneFile},
    stacks::RawFrame,
};

/// So many stacks are kept before those that do not come again are looked for.
const FEWEST_STACKS: usize = 4096;

/// So many processes that are gone are held before their samples are put into a profile that nobody looks at.
const MANY_ENDED: usize = 1024;

impl Builder {
    /// Whether files, or many processes, are only held until their samples are named.
    pub(crate) fn holds_what_is_gone(&self) -> bool {
        !self.gone_files.is_empty() || self.ended.len() >= MANY_ENDED
    }

    /// Looks for stacks that do not come again, once they may be half of all.
    pub(super) fn forget_many_stacks(&mut self) {
        if self.stacks.len() >= self.look_at.max(FEWEST_STACKS) {
            self.forget_stacks();
        }
    }

    /// Lets stacks go that have their rows and that nobody else knows: whoever takes samples gives them another number if they
    /// come again. Two looks must have found that: samples that were on their way at the first one have come by the second.
    pub(super) fn forget_stacks(&mut self) {
        let waiting = self.waiting.iter().chain(self.released.iter());
        let waiting: HashSet<u32> = waiting.map(|sample| sample.stack.0).collect();
        let named = self.naming.named();
        self.stacks.retain(|number, stack| {
            let is_needed = *number >= named
                || Arc::strong_count(&stack.raw.frames) > 1
                || waiting.contains(number);
            let was_ours = mem::replace(&mut stack.is_ours, !is_needed);
            is_needed || !was_ours
        });
        self.look_at = 2 * self.stacks.len();
        self.forget_functions();
    }

    /// Lets functions go that no process has any more, and no stack that is kept.
    fn forget_functions(&mut self) {
        if self.gone_functions.is_empty() {
            return;
        }
        let frames = self.stacks.values().flat_map(|stack| &*stack.raw.frames);
        let functions = frames.filter_map(|frame| match frame {
            RawFrame::Python { function, .. } => Some(*function),
            _ => None,
        });
        let in_use: HashSet<u32> = functions.collect();
        let gone = self.gone_functions.extract_if(|one| !in_use.contains(one));
        let gone: HashSet<u32> = gone.collect();
        self.functions.retain(|number, _| !gone.contains(number));
        self.made_functions
            .retain(|number, _| !gone.contains(number));
        self.frames.retain(
            |frame, _| !matches!(frame, RawFrame::Python { function, .. } if gone.contains(function)),
        );
    }

    /// Lets go what was needed to name samples of processes and in files that are gone: all of them are in the profile.
    pub(super) fn forget_ended(&mut self, all: bool) {
        let until = self.released.added_until(self.counts.all);
        let is_past = |at: Instant| all || until.is_some_and(|until| at <= until);
        let mut with_code = HashSet::new();
        while let Some(Ended { process, .. }) = self.ended.pop_front_if(|ended| is_past(ended.at)) {
            self.processes.remove(&process);
            self.sampled.remove(&process);
            for thread in self.threads_of.remove(&process).unwrap_or_default() {
                self.threads.remove(&thread);
            }
            if self.names.forget_generated(process) {
                with_code.insert(process);
            }
        }
        let mut files = HashSet::new();
        while let Some(GoneFile { number, .. }) =
            self.gone_files.pop_front_if(|gone| is_past(gone.at))
        {
            self.names.forget_file(number);
            files.insert(number);
        }
        if !with_code.is_empty() || !files.is_empty() {
            let is_gone = |frame: &RawFrame| match frame {
                RawFrame::Address { process, .. } => with_code.contains(process),
                RawFrame::Native { executable, .. } | RawFrame::Interpreter { executable, .. } => {
                    files.contains(executable)
                }
                RawFrame::Kernel(_) | RawFrame::Python { .. } | RawFrame::Reason(_) => false,
            };
            self.frames.retain(|frame, _| !is_gone(frame));
            self.inlined.retain(|frame, _| !is_gone(frame));
        }
    }
}
