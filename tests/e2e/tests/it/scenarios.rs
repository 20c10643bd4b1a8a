//! Every scenario of `fixtures/python/scenarios.py`: whole stacks, names, files and lines, as the interpreter tells them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Result, ensure};
use viperf_e2e::{
    Cell, Folded, Frame, Interpreter, Plan, Recorder, Recording, Stack, Wanted, fixtures,
    note_cell, note_figure, output_folder, parse_report,
};

use crate::root;

/// Samples a second, and the CPU time of each scenario: about 200 samples.
const RATE: u32 = 1999;
const MILLISECONDS: u32 = 100;

/// What all scenarios together may take: 20 s on a machine of their own, and 200 s have been seen beside six busy programs
/// (threads of a free-threaded build wait for each other's turns).
const LIMIT: Duration = Duration::from_secs(900);

/// Its samples have no Python frame that could tell whose they are.
const WITHOUT_PYTHON: &str = "thread_without_python";
const C_FUNCTION: &str = "burn_in_c";

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    let name = format!("scenarios/{}", interpreter.name());
    plan.beside(name.clone(), root(), move || {
        every_scenario_is_seen(&name, &of)
    });
}

fn every_scenario_is_seen(name: &str, interpreter: &Interpreter) -> Result<()> {
    let program = fixtures().join("scenarios.py");
    let milliseconds = MILLISECONDS.to_string();
    let library = library().map(|path| path.display().to_string());
    let library = library.unwrap_or_default();
    let words = [
        interpreter.path.as_os_str(),
        program.as_os_str(),
        "--milliseconds".as_ref(),
        milliseconds.as_ref(),
        "--library".as_ref(),
        library.as_ref(),
    ];
    let recorder = Recorder::new(name)?
        .rate(RATE)
        .with("--threads")
        .command(&words);
    let recording = recorder.finish_within(recorder.start()?, LIMIT)?;
    judge_all(name, interpreter, &recording)
}

fn judge_all(name: &str, interpreter: &Interpreter, recording: &Recording) -> Result<()> {
    let samples = f64::from(RATE) * f64::from(MILLISECONDS) / 1000.0;
    let recorded = without_ends_in_libc(interpreter, &recording.folded);
    let scenarios = parse_report(&recording.last_line()?)?;
    let (mut failures, mut seen) = (Vec::new(), 0);
    for scenario in &scenarios {
        let stacks = matches!(scenario.wanted, Wanted::Stacks(..));
        let cell = if scenario.name == WITHOUT_PYTHON && stacks {
            Cell::of(&threads_of_c_are_whole(&recorded, samples))
        } else {
            scenario.judge(&recorded, samples)
        };
        let cell = with_reservation(interpreter, cell);
        note_cell(&interpreter.name(), scenario.table, &scenario.name, &cell);
        match cell {
            Cell::Ok(_) | Cell::Partly(_) => seen += 1,
            Cell::Skipped(_) => {}
            Cell::Failed(what) => failures.push(format!("{}: {what}", scenario.name)),
        }
    }
    let figure = format!(
        "{seen} of {} scenarios seen; {:.4} of {} samples complete; the rest: {}",
        scenarios.len(),
        recording.complete(),
        recording.figure("samples"),
        recording.stats["incomplete"]
    );
    note_figure(name, &figure);
    ensure!(
        failures.is_empty(),
        "{figure}\n{} fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}

/// musl is built without unwind information: a native stack that is in it may end there, as its own frame says.
/// All else of the stack must be right, so these frames are taken out.
pub(crate) fn without_ends_in_libc(interpreter: &Interpreter, recorded: &Folded) -> Folded {
    let is_end = |frame: &Frame| frame.is_error() && frame.to_string().contains("no unwind row");
    let mut recorded = recorded.clone();
    if interpreter.musl {
        for stack in &mut recorded.stacks {
            stack.frames.retain(|frame| !is_end(frame));
        }
    }
    recorded
}

/// What the document says of a cell where that was done.
pub(crate) fn with_reservation(interpreter: &Interpreter, cell: Cell) -> Cell {
    match cell {
        Cell::Ok(_) if interpreter.musl => Cell::Partly(
            "the native frames below musl's own functions are missing: it has no unwind information"
                .to_owned(),
        ),
        _ => cell,
    }
}

/// A thread that has no Python has a whole native stack, and that is no error.
fn threads_of_c_are_whole(recorded: &Folded, samples: f64) -> Result<String> {
    let is_c = |frame: &Frame| frame.symbol() == Some(C_FUNCTION);
    let in_c = recorded.only(|stack| stack.frames.iter().any(is_c));
    ensure!(
        in_c.total() as f64 > samples / 2.0,
        "{} samples of {C_FUNCTION}, {samples:.0} were due",
        in_c.total()
    );
    let is_whole = |stack: &Stack| {
        stack.python_names().is_empty() && !stack.frames.iter().any(Frame::is_error)
    };
    let share = in_c.share(in_c.count(is_whole));
    ensure!(
        share >= 0.97,
        "{share:.3} of {} are whole without Python\n{}",
        in_c.total(),
        in_c.only(|stack| !is_whole(stack)).heaviest(4)
    );
    Ok(format!("{share:.3} of {}", in_c.total()))
}

/// `fixtures/c/threads.c`, compiled once; none without a C compiler.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    LIBRARY.get_or_init(|| compile_library().ok()).as_deref()
}

fn compile_library() -> Result<PathBuf> {
    fs::create_dir_all(output_folder())?;
    let library = output_folder().canonicalize()?.join("libthreads.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-nostdlib", "-O1", "-g", "-o"])
        .arg(&library)
        .arg(fixtures().join("../c/threads.c"))
        .status()?;
    ensure!(compiled.success(), "the fixture's library is not compiled");
    Ok(library)
}
