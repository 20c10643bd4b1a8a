//! From the thread to its thread states.

use viperf_cpython::Layout;
use viperf_host_walk::{Thread, Walk};

use crate::{
    image::{FSBASE, Image, Stack, layouts, name_of},
    layout::CLibrary,
    session::Session,
};

/// Thread pointers of other threads.
const OTHERS: u64 = 0x7f11_0000_0000;
const MILLISECOND: u64 = 1_000_000;

fn thread(time_ns: u64) -> Thread<'static> {
    Thread {
        fsbase: FSBASE,
        tid: 7,
        time_ns,
        ..Thread::default()
    }
}

fn walk_at(session: &mut Session, image: &Image, time_ns: u64) -> Walk {
    session.walk(image, &thread(time_ns), |address, bytes| {
        image.read(address, bytes)
    })
}

/// The names of the frames only.
fn names(session: &mut Session, image: &Image, time_ns: u64) -> String {
    let walk = walk_at(session, image, time_ns);
    session.show(&walk).replace(" @none", "")
}

fn run_one(image: &mut Image, stack: &mut Stack, name: &str) {
    let frame = image.frame_of(name, 0);
    image.run(stack, &[frame]);
}

/// An interpreter with so many threads, none of which is the sampled one.
fn image_of_others(layout: Layout, count: u64) -> (Image, u64) {
    let mut image = Image::new(layout);
    let interpreter = image.add_interpreter();
    for number in 0..count {
        image.add_thread_state(interpreter, OTHERS + 0x1000 * number, FSBASE);
    }
    (image, interpreter)
}

/// Takes a thread state out of its interpreter's list, as its end does: what it holds stays as it was.
fn unlink(image: &mut Image, interpreter: u64, state: u64) {
    let fields = image.layout.thread_state;
    let head = interpreter + u64::from(image.layout.interpreter.threads_head);
    let next = image.word(state + u64::from(fields.next));
    let mut link = head;
    while image.word(link) != state {
        link = image.word(link) + u64::from(fields.next);
    }
    image.set(link, next);
    if let (Some(previous), true) = (fields.prev, next != 0) {
        let before = image.word(state + u64::from(previous));
        image.set(next + u64::from(previous), before);
    }
}

#[test]
fn the_thread_state_is_found_among_those_of_all_threads() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (mut image, interpreter) = image_of_others(layout, 10);
        let mut stack = image.add_thread_state(interpreter, FSBASE, FSBASE);
        run_one(&mut image, &mut stack, "f");
        for number in 10..3000 {
            image.add_thread_state(interpreter, OTHERS + 0x1000 * number, FSBASE);
        }
        let mut session = Session::default();
        let walk = walk_at(&mut session, &image, 0);
        assert_eq!(session.show(&walk).replace(" @none", ""), "f+0", "{name}");
        assert!(walk.list_steps > 2980, "{name}");
        // It is remembered.
        let walk = walk_at(&mut session, &image, 1);
        assert_eq!(session.show(&walk).replace(" @none", ""), "f+0", "{name}");
        assert_eq!(walk.list_steps, 0, "{name}");
    }
}

#[test]
fn a_thread_state_that_is_no_longer_listed_is_not_the_threads() {
    for layout in layouts().filter(|layout| layout.thread_state.prev.is_some()) {
        let name = name_of(&layout);
        for others in [0, 2] {
            let (mut image, interpreter) = image_of_others(layout.clone(), others);
            let mut stack = image.add_thread_state(interpreter, FSBASE, FSBASE);
            run_one(&mut image, &mut stack, "stale");
            for number in 0..others {
                image.add_thread_state(interpreter, OTHERS + 0x10_0000 + 0x1000 * number, FSBASE);
            }
            let mut session = Session::default();
            assert_eq!(names(&mut session, &image, 0), "stale+0", "{name}");
            unlink(&mut image, interpreter, stack.state);
            assert!(walk_at(&mut session, &image, 1).no_thread_state, "{name}");
            // The same thread comes back with another state.
            let mut again = image.add_thread_state(interpreter, FSBASE, FSBASE - 0x1000);
            run_one(&mut image, &mut again, "fresh");
            assert_eq!(names(&mut session, &image, 2), "fresh+0", "{name}");
        }
    }
}

