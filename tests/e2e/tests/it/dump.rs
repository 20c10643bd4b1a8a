//! `viperf dump` against what CPython and gdb say of the same threads, and on programs that never stand still.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Deserializer, Value};
use viperf_e2e::{
    Fixture, Interpreter, Plan, cpu_seconds, note_figure, viperf_binary, wait_at_most,
};

use crate::{root, root_and};

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    plan.beside(format!("dump/standing/{}", of.name()), root(), move || {
        threads_stand_where_cpython_says(&of)
    });
    let of = interpreter.clone();
    plan.beside(format!("dump/flutter/{}", of.name()), root(), move || {
        no_stack_of_a_busy_program_is_crossed(&of, 12)
    });
}

pub(crate) fn plan_once(plan: &mut Plan, interpreters: &[Interpreter]) {
    let own = root_and(interpreters).cloned();
    type Test = fn(&Interpreter) -> Result<()>;
    let tests: [(&str, Test); 4] = [
        ("dump/gil", who_holds_and_who_waits_for_the_gil),
        ("dump/thousand-threads", a_thousand_threads_are_read),
        ("dump/flutter-200", |found| {
            no_stack_of_a_busy_program_is_crossed(found, 200)
        }),
        ("dump/not-there", what_is_not_there_is_said),
    ];
    for (name, test) in tests {
        let of = own.clone();
        plan.beside(name.to_owned(), own.clone().map(|_| ()), move || {
            test(&of.map_err(anyhow::Error::msg)?)
        });
    }
    let has_gdb = Command::new("gdb").arg("--version").output().map(|_| ());
    let need = has_gdb
        .map_err(|_missing| "gdb is missing; `cargo xtask setup --test` installs it".to_owned());
    plan.beside("dump/gdb".to_owned(), own.clone().and(need), move || {
        native_frames_are_those_that_gdb_sees(&own.map_err(anyhow::Error::msg)?)
    });
}

/// Runs `viperf dump --json` and takes its objects apart.
pub(crate) fn dump(pid: u32, arguments: &[&str]) -> Result<Vec<Value>> {
    let mut viperf = Command::new(viperf_binary()?)
        .args(["dump", "--json", "-p", &pid.to_string()])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = viperf.stdout.take().context("no output")?;
    let reader = std::thread::spawn(move || {
        Deserializer::from_reader(std::io::BufReader::new(output))
            .into_iter::<Value>()
            .collect::<Result<Vec<_>, _>>()
    });
    let status = wait_at_most(&mut viperf, Duration::from_secs(600))?;
    let Some(status) = status else {
        viperf.kill()?;
        bail!("viperf dump did not end");
    };
    let mut messages = String::new();
    if let Some(mut stderr) = viperf.stderr.take() {
        std::io::Read::read_to_string(&mut stderr, &mut messages)?;
    }
    ensure!(
        status.success(),
        "viperf dump ended with {status}: {messages}"
    );
    let dumps = reader
        .join()
        .map_err(|_panic| anyhow::anyhow!("no JSON"))??;
    ensure!(!dumps.is_empty(), "nothing was printed: {messages}");
    Ok(dumps)
}

pub(crate) fn threads(dump: &Value) -> Result<&Vec<Value>> {
    dump["processes"][0]["threads"]
        .as_array()
        .with_context(|| format!("no threads: {dump}"))
}

/// Bare name, file and line of the Python frames, innermost first.
fn python_frames(thread: &Value) -> Vec<(String, String, u64)> {
    let frames = thread["frames"].as_array().into_iter().flatten();
    frames
        .filter(|frame| frame["kind"] == "python")
        .map(|frame| {
            let function = frame["function"].as_str().unwrap_or_default();
            let bare = function.rsplit('.').next().unwrap_or_default();
            (
                bare.to_owned(),
                frame["file"].as_str().unwrap_or_default().to_owned(),
                frame["line"].as_u64().unwrap_or_default(),
            )
        })
        .collect()
}

