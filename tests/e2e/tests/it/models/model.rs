//! A model that runs: compiled, started, and the stacks that it says it has.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Folded, Frame, Recorder, Recording, Stack, output_folder};

/// Threads of a model, and places of each where it works.
const STACKS: usize = 4;

/// A compiler, or why there is none.
pub(super) type Compiler = Result<String, String>;

/// The compilers that may know `preserve_none`, which the tail-call interpreter is made with.
pub(super) const CLANGS: [&str; 4] = ["clang-19", "clang-20", "clang-21", "clang"];
pub(super) const PRESERVE_NONE: &str = "__attribute__((preserve_none)) int model(void);";

/// The first of these that compiles the line without a warning.
pub(super) fn find_compiler(names: &[&str], line: &str) -> Compiler {
    let compiles = |name: &&&str| {
        let mut command = Command::new(name);
        command.args(["-Werror", "-fsyntax-only", "-x", "c", "-"]);
        let child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        child.is_ok_and(|mut child| {
            let written = child
                .stdin
                .take()
                .map(|mut input| input.write_all(line.as_bytes()));
            let ended = child.wait();
            written.is_some_and(|result| result.is_ok()) && ended.is_ok_and(|end| end.success())
        })
    };
    let found = names.iter().find(compiles).map(|name| (*name).to_owned());
    found.ok_or_else(|| format!("none of {names:?} is here and compiles `{line}`"))
}

/// A running model and the stacks that it says it has; it is killed when this goes away.
pub(super) struct Model {
    child: Child,
    /// Root first, each from the model's own first function on.
    pub(super) stacks: Vec<Vec<Frame>>,
}

impl Drop for Model {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Model {
    pub(super) fn start(
        name: &str,
        header: &str,
        compiler: &str,
        options: &[&str],
    ) -> Result<Self> {
        let program = compile(name, header, compiler, options)?;
        let child = Command::new(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut model = Self {
            child,
            stacks: Vec::new(),
        };
        let output = model
            .child
            .stdout
            .take()
            .context("the model has no output")?;
        for line in BufReader::new(output).lines().take(STACKS) {
            let facts: Value = serde_json::from_str(&line?)?;
            let frames = facts["frames"].as_array().context("no frames")?;
            let library = program.file_name().unwrap_or_default().to_string_lossy();
            let frames = frames.iter().map(|frame| said_frame(frame, &library));
            model.stacks.push(frames.collect::<Result<_>>()?);
        }
        ensure!(model.stacks.len() == STACKS, "the model ended early");
        Ok(model)
    }

    pub(super) fn record(&self, name: &str, arguments: &[&str]) -> Result<Recording> {
        let recorder = Recorder::new(name)?.process(self.child.id());
        let recorder = recorder.rate(499).seconds(2);
        arguments.iter().fold(recorder, Recorder::with).run()
    }

    /// The samples of a recording that were taken where the model works.
    pub(super) fn working(&self, recording: &Recording) -> Folded {
        let leaves: Vec<_> = self.stacks.iter().filter_map(|said| said.last()).collect();
        recording.of(self.child.id()).only(|stack| {
            let leaf = user_frames(stack).last();
            leaf.is_some_and(|leaf| leaves.contains(&&without_suffix(leaf)))
        })
    }
}

/// Compiles the model with this header and returns where it is.
fn compile(name: &str, header: &str, compiler: &str, options: &[&str]) -> Result<PathBuf> {
    let folder = output_folder().join(name.replace('/', "_"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("layout.h"), header)?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/c/model.c");
    let program = folder.join("model");
    let output = Command::new(compiler)
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"])
        .args(["-fno-strict-aliasing", "-rdynamic", "-pthread"])
        .args(options)
        .arg("-I")
        .args([&folder, &source])
        .arg("-o")
        .arg(&program)
        .output()
        .with_context(|| format!("cannot run {compiler}"))?;
    ensure!(
        output.status.success(),
        "{compiler} did not compile the model:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(program)
}

/// A frame as the model says it.
fn said_frame(facts: &Value, library: &str) -> Result<Frame> {
    if let Some(symbol) = facts["symbol"].as_str() {
        return Ok(Frame::Native {
            symbol: Some(symbol.to_owned()),
            library: library.to_owned(),
        });
    }
    let text = |key: &str| facts[key].as_str().map(str::to_owned);
    let line = facts["line"].as_u64().and_then(|line| line.try_into().ok());
    Ok(Frame::Python {
        qualname: text("qualname").context("no name")?,
        file: text("file").context("no file")?,
        line: Some(line.context("no line")?),
    })
}

/// Root first, without the kernel's.
pub(super) fn user_frames(stack: &Stack) -> impl DoubleEndedIterator<Item = &Frame> {
    stack.frames.iter().filter(|frame| !frame.is_kernel())
}

/// Compilers name what they made of a function `NAME.constprop.0`.
pub(super) fn without_suffix(frame: &Frame) -> Frame {
    match frame {
        Frame::Native {
            symbol: Some(symbol),
            library,
        } => Frame::Native {
            symbol: symbol.split('.').next().map(str::to_owned),
            library: library.clone(),
        },
        other => other.clone(),
    }
}
