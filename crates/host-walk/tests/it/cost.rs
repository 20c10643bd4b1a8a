//! What a deep stack costs, counted in reads of the process's memory: the dearest thing that the walk does, and a number that
//! is the same on every machine.

use crate::{
    image::{Image, layouts, name_of},
    session::Session,
};

const DEPTH: usize = 900;

/// Two functions that call each other. As from 3.11 on, a called frame lies behind its caller; to 3.10 each frame is an eval
/// call of its own, with a part of the C stack.
#[test]
fn a_deep_stack_of_known_functions_takes_a_read_for_many_frames_and_is_told_frame_by_frame() {
    for layout in layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        let codes = [image.named("even"), image.named("odd")];
        let frames: Vec<u64> = (0..DEPTH)
            .map(|depth| image.frame(codes[depth % 2], depth as i32 % 40))
            .collect();
        image.run(&mut stack, &frames);
        let mut session = Session::default();
        session.walk_stack(&image, &stack);
        let walk = session.walk_stack(&image, &stack);
        assert!(walk.definitions.is_empty(), "{name}");
        let shown = session.show(&walk);
        let shown: Vec<&str> = shown
            .split(' ')
            .filter(|word| !word.starts_with('@'))
            .collect();
        let expected: Vec<String> = (0..DEPTH)
            .rev()
            .map(|depth| format!("{}+{}", ["even", "odd"][depth % 2], depth % 40))
            .collect();
        assert_eq!(shown, expected, "{name}");
        let most = match image.layout.has_call_per_frame() {
            // The frame, its cframe (3.10), and little for all.
            true => 2 * DEPTH + 40,
            // A window holds ten of these frames; the first ones are read one by one.
            false => DEPTH / 10 + 60,
        };
        println!("{name}: {} reads of {DEPTH} frames", walk.reads);
        assert!(walk.reads as usize <= most, "{name}: {} reads", walk.reads);
    }
}

/// What a sample has met is its own: the next one may find another function in the same memory.
#[test]
fn a_function_that_the_last_sample_met_is_read_again() {
    for layout in layouts().filter(|layout| !layout.has_call_per_frame()) {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let mut stack = image.add_main();
        let (first, second) = (image.named("first"), image.named("second"));
        let frames = [image.frame(first, 1), image.frame(first, 2)];
        image.run(&mut stack, &frames);
        let mut session = Session::default();
        assert_eq!(
            session.show_stack(&image, &stack),
            "first+2 first+1 @1",
            "{name}"
        );
        // The same memory is another function now, as CPython's allocator does it.
        let size = usize::from(image.layout.code.size()) + 256;
        let mut bytes = vec![0; size];
        assert!(image.read(second, &mut bytes), "{name}");
        image.write(first, &bytes);
        let shown = session.show_stack(&image, &stack);
        assert_eq!(shown, "second+2 second+1 @1", "{name}");
    }
}
