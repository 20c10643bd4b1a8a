//! `python -X perf`: every Python function is called through machine code of its own, made at run time.

use anyhow::{Result, ensure};
use viperf_e2e::{Folded, Frame, Interpreter, Plan, Stack, note_figure};

use super::{
    pattern::user_frames,
    program::{LEAST_COMPLETE, PROGRAM, Program, completeness, samples_are_complete},
};
use crate::root;

/// `<module>`, `main` and what it calls: so many trampolines every stack of the program has.
const LEAST_TRAMPOLINES: usize = 3;

const PERF: Program = Program {
    name: "perf-trampolines",
    file: "pure.py",
    start: r#"exec "$PYTHON" -X perf "$@""#,
    ..PROGRAM
};

/// From 3.12 on, where that was built in.
pub(super) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    for interpreter in interpreters {
        if interpreter.version < (3, 12, 0) {
            continue;
        }
        let of = interpreter.clone();
        let name = format!("native/{}/{}", PERF.name, of.name());
        let need = root().and_then(|()| has_trampolines(&of));
        plan.beside(name.clone(), need, move || {
            walks_go_through_trampolines(&name, &of)
        });
    }
}

fn has_trampolines(interpreter: &Interpreter) -> Result<(), String> {
    let asks = "import sys; sys.activate_stack_trampoline('perf'); print('yes')";
    let output = std::process::Command::new(&interpreter.path)
        .args(["-S", "-c", asks])
        .output();
    match output {
        Ok(output) if output.stdout == b"yes\n" => Ok(()),
        _ => Err(format!(
            "{} was built without trampolines",
            interpreter.name()
        )),
    }
}

fn walks_go_through_trampolines(name: &str, interpreter: &Interpreter) -> Result<()> {
    let recording = PERF.record(name, interpreter)?;
    note_figure(name, &completeness(&recording));
    samples_are_complete(&recording, LEAST_COMPLETE)?;
    // While an eval call ends, freeing what its frame held, its trampoline stands there without a Python frame.
    let whole = &recording.folded;
    let share = whole.share(whole.count(has_a_trampoline_for_each_function));
    ensure!(
        share >= 0.95,
        "trampolines and Python frames agree in {share:.4}:\n{}",
        others(whole).heaviest(4)
    );
    Ok(())
}

fn others(whole: &Folded) -> Folded {
    whole.only(|stack| !has_a_trampoline_for_each_function(stack))
}

/// Each trampoline has the name of the function whose frame comes after it, and there are some.
fn has_a_trampoline_for_each_function(stack: &Stack) -> bool {
    let frames: Vec<_> = user_frames(stack).collect();
    let name_of = |frame: &Frame| {
        let text = frame.symbol()?.strip_prefix("py::")?;
        text.split(':').next().map(str::to_owned)
    };
    let trampolines: Vec<_> = frames
        .iter()
        .enumerate()
        .filter_map(|(at, frame)| Some((at, name_of(frame)?)))
        .collect();
    let is_followed = |(at, name): &(usize, String)| {
        let rest = frames.get(at + 1..).unwrap_or_default();
        let following = rest.iter().find_map(|frame| frame.qualname());
        // The innermost function may not have made its frame yet, or have left it.
        following.is_none_or(|qualname| qualname == name)
    };
    trampolines.len() >= LEAST_TRAMPOLINES && trampolines.iter().all(is_followed)
}
