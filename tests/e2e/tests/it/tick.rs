//! `--clock tick`: samples are taken on the kernel's own timer tick.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_getres};
use serde_json::Value;
use viperf_e2e::{
    Fixture, Folded, Frame, Interpreter, Need, Plan, Recorder, fixtures, note_figure,
};

use crate::root_and;

/// Not a divisor of any kernel's rate of ticks, and below all of them.
const RATE: u32 = 99;
const SECONDS: u64 = 10;
/// Ticks are drawn by lot, so what is measured scatters: by more than so many standard deviations once in 1.7 million times.
const DEVIATIONS: f64 = 5.0;
/// Of shares, beside that.
const TOLERANCE: f64 = 0.03;
const FUNCTIONS: [&str; 4] = ["half", "three_tenths", "three_twentieths", "twentieth"];

type Test = fn(&Interpreter) -> Result<()>;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned().and_then(|newest| {
        has_tick()?;
        Ok(newest)
    });
    let tests: [(&str, Test); 3] = [
        ("tick/shares", a_command_has_its_shares),
        ("tick/targets", processes_and_the_machine_are_sampled),
        ("tick/too-fast", more_samples_than_ticks_are_refused),
    ];
    for (name, test) in tests {
        let of = newest.clone();
        plan.alone(name, newest.clone().map(|_| ()), move || {
            test(&of.map_err(anyhow::Error::msg)?)
        });
    }
}

fn has_tick() -> Need {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0_u32));
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= (5, 15) => {}
        _ => return Err(format!("Linux {} has no tick for it", release.trim())),
    }
    // With timers of high resolution the kernel says one nanosecond, else the length of a tick.
    let resolution = clock_getres(ClockId::Monotonic);
    match (resolution.tv_sec, resolution.tv_nsec) {
        (0, 1) => Ok(()),
        (_, nanoseconds) => Err(format!(
            "timers have a resolution of {nanoseconds} ns here: timers of high resolution are off"
        )),
    }
}

fn on_tick(name: &str) -> Result<Recorder> {
    Ok(Recorder::new(name)?.with("--clock").with("tick").rate(RATE))
}

fn having(samples: &Folded, function: &str) -> u64 {
    samples.count(|stack| stack.python_names().contains(&function))
}

/// The whole life of a process, so that its CPU time is known; how near that is, is told and not judged.
fn a_command_has_its_shares(interpreter: &Interpreter) -> Result<()> {
    let recording = on_tick("tick/shares")?
        .command(&[
            interpreter.path.as_os_str(),
            fixtures().join("share_functions.py").as_os_str(),
            "--seconds".as_ref(),
            SECONDS.to_string().as_ref(),
        ])
        .run()?;
    let measured = recording.last_line()?;
    let samples = &recording.folded;
    let total = samples.total() as f64;
    // What is above the interrupted frames is not shown.
    let own = samples.count(|stack| {
        let mut frames = stack.frames.iter();
        frames.any(|frame| matches!(frame, Frame::Kernel { name } if name == "hrtimer_interrupt"))
    });
    ensure!(
        own as f64 <= total / 10.0 + 1.0,
        "the interrupt itself is shown:\n{}",
        samples.heaviest(12)
    );
    let mut worst: f64 = 0.0;
    for function in FUNCTIONS {
        let truth = measured["shares"][function].as_f64();
        let truth = truth.context("the program printed no share")?;
        let seen = samples.share(having(samples, function));
        let scatter = DEVIATIONS * (truth * (1.0 - truth) / total).sqrt();
        worst = worst.max((seen - truth).abs());
        ensure!(
            (seen - truth).abs() <= scatter + TOLERANCE,
            "{function} has {seen:.4} of {total} samples, its CPU clock says {truth:.4}:\n{}",
            samples.heaviest(12)
        );
    }
    let used = measured["cpu_seconds"].as_f64();
    let used = used.context("the program printed no CPU time")?;
    let error = total / f64::from(RATE) / used - 1.0;
    note_figure(
        "tick/shares",
        &format!(
            "worst share off by {:.2} points, CPU time by {:.2} %, in {total} samples of {used:.2} s",
            100.0 * worst,
            100.0 * error
        ),
    );
    Ok(())
}

/// By its number, and as one of all Python processes.
fn processes_and_the_machine_are_sampled(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "share_functions.py", &[])?;
    let named = on_tick("tick/process")?.process(fixture.pid()).seconds(3);
    let all = on_tick("tick/machine")?.seconds(3);
    for recorder in [named, all] {
        let recording = recorder.run()?;
        let samples = recording.of(fixture.pid());
        ensure!(
            having(&samples, "half") > 0,
            "{}\n{}",
            samples.heaviest(5),
            recording.stderr
        );
        ensure!(recording.figure("samples_lost") == 0, "{}", recording.stats);
    }
    Ok(())
}

fn more_samples_than_ticks_are_refused(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "share_functions.py", &[])?;
    let recorder = Recorder::new("tick/too-fast")?
        .with("--clock")
        .with("tick")
        .rate(5000)
        .process(fixture.pid())
        .seconds(1);
    let recording = recorder.finish(recorder.start()?)?;
    ensure!(
        recording.status.code() == Some(5) && recording.stderr.contains("times a second: choose"),
        "{}: {}",
        recording.status,
        recording.stderr
    );
    ensure!(recording.stats == Value::Null, "{}", recording.stats);
    Ok(())
}