#[test]
fn a_thread_state_of_2_7_that_was_freed_is_not_the_threads() {
    for layout in layouts().filter(|layout| layout.thread_state.prev.is_none()) {
        let (mut image, interpreter) = image_of_others(layout, 1);
        let mut stack = image.add_thread_state(interpreter, FSBASE, FSBASE);
        run_one(&mut image, &mut stack, "stale");
        let mut session = Session::default();
        assert_eq!(names(&mut session, &image, 0), "stale+0");
        unlink(&mut image, interpreter, stack.state);
        // The allocator's own list, and its mark.
        image.set(stack.state, 0);
        image.set(stack.state + 8, 0x1234_5678_9abc_def0);
        assert!(walk_at(&mut session, &image, 1).no_thread_state);
    }
}

#[test]
fn a_reused_thread_number_does_not_bring_back_another_threads_state() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (mut image, interpreter) = image_of_others(layout, 1);
        let mut stack = image.add_thread_state(interpreter, FSBASE, FSBASE);
        run_one(&mut image, &mut stack, "former");
        let mut session = Session::default();
        assert_eq!(names(&mut session, &image, 0), "former+0", "{name}");
        let fsbase = FSBASE + 0x2000;
        let mut stack = image.add_thread_state(interpreter, fsbase, FSBASE - 0x2000);
        run_one(&mut image, &mut stack, "latter");
        let latter = Thread {
            fsbase,
            ..thread(1)
        };
        let walk = session.walk(&image, &latter, |address, bytes| image.read(address, bytes));
        assert_eq!(
            session.show(&walk).replace(" @none", ""),
            "latter+0",
            "{name}"
        );
    }
}

#[test]
fn a_thread_in_no_list_has_no_thread_state_and_that_is_no_reason() {
    for layout in layouts() {
        let name = name_of(&layout);
        for count in [0, 1, 50, 500] {
            let (image, _) = image_of_others(layout.clone(), count);
            let walk = walk_at(&mut Session::default(), &image, 0);
            assert!(walk.no_thread_state && walk.words.is_empty(), "{name}");
        }
        // Before Py_Initialize.
        let image = Image::new(layout);
        let walk = walk_at(&mut Session::default(), &image, 0);
        assert!(walk.no_thread_state && walk.words.is_empty(), "{name}");
    }
}

#[test]
fn absence_is_remembered_only_where_lists_are_long_and_only_for_100_ms() {
    for layout in layouts() {
        let name = name_of(&layout);
        for (count, is_remembered) in [(10, false), (500, true)] {
            let (mut image, interpreter) = image_of_others(layout.clone(), count);
            let mut session = Session::default();
            let start = 1000 * MILLISECOND;
            assert!(walk_at(&mut session, &image, start).no_thread_state);
            assert_eq!(
                session.walker.remembered_threads(),
                usize::from(is_remembered)
            );
            let mut stack = image.add_thread_state(interpreter, FSBASE, FSBASE);
            run_one(&mut image, &mut stack, "f");
            let walk = walk_at(&mut session, &image, start + 99 * MILLISECOND);
            assert_eq!(walk.no_thread_state, is_remembered, "{name} {count}");
            assert_eq!(walk.list_steps == 0, is_remembered, "{name} {count}");
            let walk = walk_at(&mut session, &image, start + 100 * MILLISECOND);
            assert_eq!(
                session.show(&walk).replace(" @none", ""),
                "f+0",
                "{name} {count}"
            );
        }
    }
}

#[test]
fn what_is_remembered_of_a_thread_ends_with_its_address_space() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (image, _) = image_of_others(layout, 500);
        let mut session = Session::default();
        assert!(walk_at(&mut session, &image, 0).no_thread_state);
        let mut process = image.process();
        process.epoch += 1;
        let read = |address: u64, bytes: &mut [u8]| image.read(address, bytes);
        let walk = session.walker.walk(&process, &thread(1), read);
        assert!(walk.list_steps > 64, "{name}");
    }
}

#[test]
fn lists_that_cannot_be_followed_to_their_end_leave_a_reason() {
    for layout in layouts() {
        let name = name_of(&layout);
        let next = u64::from(layout.thread_state.next);
        for broken in ["itself", "nowhere", "kernel", "too long", "interpreter"] {
            let count = if broken == "too long" { 5000 } else { 3 };
            let (mut image, interpreter) = image_of_others(layout.clone(), count);
            let head = image.word(interpreter + u64::from(layout.interpreter.threads_head));
            match broken {
                "itself" => image.set(head + next, head),
                "nowhere" => image.set(head + next, 0x6666_0000),
                "kernel" => image.set(head + next, 0xffff_8880_0000_0000),
                "interpreter" => {
                    image.set(
                        interpreter + u64::from(layout.interpreter.next),
                        interpreter,
                    );
                }
                _ => {}
            }
            let mut session = Session::default();
            let walk = walk_at(&mut session, &image, 0);
            assert_eq!(
                session.show(&walk),
                "!PythonNoThreadState",
                "{name} {broken}"
            );
        }
        let (mut image, _) = image_of_others(layout.clone(), 1);
        image.runtime = 0x6666_0000;
        let mut session = Session::default();
        let walk = walk_at(&mut session, &image, 0);
        assert_eq!(session.show(&walk), "!PythonNoThreadState", "{name}");
    }
}

