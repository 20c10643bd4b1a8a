//! A running program of `fixtures/python`, and what it says of itself.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{fixtures, wait_at_most};

/// A fixture that has said it is ready; it is killed when this goes away.
#[derive(Debug)]
pub struct Fixture {
    child: Child,
    output: BufReader<ChildStdout>,
    facts: Value,
}

/// What a fixture measured of itself, printed at its end.
pub type Measured = Value;

impl Fixture {
    /// Starts `fixtures/python/PROGRAM` and waits for its first line.
    ///
    /// # Errors
    /// The program does not start, or ends or says something else before it is ready.
    pub fn start(python: &Path, program: &str, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(python)
            .arg(fixtures().join(program))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let mut output = BufReader::new(child.stdout.take().context("the fixture has no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let facts =
            serde_json::from_str(&line).with_context(|| format!("{program} said {line:?}"))?;
        Ok(Self {
            child,
            output,
            facts,
        })
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it said when it was ready.
    pub fn facts(&self) -> &Value {
        &self.facts
    }

    /// The number of the line marked `# line: NAME`.
    ///
    /// # Errors
    /// The program marked no such line.
    pub fn line(&self, name: &str) -> Result<u32> {
        let line = self.facts["lines"][name]
            .as_u64()
            .and_then(|line| u32::try_from(line).ok());
        line.with_context(|| format!("no line is marked {name}: {}", self.facts))
    }

    /// Ends the program and returns what it measured.
    ///
    /// # Errors
    /// It does not end within two minutes (it may be one of hundreds that want the same processor), or its last line is not
    /// what a fixture prints.
    pub fn stop(mut self) -> Result<Measured> {
        // A program that has ended by itself has its last line in the pipe all the same.
        kill_process(pid(&self.child)?, Signal::TERM).ok();
        if wait_at_most(&mut self.child, Duration::from_secs(120))?.is_none() {
            bail!("the fixture did not end when told");
        }
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        let last = rest.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("the fixture's last line was {last:?}"))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The CPU time that a process has used, from the kernel's own account of it, in seconds (to 10 ms).
///
/// # Errors
/// There is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').context("no command in stat")?.1;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .flat_map(str::parse)
        .collect();
    // USER_HZ is 100 on x86-64, whatever the kernel's own clock is.
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}

fn pid(child: &Child) -> Result<Pid> {
    Pid::from_raw(i32::try_from(child.id())?).context("pid 0")
}
