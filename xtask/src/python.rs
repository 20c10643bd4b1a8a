//! Virtual environments under `target/environments` with the packages that programs in `fixtures/python` import.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;
use viperf_e2e::{Interpreter, environments};

use crate::{command, say, tree};

/// Makes or completes the interpreter's environment and returns its Python.
///
/// # Errors
/// `venv` or `pip` fails.
pub(crate) fn environment(interpreter: &Interpreter) -> Result<PathBuf> {
    let folder = environments().join(interpreter.name());
    let python = folder.join("bin/python");
    let packages = tree::root().join("fixtures/python/packages.txt");
    let installed = folder.join("packages.txt");
    // The copy is written last, so an environment that has it is whole and current.
    if fs::read(&installed).ok() == Some(fs::read(&packages)?) && python.exists() {
        return Ok(python);
    }
    say(&format!(
        "setup: Python packages for {} ({})",
        interpreter.name(),
        interpreter.path.display()
    ));
    command::run(
        Command::new(&interpreter.path)
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )?;
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ])
    .arg(&packages);
    command::run(&mut pip)?;
    fs::copy(&packages, &installed)?;
    Ok(python)
}

/// A Python that has the packages, if there is one.
pub(crate) fn find_with_packages() -> Option<PathBuf> {
    let interpreters = Interpreter::find_all();
    let mut environments = interpreters
        .iter()
        .filter(|found| found.is_supported())
        .map(|found| environments().join(found.name()).join("bin/python"));
    environments.find(|python| python.exists())
}
