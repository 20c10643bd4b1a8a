//! The stages of `cargo xtask test`, fastest first, and their one closing line.

use std::process::Command;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::{command, consumers, layers, python, say, tally::Tally, tidy, tree};

/// One stage.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Stage {
    /// Lengths, names, paths and commands in documents
    Tidy,
    /// Which crate may use which
    Layers,
    /// rustfmt
    Format,
    /// clippy, with warnings as errors
    Clippy,
    /// The release binary
    Build,
    /// The tests beside the code, those that need root included where this is root
    Unit,
    /// The release binary on live interpreters
    E2e,
}

impl Stage {
    pub(crate) const ALL: [Self; 7] = [
        Self::Tidy,
        Self::Layers,
        Self::Format,
        Self::Clippy,
        Self::Build,
        Self::Unit,
        Self::E2e,
    ];

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Runs the stages one after the other; a stage that fails does not keep the next from being run.
///
/// # Errors
/// Anything failed.
pub(crate) fn run(stages: &[Stage]) -> Result<()> {
    let mut tally = Tally::default();
    for stage in stages {
        say(&format!("\n== {}", stage.name()));
        if let Err(error) = run_stage(*stage, &mut tally) {
            tally.fail(format!("{}: {error:#}", stage.name()));
        }
    }
    say("");
    if !tally.close() {
        bail!("not all is well");
    }
    Ok(())
}

/// Runs every target of `tests/fuzz` for `seconds`, one after the other, from a seed that no run had before.
///
/// # Errors
/// A target did not survive an input, or nothing was run.
pub(crate) fn fuzz(seconds: u32) -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--package", "viperf-fuzz", "--test", "it"])
        .args(["--", "--nocapture"])
        .env("VIPERF_FUZZ_SECONDS", seconds.to_string());
    command::run(&mut test)
}

fn run_stage(stage: Stage, tally: &mut Tally) -> Result<()> {
    match stage {
        Stage::Tidy => tally.check("tidy", show(&tidy::complaints()?)),
        Stage::Layers => tally.check("layers", show(&layers::complaints()?)),
        Stage::Format => {
            command::run(cargo().args(["fmt", "--all", "--check"]))?;
            tally.check("format", 0);
        }
        Stage::Clippy => {
            command::run(cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ]))?;
            tally.check("clippy", 0);
        }
        Stage::Build => {
            command::run(cargo().args(["build", "--release", "--package", "viperf"]))?;
            tally.check("build", 0);
        }
        Stage::Unit => {
            // `--show-output` lets a test that passes because it cannot run here say so.
            let mut test = cargo();
            test.args([
                "test",
                "--workspace",
                "--exclude",
                "viperf-e2e",
                "--no-fail-fast",
                "--",
                "--show-output",
            ]);
            if let Some(python) = consumers::find_python().or_else(python::find_with_packages) {
                test.env("VIPERF_TEST_PYTHON", python);
            }
            if let Some(modules) = consumers::find_node_modules() {
                test.env("VIPERF_TEST_NODE_MODULES", modules);
            }
            run_tests(&mut test, tally)?;
            run_tests(
                cargo().args(["test", "--package", "viperf-e2e", "--lib"]),
                tally,
            )?;
        }
        Stage::E2e => {
            let binary = tree::root().join("target/release/viperf");
            let mut test = cargo();
            test.args(["test", "--package", "viperf-e2e", "--test", "it"])
                .env("VIPERF_BIN", binary);
            run_tests(&mut test, tally)?;
        }
    }
    Ok(())
}

/// Prints complaints and returns how many there are.
fn show(complaints: &[String]) -> usize {
    complaints.iter().for_each(|complaint| say(complaint));
    complaints.len()
}

fn run_tests(test: &mut Command, tally: &mut Tally) -> Result<()> {
    let mut closings = 0;
    let mut is_of_failures = false;
    let ended_well = command::stream(test, |line| {
        tally.read_line(line);
        closings += usize::from(line.starts_with("test result: "));
        // What failed tests said is shown whole, what passed ones said is not.
        is_of_failures =
            (is_of_failures || line == "failures:") && !line.starts_with("test result: ");
        let is_news = ["test ", "figure: ", "skipped: "]
            .iter()
            .any(|start| line.starts_with(start));
        if is_news || is_of_failures {
            say(line);
        }
    })?;
    // Failed tests are in the tally; a runner that did not come to its closing line is not.
    if closings == 0 {
        bail!("the tests did not run");
    }
    if !ended_well {
        tally.note_bad_end();
    }
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree::root());
    cargo
}
