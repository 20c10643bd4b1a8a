//! Builds of CPython that cannot be had, and versions that do not exist: models of them are read as the real ones are.
//!
//! A model is `fixtures/c/model.c` compiled for one layout file. It shows that everything behind the layout works on the
//! shape of such a build; whether a layout is right is for the interpreter's own headers and debug information to say.

mod layout_header;
mod model;

use anyhow::{Context, Result, ensure};
use toml::Table;
use viperf_e2e::{Cell, Frame, Plan, Recording, Stack, note_cell, note_figure};

use crate::root;
use layout_header::{ExtraEntry, encode_header, read_layout};
use model::{CLANGS, Compiler, Model, PRESERVE_NONE, find_compiler, user_frames, without_suffix};

pub(crate) fn plan(plan: &mut Plan) {
    let gcc = root().and_then(|()| find_compiler(&["cc"], "int model;"));
    let clang = root().and_then(|()| find_compiler(&CLANGS, PRESERVE_NONE));
    // 3.13t can be had, too: its model shows that models are read as the real ones are.
    for layout in ["3.13t", "3.14t", "3.15t"] {
        let name = format!("model/{layout}-stripped");
        of_layout(plan, name, layout, &gcc, &["-s"]);
    }
    for layout in ["3.14", "3.15", "3.15t"] {
        let name = format!("model/{layout}-tail-call");
        of_layout(plan, name, layout, &clang, &["-DTAIL_CALL"]);
        let name = format!("model/{layout}-tail-call-stripped");
        of_layout(plan, name, layout, &clang, &["-DTAIL_CALL", "-s"]);
    }
    of_compiler(
        plan,
        "model/tail-call-interpreter-frames",
        &clang,
        handlers_are_shown_when_asked_for,
    );
    of_compiler(
        plan,
        "model/newer-version",
        &gcc,
        a_newer_version_is_read_by_its_own_table,
    );
    of_compiler(
        plan,
        "model/newer-version-of-another-shape",
        &gcc,
        a_table_of_another_shape_is_refused,
    );
}

fn of_layout(
    plan: &mut Plan,
    name: String,
    layout: &'static str,
    compiler: &Compiler,
    options: &'static [&'static str],
) {
    of_compiler(plan, &name, compiler, |name, compiler| {
        let header = encode_header(&read_layout(layout)?, None)?;
        let model = Model::start(name, &header, compiler, options)?;
        let recording = model.record(name, &[])?;
        let result = every_stack_is_as_the_model_says(name, &model, &recording);
        let column = format!("{} (model)", name.trim_start_matches("model/"));
        let row = "a model of the build, which could not be had";
        note_cell(&column, viperf_e2e::Table::Builds, row, &Cell::of(&result));
        result.map(|_| ())
    });
}

/// A test that is given its own name and the compiler.
fn of_compiler(
    plan: &mut Plan,
    name: &str,
    compiler: &Compiler,
    test: impl FnOnce(&str, &str) -> Result<()> + Send + 'static,
) {
    let own_name = name.to_owned();
    let (compiler, need) = match compiler.clone() {
        Ok(compiler) => (compiler, Ok(())),
        Err(why) => (String::new(), Err(why)),
    };
    plan.beside(name, need, move || test(&own_name, &compiler));
}

fn every_stack_is_as_the_model_says(
    name: &str,
    model: &Model,
    recording: &Recording,
) -> Result<String> {
    let working = model.working(recording);
    ensure!(
        working.total() > 60,
        "few samples at work:\n{}{}",
        recording.stderr,
        recording.folded.heaviest(8)
    );
    let right = working.count(|stack| model.stacks.iter().any(|said| is_whole(stack, said)));
    let share = working.share(right);
    ensure!(
        share >= 0.99,
        "{share:.4} of the stacks are one of:\n{}but:\n{}",
        model
            .stacks
            .iter()
            .map(|said| show(said))
            .collect::<String>(),
        working
            .only(|stack| !model.stacks.iter().any(|said| is_whole(stack, said)))
            .heaviest(8)
    );
    for said in &model.stacks {
        let seen = working.count(|stack| is_whole(stack, said));
        ensure!(seen > 3, "seen {seen} times: {}", show(said));
    }
    let complete = recording.complete();
    ensure!(
        complete >= 0.99,
        "{complete:.4} are complete: {}",
        recording.stats
    );
    let figure = format!("{share:.4} of {} stacks whole", working.total());
    note_figure(name, &figure);
    Ok(figure)
}

/// One line.
fn show(frames: &[Frame]) -> String {
    let frames: Vec<_> = frames.iter().map(ToString::to_string).collect();
    format!("{}\n", frames.join(" > "))
}

