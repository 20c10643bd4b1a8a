//! The thread states of a process, by the interpreter's own lists.

use crate::{Layout, memory, memory::Memory};

/// Most interpreters and thread states followed.
const LIMIT: usize = 1 << 16;

/// One `PyThreadState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadState {
    /// Its address (AVMA).
    pub address: u64,
    /// The address (AVMA) of its `PyInterpreterState`.
    pub interpreter: u64,
    /// `pthread_self()` of its thread: the fs base on x86-64. 0 until a new thread of 3.12+ has bound itself.
    pub thread_id: u64,
    /// `gettid()` of its thread in its own PID namespace; likewise, and only from 3.11 on.
    pub native_thread_id: Option<u64>,
}

/// What the lists gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadStates {
    /// All found, the newest of the newest interpreter first.
    /// One thread has several if it runs sub-interpreters.
    pub found: Vec<ThreadState>,
    /// Both lists were followed to their ends.
    /// If not, they changed while they were read, or are too long.
    pub complete: bool,
}

/// Follows the interpreters from [`Interpreter::runtime`](crate::Interpreter::runtime) (AVMA here) and the thread states of each.
///
/// The process may run meanwhile; whoever needs a certain answer asks twice and compares.
pub fn find(
    layout: &Layout,
    runtime: u64,
    read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> ThreadStates {
    let mut memory = Memory(read_memory);
    let mut found = Vec::new();
    let complete = collect(layout, runtime, &mut memory, &mut found).is_some();
    ThreadStates { found, complete }
}

/// `None` where a list could not be followed to its end.
fn collect<F: FnMut(u64, &mut [u8]) -> bool>(
    layout: &Layout,
    runtime: u64,
    memory: &mut Memory<F>,
    found: &mut Vec<ThreadState>,
) -> Option<()> {
    let mut interpreter = memory.read_word(runtime, layout.interpreters_head())?;
    let mut steps = 0..LIMIT;
    while interpreter != 0 {
        steps.next()?;
        let mut address = read_pointer(memory, interpreter, layout.interpreter.threads_head)?;
        while address != 0 {
            steps.next()?;
            let fields = &layout.thread_state;
            if read_pointer(memory, address, fields.interp)? != interpreter {
                return None;
            }
            found.push(ThreadState {
                address,
                interpreter,
                thread_id: memory.read_word(address, fields.thread_id)?,
                native_thread_id: fields
                    .native_thread_id
                    .and_then(|offset| memory.read_word(address, offset)),
            });
            address = read_pointer(memory, address, fields.next)?;
        }
        interpreter = read_pointer(memory, interpreter, layout.interpreter.next)?;
    }
    Some(())
}

/// Reads a pointer member of the struct at `base`, if `base` can be a struct at all.
fn read_pointer<F: FnMut(u64, &mut [u8]) -> bool>(
    memory: &mut Memory<F>,
    base: u64,
    offset: u16,
) -> Option<u64> {
    memory::is_plausible_pointer(base)
        .then(|| memory.read_word(base, offset))
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Version, find_layout};

    const RUNTIME: u64 = 0x1000;

    fn layout() -> Layout {
        find_layout(Version { hex: 0x030c_01f0 }, false).unwrap()
    }

    fn find_in(words: &BTreeMap<u64, u64>) -> ThreadStates {
        find(&layout(), RUNTIME, |address, bytes| {
            let word = words.get(&address);
            word.is_some_and(|word| {
                bytes.copy_from_slice(&word.to_le_bytes());
                true
            })
        })
    }

    /// Interpreter 0x2000 with threads 0x4000 and 0x5000, then interpreter 0x3000 with thread 0x6000.
    fn two_interpreters() -> BTreeMap<u64, u64> {
        let mut words = BTreeMap::from([
            (RUNTIME + 40, 0x2000),
            (0x2000, 0x3000),
            (0x2000 + 72, 0x4000),
            (0x3000, 0),
            (0x3000 + 72, 0x6000),
        ]);
        for (thread, next, interpreter) in [
            (0x4000, 0x5000, 0x2000),
            (0x5000, 0, 0x2000),
            (0x6000, 0, 0x3000),
        ] {
            words.extend([
                (thread + 8, next),
                (thread + 16, interpreter),
                (thread + 136, thread + 1),
                (thread + 144, thread + 2),
            ]);
        }
        words
    }

    #[test]
    fn threads_of_all_interpreters_are_found_with_both_ids() {
        let states = find_in(&two_interpreters());
        assert!(states.complete);
        let addresses: Vec<_> = states.found.iter().map(|state| state.address).collect();
        assert_eq!(addresses, [0x4000, 0x5000, 0x6000]);
        let expected = ThreadState {
            address: 0x6000,
            interpreter: 0x3000,
            thread_id: 0x6001,
            native_thread_id: Some(0x6002),
        };
        assert_eq!(states.found[2], expected);
    }

    #[test]
    fn a_runtime_that_is_not_initialized_has_no_threads() {
        let states = find_in(&BTreeMap::from([(RUNTIME + 40, 0)]));
        assert_eq!((states.found.len(), states.complete), (0, true));
    }

    #[test]
    fn rings_and_foreign_threads_and_unreadable_memory_end_the_search() {
        let mut ring = two_interpreters();
        ring.insert(0x5000 + 8, 0x4000);
        let states = find_in(&ring);
        assert!(!states.complete && states.found.len() < LIMIT);
        let mut ring = two_interpreters();
        ring.insert(0x3000, 0x2000);
        assert!(!find_in(&ring).complete);
        let mut foreign = two_interpreters();
        foreign.insert(0x5000 + 16, 0x3000);
        let states = find_in(&foreign);
        assert_eq!((states.found.len(), states.complete), (1, false));
        let mut unreadable = two_interpreters();
        unreadable.remove(&0x6010);
        let states = find_in(&unreadable);
        assert_eq!((states.found.len(), states.complete), (2, false));
    }
}
