//! The recording itself: one loop that takes records and keeps the kernel's picture of the targets up to date.

mod intake;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    process::Child,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use viperf_abi::{Configuration, Lost, SampleRecord, Word, limit::THREAD_NAME_BYTES};
use viperf_sample::Sampler;

use crate::{
    CommandState, DEFAULT_MAX_MEMORY, Progress, RecordError, RecordOptions, Stage, Target,
    budget::{Budget, Periods},
    captures::Captures,
    control_group_target,
    deferred::{Deferrals, Deferred},
    found::Readers,
    handover::Handover,
    mapping_history::MappingHistory,
    processes::Processes,
    recording::Recording,
    stacks::Sections,
    statistics::{Costs, MapMemory},
    targets,
};

/// Records wait in the ring so long at most; events of processes do not wait. A poll that brings little costs 70 µs of CPU time.
const POLL: Duration = Duration::from_millis(100);
/// Somebody waits for the first sample; a target that sleeps has none for long.
const FIRST_POLL: Duration = Duration::from_millis(10);
const BEGINNING: Duration = Duration::from_secs(1);
/// How often every target is looked after, whether it still lives.
const ROLL_CALL: Duration = Duration::from_secs(5);
/// How often the caller is told how it stands.
const PROGRESS: Duration = Duration::from_millis(250);

/// What is left once the ring has been read for the last time.
pub(crate) struct Recorded {
    pub(crate) command: Option<CommandState>,
    pub(crate) costs: Costs,
}

/// Takes samples until told to stop, the time is over, or the target has ended, and hands over what comes.
///
/// # Errors
/// Nothing was recorded, and why.
pub(crate) fn record_samples(
    options: &RecordOptions,
    stop: &AtomicBool,
    handover: &Handover,
) -> Result<Recorded, RecordError> {
    let _end = EndOnDrop(handover);
    let mut recorder = Recorder::start(options, handover)?;
    let command = recorder.run(stop);
    handover.generated.refresh_all();
    recorder.hand_over();
    Ok(Recorded {
        command,
        costs: recorder.costs(),
    })
}

/// However the recording ends, nobody waits for more of it.
struct EndOnDrop<'a>(&'a Handover);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Loads and attaches the programs, and takes them away again: whether this machine can sample at all.
///
/// # Errors
/// Why it cannot.
pub fn probe() -> Result<(), RecordError> {
    let mut sampler = Sampler::load(Configuration::default(), DEFAULT_MAX_MEMORY)?;
    sampler.follow_processes()?;
    sampler.attach(Duration::from_secs(1))?;
    Ok(())
}

/// What the programs in the kernel are told before they are loaded.
fn configure(options: &RecordOptions, in_control_group: bool) -> Configuration {
    let mut name = [0; THREAD_NAME_BYTES];
    let wanted = options.name.as_deref().unwrap_or_default().as_bytes();
    // The last byte stays NUL, as in the kernel's own names.
    for (byte, wanted) in name.iter_mut().zip(wanted).take(THREAD_NAME_BYTES - 1) {
        *byte = *wanted;
    }
    Configuration {
        native: options.native.into(),
        kernel: options.kernel.into(),
        // In a control group children are targets as long as they are in it.
        follow_children: (options.follow_children || in_control_group).into(),
        report_every_exec: options.target.wants_every_python().into(),
        adopt: (in_control_group || options.target == Target::EveryProcess).into(),
        in_control_group: in_control_group.into(),
        has_name: options.name.is_some().into(),
        own_tgid: std::process::id(),
        name,
        ..Configuration::default()
    }
}

struct Recorder<'run> {
    options: &'run RecordOptions,
    handover: &'run Handover,
    sampler: Sampler,
    recording: Recording,
    command: Option<Child>,
    called: Instant,
    sampling_since: Instant,
    /// Until the programs were detached.
    sampled_for: Option<Duration>,
    first_sample: Option<Duration>,
    /// The folder of the control group that is profiled.
    control_group: Option<PathBuf>,
    last_progress: (Instant, u64),
    last_roll_call: Instant,
    /// Process events that have been lost, as far as is known.
    lost_events: u64,
    /// Deferred samples whose capture has not come yet, by CPU.
    uncaptured: HashMap<u32, (SampleRecord, Sections)>,
    captures: Captures,
    history: MappingHistory,
    deferred: Vec<Deferred>,
    deferrals: Deferrals,
    budget: Option<Budget>,
    /// CPUs that are sampled.
    cpus: usize,
    /// What viperf had used before it began to sample.
    used_before: Duration,
    map_memory: MapMemory,
}

/// Learns the targets that are there already.
fn track_targets(
    options: &RecordOptions,
    control_group: Option<&Path>,
    processes: &mut Processes,
    readers: &mut Readers<'_>,
) -> Result<(), RecordError> {
    match &options.target {
        Target::Pids(pids) => {
            targets::track_pids(pids, options.follow_children, processes, readers)?;
        }
        Target::EveryPython | Target::EveryProcess => {
            viperf_process::raise_open_file_limit();
            targets::track_every_python(processes, readers);
        }
        Target::ControlGroup(_) | Target::Container(_) => {
            viperf_process::raise_open_file_limit();
            let folder = control_group.unwrap_or(Path::new(""));
            targets::track_control_group(folder, processes, readers);
        }
        Target::Command(_) => {}
    }
    Ok(())
}

