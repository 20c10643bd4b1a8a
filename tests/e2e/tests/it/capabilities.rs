//! What `viperf doctor` says of each capability is true: with exactly those that it names everything is seen, and each
//! that is missing takes away what it says.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{
    Fixture, Folded, Frame, Interpreter, Need, Plan, Recorder, Recording, fixtures, output_folder,
};

use crate::root;

/// All that viperf uses, in setpriv's spelling.
const ALL: [&str; 6] = [
    "bpf",
    "perfmon",
    "sys_ptrace",
    "dac_read_search",
    "checkpoint_restore",
    "syslog",
];
/// `nobody`.
const SOMEBODY_ELSE: u32 = 65534;

type WithPython = fn(&Interpreter) -> Result<()>;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let found = interpreters.iter().rev().find(|found| is_movable(found));
    let Some(interpreter) = found.cloned() else {
        return plan.beside(
            "capabilities",
            Err("no interpreter in one file".to_owned()),
            || Ok(()),
        );
    };
    for missing in ["bpf", "perfmon"] {
        plan.beside(
            format!("capabilities/without-{missing}"),
            need(),
            move || the_missing_one_is_named(missing),
        );
    }
    plan.beside(
        "capabilities/given-up",
        root(),
        most_are_given_up_and_the_command_keeps_them,
    );
    let tests: [(&str, WithPython); 4] = [
        ("exact", exactly_these_show_everything),
        ("without-syslog", kernel_frames_lose_their_names),
        ("without-dac-read-search", what_only_its_owner_reads_is_lost),
        ("without-checkpoint-restore", what_was_deleted_is_lost),
    ];
    for (name, test) in tests {
        let of = interpreter.clone();
        plan.beside(format!("capabilities/{name}"), need(), move || test(&of));
    }
}

fn need() -> Need {
    let setpriv = Command::new("setpriv")
        .args([&launcher(&ALL)[1], "true"])
        .stderr(Stdio::null())
        .status();
    match setpriv {
        Ok(status) if status.success() => root(),
        _ => Err("setpriv cannot set these capabilities here".to_owned()),
    }
}

/// A build that runs when its executable is somewhere else.
fn is_movable(interpreter: &Interpreter) -> bool {
    let executable = fs::canonicalize(&interpreter.path).unwrap_or_default();
    interpreter.is_supported()
        && executable.starts_with("/usr/bin")
        && fs::metadata(executable).is_ok_and(|metadata| metadata.len() > 1 << 20)
}

/// What starts viperf with these capabilities and no others: root has what is in the bounding set.
fn launcher(held: &[&str]) -> Vec<String> {
    let held: String = held.iter().map(|name| format!(",+{name}")).collect();
    vec!["setpriv".to_owned(), format!("--bounding-set=-all{held}")]
}

fn without(missing: &str) -> Vec<&'static str> {
    ALL.into_iter().filter(|name| *name != missing).collect()
}

fn record(name: &str, held: &[&str], pid: u32) -> Result<Recording> {
    Recorder::new(name)?
        .launcher(&launcher(held))
        .process(pid)
        .rate(199)
        .seconds(2)
        .run()
}

fn exactly_these_show_everything(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "into_kernel.py", &[])?;
    let recording = record("capabilities/exact", &ALL, fixture.pid())?;
    let samples = recording.of(fixture.pid());
    ensure!(
        samples.total() > 20 && recording.complete() > 0.9,
        "{}",
        recording.stderr
    );
    ensure!(
        names_the_kernel(&samples) && has_python(&samples),
        "{}",
        samples.heaviest(5)
    );
    Ok(())
}

fn kernel_frames_lose_their_names(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "into_kernel.py", &[])?;
    let recording = record(
        "capabilities/without-syslog",
        &without("syslog"),
        fixture.pid(),
    )?;
    let samples = recording.of(fixture.pid());
    ensure!(has_python(&samples), "{}", samples.heaviest(5));
    ensure!(!names_the_kernel(&samples), "{}", samples.heaviest(5));
    Ok(())
}

fn the_missing_one_is_named(missing: &str) -> Result<()> {
    let recorder = Recorder::new(&format!("capabilities/without-{missing}"))?
        .launcher(&launcher(&without(missing)))
        .process(std::process::id())
        .seconds(1);
    let recording = recorder.finish(recorder.start()?)?;
    let name = format!("CAP_{} missing", missing.to_uppercase());
    ensure!(
        recording.status.code() == Some(3) && recording.stderr.contains(&name),
        "{}: {}",
        recording.status,
        recording.stderr
    );
    Ok(())
}

