//! Pre-fork pools, as they are started in production: gunicorn, uWSGI and celery.
//!
//! Each worker is seen from its first piece of work on, under the pool's title, with complete Python frames; and so are
//! those that take the place of workers that have done their share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{
    Folded, Frame, Interpreter, Need, Plan, Recorder, Stack, environments, fixtures, note_figure,
};

use crate::root;

const RATE: u32 = 499;
/// A first piece of work takes 30 ms.
const LEAST_PIECES: u64 = 30;
/// More than the fixture has, which says why a pool does not work.
const PATIENCE: Duration = Duration::from_secs(300);
/// Of a worker's few samples so many may be incomplete all the same.
const ALWAYS_FORGIVEN: u64 = 4;

/// How a pool names itself.
struct Pool {
    /// The program, and `--kind` of the fixture.
    kind: &'static str,
    /// The beginning of the name of its workers, as the kernel has it.
    worker: &'static str,
}

const POOLS: [Pool; 3] = [
    Pool {
        kind: "gunicorn",
        worker: "gunicorn: worke",
    },
    Pool {
        kind: "uwsgi",
        worker: "uwsgi",
    },
    Pool {
        kind: "celery",
        worker: "[celeryd: celer",
    },
];

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    for pool in POOLS {
        let found = find_python(interpreters, pool.kind);
        let need: Need = root().and_then(|()| found.clone().map(|_| ()));
        plan.beside(format!("pools/{}", pool.kind), need, move || {
            workers_are_seen_from_the_first_piece_on(&pool, &found.map_err(anyhow::Error::msg)?)
        });
    }
}

/// The Python of the environment that has the program.
fn find_python(interpreters: &[Interpreter], program: &str) -> Result<PathBuf, String> {
    let supported = interpreters.iter().filter(|found| found.is_supported());
    let mut folders = supported.map(|found| environments().join(found.name()).join("bin"));
    let folder = folders.find(|folder| folder.join(program).exists());
    let folder = folder.ok_or_else(|| {
        format!("there is no {program}; `cargo xtask setup --test` installs it for 3.12")
    })?;
    Ok(folder.join("python"))
}

fn workers_are_seen_from_the_first_piece_on(pool: &Pool, python: &Path) -> Result<()> {
    let program = fixtures().join("pools.py");
    let mut command = vec![python.as_os_str(), program.as_os_str()];
    command.extend(["--kind", pool.kind].map(std::ffi::OsStr::new));
    let recorder = Recorder::new(&format!("pools/{}", pool.kind))?
        .rate(RATE)
        .command(&command);
    let recording = recorder.finish_within(recorder.start()?, PATIENCE)?;
    let measured = recording.last_line()?;
    let pieces = measured["pieces"].as_u64().unwrap_or_default();
    ensure!(
        pieces >= LEAST_PIECES && measured["ended_early"].is_null(),
        "the pool does not work: {measured}"
    );
    let workers = measured["workers"].as_object().context("no workers")?;
    ensure!(workers.len() > 4, "no worker was replaced: {measured}");
    let mut told = Vec::new();
    for (pid, work) in workers {
        let pid: u32 = pid.parse()?;
        let samples = recording.of(pid);
        told.push(judge_worker(pool, pid, work, &samples)?);
    }
    note_figure(&format!("pools/{}", pool.kind), &told.join("; "));
    Ok(())
}

/// `work`: pieces, and milliseconds of CPU time in them.
fn judge_worker(pool: &Pool, pid: u32, work: &Value, samples: &Folded) -> Result<String> {
    let (pieces, used) = (work[0].as_u64(), work[1].as_f64());
    let (pieces, used) = (pieces.context("no pieces")?, used.context("no time")?);
    let shown = || format!("worker {pid}, {pieces} pieces:\n{}", samples.heaviest(8));
    let of = |function: &str| samples.only(|stack| stack.python_names().contains(&function));
    let (first, later) = (of("first_piece").total(), of("later_piece").total());
    ensure!(first > 0, "the first piece was not seen: {}", shown());
    let share = 1000.0 * (first + later) as f64 / f64::from(RATE) / used;
    // Of 30 ms alone, when others want the CPU too, what is sampled is left to chance.
    ensure!(
        pieces < 3 || (0.6..=1.4).contains(&share),
        "samples stand for {share:.3} of {used:.0} ms in pieces: {}",
        shown()
    );
    let strangers =
        samples.only(|stack| is_in_piece(stack) && !stack.process.starts_with(pool.worker));
    ensure!(
        strangers.total() == 0,
        "work under another name than {}: {}",
        pool.worker,
        strangers.heaviest(4)
    );
    let running = samples.only(is_running);
    let count = running.count(is_whole);
    let whole = running.share(count);
    ensure!(
        whole >= 0.95 || running.total() - count <= ALWAYS_FORGIVEN,
        "{whole:.3} have all Python frames: {}",
        running.only(|stack| !is_whole(stack)).heaviest(8)
    );
    Ok(format!(
        "{pieces} pieces, {first} samples of the first, {share:.3} of the time, {whole:.3} whole"
    ))
}

fn is_in_piece(stack: &Stack) -> bool {
    stack.python_names().contains(&"do_piece")
}

/// Not at its end, when Python has been taken apart, or its memory is given back.
fn is_running(stack: &Stack) -> bool {
    let is_end = |frame: &Frame| frame.symbol() == Some("Py_FinalizeEx");
    !stack.frames.iter().all(Frame::is_kernel) && !stack.frames.iter().any(is_end)
}

/// From the program's first line, or that of the thread that celery forks replacements in, with names.
fn is_whole(stack: &Stack) -> bool {
    let names = stack.python_names();
    let is_root = matches!(names.first(), Some(&"<module>" | &"Thread._bootstrap"));
    let is_error = stack.frames.iter().any(Frame::is_error);
    is_root && !is_error && names.iter().all(|name| !name.is_empty())
}
