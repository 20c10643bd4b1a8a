//! What gdb says of a stack is what viperf samples there: the same native frames, from the leaf to `_start`.
//!
//! gdb walks with the files' full tables and all registers, and names by its own reader of symbols. It stops the program for
//! the moment of its look, and is gone when viperf looks.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Frame, Interpreter, Need, Plan, Recorder, Stack, note_figure};

use super::{
    libraries::{Library, folder},
    program::{PROGRAM, Program, completeness},
};

const RATE: u32 = 499;
const SECONDS: u64 = 1;
/// gdb may find the program in a moment between two rounds of work.
const MOST_LOOKS: usize = 8;
/// So many of the samples in the work must have the stack that gdb sees.
const LEAST_EQUAL: f64 = 0.98;
/// Where the program spins.
const LEAF: &str = "burn_in_c";
/// Its calls are shown as the Python frames that they run.
const EVAL: &str = "_PyEval_EvalFrameDefault";

const WORK: Program = Program {
    name: "gdb-equal",
    file: "native_library.py",
    // Behind libffi, in a frame that is realigned after an alloca: its CFA is an expression.
    arguments: &["--work", "realigned_alloca"],
    library: Some(Library::Work),
    system: has_gdb,
    ..PROGRAM
};

/// One line a frame: what gdb knows at the instruction, and the file. Functions that were put into others, or that have ended
/// with a jump to another, have no frame on the stack.
const SCRIPT: &str = r#"
import gdb
frame, innermost = gdb.newest_frame(), True
while frame is not None:
    if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
        pc = frame.pc() - (0 if innermost else 1)
        symbol = gdb.execute("info symbol %d" % pc, to_string=True).strip()
        print("frame", symbol, "of", gdb.current_progspace().solib_name(pc))
        innermost = False
    frame = frame.older()
"#;

/// On the oldest and the newest Python that can: in the first each Python frame is a call of eval, in the second none.
pub(super) fn plan(plan: &mut Plan, of_versions: &[Interpreter]) {
    let can = |found: &&Interpreter| {
        found.shared
            && found.version >= (3, 0, 0)
            && !found.in_container()
            && found.has_module("ctypes").is_ok()
    };
    let able: Vec<_> = of_versions.iter().filter(can).collect();
    let mut chosen: Vec<_> = able.first().into_iter().chain(able.last()).collect();
    chosen.dedup_by_key(|found| found.name());
    for interpreter in chosen {
        WORK.plan_with(plan, interpreter, gdb_sees_what_is_sampled);
    }
}

fn gdb_sees_what_is_sampled(name: &str, interpreter: &Interpreter) -> Result<()> {
    let fixture = WORK.begin(name, interpreter)?;
    let script = folder(name)?.join("frames.py");
    fs::write(&script, SCRIPT)?;
    let expected = (0..MOST_LOOKS)
        .find_map(|_| look(fixture.pid(), &script).transpose())
        .context("gdb never met the program at its work")??;
    let recording = Recorder::new(name)?
        .process(fixture.pid())
        .rate(RATE)
        .seconds(SECONDS)
        .run()?;
    let in_work = recording
        .folded
        .only(|stack| native_frames(stack).is_some());
    let equal = in_work.count(|stack| native_frames(stack).as_ref() == Some(&expected));
    let share = in_work.share(equal);
    let figure = format!(
        "{share:.4} of {} samples have gdb's {} frames; {}",
        in_work.total(),
        expected.len(),
        completeness(&recording)
    );
    note_figure(name, &figure);
    ensure!(in_work.total() >= 15, "{figure}");
    ensure!(
        share >= LEAST_EQUAL,
        "{figure}\ngdb:\n{expected:#?}\nviperf:\n{}",
        in_work.heaviest(4)
    );
    Ok(())
}

/// The frames from the leaf to the root, without those of eval; `None` when the program is not at its work.
fn look(pid: u32, script: &Path) -> Result<Option<Vec<String>>> {
    let output = Command::new("gdb")
        .args(["-batch", "-nx", "-iex", "set auto-load off"])
        .args(["-iex", "set debuginfod enabled off", "-p"])
        .arg(pid.to_string())
        .args(["-ex", "set backtrace past-main on"])
        .args(["-ex", "set backtrace past-entry on", "-x"])
        .arg(script)
        .output()
        .context("cannot run gdb")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let frames: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("frame "))
        .map(parse_frame)
        .collect();
    ensure!(
        !frames.is_empty(),
        "gdb shows no frame: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(from_leaf(frames))
}

/// `NAME + 5 in section .text of FILE of LIBRARY`, or `No symbol matches 123. of LIBRARY`.
fn parse_frame(line: &str) -> String {
    let files: Vec<_> = line.split(" of ").skip(1).collect();
    let file = files.iter().find(|file| file.starts_with('/'));
    let library = file.and_then(|file| file.rsplit('/').next());
    let symbol = match line.starts_with("No symbol matches") {
        true => None,
        false => line.split([' ', '\n']).next(),
    };
    identify(symbol, library.unwrap_or_default())
}

/// The same of a sample.
fn native_frames(stack: &Stack) -> Option<Vec<String>> {
    let leaf_first = stack.frames.iter().rev();
    let frames = leaf_first.filter_map(|frame| match frame {
        Frame::Native { symbol, library } => Some(identify(symbol.as_deref(), library)),
        // A gap would be a frame that gdb does not have.
        Frame::Error { reason } => Some(reason.clone()),
        Frame::Python { .. } | Frame::Kernel { .. } => None,
    });
    from_leaf(frames.collect())
}

/// Names of compilers' copies (`.constprop.0`) are cut off, which gdb does by half, and versions of libraries, whose paths
/// gdb takes from links; of the C library, which gives one function several names, there is only the file.
fn identify(symbol: Option<&str>, library: &str) -> String {
    let library = library.split(".so").next().unwrap_or(library);
    let symbol = match library == "libc" {
        true => "*",
        false => symbol.unwrap_or("?"),
    };
    let name = symbol.split(['.', '@']).next().unwrap_or(symbol);
    format!("{name} ({library})")
}

fn from_leaf(frames: Vec<String>) -> Option<Vec<String>> {
    let is = |frame: &String, name: &str| frame.split(' ').next() == Some(name);
    let leaf = frames.iter().position(|frame| is(frame, LEAF))?;
    let behind = frames.into_iter().skip(leaf);
    Some(behind.filter(|frame| !is(frame, EVAL)).collect())
}

fn has_gdb() -> Need {
    let output = Command::new("gdb")
        .args(["-batch", "-nx", "-ex", "python print(6 * 7)"])
        .output();
    match output {
        Ok(output) if output.stdout.starts_with(b"42") => Ok(()),
        _ => Err("there is no gdb with Python; Debian's package is `gdb`".to_owned()),
    }
}
