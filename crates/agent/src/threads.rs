//! The sampled threads and their names.
//!
//! The kernel knows a thread by a number and up to 15 bytes of name. Python's `threading` has names of its own, under
//! `pthread_self()`; they are read from the process, which may be gone by then: soon after a thread's first sample.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use viperf_abi::{SAMPLE_NO_THREAD_STATE, SAMPLE_PYTHON, SampleRecord, limit::THREAD_NAME_BYTES};
use viperf_cpython::{Interpreter, read_thread_names, thread_states};
use viperf_process::Pid;

use crate::bounded_reader::BoundedReader;

/// After a new thread its process is asked for names so often, not sooner than after this time, and not sooner than after
/// so many times the time that it took to answer.
const ATTEMPTS: u32 = 4;
const INTERVAL: Duration = Duration::from_millis(200);
const INTERVAL_FACTOR: u32 = 20;
/// An answer may take so long; that of a process with a thousand threads takes a third of it.
const LIMIT: Duration = Duration::from_millis(250);
/// More interpreters are not asked.
const INTERPRETERS: usize = 16;

/// One thread as the kernel knows it.
#[derive(Debug)]
pub(crate) struct SampledThread {
    /// Index of the process's description.
    pub(crate) process: u32,
    pub(crate) tid: u32,
    pointer: u64,
    /// The last that it had, ended by a NUL.
    kernel_name: [u8; THREAD_NAME_BYTES],
    python_name: Option<String>,
    /// Whether a sample of it had a thread state, and whether one had none.
    with_python: bool,
    without_python: bool,
}

/// All threads of a recording, by number.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    all: Vec<SampledThread>,
    by_key: HashMap<(u32, u32, u64), u32>,
    unnamed: HashMap<u32, Unnamed>,
}

/// A process with threads that have no Python name yet.
#[derive(Debug)]
struct Unnamed {
    process: u32,
    attempts: u32,
    next: Instant,
}

impl Threads {
    /// The number of the thread of a sample.
    pub(crate) fn number(&mut self, process: u32, sample: &SampleRecord) -> u32 {
        let key = (process, sample.tid, sample.thread_pointer);
        let number = *self.by_key.entry(key).or_insert_with(|| {
            self.all.push(SampledThread {
                process,
                tid: sample.tid,
                pointer: sample.thread_pointer,
                kernel_name: sample.thread_name,
                python_name: None,
                with_python: false,
                without_python: false,
            });
            self.all.len() as u32 - 1
        });
        let is_python = sample.flags & SAMPLE_PYTHON != 0;
        let has_state = sample.flags & SAMPLE_NO_THREAD_STATE == 0;
        let Some(thread) = self.all.get_mut(number as usize) else {
            return number;
        };
        thread.kernel_name = sample.thread_name;
        if is_python {
            let is_first = !thread.with_python;
            thread.with_python |= has_state;
            thread.without_python |= !has_state;
            if has_state && is_first {
                let unnamed = Unnamed {
                    process,
                    attempts: 0,
                    next: Instant::now(),
                };
                let unnamed = self.unnamed.entry(sample.tgid).or_insert(unnamed);
                unnamed.process = process;
                unnamed.attempts = 0;
            }
        }
        number
    }

    /// The thread with this number.
    pub(crate) fn find(&self, number: u32) -> Option<&SampledThread> {
        self.all.get(number as usize)
    }

    /// Python's name where there is one, else the kernel's; with a word when the thread had nothing to do with Python.
    pub(crate) fn name(&self, thread: &SampledThread) -> String {
        let kernel_name = thread.kernel_name.split(|byte| *byte == 0).next();
        let name = match &thread.python_name {
            Some(name) => Cow::Borrowed(name.as_str()),
            None => String::from_utf8_lossy(kernel_name.unwrap_or_default()),
        };
        match thread.without_python && !thread.with_python {
            true => format!("{name}, no Python"),
            false => name.into_owned(),
        }
    }

    /// Asks the processes that have new threads for their names. `find` gives the interpreter of a process and where its
    /// runtime is, if the process is still the one with that description.
    pub(crate) fn read_names<'interpreter>(
        &mut self,
        now: Instant,
        find: impl Fn(u32, u32) -> Option<(&'interpreter Interpreter, u64)>,
    ) {
        let due = self
            .unnamed
            .iter()
            .filter(|(_, unnamed)| unnamed.next <= now);
        let due: Vec<(u32, u32)> = due.map(|(pid, unnamed)| (*pid, unnamed.process)).collect();
        for (pid, process) in due {
            let Some((interpreter, runtime)) = find(pid, process) else {
                self.unnamed.remove(&pid);
                continue;
            };
            let reader = BoundedReader::new(pid, LIMIT);
            let names = read_all_names(&reader, interpreter, runtime);
            // A thread that still lives has lived while its name was read: its pthread_self() was nobody else's.
            self.take_names(process, &names, |tid| {
                viperf_process::has_thread(Pid(pid), tid)
            });
            let all_are_named = self.are_all_named(process);
            if let Some(unnamed) = self.unnamed.get_mut(&pid) {
                unnamed.attempts += 1;
                unnamed.next = now + INTERVAL.max(reader.elapsed() * INTERVAL_FACTOR);
                if all_are_named || unnamed.attempts >= ATTEMPTS {
                    self.unnamed.remove(&pid);
                }
            }
        }
    }

