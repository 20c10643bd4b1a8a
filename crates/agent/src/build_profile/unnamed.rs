//! Samples that wait for their names.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    time::Instant,
};

use viperf_profile::{Profile, Sample, StackHandle, Thread, ThreadHandle};

use super::Builder;
use crate::recording::RawSample;

/// Samples in the order in which they go into the profile. None comes between two of them any more.
#[derive(Debug, Default)]
pub(super) struct Released {
    samples: VecDeque<RawSample>,
    /// How many there have been, those included that are in the profile.
    all: u64,
    /// How many there had been when it was released what had come by a time, the earliest first.
    releases: VecDeque<(Instant, u64)>,
    added_until: Option<Instant>,
    /// How many have been given out before they had names, those included that had them at once.
    given: u64,
}

impl Released {
    /// Adds what had come by a time.
    pub(super) fn put(&mut self, samples: Vec<RawSample>, until: Option<Instant>) {
        self.all += samples.len() as u64;
        self.samples.extend(samples);
        if let Some(until) = until {
            self.releases.push_back((until, self.all));
        }
    }

    /// Takes the first one, if it is so.
    pub(super) fn take_if(&mut self, is_so: impl Fn(&RawSample) -> bool) -> Option<RawSample> {
        self.samples.pop_front_if(|sample| is_so(sample))
    }

    /// All that had come by this time is among the first `added`.
    pub(super) fn added_until(&mut self, added: u64) -> Option<Instant> {
        let is_added = |release: &mut (Instant, u64)| release.1 <= added;
        while let Some((until, _)) = self.releases.pop_front_if(is_added) {
            self.added_until = Some(until);
        }
        self.added_until
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RawSample> {
        self.samples.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }
}

impl Builder {
    /// The samples that wait for names and were not given out before, as a profile of their own with the names that are known,
    /// and how many samples of the recording come before them.
    pub(crate) fn give_unnamed(&mut self) -> Option<(u64, Profile)> {
        let added = self.counts.all;
        let first = self.released.given.max(added);
        let given = usize::try_from(first - added).ok()?;
        let samples: Vec<RawSample> = self.released.iter().skip(given).copied().collect();
        if samples.is_empty() {
            return None;
        }
        self.released.given = first + samples.len() as u64;
        // The rows of the other profile are for those with names.
        let profile = mem::take(&mut self.profile);
        let frames = mem::take(&mut self.frames);
        let inlined = mem::take(&mut self.inlined);
        let made_functions = mem::take(&mut self.made_functions);
        let mut stacks = HashMap::new();
        for sample in samples {
            if let Some(sample) = self.unnamed_sample(&sample, &mut stacks) {
                self.profile.samples.push(sample);
            }
        }
        self.frames = frames;
        self.inlined = inlined;
        self.made_functions = made_functions;
        Some((first, mem::replace(&mut self.profile, profile)))
    }

    fn unnamed_sample(
        &mut self,
        sample: &RawSample,
        stacks: &mut HashMap<u32, StackHandle>,
    ) -> Option<Sample> {
        let number = sample.stack.0;
        let raw = self.stacks.get(&number)?.raw.clone();
        let stack = match stacks.get(&number) {
            Some(stack) => *stack,
            None => {
                let stack = self.add_stack(&raw)?;
                stacks.insert(number, stack);
                stack
            }
        };
        Some(Sample {
            time_ns: sample.time_ns.saturating_sub(self.first_ns?),
            weight_ns: sample.weight_ns.into(),
            cpu: sample.cpu,
            thread: self.unnamed_thread(sample.thread)?,
            stack,
            complete: raw.incomplete.is_none(),
        })
    }

    fn unnamed_thread(&mut self, number: u32) -> Option<ThreadHandle> {
        let thread = &self.threads.get(&number)?.description;
        let process = &self.processes.get(&thread.process)?.description;
        let profile = &mut self.profile;
        let process = process.intern(&mut profile.strings);
        let process = profile.processes.intern(process);
        let name = profile.strings.intern(&thread.name);
        Some(profile.threads.intern(Thread {
            process,
            tid: thread.tid,
            name,
        }))
    }
}
