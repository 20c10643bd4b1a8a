//! What has come between two looks.

use std::collections::HashMap;
use std::time::Duration;

use viperf_profile::{Sample, StackHandle, ThreadHandle, Weight};

/// The samples of one stretch of time, summed by thread and stack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tick {
    /// How long it was.
    pub(crate) duration: Duration,
    /// What each thread was seen with.
    pub(crate) seen: HashMap<(ThreadHandle, StackHandle), Weight>,
    /// All samples.
    pub(crate) samples: u64,
    /// Those whose stack is whole.
    pub(crate) complete: u64,
    /// Samples that the kernel took and that never arrived.
    pub(crate) lost: u64,
}

impl Tick {
    /// Sums `samples` up.
    pub(crate) fn new(samples: &[Sample], duration: Duration, lost: u64) -> Self {
        let mut tick = Self {
            duration,
            lost,
            ..Self::default()
        };
        for sample in samples {
            *tick.seen.entry((sample.thread, sample.stack)).or_default() += Weight::from(sample);
            tick.samples += 1;
            tick.complete += u64::from(sample.complete);
        }
        tick
    }

    /// Makes one of two.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            duration,
            seen,
            samples,
            complete,
            lost,
        } = other;
        self.duration += *duration;
        self.samples += samples;
        self.complete += complete;
        self.lost += lost;
        for (pair, weight) in seen {
            *self.seen.entry(*pair).or_default() += *weight;
        }
    }
}
