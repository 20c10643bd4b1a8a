//! One live program: how it is started, which stacks it must show, and how many of its samples must be complete.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{
    Fixture, Folded, Frame, Interpreter, Need, Plan, Recorder, Recording, Stack, environments,
    note_figure,
};

use super::{
    libraries::{Library, folder},
    pattern::{Pattern, is_frame},
};
use crate::root;

const RATE: u32 = 999;
const SECONDS: u64 = 2;

/// So many of all samples must be complete.
pub(super) const LEAST_COMPLETE: f64 = 0.99;
/// Of few samples, as a busy machine gives them, so many may be incomplete or another stack all the same.
const ALWAYS_FORGIVEN: u64 = 2;
/// So many of the samples that have a frame must have one of its stacks.
const LEAST_RIGHT: f64 = 0.98;
/// So many samples there must be of what is asked for; a busy machine gives few.
const LEAST_SAMPLES: u64 = 15;
/// So many samples may have Python frames without a place among the native ones.
const MOST_WITHOUT_PLACE: f64 = 0.002;

/// What is started, and what must be seen.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// The test's name, without the interpreter's.
    pub(super) name: &'static str,
    /// The file in `fixtures/python`.
    pub(super) file: &'static str,
    /// Its arguments.
    pub(super) arguments: &'static [&'static str],
    /// What it is given as `--library`.
    pub(super) library: Option<Library>,
    /// The modules of packages that it imports.
    pub(super) modules: &'static [&'static str],
    /// A shell script that becomes the interpreter `$PYTHON` with the arguments `"$@"`; `$FOLDER` is the test's folder.
    pub(super) start: &'static str,
    /// What it needs of the system.
    pub(super) system: fn() -> Need,
    /// A frame (as in a [`Pattern`]), and the stacks of which each sample with that frame must have one.
    pub(super) seen: &'static [(&'static str, &'static [&'static str])],
    /// Only samples of processes of this name are judged; of all, where there is none.
    pub(super) process: &'static str,
    /// How long it is recorded.
    pub(super) seconds: u64,
    /// So many samples must be complete; less than usual where a comment says what cannot be known.
    pub(super) least_complete: f64,
}

/// What most programs are; name, file and what must be seen are their own.
pub(super) const PROGRAM: Program = Program {
    name: "",
    file: "",
    arguments: &[],
    library: None,
    modules: &[],
    start: "",
    system: || Ok(()),
    seen: &[],
    process: "",
    seconds: SECONDS,
    least_complete: LEAST_COMPLETE,
};

impl Program {
    /// Adds the test of this program on an interpreter.
    pub(super) fn plan(&self, plan: &mut Plan, interpreter: &Interpreter) {
        let program = self.clone();
        self.plan_with(plan, interpreter, move |name, of| program.check(name, of));
    }

    /// Adds a test of this program that looks at other things; it is given its whole name.
    pub(super) fn plan_with(
        &self,
        plan: &mut Plan,
        interpreter: &Interpreter,
        test: impl FnOnce(&str, &Interpreter) -> Result<()> + Send + 'static,
    ) {
        let name = format!("native/{}/{}", self.name, interpreter.name());
        let (need, of) = (self.need(interpreter), interpreter.clone());
        plan.beside(name.clone(), need, move || test(&name, &of));
    }

    fn need(&self, interpreter: &Interpreter) -> Need {
        root()?;
        if self.library.is_some() || self.file == "native_callbacks.py" {
            interpreter.has_module("ctypes")?;
        }
        if let Some(library) = self.library {
            library.need()?;
        }
        (self.system)()?;
        for module in self.modules {
            find_module(interpreter, module)?;
        }
        Ok(())
    }

    fn check(&self, name: &str, interpreter: &Interpreter) -> Result<()> {
        let recording = self.record(name, interpreter)?;
        note_figure(name, &completeness(&recording));
        for (work, stacks) in self.seen {
            self.work_is_whole(&recording, work, stacks)?;
        }
        if self.process.is_empty() {
            return samples_are_complete(&recording, self.least_complete);
        }
        self.own_samples_are_complete(&recording, name)
    }

    /// As [`samples_are_complete`], of the processes that are judged.
    fn own_samples_are_complete(&self, recording: &Recording, name: &str) -> Result<()> {
        let is_own = |stack: &Stack| {
            let comm = stack.process.split(" (").next();
            comm.is_some_and(|comm| comm.starts_with(self.process))
        };
        let own = recording.folded.only(is_own);
        let incomplete = incomplete(&own);
        let complete = 1.0 - own.share(incomplete.total());
        let figure = format!("{complete:.4} of {} samples complete", own.total());
        note_figure(&format!("{name}/{}", self.process), &figure);
        ensure!(
            complete >= self.least_complete || incomplete.total() <= ALWAYS_FORGIVEN,
            "{figure}; the incomplete:\n{}",
            incomplete.heaviest(6)
        );
        Ok(())
    }

