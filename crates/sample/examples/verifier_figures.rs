//! Loads the programs as they are and prints what the verifier says of each: time, stack depth, instructions.
//!
//! `cargo run -p viperf-sample --example verifier_figures`, as root.

use libbpf_rs::{ObjectBuilder, PrintLevel, set_print};

/// `BPF_LOG_STATS` of include/linux/bpf_verifier.h: the figures alone.
const STATISTICS_ONLY: u32 = 4;

fn main() -> Result<(), libbpf_rs::Error> {
    set_print(Some((PrintLevel::Debug, |_, text| {
        let figures = [
            "processed ",
            "verification time",
            "stack depth",
            "BEGIN PROG LOAD LOG",
        ];
        for line in text
            .lines()
            .filter(|line| figures.iter().any(|figure| line.contains(figure)))
        {
            println!("{}", line.trim_start_matches("libbpf: "));
        }
    })));
    let mut object = ObjectBuilder::default().open_memory(viperf_bpf::programs())?;
    for mut program in object.progs_mut() {
        program.set_log_level(STATISTICS_ONLY);
    }
    object.load().map(|_| ())
}