    /// `pthread_self()` is used again when a thread has ended: a name belongs to the newest thread that has it, if that
    /// still lives.
    fn take_names(
        &mut self,
        process: u32,
        names: &HashMap<u64, String>,
        is_alive: impl Fn(u32) -> bool,
    ) {
        let mut taken = HashSet::new();
        let of_process = |thread: &&mut SampledThread| thread.process == process;
        for thread in self.all.iter_mut().rev().filter(of_process) {
            if !taken.insert(thread.pointer) || thread.python_name.is_some() {
                continue;
            }
            if let Some(name) = names.get(&thread.pointer).filter(|_| is_alive(thread.tid)) {
                thread.python_name = Some(name.clone());
            }
        }
    }

    fn are_all_named(&self, process: u32) -> bool {
        let mut of_process = self
            .all
            .iter()
            .filter(|thread| thread.process == process && thread.with_python);
        of_process.all(|thread| thread.python_name.is_some())
    }
}

/// The names of all threads of all interpreters of a process, by `pthread_self()`.
fn read_all_names(
    reader: &BoundedReader,
    interpreter: &Interpreter,
    runtime: u64,
) -> HashMap<u64, String> {
    let Some(objects) = &interpreter.objects else {
        return HashMap::new();
    };
    let read = |address: u64, bytes: &mut [u8]| reader.read(address, bytes);
    let states = thread_states::find(&interpreter.layout, runtime, read).found;
    let interpreters: BTreeSet<u64> = states.iter().map(|state| state.interpreter).collect();
    let names = interpreters
        .into_iter()
        .take(INTERPRETERS)
        .flat_map(|address| read_thread_names(&interpreter.layout, objects, address, read));
    names
        .filter(|found| !found.name.is_empty())
        .map(|found| (found.thread_id, found.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tid: u32, pointer: u64, flags: u32) -> SampleRecord {
        let mut thread_name = [0; THREAD_NAME_BYTES];
        thread_name[..6].copy_from_slice(b"python");
        SampleRecord {
            tgid: 7,
            tid,
            thread_pointer: pointer,
            flags,
            thread_name,
            ..SampleRecord::default()
        }
    }

    fn name(threads: &Threads, number: u32) -> String {
        threads.name(threads.find(number).unwrap())
    }

    #[test]
    fn pythons_name_wins_over_the_kernels() {
        let mut threads = Threads::default();
        let number = threads.number(0, &sample(8, 0x100, SAMPLE_PYTHON));
        assert_eq!(name(&threads, number), "python");
        let names = HashMap::from([(0x100, "worker".to_owned())]);
        threads.take_names(0, &names, |_| true);
        assert_eq!(name(&threads, number), "worker");
        assert!(threads.are_all_named(0));
    }

    #[test]
    fn a_thread_id_used_again_is_another_thread() {
        let mut threads = Threads::default();
        let first = threads.number(0, &sample(8, 0x100, SAMPLE_PYTHON));
        let second = threads.number(0, &sample(8, 0x200, SAMPLE_PYTHON));
        assert_ne!(first, second);
        assert_eq!(first, threads.number(0, &sample(8, 0x100, SAMPLE_PYTHON)));
    }

    #[test]
    fn a_name_is_the_newest_living_threads_and_never_an_older_ones() {
        let mut threads = Threads::default();
        let first = threads.number(0, &sample(8, 0x100, SAMPLE_PYTHON));
        let second = threads.number(0, &sample(9, 0x100, SAMPLE_PYTHON));
        let names = HashMap::from([(0x100, "worker-1".to_owned())]);
        threads.take_names(0, &names, |tid| tid == 8);
        assert_eq!(name(&threads, first), "python");
        threads.take_names(0, &names, |_| true);
        assert_eq!(name(&threads, first), "python");
        assert_eq!(name(&threads, second), "worker-1");
        let names = HashMap::from([(0x100, "worker-2".to_owned())]);
        threads.take_names(0, &names, |_| true);
        assert_eq!(name(&threads, second), "worker-1");
    }

    #[test]
    fn only_a_thread_that_never_was_in_python_is_marked() {
        let without = SAMPLE_PYTHON | SAMPLE_NO_THREAD_STATE;
        let mut threads = Threads::default();
        let number = threads.number(0, &sample(8, 0x100, without));
        assert_eq!(name(&threads, number), "python, no Python");
        threads.number(0, &sample(8, 0x100, SAMPLE_PYTHON));
        assert_eq!(name(&threads, number), "python");
        let native_program = threads.number(1, &sample(9, 0x100, 0));
        assert_eq!(name(&threads, native_program), "python");
    }
}
