//! What has come between two looks.

use std::collections::HashMap;
use std::time::Duration;

use viperf_profile::{ProfileError, Sample, StackHandle, ThreadHandle, Weight};

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
    /// Sums `samples` up; `find` gives the rows for theirs.
    pub(crate) fn new(
        samples: &[Sample],
        duration: Duration,
        lost: u64,
        mut find: impl FnMut(
            (ThreadHandle, StackHandle),
        ) -> Result<(ThreadHandle, StackHandle), ProfileError>,
    ) -> Result<Self, ProfileError> {
        let mut tick = Self {
            duration,
            lost,
            ..Self::default()
        };
        for sample in samples {
            let pair = find((sample.thread, sample.stack))?;
            *tick.seen.entry(pair).or_default() += Weight::from(sample);
            tick.samples += 1;
            tick.complete += u64::from(sample.complete);
        }
        Ok(tick)
    }

    /// Its rows have other numbers now, and some may have become one.
    pub(crate) fn renumber(
        &mut self,
        find: &mut impl FnMut((ThreadHandle, StackHandle)) -> (ThreadHandle, StackHandle),
    ) {
        for (pair, weight) in std::mem::take(&mut self.seen) {
            *self.seen.entry(find(pair)).or_default() += weight;
        }
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
