//! Environments under `target/environments` with the packages that programs in `fixtures/python` import.
//!
//! An interpreter of the machine gets a virtual environment. One that cannot have that (2.7, a build on musl or
//! without the GIL, one in a root of its own) gets a folder of packages that the machine's own pip chose for it, and a
//! script that starts it with that folder; only packages that are there compiled for it are taken.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result};
use viperf_e2e::{IMPORTABLE, Interpreter, Package, environments};

use crate::{command, say, tree};

/// Makes or completes the environments of all interpreters. A machine without PyPI still runs the tests that need no
/// package; the others name what they miss.
pub(crate) fn make_environments(interpreters: &[Interpreter]) {
    let (own, foreign): (Vec<_>, Vec<_>) = interpreters.iter().partition(|found| has_venv(found));
    let make = |interpreter: &Interpreter, installer: Option<&Path>| {
        if let Err(error) = environment(interpreter, installer) {
            say(&format!(
                "setup: no Python packages for {}: {error:#}",
                interpreter.name()
            ));
        }
    };
    for_each_by_two(&own, |found| make(found, None));
    // These bring the pip that serves the others.
    let installer = with_packages(interpreters);
    for_each_by_two(&foreign, |found| make(found, installer.as_deref()));
}

/// Pip waits for the network and the disk as long as it computes, so two at a time take half as long.
fn for_each_by_two<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let take = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item);
        }
    };
    thread::scope(|scope| {
        scope.spawn(take);
        take();
    });
}

/// Makes or completes the interpreter's environment and returns its Python; `installer` is another Python with pip, for
/// an interpreter that cannot have its own.
///
/// # Errors
/// `venv` or `pip` fails.
pub(crate) fn environment(interpreter: &Interpreter, installer: Option<&Path>) -> Result<PathBuf> {
    let folder = environments().join(interpreter.name());
    let python = folder.join("bin/python");
    let packages = tree::root().join("fixtures/python/packages.txt");
    let installed = folder.join("packages.txt");
    let is_whole = folder.join(IMPORTABLE).exists() && python.exists();
    if is_whole && fs::read(&installed).ok() == Some(fs::read(&packages)?) {
        return Ok(python);
    }
    say(&format!(
        "setup: Python packages for {} ({})",
        interpreter.name(),
        interpreter.path.display()
    ));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    if has_venv(interpreter) {
        make_venv(interpreter, &folder, &packages)?;
    } else {
        make_folder(interpreter, installer, &folder, &packages)?;
    }
    fs::copy(&packages, &installed)?;
    let importable: String = Package::ALL
        .into_iter()
        .filter(|package| can_import(&python, *package))
        .map(|package| format!("{}\n", package.name()))
        .collect();
    // Written last: an environment that has it is whole.
    fs::write(folder.join(IMPORTABLE), importable)?;
    Ok(python)
}

/// A Python that has all packages, also those that are not for profiling, if there is one.
pub(crate) fn find_with_packages() -> Option<PathBuf> {
    with_packages(&Interpreter::find_all())
}

fn with_packages(interpreters: &[Interpreter]) -> Option<PathBuf> {
    // From the first version that packages.txt has all of them for. An old pip refuses packages that do not run on its
    // own Python, also where it installs for another one: the newest is taken.
    let mut candidates = interpreters
        .iter()
        .rev()
        .filter(|found| found.version >= (3, 11, 0) && has_venv(found))
        .map(|found| environments().join(found.name()));
    let folder = candidates.find(|folder| folder.join(IMPORTABLE).exists())?;
    Some(folder.join("bin/python"))
}

/// It has a module `venv` and can be served by its own pip.
pub(crate) fn has_venv(interpreter: &Interpreter) -> bool {
    interpreter.is_release() && !interpreter.in_container() && interpreter.version >= (3, 6, 0)
}

fn make_venv(interpreter: &Interpreter, folder: &Path, packages: &Path) -> Result<()> {
    command::run(
        Command::new(&interpreter.path)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )?;
    let mut pip = pip(&folder.join("bin/python"));
    command::run(pip.arg("-r").arg(packages))
}

