use std::{
    collections::VecDeque,
    os::fd::{AsFd, AsRawFd},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};
use viperf_abi::{PlainData, RowTable, UnwindRow, limit};

use crate::{SampleError, memory_map::MemoryMap, row_space::RowSpace};

/// How long rows that were replaced stay untouched: a sample in progress may still read them.
const ROWS_REST: Duration = Duration::from_millis(500);

/// The same for numbers of tables: a child that was forked meanwhile, and that user space has not heard of, may have them.
const TABLES_REST: Duration = Duration::from_secs(10);

/// In words of 8 bytes.
const TABLE_WORDS: usize = size_of::<RowTable>() / 8;

/// `row_table.placement` in the second word of a table; the kernel writes the other half.
const PLACEMENT_BITS: u64 = !0 << 32;
const CAN_BE_MORE: u64 = (limit::ROWS_CAN_BE_MORE as u64) << 32;

/// What a search for a rule brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowSearch {
    /// The rule that holds there.
    Rule(u32),
    /// There is no table, or nothing in it holds there.
    Nothing,
    /// The table's rows are not here (yet, or any longer).
    Awaited,
}

/// The unwind rows of all files, in shards of 64 k rows of 512 KiB each, which the kernel searches by one running index;
/// and the tables that say which rows are whose. Both are written through mmap.
#[derive(Debug)]
pub(crate) struct RowStore {
    outer: MapHandle,
    tables: MemoryMap,
    shards: Vec<(MapHandle, MemoryMap)>,
    space: RowSpace,
    /// The number of the next table that is new; 0 is no table.
    next_table: u32,
    free_tables: Vec<u32>,
    /// How many times rows were placed or taken away, so that each placement has a number of its own.
    placements: u64,
    resting_rows: VecDeque<(Instant, (usize, usize))>,
    resting_tables: VecDeque<(Instant, u32)>,
}

impl RowStore {
    /// An empty store over the maps `unwind_rows` and `row_tables`, whose rows take at most `bytes` of memory.
    pub(crate) fn new(outer: MapHandle, tables: MemoryMap, bytes: usize) -> Self {
        Self {
            outer,
            tables,
            shards: Vec::new(),
            space: RowSpace::new(limit::MAX_ROW_SHARDS, bytes / SHARD_BYTES),
            next_table: 1,
            free_tables: Vec::new(),
            placements: 0,
            resting_rows: VecDeque::new(),
            resting_tables: VecDeque::new(),
        }
    }

    /// How many tables there is room for.
    fn table_limit(&self) -> usize {
        self.tables.words().len() * 8 / size_of::<RowTable>()
    }

