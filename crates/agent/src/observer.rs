//! Who watches a recording.

use viperf_profile::Profile;

use crate::{Progress, Statistics};

/// What becomes of the samples that an [`Observer`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// They stay: the profile at the end holds all of them.
    Samples,
    /// They are let go, and the tables stay: memory is bounded by what is distinct, however long it lasts. The next profile
    /// holds the samples that came since, and so does the one at the end.
    TablesOnly,
    /// Samples and tables are let go: memory is bounded by what is distinct since this was last said. The next profile begins
    /// empty and goes on with the same recording: with its information, its losses and the time since its beginning. Rows that
    /// are needed again are made again.
    Nothing,
}

/// Who watches a recording while it runs.
///
/// Both methods are called on the thread that called [`record`](crate::record), never at the same time.
/// Sampling goes on meanwhile on a thread of its own; an observer that takes longer than samples come has them wait for
/// it, up to two million, and what is beyond that is counted as lost.
pub trait Observer {
    /// How it stands, about four times a second.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }

    /// The profile has grown; called about every [`RecordOptions::grow_every`](crate::RecordOptions::grow_every), not at all
    /// when that is `None`, and not after the end: what has come since the last call is in
    /// [`Outcome::profile`](crate::Outcome::profile).
    ///
    /// **What may be relied on.** It is one profile that grows. Rows are added at the end of a table and keep their place,
    /// so handles of an earlier call mean the same in a later one, until [`Kept::Nothing`] was said.
    /// They keep their contents too, but for those of processes and threads, whose names are often learnt after their first
    /// sample: such a row always says what was last known.
    /// Samples are added at the end, in the order of time over all CPUs; those of the last tenth of a second are held back for
    /// that.
    /// A sample that came later than that all the same (viperf itself got no CPU) stands where it came.
    ///
    /// `statistics` are those of the recording so far, samples that were let go included.
    fn grew(&mut self, profile: &Profile, statistics: &Statistics) -> Kept {
        let _ = (profile, statistics);
        Kept::Samples
    }

    /// Whether [`unnamed`](Self::unnamed) is to be called.
    fn wants_unnamed(&self) -> bool {
        false
    }

    /// Samples that wait for their names, which can take seconds in a large program; called after [`grew`](Self::grew), for
    /// each sample at most once. They come again in a later profile, with their names.
    ///
    /// `profile` has rows of its own, and a frame without its name has the address. Of all samples of the recording in the
    /// order in which they come into the profile, `before` come before the first of these.
    fn unnamed(&mut self, before: u64, profile: &Profile) {
        let _ = (before, profile);
    }
}
