//! The processes that are profiled: what the kernel was told of each, and what the profile will say of it.

mod departed;
mod description;
mod descriptions;
mod renamed;
mod tracked;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
    time::{Duration, Instant},
};

use viperf_abi::{
    Mapping as KernelMapping, PROCESS_NEVER_DEFER, PROCESS_TARGET, Process, ProcessRecord,
};
use viperf_cpython::Interpreter;
use viperf_process::{Pid, ProcessError};
use viperf_sample::Sampler;

use crate::found::{Found, Readers};

use departed::Departed;
use description::Placements;
pub(crate) use description::ProcessDescription;
use descriptions::Descriptions;
pub(crate) use tracked::TrackError;
use tracked::release;

/// A process that maps something all the time, as a JIT compiler does, is read so often at most, unless samples wait for it.
const REREAD_INTERVAL: Duration = Duration::from_millis(20);

/// So many deferred samples in a row that led nowhere: a program that runs code which no mapping explains.
const FAILED_DEFERRALS: u32 = 32;

/// More sentences than this are not told: whoever starts programs all day would have one said of each.
const MOST_NOTES: usize = 1000;

/// A run of the kernel's array of mappings; forked processes share it until one of them changes.
#[derive(Debug)]
struct MappingRun {
    first: u32,
    mappings: Rc<[KernelMapping]>,
}

/// A live process.
#[derive(Debug)]
struct Tracked {
    kernel: Process,
    run: Option<Rc<MappingRun>>,
    python: Option<Rc<Interpreter>>,
    /// The number of the executable that holds it.
    python_executable: u32,
    description: u32,
    /// Deferred samples that led nowhere since the last one that did not.
    failed_deferrals: u32,
    last_read: Instant,
    /// When its names were read because they had changed.
    renamed: Option<Instant>,
    /// What the kernel has was copied at a fork, perhaps from an older state of the parent.
    unconfirmed: bool,
    /// Forked by viperf, and not yet the command: its exec does not make another process of it.
    starting: bool,
}

/// All processes of a recording.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    tracked: HashMap<u32, Tracked>,
    descriptions: Descriptions,
    next_epoch: u32,
    /// To be read again after the records in hand; true: at once.
    stale: HashMap<u32, bool>,
    placements: Placements,
    notes: Vec<String>,
    told: HashSet<String>,
    /// Descriptions that have been made or read again.
    changed: BTreeSet<u32>,
    departed: Departed,
    /// Pid, epoch and description of those whose beginning was lost.
    strays: Vec<(u32, u32, u32)>,
    has_python: bool,
    /// The pid whose names were read last at a roll call.
    last_named: u32,
}

impl Processes {
    /// Makes a process a target and reads it.
    ///
    /// # Errors
    /// It is not there or cannot be read, or the kernel has no room for it.
    pub(crate) fn track(&mut self, pid: u32, readers: &mut Readers<'_>) -> Result<(), TrackError> {
        if self.tracked.contains_key(&pid) {
            return Ok(());
        }
        self.next_epoch += 1;
        let kernel = Process {
            epoch: self.next_epoch,
            flags: PROCESS_TARGET,
            ..Process::default()
        };
        self.insert(pid, kernel, None);
        // The kernel hears of it first: it tells the end only of processes that it knows.
        readers.sampler.add_process(pid, &kernel)?;
        let read = self.read(pid, readers);
        if read.is_err() {
            readers.sampler.remove_process(pid);
            self.exit(pid, readers.sampler);
        }
        read
    }

    /// Whether the process is a target.
    pub(crate) fn is_tracked(&self, pid: u32) -> bool {
        self.tracked.contains_key(&pid)
    }

    /// Whether a Python has been found in it.
    pub(crate) fn is_python(&self, pid: u32) -> bool {
        self.tracked
            .get(&pid)
            .is_some_and(|tracked| tracked.python.is_some())
    }

    /// The interpreter of a process.
    pub(crate) fn python(&self, pid: u32) -> Option<&Rc<Interpreter>> {
        self.tracked.get(&pid)?.python.as_ref()
    }

    /// The interpreter of a process and where its runtime is, if the process is still the one of that description.
    pub(crate) fn python_of(&self, pid: u32, description: u32) -> Option<(&Interpreter, u64)> {
        let tracked = self.tracked.get(&pid)?;
        let is_same = tracked.description == description;
        let python = tracked.python.as_deref().filter(|_| is_same)?;
        Some((python, tracked.kernel.runtime))
    }

    /// The interpreter of a process and where its runtime is.
    pub(crate) fn python_now(&self, pid: u32) -> Option<(&Interpreter, u64)> {
        let tracked = self.tracked.get(&pid)?;
        Some((tracked.python.as_deref()?, tracked.kernel.runtime))
    }

