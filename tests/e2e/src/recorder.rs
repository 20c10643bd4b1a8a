//! One run of `viperf record`, and what it left: stacks, figures, words, exit code.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Folded;

/// What `--stats` promises, as `command-line.md` names it.
pub const STATS_KEYS: [&str; 13] = [
    "samples",
    "samples_complete",
    "samples_lost",
    "incomplete",
    "processes",
    "rate_achieved",
    "bpf_ns_per_sample",
    "user_cpu_ms",
    "peak_rss_bytes",
    "bpf_map_bytes",
    "executables_open",
    "executables_evicted",
    "time_to_first_sample_ms",
];

/// How long a run may take beyond its duration before the test gives it up.
const GRACE: Duration = Duration::from_secs(60);

/// `viperf record` with its arguments, not yet run.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    arguments: Vec<OsString>,
    command: Vec<OsString>,
    launcher: Vec<OsString>,
    duration: Duration,
}

/// What a run of `viperf record` to folded stacks gave.
#[derive(Debug)]
pub struct Recording {
    /// The stacks it wrote.
    pub folded: Folded,
    /// The figures it wrote.
    pub stats: Value,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Recorder {
    /// A run named after its test; what it writes stays in the output folder under that name.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let folder = output_folder().join(name.replace(['/', ' '], "_"));
        fs::create_dir_all(&folder)?;
        for stale in ["stacks.folded", "stats.json"] {
            // Nothing to remove is the ordinary case.
            fs::remove_file(folder.join(stale)).ok();
        }
        Ok(Self {
            folder,
            arguments: Vec::new(),
            command: Vec::new(),
            launcher: Vec::new(),
            duration: Duration::ZERO,
        })
    }

    /// Adds one argument.
    pub fn with(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// `-p PID`.
    pub fn process(self, pid: u32) -> Self {
        self.with("-p").with(pid.to_string())
    }

    /// `-F HERTZ`.
    pub fn rate(self, hertz: u32) -> Self {
        self.with("-F").with(hertz.to_string())
    }

    /// `-d SECONDS`.
    pub fn seconds(mut self, seconds: u64) -> Self {
        self.duration = Duration::from_secs(seconds);
        self.with("-d").with(format!("{seconds}s"))
    }

    /// `-- COMMAND…`, told as the last words of the line.
    pub fn command(mut self, words: &[impl AsRef<std::ffi::OsStr>]) -> Self {
        self.command = words.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// A program that becomes viperf: it is started with these words and, after them, viperf's own.
    pub fn launcher(mut self, words: &[impl AsRef<std::ffi::OsStr>]) -> Self {
        self.launcher = words.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// The folded file of this run.
    pub fn output(&self) -> PathBuf {
        self.folder.join("stacks.folded")
    }

    /// Starts it with `-o` and `--stats` in its folder.
    ///
    /// # Errors
    /// The binary is missing or does not start.
    pub fn start(&self) -> Result<Child> {
        let mut words = self.launcher.clone();
        words.push(viperf_binary()?.into());
        let (program, before) = words.split_first().context("no word to start")?;
        let mut command = Command::new(program);
        command.args(before).arg("record").args(&self.arguments);
        command
            .arg("-o")
            .arg(self.output())
            .arg("--stats")
            .arg(self.folder.join("stats.json"));
        if !self.command.is_empty() {
            command.arg("--").args(&self.command);
        }
        command.stdin(Stdio::null());
        command.stdout(File::create(self.folder.join("stdout.txt"))?);
        command.stderr(File::create(self.folder.join("stderr.txt"))?);
        command.spawn().context("cannot start viperf")
    }

    /// Waits for a started run and reads what it left, whatever its exit code.
    ///
    /// # Errors
    /// It does not end in time, or a file it wrote cannot be read as what it should be.
    pub fn finish(&self, child: Child) -> Result<Recording> {
        self.finish_within(child, self.duration + GRACE)
    }

    /// As [`Recorder::finish`], with a limit of its own.
    ///
    /// # Errors
    /// As [`Recorder::finish`].
    pub fn finish_within(&self, mut child: Child, limit: Duration) -> Result<Recording> {
        let Some(status) = wait_at_most(&mut child, limit)? else {
            child.kill().ok();
            child.wait().ok();
            bail!(
                "viperf was still running after {limit:?}; it said:\n{}",
                self.text("stderr.txt")
            );
        };
        let folded = Folded::parse(&self.text("stacks.folded"))?;
        let stats = serde_json::from_str(&self.text("stats.json")).unwrap_or(Value::Null);
        Ok(Recording {
            folded,
            stats,
            stdout: self.text("stdout.txt"),
            stderr: self.text("stderr.txt"),
            status,
        })
    }

    /// Runs it to its end, which must be a good one, with all figures and at least one sample.
    ///
    /// # Errors
    /// As [`Recorder::finish`], another exit code than 0, a figure that is missing, or no sample.
    pub fn run(&self) -> Result<Recording> {
        let recording = self.finish(self.start()?)?;
        ensure!(
            recording.status.success(),
            "viperf ended with {}:\n{}",
            recording.status,
            recording.stderr
        );
        for key in STATS_KEYS {
            ensure!(
                !recording.stats[key].is_null(),
                "--stats has no {key}: {}",
                recording.stats
            );
        }
        ensure!(
            recording.folded.total() > 0,
            "no sample was written; viperf said:\n{}",
            recording.stderr
        );
        Ok(recording)
    }

    fn text(&self, file: &str) -> String {
        fs::read(self.folder.join(file))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Recording {
    /// A whole number of the figures; 0 if it is not there.
    pub fn figure(&self, key: &str) -> u64 {
        self.stats[key].as_f64().unwrap_or_default() as u64
    }

    /// The share of complete samples, 0 to 1.
    pub fn complete(&self) -> f64 {
        self.figure("samples_complete") as f64 / self.figure("samples").max(1) as f64
    }

    /// The last thing that a recorded command printed: what a fixture measured of itself.
    ///
    /// # Errors
    /// viperf or the command failed, or the line is no JSON.
    pub fn last_line(&self) -> Result<Value> {
        let said = || format!("{}\n{}", self.stdout, self.stderr);
        ensure!(self.status.success(), "{}:\n{}", self.status, said());
        let mut lines = self.stdout.lines().rev();
        let last = lines.find(|line| !line.is_empty());
        let last = last.with_context(|| format!("the program said nothing:\n{}", said()))?;
        serde_json::from_str(last).with_context(said)
    }

    /// The process's stacks.
    pub fn of(&self, pid: u32) -> Folded {
        self.folded.only(|stack| stack.pid() == Some(pid))
    }
}

/// The binary under test.
///
/// # Errors
/// It is not there; the text says how to build it.
pub fn viperf_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("VIPERF_BIN") {
        return PathBuf::from(&path)
            .canonicalize()
            .with_context(|| format!("VIPERF_BIN is {}", path.display()));
    }
    // This test is target/PROFILE/deps/it-HASH.
    let test = std::env::current_exe()?;
    let profile = test
        .ancestors()
        .nth(2)
        .context("the test is in no target folder")?;
    let binary = profile.join("viperf");
    ensure!(
        binary.exists(),
        "{} is not built; `cargo build` builds it, or set VIPERF_BIN",
        binary.display()
    );
    Ok(binary)
}

/// Where runs leave their files, one folder per test.
pub fn output_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/e2e")
}

/// Waits for a child; none if it is still running after `limit`.
///
/// # Errors
/// The system's own, from waiting.
pub fn wait_at_most(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > end {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}
