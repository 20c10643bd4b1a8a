//! `cargo xtask bench`: viperf and every peer that can be had, on the same work, in one run.
//!
//! Each figure of a profiler stands beside one of the same process without it, taken just before: the machine's moods
//! change from minute to minute, ratios of neighbours do not. It measures; it does not judge.

mod attribution;
mod bars;
mod figures;
mod peers;
mod plots;
mod run;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Interpreter, interpreter_set};

use self::peers::{Kind, Profiler};
use crate::{command, say, tree};

/// What is to be measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// Seconds of each measurement; what needs more samples has more
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Measurements of each profiler on each workload, of which the medians are taken
    #[arg(long, default_value_t = 2)]
    pairs: usize,
    /// One measurement of each, and none that is longer: to see that everything runs
    #[arg(long)]
    quick: bool,
    /// Samples per second, a list, for every profiler [default: those that tell something, of each workload]
    #[arg(long, value_delimiter = ',')]
    rates: Vec<u32>,
    /// Only workloads whose name contains this; a list
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Only profilers whose name contains this; a list
    #[arg(long, value_delimiter = ',')]
    profilers: Vec<String>,
    /// Write docs/benchmarks.md from what was measured
    #[arg(long)]
    write: bool,
    /// Compare with the results of an earlier run, a file that this command wrote
    #[arg(long)]
    compare: Option<PathBuf>,
}

impl Wanted {
    /// Seconds of a measurement of this profiler, and how many there are.
    fn extent(&self, kind: Kind, workload: &str, rate: u32) -> (Duration, usize) {
        let long = LONG
            .iter()
            .find(|(name, of, _)| *name == workload && *of == rate);
        match long.filter(|_| kind == Kind::Viperf && !self.quick) {
            Some((_, _, seconds)) => (Duration::from_secs(*seconds), 1),
            None if self.quick => (Duration::from_secs(self.seconds), 1),
            None => (Duration::from_secs(self.seconds), self.pairs),
        }
    }

    /// The rates of a workload, and whether a profiler is wanted there.
    fn rates(&self, work: &Work) -> Vec<u32> {
        match self.rates.is_empty() {
            true => [work.shared, work.ours].concat(),
            false => self.rates.clone(),
        }
    }

    fn compares(&self, work: &Work, rate: u32, kind: Kind) -> bool {
        let is_asked = !self.rates.is_empty() || work.shared.contains(&rate);
        match kind {
            Kind::Viperf => true,
            Kind::ViperfTick => rate <= TICK_RATE,
            // It takes a minute for five seconds of these stacks.
            Kind::PySpyNative if work.name == "recursion_900" => is_asked && rate <= TICK_RATE,
            _ => is_asked,
        }
    }

