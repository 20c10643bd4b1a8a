//! `--cgroup`, `--container`, `--comm`, and `-a --no-python-only`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Folded, Interpreter, Plan, Recorder, output_folder};

use crate::{
    command_line::{ends_with, viperf},
    root_and,
};

/// Fewer samples than this are no proof.
const FEWEST: u64 = 20;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    type Test = fn(&Interpreter) -> Result<()>;
    let newest = root_and(interpreters).cloned();
    let tests: [(&str, bool, Test); 4] = [
        (
            "targets/control-group",
            true,
            only_the_control_group_is_sampled,
        ),
        ("targets/container", true, a_container_is_found_by_its_id),
        (
            "targets/comm",
            false,
            only_processes_of_the_name_are_sampled,
        ),
        ("targets/no-python-only", false, everything_is_sampled),
    ];
    for (name, needs_group, test) in tests {
        let of = newest.clone();
        let group = match needs_group {
            true => Group::make("probe")
                .map(|_| ())
                .map_err(|error| format!("{error:#}")),
            false => Ok(()),
        };
        let need = newest.clone().and(group);
        plan.beside(name, need, move || test(&of.map_err(anyhow::Error::msg)?));
    }
}

/// A control group of version 2 that goes with this value.
pub(crate) struct Group(PathBuf);

impl Group {
    pub(crate) fn make(name: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let of_version_2 = |line: &&str| line.split(' ').nth(2) == Some("cgroup2");
        let mount = mounts.lines().find(of_version_2);
        let mount = mount.and_then(|line| line.split(' ').nth(1));
        let root = mount.context("control groups of version 2 are not mounted")?;
        let name = format!("viperf-test-{}-{name}", std::process::id());
        let folder = Path::new(root).join(name);
        fs::create_dir(&folder).context("no control group can be made")?;
        Ok(Self(folder))
    }

