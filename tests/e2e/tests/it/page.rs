//! The page opens in a real browser, without an error and without the network.

use std::process::{Command, Stdio};

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
    plan.beside("page/opens-in-chromium".to_owned(), need, move || {
        the_page_opens(&newest.map_err(anyhow::Error::msg)?)
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
    let browser = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
        ])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom"])
        .arg(format!("file://{}", page.canonicalize()?.display()))
        .stdin(Stdio::null())
        .output()
        .context("cannot start chromium")?;
    let log = String::from_utf8_lossy(&browser.stderr);
    let complaints: Vec<_> = log
        .lines()
        .filter(|line| line.contains("CONSOLE") || line.contains("Uncaught"))
        .collect();
    ensure!(
        complaints.is_empty(),
        "the browser complains: {complaints:?}"
    );
    ensure!(
        String::from_utf8_lossy(&browser.stdout).contains("viperf"),
        "the page has no content"
    );
    Ok(())
}
