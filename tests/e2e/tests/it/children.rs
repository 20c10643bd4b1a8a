//! Forked and started children are followed, and every Python of the machine is found.

use anyhow::{Result, ensure};
use viperf_e2e::{Fixture, Folded, Interpreter, Plan, Recorder};

use crate::{root, root_and};

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    for interpreter in interpreters.iter().filter(|found| found.is_supported()) {
        let of = interpreter.clone();
        let name = format!("children/followed/{}", interpreter.name());
        plan.beside(name.clone(), root(), move || {
            children_are_followed(&name, &of)
        });
    }
    let newest = root_and(interpreters).cloned();
    let of = newest.clone();
    plan.beside("children/not-followed", newest.map(|_| ()), move || {
        children_can_be_left_out(&of.map_err(anyhow::Error::msg)?)
    });
    let need = root_and(interpreters).map(|_| ());
    let every: Vec<_> = interpreters
        .iter()
        .filter(|found| found.is_supported())
        .cloned()
        .collect();
    plan.beside("children/every-python", need, move || {
        every_python_is_found(&every)
    });
}

fn children_are_followed(name: &str, interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "children.py", &[])?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(199)
        .seconds(4)
        .run()?;
    let folded = &recording.folded;
    let parent = fixture.pid();
    for (function, is_child) in [
        ("in_parent", false),
        ("in_forked_child", true),
        ("in_started_child", true),
    ] {
        let samples = in_function(folded, function);
        ensure!(
            samples.total() > 20,
            "{function} has {} samples:\n{}",
            samples.total(),
            folded.heaviest(8)
        );
        ensure!(
            samples
                .stacks
                .iter()
                .all(|stack| (stack.pid() != Some(parent)) == is_child),
            "{function} is in a wrong process"
        );
    }
    ensure!(
        recording.figure("processes") >= 3,
        "three processes were sampled: {}",
        recording.stats
    );
    Ok(())
}

fn children_can_be_left_out(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "children.py", &[])?;
    let recorder = Recorder::new("children/not-followed")?
        .process(fixture.pid())
        .rate(199)
        .seconds(3);
    let recording = recorder.with("--no-children").run()?;
    ensure!(
        in_function(&recording.folded, "in_parent").total() > 20,
        "the parent is missing"
    );
    let strangers = recording
        .folded
        .count(|stack| stack.pid() != Some(fixture.pid()));
    ensure!(
        strangers == 0,
        "{strangers} samples of children in spite of --no-children"
    );
    Ok(())
}

fn every_python_is_found(interpreters: &[Interpreter]) -> Result<()> {
    let start = |interpreter: &Interpreter| Fixture::start(&interpreter.path, "pure.py", &[]);
    let fixtures = interpreters.iter().map(start).collect::<Result<Vec<_>>>()?;
    let recording = Recorder::new("children/every-python")?
        .rate(199)
        .seconds(4)
        .run()?;
    for fixture in &fixtures {
        let samples = recording.of(fixture.pid());
        let python = samples
            .share(samples.count(|stack| stack.python_names().starts_with(&["<module>", "main"])));
        ensure!(
            samples.total() > 20,
            "process {} was not found:\n{}",
            fixture.pid(),
            recording.stderr
        );
        ensure!(
            python > 0.9,
            "process {} has Python frames in {python:.3}:\n{}",
            fixture.pid(),
            samples.heaviest(4)
        );
    }
    Ok(())
}

fn in_function(folded: &Folded, function: &str) -> Folded {
    folded.only(|stack| stack.python_names().contains(&function))
}
