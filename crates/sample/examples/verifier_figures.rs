//! Loads the programs as they are, for each clock, and prints what the verifier says of each: instructions, states,
//! milliseconds, and the stack of each function.
//!
//! `cargo run -p viperf-sample --example verifier_figures`, as root.

use viperf_sample::{Clock, SampleError, measure_programs};

fn main() -> Result<(), SampleError> {
    for clock in [Clock::Event, Clock::Tick] {
        println!("# {clock:?}");
        for program in measure_programs(clock)? {
            println!(
                "{} {} {} {:.1}",
                program.name,
                program.instructions,
                program.states,
                program.microseconds as f64 / 1000.0
            );
            println!("# stack depth {:?}", program.stack_depths);
        }
    }
    Ok(())
}