/// A thread that has entered a second interpreter from the first one, each with one run; the thread's stacks.
fn image_of_two_interpreters(layout: Layout) -> (Image, [Stack; 2]) {
    let mut image = Image::new(layout);
    let [outer, inner] = [image.add_interpreter(), image.add_interpreter()];
    let mut outside = image.add_thread_state(outer, FSBASE, FSBASE);
    image.add_thread_state(outer, OTHERS, FSBASE);
    run_one(&mut image, &mut outside, "outside");
    image.add_thread_state(inner, OTHERS + 0x1000, FSBASE);
    let mut inside = image.add_thread_state(inner, FSBASE, outside.sp);
    inside.cfas = outside.cfas.clone();
    run_one(&mut image, &mut inside, "inside");
    (image, [outside, inside])
}

#[test]
fn a_thread_in_two_interpreters_shows_the_frames_of_both() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (image, [_, inside]) = image_of_two_interpreters(layout);
        let mut session = Session::default();
        for _ in 0..2 {
            let shown = session.show_stack(&image, &inside);
            let expected = match image.layout.has_call_per_frame() && image.layout.cframe.is_none()
            {
                true => "inside+0 outside+0",
                false => "inside+0 @1 outside+0 @3",
            };
            assert_eq!(shown, expected, "{name}");
        }
    }
}

#[test]
fn to_3_9_the_newer_interpreter_is_the_inner_one_whatever_the_key_says() {
    for layout in layouts().filter(|layout| layout.cframe.is_none() && layout.has_call_per_frame())
    {
        let name = name_of(&layout);
        let (mut image, [outside, _]) = image_of_two_interpreters(layout);
        image.kernel.flags |= viperf_abi::LAYOUT_GLIBC_KEYS;
        if image.kernel.runtime_auto_tss_key != 0 {
            set_key(&mut image, CLibrary::Glibc, 0, outside.state);
        }
        for time in 0..2 {
            let shown = names(&mut Session::default(), &image, time);
            assert_eq!(shown, "inside+0 outside+0", "{name}");
        }
    }
}

#[test]
fn lists_that_break_before_the_second_state_leave_a_reason() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (mut image, [outside, _]) = image_of_two_interpreters(layout);
        let before = image.word(image.runtime + u64::from(image.layout.interpreters_head()));
        // The list of interpreters is whole, that of the outer one's threads is not.
        let outer = image.word(before + u64::from(image.layout.interpreter.next));
        assert_eq!(
            outer,
            image.word(outside.state + u64::from(image.layout.thread_state.interp))
        );
        image.set(
            outer + u64::from(image.layout.interpreter.threads_head),
            0x6666_0000,
        );
        let mut session = Session::default();
        let walk = walk_at(&mut session, &image, 0);
        let shown = session.show(&walk);
        assert!(shown.starts_with("inside+0"), "{name} {shown}");
        assert!(shown.ends_with("!PythonNoThreadState"), "{name} {shown}");
    }
}

#[test]
fn a_thread_in_more_interpreters_than_are_walked_leaves_a_reason() {
    for layout in layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        for number in 0..6 {
            let interpreter = image.add_interpreter();
            let mut stack = image.add_thread_state(interpreter, FSBASE, FSBASE - 0x1000 * number);
            run_one(&mut image, &mut stack, &format!("f{number}"));
        }
        let mut session = Session::default();
        let walk = walk_at(&mut session, &image, 0);
        let shown = session.show(&walk);
        assert!(shown.starts_with("f5+0"), "{name} {shown}");
        assert!(shown.contains('!'), "{name} {shown}");
    }
}

/// Sets the value of the runtime's pthread key for the sampled thread.
fn set_key(image: &mut Image, library: CLibrary, key: u32, value: u64) {
    let at = image.runtime + u64::from(image.kernel.runtime_auto_tss_key);
    image.set_half(at, 1);
    image.set_half(at + 4, key);
    image.map(FSBASE, 4096);
    let key = u64::from(key);
    match library {
        CLibrary::Glibc if key < 32 => image.set(FSBASE + 784 + 16 * key + 8, value),
        CLibrary::Glibc => {
            let block = image.allocate(16 * 32);
            image.set(FSBASE + 1296 + 8 * (key / 32), block);
            image.set(block + 16 * (key % 32) + 8, value);
        }
        _ => {
            let table = image.allocate(8 * 128);
            image.set(FSBASE + 128, table);
            image.set(table + 8 * key, value);
        }
    }
}

