use std::sync::{Mutex, PoisonError};

use libbpf_rs::{PrintLevel, set_print};
use viperf_abi::Configuration;

use crate::{Clock, SampleError, capacity::Capacity, load::open_object};

/// `BPF_LOG_STATS` of include/linux/bpf_verifier.h: the figures alone.
const STATISTICS_ONLY: u32 = 4;

/// What the kernel's verifier said of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramFigures {
    /// The program's name.
    pub name: String,
    /// Instructions that were looked at, of 1,000,000 at most.
    pub instructions: u64,
    /// States of the program that were kept.
    pub states: u64,
    /// How long that took.
    pub microseconds: u64,
    /// Bytes of stack, of each function.
    pub stack_depths: Vec<u32>,
}

static LOG: Mutex<String> = Mutex::new(String::new());

/// Loads the programs as `viperf record` does, asks for the verifier's figures, and unloads them.
///
/// # Errors
/// As for loading them.
pub fn measure_programs(clock: Clock) -> Result<Vec<ProgramFigures>, SampleError> {
    let configuration = Configuration {
        native: 1,
        kernel: 1,
        follow_children: 1,
        report_every_exec: 1,
        ..Configuration::default()
    };
    let mut object = open_object(configuration, &Capacity::of(&configuration, 1), clock)?;
    for mut program in object.progs_mut() {
        program.set_log_level(STATISTICS_ONLY);
    }
    set_print(Some((PrintLevel::Debug, |_level, text| {
        LOG.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&text);
    })));
    let loaded = object.load();
    let log = std::mem::take(&mut *LOG.lock().unwrap_or_else(PoisonError::into_inner));
    loaded.map_err(|source| SampleError::Rejected {
        source,
        log: last_lines(&log),
    })?;
    Ok(parse_log(&log))
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let start = lines.len().saturating_sub(20);
    lines.get(start..).unwrap_or_default().join(" | ")
}

/// libbpf puts a line `prog 'NAME': -- BEGIN PROG LOAD LOG --` before the kernel's.
fn parse_log(log: &str) -> Vec<ProgramFigures> {
    let mut found: Vec<ProgramFigures> = Vec::new();
    for line in log.lines() {
        let line = line.trim();
        let begins = line
            .split_once("prog '")
            .filter(|_| line.contains("BEGIN PROG LOAD LOG"));
        if let Some((name, _)) = begins.and_then(|(_, rest)| rest.split_once('\'')) {
            found.push(ProgramFigures {
                name: name.to_owned(),
                ..ProgramFigures::default()
            });
        }
        let Some(program) = found.last_mut() else {
            continue;
        };
        if let Some(number) = number_after(line, "verification time ") {
            program.microseconds = number;
        } else if let Some(depths) = line.strip_prefix("stack depth ") {
            program.stack_depths = depths
                .split('+')
                .filter_map(|depth| depth.split_whitespace().next()?.parse().ok())
                .collect();
        } else if let Some(number) = number_after(line, "processed ") {
            program.instructions = number;
            program.states = number_after(line, "total_states ").unwrap_or(0);
        }
    }
    found
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    let (_, rest) = line.split_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_kernels_own_words() {
        let log = "\
libbpf: prog 'on_cpu_sample': -- BEGIN PROG LOAD LOG --
verification time 51234 usec
stack depth 96+0+48
processed 40321 insns (limit 1000000) max_states_per_insn 12 total_states 2345 peak_states 700 mark_read 90
-- END PROG LOAD LOG --
libbpf: prog 'process_exit': -- BEGIN PROG LOAD LOG --
processed 40 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 3 mark_read 1
";
        let expected = [
            ProgramFigures {
                name: "on_cpu_sample".to_owned(),
                instructions: 40321,
                states: 2345,
                microseconds: 51234,
                stack_depths: vec![96, 0, 48],
            },
            ProgramFigures {
                name: "process_exit".to_owned(),
                instructions: 40,
                states: 3,
                ..ProgramFigures::default()
            },
        ];
        assert_eq!(parse_log(log), expected);
        assert!(parse_log("processed 1 insns\nlibbpf: prog '").is_empty());
    }
}
