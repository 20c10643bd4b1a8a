//! A program with very many executable mappings, as a JIT compiler makes them, is recorded like any other.

use std::time::Duration;

use anyhow::{Result, ensure};
use viperf_e2e::{Fixture, Folded, Interpreter, Plan, Recorder, note_figure};

use crate::root_and;

const SECONDS: u64 = 2;
/// To start, to end and to write.
const BEYOND: Duration = Duration::from_secs(20);
/// A quarter of what an idle machine gives: other tests run beside.
const LEAST_SAMPLES: u64 = 40;

type Test = fn(&str, &Interpreter) -> Result<()>;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let tests: [(&str, Test); 2] = [
        ("many-mappings/kept", python_frames_are_kept),
        (
            "many-mappings/changing",
            the_recording_goes_on_while_they_change,
        ),
    ];
    for (name, test) in tests {
        let of = root_and(interpreters).cloned();
        plan.beside(name, of.clone().map(|_| ()), move || {
            test(name, &of.map_err(anyhow::Error::msg)?)
        });
    }
}

fn python_frames_are_kept(name: &str, interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "many_mappings.py", &[])?;
    let samples = record(name, &fixture)?;
    let is_python = |names: &[&str]| names.starts_with(&["<module>", "main"]);
    let python = samples.share(samples.count(|stack| is_python(&stack.python_names())));
    ensure!(
        python > 0.95,
        "Python frames in {python:.3}:\n{}",
        samples.heaviest(8)
    );
    note_figure(
        name,
        &format!(
            "Python frames in {python:.4} of {} samples",
            samples.total()
        ),
    );
    Ok(())
}

fn the_recording_goes_on_while_they_change(name: &str, interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "many_mappings.py", &["--changing", "1"])?;
    record(name, &fixture)?;
    let changes = fixture.stop()?["changes"].as_u64().unwrap_or_default();
    ensure!(changes > 50, "only {changes} changes: this shows nothing");
    Ok(())
}

/// The fixture's samples, from a run that ends well, in time and with its file written.
fn record(name: &str, fixture: &Fixture) -> Result<Folded> {
    let recorder = Recorder::new(name)?
        .process(fixture.pid())
        .rate(199)
        .seconds(SECONDS);
    let limit = Duration::from_secs(SECONDS) + BEYOND;
    let recording = recorder.finish_within(recorder.start()?, limit)?;
    ensure!(
        recording.status.success(),
        "viperf ended with {}:\n{}",
        recording.status,
        recording.stderr
    );
    let samples = recording.of(fixture.pid());
    ensure!(
        samples.total() > LEAST_SAMPLES,
        "{} samples in {SECONDS} s:\n{}",
        samples.total(),
        recording.stderr
    );
    Ok(samples)
}
