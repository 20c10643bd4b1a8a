//! The page's own tests: its types, its units, its bundle, and every control in a browser (`web/README.md`).

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Need, note_figure};

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web")
}

/// Whether node and the packages that the lock file pins are here.
pub(super) fn packages() -> Need {
    Command::new("node")
        .arg("--version")
        .output()
        .map_err(|_missing| "node is missing; Debian's nodejs or nodejs.org has it".to_owned())?;
    let installed = web().join("node_modules/vitest/vitest.mjs");
    if installed.is_file() {
        Ok(())
    } else {
        Err("web/node_modules is missing; `npm ci` in web/ makes it".to_owned())
    }
}

/// Types, unit tests, and that the committed bundle is what the source builds.
pub(super) fn check() -> Result<()> {
    let text = npm(&["run", "--silent", "check"], &[])?;
    let proof = text.lines().find(|line| line.starts_with("the bundle is"));
    let proof = proof.context("the check did not say that the bundle is its source")?;
    note_figure("page: bundle", proof);
    Ok(())
}

/// Every control, hostile names, a million samples, and this page against these folded stacks.
pub(super) fn test_in_browser(page: &Path, folded: &Path) -> Result<()> {
    let files = [
        ("VIPERF_PAGE", page.canonicalize()?),
        ("VIPERF_FOLDED", folded.canonicalize()?),
    ];
    let text = npm(&["run", "--silent", "test:browser"], &files)?;
    ensure!(
        !text.contains("skipped: "),
        "something was not tested: {text}"
    );
    for line in text.lines().filter(|line| line.starts_with("figure: ")) {
        let (name, figure) = line
            .trim_start_matches("figure: ")
            .split_once(": ")
            .context("a figure has a name")?;
        note_figure(name, figure);
    }
    Ok(())
}

fn npm(arguments: &[&str], variables: &[(&str, PathBuf)]) -> Result<String> {
    let run = Command::new("npm")
        .args(arguments)
        .current_dir(web())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .context("cannot start npm")?;
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "{text}{complaints}");
    Ok(text + &complaints)
}
