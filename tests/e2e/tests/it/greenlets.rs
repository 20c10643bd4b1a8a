//! Greenlets have Python stacks of their own, also one that was started inside another.

use std::path::Path;

use anyhow::{Result, ensure};
use viperf_e2e::{Fixture, Frame, Interpreter, Need, Package, Plan, Recorder, Stack, note_figure};

use crate::root;

/// From the inner greenlet's first function to the work.
const INNERMOST: [&str; 3] = ["in_inner_greenlet", "called_from_c", "leaf"];

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let python = interpreter.with(Package::Greenlet);
    let need: Need = root().and_then(|()| python.clone().map(|_| ()));
    let name = format!("greenlets/{}", interpreter.name());
    // Before 3.11 every call goes through C functions of the interpreter.
    let calls_through_c = interpreter.version < (3, 11, 0);
    plan.beside(name.clone(), need, move || {
        let python = python.map_err(anyhow::Error::msg)?;
        a_greenlet_in_a_greenlet_is_seen(&name, &python, calls_through_c)
    });
}

fn a_greenlet_in_a_greenlet_is_seen(
    name: &str,
    python: &Path,
    calls_through_c: bool,
) -> Result<()> {
    let fixture = Fixture::start(python, "greenlets.py", &[])?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(499)
        .seconds(2)
        .run()?;
    let samples = recording.of(fixture.pid());
    ensure!(
        samples.total() > 100,
        "{} samples:\n{}",
        samples.total(),
        recording.stderr
    );
    let with_leaf = samples.only(|stack| stack.position("leaf").is_some());
    let leaf = samples.share(with_leaf.total());
    ensure!(
        leaf >= 0.98,
        "the work is there in {leaf:.3}:\n{}",
        samples.heaviest(8)
    );
    let ordered = with_leaf
        .share(with_leaf.count(|stack| ends_in_the_greenlets_functions(stack, calls_through_c)));
    ensure!(
        ordered >= 0.98,
        "the greenlet's functions are there in order in {ordered:.3}:\n{}",
        with_leaf.heaviest(8)
    );
    note_figure(
        name,
        &format!("leaf in {leaf:.4} of {} samples", samples.total()),
    );
    Ok(())
}

/// The greenlet's functions stand in their order, with the C code that calls the second one where it belongs.
fn ends_in_the_greenlets_functions(stack: &Stack, calls_through_c: bool) -> bool {
    let [run, called, leaf] = INNERMOST;
    let names = stack.python_names();
    let through_c = stack
        .between(run, called)
        .is_some_and(|frames| !frames.is_empty() && frames.iter().all(Frame::is_native));
    let is_direct = |frames: &[Frame]| {
        frames.is_empty() || (calls_through_c && frames.iter().all(Frame::is_native))
    };
    // `running()` and the signal's handler may stand below the leaf.
    names.windows(3).any(|names| names == INNERMOST)
        && through_c
        && stack.between(called, leaf).is_some_and(is_direct)
}
