//! `cargo xtask bench`: viperf and every peer that can be had, on the same work, in one run.
//!
//! Each figure of a profiler stands beside one of the same process without it, taken just before: the machine's moods
//! change from minute to minute, ratios of neighbours do not. It measures; it does not judge.

mod attribution;
mod bars;
mod figures;
mod peers;
mod run;
mod table;

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Interpreter, interpreter_set};

use crate::{command, say, tree};

/// What is to be measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Measurements of each profiler on each workload, of which the medians are taken
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Samples per second, a list
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
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
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn wants(list: &[String], name: &str) -> bool {
        list.is_empty() || list.iter().any(|part| name.contains(part.as_str()))
    }
}

/// The work of `fixtures/python/benchmark.py`.
const WORKLOADS: [&str; 12] = [
    "zlib_example",
    "known_shares",
    "lockstep",
    "quick_calls",
    "recursion_100",
    "recursion_900",
    "eight_threads",
    "idle_threads_100",
    "numpy_matmul",
    "asyncio_tasks",
    "short_processes",
    "processes_200",
];

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
        if !Wanted::wants(&wanted.workloads, workload) {
            continue;
        }
        for rate in &wanted.rates {
            for profiler in &profilers {
                let place = run::Place {
                    workload,
                    rate: *rate,
                    time: wanted.time(),
                    folder: &folder,
                };
                match run::measure(profiler, &place, wanted.pairs) {
                    Ok(figures) => results.add(workload, *rate, profiler.name(), figures),
                    Err(error) => say(&format!(
                        "bench: {} on {workload} at {rate} Hz: {error:#}",
                        profiler.name()
                    )),
                }
            }
            say(&table::of_workload(&results, workload, *rate));
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
        say(&format!("bench: wrote {}", document.display()));
    }
    Ok(())
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
