//! Samples.

use crate::stack_table::StackHandle;
use crate::thread_table::ThreadHandle;

/// One stack at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `CLOCK_MONOTONIC` nanoseconds since the profile's start.
    pub time_ns: u64,
    /// The time this sample stands for, in nanoseconds.
    pub weight_ns: u64,
    /// The CPU it was taken on.
    pub cpu: u32,
    /// The thread that was running.
    pub thread: ThreadHandle,
    /// What it was running.
    pub stack: StackHandle,
    /// Native walk ended at the thread's root, Python walk at the last frame, and every run of Python frames found its
    /// place among the native frames.
    pub complete: bool,
}

// A minute of 64 CPUs at 999 Hz is four million samples: a field more is felt.
const _: () = assert!(size_of::<Sample>() == 32);
