//! The class of a method by its first argument, before code objects had qualified names (3.11).

use viperf_abi::{CODE_CLASS, CODE_OLD_CLASS, CodeRecord};
use viperf_cpython::Layout;

use crate::{
    image::{Code, Image, layouts, name_of},
    session::{Session, definition},
};

/// `Py_TPFLAGS_TYPE_SUBCLASS`: the instances of such a type are types.
const TYPE_SUBCLASS: u64 = 1 << 31;

fn old_layouts() -> impl Iterator<Item = Layout> {
    layouts().filter(|layout| layout.code.qualname.is_none())
}

/// What is known of a function `method` of these arguments and cells whose frame is made ready by `fill`.
fn define(
    image: &mut Image,
    arguments: &[&str],
    cells: &[&str],
    fill: impl FnOnce(&mut Image, u64),
) -> Box<CodeRecord> {
    let mut stack = image.add_main();
    let code = image.code(&Code {
        name: "method",
        arguments,
        cells,
        ..Code::default()
    });
    let frame = image.frame(code, 0);
    image.run(&mut stack, &[frame]);
    fill(image, frame);
    let walk = Session::default().walk_stack(image, &stack);
    definition(&walk, "method").code.clone()
}

fn class_name(code: &CodeRecord) -> String {
    let name = code.class_name.iter().take_while(|byte| **byte != 0);
    String::from_utf8_lossy(&name.copied().collect::<Vec<_>>()).into_owned()
}

/// A class made by a `class` statement, and an instance of it.
fn class_and_instance(image: &mut Image, name: &str) -> (u64, u64) {
    let metaclass = image.type_object("type", TYPE_SUBCLASS, 0);
    let class = image.type_object(name, 0, metaclass);
    (class, image.object(class, 0))
}

#[test]
fn self_gives_the_class_of_the_instance() {
    for layout in old_layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let (class, instance) = class_and_instance(&mut image, "Spam");
        let code = define(&mut image, &["self", "other"], &[], |image, frame| {
            image.set_local(frame, 0, instance);
        });
        assert_eq!(
            (code.flags, code.class_address),
            (CODE_CLASS, class),
            "{name}"
        );
        assert_eq!(class_name(&code), "Spam", "{name}");
    }
}

#[test]
fn cls_gives_the_class_itself() {
    for layout in old_layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let (class, _) = class_and_instance(&mut image, "Spam");
        let code = define(&mut image, &["cls"], &[], |image, frame| {
            image.set_local(frame, 0, class);
        });
        assert_eq!(
            (code.flags, code.class_address),
            (CODE_CLASS, class),
            "{name}"
        );
        assert_eq!(class_name(&code), "Spam", "{name}");
    }
}

#[test]
fn a_first_argument_that_an_inner_function_uses_is_in_its_cell() {
    for layout in old_layouts() {
        let name = name_of(&layout);
        for cells in [&["self"][..], &["a", "b", "self"]] {
            let mut image = Image::new(layout.clone());
            let (class, instance) = class_and_instance(&mut image, "Spam");
            let in_cell = image.object(0, instance);
            let other = image.object(0, 0x1234);
            let code = define(&mut image, &["self", "x"], cells, |image, frame| {
                // After the two arguments, in the order of the cells.
                for (index, cell) in cells.iter().enumerate() {
                    let object = if *cell == "self" { in_cell } else { other };
                    image.set_local(frame, 2 + index as u64, object);
                }
            });
            assert_eq!(
                (code.flags, code.class_address),
                (CODE_CLASS, class),
                "{name}"
            );
        }
    }
}

#[test]
fn a_first_argument_that_was_deleted_or_lies_in_a_far_cell_gives_no_class() {
    for layout in old_layouts() {
        let name = name_of(&layout);
        let many: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        many.push("self");
        for cells in [&[][..], &["self"], &many] {
            let mut image = Image::new(layout.clone());
            let code = define(&mut image, &["self"], cells, |_, _| {});
            assert_eq!((code.flags, code.class_address), (0, 0), "{name}");
        }
    }
}

