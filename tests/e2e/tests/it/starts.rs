//! The same interpreter in every way that it can be started: other names, other folders, inside another program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{
    Cell, Interpreter, Plan, Recorder, Recording, Table, environments, fixtures, note_cell,
    note_figure, output_folder, parse_report,
};

use crate::{
    root,
    scenarios::{with_reservation, without_ends_in_libc},
};

/// Samples a second, and the CPU time of each scenario.
const RATE: u32 = 1999;
const MILLISECONDS: u32 = 120;
const LIMIT: Duration = Duration::from_secs(120);
/// PyInstaller and BOLT need a minute of their own, on a machine that does nothing else.
const LIMIT_OF_SLOW_WAYS: Duration = Duration::from_secs(400);

/// The ways of `fixtures/python/start_as.py`, and what the document calls them.
const WAYS: [(&str, &str); 5] = [
    ("renamed", "renamed executable"),
    ("links", "chain of links of other names"),
    ("venv", "venv"),
    ("zipapp", "zipapp"),
    (
        "hosted",
        "libpython in another program, in a thread of its own",
    ),
];

/// A plain call, a callback, an import, a thread, and one that has given the GIL away.
const SCENARIOS: &str = "function,sort_key,import_source,thread,released_gil";

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    let name = format!("starts/{}", interpreter.name());
    plan.beside(name.clone(), root(), move || every_way_is_seen(&name, &of));
    let of = interpreter.clone();
    let name = format!("pid-namespace/{}", interpreter.name());
    plan.beside(name.clone(), root(), move || {
        let result = other_process_ids_inside(&name, &of);
        let row = "other process and thread ids inside";
        let cell = with_reservation(&of, Cell::of(&result));
        note_cell(&of.name(), Table::Threads, row, &cell);
        result.map(|_| ())
    });
}

/// Ways that take long to make, so few interpreters do it; all that can with `VIPERF_E2E_ALL=1`.
pub(crate) fn plan_slow_ways(plan: &mut Plan, interpreters: &[Interpreter]) {
    let has_installer = |found: &&Interpreter| {
        let imported = Command::new(python_with_packages(found))
            .args(["-c", "import PyInstaller"])
            .output();
        imported.is_ok_and(|output| output.status.success())
    };
    let row = "PyInstaller, one file";
    let missing = "no Python here has PyInstaller; `cargo xtask setup --test` installs it";
    let found: Vec<_> = interpreters.iter().filter(has_installer).collect();
    plan_slow_way(plan, "pyinstaller", row, &found, missing);
    let row = "libpython laid out anew by BOLT";
    let missing = "no Python of this machine itself has a shared libpython";
    let is_own_shared = |found: &&Interpreter| found.shared && !found.in_container();
    let found: Vec<_> = interpreters.iter().filter(is_own_shared).collect();
    plan_slow_way(plan, "reordered", row, &found, missing);
}

/// The oldest and the newest of those found.
fn plan_slow_way(
    plan: &mut Plan,
    way: &'static str,
    row: &'static str,
    found: &[&Interpreter],
    missing: &str,
) {
    let mut chosen = found.to_vec();
    if !crate::is_all_wanted() && chosen.len() > 2 {
        chosen.drain(1..chosen.len() - 1);
    }
    if chosen.is_empty() {
        plan.beside(format!("starts/{way}"), Err(missing.to_owned()), || Ok(()));
    }
    for interpreter in chosen {
        let name = format!("starts/{way}/{}", interpreter.name());
        let of = interpreter.clone();
        plan.beside(name.clone(), root(), move || {
            let cell = slow_way_is_seen(&name, way, &of)?;
            note_cell(&of.name(), Table::Builds, row, &cell);
            match cell {
                Cell::Failed(what) => anyhow::bail!("{what}"),
                _ => Ok(()),
            }
        });
    }
}

fn python_with_packages(interpreter: &Interpreter) -> PathBuf {
    environments().join(interpreter.name()).join("bin/python")
}

fn slow_way_is_seen(name: &str, way: &str, interpreter: &Interpreter) -> Result<Cell> {
    let folder = folder(name)?.join(way);
    fs::create_dir_all(&folder)?;
    let script = format!("{}wait", command_of_way(&folder, way));
    let python = match way {
        "pyinstaller" => python_with_packages(interpreter),
        _ => interpreter.path.clone(),
    };
    let words = ["sh", "-c", &script, "sh", &python.display().to_string()];
    let recorder = Recorder::new(name)?.rate(RATE).command(&words);
    let recording = recorder.finish_within(recorder.start()?, LIMIT_OF_SLOW_WAYS)?;
    let cell = judge(&folder, interpreter, &recording);
    note_figure(name, &format!("{cell:?}"));
    Ok(cell)
}

/// All ways in one recording, beside each other, each with its output in a file of its own.
fn every_way_is_seen(name: &str, interpreter: &Interpreter) -> Result<()> {
    let folder = folder(name)?;
    let host = build_host(interpreter, &folder.join("hosted"));
    let script = WAYS
        .map(|(way, _)| command_of_way(&folder.join(way), way))
        .join("");
    let python = interpreter.path.display().to_string();
    let words = ["sh", "-c", &format!("{script}wait"), "sh", &python];
    let recorder = Recorder::new(name)?.rate(RATE).command(&words);
    let recording = recorder.finish_within(recorder.start()?, LIMIT)?;
    let mut failures = Vec::new();
    for (way, row) in WAYS {
        let cell = match (way, &host) {
            ("hosted", Err(reason)) => Cell::Skipped(format!("{reason:#}")),
            _ => judge(&folder.join(way), interpreter, &recording),
        };
        let cell = with_reservation(interpreter, cell);
        note_cell(&interpreter.name(), Table::Builds, row, &cell);
        if let Cell::Failed(what) = &cell {
            failures.push(format!("{way}: {what}"));
        }
        note_figure(&format!("{name}/{way}"), &format!("{cell:?}"));
    }
    ensure!(
        failures.is_empty(),
        "{}\nviperf said:\n{}",
        failures.join("\n"),
        recording.stderr
    );
    Ok(())
}

