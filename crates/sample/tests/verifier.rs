//! What the programs cost the kernel's verifier, and what older kernels demand of them, measured on the kernel at hand.

use std::sync::OnceLock;

use viperf_sample::ProgramFigures;

/// Until 6.6 all calls of a chain share 512 bytes of stack, each rounded up to 32 (`check_max_stack_depth` in
/// kernel/bpf/verifier.c); the deepest chain has six functions here, and one of them alone must not take too much.
const LARGEST_FRAME: u32 = 128;

/// Instructions that the verifier looked at when this was written, and the share by which they may grow unnoticed: its work
/// was half of the time and most of the CPU that a start took, when there were 172,000. Kernels differ by some percent.
const INSTRUCTIONS: u64 = 34_300;
const LARGEST_GROWTH: f64 = 0.15;

/// Measured once: the verifier's text comes through a hook that a process has one of.
fn sampling_program() -> Option<&'static ProgramFigures> {
    static MEASURED: OnceLock<Option<ProgramFigures>> = OnceLock::new();
    MEASURED.get_or_init(measure_sampling_program).as_ref()
}

fn measure_sampling_program() -> Option<ProgramFigures> {
    let programs = viperf_sample::measure_programs()
        .inspect_err(|error| println!("skipped: the kernel loads no programs here: {error}"))
        .ok()?;
    let found = programs
        .into_iter()
        .find(|program| program.stack_depths.len() > 1);
    assert!(found.is_some(), "the verifier told no figures");
    found
}

#[test]
fn no_function_takes_more_of_the_stack_than_older_kernels_leave_it() {
    let Some(program) = sampling_program() else {
        return;
    };
    println!("stack depths {:?}", program.stack_depths);
    for depth in &program.stack_depths {
        assert!(
            *depth <= LARGEST_FRAME,
            "{depth} bytes in one function: {:?}",
            program.stack_depths
        );
    }
}

#[test]
fn the_verifiers_work_does_not_creep_back() {
    let Some(program) = sampling_program() else {
        return;
    };
    let most = INSTRUCTIONS as f64 * (1.0 + LARGEST_GROWTH);
    println!(
        "{} instructions, {} microseconds",
        program.instructions, program.microseconds
    );
    assert!(
        program.instructions as f64 <= most,
        "{} instructions, {INSTRUCTIONS} before: look at which function grew (bpftool -d prog load)",
        program.instructions
    );
}
