//! The page's own tests: its types, its units, its bundle, and every control in a browser (`web/README.md`).

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Need, note_figure, output_folder};

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

/// What viperf wrote of recordings, for the browser's tests to compare.
pub(super) struct Written<'a> {
    pub(super) page: &'a Path,
    pub(super) folded: &'a Path,
    /// What `viperf report --json` says of the same file, all of it.
    pub(super) report: &'a Path,
    /// What `viperf report --source --json` says of a file whose text the page has.
    pub(super) source: &'a Path,
    /// A page of stacks that take the GIL, and what `viperf report --json` says of the same stacks.
    pub(super) gil: [&'a Path; 2],
    /// The page of two recordings, and what `viperf diff --json --all` says of them.
    pub(super) difference: [&'a Path; 2],
}

/// Every control, hostile names, a million samples, and these pages against the stacks and figures of the same files.
pub(super) fn test_in_browser(written: &Written<'_>) -> Result<()> {
    let [difference, figures] = written.difference;
    let [gil, functions] = written.gil;
    let pictures = output_folder().join("pictures");
    std::fs::create_dir_all(&pictures)?;
    let files = [
        ("VIPERF_PICTURES", pictures.canonicalize()?),
        ("VIPERF_PAGE", written.page.canonicalize()?),
        ("VIPERF_FOLDED", written.folded.canonicalize()?),
        ("VIPERF_REPORT", written.report.canonicalize()?),
        ("VIPERF_SOURCE_JSON", written.source.canonicalize()?),
        ("VIPERF_GIL_PAGE", gil.canonicalize()?),
        ("VIPERF_GIL_JSON", functions.canonicalize()?),
        ("VIPERF_DIFF_PAGE", difference.canonicalize()?),
        ("VIPERF_DIFF_JSON", figures.canonicalize()?),
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

/// The live page at `address`, which the recording `pid` serves until it is told to end, and which will see `function`.
pub(super) fn test_live(address: &str, pid: u32, function: &str) -> Result<()> {
    let variables = [
        ("VIPERF_LIVE", address.into()),
        ("VIPERF_LIVE_PID", pid.to_string().into()),
        ("VIPERF_LIVE_FUNCTION", function.into()),
    ];
    let text = npm(&["run", "--silent", "test:live"], &variables)?;
    ensure!(
        !text.contains("skipped: "),
        "something was not tested: {text}"
    );
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
