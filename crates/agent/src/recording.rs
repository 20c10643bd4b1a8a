//! Everything that a recording gathers, until it is handed over to become a profile.

use std::{collections::HashSet, rc::Rc, sync::Arc, time::Instant};

use viperf_abi::{
    CodeRecord, SAMPLE_BORROWED_MEMORY, SAMPLE_CALL_PER_FRAME, SAMPLE_NO_THREAD_STATE, SampleRecord,
};
use viperf_sample::Sampler;

use crate::{
    budget::Periods,
    calls::CallMarks,
    code_objects::CodeObjects,
    executables::Executables,
    generated_code::GeneratedNames,
    generated_rows::GeneratedRows,
    handover::{Arrival, Ended, GoneFile, News},
    memory::MemoryShares,
    named_file::NamedFile,
    processes::Processes,
    stacks::{KnownFiles, RawFrame, RawStack, Sections, StackNumber, Stacks},
    threads::Threads,
};

/// One sample: its stack as a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSample {
    pub(crate) time_ns: u64,
    pub(crate) cpu: u32,
    /// Number of the thread, which knows its process.
    pub(crate) thread: u32,
    pub(crate) stack: StackNumber,
    /// The CPU time that it stands for.
    pub(crate) weight_ns: u32,
}

/// Everything that a recording gathers.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) processes: Processes,
    pub(crate) executables: Executables,
    pub(crate) codes: CodeObjects,
    pub(crate) stacks: Stacks,
    /// Whoever makes the profile asks for them, too.
    pub(crate) generated: Arc<GeneratedNames>,
    pub(crate) generated_rows: GeneratedRows,
    /// Those that have not been handed over.
    pub(crate) samples: Vec<RawSample>,
    /// How many there are in all.
    pub(crate) sample_count: u64,
    /// Nobody has taken the earlier ones for so long that there is no room for more.
    pub(crate) is_full: bool,
    /// Samples for which there was none.
    pub(crate) samples_without_room: u64,
    pub(crate) threads: Threads,
    /// Samples of threads of a Python process that had no thread state.
    pub(crate) samples_without_python: u64,
    /// Descriptions that have samples, of processes that have not been forgotten.
    sampled: HashSet<u32>,
    /// How many there have been.
    pub(crate) sampled_processes: usize,
    /// Descriptions that whoever makes the profile is to be told to forget.
    ended: Vec<u32>,
    /// Samples of stacks that user space never got.
    pub(crate) unknown_stacks: u64,
    /// What samples stand for.
    pub(crate) periods: Periods,
    /// Files that the profile knows already.
    named_files: HashSet<u32>,
    /// Those of them that it is to be told to let go.
    gone_files: Vec<u32>,
}

impl Recording {
    /// An empty one that reads these names, and takes no more than its shares.
    pub(crate) fn new(generated: &Arc<GeneratedNames>, shares: &MemoryShares) -> Self {
        Self {
            executables: Executables::new(shares.waiting_rows),
            stacks: Stacks::new(shares.stack_frames),
            generated: Arc::clone(generated),
            generated_rows: GeneratedRows::new(generated),
            ..Self::default()
        }
    }

    /// Adds a sample whose stack is known.
    pub(crate) fn add_sample(&mut self, sample: &SampleRecord, stack: StackNumber) {
        let process = self.processes.description(sample.epoch, sample.tgid);
        if sample.flags & SAMPLE_NO_THREAD_STATE != 0 {
            self.samples_without_python += 1;
        }
        if self.sampled.insert(process) {
            self.sampled_processes += 1;
            self.processes.is_sampled(process);
        }
        self.processes.note_name(process, sample);
        if self.is_full {
            self.samples_without_room += 1;
            return;
        }
        self.sample_count += 1;
        self.samples.push(RawSample {
            time_ns: sample.time_ns,
            cpu: sample.cpu,
            thread: self.threads.number(process, sample),
            stack,
            weight_ns: self.periods.at(sample.time_ns),
        });
    }

    /// Takes the definition of a code object.
    pub(crate) fn define_code(&mut self, code: &CodeRecord, line_table: &[u8]) {
        // What is missing is read from the process, if it is still the same.
        let is_same = self.processes.epoch(code.tgid) == Some(code.epoch);
        let python = self.processes.python(code.tgid).filter(|_| is_same);
        self.codes.define(code, line_table, python.map(Rc::as_ref));
    }

