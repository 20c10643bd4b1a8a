//! Is this ELF file a CPython, and which one?
//!
//! What the file defines decides, never its name: interpreters are renamed, linked into other programs and
//! unpacked into temporary folders. All of it is in `.dynsym`, which stripping keeps because interpreters export
//! their C API.
//!
//! | what | since |
//! |---|---|
//! | `_PyThreadState_Current`, and `PyEval_EvalFrameEx` | to 3.6 |
//! | `_PyRuntime` | 3.7 |
//! | section `.PyRuntime`, which starts at `_PyRuntime` | 3.10 |
//! | `Py_Version`, a constant with `PY_VERSION_HEX` | 3.11 |
//! | cookie, version and kind of build at the start of `_PyRuntime` | 3.13 |

use viperf_elf::{Image, Svma};

use crate::{
    Layout, ObjectLayout, Version,
    accessors::{code_of_accessor, decode_static_read, find_thread_state_offset},
    debug_offsets::{self, parse_debug_offsets, parse_debug_offsets_of_newer},
    find_layout, find_newest_layout, find_object_layout,
};

/// Cookie, version and kind of build: what stands at the start of `_PyRuntime` whatever the version, from 3.13 on.
const HEADER_BYTES: usize = 24;

/// What an ELF file is to a Python profiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// It defines no interpreter. It may use one: a small launcher linked against libpython.
    NotPython,
    /// An interpreter whose structs we know.
    Python(Box<Interpreter>),
    /// An interpreter whose structs we do not know: its native frames can be shown, its Python frames cannot.
    Unsupported {
        /// What it is and why it is not supported, such as "CPython 3.5: no layout for this version".
        what: String,
    },
}

/// An interpreter as found in its ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Its version.
    pub version: Version,
    /// It is newer than every layout: read by what it says of itself, and never tried.
    pub untested: bool,
    /// Where its structs keep their members: from the layout file, and from 3.13 on from the interpreter itself.
    pub layout: Layout,
    /// Where other objects keep their members: names of classes and threads are read with it.
    pub objects: Option<ObjectLayout>,
    /// `_PyRuntime`; before 3.7 the variable `interp_head`, the only root there is.
    pub runtime: Svma,
    /// `PyCode_Type`, the type of every code object.
    pub code_type: Svma,
    /// `_PyThreadState_Current`, the variable that points to the thread state that holds the GIL (to 3.6).
    pub current_thread_state: Option<Svma>,
    /// Where, relative to a thread's fs base, the interpreter keeps the thread state that is attached on that thread
    /// (`_Py_tss_tstate`, 3.12 and later). Known only where the offset is a constant in the code, that is for
    /// interpreters linked into the program itself.
    pub static_thread_state_offset: Option<i32>,
}

/// Tells what an ELF file is. Costs a few passes over its symbol table.
#[must_use]
pub fn detect(image: &Image) -> Detection {
    let Some(kind) = find_kind(image) else {
        return Detection::NotPython;
    };
    let found = match kind {
        Kind::Before37(version) => detect_before_3_7(image, version),
        Kind::Runtime {
            runtime,
            version,
            free_threaded,
        } => detect_version(image, runtime, version, free_threaded),
    };
    let version = match kind {
        Kind::Before37(version) | Kind::Runtime { version, .. } => version,
    };
    found.map_or_else(
        |why| Detection::Unsupported {
            what: format!("CPython {version}: {why}"),
        },
        |interpreter| Detection::Python(Box::new(interpreter)),
    )
}

/// The two ages of CPython: with variables here and there, and with `_PyRuntime`.
#[derive(Clone, Copy)]
enum Kind {
    Before37(Version),
    Runtime {
        runtime: Svma,
        version: Version,
        free_threaded: bool,
    },
}

fn find_kind(image: &Image) -> Option<Kind> {
    let defines = |name| image.symbol(name).is_some();
    let Some(runtime) = find_runtime(image) else {
        let old = defines("_PyThreadState_Current") && defines("PyEval_EvalFrameEx");
        return old.then(|| Kind::Before37(find_version_before_3_7(image)));
    };
    if let Some((version, free_threaded)) = image
        .bytes_at(runtime, HEADER_BYTES)
        .and_then(debug_offsets::parse_header)
    {
        return Some(Kind::Runtime {
            runtime,
            version,
            free_threaded,
        });
    }
    let constant = image
        .symbol("Py_Version")
        .and_then(|symbol| image.bytes_at(symbol.svma, 8))
        .and_then(|bytes| u32::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok());
    let version = match constant {
        Some(hex) => Version { hex },
        None => Version::of_minor(3, find_minor_by_exports(image)),
    };
    Some(Kind::Runtime {
        runtime,
        version: complete_version(version, image),
        free_threaded: false,
    })
}

/// `_PyRuntime` itself, not a reference to it.
///
/// A program that is not position independent can define a *copy* of a library's variable; it has no interpreter,
/// so the symbol counts only next to the evaluation loop. An interpreter linked into a program that exports
/// nothing still has its section.
fn find_runtime(image: &Image) -> Option<Svma> {
    if let Some(section) = image.section(".PyRuntime") {
        return Some(section.svma);
    }
    let runtime = image.symbol("_PyRuntime")?;
    image.symbol("_PyEval_EvalFrameDefault")?;
    Some(runtime.svma)
}

