//! Proof 5: nearly every sample is complete, and the reasons for the rest are named.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use viperf_e2e::{
    Cell, Fixture, Frame, Interpreter, Need, Package, Plan, Recorder, Recording, Stack, Table,
    note_cell, note_figure,
};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    for (program, package, least) in [
        ("pure.py", None, 0.995),
        ("numeric.py", Some(Package::Numpy), 0.99),
        ("django_site.py", Some(Package::Django), 0.99),
    ] {
        let python = package.map_or(Ok(interpreter.path.clone()), |package| {
            interpreter.with(package)
        });
        let need: Need = root().and_then(|()| python.clone().map(|_| ()));
        let of = interpreter.name();
        let name = format!("complete/{}/{of}", program.trim_end_matches(".py"));
        let row = format!("complete samples: {program}");
        if let Err(reason) = &need {
            note_cell(&of, Table::Whole, &row, &Cell::Skipped(reason.clone()));
        }
        plan.alone(name.clone(), need, move || {
            let python = python.map_err(anyhow::Error::msg)?;
            let result = samples_are_complete(&name, &python, program, least);
            note_cell(&of, Table::Whole, &row, &Cell::of(&result));
            result.map(|_| ())
        });
    }
}

fn samples_are_complete(name: &str, python: &Path, program: &str, least: f64) -> Result<String> {
    let fixture = Fixture::start(python, program, &[])?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(999)
        .seconds(4)
        .with("--threads")
        .run()?;
    let (samples, complete) = (
        recording.figure("samples"),
        recording.figure("samples_complete"),
    );
    let reasons = recording.stats["incomplete"]
        .as_object()
        .context("`incomplete` is no object")?;
    let figure = format!(
        "{:.4} of {samples} samples; the rest: {reasons:?}",
        recording.complete()
    );
    note_figure(name, &figure);

    ensure!(
        samples > 200,
        "only {samples} samples in 4 seconds of work:\n{}",
        recording.stderr
    );
    ensure!(
        recording.complete() >= least,
        "complete: {figure}:\n{}",
        recording.folded.only(has_error).heaviest(8)
    );
    let named: u64 = reasons.values().filter_map(serde_json::Value::as_u64).sum();
    ensure!(
        named >= samples - complete,
        "{} samples are incomplete, {named} have a reason",
        samples - complete
    );
    for reason in reasons.keys() {
        ensure!(
            recording.stderr.contains(reason),
            "the summary does not name {reason}:\n{}",
            recording.stderr
        );
    }
    main_thread_is_rooted(name, &recording, fixture.pid())?;
    Ok(figure)
}

fn has_error(stack: &Stack) -> bool {
    stack
        .frames
        .iter()
        .any(|frame| matches!(frame, Frame::Error { .. }))
}

/// What is called complete must have the root that the program has; OpenBLAS's own threads have no Python.
fn main_thread_is_rooted(name: &str, recording: &Recording, pid: u32) -> Result<()> {
    let main_thread = format!("({pid})");
    let is_main = |stack: &Stack| {
        let thread = stack.thread.as_ref();
        thread.is_some_and(|thread| thread.ends_with(&main_thread))
    };
    let main = recording.of(pid).only(is_main);
    let without_error = main.only(|stack| !has_error(stack));
    let is_wrong = |stack: &Stack| !stack.python_names().starts_with(&["<module>", "main"]);
    let wrong = without_error.only(is_wrong);
    let share = without_error.share(wrong.total());
    let figure = format!("{} of {}", wrong.total(), without_error.total());
    note_figure(&format!("{name}/complete-but-without-root"), &figure);
    ensure!(main.total() > 100, "few samples of the main thread");
    ensure!(
        share <= 0.002,
        "complete, but not from main: {figure}:\n{}",
        wrong.heaviest(8)
    );
    Ok(())
}
