//! Everything that a recording gathers until it becomes a profile.

use std::collections::HashSet;

use viperf_abi::{SAMPLE_NO_THREAD_STATE, SampleRecord};

use crate::{
    code_objects::CodeObjects,
    executables::Executables,
    generated_code::GeneratedNames,
    generated_rows::GeneratedRows,
    processes::Processes,
    stacks::{StackNumber, Stacks},
    threads::Threads,
};

/// One sample: its stack as a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSample {
    pub(crate) time_ns: u64,
    pub(crate) cpu: u32,
    /// Index of the process's description.
    pub(crate) process: u32,
    /// Number of the thread.
    pub(crate) thread: u32,
    pub(crate) stack: StackNumber,
}

/// Everything that a recording gathers.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) processes: Processes,
    pub(crate) executables: Executables,
    pub(crate) codes: CodeObjects,
    pub(crate) stacks: Stacks,
    pub(crate) generated: GeneratedNames,
    pub(crate) generated_rows: GeneratedRows,
    pub(crate) samples: Vec<RawSample>,
    pub(crate) threads: Threads,
    /// Samples of threads of a Python process that had no thread state.
    pub(crate) samples_without_python: u64,
    /// Descriptions that have samples.
    pub(crate) sampled: HashSet<u32>,
    /// Samples of stacks that user space never got.
    pub(crate) unknown_stacks: u64,
}

impl Recording {
    /// Adds a sample whose stack is known.
    pub(crate) fn add_sample(&mut self, sample: &SampleRecord, stack: StackNumber) {
        let process = self.processes.description(sample.epoch, sample.tgid) as u32;
        if sample.flags & SAMPLE_NO_THREAD_STATE != 0 {
            self.samples_without_python += 1;
        }
        self.sampled.insert(process);
        self.samples.push(RawSample {
            time_ns: sample.time_ns,
            cpu: sample.cpu,
            process,
            thread: self.threads.number(process, sample),
            stack,
        });
    }
}
