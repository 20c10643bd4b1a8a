//! Frames: a function and where in it.

use crate::function_table::FunctionHandle;
use crate::table::{Row, Table, handle};

handle! {
    /// Names a frame of a [`FrameTable`].
    FrameHandle
}

/// One place in one function.
///
/// Two lines of one function are two frames, and so are two addresses: leave `address` 0 where it is of no use, or every
/// return address makes a stack of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// What is being run.
    pub function: FunctionHandle,
    /// The line being executed, counted from 1; 0 when not known.
    pub line: u32,
    /// The SVMA (address as written in the ELF file) of a native frame; 0 for none.
    pub address: u64,
}

impl Row for Frame {
    type Handle = FrameHandle;
    const TABLE: &'static str = "frames";
}

/// Distinct frames in order of arrival.
pub type FrameTable = Table<Frame>;
