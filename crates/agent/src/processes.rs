//! The processes that are profiled: what the kernel was told of each, and what the profile will say of it.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use viperf_abi::{
    Mapping as KernelMapping, PROCESS_NEVER_DEFER, PROCESS_PYTHON, PROCESS_READ, PROCESS_TARGET,
    Process, ProcessRecord,
};
use viperf_cpython::Interpreter;
use viperf_process::{Pid, ProcessError};
use viperf_sample::{SampleError, Sampler};

use crate::{
    executables::{Executables, PythonKind},
    layout,
};

/// So many deferred samples in a row that led nowhere: a program that runs code which no mapping explains.
const FAILED_DEFERRALS: u32 = 32;

/// What the profile says of a process. An exec makes a new one.
#[derive(Clone, Debug)]
pub(crate) struct ProcessDescription {
    pub(crate) pid: u32,
    pub(crate) parent: Option<u32>,
    pub(crate) name: String,
    pub(crate) command_line: String,
    pub(crate) python_version: Option<String>,
}

/// A run of the kernel's array of mappings; forked processes share it until one of them changes.
#[derive(Debug)]
struct MappingRun {
    first: u32,
    mappings: Vec<KernelMapping>,
}

/// A live process.
#[derive(Debug)]
struct Tracked {
    kernel: Process,
    run: Option<Rc<MappingRun>>,
    python: Option<Rc<Interpreter>>,
    /// The number of the executable that holds it.
    python_executable: u32,
    description: usize,
    /// Deferred samples that led nowhere since the last one that did not.
    failed_deferrals: u32,
    /// Forked by viperf, and not yet the command: its exec does not make another process of it.
    starting: bool,
}

/// All processes of a recording.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    tracked: HashMap<u32, Tracked>,
    descriptions: Vec<ProcessDescription>,
    by_epoch: HashMap<u32, usize>,
    next_epoch: u32,
    /// To be read again after the records in hand.
    stale: HashSet<u32>,
    notes: Vec<String>,
    told: HashSet<String>,
}

