//! Two processes that have different code at the same addresses never share a name.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Cell, Interpreter, Plan, Recorder, Table, fixtures, note_cell, note_figure};

use crate::root;

/// So many functions must have been at an address that both processes use.
const LEAST_SAME: u64 = 10;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    let name = format!("same-addresses/{}", interpreter.name());
    plan.beside(name.clone(), root(), move || {
        let result = each_process_has_its_own_names(&name, &of);
        let row = "two processes with the same addresses";
        note_cell(&of.name(), Table::Names, row, &Cell::of(&result));
        result.map(|_| ())
    });
}

fn each_process_has_its_own_names(name: &str, interpreter: &Interpreter) -> Result<String> {
    let program = fixtures().join("same_addresses.py");
    let recording = Recorder::new(name)?
        .rate(499)
        .command(&[interpreter.path.as_os_str(), program.as_os_str()])
        .run()?;
    let measured = recording.last_line()?;
    let same = measured["same"].as_u64().context("no count of addresses")?;
    ensure!(
        same >= LEAST_SAME,
        "only {same} functions are at the same addresses: this shows nothing"
    );
    let children = measured["names"].as_object().context("no names")?;
    for (pid, names) in children {
        let names = names.as_array().context("no names of a child")?;
        let names: HashSet<&str> = names.iter().filter_map(Value::as_str).collect();
        let samples = recording.of(pid.parse()?);
        let is_work = |name: &&str| name.starts_with("work_");
        let seen: HashSet<&str> = samples
            .stacks
            .iter()
            .flat_map(|stack| stack.python_names())
            .filter(is_work)
            .collect();
        let foreign: Vec<_> = seen.difference(&names).collect();
        ensure!(foreign.is_empty(), "{pid} shows {foreign:?}");
        let missing: Vec<_> = names.difference(&seen).collect();
        ensure!(
            missing.is_empty(),
            "{pid} lacks {missing:?} of {}:\n{}",
            names.len(),
            samples.heaviest(4)
        );
    }
    let figure = format!("all names right, {same} functions at the same addresses");
    note_figure(name, &figure);
    Ok(figure)
}
