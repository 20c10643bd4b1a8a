//! Everything done to the project that is not building it: `cargo xtask VERB`.
//!
//! There are no shell scripts beside it; `make demo`, `make test` and `.ci/run` call these verbs, so a machine of a
//! developer and one of CI do the same. It installs only Debian packages and virtual environments under `target/`,
//! and says beforehand what.

#![forbid(unsafe_code)]

mod bench;
mod command;
mod consumers;
mod container;
mod debian;
mod demo;
mod from_source;
mod interpreters;
mod layers;
mod layouts;
mod python;
mod setup;
mod stages;
mod suite;
mod tally;
mod tidy;
mod tree;
mod vm;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Everything done to the project that is not building it"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Installs what is missing to build; more with --test or --demo
    Setup {
        /// Also what the tests need
        #[arg(long)]
        test: bool,
        /// Also what the demo needs
        #[arg(long)]
        demo: bool,
    },
    /// Fetches and builds the interpreters that the tests need, into the cache, and lists those that are here
    Interpreters,
    /// Builds viperf, starts real programs, records them and says where the page is
    Demo,
    /// Sets up and runs every test that this machine allows, and names what it skipped
    Test,
    /// Runs one stage of `test`, or all of them, without setting anything up
    Ci {
        /// One of: tidy, layers, format, clippy, build, unit, e2e, vm
        stage: Option<stages::Stage>,
    },
    /// Checks the files: lengths, names, paths and commands in documents
    Tidy,
    /// Checks which crate may use which, and who may read /proc or call the kernel
    Layers,
    /// Gives damaged and made-up bytes to everything that reads a file or a process
    Fuzz {
        /// For how long, each target
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Boots Debian's kernels in virtual machines and checks what viperf records there
    Vm {
        /// Only this one; repeat it for more
        #[arg(long)]
        kernel: Vec<vm::Kernel>,
    },
    /// Records a machine of a hundred starts a second, and checks what was seen and what viperf held meanwhile
    Soak {
        /// For how long
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
    /// Measures viperf and its peers on the same work, in pairs
    Bench(bench::Wanted),
    /// Derives the layout file of a CPython version, and writes it to the output
    Layout(layouts::Wanted),
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Setup { test, demo } => setup::run(setup::Wanted { test, demo }),
        Verb::Interpreters => {
            interpreters::run()?;
            interpreters::list();
            Ok(())
        }
        Verb::Demo => {
            setup::run(setup::Wanted {
                test: false,
                demo: true,
            })?;
            demo::run()
        }
        Verb::Test => {
            setup::run(setup::Wanted {
                test: true,
                demo: false,
            })?;
            stages::run(&stages::Stage::ALL)
        }
        Verb::Ci { stage: Some(stage) } => stages::run(&[stage]),
        Verb::Ci { stage: None } => stages::run(&stages::Stage::ALL),
        Verb::Tidy => stages::run(&[stages::Stage::Tidy]),
        Verb::Layers => stages::run(&[stages::Stage::Layers]),
        Verb::Fuzz { seconds } => stages::fuzz(seconds),
        Verb::Vm { kernel } if kernel.is_empty() => stages::run(&[stages::Stage::Vm]),
        Verb::Vm { kernel } => stages::run_on(&kernel),
        Verb::Soak { seconds } => stages::soak(seconds),
        Verb::Bench(wanted) => bench::run(&wanted),
        Verb::Layout(wanted) => layouts::run(&wanted),
    }
}

/// The verbs by name, for the check that documents name only verbs that exist.
fn verb_names() -> Vec<String> {
    Arguments::command()
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect()
}

/// One line for the person at the terminal.
fn say(line: &str) {
    use std::io::Write;
    // What tests say of runs that are made up is not to be taken for what a run says.
    if cfg!(test) {
        return;
    }
    // A closed terminal is no reason to stop the work.
    writeln!(std::io::stdout().lock(), "{line}").ok();
}
