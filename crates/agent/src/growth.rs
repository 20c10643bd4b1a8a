//! A recording from its beginning to its end: one thread takes samples, this one makes a profile of them.
//!
//! ```text
//! ring ─► recorder (a thread of its own) ─► handover ─► builder ─► observer (the caller's thread)
//!                                                        └─► names (a thread of its own)
//! ```

use std::{
    panic,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Kept, Observer, Outcome, Progress, RecordError, RecordOptions, Stage,
    build_profile::Builder,
    handover::{Contents, Handover},
    recorder::{self, Recorded},
    statistics::{self, Costs},
};

/// So long after its batch has come a sample is put into the profile, while others go on: CPUs do not deliver in the order of
/// time, but nearly.
const HOLD_BACK: Duration = Duration::from_millis(100);

/// From the beginning of a step to that of the next there are so many times the time that it has taken: half of the time at
/// least, samples are only taken.
const PACE: u32 = 2;

/// Records a profile.
///
/// `stop` ends it; `observer` hears how it stands, and sees the profile grow if the options ask for that.
/// Samples are taken on another thread, which has the name of this one and ends before this function does.
///
/// # Errors
/// Nothing was recorded, and why.
///
/// # Panics
/// When the observer does.
pub fn record(
    options: &RecordOptions,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, RecordError> {
    observer.progress(&Progress::starting());
    viperf_process::give_freed_memory_back();
    let handover = Handover::default();
    thread::scope(|scope| {
        let _abandon = AbandonOnDrop(&handover);
        let recorder = thread::Builder::new()
            // A command has this name until its first instruction.
            .name("viperf".to_owned())
            .spawn_scoped(scope, || recorder::record_samples(options, stop, &handover))
            .map_err(|source| RecordError::NoThread { source })?;
        let mut growth = Growth::new(options, &handover);
        growth.run(observer);
        let recorded = recorder.join();
        let recorded = recorded.unwrap_or_else(|payload| panic::resume_unwind(payload))?;
        Ok(growth.end(recorded, observer))
    })
}

/// An observer that panics must not leave a thread that takes samples for ever.
struct AbandonOnDrop<'a>(&'a Handover);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

struct Growth<'run> {
    handover: &'run Handover,
    grow_every: Option<Duration>,
    builder: Builder,
    costs: Costs,
    next: Option<Instant>,
    last: Progress,
}

impl<'run> Growth<'run> {
    fn new(options: &'run RecordOptions, handover: &'run Handover) -> Self {
        Self {
            handover,
            grow_every: options.grow_every,
            builder: Builder::new(options, Arc::clone(&handover.generated)),
            costs: Costs::default(),
            next: options.grow_every.map(|every| Instant::now() + every),
            last: Progress::starting(),
        }
    }

    /// Until nothing comes any more.
    fn run(&mut self, observer: &mut dyn Observer) {
        loop {
            let Contents {
                news,
                progress,
                costs,
                has_ended,
            } = self.handover.take(self.next);
            self.builder.take(news);
            if let Some(costs) = costs {
                self.costs = costs;
            }
            if let Some(progress) = progress {
                observer.progress(&progress);
                self.last = progress;
            }
            if has_ended {
                return;
            }
            let now = Instant::now();
            if let (Some(every), Some(next)) = (self.grow_every, self.next)
                && next <= now
                // Before that there is nothing but the wait for it.
                && self.handover.started.get().is_some()
            {
                self.grow(now, observer);
                self.next = Some(now + every.max(now.elapsed() * PACE));
            } else if self.grow_every.is_none() && self.builder.holds_what_is_gone() {
                // They are held until the names in them are known: not for as long as the recording lasts.
                self.build(now, observer);
            }
        }
    }

    /// Puts into the profile what has come.
    fn build(&mut self, now: Instant, observer: &mut dyn Observer) {
        let (handover, last) = (self.handover, &mut self.last);
        let mut between_files = |_, _| {
            if let Some(progress) = handover.take_progress() {
                observer.progress(&progress);
                *last = progress;
            }
        };
        let until = now.checked_sub(HOLD_BACK).unwrap_or(now);
        self.builder.grow(Some(until), &mut between_files);
    }

    /// One step.
    fn grow(&mut self, now: Instant, observer: &mut dyn Observer) {
        self.build(now, observer);
        self.builder
            .note_costs(&self.costs, self.handover.started.get());
        let profile = self.builder.profile();
        let statistics = statistics::summarize(profile, self.builder.sample_counts(), &self.costs);
        match observer.grew(profile, &statistics) {
            Kept::Samples => {}
            Kept::TablesOnly => self.builder.let_samples_go(),
            Kept::Nothing => self.builder.begin_anew(),
        }
        if observer.wants_unnamed()
            && let Some((before, profile)) = self.builder.give_unnamed()
        {
            observer.unnamed(before, &profile);
        }
    }

    /// What is still to be built, and the profile.
    fn end(mut self, recorded: Recorded, observer: &mut dyn Observer) -> Outcome {
        let Recorded { command, costs } = recorded;
        let mut symbolizing = |done, total| {
            observer.progress(&Progress {
                stage: Stage::Symbolizing { done, total },
                rate_achieved: 0.0,
                lost: costs.lost_samples,
                elapsed: costs.sampled_for,
                notes: Vec::new(),
                ..self.last
            });
        };
        self.builder.grow(None, &mut symbolizing);
        self.builder.note_costs(&costs, self.handover.started.get());
        let counts = self.builder.sample_counts();
        let profile = self.builder.into_profile();
        let statistics = statistics::summarize(&profile, counts, &costs);
        Outcome {
            profile,
            statistics,
            command,
        }
    }
}
