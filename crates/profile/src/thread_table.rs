//! Threads.

use crate::process_table::ProcessHandle;
use crate::string_table::StringHandle;
use crate::table::{Row, Table, handle};

handle! {
    /// Names a thread of a [`ThreadTable`].
    ThreadHandle
}

/// One thread of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    /// The process it belongs to.
    pub process: ProcessHandle,
    /// The kernel's pid of the thread, in the initial PID namespace.
    pub tid: u32,
    /// The thread's own comm.
    pub name: StringHandle,
}

impl Row for Thread {
    type Handle = ThreadHandle;
    const TABLE: &'static str = "threads";
}

/// Distinct threads in order of arrival.
pub type ThreadTable = Table<Thread>;