    /// The executable mappings that the kernel was told of, by address.
    pub(crate) fn mappings(&self, pid: u32) -> Rc<[KernelMapping]> {
        self.tracked
            .get(&pid)
            .and_then(|tracked| tracked.run.as_ref())
            .map_or_else(Rc::default, |run| Rc::clone(&run.mappings))
    }

    /// The numbers of executables that processes have mapped, each at least once.
    pub(crate) fn mapped_executables(&self) -> impl Iterator<Item = u32> {
        let runs = self.tracked.values().flat_map(|tracked| &tracked.run);
        let mappings = runs.flat_map(|run| run.mappings.iter());
        mappings.map(|mapping| mapping.executable)
    }

    /// The number of the executable that holds the interpreter of a process.
    pub(crate) fn python_executable(&self, pid: u32) -> Option<u32> {
        let tracked = self.tracked.get(&pid)?;
        tracked.python.as_ref().map(|_| tracked.python_executable)
    }

    /// The epoch of a process.
    pub(crate) fn epoch(&self, pid: u32) -> Option<u32> {
        self.tracked.get(&pid).map(|tracked| tracked.kernel.epoch)
    }

    /// What the kernel was told of a process.
    #[cfg(test)]
    pub(crate) fn kernel(&self, pid: u32) -> Option<Process> {
        self.tracked.get(&pid).map(|tracked| tracked.kernel)
    }

    /// The description that samples of this epoch belong to; made up from what is left if its beginning was lost.
    pub(crate) fn description(&mut self, epoch: u32, pid: u32) -> u32 {
        if let Some(index) = self.descriptions.of_epoch(epoch) {
            return index;
        }
        let index = self.describe(pid, None);
        self.descriptions.add_epoch(index, epoch);
        // Nobody tells its end, unless it is a target.
        if self.epoch(pid) != Some(epoch) {
            self.strays.push((pid, epoch, index));
        }
        index
    }

    /// What is known of the last process that had this pid.
    pub(crate) fn describe_last(&self, pid: u32) -> Option<&ProcessDescription> {
        self.descriptions.last_of(pid)
    }

    /// Whether any process has had a Python.
    pub(crate) fn has_python(&self) -> bool {
        self.has_python
    }

    /// The processes that ended a while ago, by epoch and description: nothing of them is still to come, but for stacks of the
    /// epochs for which `is_awaited`.
    pub(crate) fn take_departed(
        &mut self,
        is_awaited: impl Fn(u32) -> bool,
        sampler: &Sampler,
    ) -> Vec<(u32, u32)> {
        let descriptions = &self.descriptions;
        self.departed.take(Instant::now(), |epoch, description| {
            let described = descriptions.find(description);
            let is_ending = || described.is_some_and(|one| is_ending(one.pid, epoch, sampler));
            is_awaited(epoch) || is_ending()
        })
    }

    /// Lets the description of a process go that has departed.
    pub(crate) fn forget(&mut self, epoch: u32, description: u32) -> bool {
        self.descriptions.remove_epoch(description, epoch)
    }

    /// A description has got its first sample.
    pub(crate) fn is_sampled(&mut self, index: u32) {
        self.changed.insert(index);
    }

