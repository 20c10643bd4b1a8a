//! Where a CPython version keeps the members of its structs.
//!
//! The numbers are data: one TOML file per version under `layouts/`, its tables named after CPython's structs and
//! its keys after their members, so that a reader can hold them against `ptype /o` of a debugger line by line.
//! Every value is an offset in bytes from the start of the struct, unless its documentation says otherwise.

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use crate::{LineTableKind, Version};

/// Every layout file: a new version needs a file there and nothing else.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/layouts");

/// The layout of one CPython version and build, x86-64.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// 2 or 3.
    pub major: u8,
    /// 13 of 3.13.
    pub minor: u8,
    /// A build without a GIL (3.13t and later), whose objects have longer headers.
    #[serde(default)]
    pub free_threaded: bool,
    /// How the code objects of this version keep their lines.
    pub line_table: LineTableKind,
    /// `_PyRuntime`; `None` before 3.7, where the variable `interp_head` is the one root.
    #[serde(rename = "_PyRuntimeState")]
    pub runtime: Option<RuntimeLayout>,
    /// `Py_tss_t`, the key of a pthread's own value; 3.7 to 3.14.
    #[serde(rename = "Py_tss_t")]
    pub tss: Option<TssLayout>,
    /// `PyInterpreterState`.
    #[serde(rename = "PyInterpreterState")]
    pub interpreter: InterpreterLayout,
    /// `struct _gil_runtime_state`; 3.7 and later, and not in free-threaded builds.
    #[serde(rename = "_gil_runtime_state")]
    pub gil: Option<GilLayout>,
    /// `PyThreadState`.
    #[serde(rename = "PyThreadState")]
    pub thread_state: ThreadStateLayout,
    /// `CFrame` (3.10), `_PyCFrame` (3.11 and 3.12).
    #[serde(rename = "_PyCFrame", alias = "CFrame")]
    pub cframe: Option<CframeLayout>,
    /// `PyFrameObject` up to 3.10, then `_PyInterpreterFrame`.
    #[serde(rename = "_PyInterpreterFrame", alias = "PyFrameObject")]
    pub frame: FrameLayout,
    /// `PyCodeObject`.
    #[serde(rename = "PyCodeObject")]
    pub code: CodeLayout,
    /// `PyASCIIObject` and `PyCompactUnicodeObject`, the two shapes of compact strings.
    /// `None` in 2.7, where names are byte strings.
    #[serde(rename = "PyUnicodeObject")]
    pub unicode: Option<UnicodeLayout>,
    /// `PyBytesObject`; `PyStringObject` in 2.7.
    #[serde(rename = "PyBytesObject")]
    pub bytes: BytesLayout,
    /// `PyTypeObject`.
    #[serde(rename = "PyTypeObject")]
    pub type_object: TypeLayout,
    /// `PyTupleObject`.
    #[serde(rename = "PyTupleObject")]
    pub tuple: TupleLayout,
    /// Where `_Py_DebugOffsets` keeps its entries, by CPython's names for them; empty before 3.13.
    #[serde(rename = "_Py_DebugOffsets", default)]
    pub(crate) debug_offsets: BTreeMap<String, u16>,
}

impl Layout {
    /// Parses a layout file.
    ///
    /// # Errors
    ///
    /// What is missing or too much in it.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Where the pointer to the first interpreter is, from [`Interpreter::runtime`](crate::Interpreter::runtime) on.
    #[must_use]
    pub fn interpreters_head(&self) -> u16 {
        self.runtime.map_or(0, |runtime| runtime.interpreters_head)
    }

    /// Each Python frame is run by a native call of the evaluation loop of its own: up to 3.10.
    #[must_use]
    pub const fn has_call_per_frame(&self) -> bool {
        self.frame.last_instruction.is_some()
    }
}

/// Members of `_PyRuntimeState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeLayout {
    /// `interpreters.head`: first `PyInterpreterState *`.
    pub interpreters_head: u16,
    /// `autoTSSkey`: the [`Py_tss_t`](TssLayout) under which each thread keeps its thread state.
    /// `None` from 3.15 on.
    #[serde(rename = "autoTSSkey")]
    pub auto_tss_key: Option<u16>,
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

