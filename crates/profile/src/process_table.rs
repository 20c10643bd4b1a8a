//! Processes.

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
    /// Its arguments, joined by spaces; empty when not known.
    pub command_line: StringHandle,
    /// `3.12.4`; `None` when it is not Python or not known.
    pub python_version: Option<StringHandle>,
    /// When it was started, in nanoseconds since boot (the 22nd field of `/proc/PID/stat`, in nanoseconds); 0 when not known.
    /// It tells a reused pid apart.
    pub start_time_ns: u64,
}

impl Row for Process {
    type Handle = ProcessHandle;
    const TABLE: &'static str = "processes";
}

/// Distinct processes in order of arrival.
pub type ProcessTable = Table<Process>;
