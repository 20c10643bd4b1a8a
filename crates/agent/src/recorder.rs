//! The recording itself: one loop that takes records and keeps the kernel's picture of the targets up to date.

mod intake;

use std::{
    collections::HashMap,
    process::Child,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use viperf_abi::{Configuration, Lost, SampleRecord};
use viperf_sample::Sampler;

use crate::{
    CommandState, Outcome, Progress, RecordError, RecordOptions, Stage, Target, build_profile,
    deferred::Deferred,
    found::Readers,
    recording::Recording,
    stacks::Sections,
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
        mut recording,
        started,
        ..
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
    recording.generated.refresh_all();
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
            generated: &mut recording.generated_rows,
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
        Costs {
            samples_without_python: self.recording.samples_without_python,
            ..Costs::read(
                &self.sampler,
                self.first_sample,
                self.sampling_since.elapsed(),
            )
        }
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
}
