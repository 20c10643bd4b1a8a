//! What is sent of a code object, and when it is sent again.

use viperf_abi::{CODE_SHIM, limit};
use viperf_cpython::Layout;
use viperf_host_walk::Walk;

use crate::{
    image::{Code, Image, Stack, layouts, name_of},
    layout::line_table_kind,
    session::{Session, decode, definition},
};

/// One frame of one function.
fn image_of(layout: Layout, code: &Code<'_>) -> (Image, Stack, u64) {
    let mut image = Image::new(layout);
    let mut stack = image.add_main();
    let code = image.code(code);
    let frame = image.frame(code, 3);
    image.run(&mut stack, &[frame]);
    (image, stack, code)
}

/// The pointer to the name that is shown, in a code object.
fn name_offset(layout: &Layout) -> u64 {
    layout.code.qualname.unwrap_or(layout.code.name).into()
}

#[test]
fn a_definition_says_what_the_code_object_says() {
    let table: Vec<u8> = (0..100).collect();
    for layout in layouts() {
        let name = name_of(&layout);
        let code = Code {
            name: "method",
            qualname: "Class.method",
            filename: "/srv/app/spam.py",
            first_line: 1234,
            line_table: &table,
            ..Code::default()
        };
        let shown = match layout.code.qualname {
            Some(_) => "Class.method",
            None => "method",
        };
        let (image, stack, address) = image_of(layout, &code);
        let walk = Session::default().walk_stack(&image, &stack);
        let definition = definition(&walk, shown);
        let record = &definition.code;
        assert_eq!(decode(record.filename()), "/srv/app/spam.py", "{name}");
        assert!(record.qualname().is_whole() && record.filename().is_whole());
        assert_eq!(
            (record.address, record.first_line, record.flags),
            (address, 1234, 0)
        );
        assert_eq!((record.epoch, record.line_table_size), (1, 100));
        assert_eq!(definition.line_table, table, "{name}");
        assert_eq!(
            line_table_kind(record.line_table_kind),
            Some(image.layout.line_table)
        );
    }
}

#[test]
fn strings_of_every_width_come_whole() {
    for layout in layouts() {
        let name = name_of(&layout);
        let longest = "x".repeat(limit::MAX_TEXT_BYTES);
        for text in [
            "",
            "plain",
            "gr\u{f6}\u{df}e",
            "\u{444}\u{430}\u{439}\u{43b}",
            "\u{1f40d}s",
            "a;b'c\"\n",
            &longest,
        ] {
            let code = Code {
                name: text,
                qualname: text,
                filename: text,
                ..Code::default()
            };
            let (image, stack, _) = image_of(layout.clone(), &code);
            let walk = Session::default().walk_stack(&image, &stack);
            let [definition] = &walk.definitions[..] else {
                panic!("{name}: {:?}", walk.definitions)
            };
            for captured in [definition.code.qualname(), definition.code.filename()] {
                assert!(captured.is_whole(), "{name} {text}");
                assert_eq!(decode(captured), text, "{name}");
            }
        }
    }
}

#[test]
fn a_string_that_is_too_long_comes_as_far_as_there_is_room_and_says_so() {
    for layout in layouts() {
        let name = name_of(&layout);
        for text in [
            "x".repeat(1025),
            "\u{444}".repeat(600),
            "\u{1f40d}".repeat(300),
        ] {
            let code = Code {
                name: &text,
                qualname: &text,
                ..Code::default()
            };
            let (image, stack, _) = image_of(layout.clone(), &code);
            let walk = Session::default().walk_stack(&image, &stack);
            let captured = walk.definitions[0].code.qualname();
            assert!(
                !captured.is_whole() && captured.bytes.len() == limit::MAX_TEXT_BYTES,
                "{name}"
            );
            if layout.unicode.is_some() {
                assert_eq!(
                    captured.header.length as usize,
                    text.chars().count(),
                    "{name}"
                );
                assert!(text.starts_with(&decode(captured)), "{name}");
            }
        }
    }
}

#[test]
fn a_line_table_comes_as_far_as_there_is_room_and_says_so() {
    for layout in layouts() {
        let name = name_of(&layout);
        for size in [0, 1, 8191, 8192, 8193, 30_000] {
            let table: Vec<u8> = (0..size).map(|index| index as u8).collect();
            let code = Code {
                line_table: &table,
                ..Code::default()
            };
            let (image, stack, _) = image_of(layout.clone(), &code);
            let walk = Session::default().walk_stack(&image, &stack);
            let definition = definition(&walk, "f");
            assert_eq!(definition.code.line_table_size, size, "{name}");
            let captured = table.len().min(limit::MAX_LINE_TABLE_BYTES);
            assert_eq!(definition.line_table, table[..captured], "{name}");
        }
    }
}

