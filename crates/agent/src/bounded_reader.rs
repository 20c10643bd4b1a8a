//! A process's memory for a limited time: what a process holds there must not keep viperf from its samples.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use viperf_process::Pid;

/// Reads of one process, until the time is over.
#[derive(Debug)]
pub(crate) struct BoundedReader {
    pid: Pid,
    started: Instant,
    limit: Duration,
    is_over: Cell<bool>,
}

impl BoundedReader {
    pub(crate) fn new(pid: u32, limit: Duration) -> Self {
        Self {
            pid: Pid(pid),
            started: Instant::now(),
            limit,
            is_over: Cell::new(false),
        }
    }

    /// All the bytes asked for, or false: they are not to be read, or the time is over.
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        if self.started.elapsed() >= self.limit {
            self.is_over.set(true);
        }
        !self.is_over.get() && viperf_process::read_memory(self.pid, address, bytes).is_ok()
    }

    /// Whether something was not read because the time was over.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// The time since it was made.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_when_the_time_is_over() {
        let value = 7_u64;
        let address = std::ptr::from_ref(&value).addr() as u64;
        let own = std::process::id();
        let mut bytes = [0; 8];
        let reader = BoundedReader::new(own, Duration::from_secs(60));
        assert!(reader.read(address, &mut bytes) && !reader.is_over());
        assert_eq!(u64::from_le_bytes(bytes), value);
        let reader = BoundedReader::new(own, Duration::ZERO);
        assert!(!reader.read(address, &mut bytes) && reader.is_over());
    }
}
