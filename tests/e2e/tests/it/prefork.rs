//! Children that are forked right after their parent has loaded a library keep its names.

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Folded, Frame, Interpreter, Plan, Recorder, Stack, note_figure};

use crate::root_and;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    plan.beside("prefork", newest.clone().map(|_| ()), move || {
        children_keep_the_library_that_they_were_forked_with(&newest.map_err(anyhow::Error::msg)?)
    });
}

fn children_keep_the_library_that_they_were_forked_with(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "prefork.py", &[])?;
    let recording = Recorder::new("prefork")?
        .process(fixture.pid())
        .rate(199)
        .seconds(9)
        .run()?;
    let measured = fixture.stop()?;
    let addresses = measured["addresses"].as_array().context("no addresses")?;
    ensure!(
        addresses.len() == 2 && addresses.first() == addresses.last(),
        "the libraries are not in one place, this shows nothing: {measured}"
    );
    for (function, own, other) in [
        ("in_child_of_first", "libfirst.so", "libsecond.so"),
        ("second", "libsecond.so", "libfirst.so"),
    ] {
        let samples = recording
            .folded
            .only(|stack| stack.under(function).iter().any(is_hashing));
        keeps_library(&samples, function, own, other)?;
    }
    Ok(())
}

fn is_hashing(frame: &Frame) -> bool {
    frame.qualname() == Some("hash_until")
}

fn keeps_library(samples: &Folded, function: &str, own: &str, other: &str) -> Result<()> {
    let shown = || samples.heaviest(8);
    let total = samples.total();
    ensure!(total > 20, "{total} samples of {function}:\n{}", shown());
    let is_in = |stack: &Stack, library: &str| {
        let mut frames = stack.frames.iter();
        frames.any(|frame| frame.library() == Some(library))
    };
    let wrong = samples.count(|stack| is_in(stack, other));
    ensure!(
        wrong == 0,
        "{wrong} of {total} samples of {function} are in {other}:\n{}",
        shown()
    );
    let right = samples.share(samples.count(|stack| is_in(stack, own)));
    ensure!(
        right > 0.9,
        "{own} is there in {right:.3} of {function}:\n{}",
        shown()
    );
    let whole = samples.count(|stack| {
        let is_error = |frame: &Frame| matches!(frame, Frame::Error { .. });
        stack.frames.first().is_some_and(Frame::is_native) && !stack.frames.iter().any(is_error)
    });
    let whole = samples.share(whole);
    ensure!(
        whole >= 0.95,
        "{whole:.3} of {function} are whole:\n{}",
        shown()
    );
    note_figure(
        &format!("prefork/{function}"),
        &format!("{own} in {right:.4}, whole {whole:.4} of {total} samples"),
    );
    Ok(())
}
