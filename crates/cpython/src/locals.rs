//! Local variables of a thread's frames, in short.
//!
//! Only memory is read; nothing of the program is called, so an object of a class is its class's name and no more.

use crate::{
    Layout, ObjectLayout,
    objects::{Objects, limit_bytes},
};

/// Most frames followed, and most variables of one frame.
const FRAMES: usize = 512;
const VARIABLES: usize = 64;
/// Most bytes of memory read for one thread, each read counting as 64 more.
const READ_LIMIT: u64 = 4 * 1024 * 1024;
/// Characters of a text and bytes of a byte string that are shown.
const SHOWN: usize = 80;

/// The lowest bits of references from 3.14 on.
const REFERENCE_TAGS: u64 = 3;

/// `co_localspluskinds`: <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_code.h#L143>
mod kind {
    pub(super) const HIDDEN: u8 = 0x10;
    pub(super) const CELL: u8 = 0x40;
    pub(super) const FREE: u8 = 0x80;
}

/// Bits of `tp_flags`, the same in every version:
/// <https://github.com/python/cpython/blob/v3.13.0/Include/object.h#L536>
mod type_flag {
    pub(super) const HEAP: u32 = 9;
    pub(super) const INT: u32 = 23;
    pub(super) const LONG: u32 = 24;
    pub(super) const LIST: u32 = 25;
    pub(super) const TUPLE: u32 = 26;
    pub(super) const BYTES: u32 = 27;
    pub(super) const UNICODE: u32 = 28;
    pub(super) const DICT: u32 = 29;
}

/// The local variables of one Python frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLocals {
    /// The bare name of the frame's code: `co_name`.
    pub code_name: String,
    /// `co_firstlineno`.
    pub first_line: i32,
    /// Name and value in short, in the order of the code; those that are not set are left out.
    pub variables: Vec<(String, String)>,
}

/// Reads the local variables of the frames of a thread state (AVMA), innermost first.
///
/// Frames of CPython's own are among them. The caller makes sure that the thread has not run meanwhile: otherwise they mean
/// nothing. Where a frame cannot be followed, those before it are given.
pub fn read_locals(
    layout: &Layout,
    objects: &ObjectLayout,
    thread_state: u64,
    read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> Vec<FrameLocals> {
    let mut objects = Objects::new(layout, objects, limit_bytes(READ_LIMIT, read_memory));
    let mut found = Vec::new();
    let Some(mut frame) = innermost(&mut objects, thread_state) else {
        return found;
    };
    for _ in 0..FRAMES {
        let Some(locals) = read_frame(&mut objects, frame) else {
            break;
        };
        found.extend(locals);
        match objects.pointer(frame, layout.frame.previous) {
            Some(previous) => frame = previous,
            None => break,
        }
    }
    found
}

fn innermost<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    thread_state: u64,
) -> Option<u64> {
    let members = objects.layout.thread_state;
    let cframe = objects
        .layout
        .cframe
        .and_then(|cframe| cframe.current_frame);
    match (members.cframe, cframe) {
        (Some(at), Some(current)) => {
            let cframe = objects.pointer(thread_state, at)?;
            objects.pointer(cframe, current)
        }
        _ => objects.pointer(thread_state, members.current_frame.or(members.frame)?),
    }
}

/// `Some(None)` for a frame that is none of Python.
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the chain can be followed"
)]
fn read_frame<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    frame: u64,
) -> Option<Option<FrameLocals>> {
    let layout = objects.layout;
    if let (Some(owner), Some(entry)) = (layout.frame.owner, layout.frame.entry_owner)
        && objects.byte(frame, owner)? >= entry
    {
        return Some(None);
    }
    let code = objects.word(frame, layout.frame.code)? & !REFERENCE_TAGS;
    let name = objects.pointer(code, layout.code.name)?;
    let code_name = objects.text(name)?;
    let first_line = objects.word(code, layout.code.first_line)? as u32 as i32;
    let mut variables = Vec::new();
    for variable in list(objects, code).unwrap_or_default() {
        let Some(place) = u16::try_from(8 * variable.slot)
            .ok()
            .and_then(|offset| layout.frame.locals.checked_add(offset))
        else {
            break;
        };
        let Some(mut value) = objects.word(frame, place).filter(|value| *value != 0) else {
            continue;
        };
        if has_tags(layout) {
            if value & REFERENCE_TAGS == REFERENCE_TAGS {
                // A small number of the eval loop's own (3.15), no object.
                continue;
            }
            value &= !REFERENCE_TAGS;
            if value == 0 {
                // A slot that is not set is a tagged null.
                continue;
            }
        }
        if variable.in_cell {
            let Some(held) = in_cell(objects, value) else {
                continue;
            };
            value = held;
        }
        let shown = show(objects, value).unwrap_or_else(|| "<unreadable>".to_owned());
        variables.push((variable.name, shown));
    }
    Some(Some(FrameLocals {
        code_name,
        first_line,
        variables,
    }))
}

const fn has_tags(layout: &Layout) -> bool {
    layout.major == 3 && layout.minor >= 14
}

