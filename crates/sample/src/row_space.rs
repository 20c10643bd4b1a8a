//! Where rows may be put: ranges of one running index, over shards that memory stands behind only while rows are in them.

use std::collections::BTreeMap;

use viperf_abi::limit;

/// Shards are added so many at a time: the kernel waits for a grace period on each insertion, and a batch waits once.
const SHARDS_AT_ONCE: usize = 8;

/// The running index, in which a table's rows follow each other, and the memory behind its shards.
///
/// There is more index than memory. A shard without rows lends its memory to any other, so that holes between tables
/// never add up to memory that nothing fits into.
#[derive(Debug)]
pub(crate) struct RowSpace {
    /// Rows that are free: the first of each range, and how many.
    free: BTreeMap<usize, usize>,
    shards: Vec<Shard>,
    /// Memories so far.
    memories: usize,
    /// Memories at most.
    limit: usize,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    memory: Option<usize>,
    used: usize,
}

/// A place for rows, and what must be done before they can be written there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The index of the first row.
    pub(crate) first: usize,
    count: usize,
    /// Shards and the memories to put there. Numbers from [`RowSpace::memories`] on are memories to be made, in order.
    pub(crate) moves: Vec<(usize, usize)>,
}

impl RowSpace {
    /// Index for so many shards, memory for at most `limit` of them.
    pub(crate) fn new(shards: usize, limit: usize) -> Self {
        Self {
            free: BTreeMap::from([(0, shards * limit::ROWS_PER_SHARD)]),
            shards: vec![Shard::default(); shards],
            memories: 0,
            limit: limit.clamp(1, shards),
        }
    }

    /// Memories so far.
    pub(crate) fn memories(&self) -> usize {
        self.memories
    }

    /// Memories at most.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Rows that have a place, those that are to be given back soon included.
    pub(crate) fn used(&self) -> usize {
        self.shards.iter().map(|shard| shard.used).sum()
    }

    /// The memory behind a row.
    pub(crate) fn memory_of(&self, row: usize) -> Option<usize> {
        self.shards.get(row / limit::ROWS_PER_SHARD)?.memory
    }

    /// A place for so many rows; `None` while there is none. Nothing is taken yet.
    pub(crate) fn find(&self, count: usize) -> Option<Place> {
        let fits = self.free.iter().filter(|(_, free)| **free >= count);
        let cost = |first: &usize| {
            let parts = self.parts(*first, count);
            parts.filter(|(shard, _)| self.is_bare(*shard)).count()
        };
        let first = fits
            .map(|(first, _)| *first)
            .min_by_key(|first| (cost(first), *first))?;
        let bare: Vec<usize> = self
            .parts(first, count)
            .map(|(shard, _)| shard)
            .filter(|shard| self.is_bare(*shard))
            .collect();
        let own = self.parts(first, count).map(|(shard, _)| shard);
        let own: Vec<usize> = own.collect();
        let idle = self.shards.iter().enumerate().filter_map(|(index, shard)| {
            let is_idle = shard.used == 0 && !own.contains(&index);
            shard.memory.filter(|_| is_idle)
        });
        let mut memories = idle.chain(self.memories..self.limit);
        let mut moves = Vec::with_capacity(bare.len());
        for shard in bare {
            moves.push((shard, memories.next()?));
        }
        self.reserve(&own, &mut moves);
        Some(Place {
            first,
            count,
            moves,
        })
    }

    /// Where memory must be made, more of it for the tables that come next.
    fn reserve(&self, own: &[usize], moves: &mut Vec<(usize, usize)>) {
        let made = |moves: &[(usize, usize)]| {
            let made = moves.iter().filter(|(_, memory)| *memory >= self.memories);
            made.count()
        };
        if made(moves) == 0 {
            return;
        }
        let behind = own.last().map_or(0, |last| last + 1)..self.shards.len();
        for shard in behind.filter(|shard| self.is_bare(*shard)) {
            let count = made(moves);
            if count >= SHARDS_AT_ONCE || self.memories + count >= self.limit {
                return;
            }
            moves.push((shard, self.memories + count));
        }
    }

    /// Takes a place that [`RowSpace::find`] has just found, once its memory is there.
    pub(crate) fn take(&mut self, place: &Place) {
        for (shard, memory) in &place.moves {
            for other in &mut self.shards {
                other.memory = other.memory.filter(|known| known != memory);
            }
            if let Some(shard) = self.shards.get_mut(*shard) {
                shard.memory = Some(*memory);
            }
            self.memories = self.memories.max(memory + 1);
        }
        for (shard, rows) in self.parts(place.first, place.count).collect::<Vec<_>>() {
            if let Some(shard) = self.shards.get_mut(shard) {
                shard.used += rows;
            }
        }
        if let Some(free) = self.free.remove(&place.first)
            && free > place.count
        {
            let rest = place.first + place.count;
            self.free.insert(rest, free - place.count);
        }
    }

