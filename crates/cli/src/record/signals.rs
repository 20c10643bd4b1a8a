//! Ctrl-C, SIGTERM and a closed terminal end the recording and write the file; once more aborts.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

/// What the signals have asked for so far.
#[derive(Debug, Default)]
pub(crate) struct StopSignals {
    stop: AtomicBool,
    received: AtomicI32,
    command_was_told: AtomicBool,
}

impl StopSignals {
    /// Catches the signals from now on.
    ///
    /// Ctrl-C on a terminal also reaches a command that viperf started there. The command decides what
    /// it means, and viperf goes on until the command has ended; pressed again, viperf stops sampling,
    /// and a third time it aborts.
    pub(crate) fn install(runs_command: bool) -> io::Result<Arc<Self>> {
        // A parent may have left it ignored: then the kernel would reap the command, and its exit code be lost.
        // SAFETY: restores the default of a signal for which there is no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        let signals = Arc::new(Self::default());
        let shared_with_command = runs_command && is_in_the_terminals_foreground();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let handler = Arc::clone(&signals);
            let handle = move || {
                if signal == SIGINT && shared_with_command {
                    handler.interrupted_with_command();
                } else {
                    handler.received.store(signal, Ordering::SeqCst);
                    handler.stop_or_abort(signal);
                }
            };
            // SAFETY: the handler touches atomics and may `_exit`; both are allowed in a signal handler.
            unsafe { low_level::register(signal, handle) }?;
        }
        Ok(signals)
    }

    /// True once the recording shall end.
    pub(crate) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// The last signal that reached viperf but not its command, 0 if none has.
    pub(crate) fn received(&self) -> i32 {
        self.received.load(Ordering::SeqCst)
    }

    fn interrupted_with_command(&self) {
        if self.command_was_told.swap(true, Ordering::SeqCst) {
            self.stop_or_abort(SIGINT);
        }
    }

    /// The second time ends viperf at once; the programs in the kernel go with it.
    fn stop_or_abort(&self, signal: i32) {
        if self.stop.swap(true, Ordering::SeqCst) {
            low_level::exit(128 + signal);
        }
    }
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
    fn the_first_signal_asks_to_stop_and_is_remembered() {
        // SIGHUP, because the test runner itself may be ended by the others.
        let signals = StopSignals::install(false).unwrap();
        assert!(!signals.stop().load(Ordering::SeqCst));
        low_level::raise(SIGHUP).unwrap();
        assert!(signals.stop().load(Ordering::SeqCst));
        assert_eq!(signals.received(), SIGHUP);
    }

    #[test]
    fn ctrl_c_is_the_commands_first_and_viperfs_second() {
        let signals = StopSignals::default();
        signals.interrupted_with_command();
        assert!(!signals.stop().load(Ordering::SeqCst));
        signals.interrupted_with_command();
        assert!(signals.stop().load(Ordering::SeqCst));
        assert_eq!(signals.received(), 0, "the command has had it already");
    }
}
