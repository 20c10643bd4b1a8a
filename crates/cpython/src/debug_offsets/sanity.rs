//! What must hold of a table of offsets, whatever the version: a table of another shape than the one assumed shows
//! itself here.

use crate::Layout;

use super::{ASCII_SIZE, COMPACT_SIZE, DebugOffsetsError};

/// How large each struct can be in bytes. `PyInterpreterState` of 3.15 has 221 KiB, `_PyRuntimeState` 338 KiB.
///
/// Offsets of members, which would stand here in a table of another shape, are mostly smaller than the first number.
const SIZES: [(&str, u64, u64); 10] = [
    ("runtime_state", 4096, 1 << 24),
    ("interpreter_state", 4096, 1 << 24),
    ("thread_state", 200, 1 << 14),
    ("interpreter_frame", 72, 512),
    ("code_object", 160, 1024),
    ("pyobject", 16, 32),
    ("type_object", 256, 2048),
    ("tuple_object", 32, 128),
    ("bytes_object", 40, 128),
    ("unicode_object", 48, 256),
];

/// Members that reach to the end of their struct.
const LAST: [&str; 3] = [
    "interpreter_frame.localsplus",
    "code_object.co_code_adaptive",
    "bytes_object.ob_sval",
];

fn implausible(entry: &str, value: u64) -> DebugOffsetsError {
    DebugOffsetsError::Implausible {
        entry: entry.to_owned(),
        value,
    }
}

/// A member must lie whole and aligned within its struct, the struct must have a size that it can have, and the
/// offset must be one that our own fields can say.
pub(super) fn check_member(
    name: &str,
    value: u64,
    structure: &str,
    size: Option<u64>,
    width: u64,
) -> Result<u16, DebugOffsetsError> {
    let size = size.unwrap_or(0);
    let may_be = |&(known, least, most): &(&str, u64, u64)| {
        known == structure && (least..=most).contains(&size)
    };
    if !SIZES.iter().any(may_be) {
        return Err(implausible(&format!("{structure}.size"), size));
    }
    // Sizes, which have no width, are multiples of the widest member.
    let alignment = if width == 0 { 8 } else { width };
    let fits =
        value.is_multiple_of(alignment) && value.checked_add(width).is_some_and(|end| end <= size);
    let offset = u16::try_from(value).ok().filter(|_| fits);
    offset.ok_or_else(|| implausible(name, value))
}

/// No two members of a struct share bytes: given are name, offset and width.
pub(super) fn check_overlaps(members: &[(&str, u16, u64)]) -> Result<(), DebugOffsetsError> {
    let structure = |name: &str| {
        name.split_once('.')
            .map(|(structure, _)| structure.to_owned())
    };
    let end = |&(name, offset, width): &(&str, u16, u64)| match LAST.contains(&name) {
        true => u64::MAX,
        false => u64::from(offset) + width,
    };
    let members: Vec<_> = members.iter().filter(|member| member.2 > 0).collect();
    for (index, first) in members.iter().enumerate() {
        for second in members.iter().skip(index + 1) {
            let are_together = structure(first.0) == structure(second.0);
            let is_apart = end(first) <= u64::from(second.1) || end(second) <= u64::from(first.1);
            if are_together && !is_apart {
                return Err(DebugOffsetsError::Overlap {
                    first: first.0.to_owned(),
                    second: second.0.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Every object starts with the same header, whose last word is its type; objects of variable size continue with
/// their number of items.
pub(super) fn check_object_headers(layout: &Layout) -> Result<(), DebugOffsetsError> {
    let header: u16 = if layout.free_threaded { 32 } else { 16 };
    let exactly = |entry, value: u16, wanted: u16| match value == wanted {
        true => Ok(()),
        false => Err(implausible(entry, u64::from(value))),
    };
    let at_least = |entry, value: u16, least: u16| match value >= least {
        true => Ok(()),
        false => Err(implausible(entry, u64::from(value))),
    };
    exactly("pyobject.ob_type", layout.code.ob_type, header - 8)?;
    exactly("bytes_object.ob_size", layout.bytes.size, header)?;
    exactly("type_object.tp_name", layout.type_object.name, header + 8)?;
    at_least(
        "type_object.tp_flags",
        layout.type_object.flags,
        header + 16,
    )?;
    at_least("tuple_object.ob_item", layout.tuple.items, header + 8)?;
    for (entry, value) in [
        ("code_object.firstlineno", layout.code.first_line),
        ("code_object.filename", layout.code.filename),
        ("code_object.name", layout.code.name),
        (
            "code_object.qualname",
            layout.code.qualname.unwrap_or(header + 8),
        ),
        ("code_object.linetable", layout.code.line_table),
    ] {
        at_least(entry, value, header + 8)?;
    }
    if let Some(unicode) = layout.unicode {
        exactly("unicode_object.length", unicode.length, header)?;
        at_least("unicode_object.state", unicode.state, header + 8)?;
        at_least(
            ASCII_SIZE,
            unicode.ascii_data,
            unicode.state.saturating_add(4),
        )?;
        let two_words_more = unicode.ascii_data.saturating_add(16);
        at_least(COMPACT_SIZE, unicode.compact_data, two_words_more)?;
    }
    Ok(())
}

/// The bits of a string's state are not in the table: they can be believed only in a header that has not changed.
pub(super) fn check_strings_unchanged(
    layout: &Layout,
    base: &Layout,
) -> Result<(), DebugOffsetsError> {
    match (layout.unicode, base.unicode) {
        (Some(unicode), Some(known)) if unicode != known => {
            let (entry, value) = if unicode.state != known.state {
                ("unicode_object.state", unicode.state)
            } else if unicode.ascii_data != known.ascii_data {
                (ASCII_SIZE, unicode.ascii_data)
            } else {
                (COMPACT_SIZE, unicode.compact_data)
            };
            Err(implausible(entry, u64::from(value)))
        }
        _ => Ok(()),
    }
}
