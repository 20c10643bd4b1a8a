//! The whole machine for a while: a hundred starts a second, of every kind, and what viperf holds meanwhile.
//!
//! In the test run for [`SECONDS`]; `cargo xtask soak` runs it for as long as one likes (`VIPERF_SOAK_SECONDS`).

mod account;
mod held;
mod recorded;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use viperf_e2e::{
    Fixture, Interpreter, Plan, note_figure, output_folder, viperf_binary, wait_at_most,
};

use account::Account;
use held::Held;
use recorded::Recorded;

use crate::root_and;

const SECONDS: u64 = 15;
/// From here on what grows has shown that it does, and shares are exact: a machine that is busy with something else fails.
const LONG: u64 = 120;
/// Samples per second of CPU time: four in the 20 ms of the shortest process that is asked for.
const RATE: u64 = 199;
/// Other interpreters beside the one that drives, in the test run.
const MOST_OTHERS: usize = 6;
/// For viperf to begin, and to write what it has.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    let others: Vec<PathBuf> = others(interpreters);
    plan.alone("soak", newest.clone().map(|_| ()), move || {
        a_machine_of_short_lives_is_seen_and_costs_what_it_did(
            &newest.map_err(anyhow::Error::msg)?,
            &others,
        )
    });
}

/// One of each version, those in a root of their own among them.
fn others(interpreters: &[Interpreter]) -> Vec<PathBuf> {
    let supported = interpreters
        .iter()
        .filter(|found| found.is_supported() && !found.debug);
    let mut chosen: Vec<&Interpreter> = Vec::new();
    for found in supported {
        let kind = |one: &Interpreter| (one.version.0, one.version.1, one.in_container());
        if !chosen.iter().any(|one| kind(one) == kind(found)) {
            chosen.push(found);
        }
    }
    // The oldest, the newest, and some between; all of them when it lasts.
    let most = if seconds() > SECONDS {
        chosen.len()
    } else {
        MOST_OTHERS
    };
    let step = chosen.len().div_ceil(most.max(1)).max(1);
    let spread = chosen.iter().rev().step_by(step);
    spread.map(|found| found.path.clone()).collect()
}

fn seconds() -> u64 {
    let wanted = std::env::var("VIPERF_SOAK_SECONDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn a_machine_of_short_lives_is_seen_and_costs_what_it_did(
    interpreter: &Interpreter,
    others: &[PathBuf],
) -> Result<()> {
    let folder = output_folder().join("soak");
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let recording = folder.join("soak.viperf");
    fs::remove_file(&recording).ok();
    let stats = folder.join("stats.json");
    let said = File::create(folder.join("stderr.txt"))?;
    let viperf = Command::new(viperf_binary()?)
        .args(["record", "-F", &RATE.to_string(), "-o"])
        .arg(&recording)
        .arg("--stats")
        .arg(&stats)
        .stdin(Stdio::null())
        .stderr(said)
        .spawn()?;
    let mut viperf = Running(viperf);
    wait_for(&recording, &mut viperf)?;
    let report = folder.join("report.txt");
    let (measured, held) = drive(interpreter, others, &report, &viperf)?;
    let pid = Pid::from_raw(i32::try_from(viperf.0.id())?).context("pid 0")?;
    kill_process(pid, Signal::INT)?;
    let ended = wait_at_most(&mut viperf.0, PATIENCE)?.context("viperf does not end")?;
    let said = fs::read_to_string(folder.join("stderr.txt"))?;
    ensure!(ended.success(), "viperf ended with {ended}:\n{said}");
    let stats: Value = serde_json::from_str(&fs::read_to_string(stats)?)?;
    let recorded = convert(&recording, &folder.join("recorded.json"))?;
    let account = Account::read(&fs::read_to_string(&report)?, &recorded)?;
    note_figure("soak/driver", &measured.to_string());
    held.note();
    account.note(RATE);
    let lost = stats["samples_lost"].as_u64().unwrap_or(u64::MAX);
    let samples = stats["samples"].as_u64().unwrap_or_default();
    ensure!(
        lost * 1000 <= samples,
        "{lost} of {samples} samples were lost:\n{said}"
    );
    let is_long = seconds() >= LONG;
    account.judge(RATE, if is_long { 0.05 } else { 0.25 })?;
    held.judge(if is_long { held::FLAT } else { held::BOUNDED })
}

/// Sampling has begun once there is a file.
fn wait_for(recording: &Path, viperf: &mut Running) -> Result<()> {
    let start = Instant::now();
    while !recording.exists() {
        let ended = viperf.0.try_wait()?;
        ensure!(ended.is_none(), "viperf ended before it began: {ended:?}");
        ensure!(start.elapsed() < PATIENCE, "viperf writes no file");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Runs the busy machine, and looks at viperf meanwhile.
fn drive(
    interpreter: &Interpreter,
    others: &[PathBuf],
    report: &Path,
    viperf: &Running,
) -> Result<(Value, Held)> {
    let others: Vec<String> = others
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let fixture = Fixture::start(
        &interpreter.path,
        "soak.py",
        &[
            "--others",
            &others.join(","),
            "--report",
            &report.display().to_string(),
        ],
    )?;
    let mut held = Held::default();
    let end = Instant::now() + Duration::from_secs(seconds());
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(500));
        held.look(viperf.0.id())?;
    }
    let measured = fixture.stop()?;
    // What has come last is written a second later.
    thread::sleep(Duration::from_secs(2));
    Ok((measured, held))
}

fn convert(recording: &Path, json: &Path) -> Result<Recorded> {
    let converted = Command::new(viperf_binary()?)
        .arg("convert")
        .arg(recording)
        .arg("-o")
        .arg(json)
        .output()?;
    let said = String::from_utf8_lossy(&converted.stderr);
    ensure!(converted.status.success(), "{said}");
    Recorded::read(json)
}
