//! Is this ELF file a CPython, and which one?
//!
//! What the file defines decides, never its name: interpreters are renamed, linked into other programs and
//! unpacked into temporary folders. All of it is in `.dynsym`, which stripping keeps because interpreters export
//! their C API.
//!
//! | what | since |
//! |---|---|
//! | `_PyRuntime` | 3.7 |
//! | section `.PyRuntime`, which starts at `_PyRuntime` | 3.10 |
//! | `Py_Version`, a constant with `PY_VERSION_HEX` | 3.11 |
//! | cookie and version at the start of `_PyRuntime` | 3.13 |

use viperf_elf::{Image, Svma};

use crate::{
    Layout, Version,
    debug_offsets::{self, parse_debug_offsets},
    find_layout,
};

/// What an ELF file is to a Python profiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// It defines no interpreter. It may use one: a small launcher linked against libpython.
    NotPython,
    /// An interpreter whose structs we know.
    Python(Box<Interpreter>),
    /// An interpreter whose structs we do not know: its native frames can be shown, its Python frames cannot.
    Unsupported {
        /// What it is and why it is not supported, such as "CPython 3.14.2: no layout for this version".
        what: String,
    },
}

/// An interpreter as found in its ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Its version.
    pub version: Version,
    /// Where its structs keep their members: from the layout file, and from 3.13 on from the interpreter itself.
    pub layout: Layout,
    /// `_PyRuntime`.
    pub runtime: Svma,
    /// `PyCode_Type`, the type of every code object.
    pub code_type: Svma,
    /// Where, relative to a thread's fs base, the interpreter keeps the thread state that is attached on that thread
    /// (`_Py_tss_tstate`, 3.12 and later). Known only where the offset is a constant in the code, that is for
    /// interpreters linked into the program itself.
    pub static_thread_state_offset: Option<i32>,
}

/// Accessors of `_Py_tss_tstate` that do nothing else, in the order of preference:
/// 3.13 and later, 3.12, both.
const THREAD_STATE_ACCESSORS: [&str; 3] = [
    "PyThreadState_GetUnchecked",
    "_PyThreadState_UncheckedGet",
    "_PyThreadState_GetCurrent",
];

/// The longest accessor, in bytes.
const ACCESSOR_BYTES: usize = 24;

/// Tells what an ELF file is. Costs a few passes over its symbol table.
#[must_use]
pub fn detect(image: &Image) -> Detection {
    let Some(runtime) = find_runtime(image) else {
        return detect_before_3_7(image);
    };
    let Some(version) = find_version(image, runtime) else {
        let oldest = describe_version_by_exports(image);
        return unsupported(format!("{oldest}: no layout for this version"));
    };
    detect_version(image, runtime, version)
        .unwrap_or_else(|why| unsupported(format!("CPython {version}: {why}")))
}

fn unsupported(what: String) -> Detection {
    Detection::Unsupported { what }
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

/// `Py_Version`, or the word after the cookie.
fn find_version(image: &Image, runtime: Svma) -> Option<Version> {
    let constant = image
        .symbol("Py_Version")
        .and_then(|symbol| image.bytes_at(symbol.svma, 8))
        .and_then(|bytes| u32::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok())
        .map(|hex| Version { hex });
    constant.or_else(|| debug_offsets::parse_version(image.bytes_at(runtime, 16)?))
}

/// An interpreter of a known version, or why it is not supported.
fn detect_version(image: &Image, runtime: Svma, version: Version) -> Result<Detection, String> {
    let mut layout = find_layout(version).ok_or("no layout for this version")?;
    let table_size = debug_offsets::table_size(&layout);
    if table_size > 0 {
        let table = image
            .bytes_at(runtime, table_size)
            .ok_or("its debug offsets are not in the file")?;
        layout = parse_debug_offsets(table, &layout).map_err(|error| error.to_string())?;
    } else if image.symbol("_Py_ForgetReference").is_some() {
        // Exported only by builds configured --with-trace-refs, whose objects are two words longer up to 3.12:
        // https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L63
        return Err("a build with Py_TRACE_REFS, for which there is no layout".to_owned());
    }
    let code_type = image
        .symbol("PyCode_Type")
        .ok_or("PyCode_Type is not exported, so code objects cannot be told from other memory")?;
    Ok(Detection::Python(Box::new(Interpreter {
        version,
        layout,
        runtime,
        code_type: code_type.svma,
        static_thread_state_offset: find_thread_state_offset(image),
    })))
}

/// 2.7 and 3.6 have no `_PyRuntime`, but a variable of the current thread state.
fn detect_before_3_7(image: &Image) -> Detection {
    let defines = |name| image.symbol(name).is_some();
    if !defines("_PyThreadState_Current") || !defines("PyEval_EvalFrameEx") {
        return Detection::NotPython;
    }
    let which = match defines("PyString_Type") {
        true => "CPython 2.7 or older",
        false => "CPython 3.6 or older",
    };
    unsupported(format!("{which}: no layout for this version"))
}

/// The minor version of 3.7 to 3.10, which have no version in their data, by the functions each has added.
fn describe_version_by_exports(image: &Image) -> &'static str {
    let defines = |name| image.symbol(name).is_some();
    if image.section(".PyRuntime").is_some() || defines("Py_NewRef") {
        "CPython 3.10"
    } else if defines("PyObject_CallNoArgs") {
        "CPython 3.9"
    } else if defines("PyCode_NewWithPosOnlyArgs") {
        "CPython 3.8"
    } else {
        "CPython 3.7"
    }
}