fn what_only_its_owner_reads_is_lost(interpreter: &Interpreter) -> Result<()> {
    let copy = Copied::start("without-dac-read-search", interpreter)?;
    chown(&copy.path, Some(SOMEBODY_ELSE), None)?;
    fs::set_permissions(&copy.path, Permissions::from_mode(0o711))?;
    only_without_it_python_is_lost("dac_read_search", copy.child.id())
}

fn what_was_deleted_is_lost(interpreter: &Interpreter) -> Result<()> {
    let copy = Copied::start("without-checkpoint-restore", interpreter)?;
    fs::remove_file(&copy.path)?;
    only_without_it_python_is_lost("checkpoint_restore", copy.child.id())
}

fn only_without_it_python_is_lost(missing: &str, pid: u32) -> Result<()> {
    let name = format!("capabilities/without-{}", missing.replace('_', "-"));
    let with = record(&name, &ALL, pid)?.of(pid);
    ensure!(has_python(&with), "with all of them:\n{}", with.heaviest(5));
    let without = record(&name, &without(missing), pid)?.of(pid);
    ensure!(
        without.total() > 0 && !has_python(&without),
        "without {missing}:\n{}",
        without.heaviest(5)
    );
    Ok(())
}

fn has_python(samples: &Folded) -> bool {
    samples.share(samples.count(|stack| !stack.python_names().is_empty())) > 0.9
}

fn names_the_kernel(samples: &Folded) -> bool {
    samples
        .stacks
        .iter()
        .flat_map(|stack| &stack.frames)
        .any(|frame| matches!(frame, Frame::Kernel { name } if name.starts_with("vfs_read")))
}

fn most_are_given_up_and_the_command_keeps_them() -> Result<()> {
    const SHOW: &str = "grep -E 'CapEff|NoNewPrivs' /proc/self/status; sleep 3";
    let recorder = Recorder::new("capabilities/given-up")?.command(&["sh", "-c", SHOW]);
    let child = recorder.start()?;
    let own = Status::parse(&fs::read_to_string("/proc/self/status")?)?;
    // The thread that looks at targets gives up most once the command is started.
    let of_viperf = loop {
        if let Some(status) = find_locked_thread(child.id())? {
            break status;
        }
        sleep(Duration::from_millis(10));
    };
    let recording = recorder.finish(child)?;
    let of_command = Status::parse(&recording.stdout)?;
    ensure!(of_command == own, "{of_command:?}, {own:?}");
    // CAP_DAC_OVERRIDE, CAP_SETUID, CAP_SYS_MODULE and CAP_SYS_ADMIN.
    for given_up in [1, 7, 16, 21] {
        ensure!(of_viperf.effective >> given_up & 1 == 0, "{of_viperf:x?}");
    }
    // CAP_SYS_PTRACE and CAP_BPF.
    for kept in [19, 39] {
        ensure!(of_viperf.effective >> kept & 1 == 1, "{of_viperf:x?}");
    }
    Ok(())
}

/// The thread that cannot get new privileges any longer; none as long as there is none.
fn find_locked_thread(pid: u32) -> Result<Option<Status>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context("viperf has ended")?;
    let statuses = threads.flatten().filter_map(|thread| {
        // A thread can end at any time.
        let text = fs::read_to_string(thread.path().join("status")).ok()?;
        Status::parse(&text).ok()
    });
    Ok(statuses.into_iter().find(|status| status.no_new_privileges))
}

/// What /proc/PID/status says of privileges.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    effective: u64,
    no_new_privileges: bool,
}

impl Status {
    fn parse(text: &str) -> Result<Self> {
        let find = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value
                .map(str::trim)
                .with_context(|| format!("no {name} in {text}"))
        };
        Ok(Self {
            effective: u64::from_str_radix(find("CapEff:")?, 16)?,
            no_new_privileges: find("NoNewPrivs:")? == "1",
        })
    }
}

/// An interpreter started from a copy of its executable; killed, and the copy removed, when this goes away.
struct Copied {
    path: PathBuf,
    child: Child,
}

impl Copied {
    fn start(name: &str, interpreter: &Interpreter) -> Result<Self> {
        let folder = output_folder().join(format!("capabilities_{name}"));
        fs::create_dir_all(&folder)?;
        let path = folder.join("python3");
        fs::copy(&interpreter.path, &path).context("the interpreter cannot be copied")?;
        let mut child = Command::new(&path)
            .arg("-S")
            .arg(fixtures().join("into_kernel.py"))
            .env("PYTHONHOME", "/usr")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)?;
        let copied = Self { path, child };
        ensure!(line.contains("ready"), "the copy said {line:?}");
        Ok(copied)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_file(&self.path).ok();
    }
}