    pub(crate) fn below(&self, name: &str) -> Result<Self> {
        let folder = self.0.join(name);
        let made = fs::create_dir(&folder);
        made.with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self(folder))
    }

    pub(crate) fn take(&self, pid: u32) -> Result<()> {
        let moved = fs::write(self.0.join("cgroup.procs"), pid.to_string());
        moved.with_context(|| format!("{pid} cannot be moved to {}", self.0.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Processes that were killed leave it a moment later.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Killed when it goes.
struct Busy(Child);

impl Busy {
    /// A Python that is busy in a function of this name.
    fn python(python: &Path, function: &str) -> Result<Self> {
        let program = format!("def {function}():\n    while True: sum(range(500))\n{function}()");
        Self::start(Command::new(python).args(["-S", "-c", &program]))
    }

    fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).spawn()?))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn is_in(folded: &Folded, function: &str) -> u64 {
    folded.count(|stack| stack.python_names().contains(&function))
}

fn only_the_control_group_is_sampled(interpreter: &Interpreter) -> Result<()> {
    let group = Group::make("group")?;
    let below = group.below("below")?;
    let inside = Busy::python(&interpreter.path, "from_the_start")?;
    below.take(inside.pid())?;
    let moved = Busy::python(&interpreter.path, "moved_later")?;
    let outside = Busy::python(&interpreter.path, "outside")?;
    let recorder = Recorder::new("targets/control-group")?
        .rate(499)
        .seconds(6)
        .with("--cgroup")
        .with(&group.0);
    let running = recorder.start()?;
    thread::sleep(Duration::from_secs(4));
    group.take(moved.pid())?;
    // A shell moves itself and becomes a Python that lives a moment.
    let short = "import time\ndef short_life():\n    end = time.process_time() + 0.1\n    \
        while time.process_time() < end: pass\nshort_life()";
    let script = format!(
        "echo $$ > {}/cgroup.procs; exec {} -S -c \"$0\"",
        below.0.display(),
        interpreter.path.display()
    );
    let started = Command::new("sh").args(["-c", &script, short]).status()?;
    ensure!(started.success(), "the short one failed");
    let recording = recorder.finish(running)?;
    let folded = &recording.folded;
    for (function, fewest) in [
        ("from_the_start", FEWEST),
        ("moved_later", 1),
        ("short_life", 1),
    ] {
        let count = is_in(folded, function);
        ensure!(
            count >= fewest,
            "{function} has {count} samples:\n{}\n{}",
            folded.heaviest(8),
            recording.stderr
        );
    }
    let strangers = folded.count(|stack| stack.pid() == Some(outside.pid()));
    ensure!(strangers == 0, "{strangers} samples of a process outside");
    Ok(())
}

fn a_container_is_found_by_its_id(interpreter: &Interpreter) -> Result<()> {
    // Sixty-four digits that no other run has, and sixty-four that differ in the last.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let run = (since_epoch.as_nanos() as u64) ^ (u64::from(std::process::id()) << 40);
    let start = format!("{run:016x}").repeat(4)[..63].to_owned();
    let id = format!("{start}0");
    let group = Group::make("containers")?;
    let container = group.below(&format!("docker-{id}.scope"))?;
    let other = group.below(&format!("docker-{start}1.scope"))?;
    let inside = Busy::python(&interpreter.path, "in_container")?;
    container.take(inside.pid())?;
    let outside = Busy::python(&interpreter.path, "outside")?;
    fs::create_dir_all(output_folder())?;
    let file = output_folder().join("container.json");
    let file = file.display().to_string();
    let record = |prefix: &str| viperf(&["record", "--container", prefix, "-d", "3s", "-o", &file]);
    let ambiguous = record(&id[..20])?;
    ends_with(&ambiguous, 4, &[&id[..20], "more than one"])?;
    drop(other);
    let unknown = record("no-such-container")?;
    // Of many containers only some are listed: this one need not be among those of a busy machine.
    ends_with(&unknown, 4, &["no-such-container", "there are"])?;
    let found = record(&id[..20])?;
    let said = String::from_utf8_lossy(&found.stderr);
    ensure!(found.status.success(), "{said}");
    let profile: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let rows = profile["processes"].as_array().context("processes")?;
    ensure!(!rows.is_empty(), "no process was sampled:\n{said}");
    for row in rows {
        ensure!(
            row["pid"] == inside.pid(),
            "{} is inside, {} is outside: {row}\n{said}",
            inside.pid(),
            outside.pid()
        );
        let placement = &row["placement"];
        ensure!(placement["container_id"] == id, "{row}");
        ensure!(placement["container_runtime"] == "docker", "{row}");
    }
    Ok(())
}

fn only_processes_of_the_name_are_sampled(interpreter: &Interpreter) -> Result<()> {
    let folder = output_folder().join("comm");
    fs::create_dir_all(&folder)?;
    // The kernel calls a process as the file that was started is called, and keeps 15 bytes of it.
    let link = folder.join("viperf-wanted-name");
    fs::remove_file(&link).ok();
    symlink(&interpreter.path, &link)?;
    let wanted = Busy::python(&link, "wanted")?;
    let other = Busy::python(&interpreter.path, "other")?;
    let recording = Recorder::new("targets/comm")?
        .rate(499)
        .seconds(4)
        .with("--comm")
        .with("viperf-wanted-name")
        .run()?;
    let count = is_in(&recording.folded, "wanted");
    ensure!(count >= FEWEST, "{count} samples:\n{}", recording.stderr);
    let strangers = recording
        .folded
        .count(|stack| stack.pid() != Some(wanted.pid()));
    ensure!(
        strangers == 0,
        "{strangers} samples of others than {}, such as {}",
        wanted.pid(),
        other.pid()
    );
    Ok(())
}

fn everything_is_sampled(interpreter: &Interpreter) -> Result<()> {
    let shell = Busy::start(Command::new("sh").args(["-c", "while :; do :; done"]))?;
    let python = Busy::python(&interpreter.path, "in_python")?;
    let recording = Recorder::new("targets/no-python-only")?
        .rate(499)
        .seconds(4)
        .with("-a")
        .with("--no-python-only")
        .run()?;
    let of_shell = recording.of(shell.pid());
    let native = of_shell.count(|stack| stack.frames.iter().any(viperf_e2e::Frame::is_native));
    ensure!(
        native >= FEWEST,
        "{native} samples of the shell:\n{}\n{}",
        of_shell.heaviest(4),
        recording.stderr
    );
    let count = is_in(&recording.of(python.pid()), "in_python");
    ensure!(count >= FEWEST, "{count} of Python:\n{}", recording.stderr);
    Ok(())
}
