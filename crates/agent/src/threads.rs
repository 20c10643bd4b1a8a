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
/// Behind the name of a thread that has nothing to do with Python.
pub(crate) const NO_PYTHON: &str = ", no Python";
/// More interpreters are not asked.
const INTERPRETERS: usize = 16;

/// What the profile says of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThreadDescription {
    /// Index of the process's description.
    pub(crate) process: u32,
    pub(crate) tid: u32,
    pub(crate) name: String,
}

/// One thread as the kernel knows it.
#[derive(Debug)]
struct SampledThread {
    /// Index of the process's description.
    process: u32,
    tid: u32,
    pointer: u64,
    /// The last that it had, ended by a NUL.
    kernel_name: [u8; THREAD_NAME_BYTES],
    python_name: Option<String>,
    /// Whether a sample of it had a thread state, and whether one had none.
    with_python: bool,
    without_python: bool,
}

/// All threads of a recording whose processes have not been forgotten.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    /// By number.
    all: HashMap<u32, SampledThread>,
    next: u32,
    /// The threads of each process, by TID and thread pointer.
    by_process: HashMap<u32, HashMap<(u32, u64), u32>>,
    unnamed: HashMap<u32, Unnamed>,
    /// Those that are new, or have another name.
    changed: BTreeSet<u32>,
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
        let key = (sample.tid, sample.thread_pointer);
        let of_process = self.by_process.entry(process).or_default();
        let number = *of_process.entry(key).or_insert_with(|| {
            let number = self.next;
            self.next += 1;
            let thread = SampledThread {
                process,
                tid: sample.tid,
                pointer: sample.thread_pointer,
                kernel_name: sample.thread_name,
                python_name: None,
                with_python: false,
                without_python: false,
            };
            self.all.insert(number, thread);
            self.changed.insert(number);
            number
        });
        let is_python = sample.flags & SAMPLE_PYTHON != 0;
        let has_state = sample.flags & SAMPLE_NO_THREAD_STATE == 0;
        let Some(thread) = self.all.get_mut(&number) else {
            return number;
        };
        if thread.kernel_name != sample.thread_name {
            thread.kernel_name = sample.thread_name;
            self.changed.insert(number);
        }
        if is_python {
            let is_first = !thread.with_python;
            if is_first && (has_state || !thread.without_python) {
                self.changed.insert(number);
            }
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

    /// The threads that are new since the last call or have another name, by their numbers.
    pub(crate) fn take_changed(&mut self) -> Vec<(u32, ThreadDescription)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let described = changed.filter_map(|number| {
            let thread = self.all.get(&number)?;
            let description = ThreadDescription {
                process: thread.process,
                tid: thread.tid,
                name: thread.name(),
            };
            Some((number, description))
        });
        described.collect()
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
            let reader = BoundedReader::of_pages(pid, LIMIT);
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
        for number in self.numbers_of(process).into_iter().rev() {
            let Some(thread) = self.all.get_mut(&number) else {
                continue;
            };
            if !taken.insert(thread.pointer) || thread.python_name.is_some() {
                continue;
            }
            if let Some(name) = names.get(&thread.pointer).filter(|_| is_alive(thread.tid)) {
                thread.python_name = Some(name.clone());
                self.changed.insert(number);
            }
        }
    }

    /// The threads of a process, the oldest first.
    fn numbers_of(&self, process: u32) -> Vec<u32> {
        let of_process = self.by_process.get(&process);
        let mut numbers: Vec<u32> = of_process
            .into_iter()
            .flat_map(HashMap::values)
            .copied()
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// A process is gone, and all of its samples have come; whoever makes the profile has been told of its threads.
    pub(crate) fn forget(&mut self, process: u32) {
        for number in self
            .by_process
            .remove(&process)
            .unwrap_or_default()
            .into_values()
        {
            self.all.remove(&number);
        }
    }

    fn are_all_named(&self, process: u32) -> bool {
        let numbers = self.numbers_of(process);
        let threads = numbers.iter().filter_map(|number| self.all.get(number));
        let mut of_python = threads.filter(|thread| thread.with_python);
        of_python.all(|thread| thread.python_name.is_some())
    }
}

impl SampledThread {
    /// Python's name where there is one, else the kernel's; with a word when the thread had nothing to do with Python.
    fn name(&self) -> String {
        let kernel_name = self.kernel_name.split(|byte| *byte == 0).next();
        let name = match &self.python_name {
            Some(name) => Cow::Borrowed(name.as_str()),
            None => String::from_utf8_lossy(kernel_name.unwrap_or_default()),
        };
        match self.without_python && !self.with_python {
            true => format!("{name}{NO_PYTHON}"),
            false => name.into_owned(),
        }
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
    let look = || {
        reader.look_anew();
        read
    };
    let states = thread_states::find(&interpreter.layout, runtime, read).found;
    let interpreters: BTreeSet<u64> = states.iter().map(|state| state.interpreter).collect();
    let names = interpreters
        .into_iter()
        .take(INTERPRETERS)
        .flat_map(|address| read_thread_names(&interpreter.layout, objects, address, look));
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
        threads.all[&number].name()
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
    fn a_process_that_is_forgotten_takes_its_threads_with_it_and_no_others() {
        let mut threads = Threads::default();
        let gone = threads.number(0, &sample(8, 0x100, SAMPLE_PYTHON));
        let stays = threads.number(1, &sample(8, 0x100, SAMPLE_PYTHON));
        threads.forget(0);
        assert_eq!(name(&threads, stays), "python");
        assert!(!threads.all.contains_key(&gone));
        assert_eq!(stays, threads.number(1, &sample(8, 0x100, SAMPLE_PYTHON)));
        assert!(threads.number(0, &sample(8, 0x100, SAMPLE_PYTHON)) > stays);
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
