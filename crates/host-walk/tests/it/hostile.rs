//! Chains that never end, memory that changes between two reads, and nonsense: every walk ends, within bounds, and says so.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use fastrand::Rng;
use viperf_abi::{
    LAYOUT_CALL_PER_FRAME, LAYOUT_CFRAME, LAYOUT_CFRAME_PER_RUN, Reason, Word, limit,
};
use viperf_host_walk::{Thread, Walk, Walker};

use crate::{
    image::{FSBASE, Image, Stack, layouts, name_of},
    layout::CLibrary,
    session::{MOST_READS, MOST_WORDS, Session},
};

fn ends_with_reason(walk: &Walk) -> bool {
    matches!(walk.words.last(), Some(Word::Reason(_)))
}

fn image_with_runs(layout: viperf_cpython::Layout) -> (Image, Stack) {
    let mut image = Image::new(layout);
    let mut stack = image.add_main();
    for run in [
        &["<module>", "main"][..],
        &["key"],
        &["callback", "inner", "leaf"],
    ] {
        let frames: Vec<u64> = run.iter().map(|name| image.frame_of(name, 1)).collect();
        image.run(&mut stack, &frames);
    }
    (image, stack)
}

/// The frames of a stack, innermost first, entry frames included.
fn frames_of(image: &Image, stack: &Stack) -> Vec<u64> {
    let previous = u64::from(image.layout.frame.previous);
    let base = image.layout.thread_state.base_frame;
    let last = base.map_or(0, |offset| image.word(stack.state + u64::from(offset)));
    let mut frames = vec![stack.frame];
    while let Some(frame) = frames.last().map(|frame| image.word(frame + previous)) {
        if frame == last || frame == 0 {
            break;
        }
        frames.push(frame);
    }
    frames
}

#[test]
fn chains_of_frames_that_go_in_circles_end_with_a_reason() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (image, stack) = image_with_runs(layout);
        let frames = frames_of(&image, &stack);
        for (index, &from) in frames.iter().enumerate() {
            for &to in &frames[..=index] {
                let mut image = image.clone();
                image.link(from, to);
                let walk = Session::default().walk_stack(&image, &stack);
                assert!(ends_with_reason(&walk), "{name}: {:?}", walk.words);
                assert!(walk.words.len() <= MOST_WORDS, "{name}");
            }
        }
    }
}

#[test]
fn chains_of_frames_and_cframes_that_go_in_circles_together_end_with_a_reason() {
    for layout in layouts() {
        let Some(fields) = layout.cframe else {
            continue;
        };
        let name = name_of(&layout);
        let (image, stack) = image_with_runs(layout);
        let previous = u64::from(fields.previous);
        let outer = image.word(stack.cframe + previous);
        let frames = frames_of(&image, &stack);
        for from in [stack.cframe, outer] {
            let mut image = image.clone();
            image.set(from + previous, stack.cframe);
            // Alone, and with the frames.
            let walk = Session::default().walk_stack(&image, &stack);
            assert!(ends_with_reason(&walk), "{name}: {:?}", walk.words);
            for &frame in &frames {
                let mut image = image.clone();
                image.link(frame, stack.frame);
                let walk = Session::default().walk_stack(&image, &stack);
                assert!(ends_with_reason(&walk), "{name}: {:?}", walk.words);
            }
        }
    }
}

#[test]
fn a_walk_that_runs_out_of_steps_ends_with_a_reason() {
    // Steps are spent on marks, on the search for owners in a long native stack, and on each of several thread states.
    for layout in layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let cfas: Vec<u64> = (0..512)
            .map(|index| FSBASE - 0x8_0000 + 8 * index)
            .collect();
        let code = image.named("f");
        let mut last = None;
        for number in 0..limit::MAX_OWN_THREAD_STATES as u64 {
            let interpreter = image.add_interpreter();
            let mut stack = image.add_thread_state(interpreter, FSBASE, FSBASE - 0x10 * number);
            // Each in a run of its own, where there are runs; the last state is far too deep.
            for _ in 0..if number == 0 { 4200 } else { 150 } {
                let frame = image.frame(code, 0);
                image.run(&mut stack, &[frame]);
            }
            last = Some(stack);
        }
        let stack = last.unwrap();
        let thread = Thread {
            fsbase: FSBASE,
            sp: stack.sp.min(FSBASE - 0x10_0000),
            cfas: &cfas,
            ..Thread::default()
        };
        let mut session = Session::default();
        let walk = session.walk(&image, &thread, |address, bytes| image.read(address, bytes));
        assert!(
            ends_with_reason(&walk),
            "{name}: {} words",
            walk.words.len()
        );
    }
}

