//! From the kernel's records to the recording.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use viperf_abi::{
    CaptureRecord, Lost, Mapping, Reason, Record, SAMPLE_DEFERRED, SampleRecord, Word,
    decode_record,
};
use viperf_sample::{MappingChange, Polled};

use super::Recorder;
use crate::{
    deferred::{self, Awaited, Deferred, Finished},
    found::{Found, Readers},
    stacks::{Sections, StackNumber},
    targets,
};

/// Rows that are being built are given to the kernel so soon.
const POLL_FOR_ROWS: Duration = Duration::from_millis(5);

/// How long rows are waited for at the end of the recording.
const LONGEST_END: Duration = Duration::from_secs(10);

/// A deferred sample that has been walked, and among what.
struct Walked {
    finished: Finished,
    mappings: Rc<[Mapping]>,
    python: Option<u32>,
}

impl Walked {
    /// Whether it has come farther than another walk of the same sample.
    fn is_better_than(&self, other: &Self) -> bool {
        let (new, old) = (&self.finished, &other.finished);
        new.is_whole
            || new.awaits.is_some()
            || new.sections.native.len() > old.sections.native.len()
    }
}

/// The mappings of a deferred sample are all known.
fn lacks_only_a_row(native: &[u64]) -> bool {
    let has = |reason| {
        let mut words = native.iter();
        words.any(|word| Word::decode(*word) == Word::Reason(Ok(reason)))
    };
    has(Reason::NativeNoRow) && !has(Reason::NativeNoMapping)
}

