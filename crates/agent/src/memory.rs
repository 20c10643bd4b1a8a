//! Who may take how much of the memory that a recording may take: the one place that says so.

use viperf_profile::Profile;

/// Tables of symbols may take so much less than unwind rows.
const PART_FOR_SYMBOLS: usize = 2;

/// A row of a profile, with its place in an index, in what is written of it and in what is shown of it, takes so much at most of
/// what unwind rows may take.
const BYTES_PER_ROW: usize = 512;

/// A process or a thread, with its texts and what is known of it elsewhere.
const BYTES_PER_PROCESS: usize = 32 << 10;

/// A file that is held: what is known of its Python, its segments, its paths, and the names of its functions that were seen.
const BYTES_PER_EXECUTABLE: usize = 256 << 10;

/// With less than this a profile would begin again all the time.
const FEWEST_ROWS: usize = 64 << 10;
const FEWEST_PROCESSES: usize = 1024;
/// A Python with its usual libraries maps a hundred.
const FEWEST_EXECUTABLES: usize = 128;

/// The parts of [`RecordOptions::max_memory`](crate::RecordOptions::max_memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// Bytes of unwind rows, in the kernel.
    pub unwind_rows: usize,
    /// Bytes of tables of symbols.
    pub symbols: usize,
    /// Files that are held, each by an open descriptor; those that are mapped are held even if they are more.
    pub executables: usize,
    /// Rows of the stacks of a profile that grows, until it is let go and another one begun.
    pub profile_rows: usize,
    /// Processes and threads of it.
    pub processes_and_threads: usize,
}

impl MemoryShares {
    pub(crate) fn of(max_memory: usize) -> Self {
        Self {
            unwind_rows: max_memory,
            symbols: max_memory / PART_FOR_SYMBOLS,
            executables: (max_memory / BYTES_PER_EXECUTABLE).max(FEWEST_EXECUTABLES),
            profile_rows: (max_memory / BYTES_PER_ROW).max(FEWEST_ROWS),
            processes_and_threads: (max_memory / BYTES_PER_PROCESS).max(FEWEST_PROCESSES),
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