#[test]
fn other_names_give_no_class() {
    for layout in old_layouts() {
        let name = name_of(&layout);
        for argument in ["this", "selfish", "sel", "clsx", "Self", "", "s\u{e9}lf"] {
            let mut image = Image::new(layout.clone());
            let (_, instance) = class_and_instance(&mut image, "Spam");
            let code = define(&mut image, &[argument], &[], |image, frame| {
                image.set_local(frame, 0, instance);
            });
            assert_eq!(code.flags, 0, "{name} {argument}");
        }
        let mut image = Image::new(layout);
        let code = define(&mut image, &[], &[], |_, _| {});
        assert_eq!(code.flags, 0, "{name}");
    }
}

#[test]
fn old_style_classes_are_told_apart() {
    for layout in old_layouts().filter(|layout| layout.unicode.is_none()) {
        for argument in ["self", "cls"] {
            let mut image = Image::new(layout.clone());
            let metaclass = image.type_object("type", TYPE_SUBCLASS, 0);
            let classobj = image.type_object("classobj", 0, metaclass);
            let instance_type = image.type_object("instance", 0, metaclass);
            // PyClassObject: header, cl_bases, cl_dict, cl_name.
            let class = image.object(classobj, 0);
            let text = image.text("Ancient");
            image.set(class + 32, text);
            // PyInstanceObject: header, in_class.
            let instance = image.object(instance_type, class);
            let code = define(&mut image, &[argument], &[], |image, frame| {
                image.set_local(frame, 0, if argument == "self" { instance } else { class });
            });
            assert_eq!(code.flags, CODE_CLASS | CODE_OLD_CLASS);
            assert_eq!(
                (code.class_address, class_name(&code).as_str()),
                (class, "Ancient")
            );
        }
    }
}

#[test]
fn long_and_unreadable_class_names_do_not_break_the_definition() {
    for layout in old_layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout.clone());
        let long = "C".repeat(300);
        let (class, instance) = class_and_instance(&mut image, &long);
        let code = define(&mut image, &["self"], &[], |image, frame| {
            image.set_local(frame, 0, instance);
        });
        assert_eq!(
            (code.class_address, class_name(&code)),
            (class, "C".repeat(127)),
            "{name}"
        );
        for place in [0x6666_0000, 0xffff_8880_0000_0000] {
            let mut image = Image::new(layout.clone());
            let (class, instance) = class_and_instance(&mut image, "Spam");
            image.set(class + u64::from(layout.type_object.name), place);
            let code = define(&mut image, &["self"], &[], |image, frame| {
                image.set_local(frame, 0, instance);
            });
            assert_eq!(
                (code.class_address, class_name(&code).as_str()),
                (class, ""),
                "{name}"
            );
        }
    }
}

#[test]
fn hostile_counts_and_pointers_around_the_first_argument_end_in_no_class() {
    for layout in old_layouts() {
        let name = name_of(&layout);
        for (count, locals, member) in [
            (u64::MAX, u32::MAX, 0),
            (1 << 63, 0x7fff_ffff, 0x6666_0000),
            (16, 0x8000_0000, u64::MAX),
        ] {
            let mut image = Image::new(layout.clone());
            let mut stack = image.add_main();
            let code = image.code(&Code {
                name: "method",
                arguments: &["self"],
                cells: &["self"],
                ..Code::default()
            });
            let cells = image.word(code + u64::from(layout.code.cell_names.unwrap()));
            image.set(cells + u64::from(layout.bytes.size), count);
            image.set_half(code + u64::from(layout.code.local_count.unwrap()), locals);
            let frame = image.frame(code, 0);
            let cell = image.object(0, member);
            image.set_local(frame, 1, cell);
            image.run(&mut stack, &[frame]);
            let walk = Session::default().walk_stack(&image, &stack);
            let code = &definition(&walk, "method").code;
            assert_eq!((code.flags, code.class_address), (0, 0), "{name}");
        }
    }
}

#[test]
fn code_with_a_qualified_name_is_not_asked_for_its_first_argument() {
    for layout in layouts().filter(|layout| layout.code.qualname.is_some()) {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        let code = image.code(&Code {
            name: "method",
            qualname: "Spam.method",
            arguments: &["self"],
            ..Code::default()
        });
        let frame = image.frame(code, 0);
        image.run(&mut stack, &[frame]);
        let walk = Session::default().walk_stack(&image, &stack);
        let code = &definition(&walk, "Spam.method").code;
        assert_eq!((code.flags, code.class_address), (0, 0), "{name}");
    }
}
