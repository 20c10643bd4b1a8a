//! Frames, their places in the code, and the native frames that run them.

use viperf_cpython::Layout;
use viperf_host_walk::Thread;

use crate::{
    image::{FSBASE, Image, Stack, layouts, name_of},
    session::{MOST_WORDS, Session},
};

/// Runs of functions, outermost first in both directions, and what the walk must say of them.
type Runs<'text> = &'text [&'text [(&'text str, i32)]];

fn push_runs(image: &mut Image, stack: &mut Stack, runs: Runs<'_>) {
    for run in runs {
        let frames: Vec<u64> = run
            .iter()
            .map(|(name, unit)| image.frame_of(name, *unit))
            .collect();
        image.run(stack, &frames);
    }
}

/// The words for runs of which each is called by the one before it through one C function.
fn expected(layout: &Layout, runs: Runs<'_>) -> String {
    expected_with(layout, runs, |calls| format!("@{}", 2 * calls + 1))
}

fn expected_with(layout: &Layout, runs: Runs<'_>, mark: impl Fn(usize) -> String) -> String {
    let mut words = Vec::new();
    let mut calls = 0;
    for run in runs.iter().rev() {
        for (index, (name, unit)) in run.iter().rev().enumerate() {
            words.push(format!("{name}+{unit}"));
            let ends = match layout.has_call_per_frame() {
                true => layout.cframe.is_some(),
                false => index + 1 == run.len(),
            };
            if ends {
                words.push(mark(calls));
                calls += 1;
            }
        }
    }
    words.join(" ")
}

fn walk_runs(layout: Layout, runs: Runs<'_>) -> (Image, Stack, String) {
    let mut image = Image::new(layout);
    let mut stack = image.add_main();
    push_runs(&mut image, &mut stack, runs);
    let shown = Session::default().show_stack(&image, &stack);
    (image, stack, shown)
}

#[test]
fn a_chain_of_calls_is_walked_from_leaf_to_root() {
    const RUNS: Runs<'_> = &[&[("<module>", 30), ("main", 12), ("work", 7)]];
    for layout in layouts() {
        let name = name_of(&layout);
        let expected = expected(&layout, RUNS);
        assert_eq!(walk_runs(layout, RUNS).2, expected, "{name}");
    }
}

#[test]
fn each_run_is_marked_with_the_native_frame_that_runs_it() {
    const RUNS: Runs<'_> = &[
        &[("<module>", 3), ("main", 2)],
        &[("key", 1)],
        &[("callback", 5), ("inner", 4), ("leaf", 0)],
    ];
    for layout in layouts() {
        let name = name_of(&layout);
        let expected = expected(&layout, RUNS);
        assert_eq!(walk_runs(layout, RUNS).2, expected, "{name}");
    }
}

#[test]
fn a_thread_state_without_frames_is_an_empty_stack_and_no_missing_thread_state() {
    for layout in layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let stack = image.add_main();
        let walk = Session::default().walk_stack(&image, &stack);
        assert_eq!(
            (walk.words.len(), walk.no_thread_state),
            (0, false),
            "{name}"
        );
    }
}

#[test]
fn without_native_frames_runs_have_no_owner_and_single_calls_no_mark() {
    const RUNS: Runs<'_> = &[&[("main", 2)], &[("a", 1), ("b", 1)]];
    for layout in layouts() {
        let name = name_of(&layout);
        let (image, mut stack, _) = walk_runs(layout, RUNS);
        stack.cfas.clear();
        let shown = Session::default().show_stack(&image, &stack);
        let expected = match image.layout.has_call_per_frame() {
            true => "b+1 a+1 main+2",
            false => "b+1 a+1 @none main+2 @none",
        };
        assert_eq!(shown, expected, "{name}");
    }
}

