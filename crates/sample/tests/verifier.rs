//! What the programs cost the kernel's verifier, and what older kernels demand of them, measured on the kernel at hand.

use std::sync::OnceLock;

use viperf_sample::{Clock, ProgramFigures, SampleError};

/// Until 6.6 all calls of a chain share 512 bytes of stack, each rounded up to 32 (`check_max_stack_depth` in
/// kernel/bpf/verifier.c); the deepest chain has six functions here, and one of them alone must not take too much.
const LARGEST_FRAME: u32 = 128;

/// Instructions of each program that the verifier looked at when this was written, and the share by which they may grow
/// unnoticed: its work was half of the time and most of the CPU that a start took, when there were 172,000. Kernels differ by
/// some percent, which are more of a program that has few: hence so many more for each.
const INSTRUCTIONS: [(&str, u64); 5] = [
    ("on_cpu_sample", 35_300),
    ("process_fork", 119),
    ("process_exec", 109),
    ("process_exit", 51),
    ("process_free", 21),
];
const LARGEST_GROWTH: f64 = 0.15;
const OF_KERNELS: f64 = 40.0;

/// Measured once: the verifier's text comes through a hook that a process has one of.
fn programs() -> &'static [(Clock, Vec<ProgramFigures>)] {
    static MEASURED: OnceLock<Vec<(Clock, Vec<ProgramFigures>)>> = OnceLock::new();
    MEASURED.get_or_init(|| {
        let clocks = [Clock::Event, Clock::Tick].into_iter();
        clocks
            .filter_map(|clock| Some((clock, measure(clock)?)))
            .collect()
    })
}

fn measure(clock: Clock) -> Option<Vec<ProgramFigures>> {
    let programs = viperf_sample::measure_programs(clock)
        .inspect_err(|error| {
            // What the verifier refuses is no reason to skip.
            assert!(!matches!(error, SampleError::Rejected { .. }), "{error}");
            println!("skipped: the kernel loads no programs for {clock:?} here: {error}");
        })
        .ok()?;
    assert!(
        programs
            .iter()
            .any(|program| program.stack_depths.len() > 1),
        "the verifier told no figures"
    );
    Some(programs)
}

#[test]
fn no_function_takes_more_of_the_stack_than_older_kernels_leave_it() {
    let all = programs().iter().flat_map(|(_, programs)| programs);
    // The others are no chain of functions.
    for program in all.filter(|program| program.stack_depths.len() > 1) {
        println!("{}: stack depths {:?}", program.name, program.stack_depths);
        for depth in &program.stack_depths {
            assert!(
                *depth <= LARGEST_FRAME,
                "{}: {depth} bytes in one function: {:?}",
                program.name,
                program.stack_depths
            );
        }
    }
}

#[test]
fn the_verifiers_work_does_not_creep_back() {
    for (clock, programs) in programs() {
        for program in programs {
            let of_name = INSTRUCTIONS.iter().find(|(name, _)| *name == program.name);
            let Some((_, before)) = of_name else {
                panic!("{} is not in INSTRUCTIONS", program.name);
            };
            println!(
                "{} by {clock:?}: {} instructions, {} microseconds",
                program.name, program.instructions, program.microseconds
            );
            let most = *before as f64 * (1.0 + LARGEST_GROWTH) + OF_KERNELS;
            assert!(
                program.instructions as f64 <= most,
                "{}: {} instructions, {before} before: look at which function grew (bpftool -d prog load)",
                program.name,
                program.instructions
            );
        }
    }
}
