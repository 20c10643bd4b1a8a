//! From what the user named to processes that are tracked.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    path::Path,
    process::{Child, Command, Stdio},
};

use viperf_abi::{PROCESS_STARTS_TARGET, Process};
use viperf_process::{Pid, ProcessError};
use viperf_sample::Sampler;

use crate::{
    RecordError, RecordOptions,
    found::Readers,
    processes::{Processes, TrackError},
};

impl From<TrackError> for RecordError {
    fn from(error: TrackError) -> Self {
        match error {
            TrackError::Process(error) => error.into(),
            TrackError::Sample(error) => error.into(),
        }
    }
}

/// Tracks the processes that were named, and their descendants.
pub(crate) fn track_pids(
    pids: &[u32],
    follow_children: bool,
    processes: &mut Processes,
    readers: &mut Readers<'_>,
) -> Result<(), RecordError> {
    for pid in pids {
        let process = viperf_process::read_thread_group(Pid(*pid))?;
        if process.0 != *pid {
            return Err(RecordError::Thread {
                tid: *pid,
                pid: process.0,
            });
        }
        processes.track(*pid, readers)?;
        if !processes.is_python(*pid) && processes.is_tracked(*pid) {
            let name = viperf_process::read_comm(Pid(*pid)).unwrap_or_default();
            processes.tell(format!("{name} ({pid}) is not a Python process that viperf can read: native and kernel frames only"));
        }
        let descendants = if follow_children {
            viperf_process::descendants(Pid(*pid))
        } else {
            Vec::new()
        };
        for descendant in descendants {
            // One that has ended meanwhile is no error.
            match processes.track(descendant.0, readers) {
                Ok(()) | Err(TrackError::Process(ProcessError::NoSuchProcess { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Tracks every Python of the machine. Processes that cannot be read are left out.
pub(crate) fn track_every_python(processes: &mut Processes, readers: &mut Readers<'_>) {
    for pid in viperf_process::list_processes() {
        track_if_python(pid.0, processes, readers);
    }
}

/// Tells the kernel which control group is meant.
pub(crate) fn choose_control_group(folder: &Path, sampler: &Sampler) -> Result<(), RecordError> {
    let opened = File::open(folder).map_err(|source| RecordError::NoControlGroup {
        path: folder.to_owned(),
        why: source.to_string(),
    })?;
    Ok(sampler.set_control_group(opened)?)
}

/// Tracks what runs in a control group now; what comes to it later the kernel finds.
pub(crate) fn track_control_group(
    folder: &Path,
    processes: &mut Processes,
    readers: &mut Readers<'_>,
) {
    for pid in viperf_process::list_control_group(folder) {
        track_if_possible(pid.0, processes, readers);
    }
}

/// Tracks every process of the machine, but for threads of the kernel.
pub(crate) fn track_every_process(processes: &mut Processes, readers: &mut Readers<'_>) {
    for pid in viperf_process::list_processes() {
        if !viperf_process::is_kernel_thread(pid).unwrap_or(true) {
            track_if_possible(pid.0, processes, readers);
        }
    }
}

/// Tracks a process if one of its executables holds a Python.
pub(crate) fn track_if_python(pid: u32, processes: &mut Processes, readers: &mut Readers<'_>) {
    if !processes.is_tracked(pid) && has_python(pid, readers) {
        track_if_possible(pid, processes, readers);
    }
}

/// Tracks a process that is not viperf itself.
fn track_if_possible(pid: u32, processes: &mut Processes, readers: &mut Readers<'_>) {
    if pid == std::process::id() {
        return;
    }
    match processes.track(pid, readers) {
        Ok(()) | Err(TrackError::Process(_)) => {}
        // One process more than there is room for does not end the recording of the others.
        Err(TrackError::Sample(error)) => processes.tell(error.to_string()),
    }
}

fn has_python(pid: u32, readers: &mut Readers<'_>) -> bool {
    let Ok(mappings) = viperf_process::read_mappings(Pid(pid)) else {
        return false;
    };
    mappings
        .iter()
        .filter(|mapping| mapping.executable)
        .any(|mapping| readers.executables.has_python(Pid(pid), mapping))
}

/// Starts the command as a target from its first instruction: what a child of viperf executes while it starts is one.
/// With a file for its output, what it prints goes to the end of that file, and there is nothing for it to read.
pub(crate) fn start_command(
    words: &[OsString],
    options: &RecordOptions,
    sampler: &Sampler,
) -> Result<Child, RecordError> {
    let Some((program, arguments)) = words.split_first() else {
        let source = std::io::Error::from(std::io::ErrorKind::InvalidInput);
        return Err(RecordError::CommandNotStarted {
            command: OsString::new(),
            source,
        });
    };
    let not_started = |source| RecordError::CommandNotStarted {
        command: program.clone(),
        source,
    };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(path) = &options.command_output {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(not_started)?;
        command
            .stdin(Stdio::null())
            .stderr(file.try_clone().map_err(not_started)?)
            .stdout(file);
    }
    let own_pid = std::process::id();
    let starting = Process {
        flags: PROCESS_STARTS_TARGET,
        ..Process::default()
    };
    sampler.add_process(own_pid, &starting)?;
    let child = command.spawn();
    sampler.remove_process(own_pid);
    child.map_err(not_started)
}
