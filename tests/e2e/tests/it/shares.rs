//! Proof 4: known shares of the CPU time, by function and by line, against the program's own CPU clock.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Fixture, Folded, Interpreter, Measured, Plan, Recorder, note_figure};

use crate::root;

/// The most that a measured share may differ from the true one: two points.
const TOLERANCE: f64 = 0.02;

/// The newest interpreter is measured for as long as the promise says, the others shorter.
const WHOLE: u64 = 20;
const SHORT: u64 = 6;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    for (number, interpreter) in interpreters
        .iter()
        .filter(|found| found.is_supported())
        .rev()
        .enumerate()
    {
        let seconds = if number == 0 { WHOLE } else { SHORT };
        let of = interpreter.clone();
        let name = format!("shares/functions/{}", interpreter.name());
        plan.alone(name.clone(), root(), move || {
            functions_have_their_shares(&name, &of, seconds)
        });
        let of = interpreter.clone();
        let name = format!("shares/lines/{}", interpreter.name());
        plan.alone(name.clone(), root(), move || {
            lines_have_their_shares(&name, &of, seconds)
        });
    }
}

fn functions_have_their_shares(name: &str, interpreter: &Interpreter, seconds: u64) -> Result<()> {
    let (samples, fixture) = record(name, interpreter, "share_functions.py", seconds)?;
    compare(name, &fixture.stop()?, &samples, |samples, function| {
        Ok(samples.count(|stack| stack.python_names().contains(&function)))
    })
}

fn lines_have_their_shares(name: &str, interpreter: &Interpreter, seconds: u64) -> Result<()> {
    let (samples, fixture) = record(name, interpreter, "share_lines.py", seconds)?;
    let lines = fixture.facts()["lines"].clone();
    compare(name, &fixture.stop()?, &samples, |samples, marked| {
        let line = lines[marked].as_u64().context("a marked line")?;
        Ok(samples.count(|stack| {
            let frame = stack
                .frames
                .iter()
                .find(|frame| frame.qualname() == Some("four_lines"));
            frame.and_then(viperf_e2e::Frame::line).map(u64::from) == Some(line)
        }))
    })
}

fn record(
    name: &str,
    interpreter: &Interpreter,
    program: &str,
    seconds: u64,
) -> Result<(Folded, Fixture)> {
    let fixture = Fixture::start(&interpreter.path, program, &[])?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(999)
        .seconds(seconds)
        .run()?;
    Ok((recording.of(fixture.pid()), fixture))
}

/// Compares every true share that the program printed with the share of samples that `count` finds.
fn compare(
    name: &str,
    measured: &Measured,
    samples: &Folded,
    count: impl Fn(&Folded, &str) -> Result<u64>,
) -> Result<()> {
    let shares = measured["shares"]
        .as_object()
        .context("the program printed no shares")?;
    let mut worst: f64 = 0.0;
    for (part, truth) in shares {
        let truth = Value::as_f64(truth).context("a share")?;
        let seen = samples.share(count(samples, part)?);
        worst = worst.max((seen - truth).abs());
        ensure!(
            (seen - truth).abs() <= TOLERANCE,
            "{part} has {seen:.4} of {} samples, its CPU clock says {truth:.4}:\n{}",
            samples.total(),
            samples.heaviest(12)
        );
    }
    note_figure(
        name,
        &format!(
            "worst difference {:.2} points in {} samples",
            worst * 100.0,
            samples.total()
        ),
    );
    Ok(())
}
