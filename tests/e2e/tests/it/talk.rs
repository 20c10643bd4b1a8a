//! Proof 1: the talk's example, down into C and up into the kernel.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{
    Fixture, Folded, Frame, Interpreter, Plan, Recorder, Recording, Stack, note_figure,
};

use crate::root;

pub(crate) fn plan(plan: &mut Plan, interpreter: &Interpreter) {
    let name = interpreter.name();
    let of = interpreter.clone();
    plan.alone(format!("talk/deflate/{name}"), root(), move || {
        deflate_stands_under_func(&of)
    });
    let of = interpreter.clone();
    plan.alone(format!("talk/string-work/{name}"), root(), move || {
        string_work_stands_under_func(&of)
    });
    let of = interpreter.clone();
    plan.beside(format!("talk/kernel/{name}"), root(), move || {
        kernel_frames_are_on_top(&of)
    });
}

fn deflate_stands_under_func(interpreter: &Interpreter) -> Result<()> {
    let name = format!("talk/deflate/{}", interpreter.name());
    let fixture = Fixture::start(&interpreter.path, "talk.py", &["--compressions", "100"])?;
    let recording = Recorder::new(&name)?
        .process(fixture.pid())
        .rate(999)
        .seconds(3)
        .run()?;
    let compress = fixture.line("compress")?;
    let compressing = in_func_at(&recording, fixture.pid(), compress);
    ensure!(
        compressing.total() > 50,
        "few samples of line {compress}:\n{}",
        recording.folded.heaviest(8)
    );

    let in_zlib = compressing.only(|stack| stack.under("func").iter().any(is_zlib));
    let deflate = in_zlib.count(|stack| is_named(stack.under("func"), "deflate"));
    let share = in_zlib.share(deflate);
    ensure!(
        share > 0.9,
        "deflate is in {share:.3} of the samples in libz:\n{}",
        in_zlib.heaviest(8)
    );
    let in_order = in_zlib.count(|stack| zlib_is_called_by_the_interpreter(stack.under("func")));
    ensure!(
        in_zlib.share(in_order) > 0.99,
        "libz is not above the interpreter:\n{}",
        in_zlib.heaviest(8)
    );
    ensure!(
        compressing.share(in_zlib.total()) > 0.5,
        "libz is missing:\n{}",
        compressing.heaviest(8)
    );
    no_nearest_export(&in_zlib, interpreter)?;
    note_figure(
        &name,
        &format!(
            "{} samples under zlib.compress, deflate in {share:.3}",
            compressing.total()
        ),
    );
    Ok(())
}

/// Most time goes to functions of libz that it does not export, so most leaves must have no name,
/// or a name that is no export (where debug information is installed).
fn no_nearest_export(in_zlib: &Folded, interpreter: &Interpreter) -> Result<()> {
    let library = in_zlib
        .stacks
        .iter()
        .flat_map(|stack| &stack.frames)
        .find(|frame| is_zlib(frame));
    let library = library
        .and_then(Frame::library)
        .context("no frame of libz")?;
    let exports = exports(&find_library(library, interpreter)?)?;
    let leaf_is_internal =
        |stack: &Stack| match stack.frames.iter().rev().find(|frame| is_zlib(frame)) {
            Some(Frame::Native {
                symbol: Some(symbol),
                ..
            }) => !exports.contains(symbol),
            Some(_) => true,
            None => false,
        };
    let internal = in_zlib.share(in_zlib.count(leaf_is_internal));
    ensure!(
        internal > 0.5,
        "only {internal:.3} of libz's leaves are internal functions:\n{}",
        in_zlib.heaviest(8)
    );
    Ok(())
}

fn exports(library: &Path) -> Result<Vec<String>> {
    let output = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2));
    let names: Vec<_> = names
        .filter_map(|name| name.split('@').next())
        .map(str::to_owned)
        .collect();
    ensure!(
        names.iter().any(|name| name == "deflate"),
        "nm shows no exports of {}",
        library.display()
    );
    Ok(names)
}

fn find_library(name: &str, interpreter: &Interpreter) -> Result<PathBuf> {
    let folders = [
        "lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu",
        "usr/lib64",
        "usr/lib",
    ];
    let root = interpreter.root.clone().unwrap_or_else(|| "/".into());
    let mut paths = folders.iter().map(|folder| root.join(folder).join(name));
    paths
        .find(|path| path.exists())
        .with_context(|| format!("{name} is in no library folder of {}", root.display()))
}

/// What each part of the line is in C, where a build has symbols; one of the names must be there.
const STRING_WORK: [(&str, &[&str]); 4] = [
    (
        "string concatenation",
        &[
            "PyUnicode_Append",
            "unicode_concatenate",
            "string_concatenate",
            "PyString_Concat",
        ],
    ),
    (
        "%",
        &[
            "PyNumber_Remainder",
            "long_mod",
            "long_rem",
            "l_mod",
            "int_mod",
            "binary_op1",
        ],
    ),
    (
        "chr",
        &[
            "builtin_chr",
            "PyUnicode_FromOrdinal",
            "unicode_char",
            "PyString_FromStringAndSize",
        ],
    ),
    (
        "global lookup",
        &[
            "_PyDict_LoadGlobal",
            "_Py_dict_lookup",
            "unicodekeys_lookup_generic",
            "lookdict",
            "PyDict_GetItem",
        ],
    ),
];

