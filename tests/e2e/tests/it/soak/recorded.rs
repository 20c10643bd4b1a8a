//! What was recorded, from the JSON of it: a folded stack does not tell two processes of the same number apart.

use std::{collections::HashMap, fmt, fs::File, io::BufReader, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

/// As far as it is asked for; `docs/formats/json.md` describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Recorded {
    processes: Vec<Process>,
    threads: Vec<Thread>,
    functions: Vec<Function>,
    frames: Vec<Frame>,
    stacks: Stacks,
    samples: Samples,
}

/// One process. After an exec it is another one here, of the same number and start.
#[derive(Debug, Deserialize)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// 0 where it is not known.
    pub(super) start_time_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Thread {
    process: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function {
    kind: Kind,
    pub(super) name: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Python,
    Native,
    Kernel,
    Incomplete,
    Interpreter,
}

#[derive(Debug, Deserialize)]
struct Frame {
    function: usize,
}

#[derive(Debug, Deserialize)]
struct Stacks {
    parent: Vec<Option<usize>>,
    frame: Vec<usize>,
}

#[derive(Debug, Deserialize)]
struct Samples {
    thread: Vec<usize>,
    stack: Vec<usize>,
}

/// One stack of one process.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) process: &'a Process,
    pub(super) count: u64,
    /// Root first.
    frames: Vec<&'a Function>,
}

impl Recorded {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_reader(BufReader::new(file))?)
    }

    /// All samples, those of the same process and stack together.
    pub(super) fn stacks(&self) -> Result<Vec<Seen<'_>>> {
        let mut counts: HashMap<(usize, usize), u64> = HashMap::new();
        for (thread, stack) in self.samples.thread.iter().zip(&self.samples.stack) {
            let thread = self.threads.get(*thread).context("no such thread")?;
            *counts.entry((thread.process, *stack)).or_default() += 1;
        }
        let seen = counts.into_iter().map(|((process, stack), count)| {
            Ok(Seen {
                process: self.processes.get(process).context("no such process")?,
                count,
                frames: self.frames_of(stack)?,
            })
        });
        seen.collect()
    }

    fn frames_of(&self, stack: usize) -> Result<Vec<&Function>> {
        let mut frames = Vec::new();
        let mut next = Some(stack);
        while let Some(stack) = next {
            let frame = self.stacks.frame.get(stack).context("no such stack")?;
            let frame = self.frames.get(*frame).context("no such frame")?;
            let function = self.functions.get(frame.function);
            frames.push(function.context("no such function")?);
            let parent = self.stacks.parent.get(stack).copied().flatten();
            // A parent stands before its children.
            next = parent.filter(|parent| *parent < stack);
        }
        frames.reverse();
        Ok(frames)
    }
}

impl Seen<'_> {
    pub(super) fn is_kernel_alone(&self) -> bool {
        self.frames.iter().all(|frame| frame.kind == Kind::Kernel)
    }

    /// The names of its Python functions, root first.
    pub(super) fn python_names(&self) -> impl Iterator<Item = &str> {
        let python = self
            .frames
            .iter()
            .filter(|frame| frame.kind == Kind::Python);
        python.map(|frame| frame.name.as_str())
    }
}

impl fmt::Display for Seen<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Process { pid, start_time_ns } = self.process;
        write!(formatter, "{} of {pid} ({start_time_ns} ns)", self.count)?;
        self.frames
            .iter()
            .try_for_each(|frame| write!(formatter, " > {}", frame.name))
    }
}
