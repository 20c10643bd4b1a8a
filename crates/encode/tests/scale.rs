//! What a large profile costs in each format. Run it in release mode, for it says what it measures:
//!
//! ```text
//! cargo test --release -p viperf-encode --test scale -- --ignored --nocapture
//! ```
//!
//! With `VIPERF_SCALE_FILE=large.viperf` the profile is written there and nothing measured: for `/usr/bin/time viperf convert
//! large.viperf -o large.html`.

use std::time::Duration;

use viperf_encode::{Format, Limits, Options, decode, encode};
use viperf_profile::{Profile, Sample};

mod synthetic;

const SAMPLES: usize = 1_000_000;
const STACKS: usize = 200_000;

/// Samples of 200,000 distinct stacks, most of them five times.
fn large_profile() -> Profile {
    let made = synthetic::synthetic_profile(2 * STACKS);
    assert!(made.needle_samples > 0);
    let mut profile = made.profile;
    let mut stacks = std::collections::BTreeSet::new();
    let first: Vec<Sample> = profile
        .samples
        .iter()
        .copied()
        .filter(|sample| {
            stacks.contains(&sample.stack) || stacks.len() < STACKS && stacks.insert(sample.stack)
        })
        .collect();
    let step = first[1].time_ns - first[0].time_ns;
    let samples = first.iter().cycle().take(SAMPLES).zip(0..);
    profile.samples = samples
        .map(|(&sample, number)| Sample {
            time_ns: number * step,
            ..sample
        })
        .collect();
    println!(
        "{} samples, {} stacks with samples, {} stacks with their callers, {} threads",
        profile.samples.len(),
        stacks.len(),
        profile.stacks.len(),
        profile.threads.len()
    );
    profile
}

/// The CPU time of this process, which a busy machine does not lengthen as it does the time that passes.
fn cpu_time() -> Duration {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = status.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The most memory that was held since the last call, in MB; 0 where the kernel does not say.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    kilobytes.unwrap_or(0) / 1024
}

#[test]
#[ignore = "minutes without optimization; it is run by hand in release mode"]
fn a_million_samples_are_written_and_read_in_seconds() {
    let profile = large_profile();
    if let Some(file) = std::env::var_os("VIPERF_SCALE_FILE") {
        let bytes = encode(&profile, Format::Viperf, &Options::default()).expect("a sound profile");
        std::fs::write(file, bytes).expect("the file is written");
        return;
    }
    peak_megabytes();
    let before = peak_megabytes();
    println!("the profile itself: {before} MB");
    for format in Format::ALL {
        let start = cpu_time();
        let bytes = encode(&profile, format, &Options::default()).expect("a sound profile");
        let taken = cpu_time() - start;
        let peak = peak_megabytes();
        println!(
            "write {:10} {:6.2} s of CPU time, {:4} MB more at the peak, a file of {:.1} MB",
            format.name(),
            taken.as_secs_f64(),
            peak.saturating_sub(before),
            bytes.len() as f64 / 1e6
        );
        assert!(taken < Duration::from_secs(60), "{taken:?}");
        let is_read = [
            Format::Viperf,
            Format::Folded,
            Format::Pprof,
            Format::Speedscope,
        ];
        if !is_read.contains(&format) {
            continue;
        }
        peak_megabytes();
        let start = cpu_time();
        let decoded = decode(&bytes, &Limits::default()).expect("it is read");
        let taken = cpu_time() - start;
        println!(
            "read  {:10} {:6.2} s of CPU time, {:4} MB more at the peak",
            format.name(),
            taken.as_secs_f64(),
            peak_megabytes().saturating_sub(before)
        );
        assert_eq!(decoded.profile.samples.len(), SAMPLES);
        assert!(taken < Duration::from_secs(60), "{taken:?}");
        drop(decoded);
        peak_megabytes();
    }
}
