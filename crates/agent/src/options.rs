use std::{
    collections::BTreeMap,
    ffi::OsString,
    process::{Child, ExitStatus},
    time::Duration,
};

use viperf_profile::Profile;

/// Whom to profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These processes.
    Pids(Vec<u32>),
    /// A command, started by viperf.
    Command(Vec<OsString>),
    /// Every Python process of the machine, also those that start later.
    EveryPython,
}

/// What to record.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// Whom.
    pub target: Target,
    /// Samples per second of CPU time. Default is 99.
    pub rate_hz: u32,
    /// How long; `None` until told to stop or the target's end. Default is `None`.
    pub duration: Option<Duration>,
    /// Native frames. Default is `true`.
    pub native: bool,
    /// Kernel frames. Default is `true`.
    pub kernel: bool,
    /// Children of the targets, too. Default is `true`.
    pub follow_children: bool,
    /// Functions that compilers put into native functions, as frames of their own, where debug information tells of
    /// them. Default is `false`.
    pub inlined_functions: bool,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self {
            target: Target::EveryPython,
            rate_hz: 99,
            duration: None,
            native: true,
            kernel: true,
            follow_children: true,
            inlined_functions: false,
        }
    }
}

impl RecordOptions {
    /// Nanoseconds of CPU time between two samples.
    #[must_use]
    pub fn period_ns(&self) -> u64 {
        1_000_000_000 / u64::from(self.rate_hz.max(1))
    }
}

/// Where a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Loading programs, reading targets.
    Starting,
    /// Samples come in.
    Sampling,
    /// Addresses become names.
    Symbolizing {
        /// Files that are done.
        done: usize,
        /// Files in all.
        total: usize,
    },
}

/// What can be said of a recording while it runs.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Where it is.
    pub stage: Stage,
    /// Samples so far.
    pub samples: u64,
    /// Samples per second of the last moments, over all targets.
    pub rate_achieved: f64,
    /// Processes with samples so far.
    pub processes: usize,
    /// Samples lost so far.
    pub lost: u64,
    /// Since sampling began.
    pub elapsed: Duration,
    /// What has to be told since the last call, a sentence each.
    pub notes: Vec<String>,
}

impl Progress {
    /// Before the first sample.
    pub(crate) fn starting() -> Self {
        Self {
            stage: Stage::Starting,
            samples: 0,
            rate_achieved: 0.0,
            processes: 0,
            lost: 0,
            elapsed: Duration::ZERO,
            notes: Vec::new(),
        }
    }
}

/// The figures of a whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Samples in the profile.
    pub samples: u64,
    /// Those whose stack is whole.
    pub samples_complete: u64,
    /// Samples for which the ring had no room.
    pub samples_lost: u64,
    /// Incomplete samples by reason.
    pub incomplete: BTreeMap<String, u64>,
    /// Processes that were sampled.
    pub processes: u64,
    /// Of these samples, those of threads of a Python process that have nothing to do with Python.
    pub samples_without_python: u64,
    /// Samples per second, over all targets.
    pub rate_achieved: f64,
    /// Nanoseconds of BPF programs per sample, by the kernel's count.
    pub bpf_ns_per_sample: f64,
    /// CPU time of viperf itself, milliseconds.
    pub user_cpu_ms: f64,
    /// Largest resident memory of viperf itself.
    pub peak_rss_bytes: u64,
    /// Memory of the BPF maps.
    pub bpf_map_bytes: u64,
    /// From the call to the first sample.
    pub time_to_first_sample_ms: Option<f64>,
}

/// What a recording brought.
#[derive(Debug)]
pub struct Outcome {
    /// The profile.
    pub profile: Profile,
    /// The figures.
    pub statistics: Statistics,
    /// What became of the command, if there was one.
    pub command: Option<CommandState>,
}

/// A command at the end of its recording.
#[derive(Debug)]
pub enum CommandState {
    /// It has ended.
    Ended(ExitStatus),
    /// It goes on.
    Running(Child),
}