#[test]
fn a_deferred_sample_carries_the_address_on_the_c_stack_instead_of_the_owner() {
    const RUNS: Runs<'_> = &[&[("main", 2)], &[("a", 1)]];
    for layout in layouts() {
        let name = name_of(&layout);
        // Of each call the stack takes 0x140 bytes; its cframe is 0x40 above its start, its entry frame 0x60.
        let place = match layout.frame.entry_owner {
            Some(_) => 0x60,
            None => 0x40,
        };
        let expected = expected_with(&layout, RUNS, |calls| {
            let call = FSBASE - 0x100 - 0x140 * (1 - calls as u64);
            format!("@{:#x}", call + place)
        });
        let (image, stack, _) = walk_runs(layout, RUNS);
        let thread = Thread {
            fsbase: FSBASE,
            sp: stack.sp,
            deferred: true,
            ..Thread::default()
        };
        let mut session = Session::default();
        let walk = session.walk(&image, &thread, |address, bytes| image.read(address, bytes));
        assert_eq!(session.show(&walk), expected, "{name}");
    }
}

#[test]
fn a_cfa_that_is_not_known_owns_nothing_and_hides_nothing() {
    const RUNS: Runs<'_> = &[&[("main", 2)], &[("a", 1)]];
    for layout in layouts().filter(|layout| layout.cframe.is_some() || !layout.has_call_per_frame())
    {
        let name = name_of(&layout);
        let (image, mut stack, _) = walk_runs(layout, RUNS);
        // The C function between the two eval calls.
        stack.cfas[1] = 0;
        let shown = Session::default().show_stack(&image, &stack);
        assert_eq!(shown, "a+1 @1 main+2 @3", "{name}");
    }
}

