//! A recording that is killed has lost the last second at most, also while there is much to be named.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{
    Fixture, Interpreter, Plan, note_figure, output_folder, viperf_binary, wait_at_most,
};

use crate::root_and;

/// When viperf is killed, after its file has come to be: in the first names, between, and later. In milliseconds.
const INSTANTS: [u64; 6] = [100, 450, 900, 1_300, 2_200, 3_700];

/// A second and a half of a quiet machine. In the middle of several, for a busy one stops each of us now and then.
const MOST_LOST: Duration = Duration::from_millis(2_500);

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let of = root_and(interpreters).cloned();
    plan.alone(
        "growing/kill-9-while-naming",
        of.clone().map(|_| ()),
        move || the_last_second_is_lost_at_most(&of.map_err(anyhow::Error::msg)?),
    );
}

fn the_last_second_is_lost_at_most(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "many_names.py", &[])?;
    let mut lost: Vec<Duration> = Vec::new();
    for instant in INSTANTS {
        lost.push(record_and_kill(&fixture, Duration::from_millis(instant))?);
    }
    let shown: Vec<String> = lost
        .iter()
        .map(|lost| format!("{:.2} s", lost.as_secs_f64()))
        .collect();
    note_figure(
        "growing/kill-9-while-naming",
        &format!("lost {}", shown.join(", ")),
    );
    lost.sort_unstable();
    let middle = lost.get(lost.len() / 2).context("nothing was killed")?;
    ensure!(*middle < MOST_LOST, "lost {}", shown.join(", "));
    Ok(())
}

/// How long before its death the last sample is that a killed viperf has left.
fn record_and_kill(fixture: &Fixture, after: Duration) -> Result<Duration> {
    let folder = output_folder().join("growing");
    fs::create_dir_all(&folder)?;
    let path = folder.join("killed.viperf");
    fs::remove_file(&path).ok();
    let mut viperf = Command::new(viperf_binary()?)
        .args(["record", "-F", "499", "-p"])
        .arg(fixture.pid().to_string())
        .arg("-o")
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let end = Instant::now() + PATIENCE;
    while !path.exists() && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(after);
    viperf.kill()?;
    let killed = SystemTime::now();
    wait_at_most(&mut viperf, PATIENCE)?.context("it survived kill -9")?;
    let converted = Command::new(viperf_binary()?)
        .arg("convert")
        .arg(&path)
        .args(["-o", "-", "--format", "json"])
        .output()?;
    let said = String::from_utf8_lossy(&converted.stderr);
    ensure!(converted.status.success(), "it is not read: {said}");
    ensure!(said.contains("cut off"), "nothing is said of it: {said}");
    let profile: Value = serde_json::from_slice(&converted.stdout)?;
    let started = profile["information"]["started_unix_ns"].as_u64();
    let times = profile["samples"]["time_ns"].as_array();
    let last = times.and_then(|times| times.last()?.as_u64());
    // Times count from the first sample, which is a little later than the start: what is lost is less than this.
    let last = started.context("no start")? + last.unwrap_or_default();
    let killed = killed.duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(killed.saturating_sub(Duration::from_nanos(last)))
}
