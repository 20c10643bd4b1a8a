//! Processes that have ended, until nothing of them is still to come.
//!
//! What was learnt of a process is needed for as long as its samples come: stacks that wait for unwind rows come late, and so
//! do records of other CPUs. After that it is let go, or a recording that lasts all day would hold every process of the day.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Records of one moment come within milliseconds of each other.
const GRACE: Duration = Duration::from_secs(2);

/// A process may be found to be gone before its last records are read: the ring is emptied so often after that.
const ROUNDS: u64 = 3;

#[derive(Debug, Default)]
pub(super) struct Departed {
    ends: VecDeque<End>,
    /// How often the ring has been emptied.
    round: u64,
}

#[derive(Debug)]
struct End {
    at: Instant,
    round: u64,
    epoch: u32,
    description: u32,
}

impl Departed {
    /// A process has ended, or runs another program.
    pub(super) fn note(&mut self, epoch: u32, description: u32) {
        self.ends.push_back(End {
            at: Instant::now(),
            round: self.round,
            epoch,
            description,
        });
    }

    /// Those of which nothing is still to come, by epoch and description, as `is_awaited` is asked for them. Asked once each time the ring has been emptied.
    pub(super) fn take(
        &mut self,
        now: Instant,
        is_awaited: impl Fn(u32, u32) -> bool,
    ) -> Vec<(u32, u32)> {
        self.round += 1;
        let round = self.round;
        let mut over = Vec::new();
        let mut awaited = Vec::new();
        let is_past = |end: &mut End| {
            now.saturating_duration_since(end.at) >= GRACE && round >= end.round + ROUNDS
        };
        while let Some(end) = self.ends.pop_front_if(is_past) {
            match is_awaited(end.epoch, end.description) {
                true => awaited.push(End { at: now, ..end }),
                false => over.push((end.epoch, end.description)),
            }
        }
        self.ends.extend(awaited);
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_over_after_a_while_unless_a_stack_of_it_is_awaited() {
        let mut departed = Departed::default();
        departed.note(1, 10);
        departed.note(2, 20);
        let now = Instant::now();
        assert!(departed.take(now, |_, _| false).is_empty());
        let later = now + GRACE;
        // The ring may not have been emptied since.
        assert!(departed.take(later, |_, _| false).is_empty());
        assert_eq!(departed.take(later, |epoch, _| epoch == 1), [(2, 20)]);
        assert!(departed.take(later, |_, _| false).is_empty());
        assert_eq!(departed.take(later + GRACE, |_, _| false), [(1, 10)]);
    }
}