/// Members of `struct _gil_runtime_state`, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GilLayout {
    /// The `PyThreadState *` that holds the GIL or held it last.
    pub last_holder: u16,
    /// `int`, 1 while it is held, -1 before it is made.
    pub locked: u16,
    /// In `_PyRuntimeState`: `ceval.gil`, the one GIL of the process (3.7 to 3.11).
    pub in_runtime: Option<u16>,
    /// In `PyInterpreterState`: `ceval.gil`, a pointer to the interpreter's GIL (3.12 and later).
    pub in_interpreter: Option<u16>,
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

/// Members of `PyThreadState`. Its frames begin at `frame` (to 3.10), at `cframe` (3.11, 3.12) or at `current_frame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadStateLayout {
    /// Previous `PyThreadState *` of the interpreter, or NULL; `None` in 2.7.
    pub prev: Option<u16>,
    /// Next `PyThreadState *` of the interpreter, or NULL.
    pub next: u16,
    /// The `PyInterpreterState *` it belongs to.
    pub interp: u16,
    /// `pthread_self()` of its thread, 64 bits: equal to the thread's fs base on x86-64.
    pub thread_id: u16,
    /// `gettid()` of its thread in its own PID namespace, 64 bits; from 3.11 on.
    pub native_thread_id: Option<u16>,
    /// `state`, an `int`: 1 while the thread is attached to its interpreter (free-threaded builds).
    pub state: Option<u16>,
    /// The innermost `PyFrameObject *`, or NULL (to 3.10).
    pub frame: Option<u16>,
    /// Pointer to the innermost [`_PyCFrame`](CframeLayout) (3.10 to 3.12).
    pub cframe: Option<u16>,
    /// The outermost `_PyCFrame`, embedded here: the chain's end (3.10 to 3.12).
    pub root_cframe: Option<u16>,
    /// The innermost `_PyInterpreterFrame *`, or NULL (3.13 and later).
    pub current_frame: Option<u16>,
    /// Pointer to the outermost `_PyInterpreterFrame`, which runs nothing and is not on the C stack (3.15).
    pub base_frame: Option<u16>,
}

/// Members of `_PyCFrame`, which lies on the C stack of each running evaluation loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CframeLayout {
    /// The innermost `_PyInterpreterFrame *` of this evaluation loop, or NULL; from 3.11 on.
    pub current_frame: Option<u16>,
    /// The `_PyCFrame *` of the evaluation loop below.
    pub previous: u16,
}

/// Members of `PyFrameObject` (to 3.10) or `_PyInterpreterFrame`.
///
/// Either `last_instruction` or `instruction_pointer` is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameLayout {
    /// The `PyCodeObject *`: `f_code`, or `f_executable` from 3.13 on, whose two lowest bits are tags from 3.14 on.
    #[serde(alias = "f_code", alias = "f_executable")]
    pub code: u16,
    /// The caller's frame, or NULL.
    #[serde(alias = "f_back")]
    pub previous: u16,
    /// Index of the last instruction, signed 32-bit: in bytes up to 3.9, in units of two bytes in 3.10.
    #[serde(rename = "f_lasti")]
    pub last_instruction: Option<u16>,
    /// Pointer into the code object's instructions: `prev_instr` in 3.11 and 3.12, `instr_ptr` from 3.13 on.
    #[serde(alias = "prev_instr", alias = "instr_ptr")]
    pub instruction_pointer: Option<u16>,
    /// `char`: who owns the frame's memory; from 3.11 on.
    pub owner: Option<u16>,
    /// `bool`: the outermost Python frame of its evaluation loop (3.11).
    pub is_entry: Option<u16>,
    /// What is not 0 (`f_stacktop`, a pointer, 3.9) or not negative (`f_stackdepth`, signed 32-bit, 3.10) while no
    /// evaluation loop runs the frame.
    #[serde(alias = "f_stacktop", alias = "f_stackdepth")]
    pub stack_top: Option<u16>,
    /// Not an offset: the value of `owner` from which on a frame is no Python frame but the entry frame of an
    /// evaluation loop, lying on the C stack (3.12 and later).
    pub entry_owner: Option<u8>,
    /// Which copy of the bytecode the frame runs, 32 bits, 0 for the one in the code object (free-threaded, 3.14 and
    /// later).
    pub tlbc_index: Option<u16>,
    /// The local variables: pointers to objects, arguments first.
    #[serde(alias = "f_localsplus", rename = "localsplus")]
    pub locals: u16,
}