    /// Records the running program.
    pub(super) fn record(&self, name: &str, interpreter: &Interpreter) -> Result<Recording> {
        let fixture = self.begin(name, interpreter)?;
        Recorder::new(name)?
            .process(fixture.pid())
            .rate(RATE)
            .seconds(self.seconds)
            .with("--threads")
            .run()
    }

    /// Starts the program and waits until it works.
    pub(super) fn begin(&self, name: &str, interpreter: &Interpreter) -> Result<Fixture> {
        let folder = folder(name)?;
        let python = self.starter(&folder, interpreter)?;
        let folder = folder.display().to_string();
        let mut arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| argument.replace("$FOLDER", &folder))
            .collect();
        if let Some(library) = self.library {
            arguments.push("--library".to_owned());
            arguments.push(library.path()?.display().to_string());
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Fixture::start(&python, self.file, &arguments)
    }

    /// The interpreter, or a script that becomes it.
    fn starter(&self, folder: &Path, interpreter: &Interpreter) -> Result<PathBuf> {
        let python = match self.modules {
            [] => interpreter.path.clone(),
            _ => environments().join(interpreter.name()).join("bin/python"),
        };
        if self.start.is_empty() {
            return Ok(python);
        }
        let script = folder.join("start.sh");
        let python = std::path::absolute(&python)?;
        let text = format!(
            "#!/bin/sh\nset -e\nFOLDER='{}'\nPYTHON='{}'\n{}\n",
            folder.display(),
            python.display(),
            self.start
        );
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    fn work_is_whole(&self, recording: &Recording, work: &str, stacks: &[&str]) -> Result<()> {
        let is_working = |stack: &Stack| stack.frames.iter().any(|frame| is_frame(work, frame));
        let working = recording.folded.only(is_working);
        ensure!(
            working.total() >= LEAST_SAMPLES,
            "{} samples with {work}; {}; all:\n{}",
            working.total(),
            completeness(recording),
            recording.folded.heaviest(4)
        );
        let is_right = |stack: &Stack| stacks.iter().any(|text| Pattern(text).fits(stack));
        let right = working.count(is_right);
        let share = working.share(right);
        ensure!(
            share >= LEAST_RIGHT || working.total() - right <= ALWAYS_FORGIVEN,
            "{share:.4} of {} samples with {work} are one of {stacks:#?}; {}; the others:\n{}",
            working.total(),
            completeness(recording),
            working.only(|stack| !is_right(stack)).heaviest(4)
        );
        Ok(())
    }
}

/// Nearly all samples are complete, and every run of Python frames has its place.
pub(super) fn samples_are_complete(recording: &Recording, least: f64) -> Result<()> {
    let incomplete = incomplete(&recording.folded);
    let missing = recording.figure("samples") - recording.figure("samples_complete");
    ensure!(
        recording.complete() >= least || missing <= ALWAYS_FORGIVEN,
        "{}; the incomplete:\n{}",
        completeness(recording),
        incomplete.heaviest(6)
    );
    let reasons = recording.stats["incomplete"].as_object();
    let without_place: u64 = reasons
        .context("`incomplete` is no object")?
        .iter()
        .filter(|(reason, _)| reason.starts_with("merge"))
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    let share = without_place as f64 / recording.figure("samples").max(1) as f64;
    ensure!(
        share <= MOST_WITHOUT_PLACE,
        "Python frames without a place in {without_place} samples:\n{}",
        incomplete.heaviest(6)
    );
    Ok(())
}

/// The share of complete samples and what is missing in the others, as a figure.
pub(super) fn completeness(recording: &Recording) -> String {
    format!(
        "{:.4} of {} samples complete; the rest: {}",
        recording.complete(),
        recording.figure("samples"),
        recording.stats["incomplete"]
    )
}

/// The stacks in which a walk ended early.
fn incomplete(folded: &Folded) -> Folded {
    folded.only(|stack| stack.frames.iter().any(Frame::is_error))
}

/// That the interpreter's environment has a module; importing it would take seconds.
fn find_module(interpreter: &Interpreter, module: &str) -> Need {
    let (major, minor, _) = interpreter.version;
    let packages = format!("lib/python{major}.{minor}/site-packages");
    let folder = environments().join(interpreter.name()).join(packages);
    if folder.join(module).exists() {
        return Ok(());
    }
    let of = interpreter.name();
    Err(format!(
        "there is no {module} for {of}; `cargo xtask setup --test` installs it for 3.12"
    ))
}
