//! More libraries in use than there is memory for their unwind rows: those that run now have them.

use std::path::Path;

use anyhow::{Result, ensure};
use viperf_e2e::{Interpreter, Need, Plan, Recorder, note_figure};

use super::program::{PROGRAM, Program, completeness, samples_are_complete};

const RATE: u32 = 499;
const SECONDS: u64 = 8;
const LIMIT: &str = "13M";
/// Rows have a third of the limit at most: `viperf_agent::MemoryShares`.
const LIMIT_OF_ROWS: u64 = (13 << 20) / 3;

/// What a machine that is busy with other tests may leave unfinished.
const LEAST_COMPLETE: f64 = 0.95;

const MANY: Program = Program {
    name: "many-libraries",
    file: "native_many.py",
    // Twelve times 700 KB of rows.
    arguments: &["--folder", "$FOLDER"],
    system: has_libcrypto,
    ..PROGRAM
};

pub(super) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    MANY.plan_with(plan, interpreter, what_runs_has_its_rows);
}

fn what_runs_has_its_rows(name: &str, interpreter: &Interpreter) -> Result<()> {
    let fixture = MANY.begin(name, interpreter)?;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(RATE)
        .seconds(SECONDS)
        .with("--max-memory")
        .with(LIMIT)
        .run()?;
    let evicted = recording.figure("unwind_tables_evicted");
    let figure = format!(
        "{evicted} tables made room for others, {} came back, {} bytes; {}",
        recording.figure("unwind_tables_reloaded"),
        recording.figure("unwind_row_bytes"),
        completeness(&recording)
    );
    note_figure(name, &figure);
    ensure!(evicted > 0, "{figure}");
    ensure!(
        recording.figure("unwind_row_bytes") <= LIMIT_OF_ROWS,
        "{figure}"
    );
    samples_are_complete(&recording, LEAST_COMPLETE)
}

fn has_libcrypto() -> Need {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64"];
    let file = |folder: &&str| Path::new(folder).join("libcrypto.so.3").exists();
    match folders.iter().any(file) {
        true => Ok(()),
        false => Err("there is no libcrypto.so.3".to_owned()),
    }
}
