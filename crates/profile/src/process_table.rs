//! Processes.

use crate::placement::Placement;
use crate::string_table::StringHandle;
use crate::table::{Row, Table, handle};

handle! {
    /// Names a process of a [`ProcessTable`].
    ProcessHandle
}

/// One process, as it was known when its first sample came.
///
/// Rows are the same when all their fields are, so a process that called exec in between is two rows with one pid; that is
/// what happened, and it is shown so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The kernel's tgid, in the initial PID namespace.
    pub pid: u32,
    /// The parent's pid; `None` when not known.
    pub parent_pid: Option<u32>,
    /// The name the kernel has for it (comm).
    pub name: StringHandle,
    /// What it runs, in few words: `gunicorn: worker [app]`, `celery worker`, `app.py`; `None` when nothing better than
    /// `name` is known.
    pub title: Option<StringHandle>,
    /// Its arguments, joined by spaces; empty when not known.
    pub command_line: StringHandle,
    /// `3.12.4`; `None` when it is not Python or not known.
    pub python_version: Option<StringHandle>,
    /// When it was started, in nanoseconds since boot (the 22nd field of `/proc/PID/stat`, in nanoseconds); 0 when not known.
    /// It tells a reused pid apart.
    pub start_time_ns: u64,
    /// Where it runs: its control group, unit, container, pod.
    pub placement: Placement,
}

impl Process {
    /// A process of which no more than this is known.
    #[must_use]
    pub fn new(pid: u32, name: StringHandle, command_line: StringHandle) -> Self {
        Self {
            pid,
            parent_pid: None,
            name,
            title: None,
            command_line,
            python_version: None,
            start_time_ns: 0,
            placement: Placement::default(),
        }
    }

    /// What people know it by: its title, or else its name.
    #[must_use]
    pub fn shown_name(&self) -> StringHandle {
        self.title.unwrap_or(self.name)
    }
}

impl Row for Process {
    type Handle = ProcessHandle;
    const TABLE: &'static str = "processes";
}

/// Distinct processes in order of arrival.
pub type ProcessTable = Table<Process>;
