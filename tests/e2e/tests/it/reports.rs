//! `viperf report` on live recordings: who was running where, and what taking the GIL costs.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Fixture, Interpreter, Plan, note_figure, output_folder};

use crate::{command_line::viperf, control_groups::Group, root, root_and};

/// Each way in which CPython takes its GIL: the lock of 2.7, symbols, a stripped interpreter.
const OF_EACH_WAY: [(u64, u64); 3] = [(2, 7), (3, 12), (3, 15)];

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter], of_versions: &[Interpreter]) {
    let own = root_and(interpreters).cloned();
    let group = Group::make("report-probe").map(|_| ());
    let need = own.clone().map(|_| ());
    let need = need.and(group.map_err(|error| format!("{error:#}")));
    plan.beside("report/groups", need, move || {
        parts_and_filters_are_true(&own.map_err(anyhow::Error::msg)?)
    });
    for interpreter in of_versions {
        let (major, minor, _) = interpreter.version;
        if OF_EACH_WAY.contains(&(major, minor)) {
            let of = interpreter.clone();
            plan.beside(format!("report/gil/{}", of.name()), root(), move || {
                taking_the_gil_is_told_apart(&of)
            });
        }
    }
}

fn record(name: &str, pids: &[u32]) -> Result<String> {
    fs::create_dir_all(output_folder())?;
    let file = output_folder().join(name).display().to_string();
    let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
    let pids = pids.join(",");
    let run = viperf(&["record", "-F", "999", "-d", "3s", "-p", &pids, "-o", &file])?;
    ensure!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(file)
}

fn report(file: &str, arguments: &[&str]) -> Result<Value> {
    let run = viperf(&[&["report", file, "--json"], arguments].concat())?;
    ensure!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(serde_json::from_slice(&run.stdout)?)
}

/// The part of this name, and the number of its samples.
fn part<'a>(report: &'a Value, name: &str) -> Result<(&'a Value, u64)> {
    let mut parts = report["groups"]["parts"].as_array().into_iter().flatten();
    let part = parts.find(|part| part["name"].as_str().unwrap_or("none") == name);
    let part = part.with_context(|| format!("no {name}: {report}"))?;
    Ok((part, part["total"]["samples"].as_u64().unwrap_or_default()))
}

fn samples(report: &Value) -> u64 {
    report["summary"]["samples"].as_u64().unwrap_or_default()
}

fn parts_and_filters_are_true(interpreter: &Interpreter) -> Result<()> {
    let id = format!("{:016x}", std::process::id()).repeat(4);
    let group = Group::make("report")?;
    let container = group.below(&format!("docker-{id}.scope"))?;
    let inside = Fixture::start(&interpreter.path, "gil_fight.py", &[])?;
    container.take(inside.pid())?;
    let outside = Fixture::start(&interpreter.path, "share_functions.py", &[])?;
    let file = record("report_groups.viperf", &[inside.pid(), outside.pid()])?;

    let whole = samples(&report(&file, &[])?);
    let by_container = report(&file, &["--group", "container"])?;
    let (in_container, count) = part(&by_container, &id[..12])?;
    ensure!(in_container["id"] == id, "{in_container}");
    ensure!(
        in_container["functions"][0]["name"] == "writer",
        "{in_container}"
    );
    let (_, others) = part(&by_container, "none")?;
    ensure!(
        count > 50 && others > 50 && count + others == whole,
        "{count} and {others} of {whole}: {by_container}"
    );
    let pid = inside.pid().to_string();
    for filter in [
        ["--container", &id[..20]],
        ["--process", &pid],
        ["--cgroup", &container_group(&file)?],
    ] {
        let kept = samples(&report(&file, &filter)?);
        ensure!(kept == count, "{filter:?} keeps {kept} of {count}");
    }

    // The title of a script is its path; its two threads have names of their own.
    let by_thread = report(&file, &["--group", "thread", "--process", &pid])?;
    let (_, left) = part(&by_thread, "left")?;
    let (_, right) = part(&by_thread, "right")?;
    ensure!(
        left > 20 && right > 20 && left + right <= count,
        "{by_thread}"
    );
    let only = samples(&report(&file, &["--thread", "left"])?);
    ensure!(only == left, "{only} of {left}");
    Ok(())
}

/// The path of the container's control group.
fn container_group(file: &str) -> Result<String> {
    let by_group = report(file, &["--group", "cgroup"])?;
    let mut parts = by_group["groups"]["parts"].as_array().into_iter().flatten();
    let docker = parts.find_map(|part| {
        let path = part["name"].as_str()?;
        path.contains("/docker-").then(|| path.to_owned())
    });
    docker.with_context(|| format!("no control group of a container: {by_group}"))
}

/// The oracle is the text of the folded stacks: below `writer`, a frame that only comes to be to take the GIL.
fn taking_the_gil_is_told_apart(interpreter: &Interpreter) -> Result<()> {
    let name = interpreter.name();
    let fight = Fixture::start(&interpreter.path, "gil_fight.py", &[])?;
    let file = record(&format!("report_gil_{name}.viperf"), &[fight.pid()])?;
    let shown = report(&file, &["--process", &fight.pid().to_string()])?;
    let functions = shown["functions"].as_array().into_iter().flatten();
    let mut writer = functions.filter(|function| function["name"] == "writer");
    let writer = writer
        .next()
        .with_context(|| format!("no writer: {shown}"))?;
    let told = writer["split"]["gil_wait"]["samples"]
        .as_u64()
        .unwrap_or_default();
    let own = writer["self"]["samples"].as_u64().unwrap_or_default();

    let folded = viperf(&["convert", &file, "--format", "folded", "-o", "-"])?;
    let folded = String::from_utf8_lossy(&folded.stdout).into_owned();
    let (mut named, mut all) = (0, 0);
    for line in folded.lines() {
        let Some((stack, count)) = line.rsplit_once(' ') else {
            continue;
        };
        let count: u64 = count.parse()?;
        let Some((_, below)) = stack.rsplit_once("_[p]") else {
            continue;
        };
        let is_of_writer = stack.rsplit(';').find(|frame| frame.ends_with("_[p]"));
        if !is_of_writer.is_some_and(|frame| frame.starts_with("writer ")) {
            continue;
        }
        all += count;
        if [";take_gil", ";PyEval_RestoreThread ("]
            .iter()
            .any(|name| below.contains(name))
        {
            named += count;
        }
    }
    ensure!(
        all == own,
        "{all} samples of writer in folded stacks, {own} in the report"
    );
    ensure!(
        named > 0 && told >= named && told - named <= own / 20,
        "{told} of {own} take the GIL, by their names {named}:\n{writer}"
    );
    note_figure(
        &format!("report/gil/{name}"),
        &format!("{told} of {own} samples take the GIL, {named} by a name in the stack"),
    );
    let alone = Fixture::start(&interpreter.path, "share_functions.py", &[])?;
    let file = record(&format!("report_no_gil_{name}.viperf"), &[alone.pid()])?;
    let shown = report(&file, &[])?;
    let functions = shown["functions"].as_array().into_iter().flatten();
    let taken: u64 = functions
        .filter_map(|function| function["split"]["gil_wait"]["samples"].as_u64())
        .sum();
    ensure!(
        taken <= 1,
        "one thread alone takes the GIL in {taken} samples: {shown}"
    );
    Ok(())
}