fn make_folder(
    interpreter: &Interpreter,
    installer: Option<&Path>,
    folder: &Path,
    packages: &Path,
) -> Result<()> {
    let site = folder.join("site");
    fs::create_dir_all(&site)?;
    let wanted = fs::read_to_string(packages)?;
    for package in Package::ALL {
        let requirements = folder.join(package.name()).with_extension("txt");
        fs::write(&requirements, lines_of(&wanted, package.name()))?;
        let mut pip = if interpreter.version < (3, 0, 0) {
            pip(&interpreter.path)
        } else {
            let mut pip = pip(installer.context("no other Python here has pip")?);
            pip.args(target_options(interpreter));
            pip
        };
        pip.arg("--target").arg(&site).arg("-r").arg(&requirements);
        // What is not made for this build is missing in the list of what can be imported, and named by the tests.
        if command::run(pip.stderr(Stdio::null())).is_err() {
            say(&format!(
                "setup: there is no {} made for {}",
                package.name(),
                interpreter.name()
            ));
        }
    }
    let python = folder.join("bin/python");
    fs::create_dir_all(folder.join("bin"))?;
    let script = format!(
        "#!/bin/sh\nPYTHONPATH='{}' exec '{}' \"$@\"\n",
        site.display(),
        interpreter.path.display()
    );
    fs::write(&python, script)?;
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Nothing is compiled: that would take minutes, and a compiler for it.
fn pip(python: &Path) -> Command {
    let mut pip = Command::new(python);
    pip_options(&mut pip);
    pip
}

/// Adds to a Python what makes it install packages.
pub(crate) fn pip_options(python: &mut Command) -> &mut Command {
    python
        .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--no-warn-script-location"])
        // 2.7 and 3.6 say that they are old.
        .env("PYTHONWARNINGS", "ignore")
}

/// What tells a pip to choose for another interpreter than its own.
fn target_options(interpreter: &Interpreter) -> Vec<String> {
    let (major, minor, _) = interpreter.version;
    let build = match interpreter {
        Interpreter {
            free_threaded: true,
            ..
        } => "t",
        Interpreter { debug: true, .. } => "d",
        _ => "",
    };
    let abi = format!("cp{major}{minor}{build}");
    // Those made for older C libraries run as well.
    let platforms: &[&str] = if interpreter.musl {
        &["musllinux_1_2_x86_64", "musllinux_1_1_x86_64"]
    } else {
        &[
            "manylinux_2_28_x86_64",
            "manylinux_2_17_x86_64",
            "manylinux2014_x86_64",
        ]
    };
    let mut options = vec![
        format!("--python-version={major}.{minor}"),
        "--implementation=cp".to_owned(),
        format!("--abi={abi}"),
        "--abi=none".to_owned(),
    ];
    options.extend(
        platforms
            .iter()
            .map(|platform| format!("--platform={platform}")),
    );
    options
}

/// The lines of a list of requirements that are about one package.
fn lines_of(requirements: &str, package: &str) -> String {
    let is_about = |line: &&str| {
        line.strip_prefix(package)
            .is_some_and(|rest| rest.starts_with(['>', '<', '=', ';']) || rest.is_empty())
    };
    requirements
        .lines()
        .filter(is_about)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// True if the package works: one that was not made for this build is in the folder all the same.
fn can_import(python: &Path, package: Package) -> bool {
    let modules = match package {
        // Its database is SQLite.
        Package::Django => "django, sqlite3",
        Package::Numpy | Package::Greenlet => package.name(),
    };
    let status = Command::new(python)
        .arg("-c")
        .arg(format!("import {modules}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::lines_of;

    #[test]
    fn requirements_of_a_package_are_told_from_those_of_its_namesakes() {
        let list = "# numpy\nnumpy>=2.0; python_version >= \"3.9\"\nnumpy; python_version < \"3.9\"\nnumpydoc>=1\nnumpy\n";
        let own = "numpy>=2.0; python_version >= \"3.9\"\nnumpy; python_version < \"3.9\"\nnumpy\n";
        assert_eq!(lines_of(list, "numpy"), own);
    }
}
