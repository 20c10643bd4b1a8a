use std::{
    os::fd::{AsFd, AsRawFd},
    sync::atomic::Ordering,
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};
use viperf_abi::{PlainData, UnwindRow, limit};

use crate::{SampleError, memory_map::MemoryMap};

/// Shards are added so many at a time: the kernel waits for a grace period on each insertion, and a batch waits once.
const SHARDS_AT_ONCE: usize = 8;

/// The unwind rows of all executables, in shards of 64 k rows of 512 KiB each, which the kernel searches by one running
/// index. Rows are written through mmap and never move.
#[derive(Debug)]
pub(crate) struct RowTable {
    outer: MapHandle,
    shards: Vec<(MapHandle, MemoryMap)>,
    used: usize,
}

impl RowTable {
    /// An empty table in the map `unwind_rows`.
    pub(crate) fn new(outer: MapHandle) -> Result<Self, SampleError> {
        let mut table = Self {
            outer,
            shards: Vec::new(),
            used: 0,
        };
        table.grow()?;
        Ok(table)
    }

    /// Writes rows behind those that are there: the index of the first.
    ///
    /// # Errors
    /// The table is full, or the kernel gives no more memory.
    pub(crate) fn append(&mut self, rows: &[UnwindRow]) -> Result<u32, SampleError> {
        let limit = limit::ROWS_PER_SHARD * limit::MAX_ROW_SHARDS;
        if self.used + rows.len() > limit {
            return Err(SampleError::Full {
                what: "unwind rows",
                needed: rows.len(),
                limit,
            });
        }
        while self.shards.len() * limit::ROWS_PER_SHARD < self.used + rows.len() {
            self.grow()?;
        }
        for (offset, row) in rows.iter().enumerate() {
            let index = self.used + offset;
            if let Some((_, memory)) = self.shards.get(index / limit::ROWS_PER_SHARD) {
                memory.write(index % limit::ROWS_PER_SHARD, row.as_bytes());
            }
        }
        let first = self.used;
        self.used += rows.len();
        Ok(first as u32)
    }

    /// The rule that holds at `pc` among `count` rows from `first`: the kernel's own search.
    pub(crate) fn find_rule(&self, first: u32, count: u32, pc: u32) -> Option<u32> {
        let (mut first, mut count, mut found) = (first as usize, count as usize, None);
        while count > 0 {
            let half = count / 2;
            let middle = first + half;
            let (_, shard) = self.shards.get(middle / limit::ROWS_PER_SHARD)?;
            let word = shard
                .words()
                .get(middle % limit::ROWS_PER_SHARD)?
                .load(Ordering::Relaxed);
            // struct unwind_row: pc, then rule.
            if word as u32 <= pc {
                found = Some((word >> 32) as u32);
                first = middle + 1;
                count -= half + 1;
            } else {
                count = half;
            }
        }
        found
    }

    /// Every shard's map, for the count of memory.
    pub(crate) fn maps(&self) -> impl Iterator<Item = &MapHandle> {
        self.shards.iter().map(|(map, _)| map)
    }

    fn grow(&mut self) -> Result<(), SampleError> {
        let first = self.shards.len();
        let mut added = Vec::new();
        let mut keys = Vec::new();
        let mut values = Vec::new();
        for index in first..(first + SHARDS_AT_ONCE).min(limit::MAX_ROW_SHARDS) {
            let shard = create_shard()?;
            keys.extend((index as u32).to_ne_bytes());
            values.extend((shard.as_fd().as_raw_fd() as u32).to_ne_bytes());
            let memory = MemoryMap::new(
                shard.as_fd(),
                limit::ROWS_PER_SHARD * size_of::<UnwindRow>(),
            )?;
            added.push((shard, memory));
        }
        let count = added.len() as u32;
        let inserted = self
            .outer
            .update_batch(&keys, &values, count, MapFlags::ANY, MapFlags::ANY);
        if inserted.is_err() {
            // 5.15 to 6.0 know no batches on this kind of map.
            for (key, value) in keys.chunks(4).zip(values.chunks(4)) {
                self.outer
                    .update(key, value, MapFlags::ANY)
                    .map_err(|source| {
                        SampleError::from_bpf("adding a shard of unwind rows", source)
                    })?;
            }
        }
        self.shards.append(&mut added);
        Ok(())
    }
}

fn create_shard() -> Result<MapHandle, SampleError> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: libbpf_sys::BPF_F_MMAPABLE,
        ..Default::default()
    };
    let (key_size, value_size) = (size_of::<u32>() as u32, size_of::<UnwindRow>() as u32);
    MapHandle::create(
        MapType::Array,
        Some("row_shard"),
        key_size,
        value_size,
        limit::ROWS_PER_SHARD as u32,
        &options,
    )
    .map_err(|source| SampleError::from_bpf("creating a shard of unwind rows", source))
}
