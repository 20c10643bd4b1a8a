//! `-p` with a process that ends at once, and with something that is no process.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Interpreter, Plan, Recorder, Recording, note_figure};

use crate::{
    command_line::{ends_with, viperf},
    root_and,
};

const ROUNDS: u32 = 20;
/// So long lives the first target.
const FIRST_LIFE: Duration = Duration::from_millis(100);
/// By so much the lives differ first, then by half as much each time.
const STEPS: [Duration; 2] = [Duration::from_millis(64), Duration::from_millis(2)];
const LIMIT: Duration = Duration::from_secs(15);

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    let of = newest.clone();
    plan.beside(
        "targets/ends-at-the-start",
        newest.clone().map(|_| ()),
        move || a_target_that_ends_at_the_start_ends_the_run(&of.map_err(anyhow::Error::msg)?),
    );
    plan.beside("targets/thread", newest.clone().map(|_| ()), move || {
        a_threads_id_is_4(&newest.map_err(anyhow::Error::msg)?)
    });
}

/// The moment between being found and being known to the kernel is short and differs from machine to machine: a target that
/// was recorded is followed by one that lives shorter, one that was gone already by one that lives longer.
fn a_target_that_ends_at_the_start_ends_the_run(interpreter: &Interpreter) -> Result<()> {
    let name = "targets/ends-at-the-start";
    let [mut step, least_step] = STEPS;
    let mut life = FIRST_LIFE;
    let mut recorded = 0;
    for round in 0..ROUNDS {
        // Every other target is a zombie until viperf has ended: its folder in /proc stays.
        let is_zombie = round % 2 == 1;
        let what = if is_zombie { "zombie" } else { "target" };
        let recording = record_for_a_life(name, &interpreter.path, life, is_zombie);
        let recording = recording.with_context(|| format!("a {what} that lived {life:?}"))?;
        let code = recording.status.code();
        ensure!(
            matches!(code, Some(0 | 4)),
            "a {what} that lived {life:?}: exit {code:?}\n{}",
            recording.stderr
        );
        if code == Some(0) {
            recorded += 1;
            life = life.saturating_sub(step);
        } else {
            life += step;
        }
        step = least_step.max(step / 2);
    }
    note_figure(
        name,
        &format!("{recorded} of {ROUNDS} were recorded, the last one lived {life:?}"),
    );
    Ok(())
}

/// Starts a target and, at once, viperf.
fn record_for_a_life(
    name: &str,
    python: &Path,
    life: Duration,
    is_zombie: bool,
) -> Result<Recording> {
    let program = format!(
        "import time\nend = time.monotonic() + {}\nwhile time.monotonic() < end: pass",
        life.as_secs_f64()
    );
    let mut target = Command::new(python)
        .args(["-S", "-c", &program])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the target")?;
    let recorder = Recorder::new(name)?.process(target.id()).rate(199);
    let viperf = recorder.start()?;
    let recording = thread::scope(|scope| {
        if !is_zombie {
            scope.spawn(|| target.wait());
        }
        recorder.finish_within(viperf, LIMIT)
    });
    target.wait()?;
    recording
}

fn a_threads_id_is_4(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "threads.py", &[])?;
    let tid = &fixture.facts()["tids"]["hashing"];
    let tid = tid.as_u64().context("a thread id")?.to_string();
    let output = viperf(&[
        "record",
        "-p",
        &tid,
        "-d",
        "1s",
        "-o",
        "/dev/null",
        "--format",
        "folded",
    ])?;
    ends_with(&output, 4, &[&tid])?;
    let said = String::from_utf8_lossy(&output.stderr);
    let pid = fixture.pid().to_string();
    let mut numbers = said.split(|character: char| !character.is_ascii_digit());
    ensure!(
        numbers.any(|number| number == pid),
        "the message does not name the process {pid}:\n{said}"
    );
    Ok(())
}
