use super::*;
use crate::find_layout;

/// The tables of real builds, and which they are.
const TABLES: [(u32, bool, &str); 6] = [
    (0x030d_00f0, false, include_str!("tables/3.13.txt")),
    (0x030d_00f0, true, include_str!("tables/3.13t.txt")),
    (0x030e_00f0, false, include_str!("tables/3.14.txt")),
    (0x030e_00f0, true, include_str!("tables/3.14t.txt")),
    (0x030f_00f0, false, include_str!("tables/3.15.txt")),
    (0x030f_00f0, true, include_str!("tables/3.15t.txt")),
];

/// A version that does not exist yet.
const NEWER: u64 = 0x0310_00f0;

fn entries(text: &str) -> impl Iterator<Item = (&str, u64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (name, value) = line.split_once(' ').unwrap();
        (name, value.parse().unwrap())
    })
}

fn bytes(text: &str) -> Vec<u8> {
    let values = entries(text).flat_map(|(_, value)| value.to_le_bytes());
    COOKIE.iter().copied().chain(values).collect()
}

fn put(bytes: &mut [u8], position: u16, value: u64) {
    let position = usize::from(position);
    bytes[position..position + 8].copy_from_slice(&value.to_le_bytes());
}

fn tables() -> impl Iterator<Item = (Layout, Vec<u8>)> {
    TABLES.into_iter().map(|(hex, free_threaded, text)| {
        let layout = find_layout(Version { hex }, free_threaded).unwrap();
        (layout, bytes(text))
    })
}

#[test]
fn the_tables_of_real_builds_agree_with_the_layout_files() {
    for (layout, table) in tables() {
        let (version, free_threaded) = parse_header(&table).unwrap();
        assert_eq!(
            (version.major(), version.minor()),
            (layout.major, layout.minor)
        );
        assert_eq!(free_threaded, layout.free_threaded);
        assert_eq!(parse_debug_offsets(&table, &layout), Ok(layout));
    }
}

#[test]
fn layout_files_have_every_entry_where_the_struct_has_it() {
    for (hex, free_threaded, text) in TABLES {
        let layout = find_layout(Version { hex }, free_threaded).unwrap();
        for (name, &position) in &layout.debug_offsets {
            let found = entries(text).position(|(entry, _)| entry == name);
            assert_eq!(
                found.map(|index| index * 8 + 8),
                Some(usize::from(position)),
                "{name}"
            );
        }
    }
}

#[test]
fn every_entry_a_layout_lists_is_read_and_every_member_it_has_is_listed() {
    for (mut layout, _) in tables() {
        let listed = layout.debug_offsets.clone();
        for name in listed.keys() {
            let is_read = ENTRIES.iter().any(|entry| entry.0 == name);
            assert!(is_read || name.ends_with(".size"), "{name}");
        }
        for Entry(name, _, field) in ENTRIES {
            let has_member = field(&mut layout).is_some();
            // The one member that not every table has although every build has it.
            let is_listed = listed.contains_key(name) || name == COMPACT_SIZE;
            assert_eq!(has_member, is_listed, "{name}");
        }
    }
}

#[test]
fn the_table_wins_over_the_file() {
    for (base, mut table) in tables() {
        let mut moved = base.clone();
        moved.interpreter.threads_head += 24;
        moved.code.filename = base.code.name;
        moved.code.name = base.code.filename;
        moved.thread_state.native_thread_id = base.thread_state.native_thread_id.map(|at| at + 8);
        for Entry(name, _, field) in ENTRIES {
            if let (Some(value), Some(&position)) =
                (field(&mut moved), base.debug_offsets.get(name))
            {
                put(&mut table, position, u64::from(*value));
            }
        }
        assert_eq!(parse_debug_offsets(&table, &base), Ok(moved));
    }
}

#[test]
fn longer_string_headers_move_both_kinds_of_data() {
    let (base, mut table) = tables().next().unwrap();
    put(&mut table, base.debug_offsets[ASCII_SIZE], 48);
    let unicode = parse_debug_offsets(&table, &base).unwrap().unicode.unwrap();
    assert_eq!((unicode.ascii_data, unicode.compact_data), (48, 64));
}

#[test]
fn tables_of_another_version_or_build_are_refused() {
    for (base, table) in tables() {
        assert_eq!(
            parse_debug_offsets(&[], &base),
            Err(DebugOffsetsError::NoCookie)
        );
        assert_eq!(
            parse_debug_offsets(&[0; 888], &base),
            Err(DebugOffsetsError::NoCookie)
        );
        for (other, _) in tables() {
            let result = parse_debug_offsets(&table, &other);
            if base.free_threaded != other.free_threaded {
                let free_threaded = base.free_threaded;
                assert_eq!(result, Err(DebugOffsetsError::WrongBuild { free_threaded }));
            } else if base.minor != other.minor {
                assert!(matches!(
                    result,
                    Err(DebugOffsetsError::WrongVersion { found, .. }) if found.minor() == base.minor
                ));
            }
        }
        let mut beta = table.clone();
        let hex = u64::from(base.minor) << 16 | 0x0300_00b1;
        put(&mut beta, VERSION, hex);
        let result = parse_debug_offsets(&beta, &base);
        assert!(matches!(
            result,
            Err(DebugOffsetsError::WrongVersion { .. })
        ));
    }
}

#[test]
fn a_table_cut_short_is_refused() {
    for (base, table) in tables() {
        for length in 24..table_size(&base) {
            assert!(matches!(
                parse_debug_offsets(&table[..length], &base),
                Err(DebugOffsetsError::TooShort { .. })
            ));
        }
        assert!(parse_debug_offsets(&table[..table_size(&base)], &base).is_ok());
    }
}

