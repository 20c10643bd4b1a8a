//! What a look at a thread that does not run finds.

use crate::{RecordHeader, limit};

/// It ran: what it keeps in memory changes, and its registers are on the CPU. No stack follows.
pub const THREAD_RUNS: u32 = 1;
/// It has begun to run while it was looked at. No stack follows.
pub const THREAD_HAS_MOVED: u32 = 2;
/// It is ending and has no memory any longer. No stack follows.
pub const THREAD_ENDS: u32 = 4;
/// `struct thread_record`: comes before the stack of the same thread, if there is one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadRecord {
    /// The header.
    pub header: RecordHeader,
    /// Pid.
    pub tgid: u32,
    /// Tid.
    pub tid: u32,
    /// The process's epoch.
    pub epoch: u32,
    /// `task_struct.__state`: 0 it could run, else what it waits for.
    pub state: u32,
    /// `THREAD_*`.
    pub flags: u32,
    /// The number of the system call that it is in, or -1.
    pub system_call: i32,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// `pthread_self()`: the fs base.
    pub thread_pointer: u64,
    /// The innermost thread state (AVMA), or 0.
    pub thread_state: u64,
    /// The GIL of its interpreter (AVMA), or 0.
    pub gil: u64,
    /// How often it has left a CPU.
    pub switches: u64,
    /// The kernel's name of the thread, NUL-terminated.
    pub thread_name: [u8; limit::THREAD_NAME_BYTES],
}

/// `struct gil_places`: where a process keeps its GIL. Offsets are 0 where there is no such member.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GilPlaces {
    /// The variable that points to the thread state that holds the GIL (AVMA, to 3.6).
    pub current_thread_state: u64,
    /// The GIL itself, where there is one for the whole process (AVMA, 3.7 to 3.11).
    pub gil: u64,
    /// In the interpreter's state: the pointer to its GIL (3.12 and later).
    pub interpreter_gil: u32,
    /// In the GIL: the thread state that held it last.
    pub gil_holder: u32,
    /// In the GIL: 1 while it is held.
    pub gil_locked: u32,
    /// In the thread state: 1 is attached (free-threaded builds).
    pub thread_attached: u32,
    /// The process's.
    pub epoch: u32,
    /// 0.
    pub reserved: u32,
}