impl FrameLayout {
    /// Number of bytes from the start of a frame that hold all members but the local variables.
    #[must_use]
    pub fn size(&self) -> u16 {
        let words = [
            Some(self.code),
            Some(self.previous),
            self.instruction_pointer,
            self.stack_top,
        ];
        let halves = [self.last_instruction, self.tlbc_index];
        let bytes = [self.owner, self.is_entry];
        let ends = words
            .into_iter()
            .flatten()
            .map(|offset| offset.saturating_add(8));
        let ends = ends.chain(
            halves
                .into_iter()
                .flatten()
                .map(|offset| offset.saturating_add(4)),
        );
        let ends = ends.chain(
            bytes
                .into_iter()
                .flatten()
                .map(|offset| offset.saturating_add(1)),
        );
        ends.max().unwrap_or(0).next_multiple_of(8)
    }
}

/// Members of `PyCodeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeLayout {
    /// The object's type, which is `PyCode_Type`. Every other object has its type there, too.
    pub ob_type: u16,
    /// Signed 64-bit number of instruction units (2 bytes each) from `instructions` on; from 3.11 on.
    pub ob_size: Option<u16>,
    /// `co_argcount`, signed 32-bit: number of positional arguments; up to 3.10.
    #[serde(rename = "co_argcount")]
    pub argument_count: Option<u16>,
    /// `co_nlocals`, signed 32-bit; up to 3.10.
    #[serde(rename = "co_nlocals")]
    pub local_count: Option<u16>,
    /// `co_flags`, signed 32-bit; 3.9 and 3.10.
    #[serde(rename = "co_flags")]
    pub flags: Option<u16>,
    /// `co_varnames`, a `tuple` of `str`; up to 3.10.
    #[serde(rename = "co_varnames")]
    pub variable_names: Option<u16>,
    /// `co_cellvars`, a `tuple` of `str`; up to 3.10.
    #[serde(rename = "co_cellvars")]
    pub cell_names: Option<u16>,
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
    /// `co_qualname`, a `str`; from 3.11 on.
    #[serde(rename = "co_qualname")]
    pub qualname: Option<u16>,
    /// `co_lnotab` or `co_linetable`, a `bytes`.
    #[serde(alias = "co_lnotab", alias = "co_linetable")]
    pub line_table: u16,
    /// `_co_firsttraceable`, signed 32-bit: number of units before the frame counts as started; from 3.11 on.
    #[serde(rename = "_co_firsttraceable")]
    pub first_traceable: Option<u16>,
    /// `co_tlbc`: pointer to the threads' copies of the bytecode, a count and then pointers (free-threaded, 3.14 and
    /// later).
    #[serde(rename = "co_tlbc")]
    pub tlbc: Option<u16>,
    /// `co_code_adaptive`: the instructions themselves start here; from 3.11 on.
    #[serde(rename = "co_code_adaptive")]
    pub instructions: Option<u16>,
    /// Size of the whole struct in bytes, where no instructions follow it (up to 3.10).
    #[serde(rename = "sizeof")]
    pub struct_size: Option<u16>,
}

impl CodeLayout {
    /// Number of bytes from the start of a code object that hold all members.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.instructions.or(self.struct_size).unwrap_or(0)
    }
}

/// Members of `PyTypeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeLayout {
    /// `char *`, ended by a NUL: for classes made in Python the bare name.
    #[serde(rename = "tp_name")]
    pub name: u16,
    /// 64 bits; bit 31 is set in types whose instances are types themselves.
    #[serde(rename = "tp_flags")]
    pub flags: u16,
    /// The class's own `dict`, or NULL.
    #[serde(rename = "tp_dict")]
    pub dict: u16,
    /// The class and its bases in the order of look-up, a `tuple`.
    #[serde(rename = "tp_mro")]
    pub mro: u16,
}

/// Members of `PyTupleObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TupleLayout {
    /// The items, pointers to objects.
    #[serde(rename = "ob_item")]
    pub items: u16,
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
pub fn find_layout(version: Version, free_threaded: bool) -> Option<Layout> {
    if !version.has_settled_layout() {
        return None;
    }
    let suffix = if free_threaded { "t" } else { "" };
    let name = format!("{}.{}{suffix}.toml", version.major(), version.minor());
    let text = FILES.get_file(name)?.contents_utf8()?;
    // A test parses every embedded file.
    Layout::parse(text).ok()
}

