//! Where every thread of some processes is at one moment.
//!
//! Not a [`Profile`](crate::Profile): nothing is counted, and each thread has what only a moment has: what it does, who
//! holds the GIL, and the text that it runs.

use crate::{FrameKind, SourceRange};

/// The threads of some processes at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The version of viperf that took it.
    pub viperf_version: String,
    /// Of the machine.
    pub hostname: String,
    /// The release of its kernel.
    pub kernel: String,
    /// When it began, nanoseconds since 1970.
    pub taken_unix_ns: u64,
    /// From the look at the first thread to that at the last one, nanoseconds.
    pub took_ns: u64,
    /// By pid.
    pub processes: Vec<DumpedProcess>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpedProcess {
    /// Its pid.
    pub pid: u32,
    /// Its parent's pid.
    pub parent_pid: Option<u32>,
    /// The kernel's name of it (comm).
    pub name: String,
    /// Its arguments, joined by spaces; empty when not known.
    pub command_line: String,
    /// `3.12.4`; `None` when it is no Python that viperf can read.
    pub python_version: Option<String>,
    /// The one that holds the GIL first, then by tid.
    pub threads: Vec<DumpedThread>,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedThread {
    /// Its tid.
    pub tid: u32,
    /// Python's name where there is one, else the kernel's.
    pub name: String,
    /// What it does.
    pub activity: Activity,
    /// The system call that it is in.
    pub system_call: Option<SystemCall>,
    /// What it has to do with the GIL.
    pub gil: Gil,
    /// Whether it has a place in Python: a thread of a library may have none.
    pub is_python: bool,
    /// Its stack, or why it could not be read.
    pub stack: Result<DumpedStack, String>,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// It ran: on a CPU at that moment.
    OnCpu,
    /// It could run and waits for a CPU.
    Runnable,
    /// It waits for something, and a signal would wake it.
    Blocked,
    /// It waits for something that nothing else can end: mostly a disk.
    Uninterruptible,
    /// It was stopped by a signal or a debugger.
    Stopped,
    /// It is ending.
    Ending,
    /// It could not be found out.
    Unknown,
}

impl Activity {
    /// The word for it in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnCpu => "on-cpu",
            Self::Runnable => "runnable",
            Self::Blocked => "blocked",
            Self::Uninterruptible => "uninterruptible",
            Self::Stopped => "stopped",
            Self::Ending => "ending",
            Self::Unknown => "unknown",
        }
    }
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Its number on x86-64.
    pub number: u32,
    /// Its name; `None` for one that is newer than viperf.
    pub name: Option<&'static str>,
}

/// What a thread has to do with the GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gil {
    /// It holds it.
    Holds,
    /// It waits for it.
    Waits,
    /// It has released it, and does not wait for it as far as can be proved.
    Released,
    /// There is none (a free-threaded build), and the thread is attached to its interpreter: it may run Python.
    Attached,
    /// There is none, and the thread is detached: it is in C code that allows others to stop the world.
    Detached,
    /// Not known, or the thread has nothing to do with Python.
    Unknown,
}

impl Gil {
    /// The word for it in JSON.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Holds => Some("holds"),
            Self::Waits => Some("waits"),
            Self::Released => Some("released"),
            Self::Attached => Some("attached"),
            Self::Detached => Some("detached"),
            Self::Unknown => None,
        }
    }
}

/// One stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpedStack {
    /// Leaf first.
    pub frames: Vec<DumpedFrame>,
    /// No frame is missing.
    pub complete: bool,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedFrame {
    /// What it is.
    pub kind: FrameKind,
    /// The function's name; of an incomplete stack the reason.
    pub function: String,
    /// The file of the source, as the program names it.
    pub file: Option<String>,
    /// The library or executable of a native frame.
    pub library: Option<String>,
    /// What is being executed.
    pub source: SourceRange,
    /// The first line of the function; 0 when not known.
    pub first_line: u32,
    /// The SVMA of a native frame; 0 for none.
    pub address: u64,
    /// The compiler has put it into its caller.
    pub inlined: bool,
    /// The text of its line, if the file could be read and is not newer than the process.
    pub text: Option<String>,
    /// Local variables, where they were asked for: `None` when they were not, or could not be read.
    pub locals: Option<Vec<Local>>,
}

/// A local variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its name.
    pub name: String,
    /// What it is, in short, and cut.
    pub value: String,
}
