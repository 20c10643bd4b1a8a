//! The native file grows while viperf records: whatever ends viperf, what was recorded before is there.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use viperf_e2e::{Fixture, Folded, Interpreter, Plan, output_folder, viperf_binary, wait_at_most};

use crate::root_and;

/// As long as a busy machine may take for what takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

type Test = fn(&Interpreter) -> Result<()>;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    let tests: [(&str, Test); 6] = [
        ("kill-9", the_file_outlives_viperf),
        ("full-disk", a_full_disk_ends_the_recording_and_keeps_it),
        ("closed-pipe", a_reader_that_goes_ends_the_recording),
        ("slow-pipe", a_reader_that_sleeps_gets_everything),
        ("stopped", a_stopped_viperf_goes_on_and_counts_its_losses),
        (
            "terminate-twice",
            told_twice_it_ends_at_once_and_the_file_is_read,
        ),
    ];
    for (name, test) in tests {
        let newest = newest.clone();
        let need = newest.clone().map(|_| ());
        plan.beside(format!("growing/{name}"), need, move || {
            test(&newest.map_err(anyhow::Error::msg)?)
        });
    }
}

/// A recording to a native file, which goes on until it is ended.
struct Growing {
    viperf: Child,
    path: PathBuf,
    /// Outlives viperf.
    _fixture: Fixture,
}

impl Drop for Growing {
    fn drop(&mut self) {
        // It has ended already where the test has gone well.
        self.viperf.kill().ok();
        self.viperf.wait().ok();
    }
}

impl Growing {
    /// Starts one, and waits until there is something in its file.
    fn start(interpreter: &Interpreter, path: PathBuf) -> Result<Self> {
        let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
        fs::remove_file(&path).ok();
        let viperf = record(&fixture, &path).stderr(Stdio::piped()).spawn()?;
        let growing = Self {
            viperf,
            path,
            _fixture: fixture,
        };
        growing.wait_until("there is a file with samples", |growing| {
            let (folded, _) = growing.convert()?;
            Ok(folded.total() > 0)
        })?;
        Ok(growing)
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self.path.exists() && is_so(self).unwrap_or(false) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("in {PATIENCE:?} it has not come to pass that {what}")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.viperf.id().cast_signed()).context("no pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Its exit code, none after a signal, and what it said.
    fn end(&mut self) -> Result<(Option<i32>, String)> {
        let status = wait_at_most(&mut self.viperf, PATIENCE)?;
        let status = status.context("viperf did not end")?;
        let mut said = String::new();
        if let Some(mut stderr) = self.viperf.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        Ok((status.code(), said))
    }

    fn convert(&self) -> Result<(Folded, String)> {
        convert(&self.path)
    }
}

fn record(fixture: &Fixture, path: &Path) -> Command {
    let mut command = Command::new(viperf_binary().unwrap_or_default());
    command
        .args(["record", "-F", "199", "--format", "viperf", "-p"])
        .arg(fixture.pid().to_string())
        .arg("-o")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The stacks of a native file, and what viperf says of it.
fn convert(path: &Path) -> Result<(Folded, String)> {
    let converted = Command::new(viperf_binary()?)
        .arg("convert")
        .arg(path)
        .args(["-o", "-"])
        .output()?;
    let said = String::from_utf8_lossy(&converted.stderr).into_owned();
    ensure!(converted.status.success(), "it is not read: {said}");
    let folded = Folded::parse(&String::from_utf8_lossy(&converted.stdout))?;
    Ok((folded, said))
}

fn file(name: &str) -> Result<PathBuf> {
    let folder = output_folder().join("growing");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{name}.viperf")))
}

fn has_python(folded: &Folded) -> bool {
    folded.count(|stack| stack.python_names().starts_with(&["<module>", "main"])) > 0
}

fn the_file_outlives_viperf(interpreter: &Interpreter) -> Result<()> {
    let mut growing = Growing::start(interpreter, file("kill-9")?)?;
    let (before, _) = growing.convert()?;
    growing.wait_until("the file has grown", |growing| {
        Ok(growing.convert()?.0.total() > before.total())
    })?;
    growing.viperf.kill()?;
    growing.end()?;
    let (folded, said) = growing.convert()?;
    ensure!(said.contains("cut off"), "nothing is said of it: {said}");
    ensure!(has_python(&folded), "no Python in what was kept");
    Ok(())
}

fn a_full_disk_ends_the_recording_and_keeps_it(interpreter: &Interpreter) -> Result<()> {
    let folder = output_folder().join("growing/small-disk");
    fs::create_dir_all(&folder)?;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "none"])
        .arg(&folder)
        .status()?;
    ensure!(mounted.success(), "no small disk could be mounted");
    let result = fill_the_disk(interpreter, &folder);
    Command::new("umount").arg("-l").arg(&folder).status()?;
    result
}

