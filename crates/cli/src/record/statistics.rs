//! The figures of a run as JSON, for `--stats`. The keys are documented and never change.

use std::collections::BTreeMap;

use serde::Serialize;
use viperf_agent::Statistics;

use crate::exit::Failure;

/// The documented keys, in the documented order.
#[derive(Serialize)]
struct StatisticsJson<'a> {
    samples: u64,
    samples_complete: u64,
    samples_lost: u64,
    incomplete: &'a BTreeMap<String, u64>,
    processes: u64,
    samples_without_python: u64,
    rate_achieved: f64,
    bpf_ns_per_sample: f64,
    user_cpu_ms: f64,
    peak_rss_bytes: u64,
    bpf_map_bytes: u64,
    unwind_row_bytes: u64,
    unwind_tables_evicted: u64,
    unwind_tables_reloaded: u64,
    unwind_tables_without_room: u64,
    executables_open: u64,
    executables_evicted: u64,
    samples_deferred: u64,
    longest_deferral_ms: f64,
    /// `null` if it was never lowered.
    lowest_rate_hz: Option<u32>,
    cpu_share: f64,
    /// `null` if there was no sample.
    time_to_first_sample_ms: Option<f64>,
}

/// The figures as a JSON object and a newline. A figure that is no number (0 / 0) becomes `null`.
pub(super) fn encode_statistics(statistics: &Statistics) -> Result<Vec<u8>, Failure> {
    let Statistics {
        samples,
        samples_complete,
        samples_lost,
        incomplete,
        processes,
        samples_without_python,
        rate_achieved,
        bpf_ns_per_sample,
        user_cpu_ms,
        peak_rss_bytes,
        bpf_map_bytes,
        unwind_row_bytes,
        unwind_tables_evicted,
        unwind_tables_reloaded,
        unwind_tables_without_room,
        executables_open,
        executables_evicted,
        samples_deferred,
        longest_deferral_ms,
        lowest_rate_hz,
        cpu_share,
        time_to_first_sample_ms,
    } = statistics;
    let json = StatisticsJson {
        samples: *samples,
        samples_complete: *samples_complete,
        samples_lost: *samples_lost,
        incomplete,
        processes: *processes,
        samples_without_python: *samples_without_python,
        rate_achieved: *rate_achieved,
        bpf_ns_per_sample: *bpf_ns_per_sample,
        user_cpu_ms: *user_cpu_ms,
        peak_rss_bytes: *peak_rss_bytes,
        bpf_map_bytes: *bpf_map_bytes,
        unwind_row_bytes: *unwind_row_bytes,
        unwind_tables_evicted: *unwind_tables_evicted,
        unwind_tables_reloaded: *unwind_tables_reloaded,
        unwind_tables_without_room: *unwind_tables_without_room,
        executables_open: *executables_open,
        executables_evicted: *executables_evicted,
        samples_deferred: *samples_deferred,
        longest_deferral_ms: *longest_deferral_ms,
        lowest_rate_hz: *lowest_rate_hz,
        cpu_share: *cpu_share,
        time_to_first_sample_ms: *time_to_first_sample_ms,
    };
    let mut bytes = serde_json::to_vec_pretty(&json)
        .map_err(|error| Failure::failed(format!("the figures cannot be written: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_the_documented_ones() {
        let mut statistics = Statistics::default();
        statistics
            .incomplete
            .insert("native: unreadable stack".to_owned(), 3);
        let bytes = encode_statistics(&statistics).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let mut keys: Vec<&str> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort_unstable();
        let mut documented = [
            "samples",
            "samples_complete",
            "samples_lost",
            "incomplete",
            "processes",
            "samples_without_python",
            "rate_achieved",
            "bpf_ns_per_sample",
            "user_cpu_ms",
            "peak_rss_bytes",
            "bpf_map_bytes",
            "unwind_row_bytes",
            "unwind_tables_evicted",
            "unwind_tables_reloaded",
            "unwind_tables_without_room",
            "executables_open",
            "executables_evicted",
            "samples_deferred",
            "longest_deferral_ms",
            "lowest_rate_hz",
            "cpu_share",
            "time_to_first_sample_ms",
        ];
        documented.sort_unstable();
        assert_eq!(keys, documented);
        assert_eq!(json["incomplete"]["native: unreadable stack"], 3);
        assert!(json["time_to_first_sample_ms"].is_null());
    }
}
