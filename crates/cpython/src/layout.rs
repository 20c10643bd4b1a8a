//! Where a CPython version keeps the members of its structs.
//!
//! The numbers are data: one TOML file per version under `layouts/`, its tables named after CPython's structs and
//! its keys after their members, so that a reader can hold them against `ptype /o` of a debugger line by line.
//! Every value is an offset in bytes from the start of the struct, unless its documentation says otherwise.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Version;

/// Every layout file, by the version it is for.
const FILES: [(u8, u8, &str); 3] = [
    (3, 11, include_str!("../layouts/3.11.toml")),
    (3, 12, include_str!("../layouts/3.12.toml")),
    (3, 13, include_str!("../layouts/3.13.toml")),
];

/// The layout of one CPython version (GIL build, x86-64).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// 3.
    pub major: u8,
    /// 11, 12, 13.
    pub minor: u8,
    /// `_PyRuntime`.
    #[serde(rename = "_PyRuntimeState")]
    pub runtime: RuntimeLayout,
    /// `Py_tss_t`, the key of a pthread's own value.
    #[serde(rename = "Py_tss_t")]
    pub tss: TssLayout,
    /// `PyInterpreterState`.
    #[serde(rename = "PyInterpreterState")]
    pub interpreter: InterpreterLayout,
    /// `PyThreadState`.
    #[serde(rename = "PyThreadState")]
    pub thread_state: ThreadStateLayout,
    /// `_PyCFrame`, in 3.11 and 3.12.
    #[serde(rename = "_PyCFrame")]
    pub cframe: Option<CframeLayout>,
    /// `_PyInterpreterFrame`.
    #[serde(rename = "_PyInterpreterFrame")]
    pub frame: FrameLayout,
    /// `PyCodeObject`.
    #[serde(rename = "PyCodeObject")]
    pub code: CodeLayout,
    /// `PyASCIIObject` and `PyCompactUnicodeObject`, the two shapes of compact strings.
    #[serde(rename = "PyUnicodeObject")]
    pub unicode: UnicodeLayout,
    /// `PyBytesObject`.
    #[serde(rename = "PyBytesObject")]
    pub bytes: BytesLayout,
    /// Where `_Py_DebugOffsets` keeps its entries, by CPython's names for them; empty before 3.13.
    #[serde(rename = "_Py_DebugOffsets", default)]
    pub(crate) debug_offsets: BTreeMap<String, u16>,
}

/// Members of `_PyRuntimeState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeLayout {
    /// `interpreters.head`: first `PyInterpreterState *`.
    pub interpreters_head: u16,
    /// `autoTSSkey`: the [`Py_tss_t`](TssLayout) under which each thread keeps its thread state.
    #[serde(rename = "autoTSSkey")]
    pub auto_tss_key: u16,
}

/// Members of `Py_tss_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TssLayout {
    /// `int`, 1 once the key exists.
    #[serde(rename = "_is_initialized")]
    pub is_initialized: u16,
    /// `pthread_key_t`, an unsigned 32-bit number.
    #[serde(rename = "_key")]
    pub key: u16,
}

/// Members of `PyInterpreterState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterpreterLayout {
    /// Next `PyInterpreterState *`, or NULL.
    pub next: u16,
    /// `threads.head`: first `PyThreadState *`.
    pub threads_head: u16,
}

/// Members of `PyThreadState`. Either `cframe` and `root_cframe` are there, or `current_frame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadStateLayout {
    /// Next `PyThreadState *` of the interpreter, or NULL.
    pub next: u16,
    /// The `PyInterpreterState *` it belongs to.
    pub interp: u16,
    /// `pthread_self()` of its thread, 64 bits: equal to the thread's fs base on x86-64.
    pub thread_id: u16,
    /// `gettid()` of its thread in its own PID namespace, 64 bits.
    pub native_thread_id: u16,
    /// Pointer to the innermost [`_PyCFrame`](CframeLayout) (3.11, 3.12).
    pub cframe: Option<u16>,
    /// The outermost `_PyCFrame`, embedded here: the chain's end (3.11, 3.12).
    pub root_cframe: Option<u16>,
    /// The innermost `_PyInterpreterFrame *`, or NULL (3.13).
    pub current_frame: Option<u16>,
}

/// Members of `_PyCFrame`, which lies on the C stack of each running evaluation loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CframeLayout {
    /// The innermost `_PyInterpreterFrame *` of this evaluation loop, or NULL.
    pub current_frame: u16,
    /// The `_PyCFrame *` of the evaluation loop below.
    pub previous: u16,
}

/// Members of `_PyInterpreterFrame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameLayout {
    /// Number of bytes from the start of a frame that hold all members here (`localsplus` follows them).
    #[serde(rename = "localsplus")]
    pub size: u16,
    /// The `PyCodeObject *`: `f_code`, or `f_executable` from 3.13 on.
    #[serde(alias = "f_code", alias = "f_executable")]
    pub code: u16,
    /// The caller's `_PyInterpreterFrame *`, or NULL.
    pub previous: u16,
    /// Pointer into the code object's instructions: `prev_instr` up to 3.12, `instr_ptr` from 3.13 on.
    #[serde(alias = "prev_instr", alias = "instr_ptr")]
    pub instruction_pointer: u16,
    /// `char`: who owns the frame's memory.
    pub owner: u16,
    /// `bool`: the outermost Python frame of its evaluation loop (3.11).
    pub is_entry: Option<u16>,
    /// Not an offset: the value of `owner` from which on a frame is no Python frame but the entry frame of an
    /// evaluation loop, lying on the C stack (3.12 and later).
    pub entry_owner: Option<u8>,
}