#[test]
fn a_pthread_key_leads_to_the_thread_state_without_a_look_at_the_lists() {
    for layout in layouts() {
        let name = name_of(&layout);
        for (library, key) in [
            (CLibrary::Glibc, 0),
            (CLibrary::Glibc, 31),
            (CLibrary::Glibc, 40),
            (CLibrary::Musl, 0),
            (CLibrary::Musl, 127),
        ] {
            let mut image = Image::with_keys(layout.clone(), library);
            if image.kernel.runtime_auto_tss_key == 0 {
                continue;
            }
            let mut stack = image.add_main();
            run_one(&mut image, &mut stack, "f");
            set_key(&mut image, library, key, stack.state);
            let mut session = Session::default();
            let walk = walk_at(&mut session, &image, 0);
            assert_eq!(
                session.show(&walk).replace(" @none", ""),
                "f+0",
                "{name} {key}"
            );
            assert_eq!(walk.list_steps, 0, "{name} {key}");
            // None, and that is certain: the lists are not asked.
            set_key(&mut image, library, key, 0);
            let walk = walk_at(&mut Session::default(), &image, 0);
            assert!(walk.no_thread_state && walk.list_steps == 0, "{name} {key}");
            // Another thread's, or no thread's at all: the lists know better.
            for wrong in [
                image.runtime,
                stack.state + 4,
                0xffff_8880_0000_0000,
                0x6666_0000,
            ] {
                set_key(&mut image, library, key, wrong);
                let mut session = Session::default();
                let walk = walk_at(&mut session, &image, 0);
                assert_eq!(
                    session.show(&walk).replace(" @none", ""),
                    "f+0",
                    "{name} {key}"
                );
            }
        }
    }
}

#[test]
fn a_key_that_is_none_is_not_followed() {
    for layout in layouts() {
        let name = name_of(&layout);
        for (library, key, is_initialized) in [
            (CLibrary::Glibc, 5000, 1),
            (CLibrary::Glibc, u32::MAX, 1),
            (CLibrary::Musl, 128, 1),
            (CLibrary::Musl, u32::MAX, 1),
            (CLibrary::Glibc, 1, 0),
        ] {
            let mut image = Image::with_keys(layout.clone(), library);
            if image.kernel.runtime_auto_tss_key == 0 {
                continue;
            }
            let mut stack = image.add_main();
            run_one(&mut image, &mut stack, "f");
            image.map(FSBASE, 4096);
            let at = image.runtime + u64::from(image.kernel.runtime_auto_tss_key);
            image.set_half(at, is_initialized);
            image.set_half(at + 4, key);
            assert_eq!(
                names(&mut Session::default(), &image, 0),
                "f+0",
                "{name} {key}"
            );
        }
    }
}

#[test]
fn the_attached_thread_state_is_found_by_the_thread_local() {
    for layout in layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        run_one(&mut image, &mut stack, "f");
        image.kernel.thread_state_tls = -24;
        image.set(FSBASE - 24, stack.state);
        let mut session = Session::default();
        let walk = walk_at(&mut session, &image, 0);
        assert_eq!(session.show(&walk).replace(" @none", ""), "f+0", "{name}");
        assert_eq!(walk.list_steps, 0, "{name}");
        // Detached.
        image.set(FSBASE - 24, 0);
        let walk = walk_at(&mut session, &image, 0);
        assert_eq!(session.show(&walk).replace(" @none", ""), "f+0", "{name}");
    }
}

#[test]
fn a_thread_state_that_is_not_bound_yet_is_nobodys() {
    for layout in layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let interpreter = image.add_interpreter();
        image.add_thread_state(interpreter, 0, FSBASE);
        let mut session = Session::default();
        let walk = walk_at(&mut session, &image, 0);
        assert!(walk.no_thread_state && walk.words.is_empty(), "{name}");
        // Nor that of a thread that has no thread pointer yet.
        let thread = Thread {
            tid: 7,
            ..Thread::default()
        };
        let walk = session.walk(&image, &thread, |address, bytes| image.read(address, bytes));
        assert!(walk.no_thread_state, "{name}");
    }
}
