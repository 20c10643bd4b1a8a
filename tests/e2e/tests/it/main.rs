//! Every end-to-end test, listed per interpreter found, run under one harness.

mod budget;
mod capabilities;
mod children;
mod command_line;
mod commands;
mod completeness;
mod control_groups;
mod dump;
mod dump_more;
mod flutter;
mod freed_code;
mod greenlets;
mod growing;
mod growing_killed;
mod late_import;
mod lifecycle;
mod many_mappings;
mod models;
mod native;
mod nested;
mod next_commands;
mod other_programs;
mod page;
mod pools;
mod prefork;
mod processes;
mod recursion;
mod reports;
mod same_addresses;
mod scenarios;
mod shares;
mod shell;
mod short_lives;
mod soak;
mod starts;
mod talk;
mod targets;
mod terminal;
mod threads;
mod throw;
mod tick;
mod top;
mod volume;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use viperf_e2e::{
    EXPECTED_VERSIONS, Interpreter, Need, Plan, clear_cells, is_root, write_coverage,
    writes_coverage,
};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let interpreters = Interpreter::find_all();
    let mut plan = Plan::default();
    name_missing(&mut plan, &interpreters);

    let of_versions = of_each_version(&interpreters);
    command_line::plan(&mut plan, &interpreters);
    lifecycle::plan(&mut plan, &interpreters);
    growing::plan(&mut plan, &interpreters);
    growing_killed::plan(&mut plan, &interpreters);
    capabilities::plan(&mut plan, &interpreters);
    commands::plan(&mut plan, &interpreters);
    top::plan(&mut plan, &interpreters);
    shell::plan(&mut plan);
    next_commands::plan(&mut plan, &interpreters);
    targets::plan(&mut plan, &interpreters);
    control_groups::plan(&mut plan, &interpreters);
    processes::plan_identity(&mut plan, &interpreters);
    other_programs::plan(&mut plan, &interpreters);
    children::plan(&mut plan, &of_versions);
    prefork::plan(&mut plan, &interpreters);
    pools::plan(&mut plan, &interpreters);
    many_mappings::plan(&mut plan, &interpreters);
    page::plan(&mut plan, &interpreters);
    dump::plan_once(&mut plan, &interpreters);
    dump_more::plan(&mut plan, &interpreters, &of_versions);
    reports::plan(&mut plan, &interpreters, &of_versions);
    models::plan(&mut plan);
    for interpreter in interpreters.iter().filter(|found| found.is_supported()) {
        scenarios::plan(&mut plan, interpreter);
    }
    for interpreter in &of_kinds(&interpreters) {
        starts::plan(&mut plan, interpreter);
        flutter::plan(&mut plan, interpreter);
        freed_code::plan(&mut plan, interpreter);
        same_addresses::plan(&mut plan, interpreter);
        completeness::plan(&mut plan, interpreter);
    }
    for interpreter in &of_versions {
        talk::plan(&mut plan, interpreter);
        dump::plan(&mut plan, interpreter);
        nested::plan(&mut plan, interpreter);
        threads::plan(&mut plan, interpreter);
        recursion::plan(&mut plan, interpreter);
        greenlets::plan(&mut plan, interpreter);
        throw::plan(&mut plan, interpreter);
        processes::plan(&mut plan, interpreter);
        late_import::plan(&mut plan, interpreter);
    }
    starts::plan_slow_ways(&mut plan, &of_versions);
    native::plan(&mut plan, &interpreters, &of_versions);
    shares::plan(&mut plan, &of_versions);
    tick::plan(&mut plan, &of_versions);
    plan_loads(&mut plan, &interpreters);
    run(&arguments, plan).unwrap_or_else(|error| {
        eprintln!("the coverage table: {error}");
        ExitCode::FAILURE
    })
}

/// What viperf costs and keeps under load.
fn plan_loads(plan: &mut Plan, interpreters: &[Interpreter]) {
    volume::plan(plan, interpreters);
    budget::plan(plan, interpreters);
    short_lives::plan(plan, interpreters);
    soak::plan(plan, interpreters);
}

