//! The page opens in a real browser, without an error and without the network; its own tests run on a page of ours.

mod kept_source;
mod live;
mod web;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Interpreter, Need, Plan, output_folder, viperf_binary};

use crate::root_and;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    let browser = Command::new("chromium").arg("--version").output();
    let browser = browser.map_err(|_missing| {
        "chromium is missing; `cargo xtask setup --test` installs it".to_owned()
    });
    let need: Need = newest.clone().and_then(|_| browser.map(|_| ()));
    plan.beside("page/opens-in-chromium", need.clone(), {
        let newest = newest.clone();
        move || the_page_opens(&newest.map_err(anyhow::Error::msg)?)
    });
    let packages = web::packages();
    plan.beside("page/bundle-is-its-source", packages.clone(), web::check);
    plan.beside("page/live", need.clone().and(packages.clone()), {
        let newest = newest.clone();
        move || live::the_page_grows(&newest.map_err(anyhow::Error::msg)?)
    });
    let root = root_and(interpreters).map(|_| ());
    plan.beside("page/text-seen-live-is-kept", root, {
        let newest = newest.clone();
        move || kept_source::text_seen_live_is_kept(&newest.map_err(anyhow::Error::msg)?)
    });
    plan.beside("page/controls-and-figures", need.and(packages), move || {
        the_page_agrees(&newest.map_err(anyhow::Error::msg)?)
    });
}

fn the_page_opens(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "talk.py", &[])?;
    let page = output_folder().join("page_opens-in-chromium.html");
    std::fs::create_dir_all(output_folder())?;
    let pid = fixture.pid().to_string();
    let record = Command::new(viperf_binary()?)
        .args(["record", "-p", &pid, "-F", "199", "-d", "2s", "-o"])
        .arg(&page)
        .stdin(Stdio::null())
        .output()?;
    ensure!(
        record.status.success(),
        "no page:\n{}",
        String::from_utf8_lossy(&record.stderr)
    );

    let shown = open_in_browser(&page, "#search=func")?;
    let result = element(&shown, "search-result")?;
    ensure!(
        result.contains('%') && !result.contains(">0"),
        "func is not found: {result}"
    );
    let facts = element(&shown, "facts")?;
    ensure!(
        facts.contains("samples"),
        "the page does not say how many samples: {facts}"
    );
    Ok(())
}

/// Each way in which the GIL is taken, on interpreters with names and without, and what only looks like it.
const TAKING_THE_GIL: &str = "\
python3 (7);main (/srv/a.py:3)_[p];work (/srv/a.py:9)_[p] 40
python3 (7);main (/srv/a.py:3)_[p];work (/srv/a.py:9)_[p];take_gil.lto_priv.0 (python3.12)_[pn] 5
python3 (7);main (/srv/a.py:3)_[p];work (/srv/a.py:9)_[p];take_gil (python3.12)_[pn];pthread_cond_timedwait (libc.so.6)_[pn];futex_wait_[k] 7
python3 (7);main (/srv/a.py:3)_[p];load (/srv/b.py:1)_[p];read (libc.so.6)_[pn];PyEval_RestoreThread (python3.12)_[pn];futex_wait_[k] 11
python3 (7);main (/srv/a.py:3)_[p];[python3.12+0x4f9316]_[pn];pthread_cond_timedwait (libc.so.6)_[pn] 13
python3 (7);main (/srv/a.py:3)_[p];pthread_cond_timedwait (libc.so.6)_[pn] 2
python3 (7);main (/srv/a.py:3)_[p];PyThread_acquire_lock (python2.7)_[pn] 3
python3 (7);main (/srv/a.py:3)_[p];wait_for_work (libgomp.so.1)_[pn];pthread_cond_timedwait (libc.so.6)_[pn] 17
python3 (7);main (/srv/a.py:3)_[p];lock (python2.7)_[pn];PyThread_acquire_lock (python2.7)_[pn] 19
python3 (7);main (/srv/a.py:3)_[p];take_gil (python3.12)_[pn];[native: unreadable stack]_[e] 23
python3 (7);take_gil (python3.12)_[pn] 29
python3 (7);main (/srv/a.py:3)_[p];take_gil (python3.12)_[pn];work (/srv/a.py:9)_[p];write_[k] 31
";

