//! The figures that every run ends with.

use std::time::Duration;

use viperf_abi::Lost;
use viperf_profile::Profile;
use viperf_sample::Sampler;

use crate::Statistics;

/// What the kernel and the process can tell at the end of a recording.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    pub(crate) lost_samples: u64,
    /// For the recorder to fill in.
    pub(crate) samples_without_python: u64,
    pub(crate) run_time_ns: u64,
    pub(crate) map_bytes: u64,
    pub(crate) first_sample: Option<Duration>,
    pub(crate) sampled_for: Duration,
}

impl Costs {
    /// Reads the kernel's figures.
    pub(crate) fn read(
        sampler: &Sampler,
        first_sample: Option<Duration>,
        sampled_for: Duration,
    ) -> Self {
        Self {
            samples_without_python: 0,
            lost_samples: sampler.lost()[Lost::Samples as usize],
            run_time_ns: sampler.run_time_ns(),
            map_bytes: sampler
                .map_descriptors()
                .map(viperf_process::read_map_memory)
                .sum(),
            first_sample,
            sampled_for,
        }
    }
}

/// Puts the figures of a run together.
pub(crate) fn summarize(profile: &Profile, costs: &Costs) -> Statistics {
    let usage = viperf_process::read_own_usage();
    let samples = profile.samples.len() as u64;
    let seconds = costs.sampled_for.as_secs_f64();
    Statistics {
        samples,
        samples_complete: profile.complete_samples(),
        samples_lost: profile.lost,
        incomplete: profile.incomplete.clone(),
        processes: profile.processes.len() as u64,
        samples_without_python: costs.samples_without_python,
        rate_achieved: if seconds > 0.0 {
            samples as f64 / seconds
        } else {
            0.0
        },
        bpf_ns_per_sample: costs.run_time_ns as f64 / (samples + costs.lost_samples).max(1) as f64,
        user_cpu_ms: usage.cpu.as_secs_f64() * 1000.0,
        peak_rss_bytes: usage.peak_rss_bytes,
        bpf_map_bytes: costs.map_bytes,
        time_to_first_sample_ms: costs.first_sample.map(|time| time.as_secs_f64() * 1000.0),
    }
}
