//! Derives the layout file of a CPython version from debug information.
//!
//! **What it does.** It reads the DWARF of an interpreter, or of a C file compiled against the interpreter's headers
//! ([`DebugInformation`]), looks up every member that a layout file holds ([`Derived::from_debug_information`]),
//! writes the file ([`Derived::write`]), and says how one file differs from another ([`differences`]).
//! Both `cargo xtask layout` and the test that holds the files against the interpreters rest on it.
//!
//! **What it asks of you.** The bytes of an ELF file that has debug information; [`debug_file_candidates`] says where
//! that of a stripped interpreter may lie, and [`HEADER_PROGRAM`] is what to compile where there are only headers.
//!
//! **What it will not do.** No I/O. No guessing: what the debug information does not have is named in
//! [`Derived::missing`].

#![forbid(unsafe_code)]

mod debug_file;
mod derive;
mod dwarf;
mod members;
mod render;

pub use debug_file::{debug_file_candidates, find_version};
pub use derive::{Derived, Line, Origin, Table, Version};
pub use dwarf::{DebugInformation, DwarfError, Field};
pub use render::differences;

/// A C file whose debug information has every struct that a layout file is about.
///
/// To be compiled as a shared object, so that a linker has put in all offsets, with `-g`,
/// `-fno-eliminate-unused-debug-types`, `-DPy_BUILD_CORE`, for a free-threaded layout `-DPy_GIL_DISABLED`, and with
/// the folders of the headers and of the internal headers.
pub const HEADER_PROGRAM: &str = include_str!("headers.c");
