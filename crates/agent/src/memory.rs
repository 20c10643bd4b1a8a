//! Who may take how much of the memory that a recording may take: the one place that says so.

use viperf_abi::UnwindRow;
use viperf_profile::Profile;

use crate::{recording::RawSample, stacks::RawFrame};

/// The limit is given out in so many equal pieces.
const PIECES: usize = 64;

/// How many pieces each part has. All of them together are all that there are.
mod pieces {
    pub(super) const UNWIND_ROWS: usize = 20;
    pub(super) const WAITING_ROWS: usize = 10;
    pub(super) const SYMBOLS: usize = 7;
    pub(super) const PROFILE: usize = 8;
    pub(super) const CAPTURES: usize = 5;
    pub(super) const EXECUTABLES: usize = 3;
    pub(super) const PROCESSES: usize = 3;
    pub(super) const STACKS: usize = 4;
    /// Two places hold samples back: on the way to whoever makes the profile, and there while they have no names.
    pub(super) const WAITING_SAMPLES: usize = 2;
    pub(super) const NAMES: usize = 1;
    pub(super) const HISTORY: usize = 1;
}

/// A row of a profile, with its place in an index, in what is written of it and in what is shown of it.
const BYTES_PER_ROW: usize = 128;

/// A process or a thread, with its texts and what is known of it elsewhere.
const BYTES_PER_PROCESS: usize = 2 << 10;

/// A file that is held: what is known of its Python, its segments and its paths.
const BYTES_PER_EXECUTABLE: usize = 12 << 10;

/// The name of an address, with its file.
const BYTES_PER_NAME: usize = 256;

/// With less than this a profile would begin again all the time.
const FEWEST_ROWS: usize = 64 << 10;
const FEWEST_PROCESSES: usize = 1024;
/// A Python with its usual libraries maps a hundred.
const FEWEST_EXECUTABLES: usize = 128;
/// Rows that made room come back after half a second, in which one thread has so much.
const LEAST_CAPTURES: usize = 12 << 20;
const LEAST_STACKS: usize = 512 << 10;
const FEWEST_WAITING_SAMPLES: usize = 16 << 10;
const LEAST_HISTORY: usize = 1 << 20;

/// The parts of [`RecordOptions::max_memory`](crate::RecordOptions::max_memory): together they are the whole of it. Where it is
/// less than 160 MiB, some have more than their part, 26 MiB in all at most: with less, little could be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// Bytes of unwind rows, in the kernel.
    pub unwind_rows: usize,
    /// Unwind rows that have been built and wait for room there.
    pub waiting_rows: usize,
    /// Bytes of tables of symbols.
    pub symbols: usize,
    /// Files that are held, each by an open descriptor; those that are mapped are held even if they are more.
    pub executables: usize,
    /// Rows of the stacks of a profile that grows, until it is let go and another one begun.
    pub profile_rows: usize,
    /// Processes and threads of it.
    pub processes_and_threads: usize,
    /// Frames of stacks that are remembered to be found again; those that the kernel remembers are, even if they are more.
    pub stack_frames: usize,
    /// Bytes of copied stacks of samples that wait for rows.
    pub captures: usize,
    /// Names of addresses that need not be looked up again.
    pub names: usize,
    /// Samples that wait, in each of two places, until there is time for them.
    pub waiting_samples: usize,
    /// Bytes of what the kernel has told of mappings of processes that may be gone before they are read.
    pub mapping_history: usize,
}

impl MemoryShares {
    pub(crate) fn of(max_memory: usize) -> Self {
        let bytes = |pieces| max_memory / PIECES * pieces;
        Self {
            unwind_rows: bytes(pieces::UNWIND_ROWS),
            waiting_rows: bytes(pieces::WAITING_ROWS) / size_of::<UnwindRow>(),
            symbols: bytes(pieces::SYMBOLS),
            executables: (bytes(pieces::EXECUTABLES) / BYTES_PER_EXECUTABLE)
                .max(FEWEST_EXECUTABLES),
            profile_rows: (bytes(pieces::PROFILE) / BYTES_PER_ROW).max(FEWEST_ROWS),
            processes_and_threads: (bytes(pieces::PROCESSES) / BYTES_PER_PROCESS)
                .max(FEWEST_PROCESSES),
            stack_frames: bytes(pieces::STACKS).max(LEAST_STACKS) / size_of::<RawFrame>(),
            captures: bytes(pieces::CAPTURES).max(LEAST_CAPTURES),
            names: bytes(pieces::NAMES) / BYTES_PER_NAME,
            waiting_samples: (bytes(pieces::WAITING_SAMPLES) / 2 / size_of::<RawSample>())
                .max(FEWEST_WAITING_SAMPLES),
            mapping_history: bytes(pieces::HISTORY).max(LEAST_HISTORY),
        }
    }

    /// Whether a profile is so large that it is let go and another one begun, where that can be done: so a recording that lasts
    /// all day takes no more memory than one of minutes.
    #[must_use]
    pub fn are_taken_by(&self, profile: &Profile) -> bool {
        profile.processes.len() + profile.threads.len() > self.processes_and_threads
            || profile.row_count() > self.profile_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parts may take together, in bytes.
    fn sum(shares: &MemoryShares) -> usize {
        shares.unwind_rows
            + shares.waiting_rows * size_of::<UnwindRow>()
            + shares.symbols
            + shares.executables * BYTES_PER_EXECUTABLE
            + shares.profile_rows * BYTES_PER_ROW
            + shares.processes_and_threads * BYTES_PER_PROCESS
            + shares.stack_frames * size_of::<RawFrame>()
            + shares.captures
            + shares.names * BYTES_PER_NAME
            + 2 * shares.waiting_samples * size_of::<RawSample>()
            + shares.mapping_history
    }

    #[test]
    fn the_parts_are_together_what_may_be_taken() {
        for megabytes in [160, 256, 1000, 4096, 65_536] {
            let limit = megabytes << 20;
            let sum = sum(&MemoryShares::of(limit));
            assert!(sum <= limit, "{megabytes} MiB: {sum}");
            // Parts that are counted in things are rounded down.
            assert!(sum >= limit - limit / 1000, "{megabytes} MiB: {sum}");
        }
    }

    #[test]
    fn what_cannot_be_less_is_little() {
        for limit in [0, 1, 1 << 20, 13 << 20, 64 << 20, 159 << 20] {
            let sum = sum(&MemoryShares::of(limit));
            assert!(sum <= limit + (26 << 20), "{limit}: {sum}");
        }
    }
}
