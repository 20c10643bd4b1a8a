//! Every end-to-end test, listed per interpreter found, run under one harness.

mod children;
mod command_line;
mod commands;
mod completeness;
mod freed_code;
mod greenlets;
mod late_import;
mod lifecycle;
mod many_mappings;
mod nested;
mod other_programs;
mod page;
mod prefork;
mod recursion;
mod shares;
mod talk;
mod targets;
mod threads;
mod volume;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use viperf_e2e::{EXPECTED_VERSIONS, Interpreter, Need, Plan, is_root};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let interpreters = Interpreter::find_all();
    let mut plan = Plan::default();
    name_missing(&mut plan, &interpreters);

    command_line::plan(&mut plan, &interpreters);
    lifecycle::plan(&mut plan, &interpreters);
    commands::plan(&mut plan, &interpreters);
    targets::plan(&mut plan, &interpreters);
    other_programs::plan(&mut plan, &interpreters);
    children::plan(&mut plan, &interpreters);
    prefork::plan(&mut plan, &interpreters);
    many_mappings::plan(&mut plan, &interpreters);
    page::plan(&mut plan, &interpreters);
    for interpreter in interpreters
        .iter()
        .filter(|interpreter| interpreter.is_supported())
    {
        talk::plan(&mut plan, interpreter);
        nested::plan(&mut plan, interpreter);
        threads::plan(&mut plan, interpreter);
        recursion::plan(&mut plan, interpreter);
        greenlets::plan(&mut plan, interpreter);
        freed_code::plan(&mut plan, interpreter);
        late_import::plan(&mut plan, interpreter);
        completeness::plan(&mut plan, interpreter);
    }
    shares::plan(&mut plan, &interpreters);
    volume::plan(&mut plan, &interpreters);
    libtest_mimic::run(&arguments, plan.into_trials()).exit_code()
}

/// One skipped test for each build of CPython that should be covered and is not on this machine.
fn name_missing(plan: &mut Plan, interpreters: &[Interpreter]) {
    for minor in EXPECTED_VERSIONS {
        let name = format!("interpreter/3.{minor}-shared");
        if !interpreters
            .iter()
            .any(|found| found.version.1 == minor && found.shared)
        {
            plan.beside(
                name,
                Err(format!("no CPython 3.{minor} with a shared libpython")),
                || Ok(()),
            );
        }
    }
    if !interpreters
        .iter()
        .any(|found| found.is_supported() && !found.shared && found.stripped)
    {
        let why = "no static, stripped CPython (Debian's python3.11 is one)".to_owned();
        plan.beside("interpreter/static-stripped", Err(why), || Ok(()));
    }
}

/// What every test that samples needs.
fn root() -> Need {
    if is_root() {
        Ok(())
    } else {
        Err("sampling needs root".to_owned())
    }
}

/// What a test with some interpreter of a supported version needs, and that interpreter.
fn root_and(interpreters: &[Interpreter]) -> Result<&Interpreter, String> {
    root()?;
    newest(interpreters)
}

/// The newest interpreter that is supported.
fn newest(interpreters: &[Interpreter]) -> Result<&Interpreter, String> {
    let supported = interpreters
        .iter()
        .rev()
        .find(|interpreter| interpreter.is_supported());
    supported.ok_or_else(|| "no CPython 3.11, 3.12 or 3.13".to_owned())
}
