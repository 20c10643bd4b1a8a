//! The native file, written while the recording goes on: whatever ends viperf, what was recorded is there but for the last
//! second.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use viperf_agent::{Kept, MemoryShares, Observer, Outcome, Progress, Statistics};
use viperf_encode::viperf_file;
use viperf_profile::Profile;

use super::live::RecordObserver;
use super::plan::RecordPlan;
use crate::exit::Failure;
use crate::output::{Destination, GrowingOutput};
use crate::quantities::{show_counted, show_elapsed};

/// With what is held back for the order of time, and the wait for names, this is less than a second.
pub(super) const GROW_EVERY: Duration = Duration::from_millis(700);

/// Writes what is new, and tells the terminal and the live page how it stands.
#[derive(Debug)]
pub(super) struct GrowingFile<'run> {
    inner: RecordObserver<'run>,
    destination: &'run Destination,
    /// To end a recording that nobody would ever see.
    stop: &'run AtomicBool,
    kept: Kept,
    shares: MemoryShares,
    writer: viperf_file::Writer,
    output: Option<GrowingOutput>,
    bytes: u64,
    /// What stands in the file.
    written: Written,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Written {
    samples: u64,
    duration: Duration,
}

impl<'run> GrowingFile<'run> {
    pub(super) fn new(
        inner: RecordObserver<'run>,
        plan: &'run RecordPlan,
        stop: &'run AtomicBool,
    ) -> Self {
        // Which files' texts are wanted is told by the samples, and a live page has them all.
        let with_samples = plan.embed_source || !plan.sources.is_empty() || plan.live.is_some();
        let options = plan.encode_options.viperf_file.clone();
        Self {
            inner,
            destination: &plan.destination,
            stop,
            kept: match with_samples {
                true => Kept::Samples,
                false => Kept::TablesOnly,
            },
            shares: plan.options.memory_shares(),
            writer: viperf_file::Writer::new(options),
            output: None,
            bytes: 0,
            written: Written::default(),
            failure: None,
        }
    }

    /// Takes the line of progress away.
    pub(super) fn clear_status(&mut self) {
        self.inner.clear();
    }

    /// Writes what is left; how many bytes there are in all.
    pub(super) fn finish(mut self, outcome: &Outcome) -> Result<u64, Failure> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let bits = self
            .begin(&outcome.profile)
            .and_then(|mut bits| {
                let writer = std::mem::replace(
                    &mut self.writer,
                    viperf_file::Writer::new(viperf_file::Options::default()),
                );
                bits.extend(writer.finish(&outcome.profile).map_err(io::Error::other)?);
                Ok(bits)
            })
            .and_then(|bits| self.write(&bits));
        bits.map_err(|error| self.describe(&error))?;
        Ok(self.bytes)
    }

    /// The first bytes of the file, if they are not written.
    fn begin(&mut self, profile: &Profile) -> io::Result<Vec<u8>> {
        if self.output.is_some() {
            return Ok(Vec::new());
        }
        let first = self.writer.begin(&profile.information);
        let first = first.map_err(io::Error::other)?;
        self.output = Some(self.destination.begin()?);
        Ok(first)
    }

    fn append(&mut self, profile: &Profile) -> io::Result<()> {
        let mut bits = self.begin(profile)?;
        bits.extend(self.writer.append(profile).map_err(io::Error::other)?);
        self.write(&bits)
    }

    /// What has been written need not be kept: the samples at once, the rows when they are many.
    fn let_go(&mut self, profile: &Profile) -> Kept {
        match self.kept {
            Kept::Samples => Kept::Samples,
            Kept::TablesOnly | Kept::Nothing if self.shares.are_taken_by(profile) => {
                self.writer.profile_begins_anew();
                Kept::Nothing
            }
            Kept::TablesOnly | Kept::Nothing => {
                self.writer.samples_were_taken_out();
                Kept::TablesOnly
            }
        }
    }

    fn write(&mut self, bits: &[u8]) -> io::Result<()> {
        if let Some(output) = self.output.as_mut().filter(|_| !bits.is_empty()) {
            output.append(bits)?;
            self.bytes += bits.len() as u64;
        }
        Ok(())
    }

    /// What happened, and what there is nevertheless.
    fn describe(&self, error: &io::Error) -> Failure {
        let place = self.destination.shown();
        let Written { samples, duration } = self.written;
        let samples = show_counted(samples, "sample", "samples");
        let has_gone = error.kind() == io::ErrorKind::BrokenPipe;
        Failure::failed(match self.bytes {
            _ if has_gone => format!(
                "whoever read {place} has gone, so the recording has ended; {samples} of the first {} were written",
                show_elapsed(duration)
            ),
            0 => format!("{place} cannot be written: {error}; choose another place with -o"),
            _ => format!(
                "{place} cannot be written any further: {error}; so the recording has ended, and the file holds \
                 {samples} of its first {}; make room, or choose another place with -o",
                show_elapsed(duration)
            ),
        })
    }
}

impl GrowingFile<'_> {
    fn append_unnamed(&mut self, before: u64, profile: &Profile) -> io::Result<()> {
        let bits = self.writer.append_unnamed(before, profile);
        self.write(&bits.map_err(io::Error::other)?)
    }

    /// Nobody would ever see what comes now.
    fn give_up(&mut self, error: &io::Error) {
        self.failure = Some(self.describe(error));
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Observer for GrowingFile<'_> {
    fn progress(&mut self, progress: &Progress) {
        self.inner.progress(progress);
    }

    fn grew(&mut self, profile: &Profile, statistics: &Statistics) -> Kept {
        self.inner.grew(profile, statistics);
        let mut kept = self.kept;
        if self.failure.is_none() {
            match self.append(profile) {
                Ok(()) => {
                    kept = self.let_go(profile);
                    self.written = Written {
                        samples: statistics.samples,
                        duration: Duration::from_nanos(profile.information.duration_ns),
                    };
                }
                Err(error) => self.give_up(&error),
            }
        }
        kept
    }

    fn wants_unnamed(&self) -> bool {
        self.failure.is_none()
    }

    fn unnamed(&mut self, before: u64, profile: &Profile) {
        if let Err(error) = self.append_unnamed(before, profile) {
            self.give_up(&error);
        }
    }
}
