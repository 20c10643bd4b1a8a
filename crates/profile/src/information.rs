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
}