#[test]
fn a_generator_runs_in_the_middle_of_a_run() {
    const RUNS: Runs<'_> = &[&[("<module>", 3), ("generator", 2), ("leaf", 1)]];
    for layout in layouts() {
        let name = name_of(&layout);
        let expected = expected(&layout, RUNS);
        let (mut image, stack, _) = walk_runs(layout, RUNS);
        if let Some(owner) = image.layout.frame.owner {
            let generator = image.word(stack.frame + u64::from(image.layout.frame.previous));
            image.write(generator + u64::from(owner), &[1]);
        }
        assert_eq!(
            Session::default().show_stack(&image, &stack),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_thousand_frames_come_whole_and_more_are_cut_with_a_reason() {
    for layout in layouts() {
        let name = name_of(&layout);
        for count in [1000, 1500, 3000, 4200] {
            let mut image = Image::new(layout.clone());
            let mut stack = image.add_main();
            let code = image.named("recurse");
            let frames: Vec<u64> = (0..count).map(|unit| image.frame(code, unit)).collect();
            // In one run, where there are runs: marks take words, too.
            image.run(&mut stack, &frames);
            // No native walk is as long.
            stack.cfas.clear();
            let mut session = Session::default();
            let walk = session.walk_stack(&image, &stack);
            let shown = session.show(&walk);
            assert!(
                shown.starts_with(&format!("recurse+{} ", count - 1)),
                "{name}"
            );
            // Of 3.10 every frame has a mark of its own, which is left out where native frames are missing.
            let (has_root, is_cut) = (shown.contains(" recurse+0"), shown.contains('!'));
            match count {
                1000 | 1500 => assert!(has_root && !is_cut, "{name} {count}"),
                3000 => assert!(has_root && shown.contains(" !PythonTooDeep r"), "{name}"),
                _ => assert!(shown.ends_with(" !PythonTooDeep") && !has_root, "{name}"),
            }
            assert!(walk.words.len() <= MOST_WORDS);
        }
    }
}

#[test]
fn a_place_that_no_word_can_hold_is_before_the_first_instruction() {
    for layout in layouts() {
        let name = name_of(&layout);
        for (unit, expected) in [
            (-1, -1),
            (-2, -1),
            (i32::MIN, -1),
            (i32::MAX, -1),
            ((1 << 28) - 2, (1 << 28) - 2),
        ] {
            let mut image = Image::new(layout.clone());
            let mut stack = image.add_main();
            let frame = image.frame_of("f", unit);
            image.run(&mut stack, &[frame]);
            let shown = Session::default().show_stack(&image, &stack);
            assert!(
                shown.starts_with(&format!("f+{expected}")),
                "{name}: {shown} for {unit}"
            );
        }
    }
}

#[test]
fn tags_of_references_to_code_are_not_part_of_the_address() {
    for layout in layouts().filter(|layout| (layout.major, layout.minor) >= (3, 14)) {
        for tag in 1..=3 {
            let mut image = Image::new(layout.clone());
            let mut stack = image.add_main();
            let code = image.named("f");
            let frame = image.frame(code, 4);
            image.set(frame + u64::from(image.layout.frame.code), code | tag);
            image.run(&mut stack, &[frame]);
            let shown = Session::default().show_stack(&image, &stack);
            assert_eq!(shown, "f+4 @1", "{} {tag}", name_of(&image.layout));
        }
    }
}

#[test]
fn the_frame_at_the_bottom_that_runs_nothing_is_not_shown() {
    for layout in layouts().filter(|layout| layout.thread_state.base_frame.is_some()) {
        let (mut image, stack, shown) = walk_runs(layout, &[&[("f", 1)]]);
        assert_eq!(shown, "f+1 @1");
        // Were it not known, it would be taken for a frame without code.
        let base = image.layout.thread_state.base_frame.unwrap();
        image.set(stack.state + u64::from(base), 0);
        let shown = Session::default().show_stack(&image, &stack);
        assert_eq!(shown, "f+1 @1 !PythonUnreadable");
    }
}

#[test]
fn places_in_a_threads_copy_of_the_bytecode_count_from_the_start_of_the_copy() {
    let mut tried = 0;
    for layout in layouts() {
        let (Some(index), Some(copies)) = (layout.frame.tlbc_index, layout.code.tlbc) else {
            continue;
        };
        tried += 1;
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        let code = image.named("f");
        let frame = image.frame(code, 0);
        image.run(&mut stack, &[frame]);
        let start = code + u64::from(image.layout.code.instructions.unwrap());
        let copy = image.allocate(4096);
        let array = image.allocate(64);
        for (word, value) in [3, start, 0, copy].into_iter().enumerate() {
            image.set(array + 8 * word as u64, value);
        }
        image.set(code + u64::from(copies), array);
        let place = u64::from(image.layout.frame.instruction_pointer.unwrap());
        let mut show = |number: u32, instruction: u64| {
            image.set_half(frame + u64::from(index), number);
            image.set(frame + place, instruction);
            Session::default().show_stack(&image, &stack)
        };
        assert_eq!(show(0, start + 2 * 9), "f+9 @1");
        assert_eq!(show(2, copy + 2 * 9), "f+9 @1");
        // A copy that there is not, and one far outside of the array.
        assert_eq!(show(1, copy + 2 * 9), "f+-1 @1");
        assert_eq!(show(u32::MAX, copy + 2 * 9), "f+-1 @1");
    }
    assert_eq!(tried, 2);
}

/// Links a cframe as the prologue of the evaluation loop does, with whatever the stack held in it.
fn link_cframe(image: &mut Image, stack: &mut Stack, current_frame: u64) -> u64 {
    let fields = image.layout.cframe.unwrap();
    stack.sp -= 0x100;
    let cframe = stack.sp + 0x40;
    if let Some(offset) = fields.current_frame {
        image.set(cframe + u64::from(offset), current_frame);
    }
    image.set(cframe + u64::from(fields.previous), stack.cframe);
    image.set(
        stack.state + u64::from(image.layout.thread_state.cframe.unwrap()),
        cframe,
    );
    cframe
}

#[test]
fn a_cframe_that_is_linked_and_not_yet_filled_in_is_passed_over() {
    const RUNS: Runs<'_> = &[&[("<module>", 3)], &[("outer", 2), ("inner", 1)]];
    for layout in layouts().filter(|layout| {
        layout
            .cframe
            .is_some_and(|cframe| cframe.current_frame.is_some())
    }) {
        let name = name_of(&layout);
        // One native frame more, the innermost one.
        let expected = expected_with(&layout, RUNS, |calls| format!("@{}", 2 * calls + 2));
        let (image, stack, _) = walk_runs(layout, RUNS);
        for stale in [
            "nowhere",
            "no frame",
            "an ended call",
            "unaligned",
            "kernel",
        ] {
            let (mut image, mut stack) = (image.clone(), stack.clone());
            let current = match stale {
                "nowhere" => 0x6666_0000,
                "no frame" => image.allocate(256),
                "unaligned" => stack.frame + 4,
                "kernel" => 0xffff_8880_0000_0000,
                _ => {
                    // A run that has ended: its frames are whole, its part of the C stack is taken by the new call.
                    let (mut ended, mut leaf) = (stack.clone(), 0);
                    for name in ["ended", "ended_leaf"] {
                        leaf = image.frame_of(name, 1);
                        image.run(&mut ended, &[leaf]);
                    }
                    leaf
                }
            };
            // The eval call is the innermost native frame: its prologue calls nothing.
            stack.cfas.push(stack.sp);
            link_cframe(&mut image, &mut stack, current);
            let shown = Session::default().show_stack(&image, &stack);
            assert_eq!(shown, expected, "{name} {stale}");
        }
    }
}

#[test]
fn a_first_cframe_that_never_was_filled_in_leaves_a_reason() {
    for layout in layouts().filter(|layout| {
        layout
            .cframe
            .is_some_and(|cframe| cframe.current_frame.is_some())
    }) {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        stack.cframe = link_cframe(&mut image, &mut stack, 0x6666_0000);
        stack.cfas.push(stack.sp);
        link_cframe(&mut image, &mut stack, 0x6666_0000);
        let shown = Session::default().show_stack(&image, &stack);
        assert_eq!(shown, "!PythonUnreadable", "{name}");
    }
}

#[test]
fn a_greenlets_own_cframe_ends_its_chain() {
    for layout in layouts().filter(|layout| layout.cframe.is_some()) {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        // What greenlet's C function keeps on the stack; its native frame.
        stack.cfas.push(stack.sp);
        stack.cframe = link_cframe(&mut image, &mut stack, 0);
        stack.cfas.push(stack.sp);
        push_runs(&mut image, &mut stack, &[&[("run", 2)], &[("switch", 1)]]);
        let shown = Session::default().show_stack(&image, &stack);
        let expected = match image.layout.has_call_per_frame() {
            true => "switch+1 @1 run+2 @3 @5",
            false => "switch+1 @1 run+2 @3",
        };
        assert_eq!(shown, expected, "{name}");
    }
}

#[test]
fn a_call_of_3_10_that_has_no_frame_yet_is_one_mark_more() {
    for layout in layouts().filter(|layout| layout.has_call_per_frame() && layout.cframe.is_some())
    {
        let (mut image, mut stack, _) = walk_runs(layout, &[&[("main", 2)], &[("f", 1)]]);
        stack.cfas.push(stack.sp);
        stack.cframe = link_cframe(&mut image, &mut stack, 0);
        assert_eq!(
            Session::default().show_stack(&image, &stack),
            "f+1 @0 main+2 @2 @4"
        );
        // Two too many are none of these.
        stack.cfas.push(stack.sp);
        link_cframe(&mut image, &mut stack, 0);
        let shown = Session::default().show_stack(&image, &stack);
        assert_eq!(shown, "f+1 @0 main+2 @1 !PythonCutOff");
    }
}

#[test]
fn calls_of_3_10_whose_cframes_are_gone_have_no_mark() {
    for layout in layouts().filter(|layout| layout.has_call_per_frame() && layout.cframe.is_some())
    {
        let (mut image, stack, _) = walk_runs(layout, &[&[("main", 2), ("f", 1)]]);
        let cframe = image.layout.cframe.unwrap();
        let place = stack.state + u64::from(image.layout.thread_state.cframe.unwrap());
        let outer = image.word(stack.cframe + u64::from(cframe.previous));
        image.set(place, outer);
        assert_eq!(
            Session::default().show_stack(&image, &stack),
            "f+1 @3 main+2"
        );
        image.set(
            place,
            stack.state + u64::from(image.layout.thread_state.root_cframe.unwrap()),
        );
        assert_eq!(Session::default().show_stack(&image, &stack), "f+1 main+2");
    }
}

#[test]
fn an_entry_frame_below_its_cframe_is_as_good_as_one_above() {
    // Which of the two local variables of the evaluation loop lies higher is for the compiler to say.
    for layout in
        layouts().filter(|layout| layout.cframe.is_some() && layout.frame.entry_owner.is_some())
    {
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        push_runs(&mut image, &mut stack, &[&[("main", 2)], &[("f", 1)]]);
        let fields = image.layout.frame;
        let cframe = image.layout.cframe.unwrap();
        // Each call's cframe moves above its entry frame.
        let (mut from, mut above) = (stack.cframe, None);
        let root = stack.state + u64::from(image.layout.thread_state.root_cframe.unwrap());
        while from != root {
            let to = from + 0xa0;
            let current = image.word(from + u64::from(cframe.current_frame.unwrap()));
            let previous = image.word(from + u64::from(cframe.previous));
            image.set(to + u64::from(cframe.current_frame.unwrap()), current);
            image.set(to + u64::from(cframe.previous), previous);
            let link = match above {
                Some(above) => above + u64::from(cframe.previous),
                None => stack.state + u64::from(image.layout.thread_state.cframe.unwrap()),
            };
            image.set(link, to);
            above = Some(to);
            from = previous;
        }
        assert!(
            fields.locals <= 0x50,
            "entry frames lie within 0x60..0xb0 of a call's part"
        );
        assert_eq!(
            Session::default().show_stack(&image, &stack),
            "f+1 @1 main+2 @3"
        );
    }
}

#[test]
fn frames_that_are_none_leave_a_reason() {
    for layout in layouts() {
        let name = name_of(&layout);
        for (frame_of, reason) in [
            ("nowhere", "!PythonUnreadable"),
            ("unaligned", "!PythonUnreadable"),
            ("kernel", "!PythonUnreadable"),
            ("code nowhere", "!PythonUnreadable"),
            ("code unaligned", "!PythonUnreadable"),
            ("code in the kernel", "!PythonUnreadable"),
            ("no code", "!PythonNotCode"),
        ] {
            let mut image = Image::new(layout.clone());
            let mut stack = image.add_main();
            let mut code = image.named("f");
            let other = image.object(0x1234, 0);
            match frame_of {
                "code nowhere" => code = 0x6666_0000,
                "code unaligned" => code += 4,
                "code in the kernel" => code = 0xffff_8880_0000_0000,
                "no code" => code = other,
                _ => {}
            }
            let frame = image.frame(code, 1);
            image.run(&mut stack, &[frame]);
            let caller = match frame_of {
                "nowhere" => 0x6666_0000,
                "unaligned" => frame + 4,
                "kernel" => 0xffff_8880_0000_0000,
                _ => frame,
            };
            let leaf = image.frame_of("leaf", 1);
            image.run(&mut stack, &[leaf]);
            // Below the entry frame, where there is one.
            let below = match image.layout.frame.entry_owner {
                Some(_) => image.word(leaf + u64::from(image.layout.frame.previous)),
                None => leaf,
            };
            image.link(below, caller);
            let shown = Session::default().show_stack(&image, &stack);
            let leaf = expected(&image.layout, &[&[("leaf", 1)]]);
            // 3.11: what is before a run must be where the cframe before is.
            let expected = match image.layout.frame.is_entry {
                Some(_) if !frame_of.contains("code") => "leaf+1 !PythonCutOff".to_owned(),
                _ => format!("{leaf} {reason}"),
            };
            assert_eq!(shown, expected, "{name} {frame_of}");
        }
    }
}