    /// Interns the stack of a sample; `native` says whether its native frames were walked.
    pub(crate) fn define_stack(
        &mut self,
        sample: &SampleRecord,
        sections: &Sections,
        native: bool,
    ) -> StackNumber {
        let process = self.processes.description(sample.epoch, sample.tgid);
        let is_told = self.generated.note(process, sample.tgid, &sections.native);
        if is_told && self.generated_rows.expect_frames(sample.tgid) {
            self.processes.mapped(sample.tgid, false);
        }
        self.executables.note_lost(&sections.native);
        if self
            .generated_rows
            .note(sample.tgid, &sections.native, Instant::now())
        {
            self.processes.mapped(sample.tgid, false);
        }
        let executables = &self.executables;
        let is_call = |executable, svma| executables.is_eval(executable, svma);
        let marks = CallMarks {
            is_call: &is_call,
            is_greenlet: &|executable| executables.is_greenlet(executable),
        };
        let files = KnownFiles {
            is_borrowed: sample.flags & SAMPLE_BORROWED_MEMORY != 0,
            calls: (sample.flags & SAMPLE_CALL_PER_FRAME != 0).then_some(marks),
            is_musl: &|executable| executables.is_musl(executable),
        };
        self.stacks
            .define(process, sections, &self.codes, native, &files)
    }

    /// Whether no frame of the stack is missing.
    pub(crate) fn is_complete(&self, stack: StackNumber) -> bool {
        self.stacks.is_complete(stack)
    }

    /// What is new since the last call.
    pub(crate) fn take_news(&mut self) -> News {
        let stacks = self.stacks.take_new();
        let files = self.name_files(&stacks);
        let samples = std::mem::take(&mut self.samples);
        let latest_ns = samples.iter().map(|sample| sample.time_ns).max();
        let at = Instant::now();
        let arrival = latest_ns.map(|latest_ns| Arrival { at, latest_ns });
        let mut processes = self.processes.take_changed();
        // What was never sampled is not in the profile.
        processes.retain(|(index, _)| self.sampled.contains(index));
        for index in &self.ended {
            self.sampled.remove(index);
        }
        let ended = std::mem::take(&mut self.ended);
        let ended = ended.into_iter().map(|process| Ended { at, process });
        News {
            files,
            functions: self.codes.take_new(),
            gone_functions: self.codes.take_gone(),
            stacks,
            processes,
            threads: self.threads.take_changed(),
            samples,
            arrivals: arrival.into_iter().collect(),
            ended: ended.collect(),
            gone_files: std::mem::take(&mut self.gone_files)
                .into_iter()
                .map(|number| GoneFile { at, number })
                .collect(),
        }
    }

    /// Lets files go that no process has mapped any more, if there are more than `most`, unless they are `awaited`. As with
    /// processes, the news are taken first.
    pub(crate) fn let_files_go(
        &mut self,
        most: usize,
        awaited: impl Fn() -> HashSet<u32>,
        sampler: &mut Sampler,
    ) {
        let processes = &self.processes;
        let mapped = || {
            let mut mapped = awaited();
            mapped.extend(processes.mapped_executables());
            mapped
        };
        for gone in self.executables.let_go(Instant::now(), most, mapped) {
            if let Some(table) = gone.row_table {
                sampler.release_row_table(table);
            }
            if self.named_files.remove(&gone.number) {
                self.gone_files.push(gone.number);
            }
        }
    }

    /// Lets go what was learnt of processes that ended a while ago, unless stacks of them are awaited still. The news are
    /// taken first: what is in them is not asked for again.
    pub(crate) fn forget_departed(&mut self, is_awaited: impl Fn(u32) -> bool, sampler: &Sampler) {
        for (epoch, description) in self.processes.take_departed(is_awaited, sampler) {
            self.codes.forget(epoch);
            if self.processes.forget(epoch, description) {
                self.threads.forget(description);
                self.ended.push(description);
            }
        }
    }

    /// The files that these stacks are the first to lead through.
    fn name_files(&mut self, stacks: &[RawStack]) -> Vec<(u32, NamedFile)> {
        let mut files = Vec::new();
        for frame in stacks.iter().flat_map(|stack| &*stack.frames) {
            let (RawFrame::Native { executable, .. } | RawFrame::Interpreter { executable, .. }) =
                *frame
            else {
                continue;
            };
            if !self.named_files.insert(executable) {
                continue;
            }
            let found = self.executables.find(executable);
            let has_tail_calls = self.executables.has_tail_calls(executable);
            files.extend(found.map(|found| (executable, found.for_names(has_tail_calls))));
        }
        files
    }
}