/// Members of `PyCodeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeLayout {
    /// The object's type, which is `PyCode_Type`.
    pub ob_type: u16,
    /// Signed 64-bit number of instruction units (2 bytes each) from `instructions` on.
    pub ob_size: u16,
    /// `co_version`, an unsigned 32-bit number that no two code objects of a process share; from 3.12 on.
    #[serde(rename = "co_version")]
    pub version: Option<u16>,
    /// `co_firstlineno`, a signed 32-bit number.
    #[serde(rename = "co_firstlineno")]
    pub first_line: u16,
    /// `co_filename`, a `str`.
    #[serde(rename = "co_filename")]
    pub filename: u16,
    /// `co_name`, a `str`.
    #[serde(rename = "co_name")]
    pub name: u16,
    /// `co_qualname`, a `str`.
    #[serde(rename = "co_qualname")]
    pub qualname: u16,
    /// `co_linetable`, a `bytes`.
    #[serde(rename = "co_linetable")]
    pub line_table: u16,
    /// `_co_firsttraceable`, signed 32-bit: number of units before the frame counts as started.
    #[serde(rename = "_co_firsttraceable")]
    pub first_traceable: u16,
    /// `co_code_adaptive`: the instructions themselves start here.
    #[serde(rename = "co_code_adaptive")]
    pub instructions: u16,
}

/// Members of compact strings, and the bits of their state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnicodeLayout {
    /// Signed 64-bit number of characters.
    pub length: u16,
    /// The 32-bit state word.
    pub state: u16,
    /// Where the characters of an ASCII string start: `sizeof(PyASCIIObject)`.
    pub ascii_data: u16,
    /// Where the characters of any other compact string start: `sizeof(PyCompactUnicodeObject)`.
    pub compact_data: u16,
    /// Not an offset: lowest bit of the kind in the state word.
    pub kind_shift: u8,
    /// Not an offset: mask of the kind after the shift. The kind is the number of bytes per character: 1, 2 or 4.
    pub kind_mask: u8,
    /// Not an offset: number of the state word's bit that says that the characters follow the header.
    pub compact_bit: u8,
    /// Not an offset: number of the state word's bit that says that all characters are ASCII.
    pub ascii_bit: u8,
}

/// Members of `PyBytesObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BytesLayout {
    /// `ob_size`: signed 64-bit number of bytes.
    #[serde(rename = "ob_size")]
    pub size: u16,
    /// `ob_sval`: the bytes start here.
    #[serde(rename = "ob_sval")]
    pub data: u16,
}

/// Finds the layout of exactly this major and minor version.
///
/// `None` for every other version, and for alphas and betas, whose structs had not settled.
#[must_use]
pub fn find_layout(version: Version) -> Option<Layout> {
    let &(_, _, text) = FILES.iter().find(|&&(major, minor, _)| {
        (major, minor) == (version.major(), version.minor()) && version.has_settled_layout()
    })?;
    Some(toml::from_str(text).expect("a test parses every embedded layout file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses_and_is_for_the_version_it_is_listed_under() {
        for (major, minor, text) in FILES {
            let layout: Layout = toml::from_str(text).unwrap();
            assert_eq!((layout.major, layout.minor), (major, minor));
        }
    }

    #[test]
    fn every_layout_has_one_way_to_the_first_frame_and_one_mark_of_an_entry() {
        for (major, minor, text) in FILES {
            let layout: Layout = toml::from_str(text).unwrap();
            let through_cframe = layout.cframe.is_some();
            let thread_state = layout.thread_state;
            assert_eq!(thread_state.cframe.is_some(), through_cframe, "{minor}");
            assert_eq!(thread_state.root_cframe.is_some(), through_cframe);
            assert_eq!(thread_state.current_frame.is_none(), through_cframe);
            assert_ne!(
                layout.frame.is_entry.is_some(),
                layout.frame.entry_owner.is_some()
            );
            assert_eq!((major, minor) >= (3, 13), !layout.debug_offsets.is_empty());
        }
    }

    #[test]
    fn another_version_never_gets_a_layout() {
        let layout = |hex| find_layout(Version { hex });
        for hex in [
            0x0207_12f0,
            0x030a_0df0,
            0x030e_00f0,
            0x030f_00f0,
            0x040b_00f0,
            0,
            u32::MAX,
        ] {
            assert_eq!(layout(hex), None, "{hex:#x}");
        }
        assert_eq!(layout(0x030d_00a5), None, "an alpha");
        assert!(layout(0x030b_02f0).is_some_and(|layout| layout.minor == 11));
        assert!(layout(0x030c_0af0).is_some_and(|layout| layout.minor == 12));
        assert!(layout(0x030d_00c1).is_some_and(|layout| layout.minor == 13));
    }
}
