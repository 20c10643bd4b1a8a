//! How much the counts of one profile scatter.
//!
//! A profile's time is cut in blocks; with x the count of a row in a block and m that of the whole block, what is left of
//! the row's share p of it is x − p m, and half the mean square of the differences of neighbours is its variance.
//! For rates there is no p: the blocks are of equal time.
//!
//! ```text
//! Σ (Δx − p Δm)² = Σ Δx² − 2 p Σ Δx Δm + p² Σ Δm²
//! ```
//!
//! So a row costs time only for the blocks in which it is met, however many rows there are.

use super::{Normalization, ratio};
use crate::sample::Sample;

/// Blocks that a profile's time is cut in: at most these, and none shorter than these samples on average.
const MOST_BLOCKS: u64 = 128;
const SAMPLES_PER_BLOCK: u64 = 8;
/// With fewer blocks nothing is learnt from them.
const FEWEST_BLOCKS: u64 = 8;

/// The samples in blocks of equal time; none when there are too few, or when their times are not known.
pub(super) fn blocks(samples: &[Sample]) -> Vec<Vec<Sample>> {
    let times = || samples.iter().map(|sample| sample.time_ns);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Vec::new();
    };
    let blocks = (samples.len() as u64 / SAMPLES_PER_BLOCK).min(MOST_BLOCKS);
    let span = last - first;
    if blocks < FEWEST_BLOCKS || span < blocks {
        return Vec::new();
    }
    let mut all = vec![Vec::new(); blocks as usize];
    for sample in samples {
        let place = u128::from(sample.time_ns - first) * u128::from(blocks);
        let place = place / (u128::from(span) + 1);
        if let Some(block) = all.get_mut(place as usize) {
            block.push(*sample);
        }
    }
    all
}

/// One row's sums over the blocks so far.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// Of all blocks.
    count: f64,
    /// In the block `last`.
    now: f64,
    /// In the block before `last`, 0 if it was not met there.
    before: f64,
    /// The last block in which it was met, counted from 1; 0 for none.
    last: usize,
    /// Σ Δx².
    squares: f64,
    /// Σ Δx Δm.
    products: f64,
}

impl Row {
    /// Adds the difference between the block `last` and the one before it.
    fn close(&mut self, sizes: &[f64]) {
        if self.last > 1 {
            self.add(self.now - self.before, self.last, sizes);
        }
    }

    /// Adds the difference between the block `last` and the one after it, where the row is not met.
    fn leave(&mut self, sizes: &[f64]) {
        if self.last > 0 && self.last < sizes.len() {
            self.add(-self.now, self.last + 1, sizes);
        }
    }

    fn add(&mut self, difference: f64, block: usize, sizes: &[f64]) {
        self.squares += difference * difference;
        self.products += difference * size_difference(block, sizes);
    }

    /// One sample more in `block`; blocks come in order.
    fn meet(&mut self, block: usize, sizes: &[f64]) {
        if self.last != block {
            self.close(sizes);
            self.before = match self.last + 1 == block {
                true => self.now,
                false => {
                    self.leave(sizes);
                    0.0
                }
            };
            self.last = block;
            self.now = 0.0;
        }
        self.now += 1.0;
        self.count += 1.0;
    }
}

/// How many samples more a block (counted from 1) has than the one before it.
fn size_difference(block: usize, sizes: &[f64]) -> f64 {
    let at = |block: usize| block.checked_sub(1).and_then(|index| sizes.get(index));
    match (at(block), block.checked_sub(1).and_then(at)) {
        (Some(one), Some(other)) => one - other,
        _ => 0.0,
    }
}

/// Tells the rows that one sample counts for, each of them once.
type RowsOf<'a> = dyn Fn(&Sample, &mut dyn FnMut(usize)) + 'a;

/// How much more each row scatters than independent samples would, 1 or more; 1 without blocks.
pub(super) fn design_effects(
    blocks: &[Vec<Sample>],
    rows: usize,
    normalization: Normalization,
    rows_of: &RowsOf<'_>,
) -> Vec<f64> {
    let sizes: Vec<f64> = blocks.iter().map(|block| block.len() as f64).collect();
    let mut all = vec![Row::default(); rows];
    for (block, samples) in (1..).zip(blocks) {
        for sample in samples {
            rows_of(sample, &mut |row| {
                if let Some(row) = all.get_mut(row) {
                    row.meet(block, &sizes);
                }
            });
        }
    }
    let size_squares: f64 = (2..=sizes.len())
        .map(|block| size_difference(block, &sizes).powi(2))
        .sum();
    let of: f64 = sizes.iter().sum();
    let scale = ratio(sizes.len() as f64, sizes.len().saturating_sub(1) as f64) / 2.0;
    let effect = |mut row: Row| {
        row.close(&sizes);
        row.leave(&sizes);
        let (squares, independent) = match normalization {
            Normalization::Samples => {
                let share = ratio(row.count, of);
                let squares =
                    row.squares - 2.0 * share * row.products + share * share * size_squares;
                (squares, row.count * (1.0 - share))
            }
            Normalization::Time => (row.squares, row.count),
        };
        ratio(squares * scale, independent).max(1.0)
    };
    all.into_iter().map(effect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::Random;
    use crate::stack_table::StackHandle;
    use crate::table::Handle as _;
    use crate::thread_table::ThreadHandle;

    /// The oracle counts every row in every block.
    #[test]
    fn the_sums_are_those_of_counting_every_row_in_every_block() {
        let mut random = Random(77);
        let sample = |row: u64, time_ns: u64| Sample {
            time_ns,
            weight_ns: 1,
            cpu: 0,
            thread: ThreadHandle::from_index(0),
            stack: StackHandle::from_index(row as u32),
            complete: true,
        };
        let samples: Vec<_> = (0..900)
            .map(|time| sample(random.below(1 + time / 90), time + random.below(5)))
            .collect();
        let blocks = blocks(&samples);
        assert_eq!(blocks.len(), 112);
        let of = samples.len() as f64;
        for normalization in [Normalization::Samples, Normalization::Time] {
            let seen = design_effects(&blocks, 10, normalization, &|sample, meet| {
                meet(sample.stack.index() as usize);
            });
            for row in 0..10 {
                let count_in = |block: &Vec<Sample>| {
                    let is_row = |sample: &&Sample| sample.stack.index() == row;
                    block.iter().filter(is_row).count() as f64
                };
                let count: f64 = blocks.iter().map(count_in).sum();
                let share = match normalization {
                    Normalization::Samples => count / of,
                    Normalization::Time => 0.0,
                };
                let left: Vec<f64> = blocks
                    .iter()
                    .map(|block| count_in(block) - share * block.len() as f64)
                    .collect();
                let squares: f64 = left
                    .windows(2)
                    .map(|pair| (pair[1] - pair[0]).powi(2))
                    .sum();
                let expected = squares / 2.0 * 112.0 / 111.0 / (count * (1.0 - share));
                let seen = seen[row as usize];
                assert!((seen - expected.max(1.0)).abs() < 1e-9, "{seen} {expected}");
            }
        }
    }
}
