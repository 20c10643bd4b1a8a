//! The list of tests of one run, with what each needs, and which of them must have the machine to themselves.

use std::{
    fs::OpenOptions,
    io::Write,
    sync::{PoisonError, RwLock},
};

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

use crate::output_folder;

/// Whether a test can run here, or why not.
pub type Need = Result<(), String>;

/// Tests that measure shares and rates hold this for writing, all others for reading.
static MACHINE: RwLock<()> = RwLock::new(());

/// The tests of one run.
#[derive(Debug, Default)]
pub struct Plan {
    trials: Vec<Trial>,
}

impl Plan {
    /// Adds a test that may run beside others.
    pub fn beside(
        &mut self,
        name: impl Into<String>,
        need: Need,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        self.add(name.into(), need, || {
            let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
            test()
        });
    }

    /// Adds a test that runs alone, because it measures.
    pub fn alone(
        &mut self,
        name: impl Into<String>,
        need: Need,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        self.add(name.into(), need, || {
            let _machine = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
            test()
        });
    }

    fn add(
        &mut self,
        name: String,
        need: Need,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        let why_not = need.err();
        if let Some(why) = &why_not {
            announce(&format!("skipped: {name}: {why}"));
        }
        let skipped = why_not.is_some();
        let run = move || match why_not {
            Some(why) => Err(Failed::from(format!("cannot run here: {why}"))),
            None => test().map_err(|error| Failed::from(format!("{error:#}"))),
        };
        self.trials
            .push(Trial::test(name, run).with_ignored_flag(skipped));
    }

    /// The tests for the runner.
    pub fn into_trials(self) -> Vec<Trial> {
        self.trials
    }
}

/// True where this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints a measured figure, and keeps it in the output folder's `figures.txt`.
pub fn note_figure(name: &str, figure: &str) {
    let line = format!("figure: {name}: {figure}");
    announce(&line);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(output_folder().join("figures.txt"));
    // The figure has been printed: a folder that cannot be written must not fail the test.
    file.and_then(|mut file| writeln!(file, "{line}")).ok();
}

/// A line on standard output in one piece, from any thread.
fn announce(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").ok();
}
