//! The figures that every run ends with.

use std::{os::fd::RawFd, time::Duration};

use viperf_abi::Lost;
use viperf_profile::Profile;
use viperf_sample::Sampler;

use crate::{
    Statistics,
    deferred::Deferrals,
    executables::{ExecutableCounts, RowCounts},
};

/// What the kernel and the process can tell at the end of a recording.
#[derive(Clone, Debug, Default)]
pub(crate) struct Costs {
    /// Those for which the ring had no room; for the recorder to complete.
    pub(crate) lost_samples: u64,
    /// For the recorder to fill in.
    pub(crate) samples_without_python: u64,
    pub(crate) run_time_ns: u64,
    pub(crate) map_bytes: u64,
    pub(crate) row_bytes: u64,
    /// For the recorder to fill in.
    pub(crate) row_counts: RowCounts,
    /// For the recorder to fill in.
    pub(crate) executables: ExecutableCounts,
    /// For the recorder to fill in.
    pub(crate) deferrals: Deferrals,
    pub(crate) first_sample: Option<Duration>,
    pub(crate) sampled_for: Duration,
    /// For the recorder to fill in.
    pub(crate) lowest_rate_hz: Option<u32>,
    pub(crate) cpus: usize,
    /// What viperf had used before it began to sample; for the recorder to fill in.
    pub(crate) used_before: Duration,
}

/// Memory of the maps. Maps of rows come and go, the others stay as they are made: reading all of them four times a second
/// was a sixth of what a recording of a minute cost.
#[derive(Debug, Default)]
pub(crate) struct MapMemory {
    maps: Vec<RawFd>,
    bytes: u64,
}

impl MapMemory {
    /// In bytes, read anew where the maps are others than the last time.
    pub(crate) fn read(&mut self, sampler: &Sampler) -> u64 {
        let maps: Vec<RawFd> = sampler.map_descriptors().collect();
        if maps != self.maps {
            let memory = maps.iter().copied().map(viperf_process::read_map_memory);
            self.bytes = memory.sum();
            self.maps = maps;
        }
        self.bytes
    }
}

impl Costs {
    /// Reads the kernel's figures.
    pub(crate) fn read(
        sampler: &Sampler,
        map_bytes: u64,
        first_sample: Option<Duration>,
        sampled_for: Duration,
    ) -> Self {
        Self {
            samples_without_python: 0,
            row_counts: RowCounts::default(),
            executables: ExecutableCounts::default(),
            deferrals: Deferrals::default(),
            row_bytes: sampler.row_memory().bytes as u64,
            lost_samples: sampler.lost()[Lost::Samples as usize],
            run_time_ns: sampler.run_time_ns(),
            map_bytes,
            first_sample,
            sampled_for,
            lowest_rate_hz: None,
            cpus: 1,
            used_before: Duration::ZERO,
        }
    }
}

/// Puts the figures of a run together. `samples` are those that are complete, and all.
pub(crate) fn summarize(profile: &Profile, samples: SampleCounts, costs: &Costs) -> Statistics {
    let usage = viperf_process::read_own_usage();
    let SampleCounts {
        complete,
        all,
        processes,
    } = samples;
    let seconds = costs.sampled_for.as_secs_f64();
    Statistics {
        samples: all,
        samples_complete: complete,
        samples_lost: profile.lost,
        incomplete: profile.incomplete.clone(),
        processes,
        samples_without_python: costs.samples_without_python,
        rate_achieved: if seconds > 0.0 {
            all as f64 / seconds
        } else {
            0.0
        },
        bpf_ns_per_sample: costs.run_time_ns as f64 / (all + costs.lost_samples).max(1) as f64,
        user_cpu_ms: usage.cpu.as_secs_f64() * 1000.0,
        peak_rss_bytes: usage.peak_rss_bytes,
        bpf_map_bytes: costs.map_bytes,
        unwind_row_bytes: costs.row_bytes,
        unwind_tables_evicted: costs.row_counts.evicted,
        unwind_tables_reloaded: costs.row_counts.reloaded,
        unwind_tables_without_room: costs.row_counts.without_room,
        executables_open: costs.executables.open,
        executables_evicted: costs.executables.let_go,
        samples_deferred: costs.deferrals.samples,
        longest_deferral_ms: costs.deferrals.longest_ns as f64 / 1e6,
        lowest_rate_hz: costs.lowest_rate_hz,
        cpu_share: {
            let used = usage.cpu.saturating_sub(costs.used_before)
                + Duration::from_nanos(costs.run_time_ns);
            let all = seconds * costs.cpus as f64;
            if all > 0.0 {
                used.as_secs_f64() / all
            } else {
                0.0
            }
        },
        time_to_first_sample_ms: costs.first_sample.map(|time| time.as_secs_f64() * 1000.0),
    }
}

/// Samples of a profile, those that were let go included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SampleCounts {
    pub(crate) complete: u64,
    pub(crate) all: u64,
    /// Processes that have any.
    pub(crate) processes: u64,
}
