//! Libraries that are loaded while the record runs: how long it takes until stacks through them are whole.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Frame, Interpreter, Plan, Recorder, Stack, note_figure};

use super::{
    libraries::Library,
    pattern::Pattern,
    program::{PROGRAM, Program, completeness},
};

const RATE: u32 = 999;
/// The program loads a library every 100 ms after its first second.
const SECONDS: u64 = 4;
/// A library's stacks must be whole so soon after its code runs first.
const LIMIT_MILLISECONDS: f64 = 20.0;

const LOADING: Program = Program {
    name: "loading",
    file: "native_loading.py",
    arguments: &["--folder", "$FOLDER", "--before", "1.5"],
    library: Some(Library::Work),
    ..PROGRAM
};

pub(super) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    LOADING.plan_with(plan, interpreter, stacks_are_whole_at_once);
}

/// Of a library that is loaded while others are, every sample but those of its first moments must be whole, and none
/// may be missing: what is not whole is in the folded file all the same.
fn stacks_are_whole_at_once(name: &str, interpreter: &Interpreter) -> Result<()> {
    let fixture = LOADING.begin(name, interpreter)?;
    let copies = fixture.facts()["copies"]
        .as_u64()
        .context("no number of copies")?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(RATE)
        .seconds(SECONDS)
        .run()?;
    let mut libraries: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for stack in &recording.folded.stacks {
        if let Some(library) = library_of(stack) {
            let (all, whole) = libraries.entry(library.to_owned()).or_default();
            *all += stack.count;
            *whole += if is_whole(stack) { stack.count } else { 0 };
        }
    }
    let slowest = libraries
        .values()
        .map(|(all, whole)| (all - whole) as f64 * 1000.0 / f64::from(RATE))
        .fold(0.0, f64::max);
    let least = libraries.values().map(|(all, _)| *all).min().unwrap_or(0);
    let figure = format!(
        "{} libraries, {least} samples at least in each; {slowest:.1} ms of samples are not whole in the slowest; {}",
        libraries.len(),
        completeness(&recording)
    );
    note_figure(name, &figure);
    ensure!(libraries.len() as u64 == copies, "{figure}: {libraries:?}");
    // Samples of 100 ms, on a machine that may be busy.
    ensure!(least >= 10, "{figure}: {libraries:?}");
    ensure!(slowest <= LIMIT_MILLISECONDS, "{figure}: {libraries:?}");
    Ok(())
}

fn library_of(stack: &Stack) -> Option<&str> {
    let mut frames = stack.frames.iter();
    frames.find_map(|frame| frame.library().filter(|name| name.starts_with("libloaded")))
}

fn is_whole(stack: &Stack) -> bool {
    let whole = "l:python > ... > p:<module> > p:main > p:work > ... > n:burn_in_c > ...";
    Pattern(whole).fits(stack) && !stack.frames.iter().any(Frame::is_error)
}
