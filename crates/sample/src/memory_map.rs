use std::{
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::SampleError;

/// Memory that is shared with the kernel, in words of 8 bytes; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct MemoryMap {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is this value's alone in the process, and every access is atomic.
unsafe impl Send for MemoryMap {}

impl MemoryMap {
    /// Maps the first `bytes` of a descriptor, readable and writable.
    pub(crate) fn new(descriptor: BorrowedFd<'_>, bytes: usize) -> Result<Self, SampleError> {
        let bytes = bytes.next_multiple_of(4096);
        // SAFETY: a new shared mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast::<AtomicU64>()) {
            Some(pointer) if start != libc::MAP_FAILED => Ok(Self {
                start: pointer,
                words: bytes / 8,
            }),
            _ => Err(SampleError::last_system_error(
                "mapping memory shared with the kernel",
            )),
        }
    }

    /// The words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has this many words, is page-aligned, and lives as long as `self`; the kernel changes it at
        // any time, which atomics allow.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Writes bytes, whose length is a multiple of 8, from a word on; false when they do not fit.
    pub(crate) fn write(&self, first_word: usize, bytes: &[u8]) -> bool {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let Some(words) = first_word
            .checked_add(chunks.len())
            .and_then(|end| self.words().get(first_word..end))
        else {
            return false;
        };
        for (word, chunk) in words.iter().zip(chunks) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
        rest.is_empty()
    }
}

impl Drop for MemoryMap {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping, and no reference outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}
