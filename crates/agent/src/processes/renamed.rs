//! Programs that rename themselves while they run: setproctitle, `prctl(PR_SET_NAME)`.
//!
//! A new name of the process shows in its next sample. A new command line shows nowhere, so those of a few processes are
//! read now and then.

use std::time::{Duration, Instant};

use viperf_abi::SampleRecord;

use super::Processes;

/// A process that renames itself all the time, or has a name that is no text, is read so often at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// So many processes are read again at each roll call, which takes two milliseconds.
const READ_AT_ROLL_CALL: usize = 64;

impl Processes {
    /// A sample of a process came: its name may be another one than the one that is known.
    pub(crate) fn note_name(&mut self, index: u32, sample: &SampleRecord) {
        if sample.tid != sample.tgid {
            return;
        }
        let description = self.descriptions.find(index);
        let is_renamed =
            description.is_some_and(|description| description.is_renamed(&sample.thread_name));
        if !is_renamed {
            return;
        }
        let now = Instant::now();
        let tracked = self.tracked.get_mut(&sample.tgid);
        let tracked = tracked.filter(|tracked| tracked.description == index);
        match tracked {
            Some(tracked) if tracked.renamed.is_none_or(|then| now >= then + INTERVAL) => {
                tracked.renamed = Some(now);
                self.read_names_again(index);
            }
            // It is gone, or was asked a moment ago: its own name is in the sample.
            _ => {
                if let Some(description) = self.descriptions.find_mut(index) {
                    description.rename(&sample.thread_name);
                    self.changed.insert(index);
                }
            }
        }
    }

    /// Reads the names of some of the targets again, of others each time.
    pub(crate) fn read_some_names(&mut self) {
        let mut pids = self.pids();
        pids.sort_unstable();
        let after = pids.partition_point(|pid| *pid <= self.last_named);
        let others = pids.split_at(after);
        let due = others.1.iter().chain(others.0).take(READ_AT_ROLL_CALL);
        for pid in due.copied().collect::<Vec<_>>() {
            self.last_named = pid;
            if let Some(index) = self.tracked.get(&pid).map(|tracked| tracked.description) {
                self.read_names_again(index);
            }
        }
    }

    fn read_names_again(&mut self, index: u32) {
        let Some(description) = self.descriptions.find(index) else {
            return;
        };
        let before = description.names();
        let title_of_parent = self.title(description.parent);
        let Some(description) = self.descriptions.find_mut(index) else {
            return;
        };
        description.read_names(title_of_parent.as_deref());
        if description.names() != before {
            self.changed.insert(index);
        }
    }
}