/// Nanoseconds of CPU time between two samples.
fn period_ns(rate_hz: u32) -> u64 {
    1_000_000_000 / u64::from(rate_hz.max(1))
}

/// Starts sampling, as often as is wanted or as the budget allows.
fn attach(
    options: &RecordOptions,
    cpus: usize,
    sampler: &mut Sampler,
    periods: &mut Periods,
) -> Result<Option<Budget>, RecordError> {
    let budget = options
        .max_cpu
        .map(|share| Budget::new(share, cpus, options.rate_hz));
    let period_ns = period_ns(budget.as_ref().map_or(options.rate_hz, Budget::rate_hz));
    sampler.attach(Duration::from_nanos(period_ns))?;
    periods.change(0, period_ns);
    Ok(budget)
}

/// The programs, which learn from here on what processes do.
fn load_sampler(
    options: &RecordOptions,
    control_group: Option<&Path>,
) -> Result<Sampler, RecordError> {
    let mut sampler = Sampler::load_for(
        options.clock,
        configure(options, control_group.is_some()),
        options.memory_shares().unwind_rows,
    )?;
    if let Some(folder) = control_group {
        targets::choose_control_group(folder, &sampler)?;
    }
    sampler.follow_processes()?;
    Ok(sampler)
}

impl<'run> Recorder<'run> {
    fn start(options: &'run RecordOptions, handover: &'run Handover) -> Result<Self, RecordError> {
        let called = Instant::now();
        if !viperf_process::is_in_first_pid_namespace() {
            return Err(RecordError::PidNamespace);
        }
        let control_group = control_group_target::find_folder(&options.target)?;
        let mut sampler = load_sampler(options, control_group.as_deref())?;
        let mut recording = Recording::new(&handover.generated, &options.memory_shares());
        let mut readers = Readers {
            sampler: &mut sampler,
            executables: &mut recording.executables,
            generated: &mut recording.generated_rows,
        };
        track_targets(
            options,
            control_group.as_deref(),
            &mut recording.processes,
            &mut readers,
        )?;
        for note in recording.executables.wait_for_rows(&mut sampler) {
            recording.processes.tell(note);
        }
        let cpus = Sampler::count_cpus()?;
        let budget = attach(options, cpus, &mut sampler, &mut recording.periods)?;
        let command = match &options.target {
            Target::Command(words) => Some(targets::start_command(words, options, &sampler)?),
            _ => None,
        };
        // After the command has started: it inherits limits and privileges, and its own are not ours to change.
        crate::privileges::settle()?;
        let now = Instant::now();
        handover.sampling_begins();
        Ok(Self {
            options,
            handover,
            sampler,
            recording,
            command,
            called,
            sampling_since: now,
            sampled_for: None,
            first_sample: None,
            control_group,
            last_progress: (now, 0),
            last_roll_call: now,
            lost_events: 0,
            uncaptured: HashMap::new(),
            captures: Captures::default(),
            history: MappingHistory::new(options.memory_shares().mapping_history),
            deferred: Vec::new(),
            deferrals: Deferrals::default(),
            budget,
            cpus,
            used_before: viperf_process::read_own_usage().cpu,
            map_memory: MapMemory::default(),
        })
    }

    /// Until told to stop, the time is over, or the target has ended.
    fn run(&mut self, stop: &AtomicBool) -> Option<CommandState> {
        let mut buffer = Vec::new();
        let mut status = None;
        loop {
            buffer = self.poll(self.next_poll(), buffer);
            let mut command_is_gone = false;
            if let Some(command) = &mut self.command {
                match command.try_wait() {
                    Ok(ended) => status = ended,
                    // Somebody else took its end away; the caller says so.
                    Err(_) => command_is_gone = true,
                }
            }
            let now = Instant::now();
            self.hand_over();
            if now.duration_since(self.last_progress.0) >= PROGRESS {
                self.report(now);
                self.forget_gone(now);
                self.keep_budget(now);
            }
            let over = self
                .options
                .duration
                .is_some_and(|duration| now - self.sampling_since >= duration);
            let ended = status.is_some() || command_is_gone || self.targets_ended();
            let told = stop.load(Ordering::Relaxed) || self.handover.is_abandoned();
            if over || ended || told {
                break;
            }
        }
        // What is still in the ring belongs to the recording.
        self.sampler.detach();
        self.poll(Duration::ZERO, buffer);
        self.sampled_for = Some(self.sampling_since.elapsed());
        self.finish_waiting();
        for (sample, sections) in std::mem::take(&mut self.uncaptured).into_values() {
            self.define_stack(&sample, &sections);
        }
        self.note_command();
        self.report(Instant::now());
        let running = self.command.take().map(CommandState::Running);
        status.map(CommandState::Ended).or(running)
    }

