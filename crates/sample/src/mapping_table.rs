use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use viperf_abi::{Mapping, PlainData};

use crate::{SampleError, memory_map::MemoryMap};

/// How long a run that was replaced stays untouched: a sample in progress, or a child that was forked while it was being
/// replaced and that user space has not heard of, may still read it.
const QUARANTINE: Duration = Duration::from_secs(5);

/// The mappings of all processes: runs of the array `mappings`, handed out in powers of two.
#[derive(Debug)]
pub(crate) struct MappingTable {
    memory: MemoryMap,
    used: usize,
    /// By power of two: first indices of free runs.
    free: Vec<Vec<u32>>,
    released: VecDeque<(Instant, u32, usize)>,
}

impl MappingTable {
    /// A table over the mapped array.
    pub(crate) fn new(memory: MemoryMap) -> Self {
        Self {
            memory,
            used: 0,
            free: vec![Vec::new(); usize::BITS as usize],
            released: VecDeque::new(),
        }
    }

    /// How many there is room for.
    fn limit(&self) -> usize {
        self.memory.words().len() * 8 / size_of::<Mapping>()
    }

    /// Writes a run: the index of its first mapping.
    ///
    /// # Errors
    /// The array is full.
    pub(crate) fn write(&mut self, mappings: &[Mapping], now: Instant) -> Result<u32, SampleError> {
        self.reuse(now);
        let class = size_class(mappings.len());
        let first = match self.free.get_mut(class).and_then(Vec::pop) {
            Some(first) => first as usize,
            None if self.used + (1 << class) <= self.limit() => {
                let first = self.used;
                self.used += 1 << class;
                first
            }
            None => {
                return Err(SampleError::Full {
                    what: "mappings",
                    needed: mappings.len(),
                    limit: self.limit(),
                });
            }
        };
        for (index, mapping) in mappings.iter().enumerate() {
            self.memory.write(
                (first + index) * size_of::<Mapping>() / 8,
                mapping.as_bytes(),
            );
        }
        Ok(first as u32)
    }

    /// Gives a run back; it is used again after a while.
    pub(crate) fn release(&mut self, first: u32, count: usize, now: Instant) {
        self.released.push_back((now, first, size_class(count)));
    }

    fn reuse(&mut self, now: Instant) {
        while let Some((since, first, class)) = self.released.front().copied() {
            if now.duration_since(since) < QUARANTINE {
                break;
            }
            self.released.pop_front();
            if let Some(free) = self.free.get_mut(class) {
                free.push(first);
            }
        }
    }
}

/// Runs have room for 16 mappings at least, so that a process that loads a few more libraries need not move far.
fn size_class(count: usize) -> usize {
    count.max(16).next_power_of_two().trailing_zeros() as usize
}
