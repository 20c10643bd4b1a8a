//! The C header of a model: a layout file's offsets, and the table of offsets that such an interpreter has in it.
//!
//! ```text
//! AT_STRUCT_MEMBER   a number of the layout file
//! SIZE_STRUCT        bytes, for each struct whose size is in the table
//! DEBUG_OFFSETS      the 64-bit words of `_Py_DebugOffsets`, as initializers
//! ```

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use toml::{Table, Value};

/// The structs of the table, and what a layout file calls them.
const STRUCTS: [(&str, &str); 10] = [
    ("runtime_state", "_PyRuntimeState"),
    ("interpreter_state", "PyInterpreterState"),
    ("thread_state", "PyThreadState"),
    ("interpreter_frame", "_PyInterpreterFrame"),
    ("code_object", "PyCodeObject"),
    // Layout files keep the header of all objects with code objects.
    ("pyobject", "PyCodeObject"),
    ("type_object", "PyTypeObject"),
    ("tuple_object", "PyTupleObject"),
    ("bytes_object", "PyBytesObject"),
    ("unicode_object", "PyUnicodeObject"),
];

/// Structs that go on far behind the members that anyone reads.
const LARGE: [&str; 3] = ["runtime_state", "interpreter_state", "thread_state"];

/// A table of another shape than its version's: one entry more, at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExtraEntry(pub(super) u64);

/// The layout file of a version and build, such as `3.14t`.
pub(super) fn read_layout(name: &str) -> Result<Table> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/cpython/layouts");
    let path = folder.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

/// The header that makes the model an interpreter of that layout.
pub(super) fn encode_header(layout: &Table, extra: Option<ExtraEntry>) -> Result<String> {
    let free_threaded = u64::from(layout.get("free_threaded") == Some(&Value::Boolean(true)));
    let (major, minor) = (number(layout, "major")?, number(layout, "minor")?);
    let version = major << 24 | minor << 16 | 0xf0;
    let mut header = String::new();
    writeln!(header, "#define VERSION_HEX {version:#x}")?;
    writeln!(header, "#define MINOR {minor}")?;
    for (structure, members) in layout {
        let members = members.as_table().filter(|_| structure != TABLE);
        for (member, offset) in members.into_iter().flatten() {
            writeln!(header, "#define AT_{structure}_{member} {offset}")?;
        }
    }
    let entries = table_entries(layout)?;
    for (name, _, size) in entries.iter().filter(|entry| entry.0.ends_with(SIZE)) {
        let name = name.trim_end_matches(SIZE);
        writeln!(header, "#define SIZE_{name} {size}")?;
    }
    let cookie = u64::from_le_bytes(*b"xdebugpy");
    let mut words = BTreeMap::from([(0, cookie), (8, version), (16, free_threaded)]);
    for (_, position, value) in entries {
        let is_moved = extra.is_some_and(|ExtraEntry(place)| position >= place);
        words.insert(position + if is_moved { 8 } else { 0 }, value);
    }
    let words: Vec<_> = words
        .iter()
        .map(|(position, value)| format!("[{}] = {value:#x}", position / 8))
        .collect();
    writeln!(header, "#define DEBUG_OFFSETS {}", words.join(", "))?;
    Ok(header)
}

const TABLE: &str = "_Py_DebugOffsets";
const SIZE: &str = ".size";

/// Every entry of the table that the layout file lists: name, place, value.
fn table_entries(layout: &Table) -> Result<Vec<(String, u64, u64)>> {
    let positions = table(layout, TABLE)?;
    let entry = |name: &String| {
        let (structure, member) = name.split_once('.').context("an entry without a dot")?;
        let (_, own_name) = STRUCTS
            .iter()
            .find(|(known, _)| *known == structure)
            .with_context(|| format!("no struct is known for the entry {name}"))?;
        let members = table(layout, own_name)?;
        let value = if name.ends_with(SIZE) {
            size_of(structure, members)?
        } else {
            find_member(members, member).with_context(|| format!("no member for {name}"))?
        };
        Ok((name.clone(), number(positions, name)?, value))
    };
    positions.keys().map(entry).collect()
}

/// The member that an entry is about: CPython leaves prefixes away in the table.
fn find_member(members: &Table, entry: &str) -> Option<u64> {
    let other_name = match entry {
        "asciiobject_size" => "ascii_data",
        "compactunicodeobject_size" => "compact_data",
        _ => entry,
    };
    ["", "f_", "co_"]
        .iter()
        .find_map(|prefix| number(members, &format!("{prefix}{other_name}")).ok())
}

/// Large enough for all members that the layout has.
fn size_of(structure: &str, members: &Table) -> Result<u64> {
    if structure == "pyobject" {
        return Ok(number(members, "ob_type")? + 8);
    }
    let last = members.values().filter_map(Value::as_integer).max();
    let end = u64::try_from(last.context("a struct without members")?)? + 8;
    let unit = if LARGE.contains(&structure) { 4096 } else { 8 };
    Ok(end.next_multiple_of(unit))
}

fn table<'layout>(layout: &'layout Table, name: &str) -> Result<&'layout Table> {
    let found = layout.get(name).and_then(Value::as_table);
    found.with_context(|| format!("the layout has no table {name}"))
}

fn number(table: &Table, key: &str) -> Result<u64> {
    let found = table.get(key).and_then(Value::as_integer);
    let found = found.with_context(|| format!("the layout has no number {key}"))?;
    Ok(u64::try_from(found)?)
}