fn string_work_stands_under_func(interpreter: &Interpreter) -> Result<()> {
    let name = format!("talk/string-work/{}", interpreter.name());
    let arguments = ["--size", "200000", "--lookups", "1"];
    let fixture = Fixture::start(&interpreter.path, "talk.py", &arguments)?;
    let recording = Recorder::new(&name)?
        .process(fixture.pid())
        .rate(999)
        .seconds(3)
        .run()?;
    let append = fixture.line("append")?;
    let appending = in_func_at(&recording, fixture.pid(), append);
    let shown = || appending.heaviest(16);
    ensure!(
        appending.total() > 50,
        "few samples:\n{}",
        recording.folded.heaviest(8)
    );

    let is_native = |stack: &Stack| stack.under("func").iter().any(Frame::is_native);
    let native = appending.share(appending.count(is_native));
    ensure!(
        native > 0.2,
        "native frames on {native:.3} of line {append}:\n{}",
        shown()
    );
    note_figure(
        &name,
        &format!("{} samples, native in {native:.3}", appending.total()),
    );
    if interpreter.stripped {
        // Only exports have names: the concatenation is one, and what is static must not borrow a name.
        ensure!(
            has_symbol(&appending, &["PyUnicode_Append"]),
            "no PyUnicode_Append:\n{}",
            shown()
        );
        let is_nameless = |stack: &Stack| stack.under("func").iter().any(Frame::is_nameless);
        ensure!(
            appending.count(is_nameless) > 0,
            "every frame has a name:\n{}",
            shown()
        );
        return Ok(());
    }
    for (what, names) in STRING_WORK {
        ensure!(
            has_symbol(&appending, names),
            "no {what} under func:\n{}",
            shown()
        );
    }
    Ok(())
}

fn kernel_frames_are_on_top(interpreter: &Interpreter) -> Result<()> {
    let name = format!("talk/kernel/{}", interpreter.name());
    let fixture = Fixture::start(&interpreter.path, "listdir.py", &[])?;
    let recording = Recorder::new(&name)?
        .process(fixture.pid())
        .rate(999)
        .seconds(2)
        .run()?;
    let line = fixture.line("listdir")?;
    let listing = recording.of(fixture.pid()).only(|stack| {
        stack.innermost_python().is_some_and(|frame| {
            frame.qualname() == Some("list_folder") && frame.line() == Some(line)
        })
    });
    let in_kernel = listing.only(|stack| stack.under("list_folder").iter().any(Frame::is_kernel));
    ensure!(
        listing.share(in_kernel.total()) > 0.2,
        "no kernel frames on listdir:\n{}",
        listing.heaviest(8)
    );
    let on_top = in_kernel.count(|stack| {
        let kernel = stack.frames.iter().skip_while(|frame| !frame.is_kernel());
        kernel.clone().all(Frame::is_kernel) && kernel.count() > 0
    });
    ensure!(
        on_top == in_kernel.total(),
        "a frame stands above the kernel's:\n{}",
        in_kernel.heaviest(8)
    );
    let getdents = in_kernel.count(|stack| {
        stack
            .frames
            .iter()
            .any(|frame| matches!(frame, Frame::Kernel { name } if name.contains("getdents")))
    });
    ensure!(
        in_kernel.share(getdents) > 0.3,
        "the kernel's getdents is missing:\n{}",
        in_kernel.heaviest(8)
    );
    note_figure(
        &name,
        &format!(
            "kernel frames in {:.3} of the samples",
            listing.share(in_kernel.total())
        ),
    );
    Ok(())
}

/// The samples whose innermost Python frame is `func` at that line.
fn in_func_at(recording: &Recording, pid: u32, line: u32) -> Folded {
    recording.of(pid).only(|stack| {
        stack
            .innermost_python()
            .is_some_and(|frame| frame.qualname() == Some("func") && frame.line() == Some(line))
    })
}

fn is_zlib(frame: &Frame) -> bool {
    frame
        .library()
        .is_some_and(|library| library.starts_with("libz.so"))
}

/// Between `func` and the first frame of libz, there is the interpreter's own C function, and nothing of libz below it.
fn zlib_is_called_by_the_interpreter(under: &[Frame]) -> bool {
    under
        .first()
        .is_some_and(|frame| frame.is_native() && !is_zlib(frame))
}

fn is_named(frames: &[Frame], name: &str) -> bool {
    frames.iter().any(|frame| frame.symbol() == Some(name))
}

fn has_symbol(folded: &Folded, names: &[&str]) -> bool {
    let has = |stack: &Stack| {
        names
            .iter()
            .any(|name| is_named_like(stack.under("func"), name))
    };
    folded.stacks.iter().any(has)
}

/// Also the parts that a compiler splits off: `name.part.0`, `name.constprop.1`, `name.cold`.
fn is_named_like(frames: &[Frame], name: &str) -> bool {
    let mut symbols = frames.iter().filter_map(Frame::symbol);
    symbols.any(|symbol| symbol.split('.').next() == Some(name))
}
