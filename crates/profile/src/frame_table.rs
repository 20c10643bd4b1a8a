//! Frames: a function and where in it.

use crate::function_table::FunctionHandle;
use crate::table::{Row, Table, handle};

handle! {
    /// Names a frame of a [`FrameTable`].
    FrameHandle
}

/// A stretch of a source file: from a line and column up to a line and column.
///
/// Each field is 0 when it is not known, whatever is known of the others; the default is that nothing is.
/// Lines count from 1. Columns count bytes of the line's UTF-8 from 1.
///
/// CPython's `co_positions()` counts columns from 0, so both of its columns are to be made one greater:
///
/// ```text
/// column = start_column + 1        end_column = end_column + 1        None = 0
/// ```
///
/// The numbers are kept as they were given: that the end is not before the start is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SourceRange {
    /// The first line.
    pub line: u32,
    /// The last line.
    pub end_line: u32,
    /// The column of the first byte, in `line`.
    pub column: u32,
    /// The column after the last byte, in `end_line`.
    pub end_column: u32,
}

impl SourceRange {
    /// A line of which no more is known; 0 for none.
    #[must_use]
    pub const fn from_line(line: u32) -> Self {
        Self {
            line,
            end_line: 0,
            column: 0,
            end_column: 0,
        }
    }
}

/// One place in one function.
///
/// Two lines of one function are two frames, and so are two expressions of one line and two addresses: leave `address` 0
/// where it is of no use, or every return address makes a stack of its own.
/// What shows lines only has to put the frames of one line together again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// What is being run.
    pub function: FunctionHandle,
    /// The expression or statement that is being executed.
    pub source: SourceRange,
    /// The SVMA (address as written in the ELF file) of a native frame; 0 for none.
    pub address: u64,
    /// The compiler has put this call into its caller's code: it is the same machine frame as the next older frame, the
    /// one that called it.
    pub inlined: bool,
}

impl Frame {
    /// A frame of which only the line is known; 0 for none.
    #[must_use]
    pub const fn at_line(function: FunctionHandle, line: u32) -> Self {
        Self {
            function,
            source: SourceRange::from_line(line),
            address: 0,
            inlined: false,
        }
    }
}

// Many of them are kept: a field more is felt.
const _: () = assert!(size_of::<Frame>() == 32);

impl Row for Frame {
    type Handle = FrameHandle;
    const TABLE: &'static str = "frames";
}

/// Distinct frames in order of arrival.
pub type FrameTable = Table<Frame>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Handle as _;

    #[test]
    fn two_expressions_of_one_line_are_two_frames() {
        let mut frames = FrameTable::default();
        let line = Frame::at_line(FunctionHandle::from_index(0), 7);
        let source = SourceRange {
            column: 5,
            ..line.source
        };
        let column = Frame { source, ..line };
        let handles = [line, column, line].map(|frame| frames.intern(frame));
        assert_eq!(handles.map(FrameHandle::index), [0, 1, 0]);
        assert_eq!(frames.find(handles[1]), Some(&column));
    }
}
