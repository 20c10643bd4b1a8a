//! The kernel's Python walk on the host: the same C, compiled for this machine, over memory that a test gives it.
//!
//! **What it does.** [`Walker`] stands for one CPU of the kernel: it keeps the maps that outlive a sample, and
//! [`walk`](Walker::walk) takes the Python part of one sample: words, and the definitions of code objects met for the
//! first time. There is no other walk in viperf; what is shown here of its order, its bounds and its reasons holds for
//! the kernel's.
//!
//! **What it asks of you.** What the kernel knows of the thread by then ([`Thread`]), the process's layout, and a closure
//! that reads the process's memory: a table in a test, `viperf_process::read_memory` for a live process, a generator of
//! nonsense. It must not panic: it is called from C.
//!
//! **What it will not do.** No native walk. No eviction from the maps. It is for tests and is not published.
//!
//! Undefined behaviour in the C part traps (SIGILL), and writes next to its memory fail an assertion. For more, the same
//! tests under AddressSanitizer:
//!
//! ```text
//! CFLAGS=-fsanitize=address RUSTFLAGS=-Clink-arg=-lasan \
//!     cargo test -p viperf-host-walk --test it --no-run --target-dir target/sanitized
//! cd crates/host-walk && ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$(gcc -print-file-name=libasan.so) \
//!     ../../target/sanitized/debug/deps/it-* --skip live
//! ```

mod border;
mod memory;

use std::collections::HashMap;

use viperf_abi::{CodeRecord, Process, SAMPLE_NO_THREAD_STATE, Word};

use memory::Guarded;

/// What the kernel knows of a sampled thread when it turns to its Python stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thread<'sample> {
    /// The thread pointer, which is `pthread_self()`.
    pub fsbase: u64,
    /// Number of the thread, for what is remembered of it.
    pub tid: u32,
    /// Stack pointer of the innermost native frame (AVMA).
    pub sp: u64,
    /// The native frames' CFAs (AVMA), leaf first; at most 512 are used.
    pub cfas: &'sample [u64],
    /// When, in nanoseconds.
    pub time_ns: u64,
    /// The native walk is to be finished in user space.
    pub deferred: bool,
}

/// The definition of a code object, as the ring would have carried it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its fixed part.
    pub code: Box<CodeRecord>,
    /// The captured start of its line table.
    pub line_table: Vec<u8>,
}

/// What became of one walk.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The Python section of the sample, leaf first.
    pub words: Vec<Word>,
    /// Code objects met for the first time.
    pub definitions: Vec<Definition>,
    /// The thread has no thread state.
    pub no_thread_state: bool,
    /// Reads of the process's memory.
    pub reads: u32,
    /// Threads and interpreters looked at in the interpreter's lists.
    pub list_steps: u32,
}

/// One CPU of the kernel, and the maps that it shares with the others.
#[derive(Debug)]
pub struct Walker {
    /// Definitions find no room in the ring.
    pub ring_is_full: bool,
    scratch: Guarded,
    code_record: Guarded,
    maps: Maps,
}

/// Values by key, as bytes; in boxes, because C keeps pointers to them during a walk.
type Map = HashMap<Vec<u8>, Box<[u64]>>;

#[derive(Debug, Default)]
struct Maps {
    codes: Map,
    thread_states: Map,
}

impl Default for Walker {
    fn default() -> Self {
        Self::new()
    }
}

impl Walker {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ring_is_full: false,
            scratch: Guarded::new(border::scratch_size()),
            code_record: Guarded::new(border::code_record_size()),
            maps: Maps::default(),
        }
    }

    /// Takes the Python part of a sample. `read_memory(address, buffer)` fills the buffer from the process's memory, all
    /// of it or none, and says which.
    ///
    /// # Panics
    ///
    /// When the walk has written to memory that is not its own.
    pub fn walk(
        &mut self,
        process: &Process,
        thread: &Thread<'_>,
        mut read_memory: impl FnMut(u64, &mut [u8]) -> bool,
    ) -> Walk {
        let outcome = border::walk(self, process, thread, &mut read_memory);
        assert!(
            !outcome.strayed && self.scratch.is_intact() && self.code_record.is_intact(),
            "the walk wrote to memory that is not its own"
        );
        Walk {
            words: outcome.words.into_iter().map(Word::decode).collect(),
            definitions: outcome.definitions,
            no_thread_state: outcome.flags & SAMPLE_NO_THREAD_STATE != 0,
            reads: outcome.reads,
            list_steps: outcome.list_steps,
        }
    }

    /// Threads of which something is remembered.
    #[must_use]
    pub fn remembered_threads(&self) -> usize {
        self.maps.thread_states.len()
    }
}
