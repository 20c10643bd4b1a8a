//! The command that viperf started, when it outlives the recording.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use viperf_process::{Pid, list_children};

use super::signals::StopSignals;
use crate::terminal;

/// How soon a signal is passed on, and the command's end seen.
const POLL: Duration = Duration::from_millis(20);

/// Waits for the command that still runs and gives how it ended; `None` if there is none.
///
/// Its time under the profiler is over (`--duration`, or a signal), its life is its own: it is not
/// ended. A signal that reached viperf alone is passed on, as a shell or a service manager means it.
pub(super) fn wait_for_command(signals: &StopSignals) -> Option<ExitStatus> {
    if let Some(status) = take_status()? {
        return Some(status);
    }
    let mut passed_on = 0;
    if signals.received() == 0 {
        terminal::say("the command goes on, and viperf waits for its end");
    }
    loop {
        let signal = signals.received();
        if signal != passed_on {
            pass_on(signal);
            passed_on = signal;
        }
        if let Some(status) = take_status()? {
            return Some(status);
        }
        thread::sleep(POLL);
    }
}

/// How the only child ended: `None` if there is no child, `Some(None)` if it still runs.
fn take_status() -> Option<Option<ExitStatus>> {
    let mut status = 0;
    // SAFETY: `status` lives for the call, which only writes to it.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match pid {
        -1 => None,
        0 => Some(None),
        _ => Some(Some(ExitStatus::from_raw(status))),
    }
}

/// Sends `signal` to the command. It cannot be another process: only viperf takes its children away.
fn pass_on(signal: i32) {
    for pid in list_children(Pid(std::process::id())) {
        if let Ok(pid) = libc::pid_t::try_from(pid.0) {
            // SAFETY: sends a signal; no memory is involved.
            unsafe { libc::kill(pid, signal) };
        }
    }
}
