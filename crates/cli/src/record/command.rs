//! The command that viperf started, when it outlives the recording.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

use super::signals::StopSignals;
use crate::terminal;

/// How soon a signal is passed on, and the command's end seen.
const POLL: Duration = Duration::from_millis(20);

/// Waits for the command that still runs and gives how it ended.
///
/// Its time under the profiler is over (`--duration`, or a signal), its life is its own: it is not
/// ended. A signal that reached viperf alone is passed on, as a shell or a service manager means it.
pub(crate) fn wait_for_command(
    mut command: Child,
    signals: &StopSignals,
) -> io::Result<ExitStatus> {
    let mut passed_on = 0;
    if signals.received() == 0 {
        terminal::tell("the command goes on, and viperf waits for its end");
    }
    loop {
        if let Some(status) = command.try_wait()? {
            return Ok(status);
        }
        let signal = signals.received();
        if signal != passed_on {
            pass_on(&command, signal);
            passed_on = signal;
        }
        thread::sleep(POLL);
    }
}

/// Sends `signal` to the command.
pub(crate) fn pass_on(command: &Child, signal: i32) {
    if let Ok(pid) = libc::pid_t::try_from(command.id()) {
        // SAFETY: sends a signal, to a child that has not been waited for, so that its pid is still its own; no memory
        // is involved.
        unsafe { libc::kill(pid, signal) };
    }
}
