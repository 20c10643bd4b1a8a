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

use crate::{Layout, Version};

const COOKIE: &[u8] = b"xdebugpy";
const VERSION: u16 = 8;

/// No struct of CPython that we read is larger; `PyInterpreterState` of 3.13 has 230 KiB.
const STRUCT_SIZE_LIMIT: u64 = 1 << 24;

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
    /// The table is of a build without a GIL, whose objects have another shape.
    #[error("a free-threaded build, for which there is no layout")]
    FreeThreaded,
    /// An entry is outside its struct or not aligned.
    #[error("debug offset \"{entry}\" has the impossible value {value}")]
    Implausible {
        /// CPython's name of the entry.
        entry: String,
        /// Its value.
        value: u64,
    },
}

/// One entry: its name, the entry with the size of its struct, the width of the member it points at, its place.
struct Entry(&'static str, &'static str, u64, fn(&mut Layout) -> &mut u16);

const ENTRIES: [Entry; 24] = [
    Entry(
        "runtime_state.interpreters_head",
        "runtime_state.size",
        8,
        |layout| &mut layout.runtime.interpreters_head,
    ),
    Entry(
        "interpreter_state.next",
        "interpreter_state.size",
        8,
        |layout| &mut layout.interpreter.next,
    ),
    Entry(
        "interpreter_state.threads_head",
        "interpreter_state.size",
        8,
        |layout| &mut layout.interpreter.threads_head,
    ),
    Entry("thread_state.next", "thread_state.size", 8, |layout| {
        &mut layout.thread_state.next
    }),
    Entry("thread_state.interp", "thread_state.size", 8, |layout| {
        &mut layout.thread_state.interp
    }),
    Entry(
        "thread_state.current_frame",
        "thread_state.size",
        8,
        |layout| layout.thread_state.current_frame.get_or_insert_default(),
    ),
    Entry("thread_state.thread_id", "thread_state.size", 8, |layout| {
        &mut layout.thread_state.thread_id
    }),
    Entry(
        "thread_state.native_thread_id",
        "thread_state.size",
        8,
        |layout| &mut layout.thread_state.native_thread_id,
    ),
    Entry(
        "interpreter_frame.previous",
        "interpreter_frame.size",
        8,
        |layout| &mut layout.frame.previous,
    ),
    Entry(
        "interpreter_frame.executable",
        "interpreter_frame.size",
        8,
        |layout| &mut layout.frame.code,
    ),
    Entry(
        "interpreter_frame.instr_ptr",
        "interpreter_frame.size",
        8,
        |layout| &mut layout.frame.instruction_pointer,
    ),
    Entry(
        "interpreter_frame.localsplus",
        "interpreter_frame.size",
        8,
        |layout| &mut layout.frame.size,
    ),
    Entry(
        "interpreter_frame.owner",
        "interpreter_frame.size",
        1,
        |layout| &mut layout.frame.owner,
    ),
    Entry("code_object.filename", "code_object.size", 8, |layout| {
        &mut layout.code.filename
    }),
    Entry("code_object.name", "code_object.size", 8, |layout| {
        &mut layout.code.name
    }),
    Entry("code_object.qualname", "code_object.size", 8, |layout| {
        &mut layout.code.qualname
    }),
    Entry("code_object.linetable", "code_object.size", 8, |layout| {
        &mut layout.code.line_table
    }),
    Entry("code_object.firstlineno", "code_object.size", 4, |layout| {
        &mut layout.code.first_line
    }),
    Entry(
        "code_object.co_code_adaptive",
        "code_object.size",
        2,
        |layout| &mut layout.code.instructions,
    ),
    Entry("pyobject.ob_type", "pyobject.size", 8, |layout| {
        &mut layout.code.ob_type
    }),
    Entry("bytes_object.ob_size", "bytes_object.size", 8, |layout| {
        &mut layout.bytes.size
    }),
    Entry("bytes_object.ob_sval", "bytes_object.size", 1, |layout| {
        &mut layout.bytes.data
    }),
    Entry("unicode_object.state", "unicode_object.size", 4, |layout| {
        &mut layout.unicode.state
    }),
    Entry(
        "unicode_object.length",
        "unicode_object.size",
        8,
        |layout| &mut layout.unicode.length,
    ),
];