/// Everything the page computes of a recording, against the stacks that viperf folds from the same file.
fn the_page_agrees(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "talk.py", &[])?;
    std::fs::create_dir_all(output_folder())?;
    let recording = output_folder().join("page_controls.viperf");
    let pid = fixture.pid().to_string();
    run_viperf(
        &[
            "record",
            "-p",
            &pid,
            "-F",
            "199",
            "-d",
            "3s",
            "--embed-source",
            "-o",
        ],
        &recording,
    )?;
    let native = recording.to_string_lossy();
    let [page, folded] = ["html", "folded"].map(|extension| recording.with_extension(extension));
    for file in [&page, &folded] {
        run_viperf(&["convert", &native, "-o"], file)?;
    }
    let source = recording.with_extension("source.json");
    report(&native, &["--source", "talk.py"], &source)?;
    let all = recording.with_extension("report.json");
    report(&native, &["-n", "1000000"], &all)?;
    let later = output_folder().join("page_later.viperf");
    run_viperf(
        &["record", "-p", &pid, "-F", "199", "-d", "2s", "-o"],
        &later,
    )?;
    let [difference, figures] = ["html", "json"].map(|extension| later.with_extension(extension));
    let compared = ["diff", &native, &later.to_string_lossy()].map(str::to_owned);
    for (file, options) in [
        (&difference, &[][..]),
        (&figures, &["--all", "-n", "1000000"]),
    ] {
        let arguments: Vec<&str> = compared.iter().map(String::as_str).collect();
        run_viperf(&[&arguments, options, &["-o"]].concat(), file)?;
    }
    let [gil, functions] = taking_the_gil()?;
    web::test_in_browser(&web::Written {
        gil: [&gil, &functions],
        page: &page,
        folded: &folded,
        report: &all,
        source: &source,
        difference: [&difference, &figures],
    })
}

/// The page of [`TAKING_THE_GIL`], and what `viperf report --json` says of it.
fn taking_the_gil() -> Result<[PathBuf; 2]> {
    let taking = output_folder().join("page_gil.folded");
    std::fs::write(&taking, TAKING_THE_GIL)?;
    let [page, functions] = ["html", "json"].map(|extension| taking.with_extension(extension));
    let name = taking.to_string_lossy();
    run_viperf(&["convert", &name, "-o"], &page)?;
    report(&name, &["-n", "100"], &functions)?;
    Ok([page, functions])
}

fn report(recording: &str, options: &[&str], output: &Path) -> Result<()> {
    let report = Command::new(viperf_binary()?)
        .args(["report", recording, "--json"])
        .args(options)
        .stdin(Stdio::null())
        .output()?;
    ensure!(report.status.success(), "no report of {recording}");
    std::fs::write(output, &report.stdout)?;
    Ok(())
}

fn run_viperf(arguments: &[&str], output: &Path) -> Result<()> {
    let run = Command::new(viperf_binary()?)
        .args(arguments)
        .arg(output)
        .stdin(Stdio::null())
        .output()?;
    ensure!(
        run.status.success(),
        "no {}:\n{}",
        output.display(),
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(())
}

/// The document after its scripts have run, in a browser that has no network and must not complain.
fn open_in_browser(page: &Path, fragment: &str) -> Result<String> {
    let browser = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
        ])
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ])
        .arg(format!(
            "file://{}{fragment}",
            page.canonicalize()?.display()
        ))
        .stdin(Stdio::null())
        .output()
        .context("cannot start chromium")?;
    let log = String::from_utf8_lossy(&browser.stderr);
    let complains = |line: &&str| line.contains("CONSOLE") || line.contains("Uncaught");
    let complaints: Vec<_> = log.lines().filter(complains).collect();
    ensure!(
        complaints.is_empty(),
        "the browser complains: {complaints:?}"
    );
    Ok(String::from_utf8_lossy(&browser.stdout).into_owned())
}

/// The line of the document that begins the element.
fn element<'a>(document: &'a str, id: &str) -> Result<&'a str> {
    let marked = format!("id=\"{id}\"");
    let line = document.lines().find(|line| line.contains(&marked));
    line.with_context(|| format!("the page has no element {id}"))
}
