//! `record -- COMMAND` under circumstances: frames left out from the first instruction on, a parent that ignores signals.

use std::time::Duration;

use anyhow::{Result, ensure};
use viperf_e2e::{Frame, Interpreter, Plan, Recorder, fixtures};

use crate::root_and;

type WithPython = fn(&Interpreter) -> Result<()>;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let with_python: [(&str, WithPython); 2] = [
        (
            "no-native",
            no_native_leaves_native_frames_out_from_the_start,
        ),
        (
            "child-signals-ignored",
            the_end_is_seen_where_child_signals_are_ignored,
        ),
    ];
    for (name, test) in with_python {
        let of = root_and(interpreters).cloned();
        plan.beside(
            format!("commands/{name}"),
            of.clone().map(|_| ()),
            move || test(&of.map_err(anyhow::Error::msg)?),
        );
    }
}

fn no_native_leaves_native_frames_out_from_the_start(interpreter: &Interpreter) -> Result<()> {
    let program = fixtures().join("extensions.py");
    let recording = Recorder::new("commands/no-native")?
        .rate(1999)
        .with("--no-native")
        .command(&[interpreter.path.as_os_str(), program.as_os_str()])
        .run()?;
    let folded = &recording.folded;
    let native = folded.only(|stack| stack.frames.iter().any(Frame::is_native));
    ensure!(
        native.total() == 0,
        "{} of {} samples have native frames in spite of --no-native:\n{}",
        native.total(),
        folded.total(),
        native.heaviest(4)
    );
    let python = folded.count(|stack| stack.position("in_extensions").is_some());
    ensure!(
        python > 200,
        "{python} samples have Python frames:\n{}",
        folded.heaviest(8)
    );
    Ok(())
}

fn the_end_is_seen_where_child_signals_are_ignored(interpreter: &Interpreter) -> Result<()> {
    let ignoring = "import os, signal, sys\n\
                    signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
                    os.execv(sys.argv[1], sys.argv[1:])";
    let program = "import sys\nsum(range(10_000_000))\nsys.exit(7)";
    let python = interpreter.path.as_os_str();
    let recorder = Recorder::new("commands/child-signals-ignored")?
        .rate(199)
        .launcher(&[python, "-c".as_ref(), ignoring.as_ref()])
        .command(&[python, "-c".as_ref(), program.as_ref()]);
    let recording = recorder.finish_within(recorder.start()?, Duration::from_secs(20))?;
    ensure!(
        recording.status.code() == Some(7),
        "the command's 7 became {}:\n{}",
        recording.status,
        recording.stderr
    );
    ensure!(
        recording.folded.total() > 5,
        "{} samples of the command:\n{}",
        recording.folded.total(),
        recording.stderr
    );
    Ok(())
}
