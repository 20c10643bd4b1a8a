//! Installs what a machine lacks, and only that, saying what beforehand.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use viperf_e2e::Interpreter;

use crate::{command, consumers, debian, interpreters, python, tree};

/// What is to be possible afterwards, beside building.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// All tests.
    pub(crate) test: bool,
    /// The demo.
    pub(crate) demo: bool,
}

/// Sets the machine up.
///
/// # Errors
/// The compiler is too old, a package cannot be installed, or the demo's Python lacks its packages.
pub(crate) fn run(wanted: Wanted) -> Result<()> {
    check_rust()?;
    let mut packages = debian::BUILD.to_vec();
    if wanted.test {
        packages.extend(debian::TEST);
    }
    if wanted.demo {
        packages.extend(debian::DEMO);
    }
    packages.sort_unstable();
    packages.dedup();
    debian::install(&packages)?;
    if wanted.test {
        interpreters::run()?;
        let mut found = Interpreter::find_all();
        found.retain(Interpreter::is_supported);
        python::make_environments(&found);
        consumers::install()?;
    }
    Ok(())
}

/// The workspace names the compiler that it needs; an older one fails late and unreadably.
fn check_rust() -> Result<()> {
    let manifest = fs::read_to_string(tree::root().join("Cargo.toml"))?;
    let wanted = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""));
    let wanted = wanted
        .and_then(|rest| rest.strip_suffix('"'))
        .context("Cargo.toml names no rust-version")?;
    let own = command::output(Command::new("rustc").arg("--version"))?;
    let version = own.split_whitespace().nth(1).unwrap_or_default();
    ensure!(
        numbers(version) >= numbers(wanted),
        "rustc is {version}, viperf needs {wanted}: run `rustup update stable`, or install it from https://rustup.rs"
    );
    Ok(())
}

/// The numbers of a version, up to the first part that is none.
pub(crate) fn numbers(version: &str) -> Vec<u32> {
    version
        .split(['.', '-'])
        .map_while(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.100.0") > numbers("1.95"));
        assert!(numbers("1.95.0-nightly") >= numbers("1.95"));
        assert!(numbers("1.63.0") < numbers("1.95"));
    }
}