fn find_thread_state_offset(image: &Image) -> Option<i32> {
    THREAD_STATE_ACCESSORS.iter().find_map(|name| {
        let start = image.symbol(name)?.svma;
        // The segment can end right after the function.
        let body = (10..=ACCESSOR_BYTES)
            .rev()
            .find_map(|length| image.bytes_at(start, length));
        decode_thread_local_read(body?)
    })
}

/// Where the code is that [`detect`] looks at, beside the symbols and the data: the first of so many bytes each.
///
/// For a caller that reads a file in parts; code that is not there (zeros) is no error, it only tells less.
#[must_use]
pub fn code_to_detect(image: &Image) -> Vec<(Svma, usize)> {
    let symbols = THREAD_STATE_ACCESSORS
        .iter()
        .filter_map(|name| image.symbol(name));
    symbols
        .map(|symbol| (symbol.svma, ACCESSOR_BYTES))
        .collect()
}

/// The displacement of `mov %fs:disp32,%rax`, if a function does nothing but return what it reads there.
fn decode_thread_local_read(body: &[u8]) -> Option<i32> {
    const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
    const PUSH_FRAME_POINTER: &[u8] = &[0x55, 0x48, 0x89, 0xe5];
    const MOVE_FROM_FS_TO_RAX: &[u8] = &[0x64, 0x48, 0x8b, 0x04, 0x25];
    const POP_FRAME_POINTER: &[u8] = &[0x5d];
    const RETURN: u8 = 0xc3;
    let mut rest = body;
    for optional in [ENDBR64, PUSH_FRAME_POINTER] {
        rest = rest.strip_prefix(optional).unwrap_or(rest);
    }
    let (displacement, rest) = rest
        .strip_prefix(MOVE_FROM_FS_TO_RAX)?
        .split_first_chunk()?;
    let rest = rest.strip_prefix(POP_FRAME_POINTER).unwrap_or(rest);
    (rest.first() == Some(&RETURN)).then(|| i32::from_le_bytes(*displacement))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_read_of_a_thread_local_word_is_decoded() {
        // mov %fs:0xffffffffffffffe8,%rax; ret
        let plain = [0x64, 0x48, 0x8b, 0x04, 0x25, 0xe8, 0xff, 0xff, 0xff, 0xc3];
        assert_eq!(decode_thread_local_read(&plain), Some(-24));
        let protected = [&[0xf3, 0x0f, 0x1e, 0xfa], &plain[..]].concat();
        assert_eq!(decode_thread_local_read(&protected), Some(-24));
        // push %rbp; mov %rsp,%rbp; mov %fs:-24,%rax; pop %rbp; ret
        let framed = [&[0x55, 0x48, 0x89, 0xe5], &plain[..9], &[0x5d, 0xc3]].concat();
        assert_eq!(decode_thread_local_read(&framed), Some(-24));
        // 3.12.1's library: sub $8,%rsp; data16 lea …(%rip),%rdi; call __tls_get_addr
        let general = [0x48, 0x83, 0xec, 0x08, 0x66, 0x48, 0x8d, 0x3d, 0xf4, 0xc9];
        assert_eq!(decode_thread_local_read(&general), None);
        for length in 0..plain.len() {
            assert_eq!(decode_thread_local_read(&plain[..length]), None);
        }
    }

    /// A local-exec read made by a compiler and a linker, decoded from the finished program.
    #[test]
    fn the_offset_of_a_program_agrees_with_where_its_variable_is() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("program.c");
        let program = folder.path().join("program");
        let text = "
            __thread long other = 7;
            __thread void *_Py_tss_tstate;
            void *PyThreadState_GetUnchecked(void) { return _Py_tss_tstate; }
            int main(void) {
                long base;
                __asm__(\"mov %%fs:0,%0\" : \"=r\"(base));
                return (int)(base - (long)&_Py_tss_tstate);
            }";
        std::fs::write(&source, text).unwrap();
        let compiled = std::process::Command::new("cc")
            .args(["-O2", "-o"])
            .args([&program, &source])
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no C compiler");
            return;
        }
        let bytes = std::fs::read(&program).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let distance = std::process::Command::new(&program)
            .status()
            .unwrap()
            .code()
            .unwrap();
        assert_eq!(find_thread_state_offset(&image), Some(-distance));
    }
}
