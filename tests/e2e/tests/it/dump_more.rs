//! `viperf dump` of local variables, of a container, and of builds without the GIL.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Deserializer, Value};
use viperf_e2e::{Fixture, Interpreter, Plan};

use crate::{
    command_line::viperf,
    control_groups::Group,
    dump::{dump, threads, threads_stand_where_cpython_says},
    root,
};

/// Each way in which CPython keeps variables and texts: `unicode` and `int` of 2.7, slots and cells to 3.10, one list of all
/// from 3.11, tagged references from 3.14.
const OF_EACH_WAY: [(u64, u64); 4] = [(2, 7), (3, 8), (3, 12), (3, 14)];

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter], of_versions: &[Interpreter]) {
    let free_threaded = interpreters.iter().filter(|found| found.free_threaded);
    for interpreter in free_threaded.clone() {
        let of = interpreter.clone();
        plan.beside(format!("dump/standing/{}", of.name()), root(), move || {
            threads_stand_where_cpython_says(&of)
        });
    }
    let of_each_way = of_versions.iter().filter(|found| {
        let (major, minor, _) = found.version;
        OF_EACH_WAY.contains(&(major, minor))
    });
    for interpreter in of_each_way.chain(free_threaded) {
        let of = interpreter.clone();
        plan.beside(format!("dump/locals/{}", of.name()), root(), move || {
            local_variables_are_what_python_says(&of)
        });
    }
    let contained = interpreters.iter().find(|found| found.in_container());
    let contained = contained.cloned();
    let need = match contained {
        Some(_) => root().and(
            Group::make("dump-probe")
                .map(|_| ())
                .map_err(|error| format!("{error:#}")),
        ),
        None => Err("there is no interpreter with a root of its own".to_owned()),
    };
    plan.beside("dump/container", need, move || {
        a_container_is_dumped_whole(contained.as_ref().context("no interpreter")?)
    });
}

fn frames<'a>(dump: &'a Value, function: &str) -> Result<Vec<&'a Value>> {
    let frames = threads(dump)?
        .iter()
        .filter_map(|thread| thread["frames"].as_array())
        .flatten();
    Ok(frames
        .filter(|frame| frame["function"] == function)
        .collect())
}

fn locals(frame: &Value) -> BTreeMap<&str, &str> {
    let locals = frame["locals"].as_array().into_iter().flatten();
    locals
        .filter_map(|local| Some((local["name"].as_str()?, local["value"].as_str()?)))
        .collect()
}

fn local_variables_are_what_python_says(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "locals.py", &[])?;
    let expected: BTreeMap<String, String> =
        serde_json::from_value(fixture.facts()["locals"].clone())?;
    ensure!(expected.len() == 20, "{expected:?}");
    // The time for one thread is bounded, too, so on a machine that is overloaded a dump may have less.
    let dumps = dump(
        fixture.pid(),
        &["--locals", "--repeat", "5", "--interval", "10ms"],
    )?;
    let wide_locals = |dump: &&Value| {
        let wide = frames(dump, "wide").unwrap_or_default();
        wide.first().map_or(0, |frame| locals(frame).len())
    };
    let most = dumps.iter().map(|dump| wide_locals(&dump)).max();
    ensure!(most == Some(64), "{most:?} of 500 variables");
    let dump = dumps.iter().max_by_key(wide_locals).context("no dump")?;
    let holds = frames(dump, "holds")?;
    let holds = holds.first().context("the function is not in the dump")?;
    let found = locals(holds);
    for (name, value) in &expected {
        ensure!(
            found.get(name.as_str()) == Some(&value.as_str()),
            "{name}: viperf says {:?}, Python {value:?}",
            found.get(name.as_str())
        );
    }
    let gone = fixture.facts()["gone"].as_str().unwrap_or_default();
    ensure!(!found.contains_key(gone), "{gone} was deleted: {found:?}");
    let longest = found.values().map(|value| value.chars().count()).max();
    ensure!(longest <= Some(90), "a value of {longest:?} characters");
    let wide = frames(dump, "wide")?;
    let wide = locals(
        wide.first()
            .context("the wide function is not in the dump")?,
    );
    ensure!(wide.get("v7") == Some(&"7"), "{wide:?}");
    Ok(())
}

fn a_container_is_dumped_whole(interpreter: &Interpreter) -> Result<()> {
    let id = format!("{:016x}", std::process::id()).repeat(4);
    let group = Group::make("dump")?;
    let container = group.below(&format!("docker-{id}.scope"))?;
    let inside = [
        Fixture::start(&interpreter.path, "standing.py", &[])?,
        Fixture::start(&interpreter.path, "locals.py", &[])?,
    ];
    for fixture in &inside {
        container.take(fixture.pid())?;
    }
    let outside = Fixture::start(&interpreter.path, "standing.py", &[])?;
    let run = viperf(&["dump", "--json", "--container", &id[..20]])?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "{said}");
    let mut dumps = Deserializer::from_slice(&run.stdout).into_iter::<Value>();
    let dump = dumps.next().context("no dump")??;
    let processes = dump["processes"].as_array().context("no processes")?;
    let mut pids: Vec<u64> = processes
        .iter()
        .filter_map(|one| one["pid"].as_u64())
        .collect();
    pids.sort_unstable();
    let mut expected: Vec<u64> = inside.iter().map(|one| u64::from(one.pid())).collect();
    expected.sort_unstable();
    ensure!(
        pids == expected,
        "{pids:?} are in the dump, {expected:?} in the container, {} outside: {said}",
        outside.pid()
    );
    // The names of files are the container's, and their text is read through its root.
    let texts = processes
        .iter()
        .filter_map(|process| process["threads"].as_array())
        .flatten()
        .filter_map(|thread| thread["frames"].as_array())
        .flatten()
        .filter_map(|frame| frame["text"].as_str());
    ensure!(
        texts.clone().any(|text| text.trim() == "EVENT.wait()"),
        "no line of the source: {:?}",
        texts.collect::<Vec<_>>()
    );
    Ok(())
}