/// Runs the tests; fails if the table of what is covered cannot be kept.
fn run(arguments: &Arguments, plan: Plan) -> std::io::Result<ExitCode> {
    if writes_coverage() {
        clear_cells()?;
    }
    let conclusion = libtest_mimic::run(arguments, plan.into_trials());
    if writes_coverage() {
        write_coverage()?;
    }
    Ok(conclusion.exit_code())
}

/// One test for each interpreter that is here, and one for each version and build that should be and is not.
///
/// A missing one is skipped by name; in CI a version without a release build is a failure.
fn name_missing(plan: &mut Plan, interpreters: &[Interpreter]) {
    for interpreter in interpreters.iter().filter(|found| found.is_supported()) {
        let name = format!("interpreter/{}", interpreter.name());
        let interpreter = interpreter.clone();
        plan.beside(name, Ok(()), move || interpreter.check_start());
    }
    if std::env::var_os("VIPERF_E2E_ONLY").is_some_and(|only| !only.is_empty()) {
        // Who asked for some of them knows that the others are missing.
        return;
    }
    for (major, minor) in EXPECTED_VERSIONS {
        let is_one = |found: &Interpreter| {
            let (own_major, own_minor, _) = found.version;
            (own_major, own_minor) == (major, minor) && found.is_release()
        };
        if !interpreters.iter().any(is_one) {
            let name = format!("interpreter/{major}.{minor}");
            let why = format!("no release build of CPython {major}.{minor} is here");
            let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            let need = if is_ci { Ok(()) } else { Err(why.clone()) };
            plan.beside(name, need, || Err(anyhow::Error::msg(why)));
        }
    }
    type IsOne = fn(&Interpreter) -> bool;
    let builds: [(&str, IsOne); 7] = [
        ("shared", |found| found.is_release() && found.shared),
        ("static-stripped", |found| {
            found.is_release() && !found.shared && found.stripped
        }),
        ("in-a-container", Interpreter::in_container),
        ("debug", |found| found.debug),
        ("free-threaded", |found| found.free_threaded),
        ("musl-shared", |found| found.musl && found.shared),
        ("musl-static", |found| found.musl && !found.shared),
    ];
    for (build, is_one) in builds {
        if !interpreters.iter().any(is_one) {
            let why = "`cargo xtask interpreters` says why there is none".to_owned();
            plan.beside(format!("interpreter/{build}"), Err(why), || Ok(()));
        }
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

/// The newest interpreter of the machine itself that is supported.
fn newest(interpreters: &[Interpreter]) -> Result<&Interpreter, String> {
    let is_own = |found: &&Interpreter| found.is_release() && !found.in_container();
    let mut supported = interpreters.iter().filter(|found| found.is_supported());
    let own = supported.clone().rfind(is_own);
    own.or_else(|| supported.next_back())
        .ok_or_else(|| "no CPython of a version that is supported".to_owned())
}

/// Whether everything is to be run on every interpreter.
fn is_all_wanted() -> bool {
    std::env::var("VIPERF_E2E_ALL").is_ok_and(|value| value == "1")
}

/// The release builds of each version, and one without the GIL; all there are with `VIPERF_E2E_ALL=1`, which takes twice
/// as long.
fn of_kinds(interpreters: &[Interpreter]) -> Vec<Interpreter> {
    if is_all_wanted() {
        let supported = interpreters.iter().filter(|found| found.is_supported());
        return supported.cloned().collect();
    }
    let mut chosen = of_each_version(interpreters);
    let mut others = interpreters.iter();
    chosen.extend(others.find(|found| found.free_threaded).cloned());
    chosen
}

/// The release builds of the machine itself, and one of each version that it has none of.
fn of_each_version(interpreters: &[Interpreter]) -> Vec<Interpreter> {
    let release = interpreters
        .iter()
        .filter(|found| found.is_supported() && found.is_release());
    let (own, others): (Vec<_>, Vec<_>) = release.cloned().partition(|found| !found.in_container());
    let mut chosen = own;
    for other in others {
        let is_of_version = |found: &Interpreter| {
            (found.version.0, found.version.1) == (other.version.0, other.version.1)
        };
        if !chosen.iter().any(is_of_version) {
            chosen.push(other);
        }
    }
    chosen
}
