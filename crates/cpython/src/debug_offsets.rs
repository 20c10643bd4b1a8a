//! The table of offsets that CPython 3.13 and later carry at the start of `_PyRuntime`.
//!
//! ```text
//! +0  char cookie[8]        "xdebugpy"
//! +8  uint64_t version      PY_VERSION_HEX
//! +16 uint64_t free_threaded
//! +24 …                     uint64_t entries; which one stands where differs per minor version
//! ```
//!
//! The table was made for readers like us, so its numbers win over those of the layout file. It lies in the file's
//! data too, so no process is needed to read it.
//! <https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_runtime.h#L62>
//! <https://github.com/python/cpython/blob/v3.14.0/Include/internal/pycore_debug_offsets.h#L67>

mod sanity;

use crate::{Layout, Version};

const COOKIE: &[u8] = b"xdebugpy";
const VERSION: u16 = 8;
const FREE_THREADED: u16 = 16;

/// Why a table of offsets cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DebugOffsetsError {
    /// The table does not start with its cookie: not 3.13 or later, or not `_PyRuntime`.
    #[error("no debug offsets at _PyRuntime: the cookie \"xdebugpy\" is missing")]
    NoCookie,
    /// Fewer bytes than the table has.
    #[error("the debug offsets end at byte {length}, before entry \"{entry}\"")]
    TooShort {
        /// Number of bytes there are.
        length: usize,
        /// The first entry that is not whole.
        entry: String,
    },
    /// The table is of another version than the layout it is to be read with.
    #[error("the debug offsets are those of CPython {found}, not {major}.{minor}")]
    WrongVersion {
        /// What the table says.
        found: Version,
        /// What the layout is for.
        major: u8,
        /// What the layout is for.
        minor: u8,
    },
    /// The table is of a free-threaded build and the layout of one with a GIL, or the other way round: the objects
    /// of one have another shape than those of the other.
    #[error("the debug offsets are those of {}", match .free_threaded {
        true => "a free-threaded build, the layout is that of one with a GIL",
        false => "a build with a GIL, the layout is that of a free-threaded one",
    })]
    WrongBuild {
        /// What the table says.
        free_threaded: bool,
    },
    /// An entry is outside its struct, not aligned, or not where it is in every CPython.
    #[error("debug offset \"{entry}\" has the impossible value {value}")]
    Implausible {
        /// CPython's name of the entry.
        entry: String,
        /// Its value.
        value: u64,
    },
    /// Two members of a struct would share bytes.
    #[error("debug offsets \"{first}\" and \"{second}\" overlap")]
    Overlap {
        /// CPython's name of an entry.
        first: String,
        /// CPython's name of another entry.
        second: String,
    },
}

