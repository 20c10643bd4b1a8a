//! Functions: what a frame runs.

use crate::library_table::LibraryHandle;
use crate::string_table::StringHandle;
use crate::table::{Row, Table, handle};

handle! {
    /// Names a function of a [`FunctionTable`].
    FunctionHandle
}

/// What a frame is.
///
/// Colours, suffixes and filters are made from this, never from a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// A Python function.
    Python,
    /// A function of the executable or of a library.
    Native,
    /// A function of the kernel.
    Kernel,
    /// The walk could not go on here; the function's name is the reason.
    Incomplete,
    /// The native frame of an eval call whose Python frames are shown instead; hidden unless asked for.
    Interpreter,
}

impl FrameKind {
    /// Every kind, in the order in which legends list them.
    pub const ALL: [Self; 5] = [
        Self::Python,
        Self::Native,
        Self::Kernel,
        Self::Incomplete,
        Self::Interpreter,
    ];

    /// The kind's name in prose and in files: `python`, `native`, `kernel`, `incomplete`, `interpreter`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Native => "native",
            Self::Kernel => "kernel",
            Self::Incomplete => "incomplete",
            Self::Interpreter => "interpreter",
        }
    }
}

/// One function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Python: the code's `co_qualname`. Native and kernel: the demangled symbol, or `[library+0xoffset]` without one.
    /// Incomplete: the reason, without brackets.
    pub name: StringHandle,
    /// The source file: `co_filename`, or what the debug information says.
    pub file: Option<StringHandle>,
    /// Native: the executable or library that holds the code. Kernel: the module; `None` for the kernel itself.
    pub library: Option<LibraryHandle>,
    /// The line on which the function begins (`co_firstlineno`); 0 when not known.
    pub first_line: u32,
    /// What its frames are.
    pub kind: FrameKind,
}

impl Row for Function {
    type Handle = FunctionHandle;
    const TABLE: &'static str = "functions";
}

/// Distinct functions in order of arrival.
pub type FunctionTable = Table<Function>;
