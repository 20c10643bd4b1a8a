//! Short processes: their samples stand for all of their CPU time, from the first instruction to the last page given back.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Folded, Frame, Interpreter, Plan, Recorder, Stack, fixtures, note_figure};

use crate::root_and;

/// High: on a busy machine a process runs for some milliseconds at a time, and what is sampled of each is left to chance.
const RATE: u32 = 999;
/// Of the CPU time that the kernel accounted. Without what comes after their exits, an eighth is missing.
const DEVIATION: f64 = 0.08;
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    let need = newest.clone().map(|_| ());
    plan.alone("short-lives", need, move || {
        samples_stand_for_all_of_the_time_of_short_processes(&newest.map_err(anyhow::Error::msg)?)
    });
}

fn samples_stand_for_all_of_the_time_of_short_processes(interpreter: &Interpreter) -> Result<()> {
    let program = fixtures().join("short_lives.py");
    let lives = ["--lives", "20:200,50:60", "--megabytes", "24"];
    let mut command = vec![interpreter.path.as_os_str(), program.as_os_str()];
    command.extend(lives.map(std::ffi::OsStr::new));
    let recorder = Recorder::new("short-lives")?.rate(RATE).command(&command);
    let recording = recorder.finish_within(recorder.start()?, PATIENCE)?;
    let lost = recording.figure("samples_lost") as f64 / recording.figure("samples").max(1) as f64;
    let accounted = read_accounted(&recording.last_line()?)?;
    for (milliseconds, least) in [(20, 200), (50, 60)] {
        let of_kind: HashMap<u32, f64> = accounted
            .iter()
            .filter(|life| life.milliseconds == milliseconds)
            .map(|life| (life.pid, life.used))
            .collect();
        ensure!(of_kind.len() >= least, "only {} lives", of_kind.len());
        let is_one = |stack: &Stack| stack.pid().is_some_and(|pid| of_kind.contains_key(&pid));
        judge(milliseconds, &of_kind, &recording.folded.only(is_one), lost)?;
    }
    Ok(())
}

/// What the parent was told of one child.
struct Life {
    pid: u32,
    /// What it was made for.
    milliseconds: u64,
    /// What the kernel accounted to it.
    used: f64,
}

fn read_accounted(measured: &Value) -> Result<Vec<Life>> {
    let lives = measured["lives"].as_object().context("no lives")?;
    let read = |(pid, life): (&String, &Value)| {
        Ok(Life {
            pid: pid.parse()?,
            milliseconds: life[0].as_u64().context("no kind")?,
            used: life[1].as_f64().context("no time")?,
        })
    };
    lives.iter().map(read).collect()
}

/// `lost`: samples that were lost, for each that is there.
fn judge(milliseconds: u64, lives: &HashMap<u32, f64>, samples: &Folded, lost: f64) -> Result<()> {
    let used: f64 = lives.values().sum();
    let share = 1000.0 * samples.total() as f64 / f64::from(RATE) / used;
    let with_user_stack = samples.only(|stack| !stack.frames.iter().all(Frame::is_kernel));
    let with_python = with_user_stack.count(|stack| stack.python_names().contains(&"live"));
    let python = with_user_stack.share(with_python);
    let at_end = samples.total() - with_user_stack.total();
    note_figure(
        &format!("short-lives/{milliseconds}"),
        &format!(
            "{} processes, samples stand for {share:.4} of {used:.0} ms; {:.4} of them in the kernel alone, {python:.4} of the \
             others with Python frames",
            lives.len(),
            samples.share(at_end)
        ),
    );
    ensure!(
        (share - 1.0).abs() <= DEVIATION + lost,
        "samples of processes of {milliseconds} ms stand for {share:.4} of their {used:.0} ms, {lost:.4} were lost"
    );
    ensure!(
        python >= 0.99,
        "{python:.4} of the samples of processes of {milliseconds} ms have Python frames:\n{}",
        with_user_stack.heaviest(8)
    );
    Ok(())
}
