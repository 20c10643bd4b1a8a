//! What is read of an interpreter: line tables, its table of offsets, strings.

use std::process::Command;
use std::sync::LazyLock;

use viperf_cpython::line_table::LineTable;
use viperf_cpython::{
    Layout, LineTableKind, Version, find_layout, parse_debug_offsets, parse_debug_offsets_of_newer,
    text as python_text,
};

use crate::Target;

const KINDS: [LineTableKind; 4] = [
    LineTableKind::LnotabUnsigned,
    LineTableKind::LnotabSigned,
    LineTableKind::Ranges,
    LineTableKind::Locations,
];

/// Prints the line tables of some modules, one a line.
const PRINT_TABLES: &str = "
import argparse, json, typing, types
def show(code):
    print(getattr(code, 'co_linetable', getattr(code, 'co_lnotab', b'')).hex())
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            show(part)
for module in argparse, json, typing:
    with open(module.__file__, 'rb') as file:
        show(compile(file.read(), 'x', 'exec'))
";

/// Most of the tables are as short as these.
const MOST_TABLES: usize = 300;

/// Line tables: the first byte says of which kind and with what first line.
#[must_use]
pub fn line_tables() -> Target {
    Target {
        name: "line-tables",
        seeds: line_table_seeds,
        read: |bytes| {
            let Some((&choice, table)) = bytes.split_first() else {
                return;
            };
            let Some(&kind) = KINDS.get(usize::from(choice & 3)) else {
                return;
            };
            let first_line = i32::from(choice) << (choice % 25);
            let decoded = LineTable::decode(kind, table, first_line);
            for position in [-1, 0, 1, 2, 17, 300, 70_000, i32::MAX, i32::MIN] {
                let found = decoded.find(position);
                assert_eq!(found, kind.find_position(table, first_line, position));
                assert_eq!(
                    decoded.find_line(position),
                    kind.find_line(table, first_line, position)
                );
            }
        },
        allocation_limit: |length| length * 8 + (1 << 16),
    }
}

fn line_table_seeds() -> Vec<Vec<u8>> {
    let output = Command::new("python3").args(["-c", PRINT_TABLES]).output();
    let printed = output.map(|output| output.stdout).unwrap_or_default();
    let tables = printed.split(|byte| *byte == b'\n').take(MOST_TABLES);
    let mut seeds: Vec<Vec<u8>> = (0..4)
        .flat_map(|kind| tables.clone().map(move |table| seed(kind, table)))
        .collect();
    // lnotab: one line each; ranges: with and without a line; locations: a short and a long form.
    seeds.extend([
        vec![0, 2, 1, 4, 1, 0, 200],
        vec![1, 2, 1, 4, 255, 0, 127],
        vec![2, 2, 1, 4, 128, 6, 0],
        vec![3, 0x80, 0x11, 0xf0, 1, 2, 3, 4],
    ]);
    seeds
}

fn seed(kind: u8, hexadecimal: &[u8]) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let table = hexadecimal.chunks_exact(2).filter_map(byte);
    std::iter::once(kind).chain(table).collect()
}

/// The table of offsets at the start of `_PyRuntime`, for each version that has one.
#[must_use]
pub fn debug_offsets() -> Target {
    Target {
        name: "debug-offsets",
        seeds: debug_offset_seeds,
        read: |bytes| {
            for layout in LAYOUTS.iter() {
                let _ = parse_debug_offsets(bytes, layout);
                let _ = parse_debug_offsets_of_newer(bytes, layout);
            }
        },
        // The layouts themselves, from their text, and copies of them.
        allocation_limit: |length| length + (1 << 20),
    }
}

/// Those that take anything from the table.
static LAYOUTS: LazyLock<Vec<Layout>> = LazyLock::new(|| {
    let known = (13..=15).flat_map(|minor| {
        [false, true].map(|free_threaded| find_layout(final_of(minor), free_threaded))
    });
    known.flatten().collect()
});

/// The final release of 3.minor.
fn final_of(minor: u32) -> Version {
    Version {
        hex: 0x0300_00f0 | minor << 16,
    }
}

/// No interpreter needs to be there: a cookie, a version, and numbers that may be offsets.
fn debug_offset_seeds() -> Vec<Vec<u8>> {
    (13..=16)
        .flat_map(|minor| [0_u64, 1].map(|free_threaded| (minor, free_threaded)))
        .map(|(minor, free_threaded)| {
            let mut bytes = b"xdebugpy".to_vec();
            bytes.extend(u64::from(final_of(minor).hex).to_le_bytes());
            bytes.extend(free_threaded.to_le_bytes());
            for number in 0..120_u64 {
                let value = if number % 9 == 0 {
                    4096
                } else {
                    number % 9 * 8
                };
                bytes.extend(value.to_le_bytes());
            }
            bytes
        })
        .collect()
}

/// Strings: the first byte says how wide their characters are.
#[must_use]
pub fn text() -> Target {
    Target {
        name: "text",
        seeds: || {
            let wide = "größe \u{1f40d}".encode_utf16().flat_map(u16::to_le_bytes);
            vec![
                b"\x01plain".to_vec(),
                std::iter::once(2).chain(wide).collect(),
                vec![4, 0x0d, 0xf4, 1, 0, 0x80, 0xdc, 0, 0],
                vec![2, 0x80, 0xdc, 0x00, 0xd8],
            ]
        },
        read: |bytes| {
            if let Some((&choice, characters)) = bytes.split_first() {
                let decoded = python_text::decode(choice & 7, choice & 8 != 0, characters);
                std::hint::black_box(decoded);
            }
        },
        allocation_limit: |length| length * 32 + (1 << 16),
    }
}
