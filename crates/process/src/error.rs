//! Why a fact about a process could not be had.

use std::{io, path::PathBuf};

use crate::Pid;

/// Why a fact about a process could not be had, with what the user can do about it in its text.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The process has ended (perhaps while we read), or never was.
    #[error(
        "no process {pid}: it has ended, or the number belongs to another PID namespace; \
         list the running ones with `ps -e`"
    )]
    NoSuchProcess {
        /// The process asked for.
        pid: Pid,
    },
    /// The kernel refused: another user's process, or a restricted `/proc`.
    #[error(
        "not permitted to read {what} of process {pid}: \
         run as root, or with CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE"
    )]
    NotPermitted {
        /// The process asked for.
        pid: Pid,
        /// The fact that was to be read, such as "mappings".
        what: &'static str,
    },
    /// The process has nothing readable at an address.
    #[error(
        "process {pid} has no readable memory at {address:#x}: it was unmapped or is protected"
    )]
    NotMapped {
        /// The process asked for.
        pid: Pid,
        /// The first address (AVMA) that could not be read.
        address: u64,
    },
    /// The file behind a mapping is not to be had: deleted, replaced, or no regular file.
    #[error(
        "process {pid} maps {path:?}, but that file has been deleted or replaced since: restart the process, \
         or give viperf CAP_CHECKPOINT_RESTORE so that it can open the mapped file itself"
    )]
    FileReplaced {
        /// The process asked for.
        pid: Pid,
        /// The path the kernel shows for the mapping.
        path: PathBuf,
    },
    /// Anything else that went wrong between us and `/proc`.
    #[error("cannot read {what} of process {pid}: {source}")]
    Io {
        /// The process asked for.
        pid: Pid,
        /// The fact that was to be read, such as "mappings".
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl ProcessError {
    /// Sorts the kernel's answer into the three cases users can tell apart.
    ///
    /// `ENOENT` and `ESRCH` are both how `/proc` says that the process is gone: the first before its folder is
    /// opened, the second after.
    pub(crate) fn from_io(pid: Pid, what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => Self::NoSuchProcess { pid },
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted { pid, what },
            _ => Self::Io { pid, what, source },
        }
    }

    /// A text of `/proc` that is not shaped as the kernel documents it.
    pub(crate) fn malformed(pid: Pid, what: &'static str, text: &[u8]) -> Self {
        let start = text.get(..text.len().min(80)).unwrap_or(text);
        let shown = String::from_utf8_lossy(start).into_owned();
        Self::Io {
            pid,
            what,
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                format!("unexpected text {shown:?}"),
            ),
        }
    }
}
