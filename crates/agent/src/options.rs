use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    process::{Child, ExitStatus},
    time::Duration,
};

use viperf_profile::Profile;
use viperf_sample::Clock;

use crate::memory::MemoryShares;

/// Whom to profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These processes.
    Pids(Vec<u32>),
    /// A command, started by viperf.
    Command(Vec<OsString>),
    /// Every Python process of the machine, also those that start later.
    EveryPython,
    /// Every process of the machine, threads of the kernel included.
    EveryProcess,
    /// What runs in a control group and below it: a folder below `/sys/fs/cgroup`, or its path from there.
    ControlGroup(PathBuf),
    /// What runs in the container whose ID, or name if it has none, begins so.
    Container(String),
}

/// 256 MiB: 80 of them are ten million unwind rows, more than all Python programs of most machines need together.
pub const DEFAULT_MAX_MEMORY: usize = 256 << 20;

/// What to record.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// Whom.
    pub target: Target,
    /// Of these only processes that the kernel knows by this name (its first 15 bytes); default is `None`: all.
    pub name: Option<String>,
    /// Samples per second of CPU time. Default is 99.
    pub rate_hz: u32,
    /// What samples are taken by. Default is an event of viperf's own.
    pub clock: Clock,
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
    /// How often the observer gets the profile as it has grown; `None` to make the profile at the end. Names of addresses are
    /// looked up at each step, so a profile that nobody looks at while it grows costs the machine less. Default is `None`.
    pub grow_every: Option<Duration>,
    /// Bytes that what grows with what runs may take, each kind a part of it: see [`MemoryShares`]. What was not needed for the
    /// longest time makes room for others. Default is [`DEFAULT_MAX_MEMORY`].
    pub max_memory: usize,
    /// The part of the CPU time of all CPUs, 0 to 1, that recording may cost, in the kernel and in viperf: the rate is lowered
    /// to keep it, to one sample a second at the least, and comes back when there is room. Default is `None`: no limit.
    pub max_cpu: Option<f64>,
    /// The file to whose end the command's standard output and error go, for a terminal that is taken; its standard input is
    /// empty then. `None` for those that viperf has. Default is `None`.
    pub command_output: Option<PathBuf>,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self {
            target: Target::EveryPython,
            name: None,
            rate_hz: 99,
            clock: Clock::Event,
            duration: None,
            native: true,
            kernel: true,
            follow_children: true,
            inlined_functions: false,
            grow_every: None,
            max_memory: DEFAULT_MAX_MEMORY,
            max_cpu: None,
            command_output: None,
        }
    }
}

impl Target {
    /// Whether every Python of the machine is looked for.
    #[must_use]
    pub fn wants_every_python(&self) -> bool {
        matches!(self, Self::EveryPython | Self::EveryProcess)
    }
}

impl RecordOptions {
    /// Who may take how much of [`max_memory`](Self::max_memory).
    #[must_use]
    pub fn memory_shares(&self) -> MemoryShares {
        MemoryShares::of(self.max_memory)
    }

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
    /// Samples in the profile, those that an observer has let go included.
    pub samples: u64,
    /// Those whose stack is whole.
    pub samples_complete: u64,
    /// Samples for which the ring had no room, or that nobody took in time.
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
    /// Memory of unwind rows at the end, which is also the most that there was.
    pub unwind_row_bytes: u64,
    /// Files whose unwind rows made room for others.
    pub unwind_tables_evicted: u64,
    /// Files whose unwind rows came back after that.
    pub unwind_tables_reloaded: u64,
    /// Files whose unwind rows found no room at some time.
    pub unwind_tables_without_room: u64,
    /// Executables and libraries that are held at the end, each by an open descriptor.
    pub executables_open: u64,
    /// Those that no process had mapped any more and that made room for others; one that is mapped again is opened again.
    pub executables_evicted: u64,
    /// Samples that the kernel could not walk because a mapping or its rows were new; user space has finished them.
    pub samples_deferred: u64,
    /// From the first such sample to the moment when it was finished, the longest: how soon a library that is loaded later
    /// is walked in the kernel.
    pub longest_deferral_ms: f64,
    /// The lowest rate, where [`RecordOptions::max_cpu`] has made it lower than what was asked for.
    pub lowest_rate_hz: Option<u32>,
    /// The part of the CPU time of all CPUs, 0 to 1, that viperf and its programs in the kernel have used while they sampled.
    pub cpu_share: f64,
    /// From the call to the first sample.
    pub time_to_first_sample_ms: Option<f64>,
}

/// What a recording brought.
#[derive(Debug)]
pub struct Outcome {
    /// The profile, without samples that an observer has let go.
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
