//! A process's memory for a limited time: what a process holds there must not keep viperf from its samples.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use viperf_process::{MemoryReader, Pid};

/// Reads of one process, until the time is over.
#[derive(Debug)]
pub(crate) struct BoundedReader {
    memory: MemoryReader,
    started: Instant,
    limit: Duration,
    is_over: Cell<bool>,
}

impl BoundedReader {
    pub(crate) fn new(pid: u32, limit: Duration) -> Self {
        Self::of(MemoryReader::new(Pid(pid)), limit)
    }

    /// Reads whole pages, each once until one looks anew.
    pub(crate) fn of_pages(pid: u32, limit: Duration) -> Self {
        Self::of(MemoryReader::of_pages(Pid(pid)), limit)
    }

    fn of(memory: MemoryReader, limit: Duration) -> Self {
        Self {
            memory,
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
        !self.is_over.get() && self.memory.read(address, bytes).is_ok()
    }

    /// What is read from now on is of now.
    pub(crate) fn look_anew(&self) {
        self.memory.look_anew();
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
        for reader in [BoundedReader::new, BoundedReader::of_pages] {
            let reader = reader(own, Duration::ZERO);
            assert!(!reader.read(address, &mut bytes) && reader.is_over());
        }
    }
}
