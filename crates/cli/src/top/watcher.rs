//! Between the recorder's thread and the screen's.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use viperf_agent::{Kept, MemoryShares, Observer, Progress, Stage, Statistics};
use viperf_profile::Profile;
use viperf_tui::Live;

/// Of the rows that a profile may have, so many stay for what was seen since the reset and not in the last minute.
const PART_SINCE_RESET: usize = 4;

/// What the recorder has said.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Sampling has begun.
    pub(super) has_begun: bool,
    /// Everything worth a word, and when the last came.
    pub(super) notes: Vec<String>,
    pub(super) last_note: Option<Instant>,
    /// What is wrong with the profile.
    pub(super) error: Option<String>,
}

/// Gives a growing profile to the live view, and lets its samples go.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    pub(super) live: &'a Mutex<Live>,
    pub(super) told: &'a Mutex<Told>,
    pub(super) shares: MemoryShares,
}

impl Watcher<'_> {
    /// Takes over what is new.
    pub(super) fn take(&self, profile: &Profile) {
        // The kernel's clock would do as well, but the first sample may come late.
        let elapsed = Duration::from_nanos(profile.information.duration_ns);
        let grown = lock(self.live).grow(profile, &profile.samples, elapsed);
        if let Err(error) = grown {
            lock(self.told).error = Some(error.to_string());
        }
    }

    /// Lets go what need not be kept: the samples at once, the rows when they are many.
    pub(super) fn let_go(&self, profile: &Profile) -> Kept {
        if !self.shares.are_taken_by(profile) {
            return Kept::TablesOnly;
        }
        let kept = self.shares.profile_rows / PART_SINCE_RESET;
        if let Err(error) = lock(self.live).begin_anew(kept) {
            lock(self.told).error = Some(error.to_string());
        }
        Kept::Nothing
    }
}

impl Observer for Watcher<'_> {
    fn progress(&mut self, progress: &Progress) {
        let mut told = lock(self.told);
        told.has_begun |= progress.stage != Stage::Starting;
        if !progress.notes.is_empty() {
            told.notes.extend(progress.notes.iter().cloned());
            told.last_note = Some(Instant::now());
        }
    }

    fn grew(&mut self, profile: &Profile, _: &Statistics) -> Kept {
        self.take(profile);
        self.let_go(profile)
    }
}

/// A thread that panicked while it held one of these has ended the program.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