/// What is needed to read a process.
pub(crate) struct Readers<'recording> {
    pub(crate) sampler: &'recording mut Sampler,
    pub(crate) executables: &'recording mut Executables,
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
        match self.read(pid, readers) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.tracked.remove(&pid);
                Err(error)
            }
        }
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

    /// The executable mappings that the kernel was told of, by address.
    pub(crate) fn mappings(&self, pid: u32) -> &[KernelMapping] {
        self.tracked
            .get(&pid)
            .and_then(|tracked| tracked.run.as_ref())
            .map_or(&[], |run| &run.mappings)
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
    pub(crate) fn description(&mut self, epoch: u32, pid: u32) -> usize {
        if let Some(index) = self.by_epoch.get(&epoch) {
            return *index;
        }
        let index = self.describe(pid, None);
        self.by_epoch.insert(epoch, index);
        index
    }

    /// Every description, by its index.
    pub(crate) fn descriptions(&self) -> &[ProcessDescription] {
        &self.descriptions
    }

    /// Sentences for the user since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Tells the user something, once.
    pub(crate) fn tell(&mut self, note: String) {
        if self.told.insert(note.clone()) {
            self.notes.push(note);
        }
    }

    /// A target, or viperf for its command, has a child, which has what its parent has.
    pub(crate) fn fork(&mut self, record: &ProcessRecord) {
        let parent = self.tracked.get(&record.parent_tgid);
        let Some(parent) = parent else {
            let kernel = Process {
                epoch: record.epoch,
                flags: PROCESS_TARGET,
                ..Process::default()
            };
            self.insert(record.tgid, kernel, Some(record.parent_tgid));
            self.stale.insert(record.tgid);
            if let Some(command) = self.tracked.get_mut(&record.tgid) {
                command.starting = record.parent_tgid == std::process::id();
            }
            return;
        };
        let kernel = Process {
            epoch: record.epoch,
            ..parent.kernel
        };
        let mut description = self.descriptions[parent.description].clone();
        description.pid = record.tgid;
        description.parent = Some(record.parent_tgid);
        let child = Tracked {
            kernel,
            run: parent.run.clone(),
            python: parent.python.clone(),
            python_executable: parent.python_executable,
            description: self.descriptions.len(),
            failed_deferrals: 0,
            starting: false,
        };
        self.descriptions.push(description);
        self.by_epoch.insert(record.epoch, child.description);
        self.tracked.insert(record.tgid, child);
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
            self.by_epoch.insert(kernel.epoch, old.description);
            self.insert_described(record.tgid, kernel, old.description);
        } else {
            let parent = self.descriptions[old.description].parent;
            self.insert(record.tgid, kernel, parent);
        }
        self.stale.insert(record.tgid);
    }

    /// A target has ended; the kernel has forgotten it already.
    pub(crate) fn exit(&mut self, pid: u32, sampler: &mut Sampler) {
        if let Some(old) = self.tracked.remove(&pid) {
            release(old.run, sampler);
        }
        self.stale.remove(&pid);
    }

    /// A deferred sample was finished or not; a process whose samples never can be is not asked for more of them.
    pub(crate) fn deferral_ended(
        &mut self,
        pid: u32,
        finished: bool,
        sampler: &Sampler,
    ) -> Result<(), SampleError> {
        let Some(tracked) = self.tracked.get_mut(&pid) else {
            return Ok(());
        };
        tracked.failed_deferrals = if finished {
            0
        } else {
            tracked.failed_deferrals + 1
        };
        if tracked.failed_deferrals == FAILED_DEFERRALS {
            tracked.kernel.flags |= PROCESS_NEVER_DEFER;
            sampler.write_process(pid, &tracked.kernel)?;
        }
        Ok(())
    }

    /// The process has mapped something.
    pub(crate) fn mapped(&mut self, pid: u32) {
        if self.tracked.contains_key(&pid) {
            self.stale.insert(pid);
        }
    }

    /// Any process may have mapped something.
    pub(crate) fn all_mapped(&mut self) {
        self.stale.extend(self.tracked.keys());
    }

    /// Reads the processes again whose mappings have changed.
    ///
    /// # Errors
    /// The kernel has no room. A process that is gone is none: its exit is on its way.
    pub(crate) fn read_stale(&mut self, readers: &mut Readers<'_>) -> Result<(), SampleError> {
        for pid in std::mem::take(&mut self.stale) {
            match self.read(pid, readers) {
                Ok(()) | Err(TrackError::Process(ProcessError::NoSuchProcess { .. })) => {}
                Err(TrackError::Process(error)) => self.tell(format!("{error}")),
                Err(TrackError::Sample(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn insert(&mut self, pid: u32, kernel: Process, parent: Option<u32>) {
        let description = self.describe(pid, parent);
        self.by_epoch.insert(kernel.epoch, description);
        self.insert_described(pid, kernel, description);
    }

    fn insert_described(&mut self, pid: u32, kernel: Process, description: usize) {
        let tracked = Tracked {
            kernel,
            run: None,
            python: None,
            python_executable: 0,
            description,
            failed_deferrals: 0,
            starting: false,
        };
        self.tracked.insert(pid, tracked);
    }

    fn describe(&mut self, pid: u32, parent: Option<u32>) -> usize {
        let mut description = ProcessDescription {
            pid,
            parent,
            name: format!("pid {pid}"),
            command_line: String::new(),
            python_version: None,
        };
        read_names(&mut description);
        self.descriptions.push(description);
        self.descriptions.len() - 1
    }

    /// Reads the mappings, finds the Python, and tells the kernel.
    fn read(&mut self, pid: u32, readers: &mut Readers<'_>) -> Result<(), TrackError> {
        let Some(tracked) = self.tracked.get_mut(&pid) else {
            return Ok(());
        };
        let found = read_mappings(pid, readers)?;
        let mut kernel = Process {
            flags: PROCESS_TARGET | PROCESS_READ,
            ..tracked.kernel
        };
        let unsupported = tracked.take_python(&found, &mut kernel);
        if tracked
            .run
            .as_ref()
            .is_none_or(|run| run.mappings != found.mappings)
        {
            let run = MappingRun {
                first: readers.sampler.write_mappings(&found.mappings)?,
                mappings: found.mappings,
            };
            kernel.first_mapping = run.first;
            kernel.mapping_count = run.mappings.len() as u32;
            release(tracked.run.replace(Rc::new(run)), readers.sampler);
        }
        if kernel != tracked.kernel {
            readers.sampler.write_process(pid, &kernel)?;
            tracked.kernel = kernel;
        }
        let description = &mut self.descriptions[tracked.description];
        read_names(description);
        description.python_version = tracked
            .python
            .as_ref()
            .map(|python| python.version.to_string());
        if let Some(what) = unsupported.filter(|_| description.python_version.is_none()) {
            let note = format!(
                "{} ({pid}) runs {what}: native and kernel frames only",
                description.name
            );
            self.tell(note);
        }
        Ok(())
    }
}

impl Tracked {
    /// Takes over what was found of Python; gives what cannot be read.
    fn take_python(&mut self, found: &Found, kernel: &mut Process) -> Option<String> {
        self.python = None;
        let Some((interpreter, number, load_bias)) = &found.python else {
            return found.unsupported.clone();
        };
        let offset = interpreter.static_thread_state_offset;
        let Some(layout) = layout::for_kernel(&interpreter.layout, offset, found.glibc) else {
            return Some(format!(
                "CPython {}: its layout has an unknown shape",
                interpreter.version
            ));
        };
        kernel.flags |= PROCESS_PYTHON;
        kernel.runtime = load_bias.avma(interpreter.runtime);
        kernel.code_type = load_bias.avma(interpreter.code_type);
        kernel.layout = layout;
        self.python = Some(Rc::clone(interpreter));
        self.python_executable = *number;
        found.unsupported.clone()
    }
}

/// Why a process could not become a target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrackError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Sample(#[from] SampleError),
}

/// What was found in the mappings of a process.
struct Found {
    /// Executable ones, by address.
    mappings: Vec<KernelMapping>,
    python: Option<(Rc<Interpreter>, u32, viperf_elf::LoadBias)>,
    unsupported: Option<String>,
    glibc: bool,
}

fn read_mappings(pid: u32, readers: &mut Readers<'_>) -> Result<Found, TrackError> {
    let mut found = Found {
        mappings: Vec::new(),
        python: None,
        unsupported: None,
        glibc: false,
    };
    for mapping in viperf_process::read_mappings(Pid(pid))?
        .iter()
        .filter(|mapping| mapping.executable)
    {
        let number = readers
            .executables
            .find_or_open(Pid(pid), mapping)
            .unwrap_or(0);
        let rows = readers.executables.rows(number, readers.sampler)?;
        let executable = readers.executables.find(number);
        let load_bias = executable.and_then(|executable| executable.load_bias(mapping));
        // Without a bias no address of the file can be looked up: as good as no file.
        let (first_row, row_count) = rows.filter(|_| load_bias.is_some()).unwrap_or((0, 0));
        found.mappings.push(KernelMapping {
            start: mapping.start,
            end: mapping.end,
            load_bias: load_bias.map_or(0, |bias| bias.0),
            first_row,
            row_count,
            executable: number,
            reserved: 0,
        });
        let Some((executable, load_bias)) = executable.zip(load_bias) else {
            continue;
        };
        found.glibc |=
            executable.name.starts_with("libc.so.6") || executable.name.starts_with("libc-2.");
        match &executable.python {
            PythonKind::Readable(python) => {
                found.python = Some((Rc::clone(python), number, load_bias))
            }
            PythonKind::Unsupported(what) => found.unsupported = Some(what.clone()),
            PythonKind::None => {}
        }
    }
    Ok(found)
}

/// Names change: an exec is told before the new program's name can be read, and programs rename themselves.
fn read_names(description: &mut ProcessDescription) {
    let pid = Pid(description.pid);
    if let Ok(name) = viperf_process::read_comm(pid) {
        description.name = name;
    }
    if let Ok(words) = viperf_process::read_command_line(pid) {
        description.command_line = words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
    }
    if description.parent.is_none() {
        description.parent = viperf_process::read_parent(pid).ok().map(|parent| parent.0);
    }
}

/// Gives a run back once no process uses it.
fn release(run: Option<Rc<MappingRun>>, sampler: &mut Sampler) {
    if let Some(run) = run.and_then(Rc::into_inner) {
        sampler.release_mappings(run.first, run.mappings.len() as u32);
    }
}