fn fill_the_disk(interpreter: &Interpreter, folder: &Path) -> Result<()> {
    let mut growing = Growing::start(interpreter, folder.join("full.viperf"))?;
    let mut filler = File::create(folder.join("filler"))?;
    let end = Instant::now() + PATIENCE;
    // Until viperf has met the end of the disk, also where its last bit has just had room.
    while growing.viperf.try_wait()?.is_none() && Instant::now() < end {
        // What does not fit says so, and the rest of it has been written.
        filler.write_all(&[0; 64 << 10]).ok();
        thread::sleep(Duration::from_millis(5));
    }
    let (code, said) = growing.end()?;
    ensure!(code == Some(1), "it ended with {code:?}: {said}");
    ensure!(
        said.contains("No space left on device") && said.contains("the file holds"),
        "it does not say what happened: {said}"
    );
    let (folded, _) = growing.convert()?;
    ensure!(has_python(&folded), "no Python in what was kept");
    Ok(())
}

fn a_reader_that_goes_ends_the_recording(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let mut viperf = record(&fixture, Path::new("-"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut reader = viperf.stdout.take().context("no pipe")?;
    let mut first = [0; 12];
    let read = reader.read_exact(&mut first);
    drop(reader);
    let status = wait_at_most(&mut viperf, PATIENCE)?;
    viperf.kill().ok();
    let output = viperf.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    read.with_context(|| said.to_string())?;
    ensure!(first.starts_with(b"\x93viperf\n"), "{first:?} is no file");
    let status = status.context("it went on without a reader")?;
    ensure!(status.code() == Some(1), "it ended with {status}: {said}");
    ensure!(said.contains("has gone"), "it does not say why: {said}");
    Ok(())
}

fn a_reader_that_sleeps_gets_everything(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let mut viperf = record(&fixture, Path::new("-"))
        .args(["-d", "3s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    thread::sleep(Duration::from_secs(4));
    let mut bytes = Vec::new();
    let mut reader = viperf.stdout.take().context("no pipe")?;
    reader.read_to_end(&mut bytes)?;
    let output = viperf.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let path = file("slow-pipe")?;
    fs::write(&path, bytes)?;
    let (folded, damage) = convert(&path)?;
    ensure!(damage.is_empty(), "it is not whole: {damage}");
    ensure!(has_python(&folded), "no Python in it: {said}");
    Ok(())
}

fn a_stopped_viperf_goes_on_and_counts_its_losses(interpreter: &Interpreter) -> Result<()> {
    let mut growing = Growing::start(interpreter, file("stopped")?)?;
    growing.signal(Signal::STOP)?;
    thread::sleep(Duration::from_secs(3));
    growing.signal(Signal::CONT)?;
    let (before, _) = growing.convert()?;
    growing.wait_until("the file has grown again", |growing| {
        Ok(growing.convert()?.0.total() > before.total())
    })?;
    growing.signal(Signal::TERM)?;
    let (code, said) = growing.end()?;
    ensure!(code == Some(0), "it ended with {code:?}: {said}");
    ensure!(said.contains("  lost "), "losses are not counted: {said}");
    let (folded, damage) = growing.convert()?;
    ensure!(damage.is_empty(), "it is not whole: {damage}");
    ensure!(has_python(&folded), "no Python in it");
    Ok(())
}

fn told_twice_it_ends_at_once_and_the_file_is_read(interpreter: &Interpreter) -> Result<()> {
    let mut growing = Growing::start(interpreter, file("terminate-twice")?)?;
    growing.signal(Signal::TERM)?;
    // It may have ended in good order before it hears this.
    growing.signal(Signal::TERM).ok();
    let (code, said) = growing.end()?;
    ensure!(
        matches!(code, Some(0 | 143)),
        "it ended with {code:?}: {said}"
    );
    let (folded, _) = growing.convert()?;
    ensure!(has_python(&folded), "no Python in what was kept");
    Ok(())
}
