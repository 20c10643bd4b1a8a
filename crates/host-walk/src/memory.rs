//! Memory for C, between guards.

/// Words before and after the memory that must keep their value.
const GUARD_WORDS: usize = 512;
const GUARD: u64 = 0x6775_6172_6465_6421;

/// Zeroed memory, aligned for any C struct of integers, whose surroundings are watched.
#[derive(Debug)]
pub(crate) struct Guarded(Vec<u64>);

impl Guarded {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut words = vec![GUARD; GUARD_WORDS];
        words.resize(GUARD_WORDS + bytes.div_ceil(8), 0);
        words.resize(words.len() + GUARD_WORDS, GUARD);
        Self(words)
    }

    /// Where it starts.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u64 {
        self.0[GUARD_WORDS..].as_mut_ptr()
    }

    /// Nothing was written next to it.
    pub(crate) fn is_intact(&self) -> bool {
        let (start, rest) = self.0.split_at(GUARD_WORDS);
        let (_, end) = rest.split_at(rest.len() - GUARD_WORDS);
        start.iter().chain(end).all(|word| *word == GUARD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_next_to_the_memory_is_noticed() {
        let mut memory = Guarded::new(20);
        assert!(memory.is_intact());
        memory.0[GUARD_WORDS + 2] = 1;
        assert!(memory.is_intact());
        memory.0[GUARD_WORDS + 3] = 1;
        assert!(!memory.is_intact());
    }
}
