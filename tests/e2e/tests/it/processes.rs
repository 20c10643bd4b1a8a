//! Processes that come into being in every way: their functions, their names, and their CPU time as the kernel accounts it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Interpreter, Plan, Recorder, fixtures, note_figure};

use crate::{command_line::viperf, root};

/// Samples a second.
const RATE: u32 = 999;
/// By so much the CPU time of the samples may differ from that of the kernel.
const CPU_TOLERANCE: f64 = 0.05;
/// A quarter of a second of CPU time gives so many samples at least: a tenth of what it should.
const FEWEST: u64 = 25;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    // The ways that the program takes are those of Python 3.8 and later.
    if interpreter.version.0 < 3 || interpreter.version.1 < 8 || interpreter.in_container() {
        return;
    }
    let of = interpreter.clone();
    let name = format!("processes/{}", interpreter.name());
    plan.alone(name.clone(), root(), move || every_way_is_seen(&name, &of));
}

fn every_way_is_seen(name: &str, interpreter: &Interpreter) -> Result<()> {
    let program = fixtures().join("life_cycle.py");
    let command = [interpreter.path.as_os_str(), program.as_os_str()];
    let recorder = Recorder::new(name)?.rate(RATE).command(&command);
    let recording = recorder.run()?;
    let told = recording.last_line()?;
    let told = told.as_array().context("a list of processes")?;
    let (mut sampled, mut accounted, mut short) = (0.0, 0.0, 0);
    for process in told {
        let pid = process["pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok());
        let own = recording.of(pid.context("a pid")?);
        let functions = process["functions"].as_array().context("functions")?;
        for function in functions.iter().filter_map(Value::as_str) {
            let count = own.count(|stack| stack.python_names().contains(&function));
            let is_short = function == "short_life";
            short += u64::from(is_short && count > 0);
            ensure!(
                is_short || count >= FEWEST,
                "{function} has {count} samples in {process}:\n{}\n{}",
                own.heaviest(8),
                recording.stderr
            );
        }
        if let Some(cpu) = process["cpu"].as_f64() {
            sampled += own.total() as f64 / f64::from(RATE);
            accounted += cpu;
        }
    }
    let short_ones = told
        .iter()
        .filter(|process| process["functions"][0] == "short_life");
    let short_ones = short_ones.count() as u64;
    note_figure(
        name,
        &format!(
            "{sampled:.3} s of CPU time sampled, {accounted:.3} s accounted; {short} of {short_ones} that lived 50 ms"
        ),
    );
    ensure!(short == short_ones, "{short} of {short_ones} were seen");
    ensure!(
        (sampled / accounted - 1.0).abs() <= CPU_TOLERANCE,
        "{sampled:.3} s of CPU time were sampled, {accounted:.3} s accounted"
    );
    Ok(())
}

pub(crate) fn plan_identity(plan: &mut Plan, interpreters: &[Interpreter]) {
    let newest = crate::root_and(interpreters).cloned();
    plan.beside("processes/identity", newest.clone().map(|_| ()), {
        let newest = newest.clone();
        move || titles_and_parents_are_told(&newest.map_err(anyhow::Error::msg)?)
    });
    plan.beside("processes/renamed", newest.clone().map(|_| ()), move || {
        a_name_that_is_given_late_is_told(&newest.map_err(anyhow::Error::msg)?)
    });
}

/// As setproctitle and gunicorn's workers do, long after the start and without mapping anything.
fn a_name_that_is_given_late_is_told(interpreter: &Interpreter) -> Result<()> {
    std::fs::create_dir_all(viperf_e2e::output_folder())?;
    let output = viperf_e2e::output_folder().join("renamed.json");
    let program = "import time\n\
        def work(seconds):\n    \
            end = time.process_time() + seconds\n    \
            while time.process_time() < end: sum(range(500))\n\
        work(2.5)\n\
        open('/proc/self/comm', 'w').write('late-name')\n\
        work(2.5)\n";
    let file = output.display().to_string();
    let python = interpreter.path.display().to_string();
    let run = viperf(&[
        "record", "-F", "99", "-o", &file, "--", &python, "-S", "-c", program,
    ])?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "{said}");
    let profile: Value = serde_json::from_slice(&std::fs::read(&output)?)?;
    let rows = profile["processes"].as_array().context("processes")?;
    ensure!(
        rows.iter().any(|row| row["name"] == "late-name"),
        "no process is called so: {rows:?}"
    );
    Ok(())
}

/// What the kernel and the program say of themselves is the oracle.
fn titles_and_parents_are_told(interpreter: &Interpreter) -> Result<()> {
    std::fs::create_dir_all(viperf_e2e::output_folder())?;
    let output = viperf_e2e::output_folder().join("identity.json");
    let program = "import json, multiprocessing, os, time\n\
        def work(queue=None):\n    \
            end = time.process_time() + 0.3\n    \
            while time.process_time() < end: pass\n    \
            words = open('/proc/self/stat').read().rsplit(')', 1)[1].split()\n    \
            ticks = int(words[19]) * (1000000000 // os.sysconf('SC_CLK_TCK'))\n    \
            facts = dict(pid=os.getpid(), parent_pid=os.getppid(), start_time_ns=ticks)\n    \
            return facts if queue is None else queue.put(facts)\n\
        if __name__ == '__main__':\n    \
            context = multiprocessing.get_context('spawn')\n    \
            queue = context.Queue()\n    \
            child = context.Process(target=work, args=(queue,))\n    \
            child.start()\n    \
            print(json.dumps([work(), queue.get()]))\n    \
            child.join()\n";
    let script = viperf_e2e::output_folder().join("identity.py");
    std::fs::write(&script, program)?;
    let text = |path: &std::path::Path| path.display().to_string();
    let (file, python, script) = (text(&output), text(&interpreter.path), text(&script));
    let run = viperf(&["record", "-F", "199", "-o", &file, "--", &python, &script])?;
    ensure!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let facts: Value = serde_json::from_slice(&run.stdout)?;
    let profile: Value = serde_json::from_slice(&std::fs::read(&output)?)?;
    let rows = profile["processes"].as_array().context("processes")?;
    for (facts, title) in facts
        .as_array()
        .context("facts")?
        .iter()
        .zip(["identity.py", "identity.py: spawned process"])
    {
        let is_meant = |row: &&Value| {
            let shown = row["title"].as_str().unwrap_or_default();
            row["pid"] == facts["pid"] && shown.ends_with(title)
        };
        let row = rows.iter().find(is_meant);
        let row = row.with_context(|| format!("no process {facts} called {title}: {rows:?}"))?;
        for key in ["parent_pid", "start_time_ns"] {
            ensure!(row[key] == facts[key], "{key}: {row}, not {facts}");
        }
        let own_group = row["placement"]["cgroup"].as_str();
        ensure!(
            own_group.is_some_and(|group| group.starts_with('/')),
            "no control group: {row}"
        );
    }
    Ok(())
}