/// A line of the shell: `$1` is the interpreter.
fn command_of_way(folder: &Path, way: &str) -> String {
    format!(
        "\"$1\" '{}' {way} '{}' {} > '{}' 2>&1 &\n",
        fixtures().join("start_as.py").display(),
        folder.display(),
        arguments(),
        folder.join("said.txt").display(),
    )
}

fn arguments() -> String {
    format!("scenarios.py --milliseconds {MILLISECONDS} --only {SCENARIOS}")
}

/// A new folder with one for each way, under a path that every root has.
fn folder(name: &str) -> Result<PathBuf> {
    fs::create_dir_all(output_folder())?;
    let folder = output_folder().canonicalize()?;
    let folder = folder.join(name.replace('/', "_")).join("ways");
    // Nothing to remove is the ordinary case.
    fs::remove_dir_all(&folder).ok();
    for (way, _) in WAYS {
        fs::create_dir_all(folder.join(way))?;
    }
    Ok(folder)
}

/// The scenarios of one way, all of which must be seen.
fn judge(folder: &Path, interpreter: &Interpreter, recording: &Recording) -> Cell {
    match read_report(&folder.join("said.txt")) {
        Err(error) => Cell::Failed(format!("{error:#}")),
        Ok(report) => match report["not"].as_str() {
            Some(reason) => Cell::Skipped(reason.to_owned()),
            None => Cell::of(&scenarios_are_seen(&report, interpreter, recording)),
        },
    }
}

fn read_report(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path)?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("the program said {text}"))
}

fn scenarios_are_seen(
    report: &Value,
    interpreter: &Interpreter,
    recording: &Recording,
) -> Result<String> {
    let pid = report["pid"].as_u64().context("no process id")?;
    let samples = without_ends_in_libc(interpreter, &recording.of(u32::try_from(pid)?));
    let due = f64::from(RATE) * f64::from(MILLISECONDS) / 1000.0;
    let scenarios = parse_report(report)?;
    ensure!(
        scenarios.len() == SCENARIOS.split(',').count(),
        "{} scenarios were run",
        scenarios.len()
    );
    for scenario in &scenarios {
        if let Cell::Failed(what) = scenario.judge(&samples, due) {
            anyhow::bail!("{}: {what}", scenario.name);
        }
    }
    Ok(format!("{} samples", samples.total()))
}

/// Builds `fixtures/c/host.c` against the interpreter's libpython.
fn build_host(interpreter: &Interpreter, folder: &Path) -> Result<()> {
    let library = interpreter.library.as_ref();
    let library = library.context("no libpython: the interpreter is in the executable")?;
    ensure!(
        !interpreter.include.is_empty(),
        "no headers of this libpython"
    );
    ensure!(
        !interpreter.musl,
        "no compiler for the C library that this libpython uses"
    );
    let inside = match &interpreter.root {
        Some(root) => Path::new("/").join(library.strip_prefix(root)?),
        None => library.clone(),
    };
    let libraries = inside.parent().context("libpython is in no folder")?;
    let mut compile = Command::new("cc");
    compile.args(["-O1", "-g", "-pthread", "-o"]);
    compile.arg(folder.join("host"));
    compile.arg(fixtures().join("../c/host.c"));
    for include in &interpreter.include {
        compile.arg("-I").arg(include);
    }
    // A root has a newer C library than the one that is linked with.
    compile.arg("-Wl,--unresolved-symbols=ignore-in-shared-libs");
    compile.arg(format!("-Wl,-rpath,{}", libraries.display()));
    let built = compile.arg(library).output().context("no C compiler")?;
    ensure!(
        built.status.success(),
        "the host is not built: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(())
}

/// In a new PID namespace `native_thread_id` is not what the kernel tells viperf.
fn other_process_ids_inside(name: &str, interpreter: &Interpreter) -> Result<String> {
    let program = fixtures().join("scenarios.py");
    let only = format!("{SCENARIOS},two_threads,thread_of_c,reused_thread_id");
    let words = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        &interpreter.path.display().to_string(),
        &program.display().to_string(),
        "--milliseconds",
        &MILLISECONDS.to_string(),
        "--only",
        &only,
    ];
    let recorder = Recorder::new(name)?.rate(RATE).command(&words);
    let recording = recorder.finish_within(recorder.start()?, LIMIT)?;
    let report = recording.last_line()?;
    let inside = report["pid"].as_u64().context("no process id")?;
    let due = f64::from(RATE) * f64::from(MILLISECONDS) / 1000.0;
    let recorded = without_ends_in_libc(interpreter, &recording.folded);
    for scenario in parse_report(&report)? {
        if let Cell::Failed(what) = scenario.judge(&recorded, due) {
            anyhow::bail!("{}: {what}", scenario.name);
        }
    }
    let samples = recording.folded.total();
    ensure!(
        recording.of(u32::try_from(inside)?).total() == 0,
        "the process has the same id inside, {inside}: this shows nothing"
    );
    let figure = format!("{samples} samples of a process that is {inside} inside");
    note_figure(name, &figure);
    Ok(figure)
}
