//! Programs without Python frames to show still get their native ones, and viperf says why.

use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use viperf_e2e::{Fixture, Frame, Interpreter, Plan, Recorder};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    plan.beside("other/not-python", root(), a_program_without_python);
    let unsupported = interpreters.iter().filter(|found| !found.is_supported());
    for interpreter in unsupported {
        let of = interpreter.clone();
        let name = format!("other/version-without-layout/{}", interpreter.name());
        plan.beside(name.clone(), root(), move || {
            a_version_without_layout(&name, &of)
        });
    }
}

/// A shell that counts; it is killed when this goes away.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn a_program_without_python() -> Result<()> {
    let loop_forever = "while :; do i=$((i+1)); done";
    let shell = Shell(
        Command::new("/bin/sh")
            .args(["-c", loop_forever])
            .stdin(Stdio::null())
            .spawn()?,
    );
    let recording = Recorder::new("other/not-python")?
        .process(shell.0.id())
        .rate(199)
        .seconds(2)
        .run()?;
    let samples = recording.of(shell.0.id());
    ensure!(
        samples.total() >= 5,
        "few samples of the shell:\n{}",
        recording.stderr
    );
    let native = samples.share(samples.count(|stack| stack.frames.iter().any(Frame::is_native)));
    ensure!(
        native > 0.95,
        "native frames in {native:.3}:\n{}",
        samples.heaviest(8)
    );
    ensure!(
        samples
            .stacks
            .iter()
            .all(|stack| stack.python_names().is_empty()),
        "Python frames in a shell"
    );
    let said = recording.stderr.to_lowercase();
    ensure!(
        said.contains("python") && said.contains("not"),
        "it does not say so:\n{}",
        recording.stderr
    );
    Ok(())
}

fn a_version_without_layout(name: &str, interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(199)
        .seconds(2)
        .run()?;
    let samples = recording.of(fixture.pid());
    let native = samples.share(samples.count(|stack| stack.frames.iter().any(Frame::is_native)));
    ensure!(
        samples.total() > 50 && native > 0.95,
        "native frames in {native:.3}:\n{}",
        samples.heaviest(8)
    );
    let invented = samples.count(|stack| !stack.python_names().is_empty());
    ensure!(
        invented == 0,
        "Python frames by another version's layout:\n{}",
        samples.heaviest(8)
    );
    let version = format!("{}.{}", interpreter.version.0, interpreter.version.1);
    ensure!(
        recording.stderr.contains(&version),
        "the message does not name {version}:\n{}",
        recording.stderr
    );
    Ok(())
}
