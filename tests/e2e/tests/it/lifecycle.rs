//! How a run ends, and what it leaves behind.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use viperf_e2e::{Fixture, Interpreter, Plan, Recorder, Recording, wait_at_most};

use crate::root_and;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    for (name, signal) in [("interrupt", Signal::INT), ("terminate", Signal::TERM)] {
        let of = newest.clone();
        plan.beside(
            format!("lifecycle/{name}"),
            newest.clone().map(|_| ()),
            move || a_signal_writes_the_file(name, &of.map_err(anyhow::Error::msg)?, signal),
        );
    }
    let of = newest.clone();
    plan.beside(
        "lifecycle/target-ends",
        newest.clone().map(|_| ()),
        move || the_targets_end_ends_the_run(&of.map_err(anyhow::Error::msg)?),
    );
    let has_bpftool = Command::new("bpftool").arg("version").output().map(|_| ());
    let need = has_bpftool.map_err(|_missing| {
        "bpftool is missing; `cargo xtask setup --test` installs it".to_owned()
    });
    let need = newest.clone().and(need);
    plan.beside("lifecycle/kill-9", need, move || {
        nothing_stays_in_the_kernel(&newest.map_err(anyhow::Error::msg)?)
    });
}

fn a_signal_writes_the_file(name: &str, interpreter: &Interpreter, signal: Signal) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let recorder = Recorder::new(&format!("lifecycle/{name}"))?
        .process(fixture.pid())
        .rate(199);
    let viperf = recorder.start()?;
    kernel_objects_of(&viperf)?;
    thread::sleep(Duration::from_secs(2));
    kill_process(pid(&viperf)?, signal)?;
    let recording = recorder.finish(viperf)?;
    wrote_python(&recording)
}

fn the_targets_end_ends_the_run(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &["--seconds", "4"])?;
    let recorder = Recorder::new("lifecycle/target-ends")?
        .process(fixture.pid())
        .rate(199);
    let start = Instant::now();
    let recording = recorder.finish(recorder.start()?)?;
    ensure!(
        start.elapsed() < Duration::from_secs(15),
        "it ended {:?} after its start",
        start.elapsed()
    );
    wrote_python(&recording)
}

fn wrote_python(recording: &Recording) -> Result<()> {
    ensure!(
        recording.status.success(),
        "viperf ended with {}:\n{}",
        recording.status,
        recording.stderr
    );
    let python = recording
        .folded
        .count(|stack| stack.python_names().starts_with(&["<module>", "main"]));
    ensure!(
        python > 50,
        "{python} samples of Python were written:\n{}",
        recording.stderr
    );
    ensure!(
        recording.figure("samples") == recording.folded.total(),
        "the figures and the file differ"
    );
    Ok(())
}

fn nothing_stays_in_the_kernel(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let recorder = Recorder::new("lifecycle/kill-9")?
        .process(fixture.pid())
        .rate(199);
    let mut viperf = recorder.start()?;
    let objects = kernel_objects_of(&viperf)?;
    viperf.kill()?;
    wait_at_most(&mut viperf, Duration::from_secs(10))?.context("it survived kill -9")?;
    // The kernel frees programs and maps after a grace period.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let left: Vec<_> = objects
            .iter()
            .filter(|(kind, id)| exists(kind, id))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < end, "left in the kernel: {left:?}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// The BPF programs and maps that a run holds, once it holds programs: the kernel's word, by file descriptor.
fn kernel_objects_of(viperf: &Child) -> Result<Vec<(&'static str, String)>> {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        let found = held_by(viperf.id());
        if found.iter().any(|(kind, _)| *kind == "prog") {
            // Give it the moment from load to attach.
            thread::sleep(Duration::from_millis(500));
            return Ok(held_by(viperf.id()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("viperf loaded no BPF program within 30 seconds")
}

fn held_by(pid: u32) -> Vec<(&'static str, String)> {
    let Ok(entries) = Path::new(&format!("/proc/{pid}/fdinfo")).read_dir() else {
        return Vec::new();
    };
    let texts = entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let mut objects = Vec::new();
    for text in texts {
        for line in text.lines() {
            if let Some(id) = line.strip_prefix("prog_id:") {
                objects.push(("prog", id.trim().to_owned()));
            } else if let Some(id) = line.strip_prefix("map_id:") {
                objects.push(("map", id.trim().to_owned()));
            }
        }
    }
    objects
}

fn exists(kind: &str, id: &str) -> bool {
    Command::new("bpftool")
        .args([kind, "show", "id", id])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn pid(child: &Child) -> Result<Pid> {
    Pid::from_raw(i32::try_from(child.id())?).context("pid 0")
}