/// Reads the version from the start of `_PyRuntime`; `None` without the cookie (before 3.13).
pub(crate) fn parse_version(runtime_bytes: &[u8]) -> Option<Version> {
    if !runtime_bytes.starts_with(COOKIE) {
        return None;
    }
    let hex = u32::try_from(read_entry(runtime_bytes, VERSION)?).ok()?;
    Some(Version { hex })
}

/// Number of bytes of the table that a layout knows; 0 if its version has none.
pub(crate) fn table_size(layout: &Layout) -> usize {
    let last = layout.debug_offsets.values().max();
    last.map_or(0, |&position| usize::from(position) + 8)
}

/// Takes the offsets from the table at the start of `_PyRuntime` (3.13 and later) and leaves the rest of `base`.
///
/// `runtime_bytes` starts at `_PyRuntime` and holds at least the table: 584 bytes in 3.13.
///
/// # Errors
///
/// [`DebugOffsetsError`] if the cookie, the version, the kind of build or any value is not as it must be.
/// Half a table is never taken.
pub fn parse_debug_offsets(
    runtime_bytes: &[u8],
    base: &Layout,
) -> Result<Layout, DebugOffsetsError> {
    let found = parse_version(runtime_bytes).ok_or(DebugOffsetsError::NoCookie)?;
    let (major, minor) = (base.major, base.minor);
    if (found.major(), found.minor()) != (major, minor) || !found.has_settled_layout() {
        return Err(DebugOffsetsError::WrongVersion {
            found,
            major,
            minor,
        });
    }
    let entry = |name: &str| find_entry(runtime_bytes, base, name);
    if entry("free_threaded")?.is_some_and(|value| value != 0) {
        return Err(DebugOffsetsError::FreeThreaded);
    }
    let mut layout = base.clone();
    for &Entry(name, size_name, width, field) in &ENTRIES {
        let Some(value) = entry(name)? else { continue };
        let size = entry(size_name)?.unwrap_or(u64::from(u16::MAX));
        *field(&mut layout) = check(name, value, size, width)?;
    }
    if let Some(value) = entry("unicode_object.asciiobject_size")? {
        // The longer header adds two words, `utf8_length` and `utf8`.
        let name = "unicode_object.asciiobject_size";
        layout.unicode.ascii_data = check(name, value, 256, 1)?;
        layout.unicode.compact_data = check(name, value + 16, 256, 1)?;
    }
    Ok(layout)
}

