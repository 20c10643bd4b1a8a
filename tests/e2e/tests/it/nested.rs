//! Proof 2: Python > C > Python > C, nested, in the true order.

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Folded, Frame, Interpreter, Plan, Recorder, Stack, note_figure};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let of = interpreter.clone();
    plan.beside(
        format!("nested/{}", interpreter.name()),
        root(),
        move || callbacks_stand_in_order(&of),
    );
}

/// What must stand between a Python function and the one that C calls for it.
struct Gap {
    outer: &'static str,
    inner: &'static str,
    /// Names that a build with symbols shows, perhaps with a suffix (`name.lto_priv.0`): one of them must be there.
    symbols: &'static [&'static str],
    /// Libraries in this order, on every build.
    libraries: &'static [&'static str],
}

const GAPS: [Gap; 4] = [
    Gap {
        outer: "rounds",
        inner: "by_key",
        symbols: &["builtin_sorted", "list_sort_impl", "list_sort", "listsort"],
        libraries: &[],
    },
    Gap {
        outer: "by_key",
        inner: "step",
        symbols: &["functools_reduce", "_functools_reduce"],
        libraries: &[],
    },
    Gap {
        outer: "sub",
        inner: "replace",
        symbols: &["pattern_subx", "_sre_SRE_Pattern_sub"],
        libraries: &[],
    },
    Gap {
        outer: "replace",
        inner: "compare",
        symbols: &[],
        libraries: &["_ctypes", "libc.so", "_ctypes"],
    },
];

/// Python calls that the interpreter makes without C from 3.11 on: nothing may stand between them.
const DIRECT: [(&str, &str); 3] = [("<module>", "main"), ("main", "rounds"), ("step", "sub")];

fn callbacks_stand_in_order(interpreter: &Interpreter) -> Result<()> {
    let name = format!("nested/{}", interpreter.name());
    let fixture = Fixture::start(&interpreter.path, "nested.py", &[])?;
    let recording = Recorder::new(&name)?
        .process(fixture.pid())
        .rate(499)
        .seconds(4)
        .run()?;
    let of_process = recording.of(fixture.pid());
    let comparing = of_process.only(|stack| stack.position("compare").is_some());
    ensure!(
        of_process.share(comparing.total()) > 0.8,
        "compare is rare:\n{}",
        of_process.heaviest(8)
    );

    let chain = expected_chain(&fixture)?;
    let whole = comparing.count(|stack| frames_with_lines(stack) == chain);
    let share = comparing.share(whole);
    ensure!(
        share > 0.97,
        "the whole chain is in {share:.3}, expected {chain:?}:\n{}",
        comparing.heaviest(4)
    );

    native_frames_fill_the_gaps(
        &comparing.only(|stack| frames_with_lines(stack) == chain),
        interpreter,
    )?;
    note_figure(
        &name,
        &format!(
            "whole chain with lines in {share:.4} of {} samples",
            comparing.total()
        ),
    );
    Ok(())
}

fn native_frames_fill_the_gaps(whole: &Folded, interpreter: &Interpreter) -> Result<()> {
    let shown = || whole.heaviest(4);
    for gap in &GAPS {
        let is_right = |stack: &Stack| {
            let between = stack.between(gap.outer, gap.inner);
            between.is_some_and(|frames| is_filled(frames, gap, interpreter))
        };
        let share = whole.share(whole.count(is_right));
        ensure!(
            share > 0.97,
            "C between {} and {} is right in {share:.3}:\n{}",
            gap.outer,
            gap.inner,
            shown()
        );
    }
    for (outer, inner) in DIRECT {
        // Before 3.11 every call goes through C functions of the interpreter.
        let is_allowed = |frame: &Frame| interpreter.version < (3, 11, 0) && frame.is_native();
        let is_direct = |stack: &Stack| {
            let between = stack.between(outer, inner);
            between.is_some_and(|frames| frames.iter().all(is_allowed))
        };
        let share = whole.share(whole.count(is_direct));
        ensure!(
            share > 0.97,
            "something stands between {outer} and {inner}:\n{}",
            shown()
        );
    }
    let rooted = whole.count(|stack| stack.frames.first().is_some_and(Frame::is_native));
    ensure!(
        whole.share(rooted) > 0.97,
        "the native root is missing:\n{}",
        shown()
    );
    Ok(())
}

/// The chain that the program says, with the line of the call in each frame.
fn expected_chain(fixture: &Fixture) -> Result<Vec<(String, Option<u32>)>> {
    let names = fixture.facts()["chain"].as_array().context("no chain")?;
    let with_line = |name: &serde_json::Value| {
        let name = name.as_str().context("a name")?;
        // `re.sub` is the standard library's, and `compare` moves between its lines.
        let line = match name {
            "sub" | "compare" => None,
            "<module>" => Some(fixture.line("module")?),
            marked => Some(fixture.line(marked)?),
        };
        Ok((name.to_owned(), line))
    };
    names.iter().map(with_line).collect()
}

fn frames_with_lines(stack: &Stack) -> Vec<(String, Option<u32>)> {
    let with_line = |frame: &Frame| {
        let name = frame.qualname()?;
        let line = if matches!(name, "sub" | "compare") {
            None
        } else {
            frame.line()
        };
        Some((name.to_owned(), line))
    };
    stack.frames.iter().filter_map(with_line).collect()
}

fn is_filled(frames: &[Frame], gap: &Gap, interpreter: &Interpreter) -> bool {
    if frames.is_empty() || !frames.iter().all(Frame::is_native) {
        return false;
    }
    let mut libraries = frames.iter().filter_map(Frame::library);
    let in_order = gap
        .libraries
        .iter()
        .all(|wanted| libraries.any(|library| library.starts_with(wanted)));
    let named = if gap.symbols.is_empty() {
        // Before 3.7 libffi is a part of `_ctypes`.
        let is_ffi = |frame: &Frame| {
            let symbol = frame.symbol().unwrap_or_default();
            symbol.starts_with("ffi_") || frame.library().is_some_and(|of| of.starts_with("libffi"))
        };
        frames.iter().any(is_ffi)
    } else {
        let plain = |frame: &Frame| {
            frame
                .symbol()
                .and_then(|symbol| symbol.split('.').next())
                .map(str::to_owned)
        };
        let is_named = frames
            .iter()
            .filter_map(plain)
            .any(|symbol| gap.symbols.contains(&symbol.as_str()));
        // The C function that calls back is static: without .symtab, and without a debug file in the interpreter's root, it
        // has no name, and must not get another's.
        is_named || (interpreter.stripped && frames.iter().any(Frame::is_nameless))
    };
    in_order && named
}