    /// How long to wait for records: not beyond the end.
    fn next_poll(&self) -> Duration {
        let left = |duration: Duration| duration.saturating_sub(self.sampling_since.elapsed());
        let is_beginning = self.first_sample.is_none() && self.sampling_since.elapsed() < BEGINNING;
        let poll = if is_beginning { FIRST_POLL } else { POLL };
        self.options
            .duration
            .map_or(poll, |duration| poll.min(left(duration)))
    }

    fn hand_over(&mut self) {
        let awaited: HashSet<u32> = self
            .deferred
            .iter()
            .map(|deferred| deferred.sample.epoch)
            .chain(self.uncaptured.values().map(|(sample, _)| sample.epoch))
            .collect();
        let waiting = self.handover.put_news(self.recording.take_news());
        self.recording.is_full = waiting >= self.options.memory_shares().waiting_samples;
        self.recording
            .forget_departed(|epoch| awaited.contains(&epoch), &self.sampler);
        let deferred = self.deferred.iter().flat_map(|one| &one.awaits);
        let uncaptured = self.uncaptured.values();
        let files = || {
            let mappings = deferred.clone().flat_map(|awaits| awaits.mappings.iter());
            let words = uncaptured
                .clone()
                .flat_map(|(_, sections)| &sections.native);
            let of_frames = words.filter_map(|word| match Word::decode(*word) {
                Word::Native { executable, .. } => Some(executable),
                _ => None,
            });
            let of_mappings = mappings.map(|mapping| mapping.executable);
            of_mappings.chain(of_frames).collect()
        };
        let most = self.options.memory_shares().executables;
        self.recording.let_files_go(most, files, &mut self.sampler);
    }

    fn costs(&mut self) -> Costs {
        let map_bytes = self.map_memory.read(&self.sampler);
        let recording = &self.recording;
        let mut costs = Costs::read(
            &self.sampler,
            map_bytes,
            self.first_sample,
            self.sampled_for.unwrap_or(self.sampling_since.elapsed()),
        );
        costs.lowest_rate_hz = self.budget.as_ref().and_then(Budget::lowered_to);
        costs.cpus = self.cpus;
        costs.used_before = self.used_before;
        costs.samples_without_python = recording.samples_without_python;
        costs.deferrals = self.deferrals;
        costs.row_counts = recording.executables.row_counts();
        costs.executables = recording.executables.counts();
        costs.lost_samples += recording.unknown_stacks + recording.samples_without_room;
        costs
    }

    /// Samples as often as what recording may cost allows.
    fn keep_budget(&mut self, now: Instant) {
        let Some(budget) = &mut self.budget else {
            return;
        };
        let used =
            viperf_process::read_own_usage().cpu + Duration::from_nanos(self.sampler.run_time_ns());
        let Some(rate_hz) = budget.decide(now, used) else {
            return;
        };
        let period_ns = period_ns(rate_hz);
        match self.sampler.set_period(Duration::from_nanos(period_ns)) {
            Ok(from_ns) => self.recording.periods.change(from_ns, period_ns),
            Err(error) => self.recording.processes.tell(error.to_string()),
        }
    }

    /// Looks after targets that may have ended unseen: those that were named, which the end of the recording waits for, each
    /// time, and all others now and then.
    fn forget_gone(&mut self, now: Instant) {
        let processes = &mut self.recording.processes;
        let mut pids = match &self.options.target {
            Target::Pids(pids) => pids.clone(),
            _ => Vec::new(),
        };
        if now.duration_since(self.last_roll_call) >= ROLL_CALL {
            self.last_roll_call = now;
            pids = processes.pids();
            processes.note_gone_strays();
            processes.read_some_names();
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
            // It ends when it is taken away, which takes all of its processes to have ended.
            Target::ControlGroup(_) | Target::Container(_) => {
                let folder = self.control_group.as_deref();
                folder.is_some_and(|folder| !folder.exists())
            }
            Target::Command(_) | Target::EveryPython | Target::EveryProcess => false,
        }
    }

    /// A command in which no Python was found is worth a word.
    fn note_command(&mut self) {
        let processes = &mut self.recording.processes;
        let python = processes.has_python();
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

    fn report(&mut self, now: Instant) {
        let samples = self.recording.sample_count;
        let (then, before) = std::mem::replace(&mut self.last_progress, (now, samples));
        let seconds = now.duration_since(then).as_secs_f64();
        let costs = self.options.grow_every.map(|_| self.costs());
        let progress = Progress {
            stage: Stage::Sampling,
            samples,
            rate_achieved: if seconds > 0.0 {
                (samples - before) as f64 / seconds
            } else {
                0.0
            },
            processes: self.recording.sampled_processes,
            lost: self.sampler.lost()[Lost::Samples as usize] + self.recording.samples_without_room,
            elapsed: now - self.sampling_since,
            notes: self.recording.processes.take_notes(),
        };
        self.handover.put_progress(progress, costs);
    }
}
