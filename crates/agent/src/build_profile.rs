//! From raw stacks to the profile, as they come: addresses get their names here, each once.
//!
//! Names are looked up on a thread of their own. A sample is in the profile once all of its stack has names and the samples
//! before it are there; one that waits for that is given out beside the profile, with the names that are known.
//!
//! Rows are only ever added, so a profile can be looked at after every step. When the row of a name is made:
//!
//! - a function's with its first stack: the kernel or the process has told its name before that stack was handed over;
//! - a native function's when the names of the first stack with its address are asked for: files do not change their names; of
//!   generated code, what the process has said by then;
//! - a thread's or a process's with its first sample, and it is made anew in its place when another name is learnt: threads are
//!   asked for their Python names for a second, and both rename themselves when they like.

mod clerk;
mod forgetting;
mod frames;
mod names;
mod naming;
mod unnamed;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    mem,
    sync::Arc,
    time::{Instant, SystemTime},
};

use viperf_profile::{
    FrameHandle, FrameKind, FunctionHandle, ProcessHandle, Profile, ProfileInformation,
    RecordingCost, Sample, StackHandle, Thread, ThreadHandle,
};

use crate::{
    RecordOptions, Target,
    code_objects::PythonFunction,
    generated_code::GeneratedNames,
    handover::{Arrival, Ended, GoneFile, News},
    processes::ProcessDescription,
    recording::RawSample,
    stacks::{RawFrame, RawStack},
    statistics::{Costs, SampleCounts},
    threads::ThreadDescription,
};
use names::Names;
use naming::Naming;
use unnamed::Released;

fn information(options: &RecordOptions) -> ProfileInformation {
    ProfileInformation {
        viperf_version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: viperf_process::read_hostname(),
        kernel: viperf_process::read_kernel_release(),
        started_unix_ns: 0,
        duration_ns: 0,
        period_ns: options.period_ns(),
        rate_hz: options.rate_hz,
        target: describe(options),
        cost: RecordingCost::default(),
    }
}

fn describe(options: &RecordOptions) -> String {
    let target = describe_target(&options.target);
    match &options.name {
        Some(name) => format!("{target} called {name}"),
        None => target,
    }
}