impl Recorder<'_> {
    /// Takes what there is; gives the buffer back.
    pub(super) fn poll(&mut self, timeout: Duration, buffer: Vec<u8>) -> Vec<u8> {
        let timeout = match self.recording.executables.is_building() {
            true => timeout.min(POLL_FOR_ROWS),
            false => timeout,
        };
        let mut polled = self.sampler.poll(timeout, buffer);
        self.note_history(&mut polled);
        let records: Vec<Record<'_>> = polled.records().filter_map(decode_record).collect();
        // A process that has just started is read first: each of its samples until then is sent with its stack, and naming the
        // code of others can take long.
        records.iter().for_each(|record| self.take_event(record));
        self.note_mappings(&polled);
        self.note_lost_events();
        self.read_targets();
        records.into_iter().for_each(|record| self.take(record));
        self.finish_deferred();
        self.recording.generated.refresh(Instant::now());
        let processes = &self.recording.processes;
        let find = |pid, process| processes.python_of(pid, process);
        self.recording.threads.read_names(Instant::now(), find);
        if self.first_sample.is_none() && self.recording.sample_count > 0 {
            self.first_sample = Some(self.called.elapsed());
        }
        polled.into_buffer()
    }

    /// Gives the kernel the rows that have been built, and reads the processes that have changed.
    fn read_targets(&mut self) {
        let executables = &mut self.recording.executables;
        for note in executables.load_built(&mut self.sampler) {
            self.recording.processes.tell(note);
        }
        let mut readers = Readers {
            sampler: &mut self.sampler,
            executables: &mut self.recording.executables,
            generated: &mut self.recording.generated_rows,
        };
        self.recording.processes.read_stale(&mut readers);
        readers.generated.give_back(readers.sampler);
    }

    /// Forks, execs and exits for which the ring had no room: what they would have told is read anew.
    fn note_lost_events(&mut self) {
        let lost = self.sampler.lost()[Lost::ProcessEvents as usize];
        if lost > self.lost_events {
            self.lost_events = lost;
            let processes = &mut self.recording.processes;
            processes.all_changed();
            processes.tell(
                "starts or ends of processes were lost under load; all targets were read again"
                    .to_owned(),
            );
        }
    }

    /// What the kernel has recorded of mappings is kept for samples of processes that end before they are read.
    fn note_history(&mut self, polled: &mut Polled) {
        let records = std::mem::take(&mut polled.mapping_records);
        let are_some_lost = polled.mapping_changes.contains(&MappingChange::Any);
        self.history
            .note(records, are_some_lost, viperf_sample::now_ns());
    }

    fn note_mappings(&mut self, polled: &Polled) {
        for change in &polled.mapping_changes {
            match change {
                MappingChange::Any => self.recording.processes.all_changed(),
                MappingChange::Pid(pid) if self.recording.processes.is_tracked(*pid) => {
                    self.recording.processes.mapped(*pid, false);
                }
                MappingChange::Pid(pid) => self.track_if_wanted(*pid),
            }
        }
    }

    /// A process that is no target has changed: when every Python is wanted, it may have become one.
    fn track_if_wanted(&mut self, pid: u32) {
        if !self.options.target.wants_every_python() {
            return;
        }
        let mut readers = Readers {
            sampler: &mut self.sampler,
            executables: &mut self.recording.executables,
            generated: &mut self.recording.generated_rows,
        };
        targets::track_if_python(pid, &mut self.recording.processes, &mut readers);
    }

    /// What happened to processes, in its order.
    fn take_event(&mut self, record: &Record<'_>) {
        let processes = &mut self.recording.processes;
        match record {
            Record::Fork(fork) => {
                self.history.begin(fork.tgid, fork.time_ns);
                processes.fork(fork, &mut self.sampler);
            }
            Record::Adopted(adopted) => processes.adopt(adopted),
            Record::Exec(exec) if processes.is_tracked(exec.tgid) => {
                // What the old program told of its code is not to be read in the new one.
                self.recording.generated.process_ended(exec.tgid);
                self.recording.generated_rows.forget(exec.tgid);
                processes.exec(exec, &mut self.sampler);
            }
            Record::Exec(exec) => self.track_if_wanted(exec.tgid),
            Record::Exit(exit) => {
                self.recording.generated_rows.forget(exit.tgid);
                processes.exit(exit.tgid, &mut self.sampler);
            }
            Record::Stack { sample, native, .. }
                if sample.flags & SAMPLE_DEFERRED != 0 && !lacks_only_a_row(native) =>
            {
                processes.mapped(sample.tgid, true);
            }
            Record::Stack { .. }
            | Record::Sample(_)
            | Record::Code { .. }
            | Record::Capture { .. }
            | Record::Thread(_) => {}
        }
    }

    /// Samples, and what they are made of.
    fn take(&mut self, record: Record<'_>) {
        let recording = &mut self.recording;
        match record {
            Record::Sample(sample) => match recording.stacks.find((sample.cpu, sample.slot)) {
                Some(stack) => recording.add_sample(&sample, stack),
                None => recording.unknown_stacks += 1,
            },
            Record::Stack {
                sample,
                kernel,
                native,
                python,
            } => {
                self.take_stack(
                    sample,
                    Sections {
                        kernel,
                        native,
                        python,
                    },
                );
            }
            Record::Code { code, line_table } => recording.define_code(&code, line_table),
            // Names are asked for by what runs still at its samples, which come before its end.
            Record::Exit(exit) => recording.generated.process_ended(exit.tgid),
            Record::Capture { capture, stack } => self.take_capture(&capture, stack),
            // Only a dump looks at threads.
            Record::Fork(_) | Record::Exec(_) | Record::Adopted(_) | Record::Thread(_) => {}
        }
    }

    fn take_stack(&mut self, sample: SampleRecord, sections: Sections) {
        if sample.flags & SAMPLE_DEFERRED != 0 {
            self.captures.begin(sample.cpu);
            // The capture that belongs to it is in the next records of its CPU.
            if let Some((earlier, sections)) =
                self.uncaptured.insert(sample.cpu, (sample, sections))
            {
                self.define_stack(&earlier, &sections);
            }
            return;
        }
        let stack = self.define_stack(&sample, &sections);
        self.recording
            .stacks
            .assign((sample.cpu, sample.slot), stack);
    }

    fn take_capture(&mut self, capture: &CaptureRecord, stack: &[u8]) {
        let Some(stack) = self.captures.take(capture, stack) else {
            return;
        };
        let Some((sample, sections)) = self.uncaptured.remove(&capture.cpu) else {
            return;
        };
        if sample.tgid == capture.tgid {
            let registers = deferred::registers(capture);
            self.deferred.push(Deferred {
                sample,
                sections,
                registers,
                stack,
                awaits: None,
            });
        } else {
            self.define_stack(&sample, &sections);
        }
    }

    /// Walks the deferred samples to their end, now that the mappings have been read again; those that need rows which are
    /// still being built go on waiting.
    fn finish_deferred(&mut self) {
        let waiting = self.deferred.iter().map(|deferred| deferred.stack.size());
        // The oldest are then finished as they are.
        let most = self.options.memory_shares().captures;
        let mut too_many = waiting.sum::<usize>().saturating_sub(most);
        for deferred in std::mem::take(&mut self.deferred) {
            let is_last_chance = too_many > 0;
            too_many = too_many.saturating_sub(deferred.stack.size());
            let executables = &self.recording.executables;
            let is_early = |awaited: &Awaited| executables.awaits_rows(awaited.executable);
            if !is_last_chance && deferred.awaits.as_ref().is_some_and(is_early) {
                self.deferred.push(deferred);
                continue;
            }
            self.finish_one(deferred, is_last_chance);
        }
    }

    fn finish_one(&mut self, mut deferred: Deferred, is_last_chance: bool) {
        let pid = deferred.sample.tgid;
        let processes = &self.recording.processes;
        let is_current = processes.epoch(pid) == Some(deferred.sample.epoch);
        let has_waited = deferred.awaits.is_some();
        let surroundings = match deferred.awaits.take() {
            Some(awaited) => Some((awaited.mappings, awaited.python)),
            None if is_current => Some((processes.mappings(pid), processes.python_executable(pid))),
            // After another exec, or its end, the addresses mean nothing in what is known now.
            None => None,
        };
        let mut walked = surroundings.map(|known| self.walk_among(&deferred, known));
        // The process was gone, or the sample before the mapping, when its mappings were read.
        let lacks_mapping = |walked: &Walked| walked.finished.lacks_mapping;
        if walked.as_ref().is_none_or(lacks_mapping) {
            let recorded = self.find_recorded(&deferred.sample);
            let by_records = recorded.map(|known| self.walk_among(&deferred, known));
            walked = match (by_records, walked) {
                (Some(by_records), Some(walked)) if !by_records.is_better_than(&walked) => {
                    Some(walked)
                }
                (by_records, walked) => by_records.or(walked),
            };
        }
        let Some(walked) = walked else {
            self.define_stack(&deferred.sample, &deferred.sections);
            return;
        };
        let (executables, finished) = (&mut self.recording.executables, walked.finished);
        if let Some(executable) = finished.awaits.or(finished.lacks_row) {
            executables.want_rows(executable);
            if !is_last_chance && executables.awaits_rows(executable) {
                deferred.awaits = Some(Awaited {
                    executable,
                    mappings: walked.mappings,
                    python: walked.python,
                });
                self.deferred.push(deferred);
                return;
            }
        }
        // Rows that came late, or are missing, say nothing about the mappings.
        if is_current && (finished.is_whole || !(has_waited || finished.lacks_row.is_some())) {
            let processes = &mut self.recording.processes;
            processes.deferral_ended(pid, finished.is_whole, &self.sampler);
        }
        let now_ns = viperf_sample::now_ns();
        self.deferrals.note(deferred.sample.time_ns, now_ns);
        self.define_stack(&deferred.sample, &finished.sections);
    }

    fn walk_among(
        &self,
        deferred: &Deferred,
        (mappings, python): (Rc<[Mapping]>, Option<u32>),
    ) -> Walked {
        let executables = &self.recording.executables;
        let find_rule = |mapping: &_, pc| executables.find_rule(mapping, pc, &self.sampler);
        let is_without_eval = |python, native: &[u64]| executables.is_without_eval(python, native);
        let finished = deferred::finish(deferred, &mappings, python, find_rule, is_without_eval);
        Walked {
            finished,
            mappings,
            python,
        }
    }

    /// What the kernel has recorded of the mappings that a process had at a sample, and the executable of its interpreter.
    fn find_recorded(&mut self, sample: &SampleRecord) -> Option<(Rc<[Mapping]>, Option<u32>)> {
        let recorded = self.history.mappings_at(sample.tgid, sample.time_ns)?;
        let mut readers = Readers {
            sampler: &mut self.sampler,
            executables: &mut self.recording.executables,
            generated: &mut self.recording.generated_rows,
        };
        let found = Found::of_history(&recorded, &mut readers);
        Some((
            found.mappings.into(),
            found.python.map(|python| python.executable),
        ))
    }

    /// At the end: what waits for rows still is finished.
    pub(super) fn finish_waiting(&mut self) {
        let end = Instant::now() + LONGEST_END;
        while !self.deferred.is_empty() && Instant::now() < end {
            std::thread::sleep(POLL_FOR_ROWS);
            for note in self.recording.executables.load_built(&mut self.sampler) {
                self.recording.processes.tell(note);
            }
            self.finish_deferred();
        }
        for deferred in std::mem::take(&mut self.deferred) {
            self.define_stack(&deferred.sample, &deferred.sections);
        }
    }

    /// Interns the stack of a sample and adds the sample.
    pub(super) fn define_stack(
        &mut self,
        sample: &SampleRecord,
        sections: &Sections,
    ) -> StackNumber {
        let native = self.options.native;
        let stack = self.recording.define_stack(sample, sections, native);
        self.recording.add_sample(sample, stack);
        stack
    }
}