    /// Gives rows back that nobody reads any longer.
    pub(crate) fn give_back(&mut self, first: usize, count: usize) {
        if count == 0 {
            return;
        }
        for (shard, rows) in self.parts(first, count).collect::<Vec<_>>() {
            if let Some(shard) = self.shards.get_mut(shard) {
                shard.used = shard.used.saturating_sub(rows);
            }
        }
        let (mut first, mut count) = (first, count);
        if let Some((before, free)) = self.free.range(..first).next_back()
            && before + free == first
        {
            (first, count) = (*before, count + free);
        }
        if let Some(behind) = self.free.remove(&(first + count)) {
            count += behind;
        }
        self.free.insert(first, count);
    }

    fn is_bare(&self, shard: usize) -> bool {
        self.shards
            .get(shard)
            .is_some_and(|shard| shard.memory.is_none())
    }

    /// The shards of a range, each with its rows of the range.
    fn parts(&self, first: usize, count: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let end = first + count;
        let shards = first / limit::ROWS_PER_SHARD..end.div_ceil(limit::ROWS_PER_SHARD);
        shards.map(move |shard| {
            let start = (shard * limit::ROWS_PER_SHARD).max(first);
            let stop = ((shard + 1) * limit::ROWS_PER_SHARD).min(end);
            (shard, stop - start)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: usize = limit::ROWS_PER_SHARD;

    fn add(space: &mut RowSpace, count: usize) -> Option<usize> {
        let place = space.find(count)?;
        space.take(&place);
        Some(place.first)
    }

    #[test]
    fn rows_that_are_given_back_are_used_again() {
        let mut space = RowSpace::new(64, 4);
        let first = add(&mut space, 1000).unwrap();
        let second = add(&mut space, 2000).unwrap();
        assert_eq!((first, second), (0, 1000));
        space.give_back(first, 1000);
        assert_eq!(add(&mut space, 1000), Some(0));
        space.give_back(0, 1000);
        space.give_back(1000, 2000);
        assert_eq!(space.used(), 0);
        assert_eq!(space.free, BTreeMap::from([(0, 64 * SHARD)]));
    }

    #[test]
    fn there_is_never_more_memory_than_the_limit() {
        let mut space = RowSpace::new(64, 4);
        assert_eq!(add(&mut space, 3 * SHARD), Some(0));
        assert_eq!(space.find(2 * SHARD), None);
        assert_eq!(add(&mut space, SHARD), Some(3 * SHARD));
        assert_eq!(space.find(1), None);
        assert_eq!(space.memories(), 4);
        space.give_back(3 * SHARD, SHARD);
        assert!(space.find(1).is_some());
        assert!(space.find(4 * SHARD + 1).is_none());
    }

    #[test]
    fn memory_without_rows_moves_to_where_it_is_needed() {
        let mut space = RowSpace::new(64, 4);
        for _ in 0..4 {
            add(&mut space, SHARD).unwrap();
        }
        space.give_back(0, SHARD);
        space.give_back(2 * SHARD, SHARD);
        // Two shards that are not neighbours; the index has room behind.
        let place = space.find(2 * SHARD).unwrap();
        assert_eq!(place.first, 4 * SHARD);
        assert_eq!(place.moves, [(4, 0), (5, 2)]);
        space.take(&place);
        assert_eq!(space.memories(), 4);
        assert_eq!(space.memory_of(4 * SHARD), Some(0));
        assert_eq!(space.memory_of(0), None);
        assert_eq!(space.find(1), None);
    }

    /// Tables of made-up sizes come and go: no row has two owners, and each has memory of its own.
    #[test]
    fn tables_that_come_and_go_never_overlap() {
        let mut space = RowSpace::new(256, 16);
        let mut tables: Vec<(usize, usize)> = Vec::new();
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        for _ in 0..5000 {
            let is_large = random(8) == 0;
            let count = 1 + random(if is_large { 5 * SHARD } else { 9000 });
            while space.find(count).is_none() {
                let (first, count) = tables.swap_remove(random(tables.len()));
                space.give_back(first, count);
            }
            let place = space.find(count).unwrap();
            space.take(&place);
            let overlaps = |(first, rows): &(usize, usize)| {
                *first < place.first + count && place.first < first + rows
            };
            assert!(!tables.iter().any(overlaps));
            tables.push((place.first, count));
            assert!(space.memories() <= 16);
        }
        assert_eq!(
            space.used(),
            tables.iter().map(|(_, count)| count).sum::<usize>()
        );
        let mut owners = BTreeMap::new();
        for (first, count) in tables {
            for (shard, _) in space.parts(first, count) {
                let memory = space.memory_of(shard * SHARD).unwrap();
                assert_eq!(*owners.entry(memory).or_insert(shard), shard);
            }
        }
    }
}
