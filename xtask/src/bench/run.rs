//! One profiler on one workload: without it, with it, without it, with it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use viperf_e2e::{cpu_seconds, environments, fixtures};

use super::{
    attribution::{Stacks, files_with_symbols},
    figures::{Figures, median},
    peers::{Files, Kind, Profiler},
};

/// What is measured.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) workload: &'a str,
    pub(super) rate: u32,
    pub(super) time: Duration,
    pub(super) folder: &'a Path,
}

/// The workload gets going: imports, caches, clocks.
const WARM_UP: Duration = Duration::from_secs(1);
/// Without a profiler it is measured so long at most.
const LONGEST_ALONE: Duration = Duration::from_secs(10);
/// Numbers in the file that the workload counts in.
const COUNTERS: usize = 8;

/// A running workload; it and its children are killed when this goes away.
struct Workload {
    child: Child,
    counters: PathBuf,
}

impl Drop for Workload {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It passes the signal on to its children.
            kill_process(pid, Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

impl Workload {
    fn start(profiler: &Profiler, place: &Place<'_>) -> Result<Self> {
        let counters = place.folder.join("counters");
        fs::write(&counters, [0; COUNTERS * 8])?;
        let own = environments()
            .join(profiler.target.name())
            .join("bin/python");
        let python = if place.workload.starts_with("numpy") {
            &own
        } else {
            &profiler.target.path
        };
        let mut child = Command::new(python)
            .arg(fixtures().join("benchmark.py"))
            .arg(place.workload)
            .arg(&counters)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let output = child.stdout.take().context("the workload has no output")?;
        let workload = Self { child, counters };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.contains("ready"), "the workload said {line:?}");
        Ok(workload)
    }

    fn read(&self) -> Result<[u64; COUNTERS]> {
        let bytes = fs::read(&self.counters)?;
        let mut numbers = [0; COUNTERS];
        for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_ne_bytes(bytes.try_into()?);
        }
        Ok(numbers)
    }

    /// Units of work per second, and what each counter grew by, over a time.
    fn watch(&self, time: Duration) -> Result<(f64, [u64; COUNTERS])> {
        let (start, before) = (Instant::now(), self.read()?);
        thread::sleep(time);
        let (seconds, mut after) = (start.elapsed().as_secs_f64(), self.read()?);
        for (after, before) in after.iter_mut().zip(before) {
            *after = after.wrapping_sub(before);
        }
        Ok((after[0] as f64 / seconds, after))
    }
}

/// Medians over `pairs` measurements.
pub(super) fn measure(profiler: &Profiler, place: &Place<'_>, pairs: usize) -> Result<Figures> {
    let workload = Workload::start(profiler, place)?;
    thread::sleep(WARM_UP);
    let mut all = Vec::new();
    let alone_for = place.time.min(LONGEST_ALONE);
    let (mut alone, _) = workload.watch(alone_for)?;
    for _ in 0..pairs.max(1) {
        let (mut figures, rate) = measure_once(profiler, place, &workload)?;
        let (after, _) = workload.watch(alone_for)?;
        figures.loss_percent = Some(100.0 * (1.0 - rate / ((alone + after) / 2.0)));
        alone = after;
        all.push(figures);
    }
    Ok(median(&all))
}

/// What a profiler said last; a backtrace is indented, and what went wrong stands before it.
fn complaint_in(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let said = log
        .lines()
        .filter(|line| !line.starts_with(char::is_whitespace));
    let last: Vec<_> = said.rev().take(3).collect();
    format!("it wrote nothing: {}", last.join(" / "))
}

/// Where a profiler writes; nothing is there yet.
fn files_of(profiler: &Profiler, place: &Place<'_>) -> Files {
    let suffix = match profiler.kind.is_viperf() {
        true => "folded",
        false => "out",
    };
    let files = Files {
        output: place.folder.join(format!("stacks.{suffix}")),
        statistics: place.folder.join("statistics.json"),
    };
    for file in [&files.output, &files.statistics] {
        fs::remove_file(file).ok();
    }
    files
}