/// A member must lie whole and aligned within its struct, and within what our own fields can say.
fn check(name: &str, value: u64, size: u64, width: u64) -> Result<u16, DebugOffsetsError> {
    let fits = size <= STRUCT_SIZE_LIMIT
        && value.is_multiple_of(width)
        && value.checked_add(width).is_some_and(|end| end <= size);
    let implausible = || DebugOffsetsError::Implausible {
        entry: name.to_owned(),
        value,
    };
    let offset = u16::try_from(value).ok().filter(|_| fits);
    offset.ok_or_else(implausible)
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
mod tests {
    use super::*;
    use crate::find_layout;

    fn base() -> Layout {
        find_layout(Version { hex: 0x030d_00f0 }).unwrap()
    }

    /// A table that says what `layout` says, shaped as `layout` says.
    fn table(layout: &Layout) -> Vec<u8> {
        let mut bytes = vec![0; 584];
        bytes[..8].copy_from_slice(COOKIE);
        bytes[8..16].copy_from_slice(&0x030d_00f0_u64.to_le_bytes());
        let mut layout = layout.clone();
        for (name, position) in layout.debug_offsets.clone() {
            let value = match ENTRIES.iter().find(|entry| entry.0 == name) {
                Some(Entry(.., field)) => u64::from(*field(&mut layout)),
                None if name == "unicode_object.asciiobject_size" => 40,
                None if name == "free_threaded" => 0,
                None => 60_000,
            };
            put(&mut bytes, position, value);
        }
        bytes
    }

    fn put(bytes: &mut [u8], position: u16, value: u64) {
        let position = usize::from(position);
        bytes[position..position + 8].copy_from_slice(&value.to_le_bytes());
    }

    #[test]
    fn every_entry_a_layout_lists_is_known_here_and_the_other_way_round() {
        let base = base();
        let rest = ["free_threaded", "unicode_object.asciiobject_size"];
        for name in base.debug_offsets.keys() {
            let known = ENTRIES
                .iter()
                .any(|entry| entry.0 == name || entry.1 == name);
            assert!(known || rest.contains(&name.as_str()), "{name}");
        }
        for Entry(name, size_name, ..) in ENTRIES {
            assert!(base.debug_offsets.contains_key(name), "{name}");
            assert!(base.debug_offsets.contains_key(size_name), "{size_name}");
        }
    }

    #[test]
    fn the_table_wins_over_the_file() {
        let mut moved = base();
        moved.interpreter.threads_head += 24;
        moved.code.qualname += 8;
        moved.frame.owner += 1;
        assert_eq!(parse_debug_offsets(&table(&moved), &base()), Ok(moved));
    }

    #[test]
    fn longer_string_headers_move_both_kinds_of_data() {
        let mut bytes = table(&base());
        let position = base().debug_offsets["unicode_object.asciiobject_size"];
        put(&mut bytes, position, 48);
        let layout = parse_debug_offsets(&bytes, &base()).unwrap();
        assert_eq!(layout.unicode.ascii_data, 48);
        assert_eq!(layout.unicode.compact_data, 64);
    }

    #[test]
    fn foreign_tables_are_refused() {
        let base = base();
        let good = table(&base);
        assert_eq!(
            parse_debug_offsets(&[], &base),
            Err(DebugOffsetsError::NoCookie)
        );
        assert_eq!(
            parse_debug_offsets(&vec![0; 584], &base),
            Err(DebugOffsetsError::NoCookie)
        );
        let mut other = good.clone();
        put(&mut other, VERSION, 0x030e_00f0);
        assert!(matches!(
            parse_debug_offsets(&other, &base),
            Err(DebugOffsetsError::WrongVersion { found, .. }) if found.minor() == 14
        ));
        let mut free_threaded = good.clone();
        put(&mut free_threaded, 16, 1);
        assert_eq!(
            parse_debug_offsets(&free_threaded, &base),
            Err(DebugOffsetsError::FreeThreaded)
        );
        for length in 16..table_size(&base) {
            let cut = parse_debug_offsets(&good[..length], &base);
            assert!(
                matches!(cut, Err(DebugOffsetsError::TooShort { .. })),
                "{length}"
            );
        }
        assert!(parse_debug_offsets(&good[..table_size(&base)], &base).is_ok());
    }

    #[test]
    fn values_outside_their_struct_or_not_aligned_are_refused() {
        let base = base();
        for Entry(name, _, width, _) in ENTRIES {
            let mut values = vec![60_000, 65_536, u64::MAX, 1 << 40];
            if width > 1 {
                values.push(width + 1);
            }
            for value in values {
                let mut bytes = table(&base);
                put(&mut bytes, base.debug_offsets[name], value);
                assert_eq!(
                    parse_debug_offsets(&bytes, &base),
                    Err(DebugOffsetsError::Implausible {
                        entry: name.to_owned(),
                        value
                    })
                );
            }
        }
    }
}
