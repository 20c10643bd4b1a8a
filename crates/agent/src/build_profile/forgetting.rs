//! What is not needed any more: what belongs to processes and files that are gone.

use std::{collections::HashSet, time::Instant};

use super::Builder;
use crate::{
    handover::{Ended, GoneFile},
    stacks::RawFrame,
};

impl Builder {
    /// Whether files are only held until samples with frames in them are named.
    pub(crate) fn holds_gone_files(&self) -> bool {
        !self.gone_files.is_empty()
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
