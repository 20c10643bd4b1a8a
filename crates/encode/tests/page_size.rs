//! How large a page is, which people send to each other: a minute of a whole machine is to be less than 3 MB.

use std::collections::BTreeSet;

use viperf_encode::{Format, Options, encode};

mod synthetic;

/// A minute at 99 Hz of 16 CPUs that are never idle.
const SAMPLES: usize = 16 * 60 * 99;
const LARGEST: usize = 3_000_000;
/// With the samples that have it.
const LARGEST_STACK: usize = 30;

fn page_size(samples: usize) -> (usize, usize) {
    let made = synthetic::synthetic_profile(samples);
    let needles = made.needle_samples > 0;
    assert_eq!(needles, samples > 0, "{} is in it", synthetic::NEEDLE);
    let stacks: BTreeSet<_> = made.profile.samples.iter().map(|one| one.stack).collect();
    let page = encode(&made.profile, Format::Html, &Options::default()).expect("a sound profile");
    (page.len(), stacks.len())
}

#[test]
fn a_minute_of_16_busy_cpus_with_few_stacks_alike_is_a_page_of_less_than_3_mb() {
    let (empty, _) = page_size(0);
    let (whole, stacks) = page_size(SAMPLES);
    let of_stack = (whole - empty) / stacks;
    println!(
        "{SAMPLES} samples of {stacks} stacks: {whole} bytes, {empty} without; {of_stack} a stack"
    );
    assert!(stacks > SAMPLES / 2, "only {stacks} stacks");
    assert!(whole < LARGEST, "{whole} bytes");
    assert!(of_stack <= LARGEST_STACK, "{of_stack} bytes a stack");
}
