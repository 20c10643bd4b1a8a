//! Derives the layout file of a CPython version from debug information.
//!
//! **What it does.** It reads the DWARF of an interpreter, or of a C file compiled against the interpreter's headers
//! ([`DebugInformation`]), looks up every member that a layout file holds ([`Derived::from_debug_information`]),
//! writes the file ([`Derived::write`]), and says how one file differs from another ([`differences`]).
//! Both `cargo xtask layout` and the test that holds the files against the interpreters rest on it.
//!
//! **What it asks of you.** The bytes of an ELF file that has debug information; [`debug_file_candidates`] says where
//! that of a stripped interpreter may lie, and [`compiler_arguments`] how to make some where there are only headers.
//!
//! **What it will not do.** No I/O. No guessing: what the debug information does not have is named in
//! [`Derived::missing`].

#![forbid(unsafe_code)]

mod debug_file;
mod derive;
mod dwarf;
mod headers;
mod members;
mod render;

pub use debug_file::{debug_file_candidates, find_version};
pub use derive::{Derived, Line, Origin, Table, Version};
pub use dwarf::{DebugInformation, DwarfError, Field};
pub use headers::{HEADER_PROGRAM, compiler_arguments};
pub use render::differences;
