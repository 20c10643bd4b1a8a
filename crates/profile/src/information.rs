//! What was profiled, where, how and for how long.

/// The facts about a profile that are not in its samples; each is empty or 0 when not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileInformation {
    /// The version of viperf that took it: `0.1.0`.
    pub viperf_version: String,
    /// The machine's host name.
    pub hostname: String,
    /// The kernel's release: `6.1.0-28-amd64`.
    pub kernel: String,
    /// When sampling began, in nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// How long it lasted, in nanoseconds.
    pub duration_ns: u64,
    /// The time one sample stands for, in nanoseconds.
    pub period_ns: u64,
    /// The rate that was asked for, in samples per second and CPU.
    pub rate_hz: u32,
    /// What was profiled, as the user named it: `python3 app.py`, `pid 4242`, `every Python process`.
    pub target: String,
    /// What the recording has cost.
    pub cost: RecordingCost,
}

/// What a recording has cost the machine, and how well it went; each is 0 when not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingCost {
    /// Time in viperf's programs in the kernel, in nanoseconds; over samples and lost samples together, that is per sample.
    pub bpf_time_ns: u64,
    /// CPU time of viperf itself, in nanoseconds.
    pub cpu_time_ns: u64,
    /// The largest resident memory of viperf itself.
    pub peak_memory_bytes: u64,
    /// The memory of viperf's maps in the kernel.
    pub bpf_map_bytes: u64,
    /// From the call of viperf to the first sample, in nanoseconds; `None` also when there was none.
    pub first_sample_ns: Option<u64>,
    /// Samples of threads of a Python process that have nothing to do with Python.
    pub samples_without_python: u64,
    /// The lowest rate, in samples per second and CPU, where it was lowered while recording: samples of that time stand for more.
    /// 0 where it was not.
    pub lowest_rate_hz: u32,
}
