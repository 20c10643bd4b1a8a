//! Proof 6: deep stacks are whole, and keep their root.

use anyhow::{Result, ensure};
use viperf_e2e::{Fixture, Frame, Interpreter, Plan, Recorder, Stack, note_figure};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    for depth in [10, 100, 500] {
        let of = interpreter.clone();
        let name = format!("recursion/{depth}/{}", interpreter.name());
        plan.beside(name.clone(), root(), move || {
            every_frame_is_there(&name, &of, depth)
        });
    }
}

fn every_frame_is_there(name: &str, interpreter: &Interpreter, depth: usize) -> Result<()> {
    let fixture = Fixture::start(
        &interpreter.path,
        "recursion.py",
        &["--depth", &depth.to_string()],
    )?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(499)
        .seconds(3)
        .run()?;
    let samples = recording
        .of(fixture.pid())
        .only(|stack| stack.python_names().contains(&"descend"));
    let (module, call) = (fixture.line("main")?, fixture.line("descend")?);
    // Before 3.11 each call is two or three native ones; the root-most are kept however many there are.
    let is_rooted = |stack: &Stack| {
        let first = stack.frames.iter().find(|frame| frame.qualname().is_none());
        first.is_some_and(Frame::is_native)
    };
    let is_whole = |stack: &Stack| {
        let python: Vec<&Frame> = stack
            .frames
            .iter()
            .filter(|frame| frame.qualname().is_some())
            .collect();
        let names: Vec<_> = python.iter().filter_map(|frame| frame.qualname()).collect();
        let descending = names.iter().filter(|name| **name == "descend").count();
        // `running()` may be the innermost frame; all but the last `descend` stand at the call.
        let at_call = python
            .iter()
            .filter(|frame| frame.qualname() == Some("descend") && frame.line() == Some(call));
        names.starts_with(&["<module>", "main", "descend"])
            && python.get(1).and_then(|frame| frame.line()) == Some(module)
            && descending == depth
            && at_call.count() == depth - 1
            && is_rooted(stack)
    };
    let whole = samples.share(samples.count(is_whole));
    let counts: Vec<_> = samples
        .stacks
        .iter()
        .take(5)
        .map(|stack| stack.python_names().len())
        .collect();
    ensure!(samples.total() > 20, "few samples:\n{}", recording.stderr);
    ensure!(
        whole > 0.98,
        "{whole:.3} of the stacks have {depth} frames and their root; seen: {counts:?} Python frames"
    );
    note_figure(
        name,
        &format!("{whole:.4} of {} samples whole", samples.total()),
    );
    Ok(())
}