/// Of a stream of processes, each of which is a unit of work, those without a sample; whoever starts them was seen, too.
fn unseen_percent(workload: &str, units: u64, seen: f64) -> Option<f64> {
    let is_stream = workload == "short_processes" && units > 0;
    is_stream.then(|| (100.0 * (1.0 - (seen - 1.0) / units as f64)).max(0.0))
}

fn measure_once(
    profiler: &Profiler,
    place: &Place<'_>,
    workload: &Workload,
) -> Result<(Figures, f64)> {
    let files = files_of(profiler, place);
    let cost = place.folder.join("cost.json");
    let pid = workload.child.id();
    let before = cpu_seconds(pid)?;
    let mut child = Command::new("python3")
        .arg(fixtures().join("measured.py"))
        .arg(&cost)
        .args(profiler.words(pid, place.rate, place.time.as_secs(), &files))
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start python3")?;
    let (rate, counters) = workload.watch(place.time)?;
    let used = cpu_seconds(pid)? - before;
    child.wait()?;
    let cost: Value = serde_json::from_slice(&fs::read(&cost)?)?;
    let log = place.folder.join("cost.json.log");
    ensure!(files.output.exists(), "{}", complaint_in(&log));
    let stacks = Stacks::read(profiler.kind, &files.output)?;
    let statistics: Value = match profiler.kind.is_viperf() {
        true => serde_json::from_slice(&fs::read(&files.statistics)?)?,
        false => Value::Null,
    };
    let samples = stacks.samples();
    let number = |value: &Value| value.as_f64();
    // What the kernel's programs took is on the target's account, so it is added here.
    let kernel = number(&statistics["bpf_ns_per_sample"]).map(|ns| ns * samples / 1e9);
    let own = number(&cost["user_seconds"]).unwrap_or(0.0)
        + number(&cost["system_seconds"]).unwrap_or(0.0);
    let is_single = profiler.kind.is_viperf() && !place.workload.contains("processes");
    let files = files_with_symbols(pid)?;
    let names = (profiler.kind == Kind::Viperf)
        .then(|| stacks.unnamed_and_without_python(&|file| *files.get(file).unwrap_or(&true)));
    let figures = Figures {
        loss_percent: None,
        samples: Some(samples),
        cpu_seconds: Some(own + kernel.unwrap_or(0.0)),
        cpu_percent: Some(100.0 * (own + kernel.unwrap_or(0.0)) / place.time.as_secs_f64()),
        cpu_per_thousand: (samples > 0.0).then(|| 1000.0 * (own + kernel.unwrap_or(0.0)) / samples),
        kernel_microseconds: number(&statistics["bpf_ns_per_sample"]).map(|ns| ns / 1000.0),
        peak_bytes: number(&cost["peak_bytes"]),
        map_bytes: number(&statistics["bpf_map_bytes"]),
        first_sample_ms: number(&statistics["time_to_first_sample_ms"]),
        after_ms: number(&cost["seconds"]).map(|all| 1000.0 * (all - place.time.as_secs_f64())),
        lost: number(&statistics["samples_lost"]),
        complete_percent: number(&statistics["samples_complete"])
            .map(|complete| 100.0 * complete / samples),
        attribution_error: stacks.error(place.workload, &counters),
        impossible: stacks.impossible(place.workload),
        cpu_time_error_percent: is_single
            .then(|| 100.0 * (samples / f64::from(place.rate) / used - 1.0)),
        unnamed_percent: names.map(|(unnamed, _)| unnamed),
        without_python_percent: names.map(|(_, without_python)| without_python),
        unseen_percent: number(&statistics["processes"])
            .and_then(|seen| unseen_percent(place.workload, counters[0], seen)),
    };
    Ok((figures, rate))
}