pub(crate) fn threads_stand_where_cpython_says(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "standing.py", &[])?;
    let standing = fixture.facts()["standing"]
        .as_object()
        .context("no threads that stand")?
        .clone();
    let dumps = dump(fixture.pid(), &[])?;
    let threads = threads(&dumps[0])?;
    let by_name: BTreeMap<&str, &Value> = threads
        .iter()
        .filter_map(|thread| Some((thread["name"].as_str()?, thread)))
        .collect();
    ensure!(standing.len() == 7, "{standing:?}");
    for (name, expected) in &standing {
        let thread = by_name
            .get(name.as_str())
            .with_context(|| format!("no thread {name:?}: {:?}", by_name.keys()))?;
        let expected: Vec<(String, String, u64)> =
            serde_json::from_value::<Vec<_>>(expected.clone())?;
        let found = python_frames(thread);
        ensure!(
            found == expected,
            "{name}: viperf says\n{found:#?}\nand CPython\n{expected:#?}"
        );
        ensure!(thread["complete"] == true, "{name} has a gap: {thread}");
        ensure!(thread["activity"] == "blocked", "{name}: {thread}");
        let gil = &thread["gil"];
        ensure!(
            *gil == "released" || *gil == "detached",
            "{name} stands with the GIL: {gil}"
        );
    }
    let calls = [
        ("stands in read", "read"),
        ("stands in lock", "futex"),
        ("stands in event", "futex"),
    ];
    for (name, call) in calls {
        let thread = by_name[name];
        ensure!(thread["system_call"]["name"] == call, "{name}: {thread}");
    }
    Ok(())
}

fn no_stack_of_a_busy_program_is_crossed(interpreter: &Interpreter, count: usize) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "flutter.py", &[])?;
    let pairs: Vec<(String, String)> =
        serde_json::from_value(fixture.facts()["pairs"].clone()).context("no pairs")?;
    let repeat = count.to_string();
    let dumps = dump(
        fixture.pid(),
        &["--repeat", &repeat, "--interval", "5ms", "--no-kernel"],
    )?;
    ensure!(dumps.len() == count, "{} dumps of {count}", dumps.len());
    let (mut read, mut called) = (0, 0);
    for dump in &dumps {
        for thread in threads(dump)? {
            let frames = python_frames(thread);
            if frames.is_empty() {
                ensure!(
                    thread["no_stack"].is_string() || thread["frames"].is_array(),
                    "a thread without a stack and without a reason: {thread}"
                );
                continue;
            }
            read += 1;
            let names: Vec<&str> = frames.iter().map(|(name, ..)| name.as_str()).collect();
            let place = |name: &str| names.iter().position(|found| *found == bare(name));
            for (hot, leaf) in &pairs {
                let (hot_place, leaf_place) = (place(hot), place(leaf));
                if leaf_place.is_some() {
                    called += 1;
                    ensure!(
                        hot_place.is_some() && leaf_place < hot_place,
                        "a crossed stack: {names:?}"
                    );
                }
            }
        }
    }
    ensure!(
        read * 10 >= count * 9,
        "only {read} of {count} dumps have the stack of the thread"
    );
    note_figure(
        "dump/flutter",
        &format!("{read} stacks of {count} dumps, 0 crossed, {called} of them in a leaf"),
    );
    Ok(())
}

fn bare(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

fn who_holds_and_who_waits_for_the_gil(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "standing.py", &["--busy", "3"])?;
    let dumps = dump(fixture.pid(), &["--repeat", "20", "--interval", "20ms"])?;
    let mut states: BTreeMap<(bool, String), u32> = BTreeMap::new();
    for thread in dumps.iter().filter_map(|dump| threads(dump).ok()).flatten() {
        let name = thread["name"].as_str().unwrap_or_default();
        let gil = thread["gil"].as_str().unwrap_or_default().to_owned();
        *states.entry((name.starts_with("busy"), gil)).or_default() += 1;
    }
    let count = |busy: bool, gil: &str| states.get(&(busy, gil.to_owned())).copied().unwrap_or(0);
    ensure!(
        count(true, "holds") > 0 && count(true, "waits") > 0,
        "of three busy threads one holds the GIL and the others wait: {states:?}"
    );
    ensure!(
        count(false, "holds") == 0 && count(false, "waits") == 0,
        "threads that stand have nothing to do with the GIL: {states:?}"
    );
    Ok(())
}

