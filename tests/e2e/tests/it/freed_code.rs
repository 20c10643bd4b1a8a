//! Code objects that find the memory of a freed one are told apart.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Interpreter, Plan, Recorder, fixtures, note_figure};

use crate::root;

/// So many functions of 100 must be seen; each has about 20 samples.
const LEAST_SEEN: usize = 95;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    let name = format!("freed-code/{}", interpreter.name());
    plan.beside(name.clone(), root(), move || {
        every_function_has_its_name(&name, &of)
    });
}

fn every_function_has_its_name(name: &str, interpreter: &Interpreter) -> Result<()> {
    let program = fixtures().join("freed_code.py");
    let recording = Recorder::new(name)?
        .rate(999)
        .command(&[interpreter.path.as_os_str(), program.as_os_str()])
        .run()?;
    let last = recording
        .stdout
        .lines()
        .last()
        .context("the fixture said nothing")?;
    let measured: Value = serde_json::from_str(last)?;
    let reused = measured["reused"].as_u64().context("no count of reuses")?;
    ensure!(
        reused >= 10,
        "only {reused} functions found the memory of the one before: this shows nothing"
    );
    let names = measured["names"].as_array().context("no names")?;
    let names: HashSet<&str> = names.iter().filter_map(Value::as_str).collect();
    let stacks = recording.folded.stacks.iter();
    let seen: HashSet<&str> = stacks
        .flat_map(|stack| stack.python_names())
        .filter(|name| names.contains(name))
        .collect();
    ensure!(
        seen.len() >= LEAST_SEEN,
        "{} of {} functions were seen, {reused} of them in the memory of the one before:\n{}",
        seen.len(),
        names.len(),
        recording.folded.heaviest(8)
    );
    note_figure(
        name,
        &format!(
            "{} of {} functions seen, {reused} of them in the memory of the one before",
            seen.len(),
            names.len()
        ),
    );
    Ok(())
}
