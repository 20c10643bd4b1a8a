//! The kernel's walks on the host: the same C, compiled for this machine, over memory that a test gives it.
//!
//! **What it does.** [`Walker`] stands for one CPU of the kernel: it keeps the maps that outlive a sample.
//! [`sample`](Walker::sample) walks both stacks of a thread from its registers, as the kernel does when the clock ticks;
//! [`walk`](Walker::walk) takes the Python part alone, with native frames that a test has made up. Out come words, and the
//! definitions of code objects met for the first time. What is shown here of their order, their bounds and their reasons
//! holds for the kernel's.
//!
//! **What it asks of you.** What the kernel knows of the thread by then ([`Registers`] or [`Thread`]), what user space has
//! told it of the process and of its files ([`Files`]), and a closure that reads the process's memory: a table in a test,
//! `viperf_process::read_memory` for a live process, a generator of nonsense. It must not panic: it is called from C.
//!
//! **What it will not do.** No kernel frames. Nothing is finished in user space. No eviction from the maps. It is for tests
//! and is not published.
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

use viperf_abi::{CodeRecord, Mapping, Process, RowTable, SAMPLE_NO_THREAD_STATE, UnwindRow, Word};

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

/// What the kernel knows of a sampled thread before it walks any of its stacks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// In the order of the kernel's `struct pt_regs`: r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi,
    /// the number of the system call (negative: none), rip, cs, flags, rsp, ss.
    pub saved: [u64; 21],
    /// The thread pointer, which is `pthread_self()`.
    pub fsbase: u64,
    /// Number of the thread, for what is remembered of it; that of its process, too.
    pub tid: u32,
    /// When, in nanoseconds.
    pub time_ns: u64,
    /// The sample has kernel frames.
    pub in_kernel: bool,
}

/// What user space has put into the kernel's arrays: [`Process`] says which mappings are its own.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Executable mappings.
    pub mappings: Vec<Mapping>,
    /// The one with the number 0 means that there is none.
    pub row_tables: Vec<RowTable>,
    /// Those of all tables.
    pub rows: Vec<UnwindRow>,
}

/// What became of one sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The native section, leaf first.
    pub native: Vec<Word>,
    /// The CFA of each native frame; 0 where it has none. Of a stack that was too deep, as far as they are in order.
    pub cfas: Vec<u64>,
    /// The Python section, leaf first.
    pub python: Vec<Word>,
    /// Code objects met for the first time.
    pub definitions: Vec<Definition>,
    /// Reads of the process's memory.
    pub reads: u32,
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
        self.check_memory(&outcome);
        Walk {
            words: outcome.python.into_iter().map(Word::decode).collect(),
            definitions: outcome.definitions,
            no_thread_state: outcome.flags & SAMPLE_NO_THREAD_STATE != 0,
            reads: outcome.reads,
            list_steps: outcome.list_steps,
        }
    }

    /// Takes a sample. What the kernel learns of the process's eval calls is in `process` afterwards, when the rows were
    /// last needed in `files`. `read_memory` is as in [`walk`](Self::walk).
    ///
    /// # Panics
    ///
    /// When the walks have written to memory that is not their own.
    pub fn sample(
        &mut self,
        process: &mut Process,
        files: &mut Files,
        registers: &Registers,
        mut read_memory: impl FnMut(u64, &mut [u8]) -> bool,
    ) -> Sample {
        let outcome = border::sample(self, process, files, registers, &mut read_memory);
        self.check_memory(&outcome);
        Sample {
            native: outcome.native.into_iter().map(Word::decode).collect(),
            cfas: outcome.cfas,
            python: outcome.python.into_iter().map(Word::decode).collect(),
            definitions: outcome.definitions,
            reads: outcome.reads,
        }
    }

    fn check_memory(&self, outcome: &border::Raw) {
        assert!(
            !outcome.strayed && self.scratch.is_intact() && self.code_record.is_intact(),
            "the walk wrote to memory that is not its own"
        );
    }

    /// Threads of which something is remembered.
    #[must_use]
    pub fn remembered_threads(&self) -> usize {
        self.maps.thread_states.len()
    }
}