    /// A new table, whose rows are awaited.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn add_table(&mut self, now: Instant) -> Result<u32, SampleError> {
        while let Some((_, table)) = pop_rested(&mut self.resting_tables, now, TABLES_REST) {
            self.free_tables.push(table);
        }
        let table = match self.free_tables.pop() {
            Some(table) => table,
            None if (self.next_table as usize) < self.table_limit() => {
                self.next_table += 1;
                self.next_table - 1
            }
            None => {
                return Err(SampleError::Full {
                    what: "tables of unwind rows",
                    needed: 1,
                    limit: self.table_limit(),
                });
            }
        };
        self.tell(table, 0, limit::ROWS_AWAITED);
        Ok(table)
    }

    /// Gives a table its rows, sorted by pc, in the place of those that it has; false, and nothing changed, when there is no
    /// room for them now.
    ///
    /// # Errors
    /// The kernel gives no more memory.
    pub(crate) fn fill(
        &mut self,
        table: u32,
        rows: &[UnwindRow],
        now: Instant,
    ) -> Result<bool, SampleError> {
        while let Some((_, (first, count))) = pop_rested(&mut self.resting_rows, now, ROWS_REST) {
            self.space.give_back(first, count);
        }
        let Some(place) = self.space.find(rows.len()) else {
            return Ok(false);
        };
        self.move_memory(&place.moves)?;
        self.space.take(&place);
        for (offset, row) in rows.iter().enumerate() {
            let index = place.first + offset;
            let memory = self.space.memory_of(index);
            if let Some((_, memory)) = memory.and_then(|memory| self.shards.get(memory)) {
                memory.write(index % limit::ROWS_PER_SHARD, row.as_bytes());
            }
        }
        self.replace(table, place.first, rows.len(), now);
        Ok(true)
    }

    /// Takes a table's rows away until it is filled again: `is_awaited` when a walk that needs them is to be finished later.
    pub(crate) fn clear(&mut self, table: u32, is_awaited: bool, now: Instant) {
        let count = if is_awaited { limit::ROWS_AWAITED } else { 0 };
        self.replace(table, 0, count, now);
    }

    /// Gives a table back that no mapping names any longer.
    pub(crate) fn release(&mut self, table: u32, now: Instant) {
        self.expect_more(table, false);
        self.clear(table, false, now);
        self.resting_tables.push_back((now, table));
    }

    /// Says whether the instructions of a table's file can tell rows where it has none: walks that lack one are then deferred.
    pub(crate) fn expect_more(&self, table: u32, can_be_more: bool) {
        if let Some(word) = self.tables.words().get(table as usize * TABLE_WORDS + 1) {
            match can_be_more {
                true => word.fetch_or(CAN_BE_MORE, Ordering::Relaxed),
                false => word.fetch_and(!CAN_BE_MORE, Ordering::Relaxed),
            };
        }
    }

    /// When a walk last looked for rows in a table, in units of `ROW_TABLE_TICK_SHIFT`.
    pub(crate) fn last_used(&self, table: u32) -> u32 {
        let word = self.tables.words().get(table as usize * TABLE_WORDS + 1);
        word.map_or(0, |word| word.load(Ordering::Relaxed) as u32)
    }

    /// Rows are on their way back from tables that had them.
    pub(crate) fn is_clearing(&self, now: Instant) -> bool {
        let newest = self.resting_rows.back();
        newest.is_some_and(|(since, _)| now.duration_since(*since) < ROWS_REST)
    }

    /// The rule that holds at `pc` in a table: the kernel's own search, at a time in units of `ROW_TABLE_TICK_SHIFT`.
    pub(crate) fn find_rule(&self, table: u32, pc: u32, tick: u32) -> RowSearch {
        if let Some(word) = self.tables.words().get(table as usize * TABLE_WORDS + 1) {
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(word & PLACEMENT_BITS | u64::from(tick))
            });
        }
        let (mut first, mut count) = self.place_of(table);
        if count == limit::ROWS_AWAITED {
            return RowSearch::Awaited;
        }
        let mut found = RowSearch::Nothing;
        while count > 0 {
            let half = count / 2;
            let middle = first + half;
            let Some(row) = self.read_row(middle) else {
                return RowSearch::Nothing;
            };
            if row.pc <= pc {
                found = RowSearch::Rule(row.rule);
                first = middle + 1;
                count -= half + 1;
            } else {
                count = half;
            }
        }
        found
    }

    /// Memory of the rows, used or not.
    pub(crate) fn bytes(&self) -> usize {
        self.space.memories() * SHARD_BYTES
    }

    /// Memory that the rows may take at most.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.space.limit() * SHARD_BYTES
    }

    /// Memory of the rows that are there.
    pub(crate) fn used_bytes(&self) -> usize {
        self.space.used() * size_of::<UnwindRow>()
    }

    /// Every shard's map, for the count of memory.
    pub(crate) fn maps(&self) -> impl Iterator<Item = &MapHandle> {
        self.shards.iter().map(|(map, _)| map)
    }

    fn read_row(&self, index: usize) -> Option<UnwindRow> {
        let (_, memory) = self.shards.get(self.space.memory_of(index)?)?;
        let word = memory.words().get(index % limit::ROWS_PER_SHARD)?;
        let word = word.load(Ordering::Relaxed);
        // struct unwind_row: pc, then rule.
        Some(UnwindRow {
            pc: word as u32,
            rule: (word >> 32) as u32,
        })
    }

    /// Where a table's rows are: `row_table.place`.
    fn place_of(&self, table: u32) -> (usize, usize) {
        let word = self.tables.words().get(table as usize * TABLE_WORDS);
        let word = word.map_or(0, |word| word.load(Ordering::Relaxed));
        (word as u32 as usize, (word >> 32) as usize)
    }

    fn replace(&mut self, table: u32, first: usize, count: usize, now: Instant) {
        let old = self.place_of(table);
        self.tell(table, first, count);
        if old.1 > 0 && old.1 != limit::ROWS_AWAITED {
            self.resting_rows.push_back((now, old));
        }
    }

    /// The walk remembers what it has found by the placement's number, which it reads before the place: so the number comes last.
    fn tell(&mut self, table: u32, first: usize, count: usize) {
        let word = self.tables.words().get(table as usize * TABLE_WORDS);
        if let Some(word) = word {
            // After the rows themselves.
            word.store(first as u64 | (count as u64) << 32, Ordering::Release);
        }
        self.placements += 1;
        let word = self.tables.words().get(table as usize * TABLE_WORDS + 1);
        if let Some(word) = word {
            let placement = self.placements << (32 + limit::ROWS_PLACEMENT_SHIFT);
            let _ = word.fetch_update(Ordering::Release, Ordering::Relaxed, |word| {
                Some(word & (CAN_BE_MORE | !PLACEMENT_BITS) | placement)
            });
        }
    }

    fn move_memory(&mut self, moves: &[(usize, usize)]) -> Result<(), SampleError> {
        let (mut keys, mut values, mut made) = (Vec::new(), Vec::new(), Vec::new());
        for (shard, memory) in moves {
            let descriptor = match self.shards.get(*memory) {
                Some((map, _)) => map.as_fd().as_raw_fd(),
                None => {
                    let map = create_shard()?;
                    let descriptor = map.as_fd().as_raw_fd();
                    let memory = MemoryMap::new(map.as_fd(), SHARD_BYTES)?;
                    made.push((map, memory));
                    descriptor
                }
            };
            keys.extend((*shard as u32).to_ne_bytes());
            values.extend((descriptor as u32).to_ne_bytes());
        }
        self.insert(&keys, &values)?;
        self.shards.append(&mut made);
        Ok(())
    }

    fn insert(&self, keys: &[u8], values: &[u8]) -> Result<(), SampleError> {
        let count = (keys.len() / 4) as u32;
        if count == 0 {
            return Ok(());
        }
        let outer = &self.outer;
        let inserted = outer.update_batch(keys, values, count, MapFlags::ANY, MapFlags::ANY);
        if inserted.is_err() {
            // 5.15 to 6.0 know no batches on this kind of map.
            for (key, value) in keys.chunks(4).zip(values.chunks(4)) {
                let inserted = outer.update(key, value, MapFlags::ANY);
                inserted.map_err(|source| {
                    SampleError::from_bpf("adding a shard of unwind rows", source)
                })?;
            }
        }
        Ok(())
    }
}

const SHARD_BYTES: usize = limit::ROWS_PER_SHARD * size_of::<UnwindRow>();

/// The first of those that have rested long enough.
fn pop_rested<T: Copy>(
    resting: &mut VecDeque<(Instant, T)>,
    now: Instant,
    rest: Duration,
) -> Option<(Instant, T)> {
    let (since, _) = resting.front()?;
    match now.duration_since(*since) >= rest {
        true => resting.pop_front(),
        false => None,
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