#[test]
fn hostile_lengths_are_captured_as_nothing() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (image, stack, code) = image_of(layout, &Code::default());
        for length in [1 << 31, 1 << 62, 1 << 63, u64::MAX, (1 << 62) + 1] {
            let mut image = image.clone();
            let text = image.word(code + name_offset(&image.layout));
            let length_offset = match image.layout.unicode {
                Some(fields) => fields.length,
                None => image.layout.bytes.size,
            };
            image.set(text + u64::from(length_offset), length);
            let table = image.word(code + u64::from(image.layout.code.line_table));
            image.set(table + u64::from(image.layout.bytes.size), length);
            let walk = Session::default().walk_stack(&image, &stack);
            let record = &walk.definitions[0].code;
            assert_eq!(
                (record.qualname.kind, record.qualname.captured),
                (0, 0),
                "{name}"
            );
            assert_eq!(
                (record.line_table_size, record.line_table_captured),
                (0, 0),
                "{name}"
            );
            // User space may still try.
            assert_eq!(
                (record.qualname.address, record.line_table_address),
                (text, table),
                "{name}"
            );
        }
    }
}

#[test]
fn kinds_of_strings_that_there_are_not_are_captured_as_nothing() {
    for layout in layouts() {
        let Some(fields) = layout.unicode else {
            continue;
        };
        let name = name_of(&layout);
        let (image, stack, code) = image_of(layout, &Code::default());
        let compact = 1 << fields.compact_bit;
        let kind = |kind: u32| kind << fields.kind_shift;
        for state in [
            0,
            compact,
            compact | kind(3),
            compact | kind(5),
            compact | kind(7),
            kind(1),
            u32::MAX,
        ] {
            let mut image = image.clone();
            let text = image.word(code + name_offset(&image.layout));
            image.set_half(text + u64::from(fields.state), state);
            let walk = Session::default().walk_stack(&image, &stack);
            assert_eq!(
                walk.definitions[0].code.qualname.kind, 0,
                "{name} {state:#x}"
            );
        }
    }
}

#[test]
fn code_that_cpython_made_up_itself_is_marked() {
    for layout in layouts() {
        let name = name_of(&layout);
        for (first_line, same, expected) in [(0, true, CODE_SHIM), (0, false, 0), (1, true, 0)] {
            let code = Code {
                first_line,
                ..Code::default()
            };
            let (mut image, stack, address) = image_of(layout.clone(), &code);
            if same {
                let fields = image.layout.code;
                let text = image.word(address + u64::from(fields.name));
                image.set(address + u64::from(fields.filename), text);
            }
            let walk = Session::default().walk_stack(&image, &stack);
            assert_eq!(walk.definitions[0].code.flags, expected, "{name}");
        }
    }
}

/// How many definitions a second walk sends after a change to the image.
fn definitions_after(
    layout: &Layout,
    code: &Code<'_>,
    change: impl FnOnce(&mut Image, u64),
) -> Walk {
    let (mut image, stack, address) = image_of(layout.clone(), code);
    let mut session = Session::default();
    assert_eq!(session.walk_stack(&image, &stack).definitions.len(), 1);
    change(&mut image, address);
    session.walk_stack(&image, &stack)
}

#[test]
fn a_code_object_is_defined_once() {
    for layout in layouts() {
        let name = name_of(&layout);
        let walk = definitions_after(&layout, &Code::default(), |_, _| {});
        assert_eq!(walk.definitions.len(), 0, "{name}");
    }
}

#[test]
fn another_code_object_at_the_same_address_is_defined_anew() {
    let changed = [
        Code {
            name: "g",
            qualname: "g",
            ..Code::default()
        },
        Code {
            filename: "/g.py",
            ..Code::default()
        },
        Code {
            first_line: 2,
            ..Code::default()
        },
        Code {
            line_table: &[1; 40],
            ..Code::default()
        },
    ];
    for layout in layouts() {
        let name = name_of(&layout);
        for code in &changed {
            let walk = definitions_after(&layout, &Code::default(), |image, address| {
                let other = image.code(code);
                let size = usize::from(image.layout.code.size());
                let mut bytes = vec![0; size];
                image.read(other, &mut bytes);
                image.write(address, &bytes);
            });
            assert_eq!(walk.definitions.len(), 1, "{name} {code:?}");
        }
    }
}