/// An interpreter of 3.7 or later, or why it is not supported.
fn detect_version(
    image: &Image,
    runtime: Svma,
    version: Version,
    free_threaded: bool,
) -> Result<Interpreter, String> {
    let known = find_layout(version, free_threaded);
    let untested = known.is_none();
    let mut layout = known
        .or_else(|| find_newest_layout(version, free_threaded))
        .ok_or("no layout for this version")?;
    let mut objects = find_object_layout(&layout);
    let table_size = debug_offsets::table_size(&layout);
    if table_size > 0 {
        let table = image
            .bytes_at(runtime, table_size)
            .ok_or("its debug offsets are not in the file")?;
        let parsed = if untested {
            parse_debug_offsets_of_newer(table, &layout)
        } else {
            parse_debug_offsets(table, &layout)
        };
        layout = parsed.map_err(|error| error.to_string())?;
        objects = objects.map(|objects| objects.with_debug_offsets(table));
    } else if untested {
        return Err("no layout for this version".to_owned());
    } else {
        refuse_trace_refs(image)?;
    }
    Ok(Interpreter {
        version,
        untested,
        layout,
        objects,
        runtime,
        code_type: find_code_type(image)?,
        current_thread_state: None,
        static_thread_state_offset: find_thread_state_offset(image),
    })
}

/// 2.7 and 3.6 have no `_PyRuntime`, but a variable that heads the list of interpreters, and a function that returns it.
fn detect_before_3_7(image: &Image, version: Version) -> Result<Interpreter, String> {
    let layout = find_layout(version, false).ok_or("no layout for this version")?;
    refuse_trace_refs(image)?;
    let accessor = "PyInterpreterState_Head";
    let runtime = code_of_accessor(image, accessor)
        .and_then(|(start, body)| decode_static_read(start, body))
        .ok_or("PyInterpreterState_Head is not the plain read of a variable")?;
    Ok(Interpreter {
        version,
        untested: false,
        objects: find_object_layout(&layout),
        layout,
        runtime,
        code_type: find_code_type(image)?,
        current_thread_state: image
            .symbol("_PyThreadState_Current")
            .map(|symbol| symbol.svma),
        static_thread_state_offset: None,
    })
}

fn find_code_type(image: &Image) -> Result<Svma, String> {
    let symbol = image
        .symbol("PyCode_Type")
        .ok_or("PyCode_Type is not exported, so code objects cannot be told from other memory")?;
    Ok(symbol.svma)
}

/// `_Py_ForgetReference` is exported only by builds configured `--with-trace-refs`, whose objects are two words longer
/// up to 3.12: <https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L63>
fn refuse_trace_refs(image: &Image) -> Result<(), String> {
    match image.symbol("_Py_ForgetReference") {
        Some(_) => Err("a build with Py_TRACE_REFS, for which there is no layout".to_owned()),
        None => Ok(()),
    }
}

/// Without `_PyRuntime`: 3.6 has split the evaluation loop from its wrapper, 2.7 still has byte strings called strings.
fn find_version_before_3_7(image: &Image) -> Version {
    let defines = |name| image.symbol(name).is_some();
    let version = if defines("_PyEval_EvalFrameDefault") {
        Version::of_minor(3, 6)
    } else if defines("PyString_Type") {
        Version::of_minor(2, 7)
    } else {
        // 3.0 to 3.5 are not told apart.
        Version::of_minor(3, 5)
    };
    complete_version(version, image)
}

/// The minor version of 3.7 to 3.10, which have no version in their data, by the functions each has added.
fn find_minor_by_exports(image: &Image) -> u8 {
    let defines = |name| image.symbol(name).is_some();
    if image.section(".PyRuntime").is_some() || defines("Py_NewRef") {
        10
    } else if defines("PyObject_CallNoArgs") {
        9
    } else if defines("PyCode_NewWithPosOnlyArgs") {
        8
    } else {
        7
    }
}

/// Before 3.11 the micro version is only text among the constants, such as `3.9.18` or `3.9.2+`, perhaps as the end of
/// a longer one, for linkers merge strings with one end.
fn complete_version(version: Version, image: &Image) -> Version {
    if version.has_micro() {
        return version;
    }
    let constants = image
        .section(".rodata")
        .map_or(&[][..], |section| section.data);
    let prefix = format!("{}.{}.", version.major(), version.minor());
    let micros = constants
        .split(|&byte| byte == 0)
        .filter_map(|text| parse_micro_at_end(text, prefix.as_bytes()));
    micros
        .max()
        .map_or(version, |micro| version.with_micro(micro))
}

/// 18 of `…3.9.18` and `…3.9.18+`.
fn parse_micro_at_end(text: &[u8], prefix: &[u8]) -> Option<u8> {
    let text = text.strip_suffix(b"+").unwrap_or(text);
    let digits = text
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (before, micro) = text.split_at_checked(text.len().checked_sub(digits)?)?;
    let before = before.strip_suffix(prefix)?;
    let follows_number = before.last().is_some_and(u8::is_ascii_digit);
    let micro = std::str::from_utf8(micro).ok()?.parse().ok()?;
    (!follows_number).then_some(micro)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_versions_are_the_end_of_a_constant() {
        let micro = |text: &str| parse_micro_at_end(text.as_bytes(), b"3.9.");
        assert_eq!(micro("3.9.18"), Some(18));
        assert_eq!(micro("3.9.2+"), Some(2));
        assert_eq!(micro("/opt/python/3.9.7"), Some(7));
        for other in ["3.9.", "3.9", "13.9.1", "3.9.1 ", "3.8.1", "", "3.9.999"] {
            assert_eq!(micro(other), None, "{other}");
        }
    }
}
