//! What others have written to read viperf's formats, and what the page is tested with: fetched for the tests.
//!
//! It is kept in `target/consumers` and `web/node_modules` and fetched again only when the lists that pin it change. Without
//! it the tests that need it say that they are skipped; that is an error only where the variable `CI` is set.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use viperf_e2e::Interpreter;

use crate::{command, debian, python, say, setup::numbers, tree};

/// Programs, and the Debian packages that bring them where they are not there.
const PROGRAMS: [(&str, &str); 4] = [
    ("node", "nodejs"),
    ("npm", "npm"),
    ("go", "golang-go"),
    ("chromium", "chromium"),
];

/// What pins the packages, in the folder of the test that uses them.
const LISTS: &str = "crates/encode/tests/consumers";
/// Written by npm when all is installed.
const NPM_DONE: &str = "node_modules/.package-lock.json";
/// Seconds that one download may take.
const PATIENCE: &str = "600";

/// Does nothing where all is there.
type Step = fn() -> Result<()>;

/// Installs what is missing, and says by name what cannot be had.
///
/// # Errors
/// Something cannot be had, and this is CI.
pub(crate) fn install() -> Result<()> {
    let steps: [(&str, Step); 4] = [
        ("programs that read viperf's formats", install_programs),
        ("web/node_modules, for the page's checks", install_web),
        ("npm packages that read viperf's formats", install_node),
        ("Python packages that read viperf's formats", install_python),
    ];
    let mut missing = Vec::new();
    for (what, step) in steps {
        if let Err(error) = step() {
            say(&format!("setup: no {what}: {error:#}"));
            missing.push(what);
        }
    }
    if !missing.is_empty() && std::env::var_os("CI").is_some() {
        bail!("in CI nothing may be missing: {}", missing.join("; "));
    }
    Ok(())
}

/// The Python with the packages, if they are all there.
pub(crate) fn find_python() -> Option<PathBuf> {
    let folder = folder().join("python");
    let is_whole = is_same(&packages(), &folder.join("packages.txt"));
    is_whole.then(|| folder.join("bin/python"))
}

/// The folder of the npm packages, if they are all there.
pub(crate) fn find_node_modules() -> Option<PathBuf> {
    is_node_whole().then(|| folder().join("node_modules"))
}

fn folder() -> PathBuf {
    tree::root().join("target/consumers")
}

fn packages() -> PathBuf {
    tree::root().join(LISTS).join("packages.txt")
}

fn install_programs() -> Result<()> {
    let missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| !command::is_in_path(program))
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    debian::install(&missing)
}

fn install_web() -> Result<()> {
    let web = tree::root().join("web");
    if is_newer(&web.join(NPM_DONE), &web.join("package-lock.json")) {
        return Ok(());
    }
    check_node()?;
    say("setup: npm packages of web/");
    command::run(npm_ci(&web).stdout(Stdio::null()))
}

fn install_node() -> Result<()> {
    if is_node_whole() {
        return Ok(());
    }
    check_node()?;
    say("setup: npm packages that read viperf's formats");
    let (lists, folder) = (tree::root().join(LISTS), folder());
    fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(lists.join(name), folder.join(name))?;
    }
    // They are programs to be read from: nothing needs to be compiled or downloaded when they are installed.
    let mut npm = npm_ci(&folder);
    command::run(npm.arg("--ignore-scripts").stdout(Stdio::null()))
}

fn is_node_whole() -> bool {
    let wanted = tree::root().join(LISTS).join("package-lock.json");
    is_same(&wanted, &folder().join("package-lock.json")) && folder().join(NPM_DONE).exists()
}

/// An environment of its own: those in `target/environments` are for programs that are profiled.
fn install_python() -> Result<()> {
    if find_python().is_some() {
        return Ok(());
    }
    let interpreters = Interpreter::find_all();
    let newest = interpreters
        .iter()
        .rev()
        // From here on all packages are there compiled, and to here: a newer one may be newer than they are.
        .find(|found| ((3, 11, 0)..(3, 15, 0)).contains(&found.version) && python::has_venv(found));
    let newest = newest.context("no CPython from 3.11 to 3.14 with venv is here")?;
    say(&format!(
        "setup: Python packages that read viperf's formats ({})",
        newest.path.display()
    ));
    let folder = folder().join("python");
    fs::create_dir_all(&folder)?;
    let mut venv = bounded(&newest.path);
    command::run(venv.args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = bounded(&folder.join("bin/python"));
    command::run(python::pip_options(&mut pip).arg("-r").arg(packages()))?;
    // Written last: an environment that has it is whole.
    fs::copy(packages(), folder.join("packages.txt"))?;
    Ok(())
}

/// The page names the node that it needs; Debian 12's is older.
fn check_node() -> Result<()> {
    let manifest = fs::read_to_string(tree::root().join("web/package.json"))?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    let wanted = manifest["engines"]["node"].as_str();
    let wanted = wanted
        .and_then(|wanted| wanted.strip_prefix(">="))
        .context("web/package.json names no node")?;
    ensure!(command::is_in_path("npm"), "npm is not in PATH");
    let own = command::output(Command::new("node").arg("--version"))?;
    let version = own.trim().trim_start_matches('v');
    ensure!(
        numbers(version) >= numbers(wanted),
        "node is {version}, {wanted} or later is needed: https://nodejs.org has it"
    );
    Ok(())
}

fn npm_ci(folder: &Path) -> Command {
    let mut npm = bounded(Path::new("npm"));
    npm.args(["ci", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(["--loglevel=error", "--fetch-retries=2"])
        .current_dir(folder);
    npm
}

/// A command that is ended when the network does not answer.
fn bounded(program: &Path) -> Command {
    let mut timeout = Command::new("timeout");
    timeout.arg(PATIENCE).arg(program);
    timeout
}

fn is_same(wanted: &Path, own: &Path) -> bool {
    match (fs::read(wanted), fs::read(own)) {
        (Ok(wanted), Ok(own)) => wanted == own,
        _ => false,
    }
}

fn is_newer(file: &Path, than: &Path) -> bool {
    let changed = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    match (changed(file), changed(than)) {
        (Some(file), Some(than)) => file >= than,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_pin_every_package() {
        let python = fs::read_to_string(packages()).unwrap();
        let lines = python.lines().filter(|line| !line.starts_with('#'));
        assert!(lines.clone().count() > 0 && lines.clone().all(|line| line.contains("==")));
        let own = fs::read_to_string(tree::root().join(LISTS).join("package.json")).unwrap();
        let own: Value = serde_json::from_str(&own).unwrap();
        let web = fs::read_to_string(tree::root().join("web/package.json")).unwrap();
        let web: Value = serde_json::from_str(&web).unwrap();
        for version in own["dependencies"].as_object().unwrap().values() {
            assert_eq!(numbers(version.as_str().unwrap()).len(), 3, "{version}");
        }
        assert_eq!(
            own["dependencies"]["playwright-core"],
            web["devDependencies"]["playwright-core"]
        );
    }

    #[test]
    fn what_is_missing_is_neither_newer_nor_the_same() {
        let (here, nowhere) = (packages(), Path::new("nowhere"));
        assert!(is_newer(&here, &here) && is_same(&here, &here));
        assert!(!is_newer(nowhere, &here) && !is_newer(&here, nowhere));
        assert!(!is_same(nowhere, nowhere));
    }
}
