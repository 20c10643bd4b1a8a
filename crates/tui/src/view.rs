//! What can be looked at: views, what is selected, and what makes a row.

use viperf_profile::{FrameKind, FunctionHandle, ProcessHandle, Profile, ThreadHandle};

use crate::live::FrameFacts;

/// What the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Processes.
    Processes,
    /// Threads.
    Threads,
    /// Python functions.
    Functions,
    /// Python lines.
    Lines,
    /// Native and kernel functions.
    Native,
    /// Packages, files of the project, native libraries, the kernel.
    Modules,
    /// The call tree.
    Tree,
}

impl View {
    /// Every view, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Processes,
        Self::Threads,
        Self::Functions,
        Self::Lines,
        Self::Native,
        Self::Modules,
        Self::Tree,
    ];

    /// The name on screen and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Threads => "threads",
            Self::Functions => "functions",
            Self::Lines => "lines",
            Self::Native => "native",
            Self::Modules => "modules",
            Self::Tree => "tree",
        }
    }

    /// The view that stands `steps` further in the list, which goes round.
    #[must_use]
    pub(crate) fn after(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self);
        let next = (at.unwrap_or_default() + steps) % Self::ALL.len();
        Self::ALL.get(next).copied().unwrap_or(self)
    }
}

/// What makes two frames, or two samples, one row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A process.
    Process(ProcessHandle),
    /// A thread by its tid: one that was renamed is two rows of the profile.
    Thread(ProcessHandle, u32),
    /// A function.
    Function(FunctionHandle),
    /// A line of a function.
    Line(FunctionHandle, u32),
    /// A package, file or library, by the number that it was given.
    Module(u32),
}

impl Key {
    /// The row that a frame is of; none in tables of threads and for frames that a view does not show.
    pub(crate) fn of_frame(view: View, facts: &FrameFacts) -> Option<Self> {
        let function = facts.frame.function;
        let is_python = facts.kind == FrameKind::Python;
        match view {
            View::Functions => is_python.then_some(Self::Function(function)),
            View::Lines => {
                let line = facts.frame.source.line;
                (is_python && line != 0).then_some(Self::Line(function, line))
            }
            View::Native => (!is_python).then_some(Self::Function(function)),
            View::Modules => Some(Self::Module(facts.module)),
            View::Processes | View::Threads | View::Tree => None,
        }
    }
}

/// Which samples are looked at; the default is all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those of one process.
    pub process: Option<ProcessHandle>,
    /// Those of one thread of it.
    pub tid: Option<u32>,
    /// Those with this function in their stack; the tree begins with it.
    pub function: Option<FunctionHandle>,
}

impl Selection {
    /// Whether the samples of a thread are looked at.
    pub(crate) fn has_thread(&self, profile: &Profile, thread: ThreadHandle) -> bool {
        let Ok(thread) = profile.thread(thread) else {
            return false;
        };
        self.process.is_none_or(|process| process == thread.process)
            && self.tid.is_none_or(|tid| tid == thread.tid)
    }

    /// Takes the innermost choice back; false if there was none.
    pub(crate) fn widen(&mut self) -> bool {
        let Self {
            process,
            tid,
            function,
        } = self;
        function.take().is_some() || tid.take().is_some() || process.take().is_some()
    }
}
