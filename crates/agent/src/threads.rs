//! The sampled threads and their names.
//!
//! The kernel knows a thread by a number and up to 15 bytes of name. Python's `threading` has names of its own, under
//! `pthread_self()`; they are read from the process, which may be gone by then: soon after a thread's first sample.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use viperf_abi::{SAMPLE_NO_THREAD_STATE, SAMPLE_PYTHON, SampleRecord, limit::THREAD_NAME_BYTES};
use viperf_cpython::{Interpreter, read_thread_names, thread_states};
use viperf_process::Pid;

/// A process is asked for the names of new threads at most so often, and so often at most.
const INTERVAL: Duration = Duration::from_millis(200);
const ATTEMPTS: u32 = 4;

/// One thread as the kernel knows it.
#[derive(Debug)]
pub(crate) struct SampledThread {
    /// Index of the process's description.
    pub(crate) process: u32,
    pub(crate) tid: u32,
    pointer: u64,
    kernel_name: String,
    /// Whether a sample of it had a thread state, and whether one had none.
    with_python: bool,
    without_python: bool,
}

/// All threads of a recording, by number.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    all: Vec<SampledThread>,
    by_key: HashMap<(u32, u32, u64, [u8; THREAD_NAME_BYTES]), u32>,
    /// Python's names, by process and `pthread_self()`.
    python_names: HashMap<(u32, u64), String>,
    unnamed: HashMap<u32, Unnamed>,
}

/// A process with threads that have no Python name yet.
#[derive(Debug)]
struct Unnamed {
    process: u32,
    attempts: u32,
    last: Option<Instant>,
}

impl Threads {
    /// The number of the thread of a sample.
    pub(crate) fn number(&mut self, process: u32, sample: &SampleRecord) -> u32 {
        let key = (
            process,
            sample.tid,
            sample.thread_pointer,
            sample.thread_name,
        );
        let number = *self.by_key.entry(key).or_insert_with(|| {
            let name = sample.thread_name.split(|byte| *byte == 0).next();
            self.all.push(SampledThread {
                process,
                tid: sample.tid,
                pointer: sample.thread_pointer,
                kernel_name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
                with_python: false,
                without_python: false,
            });
            self.all.len() as u32 - 1
        });
        let is_python = sample.flags & SAMPLE_PYTHON != 0;
        let has_state = sample.flags & SAMPLE_NO_THREAD_STATE == 0;
        if let Some(thread) = self.all.get_mut(number as usize)
            && is_python
        {
            let is_first = !thread.with_python;
            thread.with_python |= has_state;
            thread.without_python |= !has_state;
            if has_state && is_first {
                let unnamed = Unnamed {
                    process,
                    attempts: 0,
                    last: None,
                };
                self.unnamed.insert(sample.tgid, unnamed);
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
        let known = self.python_names.get(&(thread.process, thread.pointer));
        let name = known.unwrap_or(&thread.kernel_name);
        match thread.without_python && !thread.with_python {
            true => format!("{name}, no Python"),
            false => name.clone(),
        }
    }

    /// Asks the processes that have new threads for their names. `find` gives the interpreter of a process and where its
    /// runtime is, if the process is still the one with that description.
    pub(crate) fn read_names<'interpreter>(
        &mut self,
        now: Instant,
        find: impl Fn(u32, u32) -> Option<(&'interpreter Interpreter, u64)>,
    ) {
        let is_due = |unnamed: &Unnamed| {
            unnamed
                .last
                .is_none_or(|last| now.duration_since(last) >= INTERVAL)
        };
        let due: Vec<u32> = self
            .unnamed
            .iter()
            .filter(|(_, unnamed)| is_due(unnamed))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in due {
            let Some(unnamed) = self.unnamed.get_mut(&pid) else {
                continue;
            };
            unnamed.attempts += 1;
            unnamed.last = Some(now);
            let (process, is_last) = (unnamed.process, unnamed.attempts >= ATTEMPTS);
            let names = find(pid, process)
                .map(|(interpreter, runtime)| read_all_names(pid, interpreter, runtime));
            let is_gone = names.is_none();
            for (thread_id, name) in names.into_iter().flatten() {
                self.python_names.insert((process, thread_id), name);
            }
            if is_gone || is_last || self.are_all_named(process) {
                self.unnamed.remove(&pid);
            }
        }
    }

    fn are_all_named(&self, process: u32) -> bool {
        let of_process = self
            .all
            .iter()
            .filter(|thread| thread.process == process && thread.with_python);
        of_process
            .map(|thread| (process, thread.pointer))
            .all(|key| self.python_names.contains_key(&key))
    }
}

/// The names of all threads of all interpreters of a process.
fn read_all_names(pid: u32, interpreter: &Interpreter, runtime: u64) -> Vec<(u64, String)> {
    let Some(objects) = &interpreter.objects else {
        return Vec::new();
    };
    let read = |address: u64, bytes: &mut [u8]| {
        viperf_process::read_memory(Pid(pid), address, bytes).is_ok()
    };
    let states = thread_states::find(&interpreter.layout, runtime, read).found;
    let interpreters: HashSet<u64> = states.iter().map(|state| state.interpreter).collect();
    let names = interpreters
        .into_iter()
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
        threads.python_names.insert((0, 0x100), "worker".to_owned());
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