fn describe_target(target: &Target) -> String {
    match target {
        Target::EveryProcess => "every process".to_owned(),
        Target::ControlGroup(path) => format!("control group {}", path.display()),
        Target::Container(prefix) => format!("container {prefix}"),
        Target::EveryPython => "every Python process".to_owned(),
        Target::Pids(pids) => {
            let numbers: Vec<String> = pids.iter().map(u32::to_string).collect();
            format!("pid {}", numbers.join(", "))
        }
        Target::Command(words) => words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// What is known of a row that is made when it is first needed.
#[derive(Debug)]
struct Row<D, H> {
    description: D,
    made: Option<H>,
}

impl<D, H: Copy> Row<D, H> {
    fn waiting(description: D) -> Self {
        Self {
            description,
            made: None,
        }
    }

    /// Nothing is made if it names something that does not exist.
    fn handle_or_none(&mut self, make: impl FnOnce(&D) -> Option<H>) -> Option<H> {
        if self.made.is_none() {
            self.made = make(&self.description);
        }
        self.made
    }
}

/// A stack; its rows are made when its addresses have names.
#[derive(Debug)]
struct KnownStack {
    raw: RawStack,
    handle: Option<StackHandle>,
    /// Nobody else knew it when it was looked last.
    is_ours: bool,
}

/// Makes the profile, a step at a time.
#[derive(Debug)]
pub(crate) struct Builder {
    names: Names,
    profile: Profile,
    frames: HashMap<RawFrame, FrameHandle>,
    /// Those inlined into a native frame, innermost first; only where there are any.
    inlined: HashMap<RawFrame, Vec<FrameHandle>>,
    /// By their numbers.
    functions: HashMap<u32, PythonFunction>,
    /// The number of the next one that comes.
    next_function: u32,
    /// Those that no process has any more.
    gone_functions: HashSet<u32>,
    /// The rows of those that the profile has.
    made_functions: HashMap<u32, FunctionHandle>,
    /// By their numbers.
    stacks: BTreeMap<u32, KnownStack>,
    /// The number of the next stack that comes.
    next_stack: u32,
    /// How many there may be until those are looked for that do not come again.
    look_at: usize,
    naming: Naming,
    processes: HashMap<u32, Row<ProcessDescription, ProcessHandle>>,
    threads: HashMap<u32, Row<ThreadDescription, ThreadHandle>>,
    /// Samples before which others may still come.
    waiting: Vec<RawSample>,
    /// Samples that are to be put into the profile, in this order.
    released: Released,
    /// So many may wait there for names.
    most_released: usize,
    /// When they came, the earliest first.
    arrivals: VecDeque<Arrival>,
    /// Those whose last samples may not be in the profile yet, the earliest first.
    ended: VecDeque<Ended>,
    /// The same for files.
    gone_files: VecDeque<GoneFile>,
    /// Processes that have samples and have not ended.
    sampled: HashSet<u32>,
    /// The threads of each process, by their numbers.
    threads_of: HashMap<u32, Vec<u32>>,
    /// Up to which time samples may be put into the profile.
    released_ns: u64,
    first_ns: Option<u64>,
    counts: SampleCounts,
}

impl Builder {
    pub(crate) fn new(options: &RecordOptions, generating: Arc<GeneratedNames>) -> Self {
        Self {
            names: Names::new(options, generating),
            profile: Profile {
                information: information(options),
                ..Profile::default()
            },
            frames: HashMap::new(),
            inlined: HashMap::new(),
            functions: HashMap::new(),
            next_function: 0,
            gone_functions: HashSet::new(),
            made_functions: HashMap::new(),
            stacks: BTreeMap::new(),
            next_stack: 0,
            look_at: 0,
            naming: Naming::default(),
            processes: HashMap::new(),
            threads: HashMap::new(),
            waiting: Vec::new(),
            released: Released::default(),
            most_released: options.memory_shares().waiting_samples,
            arrivals: VecDeque::new(),
            ended: VecDeque::new(),
            gone_files: VecDeque::new(),
            sampled: HashSet::new(),
            threads_of: HashMap::new(),
            released_ns: 0,
            first_ns: None,
            counts: SampleCounts::default(),
        }
    }

    /// Takes what is new; it is in the profile after the next step, new names of rows at once.
    pub(crate) fn take(&mut self, news: News) {
        let News {
            files,
            functions,
            gone_functions,
            stacks,
            processes,
            threads,
            mut samples,
            arrivals,
            ended,
            gone_files,
        } = news;
        self.names.files.extend(files);
        for function in functions {
            self.functions.insert(self.next_function, function);
            self.next_function += 1;
        }
        self.gone_functions.extend(gone_functions);
        for raw in stacks {
            let known = KnownStack {
                raw,
                handle: None,
                is_ours: false,
            };
            self.stacks.insert(self.next_stack, known);
            self.next_stack += 1;
        }
        for (index, description) in processes {
            self.take_process(index, description);
        }
        for (number, description) in threads {
            self.take_thread(number, description);
        }
        self.waiting.append(&mut samples);
        self.arrivals.extend(arrivals);
        self.ended.extend(ended);
        self.gone_files.extend(gone_files);
    }

    fn take_process(&mut self, index: u32, description: ProcessDescription) {
        let profile = &mut self.profile;
        let row = self.processes.entry(index);
        row.and_modify(|row| {
            if let Some(handle) = &mut row.made {
                let renamed = description.intern(&mut profile.strings);
                *handle = profile.processes.replace(*handle, renamed);
            }
            row.description = description.clone();
        })
        .or_insert_with(|| Row::waiting(description));
    }

    fn take_thread(&mut self, number: u32, description: ThreadDescription) {
        if !self.threads.contains_key(&number) {
            let of_process = self.threads_of.entry(description.process);
            of_process.or_default().push(number);
        }
        let profile = &mut self.profile;
        let row = self.threads.entry(number);
        row.and_modify(|row| {
            if let Some(handle) = &mut row.made
                && let Some(old) = profile.threads.find(*handle).copied()
            {
                let name = profile.strings.intern(&description.name);
                *handle = profile.threads.replace(*handle, Thread { name, ..old });
            }
            row.description = description.clone();
        })
        .or_insert_with(|| Row::waiting(description));
    }

    /// One step: the samples that came before `until`, as far as there are names for them; all samples when that is `None`.
    /// `naming` hears of parts done and parts in all.
    pub(crate) fn grow(&mut self, until: Option<Instant>, naming: &mut dyn FnMut(usize, usize)) {
        self.release(until);
        match until {
            Some(_) => self.name_some(naming),
            None => self.name_all(naming),
        }
        self.add_samples();
        self.forget_ended(until.is_none());
        self.forget_many_stacks();
    }

    /// What had come by then has nothing before it that is still to come.
    fn release(&mut self, until: Option<Instant>) {
        match until {
            None => self.released_ns = u64::MAX,
            Some(until) => {
                let is_past = |arrival: &mut Arrival| arrival.at <= until;
                while let Some(arrival) = self.arrivals.pop_front_if(is_past) {
                    self.released_ns = self.released_ns.max(arrival.latest_ns);
                }
            }
        }
        let released_ns = self.released_ns;
        let mut samples: Vec<RawSample> = self
            .waiting
            .extract_if(.., |sample| sample.time_ns <= released_ns)
            .filter(|sample| {
                self.stacks.contains_key(&sample.stack.0)
                    && self.threads.contains_key(&sample.thread)
            })
            .collect();
        samples.sort_by_key(|sample| sample.time_ns);
        if let Some(first) = samples.first() {
            self.first_ns.get_or_insert(first.time_ns);
        }
        self.released.put(samples, until);
    }

    /// Figures that the profile holds, too.
    pub(crate) fn note_costs(&mut self, costs: &Costs, started: Option<&SystemTime>) {
        let since_epoch = started.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let information = &mut self.profile.information;
        information.started_unix_ns = since_epoch.unwrap_or_default().as_nanos() as u64;
        information.duration_ns = costs.sampled_for.as_nanos() as u64;
        let usage = viperf_process::read_own_usage();
        information.cost = RecordingCost {
            bpf_time_ns: costs.run_time_ns,
            cpu_time_ns: usage.cpu.as_nanos() as u64,
            peak_memory_bytes: usage.peak_rss_bytes,
            bpf_map_bytes: costs.map_bytes,
            first_sample_ns: costs.first_sample.map(|time| time.as_nanos() as u64),
            samples_without_python: costs.samples_without_python,
            lowest_rate_hz: costs.lowest_rate_hz.unwrap_or(0),
        };
        self.profile.lost = costs.lost_samples;
    }

    /// The profile as it is after the last step.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The profile.
    pub(crate) fn into_profile(self) -> Profile {
        self.profile
    }

    /// How many samples have been put into the profile.
    pub(crate) fn sample_counts(&self) -> SampleCounts {
        self.counts
    }

    /// Keeps what is distinct and lets go what has been looked at.
    pub(crate) fn let_samples_go(&mut self) {
        self.profile.samples.clear();
    }

    /// Lets rows and samples go. Nobody has a handle of the old profile: what is known without one is kept, and gets its rows when
    /// it is needed again.
    pub(crate) fn begin_anew(&mut self) {
        self.profile = Profile {
            information: self.profile.information.clone(),
            incomplete: mem::take(&mut self.profile.incomplete),
            lost: self.profile.lost,
            ..Profile::default()
        };
        self.frames.clear();
        self.inlined.clear();
        self.made_functions.clear();
        for row in self.processes.values_mut() {
            row.made = None;
        }
        for row in self.threads.values_mut() {
            row.made = None;
        }
        for stack in self.stacks.values_mut() {
            stack.handle = None;
        }
        self.forget_stacks();
        // Now no row holds a name, and what is needed of them can be asked for again.
        if self.names.are_many() && self.naming.begin_anew() {
            self.names.forget_addresses();
        }
    }

    fn stack(&mut self, number: u32) -> Option<(StackHandle, Option<viperf_abi::Reason>)> {
        let known = self.stacks.get(&number)?;
        let incomplete = known.raw.incomplete;
        if let Some(handle) = known.handle {
            return Some((handle, incomplete));
        }
        let raw = known.raw.clone();
        let handle = self.add_stack(&raw)?;
        if let Some(known) = self.stacks.get_mut(&number) {
            known.handle = Some(handle);
        }
        Some((handle, incomplete))
    }

    fn add_stack(&mut self, stack: &RawStack) -> Option<StackHandle> {
        let mut frames: Vec<FrameHandle> = Vec::with_capacity(stack.frames.len());
        for (index, frame) in stack.frames.iter().enumerate() {
            let caller = stack.frames.get(index + 1);
            let frame = self.part_of_eval(*frame, caller);
            let itself = self.frame(frame);
            frames.extend(self.inlined.get(&frame).into_iter().flatten());
            frames.push(itself);
        }
        if frames.is_empty() {
            frames.push(self.plain_frame(
                "no frames of the kinds asked for",
                FrameKind::Incomplete,
                0,
            ));
        }
        self.profile.intern_stack_leaf_first(frames)
    }

    /// The samples that are next, as far as their stacks have names.
    fn add_samples(&mut self) {
        let named = self.naming.named();
        let first_ns = self.first_ns.unwrap_or_default();
        while let Some(sample) = self.released.take_if(|sample| sample.stack.0 < named) {
            let Some((stack, incomplete)) = self.stack(sample.stack.0) else {
                continue;
            };
            let Some(thread) = self.thread(sample.thread) else {
                continue;
            };
            self.counts.all += 1;
            match incomplete {
                None => self.counts.complete += 1,
                Some(reason) => self.profile.count_incomplete(reason.text()),
            }
            self.profile.samples.push(Sample {
                // One that comes later than all others may be older than the first.
                time_ns: sample.time_ns.saturating_sub(first_ns),
                weight_ns: sample.weight_ns.into(),
                cpu: sample.cpu,
                thread,
                stack,
                complete: incomplete.is_none(),
            });
        }
    }

    fn thread(&mut self, number: u32) -> Option<ThreadHandle> {
        let (profile, processes) = (&mut self.profile, &mut self.processes);
        let sampled = &mut self.sampled;
        let row = self.threads.get_mut(&number)?;
        row.handle_or_none(|description| {
            let process = processes.get_mut(&description.process)?;
            let process = process.handle_or_none(|process| {
                if sampled.insert(description.process) {
                    self.counts.processes += 1;
                }
                let process = process.intern(&mut profile.strings);
                Some(profile.processes.intern(process))
            })?;
            let name = profile.strings.intern(&description.name);
            Some(profile.threads.intern(Thread {
                process,
                tid: description.tid,
                name,
            }))
        })
    }
}

#[cfg(test)]
mod tests;
