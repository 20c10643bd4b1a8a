//! A process's memory for a limited time: what a process holds there must not keep viperf from its samples.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
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
    /// What has been read, where that is kept; without bytes where nothing could be read.
    pages: Option<RefCell<HashMap<u64, Option<Page>>>>,
}

const PAGE: u64 = 4096;
type Page = Box<[u8; PAGE as usize]>;

/// More pages are not kept; a method of the standard library is found with some dozens.
const MOST_PAGES: usize = 1024;

/// Longer reads are rare, and of what is read once.
const LONGEST_OF_PAGES: usize = 16 * PAGE as usize;

impl BoundedReader {
    pub(crate) fn new(pid: u32, limit: Duration) -> Self {
        Self {
            pid: Pid(pid),
            started: Instant::now(),
            limit,
            is_over: Cell::new(false),
            pages: None,
        }
    }

    /// Reads whole pages, each once: for many short reads of places near each other, that need not see what changes meanwhile.
    pub(crate) fn of_pages(pid: u32, limit: Duration) -> Self {
        Self {
            pages: Some(RefCell::default()),
            ..Self::new(pid, limit)
        }
    }

    /// All the bytes asked for, or false: they are not to be read, or the time is over.
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        match &self.pages {
            Some(pages) if bytes.len() <= LONGEST_OF_PAGES && pages.borrow().len() < MOST_PAGES => {
                self.read_of_pages(&mut pages.borrow_mut(), address, bytes)
            }
            _ => self.read_anew(address, bytes),
        }
    }

    fn read_of_pages(
        &self,
        pages: &mut HashMap<u64, Option<Page>>,
        address: u64,
        bytes: &mut [u8],
    ) -> bool {
        let mut next = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let page = next & !(PAGE - 1);
            let known = pages.entry(page).or_insert_with(|| {
                let mut read: Page = Box::new([0; PAGE as usize]);
                self.read_anew(page, read.as_mut_slice()).then_some(read)
            });
            let start = (next - page) as usize;
            let Some(part) = known.as_ref().and_then(|known| known.get(start..)) else {
                return false;
            };
            let length = part.len().min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(part.get(..length).unwrap_or_default());
            rest = later;
            let Some(after) = next.checked_add(length as u64) else {
                return rest.is_empty();
            };
            next = after;
        }
        true
    }

    fn read_anew(&self, address: u64, bytes: &mut [u8]) -> bool {
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
        for reader in [BoundedReader::new, BoundedReader::of_pages] {
            let reader = reader(own, Duration::ZERO);
            assert!(!reader.read(address, &mut bytes) && reader.is_over());
        }
    }

    #[test]
    fn what_is_read_by_pages_is_what_is_there_and_no_page_is_read_twice() {
        let memory: Vec<u8> = (0..=255).cycle().take(5 * PAGE as usize).collect();
        let address = memory.as_ptr() as u64;
        let reader = BoundedReader::of_pages(std::process::id(), Duration::from_secs(60));
        for (start, length) in [(0, 1), (17, 8), (4090, 16), (100, 10_000), (3, 0)] {
            let mut bytes = vec![0; length];
            assert!(reader.read(address + start as u64, &mut bytes));
            assert_eq!(bytes, memory[start..start + length]);
        }
        assert!(!reader.read(u64::MAX - 4, &mut [0; 16]));
        assert!(!reader.read(8, &mut [0; 8]));
        let pages = reader.pages.as_ref().unwrap().borrow();
        // Three or four that hold the memory, page 0 and the last one.
        assert!((5..=6).contains(&pages.len()), "{}", pages.len());
    }
}
