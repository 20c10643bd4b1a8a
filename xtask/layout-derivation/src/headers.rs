//! Debug information from headers: a compiler lays the structs out.

use std::{ffi::OsString, path::PathBuf};

/// A C file whose debug information has every struct that a layout file is about.
pub const HEADER_PROGRAM: &str = include_str!("headers.c");

/// What to call `cc` with, besides the input (a file with [`HEADER_PROGRAM`]) and `-o` with the output.
///
/// `folders` are those that make `#include <Python.h>` work. `free_threaded` asks for the layout of a free-threaded
/// build; the headers of such a build give it unasked. The output is a shared object, in which a linker has put all
/// offsets of the debug information.
#[must_use]
pub fn compiler_arguments(folders: &[PathBuf], free_threaded: bool) -> Vec<OsString> {
    let fixed = [
        "-g",
        "-w",
        "-shared",
        "-fPIC",
        "-nostdlib",
        "-fno-eliminate-unused-debug-types",
        "-DPy_BUILD_CORE",
    ];
    let mut arguments: Vec<OsString> = fixed.into_iter().map(OsString::from).collect();
    if free_threaded {
        arguments.push("-DPy_GIL_DISABLED=1".into());
    }
    for folder in folders {
        // Debian's pyconfig.h includes one for the architecture, from the folder above.
        let internal = folder.join("internal");
        let above = folder.join("..");
        for (option, folder) in [("-I", folder), ("-I", &internal), ("-idirafter", &above)] {
            arguments.push(option.into());
            arguments.push(folder.into());
        }
    }
    arguments
}
