//! Ctrl-C, SIGTERM and a closed terminal end the recording and write the file; once more aborts.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

/// The flag that asks the recording to end.
#[derive(Debug)]
pub(super) struct StopSignals {
    stop: Arc<AtomicBool>,
}

impl StopSignals {
    /// Catches the signals from now on.
    ///
    /// Ctrl-C on a terminal also reaches a command that viperf started there. The command decides what
    /// it means, and viperf goes on until the command has ended; pressed again, viperf stops sampling,
    /// and a third time it aborts.
    pub(super) fn install(runs_command: bool) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGHUP] {
            stop_then_abort(signal, &stop)?;
        }
        if runs_command && is_in_the_terminals_foreground() {
            let command_was_told = AtomicBool::new(false);
            let stop = Arc::clone(&stop);
            let interrupt = move || {
                let told_before = command_was_told.swap(true, Ordering::SeqCst);
                if told_before && stop.swap(true, Ordering::SeqCst) {
                    low_level::exit(128 + SIGINT);
                }
            };
            // SAFETY: the closure touches atomics and `_exit`s, both allowed in a signal handler.
            unsafe { low_level::register(SIGINT, interrupt) }?;
        } else {
            stop_then_abort(SIGINT, &stop)?;
        }
        Ok(Self { stop })
    }

    /// True once the recording shall end.
    pub(super) fn stop(&self) -> &AtomicBool {
        &self.stop
    }
}

/// The first `signal` sets `stop`, another one ends viperf at once. Programs in the kernel go with it.
fn stop_then_abort(signal: i32, stop: &Arc<AtomicBool>) -> io::Result<()> {
    // Handlers run in the order in which they were registered.
    signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(stop))?;
    signal_hook::flag::register(signal, Arc::clone(stop))?;
    Ok(())
}

/// Whether Ctrl-C on the controlling terminal reaches this process and its children.
fn is_in_the_terminals_foreground() -> bool {
    let terminal = io::stderr().as_raw_fd();
    // SAFETY: both calls only ask the kernel; a descriptor that is no terminal gives -1.
    unsafe { libc::tcgetpgrp(terminal) == libc::getpgrp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_asks_to_stop() {
        // SIGHUP, because the test runner itself may be ended by the others.
        let signals = StopSignals::install(false).unwrap();
        assert!(!signals.stop().load(Ordering::SeqCst));
        low_level::raise(SIGHUP).unwrap();
        assert!(signals.stop().load(Ordering::SeqCst));
    }
}
