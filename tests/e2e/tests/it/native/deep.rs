//! A recursion through Python, libffi and C: whole to 1,024 frames, and with both ends beyond.

use anyhow::{Result, ensure};
use viperf_e2e::{Frame, Interpreter, Plan, Stack, note_figure};

use super::{
    libraries::Library,
    pattern::{Pattern, is_frame, user_frames},
    program::{LEAST_COMPLETE, PROGRAM, Program, completeness, samples_are_complete},
};

const DESCEND: &str = "mixed.<locals>.descend";

/// A level is twelve native frames, the interpreter's own that is not shown, and one of Python: some 930 in all.
const LEVELS: usize = 63;

const WHOLE: Program = Program {
    name: "deep/whole",
    file: "native_library.py",
    arguments: &["--work", "mixed", "--depth", "63"],
    library: Some(Library::Work),
    ..PROGRAM
};

/// About 4,200 frames.
const BEYOND: Program = Program {
    name: "deep/beyond",
    arguments: &["--work", "mixed", "--depth", "300"],
    ..WHOLE
};

pub(super) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    WHOLE.plan_with(plan, interpreter, every_level_is_there);
    BEYOND.plan_with(plan, interpreter, both_ends_are_there);
}

fn every_level_is_there(name: &str, interpreter: &Interpreter) -> Result<()> {
    let recording = WHOLE.record(name, interpreter)?;
    note_figure(name, &completeness(&recording));
    let is_whole = |stack: &Stack| {
        let count =
            |is: &dyn Fn(&Frame) -> bool| stack.frames.iter().filter(|frame| is(frame)).count();
        Pattern("l:python > ... > p:main > p:mixed > ... > n:call_back > ... > p:mixed.<locals>.descend > p:spin > ...")
            .fits(stack)
            && count(&|frame| frame.qualname() == Some(DESCEND)) == LEVELS + 1
            && count(&|frame| frame.symbol() == Some("call_back")) == LEVELS + 1
    };
    let samples = recording
        .folded
        .only(|stack| stack.position("spin").is_some());
    let share = samples.share(samples.count(is_whole));
    let (least, most) = depths(&samples.stacks);
    ensure!(
        share >= 0.98,
        "{share:.4} of {} samples have every level; {}; stacks have {least} to {most} frames",
        samples.total(),
        completeness(&recording)
    );
    ensure!(
        most >= 800,
        "stacks have {least} to {most} frames: this shows nothing"
    );
    samples_are_complete(&recording, LEAST_COMPLETE)
}

/// The root's own functions and the leaf's are there, and a mark between says that others are not.
fn both_ends_are_there(name: &str, interpreter: &Interpreter) -> Result<()> {
    let recording = BEYOND.record(name, interpreter)?;
    let samples = recording
        .folded
        .only(|stack| stack.position("spin").is_some());
    let has_both_ends = |stack: &Stack| {
        let marks: Vec<_> = stack
            .frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| frame.is_error())
            .collect();
        let between = marks
            .first()
            .is_some_and(|(at, _)| stack.position("mixed") < Some(*at));
        between
            && stack
                .python_names()
                .starts_with(&["<module>", "main", "mixed"])
            && stack.python_names().ends_with(&[DESCEND, "spin"])
            && user_frames(stack)
                .next()
                .is_some_and(|frame| is_frame("l:python", frame))
    };
    let share = samples.share(samples.count(has_both_ends));
    let (least, most) = depths(&samples.stacks);
    let figure = format!(
        "{share:.4} of {} samples have both ends; stacks have {least} to {most} frames; {}",
        samples.total(),
        completeness(&recording)
    );
    note_figure(name, &figure);
    ensure!(samples.total() >= 15 && share >= 0.98, "{figure}");
    ensure!(least >= 1000, "{figure}");
    Ok(())
}

/// The fewest and the most frames of a stack.
fn depths(stacks: &[Stack]) -> (usize, usize) {
    let depths = || stacks.iter().map(|stack| user_frames(stack).count());
    (
        depths().min().unwrap_or_default(),
        depths().max().unwrap_or_default(),
    )
}
