//! From what the user named to processes that are tracked.

use std::{
    ffi::OsString,
    process::{Child, Command},
};

use viperf_abi::{PROCESS_STARTS_TARGET, Process};
use viperf_process::{Pid, ProcessError};
use viperf_sample::Sampler;

use crate::{
    RecordError,
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

/// Tracks a process if one of its executables holds a Python.
pub(crate) fn track_if_python(pid: u32, processes: &mut Processes, readers: &mut Readers<'_>) {
    if pid == std::process::id() || processes.is_tracked(pid) || !has_python(pid, readers) {
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
pub(crate) fn start_command(words: &[OsString], sampler: &Sampler) -> Result<Child, RecordError> {
    let Some((program, arguments)) = words.split_first() else {
        let source = std::io::Error::from(std::io::ErrorKind::InvalidInput);
        return Err(RecordError::CommandNotStarted {
            command: OsString::new(),
            source,
        });
    };
    let own_pid = std::process::id();
    let starting = Process {
        flags: PROCESS_STARTS_TARGET,
        ..Process::default()
    };
    sampler.add_process(own_pid, &starting)?;
    let child = Command::new(program).args(arguments).spawn();
    sampler.remove_process(own_pid);
    child.map_err(|source| RecordError::CommandNotStarted {
        command: program.clone(),
        source,
    })
}
