//! Samples summed by thread and stack.

use std::collections::HashMap;

use crate::sample::Sample;
use crate::stack_table::StackHandle;
use crate::thread_table::ThreadHandle;

/// How often one thread was seen with one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregatedStack {
    /// The thread.
    pub thread: ThreadHandle,
    /// The stack.
    pub stack: StackHandle,
    /// How many samples.
    pub count: u64,
    /// The time they stand for together, in nanoseconds; stops at the greatest `u64`.
    pub weight_ns: u64,
}

/// One row per distinct (thread, stack), in order of thread, then stack: the same samples always give the same rows.
pub(crate) fn aggregate(samples: &[Sample]) -> Vec<AggregatedStack> {
    let mut places: HashMap<(ThreadHandle, StackHandle), usize> = HashMap::new();
    let mut rows: Vec<AggregatedStack> = Vec::new();
    for &Sample {
        weight_ns,
        thread,
        stack,
        ..
    } in samples
    {
        let place = *places.entry((thread, stack)).or_insert(rows.len());
        match rows.get_mut(place) {
            Some(row) => {
                row.count += 1;
                row.weight_ns = row.weight_ns.saturating_add(weight_ns);
            }
            None => rows.push(AggregatedStack {
                thread,
                stack,
                count: 1,
                weight_ns,
            }),
        }
    }
    rows.sort_unstable_by_key(|row| (row.thread, row.stack));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Handle as _;

    fn sample(thread: u32, stack: u32, weight_ns: u64) -> Sample {
        Sample {
            time_ns: 0,
            weight_ns,
            cpu: 0,
            thread: ThreadHandle::from_index(thread),
            stack: StackHandle::from_index(stack),
            complete: true,
        }
    }

    #[test]
    fn counts_and_weights_are_summed_per_thread_and_stack() {
        let rows = aggregate(&[
            sample(1, 0, 5),
            sample(0, 9, 1),
            sample(1, 0, 7),
            sample(0, 2, u64::MAX),
            sample(0, 2, 1),
        ]);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.thread.index(),
                    row.stack.index(),
                    row.count,
                    row.weight_ns,
                )
            })
            .collect();
        assert_eq!(seen, [(0, 2, 2, u64::MAX), (0, 9, 1, 1), (1, 0, 2, 12)]);
    }
}
