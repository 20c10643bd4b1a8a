//! Calls so short that a torn stack would show: no sample mixes two of them.

use std::{env, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Cell, Fixture, Interpreter, Plan, Recorder, Table, note_cell, note_figure};

use crate::root;

const RATE: u32 = 4999;
/// Seconds of each run; the promise is about a minute: `VIPERF_E2E_LONG=1` runs that long.
const SHORT: u64 = 10;
const LONG: u64 = 60;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    let name = format!("flutter/{}", interpreter.name());
    plan.beside(name.clone(), root(), move || {
        let result = no_stack_is_crossed(&name, &of);
        note_cell(
            &of.name(),
            Table::Whole,
            "0 crossed stacks at 4,999 Hz",
            &Cell::of(&result),
        );
        result.map(|_| ())
    });
}

fn no_stack_is_crossed(name: &str, interpreter: &Interpreter) -> Result<String> {
    let is_long = env::var_os("VIPERF_E2E_LONG").is_some_and(|value| value == "1");
    let seconds = if is_long { LONG } else { SHORT };
    let fixture = Fixture::start(&interpreter.path, "flutter.py", &[])?;
    let recorder = Recorder::new(name)?
        .process(fixture.pid())
        .rate(RATE)
        .seconds(seconds);
    let recording =
        recorder.finish_within(recorder.start()?, Duration::from_secs(seconds + 120))?;
    let samples = recording.of(fixture.pid());
    ensure!(
        samples.total() > u64::from(RATE) * seconds / 10,
        "only {} samples:\n{}",
        samples.total(),
        recording.stderr
    );
    let pairs = pairs(fixture.facts())?;
    let crossed = samples.only(|stack| stack.mixes(&pairs));
    ensure!(
        crossed.total() == 0,
        "{} of {} stacks are crossed:\n{}",
        crossed.total(),
        samples.total(),
        crossed.heaviest(8)
    );
    let called = samples.count(|stack| {
        pairs
            .iter()
            .any(|(hot, leaf)| stack.position(hot) < stack.position(leaf))
    });
    ensure!(
        samples.share(called) > 0.01,
        "the leaves are rare, this shows nothing:\n{}",
        samples.heaviest(8)
    );
    let figure = format!(
        "0 of {} stacks are crossed, {called} of them end in a leaf",
        samples.total()
    );
    note_figure(name, &figure);
    Ok(figure)
}

fn pairs(facts: &Value) -> Result<Vec<(String, String)>> {
    let pairs = facts["pairs"].as_array().context("no pairs")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a name");
    pairs
        .iter()
        .map(|pair| Ok((text(&pair[0])?, text(&pair[1])?)))
        .collect()
}
