//! The recording itself: one loop that takes records and keeps the kernel's picture of the targets up to date.

use std::{
    collections::HashMap,
    process::Child,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use viperf_abi::{
    CaptureRecord, Configuration, Lost, Record, SAMPLE_CALL_PER_FRAME, SAMPLE_DEFERRED,
    SampleRecord, decode_record,
};
use viperf_sample::{MappingChange, Polled, Sampler};

use crate::{
    CommandState, Outcome, Progress, RecordError, RecordOptions, Stage, Target, build_profile,
    calls::IsCall,
    deferred::{self, Deferred},
    found::Readers,
    recording::Recording,
    stacks::{Sections, StackNumber},
    statistics::{self, Costs},
    targets,
};

/// Records wait in the ring so long at most; events of processes do not wait.
const POLL: Duration = Duration::from_millis(50);
/// How often every target is looked after, whether it still lives.
const ROLL_CALL: Duration = Duration::from_secs(5);
/// How often the caller is told how it stands.
const PROGRESS: Duration = Duration::from_millis(250);

/// Records a profile.
///
/// `stop` ends it; `progress` is told how it stands, several times a second.
///
/// # Errors
/// Nothing was recorded, and why.
pub fn record(
    options: &RecordOptions,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome, RecordError> {
    progress(&Progress::starting());
    let mut recorder = Recorder::start(options)?;
    let command = recorder.run(stop, progress);
    let costs = recorder.end();
    let Recorder {
        recording, started, ..
    } = recorder;
    let mut symbolizing = |done, total| {
        progress(&Progress {
            stage: Stage::Symbolizing { done, total },
            samples: recording.samples.len() as u64,
            rate_achieved: 0.0,
            processes: recording.sampled.len(),
            lost: costs.lost_samples,
            elapsed: costs.sampled_for,
            notes: Vec::new(),
        });
    };
    let profile = build_profile::build(&recording, options, &costs, started, &mut symbolizing);
    let statistics = statistics::summarize(&profile, &costs);
    Ok(Outcome {
        profile,
        statistics,
        command,
    })
}

/// Loads and attaches the programs, and takes them away again: whether this machine can sample at all.
///
/// # Errors
/// Why it cannot.
pub fn probe() -> Result<(), RecordError> {
    let mut sampler = Sampler::load(Configuration::default())?;
    sampler.follow_processes()?;
    sampler.attach(Duration::from_secs(1))?;
    Ok(())
}

struct Recorder<'options> {
    options: &'options RecordOptions,
    sampler: Sampler,
    recording: Recording,
    command: Option<Child>,
    called: Instant,
    sampling_since: Instant,
    started: SystemTime,
    first_sample: Option<Duration>,
    last_progress: (Instant, u64),
    last_roll_call: Instant,
    /// Process events that have been lost, as far as is known.
    lost_events: u64,
    /// Deferred samples whose capture has not come yet, by CPU.
    uncaptured: HashMap<u32, (SampleRecord, Sections)>,
    deferred: Vec<Deferred>,
}

impl<'options> Recorder<'options> {
    fn start(options: &'options RecordOptions) -> Result<Self, RecordError> {
        let called = Instant::now();
        if !viperf_process::is_in_first_pid_namespace() {
            return Err(RecordError::PidNamespace);
        }
        let configuration = Configuration {
            native: options.native.into(),
            kernel: options.kernel.into(),
            follow_children: options.follow_children.into(),
            report_every_exec: (options.target == Target::EveryPython).into(),
            ..Configuration::default()
        };
        let mut sampler = Sampler::load(configuration)?;
        let mut recording = Recording::default();
        sampler.follow_processes()?;
        let mut readers = Readers {
            sampler: &mut sampler,
            executables: &mut recording.executables,
        };
        match &options.target {
            Target::Pids(pids) => {
                targets::track_pids(
                    pids,
                    options.follow_children,
                    &mut recording.processes,
                    &mut readers,
                )?;
            }
            Target::EveryPython => {
                viperf_process::raise_open_file_limit();
                targets::track_every_python(&mut recording.processes, &mut readers);
            }
            Target::Command(_) => {}
        }
        sampler.attach(Duration::from_nanos(options.period_ns()))?;
        let command = match &options.target {
            Target::Command(words) => Some(targets::start_command(words, &sampler)?),
            Target::Pids(_) | Target::EveryPython => None,
        };
        // After the command has started: it inherits limits, and its own are not ours to change.
        viperf_process::raise_open_file_limit();
        let now = Instant::now();
        Ok(Self {
            options,
            sampler,
            recording,
            command,
            called,
            sampling_since: now,
            started: SystemTime::now(),
            first_sample: None,
            last_progress: (now, 0),
            last_roll_call: now,
            lost_events: 0,
            uncaptured: HashMap::new(),
            deferred: Vec::new(),
        })
    }

    /// Until told to stop, the time is over, or the target has ended.
    fn run(
        &mut self,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Option<CommandState> {
        let mut buffer = Vec::new();
        let mut status = None;
        loop {
            buffer = self.poll(POLL, buffer);
            let mut command_is_gone = false;
            if let Some(command) = &mut self.command {
                match command.try_wait() {
                    Ok(ended) => status = ended,
                    // Somebody else took its end away; the caller says so.
                    Err(_) => command_is_gone = true,
                }
            }
            let now = Instant::now();
            if now.duration_since(self.last_progress.0) >= PROGRESS {
                self.report(now, progress);
                self.forget_gone(now);
            }
            let over = self
                .options
                .duration
                .is_some_and(|duration| now - self.sampling_since >= duration);
            let ended = status.is_some() || command_is_gone || self.targets_ended();
            if over || ended || stop.load(Ordering::Relaxed) {
                break;
            }
        }
        // What is still in the ring belongs to the recording.
        self.sampler.detach();
        self.poll(Duration::ZERO, buffer);
        for (sample, sections) in std::mem::take(&mut self.uncaptured).into_values() {
            self.define_stack(&sample, &sections);
        }
        self.note_command();
        self.report(Instant::now(), progress);
        let running = self.command.take().map(CommandState::Running);
        status.map(CommandState::Ended).or(running)
    }

    fn end(&mut self) -> Costs {
        Costs::read(
            &self.sampler,
            self.first_sample,
            self.sampling_since.elapsed(),
        )
    }

    /// Looks after targets that may have ended unseen: those that were named, which the end of the recording waits for, each
    /// time, and all others now and then.
    fn forget_gone(&mut self, now: Instant) {
        let processes = &mut self.recording.processes;
        let mut pids = match &self.options.target {
            Target::Pids(pids) => pids.clone(),
            Target::Command(_) | Target::EveryPython => Vec::new(),
        };
        if now.duration_since(self.last_roll_call) >= ROLL_CALL {
            self.last_roll_call = now;
            pids = processes.pids();
        }
        for pid in pids {
            processes.forget_if_gone(pid, &mut self.sampler);
        }
    }

    fn targets_ended(&self) -> bool {
        match &self.options.target {
            Target::Pids(pids) => !pids
                .iter()
                .any(|pid| self.recording.processes.is_tracked(*pid)),
            Target::Command(_) | Target::EveryPython => false,
        }
    }

    /// A command in which no Python was found is worth a word.
    fn note_command(&mut self) {
        let processes = &mut self.recording.processes;
        let python = processes
            .descriptions()
            .iter()
            .any(|process| process.python_version.is_some());
        if let (Target::Command(words), false) = (&self.options.target, python) {
            let name = words
                .first()
                .map(|word| word.to_string_lossy())
                .unwrap_or_default();
            processes.tell(format!(
                "no Python that viperf can read was seen in {name}: native and kernel frames only"
            ));
        }
    }

    fn report(&mut self, now: Instant, progress: &mut dyn FnMut(&Progress)) {
        let samples = self.recording.samples.len() as u64;
        let (then, before) = std::mem::replace(&mut self.last_progress, (now, samples));
        let seconds = now.duration_since(then).as_secs_f64();
        progress(&Progress {
            stage: Stage::Sampling,
            samples,
            rate_achieved: if seconds > 0.0 {
                (samples - before) as f64 / seconds
            } else {
                0.0
            },
            processes: self.recording.sampled.len(),
            lost: self.sampler.lost()[Lost::Samples as usize],
            elapsed: now - self.sampling_since,
            notes: self.recording.processes.take_notes(),
        });
    }

    /// Takes what there is; gives the buffer back.
    fn poll(&mut self, timeout: Duration, buffer: Vec<u8>) -> Vec<u8> {
        let polled = self.sampler.poll(timeout, buffer);
        for record in polled.records().filter_map(decode_record) {
            self.take(record);
        }
        self.note_mappings(&polled);
        self.note_lost_events();
        let mut readers = Readers {
            sampler: &mut self.sampler,
            executables: &mut self.recording.executables,
        };
        self.recording.processes.read_stale(&mut readers);
        self.finish_deferred();
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
                recording
                    .codes
                    .define(&code, line_table, python.map(|python| &python.layout));
            }
            Record::Fork(fork) => recording.processes.fork(&fork, &mut self.sampler),
            Record::Exec(exec) if recording.processes.is_tracked(exec.tgid) => {
                recording.processes.exec(&exec, &mut self.sampler);
            }
            Record::Exec(exec) => self.track_if_wanted(exec.tgid),
            Record::Exit(exit) => recording.processes.exit(exit.tgid, &mut self.sampler),
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
    fn define_stack(&mut self, sample: &SampleRecord, sections: &Sections) -> StackNumber {
        let recording = &mut self.recording;
        let process = recording.processes.description(sample.epoch, sample.tgid) as u32;
        let executables = &recording.executables;
        let is_call = |executable, svma| executables.is_eval(executable, svma);
        let calls: Option<IsCall<'_>> =
            (sample.flags & SAMPLE_CALL_PER_FRAME != 0).then_some(&is_call);
        let stack = recording.stacks.define(
            process,
            sections,
            &recording.codes,
            self.options.native,
            calls,
        );
        recording.add_sample(sample, stack);
        stack
    }
}
