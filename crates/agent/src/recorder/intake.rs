//! From the kernel's records to the recording.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use viperf_abi::{
    CaptureRecord, Lost, Record, SAMPLE_BORROWED_MEMORY, SAMPLE_CALL_PER_FRAME, SAMPLE_DEFERRED,
    SampleRecord, decode_record,
};
use viperf_sample::{MappingChange, Polled};

use super::Recorder;
use crate::{
    Target,
    calls::CallMarks,
    deferred::{self, Deferred},
    found::Readers,
    stacks::{KnownFiles, Sections, StackNumber},
    targets,
};

impl Recorder<'_> {
    /// Takes what there is; gives the buffer back.
    pub(super) fn poll(&mut self, timeout: Duration, buffer: Vec<u8>) -> Vec<u8> {
        let polled = self.sampler.poll(timeout, buffer);
        for record in polled.records().filter_map(decode_record) {
            self.take(record);
        }
        self.note_mappings(&polled);
        self.note_lost_events();
        let executables = &mut self.recording.executables;
        for number in executables.take_analysed(&mut self.sampler) {
            self.recording.processes.file_changed(number);
        }
        let mut readers = Readers {
            sampler: &mut self.sampler,
            executables: &mut self.recording.executables,
            generated: &mut self.recording.generated_rows,
        };
        self.recording.processes.read_stale(&mut readers);
        self.finish_deferred();
        self.recording.generated.refresh(Instant::now());
        let processes = &self.recording.processes;
        let find = |pid, process| processes.python_of(pid, process);
        self.recording.threads.read_names(Instant::now(), find);
        if self.first_sample.is_none() && !self.recording.samples.is_empty() {
            self.first_sample = Some(self.called.elapsed());
        }
        polled.into_buffer()
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
        if self.options.target != Target::EveryPython {
            return;
        }
        let mut readers = Readers {
            sampler: &mut self.sampler,
            executables: &mut self.recording.executables,
            generated: &mut self.recording.generated_rows,
        };
        targets::track_if_python(pid, &mut self.recording.processes, &mut readers);
    }

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
            Record::Code { code, line_table } => {
                // What is missing is read from the process, if it is still the same.
                let is_same = recording.processes.epoch(code.tgid) == Some(code.epoch);
                let python = recording.processes.python(code.tgid).filter(|_| is_same);
                let python = python.map(Rc::as_ref);
                recording.codes.define(&code, line_table, python);
            }
            Record::Fork(fork) => recording.processes.fork(&fork, &mut self.sampler),
            Record::Exec(exec) if recording.processes.is_tracked(exec.tgid) => {
                recording.generated_rows.forget(exec.tgid);
                recording.processes.exec(&exec, &mut self.sampler);
            }
            Record::Exec(exec) => self.track_if_wanted(exec.tgid),
            Record::Exit(exit) => {
                // Its files are still there; what it has written last is read before they go.
                recording.generated.refresh_all();
                recording.generated_rows.forget(exit.tgid);
                recording.processes.exit(exit.tgid, &mut self.sampler);
            }
            Record::Capture { capture, stack } => self.take_capture(&capture, stack),
        }
    }

    fn take_stack(&mut self, sample: SampleRecord, sections: Sections) {
        if sample.flags & SAMPLE_DEFERRED != 0 {
            self.recording.processes.mapped(sample.tgid, true);
            // The capture that belongs to it is the next record of its CPU.
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
        let Some((sample, sections)) = self.uncaptured.remove(&capture.cpu) else {
            return;
        };
        if sample.tgid == capture.tgid {
            let registers = deferred::registers(capture);
            self.deferred.push(Deferred {
                sample,
                sections,
                registers,
                stack: stack.to_vec(),
            });
        } else {
            self.define_stack(&sample, &sections);
        }
    }

    /// Walks the deferred samples to their end, now that the mappings have been read again.
    fn finish_deferred(&mut self) {
        for deferred in std::mem::take(&mut self.deferred) {
            let pid = deferred.sample.tgid;
            let processes = &mut self.recording.processes;
            // After another exec, or its end, the addresses mean nothing any longer.
            if processes.epoch(pid) != Some(deferred.sample.epoch) {
                self.define_stack(&deferred.sample, &deferred.sections);
                continue;
            }
            let python = processes.python_executable(pid);
            let (sections, finished) =
                deferred::finish(&deferred, processes.mappings(pid), python, &self.sampler);
            processes.deferral_ended(pid, finished, &self.sampler);
            self.define_stack(&deferred.sample, &sections);
        }
    }

    /// Interns the stack of a sample and adds the sample.
    pub(super) fn define_stack(
        &mut self,
        sample: &SampleRecord,
        sections: &Sections,
    ) -> StackNumber {
        let recording = &mut self.recording;
        let process = recording.processes.description(sample.epoch, sample.tgid) as u32;
        recording
            .generated
            .note(process, sample.tgid, &sections.native);
        recording.executables.note_lost(&sections.native);
        let generated_rows = &mut recording.generated_rows;
        if generated_rows.note(sample.tgid, &sections.native, Instant::now()) {
            recording.processes.mapped(sample.tgid, false);
        }
        let executables = &recording.executables;
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
        let native = self.options.native;
        let stack = recording
            .stacks
            .define(process, sections, &recording.codes, native, &files);
        recording.add_sample(sample, stack);
        stack
    }
}
