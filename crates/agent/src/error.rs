use std::{ffi::OsString, io, path::PathBuf};

use viperf_process::ProcessError;
use viperf_sample::SampleError;

use crate::control_group_target;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The kernel refuses the caller.
    #[error("not permitted ({what}); missing: {}", missing.join(", "))]
    NotPermitted {
        /// What was tried.
        what: String,
        /// Capabilities that are missing, by name.
        missing: Vec<String>,
    },
    /// The target is not there.
    #[error("there is no process {pid}")]
    NoSuchProcess {
        /// As given.
        pid: u32,
    },
    /// The number is that of a thread.
    #[error("{tid} is a thread of process {pid}; use -p {pid}")]
    Thread {
        /// As given.
        tid: u32,
        /// The process that it belongs to.
        pid: u32,
    },
    /// The kernel's programs see other numbers of processes than viperf does.
    #[error(
        "viperf runs in a PID namespace of its own, where numbers of processes are not the kernel's; \
         start it outside the container, or the container with --pid=host"
    )]
    PidNamespace,
    /// There is no such control group.
    #[error("there is no control group {}: {why}", path.display())]
    NoControlGroup {
        /// As given, or as it was looked for.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// No container, or more than one, is meant.
    #[error("{}", control_group_target::describe_choice(prefix, candidates))]
    NoContainer {
        /// As given.
        prefix: String,
        /// Those that it could be, or all that there are; each with its name if it has one.
        candidates: Vec<String>,
    },
    /// The command could not be started.
    #[error("cannot start {}: {source}", command.to_string_lossy())]
    CommandNotStarted {
        /// Its name.
        command: OsString,
        /// The system's answer.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error(
        "the thread that takes samples cannot be started: {source}; raise the limit of processes (ulimit -u)"
    )]
    NoThread {
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel has no BTF.
    #[error(
        "the kernel has no BTF (/sys/kernel/btf/vmlinux); it must be built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoBtf,
    /// The kernel lacks something else.
    #[error("the kernel lacks {what}; Linux {since} or newer has it")]
    KernelLacks {
        /// What.
        what: String,
        /// The first version that has it.
        since: String,
    },
    /// The kernel's timer tick is no clock for what is wanted.
    #[error("samples cannot be taken on the timer tick: {why}, or leave --clock tick out")]
    NoTick {
        /// Why.
        why: String,
    },
    /// Sampling failed.
    #[error(transparent)]
    Sample(SampleError),
    /// A target could not be read.
    #[error(transparent)]
    Process(ProcessError),
}

impl From<SampleError> for RecordError {
    fn from(error: SampleError) -> Self {
        match error {
            SampleError::NotPermitted { what, .. } => Self::not_permitted(what),
            SampleError::NoBtf => Self::NoBtf,
            SampleError::KernelLacks { what, since } => Self::KernelLacks {
                what: what.to_owned(),
                since: since.to_owned(),
            },
            SampleError::NoTick { why } => Self::NoTick { why },
            other => Self::Sample(other),
        }
    }
}

impl From<ProcessError> for RecordError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::NoSuchProcess { pid } => Self::NoSuchProcess { pid: pid.0 },
            ProcessError::NotPermitted { what, .. } => {
                Self::not_permitted(&format!("reading a target's {what}"))
            }
            other => Self::Process(other),
        }
    }
}

impl RecordError {
    /// A refusal, with the capabilities that would have allowed it.
    pub(crate) fn not_permitted(what: &str) -> Self {
        use viperf_process::Capability;
        let wanted = [Capability::BPF, Capability::PERFMON, Capability::SYS_PTRACE];
        let missing = viperf_process::effective_capabilities()
            .map(|held| held.missing(&wanted))
            .unwrap_or_default();
        Self::NotPermitted {
            what: what.to_owned(),
            missing: missing.iter().map(|one| one.name().to_owned()).collect(),
        }
    }
}