/// Memory without end, in which every frame is called by another one.
fn walk_endless(image: &Image, code: u64, kind: Endless, cfas: &[u64]) -> Walk {
    let layout = &image.kernel;
    let fields = image.layout.frame;
    let thread = Thread {
        fsbase: FSBASE,
        cfas,
        ..Thread::default()
    };
    let mut session = Session::default();
    let first = 0x6000_0000_0000_u64;
    session.walk(image, &thread, |address, bytes| {
        if address < first || address >= first + (1 << 40) {
            return image.read(address, bytes);
        }
        // A frame at every 1,024 bytes; a cframe lies behind it.
        bytes.fill(0);
        let frame = address & !1023;
        let mut put = |offset: u64, value: &[u8]| {
            for (at, byte) in (frame + offset..).zip(value) {
                if let Some(place) = at
                    .checked_sub(address)
                    .and_then(|at| bytes.get_mut(at as usize))
                {
                    *place = *byte;
                }
            }
        };
        let ends_run = |frame: u64| match kind {
            Endless::Frames => false,
            Endless::Entries => true,
            Endless::Alternating => frame & 1024 != 0,
        };
        let is_entry = ends_run(frame);
        put(u64::from(fields.code), &code.to_le_bytes());
        put(u64::from(fields.previous), &(frame + 1024).to_le_bytes());
        if let (true, Some(owner), Some(value)) = (is_entry, fields.owner, fields.entry_owner) {
            put(owner.into(), &[value]);
        }
        put(
            512 + u64::from(layout.cframe_previous),
            &(frame + 1024 + 512).to_le_bytes(),
        );
        if let (true, true) = (is_entry, layout.flags & LAYOUT_CFRAME_PER_RUN != 0) {
            put(layout.frame_is_entry.into(), &[1]);
        }
        // 3.11: where the cframe before is, the run ends.
        let is_boundary = layout.flags & LAYOUT_CFRAME_PER_RUN == 0
            || !matches!(kind, Endless::Frames)
            || frame == first & !1023;
        if layout.flags & (LAYOUT_CFRAME | LAYOUT_CALL_PER_FRAME) == LAYOUT_CFRAME && is_boundary {
            put(
                512 + u64::from(layout.cframe_current_frame),
                &frame.to_le_bytes(),
            );
        }
        true
    })
}

#[derive(Clone, Copy, Debug)]
enum Endless {
    Frames,
    Entries,
    Alternating,
}

#[test]
fn stacks_without_end_end_with_a_reason() {
    for layout in layouts() {
        let name = name_of(&layout);
        let mut image = Image::new(layout);
        let stack = image.add_main();
        let code = image.named("f");
        let first = 0x6000_0000_0000_u64;
        let fields = image.layout.thread_state;
        for (offset, value) in [
            (fields.frame.or(fields.current_frame), first),
            (fields.cframe, first + 512),
        ] {
            if let Some(offset) = offset {
                image.set(stack.state + u64::from(offset), value);
            }
        }
        let long: Vec<u64> = (0..512).map(|index| first + index).collect();
        for kind in [Endless::Frames, Endless::Entries, Endless::Alternating] {
            for cfas in [&[][..], &long] {
                let walk = walk_endless(&image, code, kind, cfas);
                assert!(
                    ends_with_reason(&walk),
                    "{name} {kind:?}: {} words",
                    walk.words.len()
                );
            }
        }
    }
}

