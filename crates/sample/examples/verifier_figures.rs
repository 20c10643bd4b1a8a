//! Loads the programs as they are and prints what the verifier says of each: instructions, states, milliseconds, and the
//! stack of each function.
//!
//! `cargo run -p viperf-sample --example verifier_figures`, as root.

fn main() -> Result<(), viperf_sample::SampleError> {
    for program in viperf_sample::measure_programs()? {
        println!(
            "{} {} {} {:.1}",
            program.name,
            program.instructions,
            program.states,
            program.microseconds as f64 / 1000.0
        );
        println!("# stack depth {:?}", program.stack_depths);
    }
    Ok(())
}
