//! A library that is mapped while the record runs gets its unwind rows and its names.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Frame, Interpreter, Need, Package, Plan, Recorder, note_figure};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let python = interpreter.with(Package::Numpy);
    let need: Need = root().and_then(|()| python.clone().map(|_| ()));
    let name = format!("late-import/{}", interpreter.name());
    plan.beside(name.clone(), need, move || {
        numpy_is_seen(&name, &python.map_err(anyhow::Error::msg)?)
    });
}

fn numpy_is_seen(name: &str, python: &Path) -> Result<()> {
    let fixture = Fixture::start(python, "numeric.py", &["--late", "1"])?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(499)
        .seconds(9)
        .run()?;
    let line = fixture.line("elementwise")?;
    let samples = recording.of(fixture.pid()).only(|stack| {
        let frame = stack
            .frames
            .iter()
            .find(|frame| frame.qualname() == Some("elementwise"));
        frame.and_then(Frame::line) == Some(line)
    });
    ensure!(
        samples.total() > 10,
        "few samples of elementwise:\n{}",
        recording.folded.heaviest(8)
    );
    let in_numpy = samples.only(|stack| stack.under("elementwise").iter().any(is_numpy));
    ensure!(
        samples.share(in_numpy.total()) > 0.8,
        "numpy's frames are missing:\n{}",
        samples.heaviest(8)
    );
    let rooted = in_numpy.count(|stack| {
        stack.frames.first().is_some_and(Frame::is_native)
            && stack
                .python_names()
                .starts_with(&["<module>", "main", "elementwise"])
            && !stack
                .frames
                .iter()
                .any(|frame| matches!(frame, Frame::Error { .. }))
    });
    let rooted = in_numpy.share(rooted);
    ensure!(
        rooted > 0.97,
        "walks through numpy reach the root in {rooted:.3}:\n{}",
        in_numpy.heaviest(8)
    );
    let waited = recording.stats["longest_deferral_ms"].as_f64();
    let waited = waited.context("no longest_deferral_ms")?;
    let deferred = recording.figure("samples_deferred");
    // How long is left to the machine; what a quiet one takes is in docs/unwinding.md.
    note_figure(
        name,
        &format!(
            "walks through numpy reach the root in {rooted:.4} of {} samples; {:.4} of all {} are complete; {deferred} were \
             finished in user space, {waited:.1} ms later at most",
            in_numpy.total(),
            recording.complete(),
            recording.figure("samples"),
        ),
    );
    Ok(())
}

fn is_numpy(frame: &Frame) -> bool {
    frame
        .library()
        .is_some_and(|library| library.starts_with("_multiarray_umath"))
}