    fn wants(list: &[String], name: &str) -> bool {
        list.is_empty() || list.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Work of `fixtures/python/benchmark.py`, and the rates at which it is measured: with every profiler, and with viperf alone.
struct Work {
    name: &'static str,
    shared: &'static [u32],
    ours: &'static [u32],
}

const fn work(name: &'static str, shared: &'static [u32], ours: &'static [u32]) -> Work {
    Work { name, shared, ours }
}

const WORKLOADS: [Work; 12] = [
    work("zlib_example", &[100, 1000], &[10_000]),
    work("known_shares", &[100], &[1000]),
    work("lockstep", &[100], &[1000]),
    work("quick_calls", &[100, 1000], &[]),
    work("recursion_100", &[], &[1000]),
    work("recursion_900", &[100, 1000], &[]),
    work("eight_threads", &[], &[100]),
    work("idle_threads_100", &[], &[100]),
    work("numpy_matmul", &[], &[100]),
    work("asyncio_tasks", &[], &[100]),
    work("short_processes", &[], &[100]),
    work("processes_200", &[], &[100]),
];

/// Seconds of viperf's measurements whose figures hang on the number of samples: what a minute costs, shares of 10,000.
const LONG: [(&str, u32, u64); 4] = [
    ("zlib_example", 100, 60),
    ("known_shares", 1000, 10),
    ("lockstep", 1000, 10),
    ("short_processes", 100, 20),
];

/// As often as any kernel's timer ticks.
const TICK_RATE: u32 = 100;

/// The version of the targets: the newest that every peer reads.
const VERSION: (u64, u64) = (3, 12);
/// The version of the targets of the profiler that comes with CPython.
const NEWEST: (u64, u64) = (3, 15);

/// Measures, prints the table, and keeps the figures; `$VIPERF_BIN` is measured where it is set, else this tree's release.
///
/// # Errors
/// Not root, no interpreter, or viperf itself fails. A peer that cannot be had is left out by name.
pub(crate) fn run(wanted: &Wanted) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "sampling in the kernel needs root: run it with sudo"
    );
    let viperf = match std::env::var_os("VIPERF_BIN") {
        Some(binary) => PathBuf::from(binary),
        None => build()?,
    };
    let interpreters = Interpreter::find_all();
    let targets = peers::Targets {
        common: find(&interpreters, VERSION)?.clone(),
        newest: find(&interpreters, NEWEST).ok().cloned(),
    };
    let folder = tree::root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let mut profilers = peers::find_all(&folder, viperf, &targets);
    profilers.retain(|profiler| Wanted::wants(&wanted.profilers, profiler.name()));
    let mut results = figures::Results::of_this_machine(wanted.pairs, wanted.seconds)?;
    for workload in WORKLOADS {
        if Wanted::wants(&wanted.workloads, workload.name) {
            measure_workload(wanted, &workload, &profilers, &folder, &mut results);
        }
    }
    say(&bars::table(&results));
    let file = folder.join("results.json");
    fs::write(&file, results.to_json()?)?;
    say(&format!("bench: the figures are in {}", file.display()));
    if let Some(earlier) = &wanted.compare {
        let text =
            fs::read(earlier).with_context(|| format!("cannot read {}", earlier.display()))?;
        say(&table::compared(
            &figures::Results::from_json(&text)?,
            &results,
        ));
    }
    if wanted.write {
        let document = tree::root().join("docs/benchmarks.md");
        fs::write(&document, table::document(&results))?;
        let pictures = tree::root().join("docs/benchmarks");
        fs::create_dir_all(&pictures)?;
        for plot in &plots::PLOTS {
            if let Some(picture) = plot.draw(&results) {
                fs::write(pictures.join(plot.file), picture)?;
            }
        }
        say(&format!("bench: wrote {}", document.display()));
    }
    Ok(())
}

/// Every profiler that is wanted, at each rate; one that fails is said, and has no row.
fn measure_workload(
    wanted: &Wanted,
    work: &Work,
    profilers: &[Profiler],
    folder: &Path,
    results: &mut figures::Results,
) {
    let workload = work.name;
    for rate in wanted.rates(work) {
        let here = profilers
            .iter()
            .filter(|profiler| wanted.compares(work, rate, profiler.kind));
        for profiler in here {
            let (time, pairs) = wanted.extent(profiler.kind, workload, rate);
            let place = run::Place {
                workload,
                rate,
                time,
                folder,
            };
            match run::measure(profiler, &place, pairs) {
                Ok(figures) => results.add(workload, rate, profiler.name(), figures),
                Err(error) => say(&format!(
                    "bench: {} on {workload} at {rate} Hz: {error:#}",
                    profiler.name()
                )),
            }
        }
        say(&table::of_workload(results, workload, rate));
    }
}

/// The release binary of this tree.
fn build() -> Result<PathBuf> {
    command::run(
        Command::new("cargo")
            .args(["build", "--release", "--package", "viperf"])
            .current_dir(tree::root()),
    )?;
    Ok(tree::root().join("target/release/viperf"))
}

/// A release build of the version; one of the machine itself if there is one.
fn find(interpreters: &[Interpreter], version: (u64, u64)) -> Result<&Interpreter> {
    let mut of_version = interpreters
        .iter()
        .filter(|found| (found.version.0, found.version.1) == version && found.is_release());
    let own = of_version.clone().find(|found| !found.in_container());
    own.or_else(|| of_version.next()).with_context(|| {
        format!(
            "no CPython {}.{}; `cargo xtask interpreters` brings those that can be had into {}",
            version.0,
            version.1,
            interpreter_set().display()
        )
    })
}