/// What a walk of the sampled thread shows if the reads for which `fails` is true fail, and how many reads there were.
/// The walker has seen the stack before.
fn show_with_failing_reads(
    image: &Image,
    stack: &Stack,
    fails: impl Fn(u32) -> bool,
) -> (String, u32) {
    let cfas = stack.cfas_leaf_first();
    let thread = Thread {
        fsbase: FSBASE,
        tid: 7,
        sp: stack.sp,
        cfas: &cfas,
        ..Thread::default()
    };
    let mut session = Session::default();
    session.walk_stack(image, stack);
    let mut reads = 0;
    let walk = session.walk(image, &thread, |address, bytes| {
        reads += 1;
        !fails(reads) && image.read(address, bytes)
    });
    let shown = session.show(&walk);
    (
        if walk.no_thread_state {
            "no thread state".to_owned()
        } else {
            shown
        },
        reads,
    )
}

/// A walk shows a part of the whole stack from the leaf on, and a reason; or that there is nothing; or it is whole.
/// Names that could not be read are empty.
fn is_honest(found: &str, whole: &str) -> bool {
    let is_same = |(found, whole): (&str, &str)| {
        found == whole || found.starts_with('+') && whole.ends_with(found)
    };
    let words: Vec<&str> = found.split(' ').collect();
    let whole: Vec<&str> = whole.split(' ').collect();
    let kept = words
        .iter()
        .take_while(|word| !word.starts_with('!'))
        .count();
    found == "no thread state"
        || words
            .iter()
            .copied()
            .zip(whole.iter().copied())
            .take(kept)
            .all(is_same)
            && (kept == whole.len() || kept < words.len())
}

#[test]
fn a_stack_that_is_pulled_away_at_any_read_never_comes_out_as_another_stack() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (image, stack) = image_with_runs(layout);
        let (whole, reads) = show_with_failing_reads(&image, &stack, |_| false);
        for first in 1..=reads {
            let (found, _) = show_with_failing_reads(&image, &stack, |number| number >= first);
            assert!(is_honest(&found, &whole), "{name} from {first} on: {found}");
        }
    }
}

#[test]
fn a_single_read_that_fails_never_makes_another_stack() {
    for layout in layouts() {
        let name = name_of(&layout);
        let (image, stack) = image_with_runs(layout);
        let (whole, reads) = show_with_failing_reads(&image, &stack, |_| false);
        for one in 1..=reads {
            let (found, _) = show_with_failing_reads(&image, &stack, |number| number == one);
            assert!(is_honest(&found, &whole), "{name} {one}: {found}");
        }
    }
}

/// Words that mean something somewhere, and some that mean nothing anywhere.
fn tempting_word(rng: &mut Rng, image: &Image, places: &[u64]) -> u64 {
    match rng.u8(0..16) {
        0..=5 => places[rng.usize(0..places.len())],
        6 => places[rng.usize(0..places.len())] + rng.u64(0..64),
        7 => image.code_type,
        8 => FSBASE,
        9 => 0,
        10 => rng.u64(0..512),
        11 => 1 << rng.u32(0..64),
        12 => 0xffff_8880_0000_0000 | rng.u64(0..1 << 40),
        13 => u64::MAX - rng.u64(0..64),
        _ => rng.u64(..),
    }
}

/// Every object of an image that something could point to.
fn places_of(image: &Image, stack: &Stack) -> Vec<u64> {
    let mut places = frames_of(image, stack);
    places.extend([stack.state, stack.cframe, image.runtime, image.code_type]);
    let fields = image.layout.code;
    for frame in frames_of(image, stack) {
        let code = image.word(frame + u64::from(image.layout.frame.code));
        if code == 0 {
            continue;
        }
        places.push(code);
        places.push(image.word(code + u64::from(fields.filename)));
        places.push(image.word(code + u64::from(fields.line_table)));
    }
    places
}

/// How the memory of a walk deviates from the image.
#[derive(Clone, Copy, Debug)]
enum Nonsense {
    /// Each word that is read can be another one, and another one again at the next read.
    Torn { one_in: u32 },
    /// As before, but a word that was read stays what it was.
    Wrong { one_in: u32 },
    /// There is no image: every word is made up at its first read.
    Garbage,
}

