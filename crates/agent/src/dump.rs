//! Where every thread is now, running or blocked, without stopping any.
//!
//! A thread that does not run is looked at through the kernel's iterator over tasks, which reads its memory as a sample
//! reads that of the current thread, and notices when the thread has begun to run meanwhile. A thread that runs is taken by
//! the clock, which ticks a thousand times a second until every thread has been seen.

mod gil;
mod local_variables;
mod outcome;
mod seen;
mod source_text;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use viperf_abi::{Configuration, Record, limit::THREAD_NAME_BYTES};
use viperf_process::Pid;
use viperf_profile::Dump;
use viperf_sample::{Look, MappingChange, Sampler, ThreadLooker};

use crate::{
    MemoryShares, RecordError, RecordOptions, Target, build_profile::Builder, control_group_target,
    found::Readers, recording::Recording, targets,
};
use seen::{Seen, Sightings, Why};

/// Between two ticks of the clock for threads that run.
const TICK: Duration = Duration::from_millis(1);
/// Between two looks at threads that could not be read.
const PAUSE: Duration = Duration::from_millis(3);
/// More threads of one process than this are looked at together, with all others of it.
const SINGLE_LOOKS: usize = 64;

/// Whom to dump, and how.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// Whom; a command is none.
    pub target: Target,
    /// Of these only processes that the kernel knows by this name; default is `None`: all.
    pub name: Option<String>,
    /// Children of the targets, too. Default is `true`.
    pub follow_children: bool,
    /// Kernel frames. Default is `true`.
    pub kernel: bool,
    /// Functions that compilers put into native functions. Default is `false`.
    pub inlined_functions: bool,
    /// Local variables of Python frames, of threads that do not run. Default is `false`.
    pub locals: bool,
    /// How long a thread that cannot be read is looked at again. Default is two seconds.
    pub patience: Duration,
}

impl Default for DumpOptions {
    fn default() -> Self {
        Self {
            target: Target::EveryPython,
            name: None,
            follow_children: true,
            kernel: true,
            inlined_functions: false,
            locals: false,
            patience: Duration::from_secs(2),
        }
    }
}

/// Every stack is wanted at once: no rows make room for others.
const ROW_MEMORY: usize = 4 * crate::DEFAULT_MAX_MEMORY;

/// Takes dumps of the same targets, one after the other.
#[derive(Debug)]
pub struct Dumper {
    options: DumpOptions,
    sampler: Sampler,
    looker: ThreadLooker,
    recording: Recording,
    builder: Builder,
    sightings: Sightings,
}

impl Dumper {
    /// Loads the programs and reads the targets.
    ///
    /// # Errors
    /// Not permitted, no such process, or a kernel before 6.2.
    pub fn start(options: &DumpOptions) -> Result<Self, RecordError> {
        if !viperf_process::is_in_first_pid_namespace() {
            return Err(RecordError::PidNamespace);
        }
        let configuration = Configuration {
            native: 1,
            kernel: options.kernel.into(),
            follow_children: options.follow_children.into(),
            report_every_exec: options.target.wants_every_python().into(),
            gil: 1,
            ..Configuration::default()
        };
        let mut sampler = Sampler::load(configuration, ROW_MEMORY)?;
        let looker = ThreadLooker::load(&sampler, configuration)?;
        sampler.follow_processes()?;
        viperf_process::raise_open_file_limit();
        let record_options = RecordOptions {
            target: options.target.clone(),
            kernel: options.kernel,
            inlined_functions: options.inlined_functions,
            ..RecordOptions::default()
        };
        let recording = Recording::new(&Arc::default(), &MemoryShares::of(ROW_MEMORY));
        let builder = Builder::new(&record_options, Arc::clone(&recording.generated));
        let mut dumper = Self {
            options: options.clone(),
            sampler,
            looker,
            recording,
            builder,
            sightings: Sightings::default(),
        };
        let target = dumper.options.target.clone();
        let mut readers = Readers {
            sampler: &mut dumper.sampler,
            executables: &mut dumper.recording.executables,
            generated: &mut dumper.recording.generated_rows,
        };
        let processes = &mut dumper.recording.processes;
        match &target {
            Target::Pids(pids) => {
                targets::track_pids(pids, options.follow_children, processes, &mut readers)?;
            }
            Target::EveryPython | Target::Command(_) => {
                targets::track_every_python(processes, &mut readers);
            }
            Target::EveryProcess => targets::track_every_process(processes, &mut readers),
            Target::ControlGroup(_) | Target::Container(_) => {
                if let Some(folder) = control_group_target::find_folder(&target)? {
                    targets::track_control_group(&folder, processes, &mut readers);
                }
            }
        }
        for note in readers.executables.wait_for_rows(readers.sampler) {
            processes.tell(note);
        }
        Ok(dumper)
    }

