//! The profilers: how each is had, and how it is told to look at a process for some seconds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::Interpreter;

use crate::{command, debian, say};

/// The Python of the targets.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    pub(super) common: Interpreter,
    pub(super) newest: Option<Interpreter>,
}

/// What a profiler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Viperf,
    /// On the kernel's timer tick, which is not for high rates.
    ViperfTick,
    PySpy,
    PySpyNative,
    Austin,
    PerfDwarf,
    /// `profiling.sampling` of CPython 3.15, which looks at its own version only.
    OfCPython,
}

impl Kind {
    /// Ours, which writes statistics, too.
    pub(super) fn is_viperf(self) -> bool {
        matches!(self, Self::Viperf | Self::ViperfTick)
    }
}

/// A profiler that is on this machine.
#[derive(Debug, Clone)]
pub(super) struct Profiler {
    pub(super) kind: Kind,
    /// The program that is run.
    program: PathBuf,
    /// The Python of the process that it looks at.
    pub(super) target: Interpreter,
}

/// From PyPI. austin 4 needs a C library newer than Debian 12's.
const PACKAGES: [&str; 2] = ["py-spy==0.4.3", "austin-dist==3.7.0"];

const PY_SPY: &str = "{program} record --pid {pid} --rate {rate} --duration {seconds} --format raw --output {output} --subprocesses";

const PY_SPY_NATIVE: &str = "{program} record --native --pid {pid} --rate {rate} --duration {seconds} --format raw --output {output} --subprocesses";

/// Where each profiler's files go.
#[derive(Debug)]
pub(super) struct Files {
    /// Stacks, or whatever the profiler writes.
    pub(super) output: PathBuf,
    /// viperf's figures.
    pub(super) statistics: PathBuf,
}

impl Profiler {
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Viperf => "viperf",
            Kind::ViperfTick => "viperf --clock tick",
            Kind::PySpy => "py-spy",
            Kind::PySpyNative => "py-spy --native",
            Kind::Austin => "austin",
            Kind::PerfDwarf => "perf dwarf",
            Kind::OfCPython => "profiling.sampling",
        }
    }

    /// The words that profile `pid` for `seconds` and write what was seen.
    pub(super) fn words(&self, pid: u32, rate: u32, seconds: u64, files: &Files) -> Vec<String> {
        let line = match self.kind {
            Kind::Viperf => {
                "{program} record -p {pid} -F {rate} -d {seconds}s -o {output} --stats {statistics}"
            }
            Kind::ViperfTick => {
                "{program} record --clock tick -p {pid} -F {rate} -d {seconds}s -o {output} --stats {statistics}"
            }
            Kind::PySpy => PY_SPY,
            Kind::PySpyNative => PY_SPY_NATIVE,
            Kind::Austin => {
                "{program} --children --interval {interval} --exposure {seconds} --output {output} --pid {pid}"
            }
            Kind::PerfDwarf => {
                "{program} record --event cpu-clock --freq {rate} --call-graph dwarf --pid {pid} --output {output} -- sleep {seconds}"
            }
            Kind::OfCPython => {
                "env LC_ALL=C {program} -m profiling.sampling attach --all-threads --sampling-rate {rate} --duration {seconds} --collapsed -o {output} {pid}"
            }
        };
        let places = [
            ("{program}", self.program.display().to_string()),
            ("{pid}", pid.to_string()),
            ("{rate}", rate.to_string()),
            ("{interval}", (1_000_000 / rate.max(1)).to_string()),
            ("{seconds}", seconds.to_string()),
            ("{output}", files.output.display().to_string()),
            ("{statistics}", files.statistics.display().to_string()),
        ];
        let fill = |word: &str| {
            let word = word.to_owned();
            places
                .iter()
                .fold(word, |word, (place, text)| word.replace(place, text))
        };
        line.split(' ').map(fill).collect()
    }
}

/// Those that can be had; what cannot is said.
pub(super) fn find_all(folder: &Path, viperf: PathBuf, targets: &Targets) -> Vec<Profiler> {
    let common = |kind, program| Profiler {
        kind,
        program,
        target: targets.common.clone(),
    };
    let mut found = vec![
        common(Kind::Viperf, viperf.clone()),
        common(Kind::ViperfTick, viperf),
    ];
    match environment(folder) {
        Ok(bin) => {
            found.push(common(Kind::PySpy, bin.join("py-spy")));
            found.push(common(Kind::PySpyNative, bin.join("py-spy")));
            found.push(common(Kind::Austin, bin.join("austin")));
        }
        Err(error) => say(&format!("bench: no py-spy and no austin: {error:#}")),
    }
    match debian::install(&["linux-perf"]) {
        Ok(()) if command::is_in_path("perf") => found.push(common(Kind::PerfDwarf, "perf".into())),
        Ok(()) => say("bench: no perf"),
        Err(error) => say(&format!("bench: no perf: {error:#}")),
    }
    match &targets.newest {
        Some(newest) => found.push(Profiler {
            kind: Kind::OfCPython,
            program: newest.path.clone(),
            target: newest.clone(),
        }),
        None => say("bench: no CPython 3.15, so no profiling.sampling"),
    }
    found
}

/// The folder of the programs of an environment with the peers.
fn environment(folder: &Path) -> Result<PathBuf> {
    let environment = folder.join("peers");
    let installed = environment.join("packages.txt");
    let wanted = PACKAGES.join("\n");
    let bin = environment.join("bin");
    if fs::read_to_string(&installed).ok().as_ref() == Some(&wanted) {
        return Ok(bin);
    }
    say(&format!(
        "bench: installing {} from PyPI",
        PACKAGES.join(" and ")
    ));
    command::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    command::run(
        Command::new(bin.join("pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES),
    )?;
    ensure!(bin.join("py-spy").exists(), "pip installed no py-spy");
    fs::write(&installed, wanted).context("the list of packages cannot be written")?;
    Ok(bin)
}
