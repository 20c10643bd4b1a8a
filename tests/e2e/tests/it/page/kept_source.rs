//! Source text that a live page has shown is in the file, though the program and its files are gone at the end.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Interpreter, output_folder, viperf_binary};

use super::live::Ended;

/// Ends when its file is gone.
const PROGRAM: &str = "\
import os


def turn_the_handle():
    total = 0
    for number in range(20000):
        total += number  # the line to keep
    return total


while os.path.exists(__file__):
    turn_the_handle()
";

/// As a page does: asks for the profile until a function of the file is in it (the process is called by the same path), then for its text until that has been read.
const READER: &str = "\
import gzip, json, sys, time
from urllib.parse import quote
from urllib.request import urlopen

address, path = sys.argv[1:]


def get(what):
    with urlopen(address + what, timeout=60) as answer:
        body = answer.read()
        packed = answer.headers['content-encoding'] == 'gzip'
        return answer.status, gzip.decompress(body) if packed else body


def ask_until(what, is_there):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        status, body = get(what)
        if is_there(status, body):
            return body
        time.sleep(0.2)
    sys.exit('%s: status %d, %d bytes' % (what, status, len(body)))


ask_until('data?at=', lambda status, body: path.encode() in body and b'turn_the_handle' in body)
body = ask_until('source?path=' + quote(path), lambda status, body: status != 204)
print(json.loads(body)['text'])
";

pub(super) fn text_seen_live_is_kept(interpreter: &Interpreter) -> Result<()> {
    std::fs::create_dir_all(output_folder())?;
    let program = output_folder().canonicalize()?.join("seen_live.py");
    std::fs::write(&program, PROGRAM)?;
    let file = program.with_extension("viperf");
    let mut command = Command::new(viperf_binary()?);
    command.args(["record", "--live", "--embed-source", "-F", "199", "-o"]);
    command.arg(&file).arg("--");
    command.arg(&interpreter.path).arg(&program);
    let child = command
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

    let shown = Command::new(&interpreter.path)
        .args(["-c", READER, address])
        .arg(&program)
        .stdin(Stdio::null())
        .output();
    // The program ends with its file, and the recording with the program, however the test does.
    std::fs::remove_file(&program)?;
    let shown = shown?;
    ensure!(
        String::from_utf8_lossy(&shown.stdout).contains("the line to keep"),
        "no text was shown: {}",
        String::from_utf8_lossy(&shown.stderr)
    );
    let mut rest = String::new();
    errors.read_to_string(&mut rest)?;
    let status = recording.0.wait()?;
    ensure!(
        status.success(),
        "the recording ended with {status}: {rest}"
    );

    let report = Command::new(viperf_binary()?)
        .arg("report")
        .arg(&file)
        .args(["--source", "seen_live.py"])
        .stdin(Stdio::null())
        .output()?;
    let report = String::from_utf8_lossy(&report.stdout);
    ensure!(
        report.contains("the line to keep"),
        "the file has not the text:\n{report}\n{rest}"
    );
    Ok(())
}
