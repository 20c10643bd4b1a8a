//! What older kernels demand of the programs, measured on the kernel at hand.

#![allow(clippy::unwrap_used, reason = "the whole file is tests")]

use std::sync::Mutex;

use libbpf_rs::{ObjectBuilder, PrintLevel, set_print};

/// `BPF_LOG_STATS` of include/linux/bpf_verifier.h: the figures alone.
const STATISTICS_ONLY: u32 = 4;

/// Until 6.6 all calls of a chain share 512 bytes of stack, each rounded up to 32 (`check_max_stack_depth` in
/// kernel/bpf/verifier.c); the deepest chain has six functions here, and one of them alone must not take too much.
const LARGEST_FRAME: u32 = 128;

static LOG: Mutex<String> = Mutex::new(String::new());

#[test]
fn no_function_takes_more_of_the_stack_than_older_kernels_leave_it() {
    set_print(Some((PrintLevel::Debug, |_, text| {
        LOG.lock().unwrap().push_str(&text);
    })));
    let mut object = ObjectBuilder::default()
        .open_memory(viperf_bpf::programs())
        .unwrap();
    for mut program in object.progs_mut() {
        program.set_log_level(STATISTICS_ONLY);
    }
    if let Err(error) = object.load() {
        return println!("skipped: the kernel loads no programs here: {error}");
    }
    let log = LOG.lock().unwrap();
    let depths = log
        .lines()
        .filter_map(|line| line.trim().split_once("stack depth "));
    let sampling = depths
        .map(|(_, depths)| depths)
        .find(|depths| depths.contains('+'))
        .unwrap();
    println!("stack depth {sampling}");
    for depth in sampling
        .split('+')
        .filter_map(|depth| depth.trim().parse::<u32>().ok())
    {
        assert!(
            depth <= LARGEST_FRAME,
            "{depth} bytes in one function: {sampling}"
        );
    }
}