struct Variable {
    name: String,
    slot: usize,
    in_cell: bool,
}

/// The first variables of a code object, in the order of their slots.
fn list<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    code: u64,
) -> Option<Vec<Variable>> {
    let members = objects.layout.code;
    if let Some(plus) = objects.objects.code.clone() {
        let names = objects.pointer(code, plus.names)?;
        let kinds = objects.pointer(code, plus.kinds)?;
        let names = objects.tuple(names)?;
        let kinds = objects.byte_string(kinds, names.len())?;
        let mut found = Vec::new();
        let named = names.into_iter().zip(kinds).take(VARIABLES);
        for (slot, (name, kind)) in named.enumerate() {
            if kind & kind::HIDDEN == 0 {
                found.push(Variable {
                    name: objects.text(name)?,
                    slot,
                    in_cell: kind & (kind::CELL | kind::FREE) != 0,
                });
            }
        }
        return Some(found);
    }
    // To 3.10: locals, then cells. Captured arguments are in their cells, and their slots empty.
    let count = usize::try_from(objects.word(code, members.local_count?)? as u32).ok()?;
    let names = objects.pointer(code, members.variable_names?)?;
    let names = objects.tuple(names)?;
    let cells = objects.pointer(code, members.cell_names?)?;
    let cells = objects.tuple(cells)?;
    let mut found = Vec::new();
    let locals = names.into_iter().take(count.min(VARIABLES)).enumerate();
    for (slot, name) in locals {
        let name = objects.text(name)?;
        found.push(Variable {
            name,
            slot,
            in_cell: false,
        });
    }
    let left = VARIABLES.saturating_sub(found.len());
    for (index, name) in cells.into_iter().take(left).enumerate() {
        let name = objects.text(name)?;
        found.push(Variable {
            name,
            slot: count + index,
            in_cell: true,
        });
    }
    Some(found)
}

/// What a cell holds; the object itself where the slot holds none yet.
fn in_cell<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    value: u64,
) -> Option<u64> {
    let type_address = objects.type_of(value)?;
    match objects.type_name(type_address)?.as_str() {
        "cell" => objects.pointer(value, objects.objects.var.size),
        _ => Some(value),
    }
}

/// An object in short.
fn show<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    address: u64,
) -> Option<String> {
    let type_address = objects.type_of(address)?;
    let name = objects.type_name(type_address)?;
    let flags = objects.word(type_address, objects.layout.type_object.flags)?;
    let is = |bit: u32| flags >> bit & 1 == 1;
    let body = objects.objects.var.size;
    // 3 has no `int` beside `long`, and 3.12 gave the flag to types with items at their end.
    let is_plain = objects.layout.major == 2 && is(type_flag::INT);
    let value = if is_plain || is(type_flag::LONG) {
        match (objects.signed_number(address, is_plain), name.as_str()) {
            (Some(number), "bool") => Some(if number == 0 { "False" } else { "True" }.to_owned()),
            (Some(number), _) => Some(number.to_string()),
            (None, _) => return Some(format!("<{name}, large>")),
        }
    } else if is(type_flag::UNICODE) {
        Some(quote(&objects.unicode(address, SHOWN + 1)?))
    } else if is(type_flag::BYTES) {
        let length = objects.word(address, objects.layout.bytes.size)?;
        let shown = usize::try_from(length).ok()?.min(SHOWN + 1);
        Some(quote_bytes(&objects.byte_string(address, shown)?))
    } else if is(type_flag::LIST) || is(type_flag::TUPLE) {
        return Some(counted(&name, objects.word(address, body)?));
    } else if is(type_flag::DICT) {
        let used = if objects.layout.major == 2 {
            body + 8
        } else {
            body
        };
        return Some(counted(&name, objects.word(address, used)?));
    } else if is(type_flag::HEAP) {
        None
    } else {
        match name.as_str() {
            "NoneType" => Some("None".to_owned()),
            "float" => {
                let bits = objects.word(address, body)?;
                Some(format!("{:?}", f64::from_bits(bits)))
            }
            "set" | "frozenset" => return Some(counted(&name, objects.word(address, body + 8)?)),
            _ => None,
        }
    };
    Some(match value {
        // An object of a class derived from one of these: both are said.
        Some(value) if is(type_flag::HEAP) => format!("<{name} {value}>"),
        Some(value) => value,
        None => format!("<{name}>"),
    })
}

fn counted(name: &str, count: u64) -> String {
    format!("<{name} of {count}>")
}

fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

fn quote_bytes(bytes: &[u8]) -> String {
    let shown = bytes.get(..SHOWN).unwrap_or(bytes);
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    format!("b\"{}{more}\"", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_quoted() {
        assert_eq!(quote("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(quote(&"é".repeat(100)).chars().count(), SHOWN + 3);
        assert_eq!(quote_bytes(b"a\x00\xff"), r#"b"a\x00\xff""#);
        assert!(quote_bytes(&[b'a'; 200]).ends_with("…\""));
    }
}
