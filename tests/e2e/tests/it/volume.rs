//! Proof 7: many distinct stacks and a high rate: nothing is lost, or the loss is counted and shown.

use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use viperf_e2e::{Fixture, Interpreter, Plan, Recorder, Recording, cpu_seconds, note_figure};

use crate::root_and;

const RATE: u32 = 4_999;
const SECONDS: u64 = 10;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    let of = newest.clone();
    plan.alone(
        "volume/10000-stacks",
        newest.clone().map(|_| ()),
        move || ten_thousand_stacks_are_kept(&of.map_err(anyhow::Error::msg)?),
    );
    plan.alone("volume/4999-hertz", newest.clone().map(|_| ()), move || {
        a_high_rate_is_accounted_for(&newest.map_err(anyhow::Error::msg)?)
    });
}

fn ten_thousand_stacks_are_kept(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "stacks.py", &[])?;
    let name = "volume/10000-stacks";
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(RATE)
        .seconds(2 * SECONDS)
        .run()?;
    nothing_vanishes(&recording)?;
    let of_process = recording.of(fixture.pid());
    let paths: HashSet<Vec<&str>> = of_process
        .stacks
        .iter()
        .map(|stack| stack.python_names())
        .filter(|names| names.last() == Some(&"work"))
        .collect();
    let wanted = fixture.facts()["stacks"]
        .as_u64()
        .context("a number of stacks")?;
    // With n draws of k equal stacks, k(1 - exp(-n/k)) are seen at least once.
    let draws = of_process.count(|stack| stack.python_names().last() == Some(&"work")) as f64
        / wanted as f64;
    let expected = wanted as f64 * (1.0 - (-draws).exp());
    note_figure(
        name,
        &format!(
            "{} distinct Python stacks (of {expected:.0} to be expected), {}",
            paths.len(),
            loss(&recording)
        ),
    );
    ensure!(
        expected > 8_000.0,
        "too few samples to see them all: {draws:.1} a stack"
    );
    ensure!(
        paths.len() as f64 > 0.97 * expected,
        "{} distinct stacks, {expected:.0} were to be expected",
        paths.len()
    );
    ensure!(
        paths.len() as u64 <= wanted,
        "{} stacks from a program of {wanted}: some are mixed",
        paths.len()
    );
    Ok(())
}

fn a_high_rate_is_accounted_for(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let name = "volume/4999-hertz";
    let recorder = Recorder::new(name)?
        .process(fixture.pid())
        .rate(RATE)
        .seconds(SECONDS);
    let before = cpu_seconds(fixture.pid())?;
    let recording = recorder.run()?;
    let cpu = cpu_seconds(fixture.pid())? - before;
    nothing_vanishes(&recording)?;
    let seen = recording.figure("samples") + recording.figure("samples_lost");
    // The CPU time covers viperf's start and end too, where nothing is sampled, so it only bounds from above.
    let most = cpu * f64::from(RATE);
    note_figure(
        name,
        &format!("{seen} of at most {most:.0} ticks, {}", loss(&recording)),
    );
    ensure!(
        (seen as f64) < most * 1.02 + 50.0,
        "{seen} samples of {most:.0} ticks: more than there were"
    );
    ensure!(
        seen as f64 > 0.6 * most,
        "{seen} samples of {most:.0} ticks:\n{}",
        recording.stderr
    );
    Ok(())
}

/// What was sampled is in the file, and what was lost is a number that the summary shows.
fn nothing_vanishes(recording: &Recording) -> Result<()> {
    let (samples, written) = (recording.figure("samples"), recording.folded.total());
    ensure!(
        samples == written,
        "{samples} samples, {written} in the file"
    );
    let lost = recording.figure("samples_lost");
    ensure!(
        recording.stderr.contains("lost"),
        "the summary does not speak of loss:\n{}",
        recording.stderr
    );
    ensure!(lost * 20 < samples, "{lost} lost beside {samples}");
    Ok(())
}

fn loss(recording: &Recording) -> String {
    let stats = &recording.stats;
    format!(
        "lost {}, rate {}, BPF ns a sample {}",
        stats["samples_lost"], stats["rate_achieved"], stats["bpf_ns_per_sample"]
    )
}