/// The layout of the newest version there is one for, if `version` is newer than that.
///
/// Good only together with the interpreter's own `_Py_DebugOffsets`.
#[must_use]
pub fn find_newest_layout(version: Version, free_threaded: bool) -> Option<Layout> {
    let layouts = FILES
        .files()
        .filter_map(|file| Layout::parse(file.contents_utf8()?).ok());
    layouts
        .filter(|layout| layout.free_threaded == free_threaded)
        .max_by_key(|layout| (layout.major, layout.minor))
        .filter(|layout| (layout.major, layout.minor) < (version.major(), version.minor()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Layout> {
        FILES.files().map(|file| {
            let layout = Layout::parse(file.contents_utf8().unwrap());
            layout.unwrap_or_else(|error| panic!("{}: {error}", file.path().display()))
        })
    }

    #[test]
    fn every_file_parses_and_is_for_the_version_it_is_named_after() {
        for file in FILES.files() {
            let layout = Layout::parse(file.contents_utf8().unwrap()).unwrap();
            let suffix = if layout.free_threaded { "t" } else { "" };
            let name = format!("{}.{}{suffix}.toml", layout.major, layout.minor);
            assert_eq!(file.path().to_str(), Some(name.as_str()));
        }
        assert_eq!(all().count(), 14);
    }

    #[test]
    fn every_layout_has_the_shape_of_its_version() {
        for layout in all() {
            let version = (layout.major, layout.minor);
            let has_cframe = ((3, 10)..=(3, 12)).contains(&version);
            assert_eq!(layout.cframe.is_some(), has_cframe, "{version:?}");
            let thread_state = layout.thread_state;
            assert_eq!(thread_state.cframe.is_some(), has_cframe);
            assert_eq!(thread_state.root_cframe.is_some(), has_cframe);
            assert_eq!(thread_state.frame.is_some(), version <= (3, 10));
            assert_eq!(thread_state.current_frame.is_some(), version >= (3, 13));
            let frame = layout.frame;
            assert_eq!(frame.last_instruction.is_some(), version <= (3, 10));
            assert_eq!(frame.instruction_pointer.is_some(), version >= (3, 11));
            assert_eq!(frame.is_entry.is_some(), version == (3, 11));
            let links_delegators = [(3, 9), (3, 10)].contains(&version);
            assert_eq!(frame.stack_top.is_some(), links_delegators);
            assert_eq!(layout.code.flags.is_some(), links_delegators);
            assert_eq!(frame.entry_owner.is_some(), version >= (3, 12));
            assert_eq!(layout.code.qualname.is_some(), version >= (3, 11));
            assert_eq!(layout.code.instructions.is_some(), version >= (3, 11));
            assert_eq!(layout.code.struct_size.is_some(), version <= (3, 10));
            assert_eq!(layout.runtime.is_some(), version >= (3, 7));
            assert_eq!(
                !layout.debug_offsets.is_empty(),
                version >= (3, 13),
                "{version:?}"
            );
        }
    }

    #[test]
    fn another_version_never_gets_a_layout() {
        let layout = |hex| find_layout(Version { hex }, false);
        for hex in [
            0x0206_09f0,
            0x0305_0af0,
            0x0310_00f0,
            0x040b_00f0,
            0,
            u32::MAX,
        ] {
            assert_eq!(layout(hex), None, "{hex:#x}");
        }
        assert_eq!(layout(0x030d_00a5), None, "an alpha");
        assert!(layout(0x030b_02f0).is_some_and(|layout| layout.minor == 11));
        assert!(layout(0x030d_00c1).is_some_and(|layout| layout.minor == 13));
        let free = find_layout(Version { hex: 0x030e_00f0 }, true).unwrap();
        assert!(free.free_threaded && free.minor == 14);
        assert_eq!(find_layout(Version { hex: 0x030c_00f0 }, true), None);
    }

    #[test]
    fn only_a_newer_version_is_read_with_the_newest_layout() {
        let newest = |hex| find_newest_layout(Version { hex }, false);
        assert!(newest(0x0310_00f0).is_some_and(|layout| layout.minor == 15));
        for known_or_older in [0x030f_00f0, 0x030d_00f0, 0x0305_00f0] {
            assert_eq!(newest(known_or_older), None);
        }
    }
}