fn walk_nonsense(
    walker: &mut Walker,
    rng: &mut Rng,
    image: &Image,
    stack: &Stack,
    nonsense: Nonsense,
) -> Walk {
    let cfas = stack.cfas_leaf_first();
    let places = places_of(image, stack);
    let thread = Thread {
        fsbase: FSBASE,
        tid: rng.u32(0..4),
        sp: stack.sp,
        cfas: &cfas,
        time_ns: rng.u64(0..1 << 32),
        deferred: rng.u8(0..4) == 0,
    };
    let mut process = image.process();
    process.epoch = rng.u32(0..1000);
    let mut kept: HashMap<u64, u64> = HashMap::new();
    walker.walk(&process, &thread, |address, bytes| {
        let is_there = image.read(address, bytes);
        let (one_in, keeps) = match nonsense {
            Nonsense::Torn { one_in } => (one_in, false),
            Nonsense::Wrong { one_in } => (one_in, true),
            Nonsense::Garbage => (1, true),
        };
        let mut changed = false;
        for (index, word) in bytes.chunks_mut(8).enumerate() {
            let place = address.wrapping_add(8 * index as u64);
            let known = kept.get(&place).copied();
            if known.is_none() && rng.u32(0..one_in) != 0 {
                continue;
            }
            let value = known.unwrap_or_else(|| tempting_word(rng, image, &places));
            if keeps {
                kept.insert(place, value);
            }
            word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
            changed = true;
        }
        is_there || changed && rng.u8(0..8) != 0
    })
}

/// A word that the Python section can hold at this place.
fn is_well_formed(word: &Word, is_last: bool, native_frames: usize) -> bool {
    match word {
        Word::Python { unit, .. } => *unit >= -1,
        Word::Entry { owner } => owner.is_none_or(|owner| usize::from(owner) < native_frames),
        Word::EntryAddress(_) | Word::Suspended => true,
        Word::Reason(reason) => is_last && reason.is_ok() || *reason == Ok(Reason::PythonTooDeep),
        _ => false,
    }
}

#[test]
fn a_hundred_thousand_walks_over_nonsense_end_within_bounds() {
    const WALKS: usize = 100_000;
    let started = Instant::now();
    let mut rng = Rng::with_seed(3);
    let images: Vec<(Image, Stack)> = layouts()
        .map(|layout| {
            let mut image = Image::with_keys(layout, CLibrary::Glibc);
            let mut stack = image.add_main();
            for run in [
                &["<module>", "main"][..],
                &["key"],
                &["callback", "inner", "leaf"],
            ] {
                let frames: Vec<u64> = run.iter().map(|name| image.frame_of(name, 1)).collect();
                image.run(&mut stack, &frames);
            }
            (image, stack)
        })
        .collect();
    let (mut words, mut definitions, mut most_reads, mut whole) = (0, 0, 0, 0);
    let mut walker = Walker::new();
    for number in 0..WALKS {
        if number % 1000 == 0 {
            walker = Walker::new();
        }
        let (image, stack) = &images[rng.usize(0..images.len())];
        let nonsense = match rng.u8(0..8) {
            0 => Nonsense::Garbage,
            1..=3 => Nonsense::Torn {
                one_in: 1 << rng.u32(1..10),
            },
            _ => Nonsense::Wrong {
                one_in: 1 << rng.u32(1..10),
            },
        };
        let walk = walk_nonsense(&mut walker, &mut rng, image, stack, nonsense);
        assert!(
            walk.reads <= MOST_READS,
            "walk {number}: {} reads",
            walk.reads
        );
        assert!(walk.words.len() <= MOST_WORDS, "walk {number}");
        for (index, word) in walk.words.iter().enumerate() {
            let is_last = index + 1 == walk.words.len();
            let is_right = is_well_formed(word, is_last, stack.cfas.len());
            assert!(is_right, "walk {number}: {word:?}");
        }
        words += walk.words.len();
        definitions += walk.definitions.len();
        most_reads = most_reads.max(walk.reads);
        whole += usize::from(!walk.words.is_empty() && !ends_with_reason(&walk));
    }
    println!(
        "{WALKS} walks, {words} words, {definitions} definitions, at most {most_reads} reads, {whole} whole"
    );
    // They do get somewhere.
    assert!(words > WALKS && definitions > WALKS / 10 && whole > WALKS / 100);
    assert!(started.elapsed() < Duration::from_secs(120));
}
