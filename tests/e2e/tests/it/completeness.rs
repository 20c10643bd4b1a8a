//! Proof 5: nearly every sample is complete, and the reasons for the rest are named.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Interpreter, Need, Package, Plan, Recorder, note_figure};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    for (program, package) in [
        ("pure.py", None),
        ("numeric.py", Some(Package::Numpy)),
        ("django_site.py", Some(Package::Django)),
    ] {
        let python = package.map_or(Ok(interpreter.path.clone()), |package| {
            interpreter.with(package)
        });
        let need: Need = root().and_then(|()| python.clone().map(|_| ()));
        let name = format!(
            "complete/{}/{}",
            program.trim_end_matches(".py"),
            interpreter.name()
        );
        plan.alone(name.clone(), need, move || {
            samples_are_complete(&name, &python.map_err(anyhow::Error::msg)?, program)
        });
    }
}

fn samples_are_complete(name: &str, python: &Path, program: &str) -> Result<()> {
    let fixture = Fixture::start(python, program, &[])?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(999)
        .seconds(6)
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
        samples > 1_000,
        "only {samples} samples in 6 seconds of work:\n{}",
        recording.stderr
    );
    ensure!(
        recording.complete() >= 0.99,
        "complete: {figure}:\n{}",
        recording.folded.heaviest(8)
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
    // What the figures say must be what the stacks show.
    let of_process = recording.of(fixture.pid());
    let with_python = of_process.share(of_process.count(|stack| !stack.python_names().is_empty()));
    ensure!(
        with_python > 0.98,
        "Python frames in {with_python:.3} of the samples:\n{}",
        of_process.heaviest(8)
    );
    let from_module = of_process
        .share(of_process.count(|stack| stack.python_names().starts_with(&["<module>", "main"])));
    ensure!(
        from_module > 0.97,
        "rooted in <module> and main: {from_module:.3}:\n{}",
        of_process.heaviest(8)
    );
    Ok(())
}
