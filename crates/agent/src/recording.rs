//! Everything that a recording gathers until it becomes a profile.

use std::collections::HashSet;

use viperf_abi::SampleRecord;

use crate::{
    code_objects::CodeObjects,
    executables::Executables,
    processes::Processes,
    stacks::{StackNumber, Stacks},
};

/// One sample: its stack as a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSample {
    pub(crate) time_ns: u64,
    pub(crate) tid: u32,
    pub(crate) cpu: u32,
    /// Index of the process's description.
    pub(crate) process: u32,
    /// Index of the thread's name.
    pub(crate) thread_name: u32,
    pub(crate) stack: StackNumber,
}

/// Everything that a recording gathers.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) processes: Processes,
    pub(crate) executables: Executables,
    pub(crate) codes: CodeObjects,
    pub(crate) stacks: Stacks,
    pub(crate) samples: Vec<RawSample>,
    pub(crate) thread_names: Vec<String>,
    /// Descriptions that have samples.
    pub(crate) sampled: HashSet<u32>,
    /// Samples of stacks that user space never got.
    pub(crate) unknown_stacks: u64,
}

impl Recording {
    /// Adds a sample whose stack is known.
    pub(crate) fn add_sample(&mut self, sample: &SampleRecord, stack: StackNumber) {
        let process = self.processes.description(sample.epoch, sample.tgid) as u32;
        let name = sample
            .thread_name
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        // Threads of one kind follow each other, and there are few kinds.
        let found = self.thread_names.iter().rposition(|known| *known == name);
        let thread_name = found.unwrap_or_else(|| {
            self.thread_names.push(name.into_owned());
            self.thread_names.len() - 1
        });
        self.sampled.insert(process);
        self.samples.push(RawSample {
            time_ns: sample.time_ns,
            tid: sample.tid,
            cpu: sample.cpu,
            process,
            thread_name: thread_name as u32,
            stack,
        });
    }
}