#[test]
fn values_outside_their_struct_or_not_aligned_are_refused() {
    for (base, table) in tables() {
        for Entry(name, width, _) in ENTRIES {
            let Some(&position) = base.debug_offsets.get(name) else {
                continue;
            };
            let mut values = vec![1 << 24, u64::MAX, 1 << 40];
            if width > 1 {
                values.push(width + 1);
            }
            for value in values {
                let mut bytes = table.clone();
                put(&mut bytes, position, value);
                let entry = name.to_owned();
                let refused = Err(DebugOffsetsError::Implausible { entry, value });
                assert_eq!(parse_debug_offsets(&bytes, &base), refused);
            }
        }
    }
}

#[test]
fn members_that_would_share_bytes_are_refused() {
    for (base, table) in tables() {
        for (first, second) in [
            ("code_object.filename", "code_object.name"),
            ("code_object.qualname", "code_object.linetable"),
            ("interpreter_frame.executable", "interpreter_frame.previous"),
            (
                "interpreter_frame.instr_ptr",
                "interpreter_frame.localsplus",
            ),
            ("thread_state.current_frame", "thread_state.thread_id"),
        ] {
            let mut bytes = table.clone();
            let from = usize::from(base.debug_offsets[first]);
            let copied = u64::from_le_bytes(*bytes[from..].first_chunk().unwrap());
            put(&mut bytes, base.debug_offsets[second], copied);
            let result = parse_debug_offsets(&bytes, &base);
            assert!(
                matches!(result, Err(DebugOffsetsError::Overlap { .. })),
                "{second}"
            );
        }
    }
}

#[test]
fn a_newer_version_with_the_newest_shape_is_read() {
    for (base, mut table) in tables().filter(|(layout, _)| layout.minor == 15) {
        put(&mut table, VERSION, NEWER);
        let mut expected = base.clone();
        expected.minor = 16;
        assert_eq!(parse_debug_offsets_of_newer(&table, &base), Ok(expected));
        // Not by the one that knows its version, and not a known version by this one.
        assert!(parse_debug_offsets(&table, &base).is_err());
        put(&mut table, VERSION, 0x030f_02f0);
        assert!(parse_debug_offsets_of_newer(&table, &base).is_err());
    }
}

#[test]
fn what_the_table_of_a_newer_version_cannot_tell_is_dropped_when_its_surroundings_moved() {
    for (base, mut table) in tables().filter(|(layout, _)| layout.minor == 15) {
        put(&mut table, VERSION, NEWER);
        let moved = base.code.instructions.map(|at| at + 8);
        put(
            &mut table,
            base.debug_offsets["code_object.size"],
            u64::from(moved.unwrap()) + 8,
        );
        put(
            &mut table,
            base.debug_offsets["code_object.co_code_adaptive"],
            u64::from(moved.unwrap()),
        );
        let code = parse_debug_offsets_of_newer(&table, &base).unwrap().code;
        assert_eq!(code.instructions, moved);
        assert_eq!((code.version, code.first_traceable), (None, None));
    }
}

#[test]
fn a_newer_version_whose_strings_changed_is_refused() {
    for (base, mut table) in tables().filter(|(layout, _)| layout.minor == 15) {
        put(&mut table, VERSION, NEWER);
        let state = base.unicode.unwrap().state + 4;
        put(
            &mut table,
            base.debug_offsets["unicode_object.state"],
            u64::from(state),
        );
        assert!(matches!(
            parse_debug_offsets_of_newer(&table, &base),
            Err(DebugOffsetsError::Implausible { entry, .. }) if entry == "unicode_object.state"
        ));
    }
}

/// Three minor versions gave the table three shapes; each stands in for one that is not known yet.
#[test]
fn a_newer_table_of_another_shape_is_refused() {
    for (base, _) in tables() {
        for (other, mut table) in tables() {
            let is_same_build = base.free_threaded == other.free_threaded;
            if !is_same_build || base.minor == other.minor {
                continue;
            }
            put(&mut table, VERSION, NEWER);
            table.resize(1024, 0);
            let result = parse_debug_offsets_of_newer(&table, &base);
            assert!(result.is_err(), "{} read as {}", other.minor, base.minor);
        }
    }
}

/// An entry put in anywhere moves all entries behind it.
#[test]
fn a_newer_table_with_entries_put_in_or_taken_out_is_refused() {
    for (base, mut table) in tables().filter(|(layout, _)| layout.minor == 15) {
        put(&mut table, VERSION, NEWER);
        for position in (24..table_size(&base)).step_by(8) {
            for value in [0_u64, 8, 16, 64, 200, 4096] {
                let mut longer = table.clone();
                longer.splice(position..position, value.to_le_bytes());
                let result = parse_debug_offsets_of_newer(&longer, &base);
                assert_wrong_shape(result, &base, position);
            }
            let mut shorter = table.clone();
            shorter.drain(position..position + 8);
            let result = parse_debug_offsets_of_newer(&shorter, &base);
            assert_wrong_shape(result, &base, position);
        }
    }
}

/// Refused; or else nothing that is read has changed.
fn assert_wrong_shape(result: Result<Layout, DebugOffsetsError>, base: &Layout, position: usize) {
    if let Ok(mut layout) = result {
        layout.minor = base.minor;
        assert_eq!(&layout, base, "changed at {position}");
    }
}
