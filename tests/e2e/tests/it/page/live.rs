//! The page grows in a browser while viperf records, and has all of it at the end.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Interpreter, output_folder, viperf_binary};

use super::web;

/// However a test ends, its recording does not go on.
pub(super) struct Ended(pub(super) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn the_page_grows(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "talk.py", &[])?;
    std::fs::create_dir_all(output_folder())?;
    let file = output_folder().join("page_live.viperf");
    let pid = fixture.pid().to_string();
    let child = Command::new(viperf_binary()?)
        .args([
            "record",
            "--live",
            "--embed-source",
            "-p",
            &pid,
            "-F",
            "199",
            "-d",
            "5m",
            "-o",
        ])
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start viperf")?;
    let mut recording = Ended(child);
    let errors = recording.0.stderr.take().context("no standard error")?;
    let mut errors = BufReader::new(errors);
    let mut line = String::new();
    errors.read_line(&mut line)?;
    let address = line.trim().strip_prefix("viperf: open ");
    let address = address.with_context(|| format!("no address: {line}"))?;
    web::test_live(address, recording.0.id(), "func")?;
    let mut rest = String::new();
    errors.read_to_string(&mut rest)?;
    let status = recording.0.wait()?;
    ensure!(
        status.success(),
        "the recording ended with {status}: {rest}"
    );
    ensure!(
        rest.contains("wrote "),
        "the file was not written as well: {rest}"
    );
    ensure!(file.is_file(), "no {}", file.display());
    Ok(())
}
