//! `--max-cpu`: a recording that costs too much takes fewer samples, which stand for the same CPU time.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Interpreter, Plan, note_figure, output_folder, viperf_binary};

use crate::root_and;

/// More than a twentieth of a CPU goes into so many samples a second of one busy thread.
const RATE: &str = "20k";
/// Of all CPUs.
const ALLOWED: &str = "0.5%";
const SECONDS: u32 = 4;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = root_and(interpreters).cloned();
    plan.alone("budget/max-cpu", newest.clone().map(|_| ()), move || {
        the_rate_is_lowered_and_the_time_is_the_same(&newest.map_err(anyhow::Error::msg)?)
    });
}

struct Run {
    /// By the weights of its samples.
    seconds: f64,
    samples: f64,
    stats: Value,
    said: String,
}

fn the_rate_is_lowered_and_the_time_is_the_same(interpreter: &Interpreter) -> Result<()> {
    let folder = output_folder().join("budget");
    fs::create_dir_all(&folder)?;
    let free = record(interpreter, &folder, &[])?;
    ensure!(
        free.stats["lowest_rate_hz"].is_null(),
        "lowered without a budget: {}",
        free.stats
    );
    let kept = record(interpreter, &folder, &["--max-cpu", ALLOWED])?;
    let share = |run: &Run| run.stats["cpu_share"].as_f64().unwrap_or(1.0);
    note_figure(
        "budget/max-cpu",
        &format!(
            "{} samples for {:.2} s cost {:.4} of all CPUs; with {ALLOWED} allowed {} for {:.2} s cost {:.4}",
            free.samples,
            free.seconds,
            share(&free),
            kept.samples,
            kept.seconds,
            share(&kept)
        ),
    );
    ensure!(
        share(&free) > 0.01,
        "it costs next to nothing: {}",
        free.stats
    );
    let lowest = kept.stats["lowest_rate_hz"].as_u64();
    let lowest = lowest.with_context(|| format!("not lowered: {}", kept.stats))?;
    ensure!(lowest < 10_000, "lowered to {lowest} Hz only");
    ensure!(
        kept.samples < free.samples / 2.0 && share(&kept) < share(&free) / 2.0,
        "{} samples cost {:.4}, and {} cost {:.4}",
        kept.samples,
        share(&kept),
        free.samples,
        share(&free)
    );
    ensure!(
        kept.said.contains("to keep --max-cpu") && kept.said.contains("is allowed"),
        "the summary does not say so:\n{}",
        kept.said
    );
    let due = f64::from(SECONDS);
    ensure!(
        (0.75 * due..1.25 * due).contains(&kept.seconds),
        "samples stand for {:.2} s of {due}",
        kept.seconds
    );
    Ok(())
}

/// A program that says when it has used so much CPU time, so that a busy machine takes longer and changes nothing.
fn record(interpreter: &Interpreter, folder: &Path, more: &[&str]) -> Result<Run> {
    let program = format!("import time\nwhile time.process_time() < {SECONDS}: sum(range(1000))");
    let (profile, stats) = (folder.join("profile.json"), folder.join("stats.json"));
    let output = Command::new(viperf_binary()?)
        .args(["record", "-F", RATE, "-o"])
        .arg(&profile)
        .arg("--stats")
        .arg(&stats)
        .args(more)
        .arg("--")
        .arg(&interpreter.path)
        .args(["-S", "-c", &program])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    let profile: Value = serde_json::from_slice(&fs::read(profile)?)?;
    let weights = profile["samples"]["weight_ns"].as_array();
    let weights = weights.context("a profile without weights")?;
    Ok(Run {
        seconds: weights.iter().filter_map(Value::as_f64).sum::<f64>() / 1e9,
        samples: weights.len() as f64,
        stats: serde_json::from_slice(&fs::read(stats)?)?,
        said,
    })
}