/// One entry: CPython's name for it, the width of the member it points at in bytes, its place in a layout.
///
/// What stands before the dot of the name is the member's struct, whose size is the entry `….size`.
struct Entry(&'static str, u64, fn(&mut Layout) -> Option<&mut u16>);

const ENTRIES: [Entry; 33] = [
    Entry("runtime_state.interpreters_head", 8, |layout| {
        layout
            .runtime
            .as_mut()
            .map(|runtime| &mut runtime.interpreters_head)
    }),
    Entry("interpreter_state.next", 8, |layout| {
        Some(&mut layout.interpreter.next)
    }),
    Entry("interpreter_state.threads_head", 8, |layout| {
        Some(&mut layout.interpreter.threads_head)
    }),
    Entry("thread_state.prev", 8, |layout| {
        layout.thread_state.prev.as_mut()
    }),
    Entry("thread_state.next", 8, |layout| {
        Some(&mut layout.thread_state.next)
    }),
    Entry("thread_state.interp", 8, |layout| {
        Some(&mut layout.thread_state.interp)
    }),
    Entry("thread_state.current_frame", 8, |layout| {
        layout.thread_state.current_frame.as_mut()
    }),
    Entry("thread_state.base_frame", 8, |layout| {
        layout.thread_state.base_frame.as_mut()
    }),
    Entry("thread_state.thread_id", 8, |layout| {
        Some(&mut layout.thread_state.thread_id)
    }),
    Entry("thread_state.native_thread_id", 8, |layout| {
        layout.thread_state.native_thread_id.as_mut()
    }),
    Entry("interpreter_frame.previous", 8, |layout| {
        Some(&mut layout.frame.previous)
    }),
    Entry("interpreter_frame.executable", 8, |layout| {
        Some(&mut layout.frame.code)
    }),
    Entry("interpreter_frame.instr_ptr", 8, |layout| {
        layout.frame.instruction_pointer.as_mut()
    }),
    Entry("interpreter_frame.localsplus", 8, |layout| {
        Some(&mut layout.frame.locals)
    }),
    Entry("interpreter_frame.owner", 1, |layout| {
        layout.frame.owner.as_mut()
    }),
    Entry("interpreter_frame.tlbc_index", 4, |layout| {
        layout.frame.tlbc_index.as_mut()
    }),
    Entry("code_object.filename", 8, |layout| {
        Some(&mut layout.code.filename)
    }),
    Entry("code_object.name", 8, |layout| Some(&mut layout.code.name)),
    Entry("code_object.qualname", 8, |layout| {
        layout.code.qualname.as_mut()
    }),
    Entry("code_object.linetable", 8, |layout| {
        Some(&mut layout.code.line_table)
    }),
    Entry("code_object.firstlineno", 4, |layout| {
        Some(&mut layout.code.first_line)
    }),
    Entry("code_object.co_code_adaptive", 2, |layout| {
        layout.code.instructions.as_mut()
    }),
    Entry("code_object.co_tlbc", 8, |layout| layout.code.tlbc.as_mut()),
    Entry("pyobject.ob_type", 8, |layout| {
        Some(&mut layout.code.ob_type)
    }),
    Entry("type_object.tp_name", 8, |layout| {
        Some(&mut layout.type_object.name)
    }),
    Entry("type_object.tp_flags", 8, |layout| {
        Some(&mut layout.type_object.flags)
    }),
    Entry("tuple_object.ob_item", 8, |layout| {
        Some(&mut layout.tuple.items)
    }),
    Entry("bytes_object.ob_size", 8, |layout| {
        Some(&mut layout.bytes.size)
    }),
    Entry("bytes_object.ob_sval", 1, |layout| {
        Some(&mut layout.bytes.data)
    }),
    Entry("unicode_object.state", 4, |layout| {
        layout.unicode.as_mut().map(|unicode| &mut unicode.state)
    }),
    Entry("unicode_object.length", 8, |layout| {
        layout.unicode.as_mut().map(|unicode| &mut unicode.length)
    }),
    Entry(ASCII_SIZE, 0, |layout| {
        layout
            .unicode
            .as_mut()
            .map(|unicode| &mut unicode.ascii_data)
    }),
    Entry(COMPACT_SIZE, 0, |layout| {
        layout
            .unicode
            .as_mut()
            .map(|unicode| &mut unicode.compact_data)
    }),
];

const ASCII_SIZE: &str = "unicode_object.asciiobject_size";
/// In the table from 3.15 on.
const COMPACT_SIZE: &str = "unicode_object.compactunicodeobject_size";

/// Reads the version and whether the build is free-threaded from the start of `_PyRuntime`, 24 bytes; `None` without
/// the cookie (before 3.13).
pub(crate) fn parse_header(runtime_bytes: &[u8]) -> Option<(Version, bool)> {
    if !runtime_bytes.starts_with(COOKIE) {
        return None;
    }
    let hex = u32::try_from(read_entry(runtime_bytes, VERSION)?).ok()?;
    let free_threaded = read_entry(runtime_bytes, FREE_THREADED)? != 0;
    Some((Version { hex }, free_threaded))
}

/// Number of bytes of the table that a layout knows; 0 if its version has none.
pub(crate) fn table_size(layout: &Layout) -> usize {
    let last = layout.debug_offsets.values().max();
    last.map_or(0, |&position| usize::from(position) + 8)
}

/// Takes the offsets from the table at the start of `_PyRuntime` (3.13 and later) and leaves the rest of `base`.
///
/// `runtime_bytes` starts at `_PyRuntime` and holds at least the part of the table that the layout knows.
///
/// # Errors
///
/// [`DebugOffsetsError`] if the cookie, the version, the kind of build or any value is not as it must be.
/// Half a table is never taken.
pub fn parse_debug_offsets(
    runtime_bytes: &[u8],
    base: &Layout,
) -> Result<Layout, DebugOffsetsError> {
    let found = check_build(runtime_bytes, base)?;
    let is_same = (found.major(), found.minor()) == (base.major, base.minor);
    if !is_same || !found.has_settled_layout() {
        return Err(wrong_version(found, base));
    }
    take_entries(runtime_bytes, base)
}

/// Like [`parse_debug_offsets`] for a version newer than any known, `base` being the newest layout there is.
///
/// Where entries stand in such a table is assumed to be as in `base`, and the values must bear it out: in a table of
/// another shape, sizes stand where offsets are looked for and the other way round.
/// What the table cannot tell is dropped from the layout if it may have moved.
///
/// # Errors
///
/// [`DebugOffsetsError`], as above; also for a version that is not newer.
pub fn parse_debug_offsets_of_newer(
    runtime_bytes: &[u8],
    base: &Layout,
) -> Result<Layout, DebugOffsetsError> {
    let found = check_build(runtime_bytes, base)?;
    if (found.major(), found.minor()) <= (base.major, base.minor) {
        return Err(wrong_version(found, base));
    }
    let mut layout = take_entries(runtime_bytes, base)?;
    sanity::check_strings_unchanged(&layout, base)?;
    // The table does not have these two. They are where they were as long as what lies around them is.
    if layout.code != base.code {
        layout.code.version = None;
        layout.code.first_traceable = None;
    }
    (layout.major, layout.minor) = (found.major(), found.minor());
    Ok(layout)
}

fn wrong_version(found: Version, base: &Layout) -> DebugOffsetsError {
    DebugOffsetsError::WrongVersion {
        found,
        major: base.major,
        minor: base.minor,
    }
}

fn check_build(runtime_bytes: &[u8], base: &Layout) -> Result<Version, DebugOffsetsError> {
    let (version, free_threaded) =
        parse_header(runtime_bytes).ok_or(DebugOffsetsError::NoCookie)?;
    if free_threaded != base.free_threaded {
        return Err(DebugOffsetsError::WrongBuild { free_threaded });
    }
    Ok(version)
}

/// `base` with every entry of the table that is known, after all of them have been checked.
fn take_entries(bytes: &[u8], base: &Layout) -> Result<Layout, DebugOffsetsError> {
    let mut layout = base.clone();
    let mut values = Vec::with_capacity(ENTRIES.len());
    for &Entry(name, width, field) in &ENTRIES {
        let Some(value) = find_entry(bytes, base, name)? else {
            continue;
        };
        let structure = name
            .split_once('.')
            .map_or(name, |(structure, _)| structure);
        let size = find_entry(bytes, base, &format!("{structure}.size"))?;
        let offset = sanity::check_member(name, value, structure, size, width)?;
        values.push((name, offset, width));
        if let Some(field) = field(&mut layout) {
            *field = offset;
        }
    }
    if !base.debug_offsets.contains_key(COMPACT_SIZE) {
        // The longer header adds two words, `utf8_length` and `utf8`.
        if let Some(unicode) = &mut layout.unicode {
            unicode.compact_data = unicode.ascii_data.saturating_add(16);
        }
    }
    sanity::check_overlaps(&values)?;
    sanity::check_object_headers(&layout)?;
    Ok(layout)
}

/// The value of an entry; `None` if this version's table does not have it.
fn find_entry(bytes: &[u8], layout: &Layout, name: &str) -> Result<Option<u64>, DebugOffsetsError> {
    let Some(&position) = layout.debug_offsets.get(name) else {
        return Ok(None);
    };
    let too_short = || DebugOffsetsError::TooShort {
        length: bytes.len(),
        entry: name.to_owned(),
    };
    read_entry(bytes, position).map(Some).ok_or_else(too_short)
}

fn read_entry(bytes: &[u8], position: u16) -> Option<u64> {
    let entry = bytes.get(usize::from(position)..)?.first_chunk()?;
    Some(u64::from_le_bytes(*entry))
}

#[cfg(test)]
mod tests;
