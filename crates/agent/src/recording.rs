//! Everything that a recording gathers until it becomes a profile.

use std::collections::{HashMap, HashSet};

use viperf_abi::{SampleRecord, limit::THREAD_NAME_BYTES};

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
    by_thread_name: HashMap<[u8; THREAD_NAME_BYTES], u32>,
    /// Descriptions that have samples.
    pub(crate) sampled: HashSet<u32>,
    /// Samples of stacks that user space never got.
    pub(crate) unknown_stacks: u64,
}

impl Recording {
    /// Adds a sample whose stack is known.
    pub(crate) fn add_sample(&mut self, sample: &SampleRecord, stack: StackNumber) {
        let process = self.processes.description(sample.epoch, sample.tgid) as u32;
        let thread_name = *self
            .by_thread_name
            .entry(sample.thread_name)
            .or_insert_with_key(|bytes| {
                let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                self.thread_names
                    .push(String::from_utf8_lossy(name).into_owned());
                self.thread_names.len() as u32 - 1
            });
        self.sampled.insert(process);
        self.samples.push(RawSample {
            time_ns: sample.time_ns,
            tid: sample.tid,
            cpu: sample.cpu,
            process,
            thread_name,
            stack,
        });
    }
}
