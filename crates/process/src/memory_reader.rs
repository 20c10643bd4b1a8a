//! Many reads of one process's memory.

use std::{cell::RefCell, collections::HashMap, fs::File, io};

use crate::{
    Pid, ProcessError,
    living_thread::find_living_thread,
    memory::{PAGE, is_present, read_if_it_comes},
};

type Page = Box<[u8; PAGE as usize]>;

/// More pages are not kept; a method of the standard library is found with some dozens.
const MOST_PAGES: usize = 1024;

/// Longer reads are rare, and of what is read once.
const LONGEST_OF_PAGES: usize = 16 * PAGE as usize;

/// Reads one process's memory again and again within a short time, as [`read_memory`](crate::read_memory) does once.
#[derive(Debug)]
pub struct MemoryReader {
    pid: Pid,
    /// What has been read, where that is kept; without bytes where nothing could be read.
    pages: Option<RefCell<HashMap<u64, Option<Page>>>>,
}

impl MemoryReader {
    /// Reads what is asked for, each time anew.
    pub fn new(pid: Pid) -> Self {
        Self { pid, pages: None }
    }

    /// Reads whole pages, each once: for many short reads of places near each other, that need not see what changes meanwhile.
    pub fn of_pages(pid: Pid) -> Self {
        Self {
            pages: Some(RefCell::default()),
            ..Self::new(pid)
        }
    }

    /// What is kept is forgotten: all that is read from now on is of now.
    pub fn look_anew(&self) {
        if let Some(pages) = &self.pages {
            pages.borrow_mut().clear();
        }
    }

    /// Reads `bytes.len()` bytes at `address` (AVMA); on an error the contents of `bytes` mean nothing.
    ///
    /// # Errors
    ///
    /// Those of [`read_memory`](crate::read_memory); of a page that is kept, that it is not mapped, whatever the error was.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), ProcessError> {
        let pages = self.pages.as_ref();
        match pages.filter(|_| bytes.len() <= LONGEST_OF_PAGES) {
            Some(pages) => self.read_of_pages(&mut pages.borrow_mut(), address, bytes),
            None => self.read_anew(address, bytes),
        }
    }

    fn read_of_pages(
        &self,
        pages: &mut HashMap<u64, Option<Page>>,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), ProcessError> {
        let pid = self.pid;
        let mut next = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let page = next & !(PAGE - 1);
            if pages.len() >= MOST_PAGES && !pages.contains_key(&page) {
                return self.read_anew(next, rest);
            }
            let known = pages.entry(page).or_insert_with(|| {
                let mut read: Page = Box::new([0; PAGE as usize]);
                let is_read = self.read_anew(page, read.as_mut_slice()).is_ok();
                is_read.then_some(read)
            });
            let start = (next - page) as usize;
            let part = known.as_ref().and_then(|known| known.get(start..));
            let part = part.ok_or(ProcessError::NotMapped { pid, address: next })?;
            let length = part.len().min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(part.get(..length).unwrap_or_default());
            rest = later;
            if rest.is_empty() {
                break;
            }
            let after = next.checked_add(length as u64);
            next = after.ok_or(ProcessError::NotMapped { pid, address: next })?;
        }
        Ok(())
    }

    fn read_anew(&self, address: u64, bytes: &mut [u8]) -> Result<(), ProcessError> {
        let is_there = self.pid.0 == std::process::id() || self.is_present(address, bytes.len());
        read_if_it_comes(self.pid, address, bytes, is_there)
    }

    /// What tells it is opened each time: it stays with the memory that the process had, and another process can keep that
    /// alive across an exec, so that of a page that holds its readers back it would say that it is there.
    fn is_present(&self, address: u64, length: usize) -> bool {
        open_pagemap(self.pid).is_ok_and(|pagemap| is_present(&pagemap, address, length))
    }
}

/// Without memory, as a first thread is that has ended, it opens and tells nothing.
pub(crate) fn open_pagemap(pid: Pid) -> io::Result<File> {
    File::open(format!("/proc/{}/pagemap", find_living_thread(pid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_by_pages_is_what_is_there_and_no_page_is_read_twice() {
        let memory: Vec<u8> = (0..=255).cycle().take(5 * PAGE as usize).collect();
        let address = memory.as_ptr() as u64;
        let reader = MemoryReader::of_pages(Pid(std::process::id()));
        for (start, length) in [(0, 1), (17, 8), (4090, 16), (100, 10_000), (3, 0)] {
            let mut bytes = vec![0; length];
            reader.read(address + start as u64, &mut bytes).unwrap();
            assert_eq!(bytes, memory[start..start + length]);
        }
        reader.read(u64::MAX - 4, &mut [0; 16]).unwrap_err();
        reader.read(8, &mut [0; 8]).unwrap_err();
        let pages = reader.pages.as_ref().unwrap().borrow();
        // Three or four that hold the memory, page 0 and the last one.
        assert!((5..=6).contains(&pages.len()), "{}", pages.len());
    }

    #[test]
    fn a_page_that_is_kept_is_as_it_was_until_one_looks_anew() {
        let mut value = Box::new(7_u64);
        let address = std::ptr::from_ref(value.as_ref()).addr() as u64;
        let reader = MemoryReader::of_pages(Pid(std::process::id()));
        let read = || {
            let mut bytes = [0; 8];
            reader.read(address, &mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        };
        assert_eq!(read(), 7);
        *value = 8;
        assert_eq!(read(), 7);
        reader.look_anew();
        assert_eq!(read(), *value);
    }
}