fn a_thousand_threads_are_read(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "standing.py", &["--extra", "1000"])?;
    let before = cpu_seconds(fixture.pid())?;
    let dumps = dump(fixture.pid(), &[])?;
    let used = cpu_seconds(fixture.pid())? - before;
    let threads = threads(&dumps[0])?;
    ensure!(threads.len() == 1007, "{} threads", threads.len());
    let whole = threads
        .iter()
        .filter(|thread| thread["complete"] == true && !python_frames(thread).is_empty());
    let whole = whole.count();
    ensure!(whole == 1007, "{whole} of 1007 threads are whole");
    let took = dumps[0]["took_ns"].as_u64().unwrap_or_default() / 1_000_000;
    note_figure(
        "dump/thousand-threads",
        &format!(
            "1,007 threads in {took} ms, during which the program itself used {used:.2} s of CPU"
        ),
    );
    ensure!(used < 0.5, "the program itself has used {used} s of CPU");
    Ok(())
}

fn native_frames_are_those_that_gdb_sees(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "standing.py", &[])?;
    let dumps = dump(fixture.pid(), &["--no-kernel"])?;
    let gdb = Command::new("gdb")
        .args(["-nx", "-batch", "-p", &fixture.pid().to_string()])
        .args([
            "-ex",
            "set print frame-arguments none",
            "-ex",
            "thread apply all bt",
        ])
        .output()?;
    let text = String::from_utf8_lossy(&gdb.stdout);
    let mut compared = 0;
    for thread in threads(&dumps[0])? {
        let Some(seen) = gdb_names(&text, thread["tid"].as_u64().unwrap_or_default()) else {
            continue;
        };
        let frames = thread["frames"].as_array().into_iter().flatten();
        let native = frames.filter(|frame| frame["kind"] == "native");
        let native: Vec<String> = native
            .map(|frame| plain_symbol(frame["function"].as_str().unwrap_or_default()))
            .filter(|name| !name.starts_with('['))
            .collect();
        // gdb also shows what was inlined and the eval calls: ours are a part of them, in the same order.
        let mut rest = seen.iter();
        let found = native.iter().filter(|name| {
            rest.clone().any(|other| other == *name) && rest.any(|other| other == *name)
        });
        let found = found.count();
        ensure!(
            found * 10 >= native.len() * 9 && found > 3,
            "thread {}: {found} of these are in gdb's stack, in order:\n{native:?}\ngdb:\n{seen:?}",
            thread["name"]
        );
        compared += 1;
    }
    ensure!(compared >= 7, "gdb saw {compared} threads:\n{text}");
    Ok(())
}

/// The names of one thread's frames, innermost first.
fn gdb_names(text: &str, tid: u64) -> Option<Vec<String>> {
    let start = text.find(&format!("(LWP {tid})"))?;
    let stack = text.get(start..)?.split("\n\n").next()?;
    let frames = stack.lines().filter(|line| line.starts_with('#'));
    let names = frames.filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let name = match words.as_slice() {
            [address, "in", name, ..] if address.starts_with("0x") => name,
            [name, ..] => name,
            [] => return None,
        };
        Some(plain_symbol(name))
    });
    Some(names.collect())
}

/// glibc has several names for one function, and compilers add to them.
fn plain_symbol(name: &str) -> String {
    let name = name.split(['.', '@']).next().unwrap_or_default();
    let name = name.strip_prefix("__GI_").unwrap_or(name);
    name.trim_start_matches('_')
        .trim_end_matches("64")
        .to_owned()
}

fn what_is_not_there_is_said(_interpreter: &Interpreter) -> Result<()> {
    let run = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let output = Command::new(viperf_binary()?)
            .arg("dump")
            .args(arguments)
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code(), text))
    };
    let (code, text) = run(&["-p", "4194303"])?;
    ensure!(
        code == Some(4) && text.contains("4194303"),
        "{code:?} {text}"
    );
    let (code, text) = run(&["--", "python3"])?;
    ensure!(
        code == Some(2) && text.contains("dump -p PID"),
        "{code:?} {text}"
    );
    Ok(())
}
