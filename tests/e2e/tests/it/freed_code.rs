//! Code objects that find the memory of a freed one are told apart.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Cell, Interpreter, Plan, Recorder, Table, fixtures, note_cell, note_figure};

use crate::root;

/// This share of the functions must be seen; each has about 20 samples.
const LEAST_SEEN: f64 = 0.95;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    let name = format!("freed-code/{}", interpreter.name());
    plan.beside(name.clone(), root(), move || {
        let result = every_function_has_its_name(&name, &of);
        let row = "code at the address of freed code";
        note_cell(&of.name(), Table::Names, row, &Cell::of(&result));
        result.map(|_| ())
    });
}

fn every_function_has_its_name(name: &str, interpreter: &Interpreter) -> Result<String> {
    let program = fixtures().join("freed_code.py");
    let recording = Recorder::new(name)?
        .rate(999)
        .command(&[interpreter.path.as_os_str(), program.as_os_str()])
        .run()?;
    let measured = recording.last_line()?;
    let reused = measured["reused"].as_u64().context("no count of reuses")?;
    ensure!(
        reused >= 10,
        "only {reused} functions found the memory of one before: this shows nothing"
    );
    let (names, qualnames) = (texts(&measured, "names")?, texts(&measured, "qualnames")?);
    let stacks = recording.folded.stacks.iter();
    let seen: HashSet<&str> = stacks.flat_map(|stack| stack.python_names()).collect();
    // Before 3.11 the code object itself knows only the last part of the name.
    let pairs = names.iter().zip(&qualnames);
    let is_seen =
        |(name, qualname): &(&&str, &&str)| seen.contains(**name) || seen.contains(**qualname);
    let found = pairs.filter(is_seen).count();
    ensure!(
        found as f64 >= LEAST_SEEN * names.len() as f64,
        "{found} of {} functions were seen, {reused} of them in the memory of one before:\n{}",
        names.len(),
        recording.folded.heaviest(8)
    );
    let figure = format!(
        "{found} of {} functions seen, {reused} of them in the memory of one before",
        names.len()
    );
    note_figure(name, &figure);
    Ok(figure)
}

fn texts<'a>(measured: &'a Value, key: &str) -> Result<Vec<&'a str>> {
    let texts = measured[key].as_array().context("no list of names")?;
    Ok(texts.iter().filter_map(Value::as_str).collect())
}
