use std::io;

/// Why sampling cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The kernel refuses the caller.
    #[error("not permitted ({what}): {source}")]
    NotPermitted {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel describes its types nowhere, so the programs cannot be fitted to it.
    #[error(
        "the kernel has no BTF (/sys/kernel/btf/vmlinux is missing); boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoBtf,
    /// The kernel is too old for something that the programs need.
    #[error("the kernel lacks {what}; Linux {since} or newer has it")]
    KernelLacks {
        /// What is missing.
        what: &'static str,
        /// The first version with it.
        since: &'static str,
    },
    /// The kernel's timer tick is no clock for what is wanted.
    #[error("samples cannot be taken on the timer tick: {why}, or leave --clock tick out")]
    NoTick {
        /// Why.
        why: String,
    },
    /// The programs were not accepted.
    #[error("the kernel does not load viperf's programs: {source}; it says: {log}")]
    Rejected {
        /// libbpf's error.
        source: libbpf_rs::Error,
        /// The last lines of the verifier's log.
        log: String,
    },
    /// A step of loading or feeding failed.
    #[error("{what} failed: {source}")]
    Bpf {
        /// The step.
        what: &'static str,
        /// libbpf's error.
        source: libbpf_rs::Error,
    },
    /// A system call failed.
    #[error("{what} failed: {source}")]
    System {
        /// The step.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A table in the kernel is full.
    #[error("no room for {needed} more {what} (of {limit})")]
    Full {
        /// Which table.
        what: &'static str,
        /// Entries asked for.
        needed: usize,
        /// Entries in all.
        limit: usize,
    },
}

impl SampleError {
    /// Sorts an error of libbpf by its cause.
    pub(crate) fn from_bpf(what: &'static str, source: libbpf_rs::Error) -> Self {
        match source.kind() {
            libbpf_rs::ErrorKind::PermissionDenied => Self::NotPermitted {
                what,
                source: io::Error::other(source),
            },
            _ => Self::Bpf { what, source },
        }
    }

    /// The error that the last system call left.
    pub(crate) fn last_system_error(what: &'static str) -> Self {
        let source = io::Error::last_os_error();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { what, source },
            _ => Self::System { what, source },
        }
    }
}