#[test]
fn a_code_object_whose_parts_lie_where_the_former_ones_lay_is_told_apart() {
    // Same function made again: all objects of the same sizes come to lie at the same addresses.
    for layout in layouts() {
        let name = name_of(&layout);
        let long = "n".repeat(100);
        for text in ["f0", long.as_str()] {
            let code = Code {
                name: text,
                qualname: text,
                ..Code::default()
            };
            let walk = definitions_after(&layout, &code, |image, address| {
                let object = image.word(address + name_offset(&image.layout));
                let data = match image.layout.unicode {
                    Some(fields) => fields.ascii_data,
                    None => image.layout.bytes.data,
                };
                image.write(object + u64::from(data) + text.len() as u64 - 1, b"1");
                if let Some(offset) = image.layout.code.version {
                    image.set_half(address + u64::from(offset), 1);
                }
            });
            assert_eq!(walk.definitions.len(), 1, "{name} {text}");
        }
        // The same for the lines.
        let walk = definitions_after(&layout, &Code::default(), |image, address| {
            let table = image.word(address + u64::from(image.layout.code.line_table));
            image.write(table + u64::from(image.layout.bytes.data), &[9]);
            if let Some(offset) = image.layout.code.version {
                image.set_half(address + u64::from(offset), 1);
            }
        });
        assert_eq!(walk.definitions.len(), 1, "{name}");
    }
}

#[test]
fn what_lies_behind_short_names_and_line_tables_is_not_part_of_the_code_object() {
    for layout in layouts() {
        let name = name_of(&layout);
        let code = Code {
            line_table: &[0, 1, 2, 3, 4, 5],
            ..Code::default()
        };
        let walk = definitions_after(&layout, &code, |image, address| {
            let table = image.word(address + u64::from(image.layout.code.line_table));
            let end = table + u64::from(image.layout.bytes.data) + 6 + 1;
            // The neighbour's reference count.
            image.set(end.next_multiple_of(16), 77);
        });
        assert_eq!(walk.definitions.len(), 0, "{name}: behind the line table");
        let walk = definitions_after(&layout, &Code::default(), |image, address| {
            let text = image.word(address + name_offset(&image.layout));
            let data = match image.layout.unicode {
                Some(fields) => fields.ascii_data,
                None => image.layout.bytes.data,
            };
            image.set((text + u64::from(data) + 2).next_multiple_of(16), 77);
        });
        assert_eq!(walk.definitions.len(), 0, "{name}: behind the name");
    }
}

#[test]
fn a_name_that_cannot_be_read_is_sent_again_until_it_can() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (mut image, stack, code) = image_of(layout, &Code::default());
        let text = image.word(code + name_offset(&image.layout));
        image.set(code + name_offset(&image.layout), 0x6666_0000);
        let mut session = Session::default();
        for _ in 0..2 {
            let walk = session.walk_stack(&image, &stack);
            assert_eq!(walk.definitions.len(), 1, "{name}");
            let qualname = walk.definitions[0].code.qualname;
            assert_eq!(
                (qualname.kind, qualname.address),
                (0, 0x6666_0000),
                "{name}"
            );
        }
        image.set(code + name_offset(&image.layout), text);
        assert_eq!(
            session.walk_stack(&image, &stack).definitions.len(),
            1,
            "{name}"
        );
        assert_eq!(
            session.walk_stack(&image, &stack).definitions.len(),
            0,
            "{name}"
        );
    }
}

#[test]
fn a_full_ring_ends_the_walk_with_a_reason_and_the_definition_comes_later() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (image, stack, _) = image_of(layout, &Code::default());
        let mut session = Session::default();
        session.walker.ring_is_full = true;
        assert_eq!(
            session.show_stack(&image, &stack),
            "!PythonCodeLost",
            "{name}"
        );
        session.walker.ring_is_full = false;
        assert!(
            session.show_stack(&image, &stack).starts_with("f+3"),
            "{name}"
        );
    }
}

#[test]
fn one_sample_defines_a_bounded_number_of_code_objects() {
    for layout in layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        let frames: Vec<u64> = (0..300)
            .map(|number| image.frame_of(&format!("f{number}"), 0))
            .collect();
        image.run(&mut stack, &frames);
        let mut session = Session::default();
        let walk = session.walk_stack(&image, &stack);
        assert_eq!(
            walk.definitions.len(),
            limit::MAX_DEFINITIONS_PER_SAMPLE,
            "{name}"
        );
        assert!(session.show(&walk).ends_with("!PythonCodeLost"), "{name}");
        let walk = session.walk_stack(&image, &stack);
        assert_eq!(
            walk.definitions.len(),
            300 - limit::MAX_DEFINITIONS_PER_SAMPLE,
            "{name}"
        );
        assert!(!session.show(&walk).contains('!'), "{name}");
    }
}