/// What the model says, from its own first function on; before that only the C library's start of a thread, in C.
fn is_whole(stack: &Stack, said: &[Frame]) -> bool {
    let frames: Vec<_> = user_frames(stack).map(without_suffix).collect();
    let start = frames.len().saturating_sub(said.len());
    let (before, own) = frames.split_at(start);
    own == said && before.iter().all(Frame::is_native)
}

/// What hides in the other tests is there: without it they would show nothing.
fn handlers_are_shown_when_asked_for(name: &str, compiler: &str) -> Result<()> {
    let header = encode_header(&read_layout("3.15")?, None)?;
    let model = Model::start(name, &header, compiler, &["-DTAIL_CALL"])?;
    let working = model.working(&model.record(name, &["--interpreter-frames"])?);
    // Three calls of the evaluation loop, each with one handler above it, which calls on.
    let is_shown = |stack: &Stack| {
        let frames: Vec<_> = user_frames(stack).map(Frame::symbol).collect();
        let pairs = frames.windows(2).filter(|pair| {
            let [caller, callee] = [pair[0], pair[1]].map(Option::unwrap_or_default);
            caller == "_PyEval_EvalFrameDefault" && callee == "_TAIL_CALL_CALL_BUILTIN_O"
        });
        pairs.count() == 3
    };
    let share = working.share(working.count(is_shown));
    ensure!(
        working.total() > 60 && share >= 0.99,
        "a handler above each call of the evaluation loop in {share:.4}:\n{}",
        working.heaviest(8)
    );
    Ok(())
}

/// The newest layout under a version that does not exist, most of its members elsewhere.
fn moved_layout() -> Result<Table> {
    let mut layout = read_layout("3.15")?;
    layout.insert("minor".to_owned(), 42.into());
    let moves: [(&str, &[(&str, i64)]); 5] = [
        ("_PyRuntimeState", &[("interpreters_head", 1160)]),
        (
            "PyInterpreterState",
            &[("next", 7304), ("threads_head", 7416)],
        ),
        (
            "PyThreadState",
            &[
                ("next", 0),
                ("prev", 8),
                ("current_frame", 88),
                ("base_frame", 104),
                ("thread_id", 208),
                ("native_thread_id", 200),
            ],
        ),
        (
            "_PyInterpreterFrame",
            &[
                ("previous", 0),
                ("f_executable", 16),
                ("instr_ptr", 48),
                ("owner", 83),
                ("localsplus", 96),
            ],
        ),
        (
            "PyCodeObject",
            &[
                ("co_firstlineno", 60),
                ("co_version", 76),
                ("co_filename", 136),
                ("co_name", 112),
                ("co_qualname", 152),
                ("co_linetable", 128),
                ("co_code_adaptive", 224),
            ],
        ),
    ];
    for (structure, members) in moves {
        let table = layout
            .get_mut(structure)
            .and_then(toml::Value::as_table_mut);
        let table = table.with_context(|| format!("no {structure}"))?;
        for (member, offset) in members {
            let old = table.insert((*member).to_owned(), (*offset).into());
            ensure!(old.is_some(), "{structure} has no {member}");
        }
    }
    Ok(layout)
}

fn a_newer_version_is_read_by_its_own_table(name: &str, compiler: &str) -> Result<()> {
    let header = encode_header(&moved_layout()?, None)?;
    let model = Model::start(name, &header, compiler, &[])?;
    let recording = model.record(name, &[])?;
    every_stack_is_as_the_model_says(name, &model, &recording)?;
    let said = &recording.stderr;
    ensure!(
        said.contains("3.42") && said.contains("untested"),
        "it does not say that CPython 3.42 is untested:\n{said}"
    );
    Ok(())
}

fn a_table_of_another_shape_is_refused(name: &str, compiler: &str) -> Result<()> {
    // One entry more, early in the table: all behind it stand where others did.
    let header = encode_header(&moved_layout()?, Some(ExtraEntry(56)))?;
    let model = Model::start(name, &header, compiler, &[])?;
    let recording = model.record(name, &[])?;
    let working = model.working(&recording);
    let is_native = |stack: &Stack| {
        let mut symbols = user_frames(stack).filter_map(Frame::symbol);
        stack.python_names().is_empty()
            && [
                "_PyEval_EvalFrameDefault",
                "builtin_sorted",
                "_PyEval_EvalFrameDefault",
            ]
            .iter()
            .all(|wanted| symbols.any(|symbol| symbol.starts_with(wanted)))
    };
    let share = working.share(working.count(is_native));
    ensure!(
        working.total() > 60 && share >= 0.99,
        "whole native stacks and no Python in {share:.4}:\n{}",
        working.heaviest(8)
    );
    let said = &recording.stderr;
    ensure!(
        said.contains("3.42") && said.contains("debug offset"),
        "it does not say that the offsets of CPython 3.42 are impossible:\n{said}"
    );
    Ok(())
}
