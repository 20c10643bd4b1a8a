//! The stages of `cargo xtask test`, fastest first, and their one closing line.

use std::process::Command;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::{command, consumers, layers, python, say, tally::Tally, tidy, tree, vm};

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
    /// The release binary on Debian's kernels, in virtual machines
    Vm,
}

impl Stage {
    pub(crate) const ALL: [Self; 8] = [
        Self::Tidy,
        Self::Layers,
        Self::Format,
        Self::Clippy,
        Self::Build,
        Self::Unit,
        Self::E2e,
        Self::Vm,
    ];

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// More than so many failures are no accident.
const MOST_AGAIN: usize = 12;

/// Runs the stages one after the other; a stage that fails does not keep the next from being run.
///
/// # Errors
/// Anything failed.
pub(crate) fn run(stages: &[Stage]) -> Result<()> {
    let mut tally = Tally::default();
    for stage in stages {
        say(&format!("\n== {}", stage.name()));
        if let Err(error) = run_stage(*stage, &mut tally) {
            tally.fail(&format!("{}: {error:#}", stage.name()));
        }
    }
    say("");
    if !tally.close() {
        bail!("not all is well");
    }
    Ok(())
}

/// The stage `vm` on some kernels only.
///
/// # Errors
/// Anything failed.
pub(crate) fn run_on(kernels: &[vm::Kernel]) -> Result<()> {
    let mut tally = Tally::default();
    vm::run(kernels, &mut tally)?;
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

/// Builds viperf and runs the test `soak` for `seconds`.
///
/// # Errors
/// It failed, or could not be run.
pub(crate) fn soak(seconds: u32) -> Result<()> {
    let mut tally = Tally::default();
    run_stage(Stage::Build, &mut tally)?;
    let mut test = end_to_end();
    test.args(["--", "--exact", "soak", "--nocapture"])
        .env("VIPERF_SOAK_SECONDS", seconds.to_string())
        .env_remove("VIPERF_WRITE_COVERAGE");
    command::run(&mut test)
}

fn run_stage(stage: Stage, tally: &mut Tally) -> Result<()> {
    match stage {
        Stage::Tidy => tally.check("tidy", &shown(tidy::complaints()?)),
        Stage::Layers => tally.check("layers", &shown(layers::complaints()?)),
        Stage::Format => {
            command::run(cargo().args(["fmt", "--all", "--check"]))?;
            tally.check("format", &[]);
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
            tally.check("clippy", &[]);
        }
        Stage::Build => {
            command::run(cargo().args(["build", "--release", "--package", "viperf"]))?;
            tally.check("build", &[]);
        }
        Stage::Unit => {
            run_tests_twice(
                || unit(&[], &["--no-fail-fast", "--", "--show-output"]),
                unit_alone,
                tally,
            )?;
            let mut library = cargo();
            library.args(["test", "--package", "viperf-e2e", "--lib"]);
            run_tests(&mut library, Failed::IsLast, tally)?.tell(tally);
        }
        Stage::E2e => run_tests_twice(end_to_end, end_to_end_alone, tally)?,
        Stage::Vm => vm::run(&vm::Kernel::ALL, tally)?,
    }
    Ok(())
}

fn end_to_end() -> Command {
    let binary = tree::root().join("target/release/viperf");
    let mut test = cargo();
    test.args(["test", "--package", "viperf-e2e", "--test", "it"])
        .env("VIPERF_BIN", binary);
    test
}

/// The tests of all crates but those of live programs, less the crates `without`.
fn unit(without: &[&str], words: &[&str]) -> Command {
    let mut test = cargo();
    test.args(["test", "--workspace", "--exclude", "viperf-e2e"]);
    for name in without {
        test.args(["--exclude", name]);
    }
    // `--show-output` lets a test that passes because it cannot run here say so.
    test.args(words);
    if let Some(python) = consumers::find_python().or_else(python::find_with_packages) {
        test.env("VIPERF_TEST_PYTHON", python);
    }
    if let Some(modules) = consumers::find_node_modules() {
        test.env("VIPERF_TEST_NODE_MODULES", modules);
    }
    test
}

/// Some of these wait for other programs: an interpreter, gdb, a browser. What fuzzing finds stays found: its inputs are
/// others each time.
fn unit_alone(name: &str) -> Command {
    unit(&["viperf-fuzz"], &["--no-fail-fast", "--", "--exact", name])
}

/// Live programs are sampled beside each other, on few cores.
fn end_to_end_alone(name: &str) -> Command {
    let mut test = end_to_end();
    test.args(["--", "--exact", name])
        // The document is of the whole run.
        .env_remove("VIPERF_WRITE_COVERAGE");
    test
}

/// What a test that fails has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// It has failed.
    IsLast,
    /// It may be run again, alone, and the line that says how it ended comes then: one such line for each test.
    MayBeRunAgain,
}

/// Runs tests; what failed among others is given the machine to itself, once. What fails then has failed; what passes is
/// named at the end.
fn run_tests_twice(
    all: impl Fn() -> Command,
    alone: impl Fn(&str) -> Command,
    tally: &mut Tally,
) -> Result<()> {
    let before = tally.failures().len();
    let ending = run_tests(&mut all(), Failed::MayBeRunAgain, tally)?;
    let failed: Vec<String> = tally.failures().iter().skip(before).cloned().collect();
    let may_be_accidents = failed.len() <= MOST_AGAIN;
    for name in failed {
        let passed = may_be_accidents && passes_alone(&name, &mut alone(&name), tally)?;
        if passed {
            tally.passed_alone(&name);
        }
        let verdict = if passed { "ok" } else { "FAILED" };
        say(&format!("test {name} ... {verdict}"));
    }
    ending.tell(tally);
    Ok(())
}

/// A runner that has no such test ends well, too: that is none that passes.
fn passes_alone(name: &str, alone: &mut Command, tally: &mut Tally) -> Result<bool> {
    say(&format!("again, alone: {name}"));
    let mut was_run = false;
    let ended_well = command::stream(alone, |line| {
        was_run |= line == format!("test {name} ... ok");
        tally.read_line_again(line);
    })?;
    Ok(ended_well && was_run)
}

/// Prints complaints and gives them back.
fn shown(complaints: Vec<String>) -> Vec<String> {
    complaints.iter().for_each(|complaint| say(complaint));
    complaints
}

/// How the output of runners ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
enum Ending {
    Whole,
    /// One did not come to its closing line, which tells of its failed tests.
    Cut,
}

impl Ending {
    fn tell(self, tally: &mut Tally) {
        if self == Self::Cut {
            tally.fail("a test runner ended before its last test");
        }
    }
}

fn run_tests(test: &mut Command, failed: Failed, tally: &mut Tally) -> Result<Ending> {
    let (mut openings, mut closings) = (0, 0);
    let mut is_of_failures = false;
    let ended_well = command::stream(test, |line| {
        tally.read_line(line);
        openings += usize::from(is_opening(line));
        closings += usize::from(line.starts_with("test result: "));
        // What failed tests said is shown whole, what passed ones said is not.
        is_of_failures =
            (is_of_failures || line == "failures:") && !line.starts_with("test result: ");
        let is_news = ["test ", "figure: ", "skipped: "]
            .iter()
            .any(|start| line.starts_with(start));
        match line.strip_suffix(" ... FAILED") {
            Some(test) if failed == Failed::MayBeRunAgain => {
                say(&format!("{test} ... failed beside others"));
            }
            _ if is_news || is_of_failures => say(line),
            _ => {}
        }
    })?;
    // Failed tests are in the tally; a runner that did not come to its closing line is not.
    if closings == 0 {
        bail!("the tests did not run");
    }
    if !ended_well {
        tally.note_bad_end();
    }
    Ok(match openings > closings {
        true => Ending::Cut,
        false => Ending::Whole,
    })
}

/// `running 12 tests`: the first line of a runner, which ends with how they went.
fn is_opening(line: &str) -> bool {
    let number = line
        .strip_prefix("running ")
        .and_then(|rest| rest.strip_suffix(" tests").or(rest.strip_suffix(" test")));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree::root());
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const FAILED: &str = "printf '%s\\n' 'running 2 tests' 'test a/b ... FAILED' 'test c ... ok' \
                          'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";

    #[test]
    fn what_fails_beside_others_has_failed_if_it_fails_alone_or_is_not_there() {
        for (alone, last_line) in [
            ("echo 'test a/b ... ok'", "2 passed, 0 failed, 0 skipped"),
            (
                "echo 'test a/b ... ok'; exit 101",
                "1 passed, 1 failed, 0 skipped",
            ),
            ("exit 0", "1 passed, 1 failed, 0 skipped"),
        ] {
            let mut tally = Tally::default();
            run_tests_twice(|| shell(FAILED), |_| shell(alone), &mut tally).unwrap();
            assert_eq!(tally.last_lines().last().unwrap(), last_line, "{alone}");
        }
    }

    #[test]
    fn a_runner_that_crashes_beside_a_test_that_passes_alone_is_a_failure() {
        let crashed = format!("printf '%s\\n' 'running 3 tests' 'test d ... ok'; {FAILED}");
        let mut tally = Tally::default();
        let alone = |name: &str| shell(&format!("echo 'test {name} ... ok'"));
        run_tests_twice(|| shell(&crashed), alone, &mut tally).unwrap();
        assert!(!tally.close());
    }
}
