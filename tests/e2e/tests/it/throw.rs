//! An exception thrown into a generator that delegates to another one: CPython links the generators into the chain of frames
//! itself, and runs none of them but the innermost (`_gen_throw` of Objects/genobject.c).

use anyhow::{Result, ensure};
use viperf_e2e::{Fixture, Interpreter, Need, Plan, Recorder, Stack, note_figure};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    // `yield from` came with Python 3.
    if interpreter.version < (3, 0, 0) {
        return;
    }
    let name = format!("throw/{}", interpreter.name());
    let (need, of): (Need, Interpreter) = (root(), interpreter.clone());
    plan.beside(name.clone(), need, move || check(&name, &of));
}

/// The functions from the caller to the work.
fn expected(interpreter: &Interpreter) -> &'static [&'static str] {
    match interpreter.version {
        // The generators between are linked to nobody.
        version if version < (3, 9, 0) => &["main", "throws", "inner", "burn"],
        // The one next to the innermost is, and has no caller: what called it cannot be had.
        version if version < (3, 10, 0) => &["middle", "inner", "burn"],
        _ => &["main", "throws", "outer", "middle", "inner", "burn"],
    }
}

fn check(name: &str, interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "throw.py", &[])?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(499)
        .seconds(2)
        .run()?;
    let samples = recording.of(fixture.pid());
    let working = samples.only(|stack| stack.position("burn").is_some());
    ensure!(
        working.total() > 20,
        "{} samples at work:\n{}",
        working.total(),
        samples.heaviest(4)
    );
    let expected = expected(interpreter);
    let is_right = |stack: &Stack| {
        let names = stack.python_names();
        let until = names.iter().rposition(|name| *name == "burn");
        let names = until.and_then(|at| names.get(..=at)).unwrap_or_default();
        names.ends_with(expected)
    };
    let right = working.share(working.count(is_right));
    let marked =
        working.share(working.count(|stack| stack.frames.iter().any(viperf_e2e::Frame::is_error)));
    note_figure(
        name,
        &format!("{right:.4} of {} samples are right", working.total()),
    );
    ensure!(
        right >= 0.98,
        "{right:.4} of {} samples show {expected:?}:\n{}",
        working.total(),
        working.heaviest(4)
    );
    let cannot_be_whole = interpreter.version.0 == 3 && interpreter.version.1 == 9;
    ensure!(
        (marked >= 0.98) == cannot_be_whole,
        "{marked:.4} say that callers are missing:\n{}",
        working.heaviest(4)
    );
    Ok(())
}
