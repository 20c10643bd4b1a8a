//! Proof 3: threads that have given the GIL away keep their Python frames.

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Folded, Frame, Interpreter, Plan, Recorder, Stack, note_figure};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    plan.alone(
        format!("threads/{}", interpreter.name()),
        root(),
        move || released_gil_keeps_python_frames(&of),
    );
}

fn released_gil_keeps_python_frames(interpreter: &Interpreter) -> Result<()> {
    let name = format!("threads/{}", interpreter.name());
    let fixture = Fixture::start(&interpreter.path, "threads.py", &[])?;
    let recorder = Recorder::new(&name)?.process(fixture.pid()).rate(499);
    let recording = recorder.seconds(5).with("--threads").run()?;
    let of_process = recording.of(fixture.pid());
    let of_thread = |work: &str, least: f64| samples_of_thread(&of_process, &fixture, work, least);

    let compressing = of_thread("compressing", 0.97)?;
    keeps_frames_in_library(&name, &compressing, "compressing", "libz.so")?;
    let hashing = of_thread("hashing", 0.97)?;
    let library = fixture.facts()["hash_library"].as_str();
    let library = library.context("the library that hashes")?.to_owned();
    keeps_frames_in_library(&name, &hashing, "hashing", &library)?;
    // `stop.is_set()` between two short sleeps is a good part of this thread's CPU time; the GIL of 2.7 leaves it little.
    keeps_frames_asleep(&name, &of_thread("sleeping", 0.4)?)
}

/// The thread's samples, of which at least `least` stand at the marked line, and nearly all on the thread's Python root.
fn samples_of_thread(all: &Folded, fixture: &Fixture, work: &str, least: f64) -> Result<Folded> {
    let tid = fixture.facts()["tids"][work].as_u64();
    let tid = tid.context("a thread id")?.to_string();
    let line = fixture.line(work)?;
    let is_of_thread = |stack: &Stack| {
        stack
            .thread
            .as_ref()
            .is_some_and(|thread| thread.contains(&tid))
    };
    let samples = all.only(is_of_thread);
    let shown = || samples.heaviest(8);
    ensure!(
        samples.total() > 3,
        "few samples of {work} ({tid}):\n{}",
        all.heaviest(8)
    );
    let is_at_line = |frame: &Frame| frame.qualname() == Some(work) && frame.line() == Some(line);
    let at_line = samples.count(|stack| stack.frames.iter().any(is_at_line));
    ensure!(
        samples.share(at_line) > least,
        "{work} at line {line} is rare:\n{}",
        shown()
    );
    // `Thread.__bootstrap` in 2.7.
    let is_root = |name: &&str| name.starts_with("Thread._") && name.ends_with("_bootstrap");
    let rooted = samples.count(|stack| stack.python_names().first().is_some_and(is_root));
    ensure!(
        samples.share(rooted) > 0.98,
        "{work}'s Python root is missing:\n{}",
        shown()
    );
    Ok(samples)
}

fn keeps_frames_in_library(name: &str, samples: &Folded, work: &str, library: &str) -> Result<()> {
    let is_inside =
        |stack: &Stack| leaf_library(&stack.frames).is_some_and(|leaf| leaf.starts_with(library));
    let inside = samples.only(is_inside);
    let share = samples.share(inside.total());
    ensure!(
        share > 0.6,
        "{library} is the leaf in {share:.3} of {work}:\n{}",
        samples.heaviest(8)
    );
    let kept = inside.share(inside.count(|stack| stack.position(work).is_some()));
    ensure!(
        kept > 0.99,
        "{work} is lost without the GIL:\n{}",
        inside.heaviest(8)
    );
    let figure = format!(
        "Python frames in {kept:.4} of {} samples in {library}",
        inside.total()
    );
    note_figure(&format!("{name}/{work}"), &figure);
    Ok(())
}

fn keeps_frames_asleep(name: &str, samples: &Folded) -> Result<()> {
    let asleep = samples.only(|stack| stack.frames.last().is_some_and(Frame::is_kernel));
    let kept = asleep.share(asleep.count(|stack| stack.position("sleeping").is_some()));
    ensure!(
        asleep.total() == 0 || kept > 0.98,
        "sleeping is lost inside the kernel:\n{}",
        asleep.heaviest(8)
    );
    let figure = format!(
        "Python frames in {kept:.4} of {} samples in the kernel",
        asleep.total()
    );
    note_figure(&format!("{name}/sleeping"), &figure);
    Ok(())
}

/// The library of the native frame nearest the leaf.
fn leaf_library(frames: &[Frame]) -> Option<&str> {
    frames
        .iter()
        .rev()
        .find(|frame| frame.is_native())?
        .library()
}