    /// Sentences for the user since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.recording.processes.take_notes()
    }

    /// Whether any target still lives.
    #[must_use]
    pub fn has_targets(&self) -> bool {
        !self.pids().is_empty()
    }

    /// The targets that are called as is wanted.
    fn pids(&self) -> Vec<u32> {
        let mut pids = self.recording.processes.pids();
        if let Some(wanted) = &self.options.name {
            let cut: String = wanted.chars().take(THREAD_NAME_BYTES - 1).collect();
            pids.retain(|pid| viperf_process::read_comm(Pid(*pid)).is_ok_and(|name| name == cut));
        }
        pids
    }

    /// Nanoseconds that the kernel's programs have run so far, by its own count.
    #[must_use]
    pub fn run_time_ns(&self) -> u64 {
        self.sampler.run_time_ns() + self.looker.run_time_ns()
    }

    /// Looks at every thread; `stop` ends it early.
    ///
    /// # Errors
    /// The kernel refuses to look, or to sample.
    pub fn take(&mut self, stop: &AtomicBool) -> Result<Dump, RecordError> {
        self.poll(Duration::ZERO);
        for pid in self.recording.processes.pids() {
            let processes = &mut self.recording.processes;
            processes.forget_if_gone(pid, &mut self.sampler);
        }
        self.tell_gils()?;
        let started = (SystemTime::now(), Instant::now());
        self.recording.samples.clear();
        self.sightings = Sightings::of(&self.list_threads());
        for pid in self.pids() {
            self.looker.look(Look::Process(pid))?;
            self.poll(Duration::ZERO);
        }
        let looked = self.look_again(started.1 + self.options.patience, stop);
        self.sampler.detach_clock();
        self.poll(Duration::ZERO);
        looked?;
        if self.options.locals {
            self.read_locals()?;
        }
        let sightings = std::mem::take(&mut self.sightings);
        Ok(outcome::build(
            &mut self.recording,
            &mut self.builder,
            sightings,
            started.0,
            started.1.elapsed(),
        ))
    }

    /// Until every thread has been seen, or patience ends.
    fn look_again(&mut self, deadline: Instant, stop: &AtomicBool) -> Result<(), RecordError> {
        let mut has_clock = false;
        while !self.sightings.is_done()
            && Instant::now() < deadline
            && !stop.load(Ordering::Relaxed)
        {
            if !has_clock {
                self.sampler.attach(TICK)?;
                has_clock = true;
            }
            self.poll_for(PAUSE);
            for (pid, tids) in self.sightings.missing() {
                if !self.recording.processes.is_tracked(pid) {
                    self.sightings.forget_process(pid);
                    continue;
                }
                if tids.len() > SINGLE_LOOKS {
                    self.looker.look(Look::Process(pid))?;
                    self.poll(Duration::ZERO);
                    continue;
                }
                for tid in tids {
                    match viperf_process::has_thread(Pid(pid), tid) {
                        true => self.looker.look(Look::Thread(tid))?,
                        false => self.sightings.forget(tid),
                    }
                }
                self.poll(Duration::ZERO);
            }
        }
        Ok(())
    }

    /// Reads local variables, and keeps those of threads that have not run since they were looked at.
    fn read_locals(&mut self) -> Result<(), RecordError> {
        let mut read = Vec::new();
        for (tid, pid, record) in self.sightings.records() {
            let Some((interpreter, _)) = self.recording.processes.python_now(pid) else {
                continue;
            };
            let found = local_variables::read(pid, interpreter, record.thread_state);
            read.push((tid, record.switches, found));
        }
        for (tid, switches, found) in read {
            self.sightings.want_confirmation(tid);
            self.looker.look(Look::Thread(tid))?;
            self.poll(Duration::ZERO);
            self.sightings.confirm(tid, switches, found);
        }
        Ok(())
    }

    /// By tid.
    fn list_threads(&self) -> BTreeMap<u32, u32> {
        let pids = self.pids().into_iter();
        pids.flat_map(|pid| {
            let threads = viperf_process::list_threads(Pid(pid)).unwrap_or_default();
            threads.into_iter().map(move |tid| (tid.0, pid))
        })
        .collect()
    }

    /// Tells the kernel where the processes keep their GILs.
    fn tell_gils(&mut self) -> Result<(), RecordError> {
        for pid in self.pids() {
            let processes = &self.recording.processes;
            let Some(epoch) = processes.epoch(pid) else {
                continue;
            };
            let Some((interpreter, runtime)) = processes.python_now(pid) else {
                continue;
            };
            if let Some(places) = gil::places(interpreter, runtime, epoch) {
                self.sampler.set_gil(pid, &places)?;
            }
        }
        Ok(())
    }

    /// Polls until the time is over: a wake-up for one record is not the end of it.
    fn poll_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.poll(left);
        }
    }

    fn poll(&mut self, timeout: Duration) {
        let polled = self.sampler.poll(timeout, Vec::new());
        for record in polled.records().filter_map(viperf_abi::decode_record) {
            self.take_record(record);
        }
        for change in &polled.mapping_changes {
            match change {
                MappingChange::Any => self.recording.processes.all_changed(),
                MappingChange::Pid(pid) => self.recording.processes.mapped(*pid, false),
            }
        }
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
    }

    fn take_record(&mut self, record: Record<'_>) {
        let recording = &mut self.recording;
        match record {
            Record::Thread(record) => self.sightings.note(&record),
            Record::Sample(sample) => {
                if let Some(stack) = recording.stacks.find((sample.cpu, sample.slot)) {
                    self.sightings
                        .take(Seen::on_cpu(sample, stack), recording.is_complete(stack));
                }
            }
            Record::Stack {
                sample,
                kernel,
                native,
                python,
            } => {
                let sections = crate::stacks::Sections {
                    kernel,
                    native,
                    python,
                };
                self.take_stack(sample, &sections);
            }
            Record::Code { code, line_table } => recording.define_code(&code, line_table),
            Record::Fork(fork) => recording.processes.fork(&fork, &mut self.sampler),
            Record::Exec(exec) if recording.processes.is_tracked(exec.tgid) => {
                recording.generated_rows.forget(exec.tgid);
                recording.processes.exec(&exec, &mut self.sampler);
            }
            Record::Exec(exec) => self.track_if_wanted(exec.tgid),
            Record::Exit(exit) => {
                recording.generated_rows.forget(exit.tgid);
                recording.processes.exit(exit.tgid, &mut self.sampler);
            }
            // Only samples do that.
            Record::Adopted(_) => {}
            // Of a deferred sample: the thread is looked at again instead.
            Record::Capture { .. } => {}
        }
    }

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

    fn take_stack(&mut self, sample: viperf_abi::SampleRecord, sections: &crate::stacks::Sections) {
        use viperf_abi::{Reason, SAMPLE_DEFERRED, SAMPLE_LOOKED_AT, Word};
        let is_unknown = |word: &u64| {
            matches!(
                Word::decode(*word),
                Word::Reason(Ok(Reason::NativeNoMapping | Reason::ProcessNotRead))
            )
        };
        if sections.native.iter().any(is_unknown) {
            self.recording.processes.mapped(sample.tgid, true);
        }
        if sample.flags & SAMPLE_DEFERRED != 0 {
            self.recording.executables.note_lost(&sections.native);
            return;
        }
        let stack = self.recording.define_stack(&sample, sections, true);
        let is_complete = self.recording.is_complete(stack);
        if sample.flags & SAMPLE_LOOKED_AT == 0 {
            let slot = (sample.cpu, sample.slot);
            self.recording.stacks.assign(slot, stack);
            self.sightings
                .take(Seen::on_cpu(sample, stack), is_complete);
        } else if let Some(seen) = self.sightings.looked_at(sample, stack) {
            self.sightings.take(seen, is_complete);
        }
    }
}

impl Why {
    /// For people.
    pub(crate) fn text(self) -> String {
        match self {
            Self::NotSeen => "the kernel said nothing of it".to_owned(),
            Self::Ran => {
                "it ran whenever it was looked at, and never when the clock ticked".to_owned()
            }
            Self::Moved => "it began to run whenever it was looked at".to_owned(),
        }
    }
}
