//! What the thread that looks at targets is allowed to do once the programs are loaded.

use viperf_process::{Capability, Priority, ProcessError};

/// For the maps of the programs and their events, to look at processes and their files, and to raise the limit of locked
/// memory before Linux 5.11.
const KEPT: [Capability; 7] = [
    Capability::BPF,
    Capability::PERFMON,
    Capability::SYS_PTRACE,
    Capability::DAC_READ_SEARCH,
    Capability::CHECKPOINT_RESTORE,
    Capability::SYSLOG,
    Capability::SYS_RESOURCE,
];

/// Raises the limit of open files, lets the calling thread go before those that it samples (on a machine whose CPUs are all
/// busy, a process that has just started would be read too late), and gives up the other privileges for this thread and those that it starts: it reads what
/// targets hold ready for it. Whoever writes the profile is another thread, and keeps what that may need.
pub(crate) fn settle() -> Result<(), ProcessError> {
    viperf_process::raise_open_file_limit();
    viperf_process::set_priority(Priority::First);
    viperf_process::give_up_capabilities(&KEPT)
}