    /// The descriptions that are new since the last call or have been read again, by their index.
    pub(crate) fn take_changed(&mut self) -> Vec<(u32, ProcessDescription)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let described = changed.filter_map(|index| {
            let description = self.descriptions.find(index)?;
            Some((index, description.clone()))
        });
        described.collect()
    }

    /// Sentences for the user since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Tells the user something, once.
    pub(crate) fn tell(&mut self, note: String) {
        let is_room = self.told.len() < MOST_NOTES;
        if is_room && self.told.insert(note.clone()) {
            self.notes.push(note);
        }
    }

    /// A target, or viperf for its command, has a child, which has what its parent has.
    pub(crate) fn fork(&mut self, record: &ProcessRecord, sampler: &mut Sampler) {
        // Its end was lost, and its pid has a new owner.
        self.exit(record.tgid, sampler);
        self.stale.insert(record.tgid, true);
        let Some(parent) = self.tracked.get(&record.parent_tgid) else {
            let kernel = Process {
                epoch: record.epoch,
                flags: PROCESS_TARGET,
                ..Process::default()
            };
            self.insert(record.tgid, kernel, Some(record.parent_tgid));
            if let Some(command) = self.tracked.get_mut(&record.tgid) {
                command.starting = record.parent_tgid == std::process::id();
            }
            return;
        };
        let description = self.descriptions.find(parent.description);
        let description = description.map_or_else(
            || ProcessDescription::new(record.tgid, Some(record.parent_tgid)),
            |description| description.forked(record),
        );
        let description = self.descriptions.add(description);
        let child = Tracked {
            kernel: Process {
                epoch: record.epoch,
                ..parent.kernel
            },
            unconfirmed: true,
            run: parent.run.clone(),
            python: parent.python.clone(),
            description,
            ..*parent
        };
        self.descriptions.add_epoch(description, record.epoch);
        self.tracked.insert(record.tgid, child);
    }

    /// The kernel has made a target of a process with its first sample.
    pub(crate) fn adopt(&mut self, record: &ProcessRecord) {
        self.stale.insert(record.tgid, true);
        if let Some(known) = self.tracked.get(&record.tgid) {
            // It was found here at the same time.
            self.descriptions.add_epoch(known.description, record.epoch);
            return;
        }
        let kernel = Process {
            epoch: record.epoch,
            flags: PROCESS_TARGET,
            ..Process::default()
        };
        self.insert(record.tgid, kernel, None);
    }

    /// A target runs another program now.
    pub(crate) fn exec(&mut self, record: &ProcessRecord, sampler: &mut Sampler) {
        let Some(old) = self.tracked.remove(&record.tgid) else {
            return;
        };
        release(old.run, sampler);
        let kernel = Process {
            epoch: record.epoch,
            flags: PROCESS_TARGET,
            ..Process::default()
        };
        if old.starting {
            self.descriptions.add_epoch(old.description, kernel.epoch);
            self.insert_described(record.tgid, kernel, old.description);
        } else {
            self.depart(old.description);
            let description = self.descriptions.find(old.description);
            let parent = description.and_then(|description| description.parent);
            self.insert(record.tgid, kernel, parent);
        }
        self.stale.insert(record.tgid, true);
    }

    /// A target has ended; the kernel forgets it when its memory has been given back.
    pub(crate) fn exit(&mut self, pid: u32, sampler: &mut Sampler) {
        if let Some(old) = self.tracked.remove(&pid) {
            sampler.forget_unless_ending(pid, old.kernel.epoch);
            release(old.run, sampler);
            self.depart(old.description);
        }
        self.stale.remove(&pid);
    }

    /// A deferred sample was finished or not; a process whose samples never can be is not asked for more of them.
    pub(crate) fn deferral_ended(&mut self, pid: u32, finished: bool, sampler: &Sampler) {
        let Some(tracked) = self.tracked.get_mut(&pid) else {
            return;
        };
        tracked.failed_deferrals = if finished {
            0
        } else {
            tracked.failed_deferrals + 1
        };
        if tracked.failed_deferrals == FAILED_DEFERRALS {
            tracked.kernel.flags |= PROCESS_NEVER_DEFER;
            // Where it fails, the process has ended or runs another program.
            let _ = sampler.update_process(pid, &tracked.kernel);
        }
    }

    /// The process has mapped something; `urgent` when samples wait for it.
    pub(crate) fn mapped(&mut self, pid: u32, urgent: bool) {
        if self.tracked.contains_key(&pid) {
            *self.stale.entry(pid).or_default() |= urgent;
        }
    }

    /// Any process may have mapped something, or ended.
    pub(crate) fn all_changed(&mut self) {
        for pid in self.tracked.keys() {
            self.stale.insert(*pid, true);
        }
    }

    /// Forgets a process that has ended without a record of it: the record was lost, or its end had begun before the kernel
    /// knew it as a target.
    pub(crate) fn forget_if_gone(&mut self, pid: u32, sampler: &mut Sampler) {
        if self.tracked.contains_key(&pid) && viperf_process::is_gone(Pid(pid)) {
            sampler.remove_process(pid);
            self.exit(pid, sampler);
        }
    }

    /// Notes which of those processes have ended that nobody tells the end of.
    pub(crate) fn note_gone_strays(&mut self) {
        let (tracked, departed) = (&self.tracked, &mut self.departed);
        self.strays.retain(|&(pid, epoch, description)| {
            let is_another = tracked
                .get(&pid)
                .is_some_and(|tracked| tracked.kernel.epoch != epoch);
            let is_over = is_another || viperf_process::is_gone(Pid(pid));
            if is_over {
                departed.note(epoch, description);
            }
            !is_over
        });
    }

    /// The processes that are targets now.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.tracked.keys().copied().collect()
    }

    /// Reads the processes again whose mappings have changed. One that is gone has ended; what else goes wrong with one is
    /// told, and does not end the recording of the others.
    pub(crate) fn read_stale(&mut self, readers: &mut Readers<'_>) {
        let now = Instant::now();
        for (pid, urgent) in std::mem::take(&mut self.stale) {
            let is_due =
                |tracked: &Tracked| now.duration_since(tracked.last_read) >= REREAD_INTERVAL;
            if !urgent && !self.tracked.get(&pid).is_some_and(is_due) {
                self.mapped(pid, false);
                continue;
            }
            match self.read(pid, readers) {
                Ok(()) => {}
                Err(TrackError::Process(ProcessError::NoSuchProcess { .. })) => {
                    self.forget_if_gone(pid, readers.sampler);
                }
                Err(error) => self.tell(error.to_string()),
            }
        }
    }

    fn insert(&mut self, pid: u32, kernel: Process, parent: Option<u32>) {
        let description = self.describe(pid, parent);
        self.descriptions.add_epoch(description, kernel.epoch);
        self.insert_described(pid, kernel, description);
    }

    /// Nothing new comes of the process with this description.
    fn depart(&mut self, description: u32) {
        for epoch in self.descriptions.epochs(description) {
            self.departed.note(*epoch, description);
        }
    }

    fn insert_described(&mut self, pid: u32, kernel: Process, description: u32) {
        let tracked = Tracked {
            kernel,
            run: None,
            python: None,
            python_executable: 0,
            description,
            failed_deferrals: 0,
            last_read: Instant::now(),
            renamed: None,
            unconfirmed: false,
            starting: false,
        };
        self.tracked.insert(pid, tracked);
    }

    fn describe(&mut self, pid: u32, parent: Option<u32>) -> u32 {
        let title_of_parent = self.title(parent);
        let mut description = ProcessDescription::new(pid, parent);
        description.read_names(title_of_parent.as_deref());
        description.read_place(&mut self.placements);
        self.descriptions.add(description)
    }

    /// Reads the mappings, finds the Python, and tells the kernel.
    fn read(&mut self, pid: u32, readers: &mut Readers<'_>) -> Result<(), TrackError> {
        let mut found = Found::read(pid, readers)?;
        let Some(tracked) = self.tracked.get_mut(&pid) else {
            return Ok(());
        };
        tracked.last_read = Instant::now();
        let was_unconfirmed = tracked.unconfirmed;
        // Between the end of its memory and its own end a process has no mappings.
        if found.executables.is_empty() && tracked.run.is_some() {
            return Ok(());
        }
        found.add_rows(pid, readers);
        let (unsupported, left_out) = (found.unsupported.clone(), found.left_out.clone());
        if !tracked.take(pid, found, readers.sampler)? {
            // It has ended or runs another program: the record of that is on its way.
            return Ok(());
        }
        let python_version = tracked.python.as_deref().map(describe_version);
        let untested = tracked.python.clone().filter(|python| python.untested);
        let index = tracked.description;
        let parent = self
            .descriptions
            .find(index)
            .and_then(|process| process.parent);
        let title_of_parent = self.title(parent);
        let Some(description) = self.descriptions.find_mut(index) else {
            return Ok(());
        };
        description.read_names(title_of_parent.as_deref());
        if was_unconfirmed {
            description.read_place(&mut self.placements);
        }
        let name = description.name.clone();
        let has_python = python_version.is_some();
        self.has_python |= has_python;
        let is_new = description.python_version != python_version;
        description.python_version = python_version;
        self.changed.insert(index);
        if let Some(python) = untested.filter(|_| is_new) {
            self.tell(format!(
                "{name} ({pid}) runs CPython {}, which is newer than this viperf: untested, read by what it says of itself",
                python.version
            ));
        }
        if let Some(what) = unsupported.filter(|_| !has_python) {
            self.tell(format!(
                "{name} ({pid}) runs {what}: native and kernel frames only"
            ));
        }
        if let Some(what) = left_out {
            self.tell(format!("{name} ({pid}): {what}"));
        }
        Ok(())
    }
}

/// Whether an ended process still has something to do, which is sampled: to give much memory back takes seconds. One that
/// is over and that the kernel still knows, as one that its parent does not wait for, is forgotten by it.
fn is_ending(pid: u32, epoch: u32, sampler: &Sampler) -> bool {
    if !sampler.knows_process(pid, epoch) {
        return false;
    }
    let is_over = viperf_process::is_gone(Pid(pid));
    if is_over {
        sampler.remove_process(pid);
    }
    !is_over
}

/// As the profile names it.
fn describe_version(python: &Interpreter) -> String {
    let label = if python.untested { " (untested)" } else { "" };
    let build = if python.layout.free_threaded { "t" } else { "" };
    format!("{}{build}{label}", python.version)
}
