//! Proof 5: nearly every sample is complete, and the reasons for the rest are named.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Folded, Interpreter, Need, Package, Plan, Recorder, Stack, note_figure};

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
    main_thread_is_rooted(name, &recording.of(fixture.pid()), fixture.pid())
}

/// What the figures say must be what the stacks show; OpenBLAS has threads of its own, without Python.
fn main_thread_is_rooted(name: &str, samples: &Folded, pid: u32) -> Result<()> {
    let main_thread = format!("({})", pid);
    let is_main = |stack: &Stack| {
        stack
            .thread
            .as_ref()
            .is_some_and(|name| name.ends_with(&main_thread))
    };
    let main = samples.only(is_main);
    let is_rooted = |stack: &Stack| stack.python_names().starts_with(&["<module>", "main"]);
    let rooted = main.share(main.count(is_rooted));
    let others = main.only(|stack| !is_rooted(stack));
    ensure!(
        rooted >= 0.98,
        "rooted in <module> and main: {rooted:.4}:\n{}",
        others.heaviest(8)
    );
    note_figure(
        &format!("{name}/rooted"),
        &format!("{rooted:.4} of {} samples", main.total()),
    );
    Ok(())
}
