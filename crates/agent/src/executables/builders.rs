//! The threads that build unwind rows: those of tables on several, those of instructions, which can take a second, on another
//! one. Samples wait for nobody.

use std::{
    collections::VecDeque,
    fs::File,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use viperf_process::Priority;
use viperf_sample::RowSearch;

use super::rows::{FileRows, Source, build_rows};

/// Tables are built by so many threads at least, and at most: each needs the memory of one file's sections.
const FEWEST_THREADS: usize = 2;
const MOST_THREADS: usize = 4;

/// A file whose rows have been built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) number: u32,
    pub(super) source: Source,
    pub(super) rows: FileRows,
    /// How long it took.
    pub(super) took: Duration,
}

impl Built {
    /// The rule that holds at `pc` (SVMA): the kernel's search, over rows that it does not have yet.
    pub(super) fn find_rule(&self, pc: u32) -> RowSearch {
        let rows = &self.rows.rows;
        let behind = rows.partition_point(|row| row.pc <= pc);
        match behind.checked_sub(1).and_then(|index| rows.get(index)) {
            Some(row) => RowSearch::Rule(row.rule),
            None => RowSearch::Nothing,
        }
    }
}

#[derive(Debug)]
struct Job {
    number: u32,
    file: Arc<File>,
    name: String,
    source: Source,
}

impl Job {
    fn run(self) -> Built {
        let begun = Instant::now();
        Built {
            number: self.number,
            source: self.source,
            rows: build_rows(&self.file, &self.name, self.source),
            took: begun.elapsed(),
        }
    }
}

/// The threads that build rows. They end with this value, each after the file in hand.
#[derive(Debug)]
pub(super) struct Builders {
    tables: Arc<Queue>,
    instructions: Arc<Queue>,
    found: Sender<Built>,
    done: Receiver<Built>,
}

impl Default for Builders {
    fn default() -> Self {
        let (found, done) = mpsc::channel();
        Self {
            tables: Arc::default(),
            instructions: Arc::default(),
            found,
            done,
        }
    }
}

impl Drop for Builders {
    fn drop(&mut self) {
        self.tables.close();
        self.instructions.close();
    }
}

impl Builders {
    /// Has a file's rows built. `name` is the last part of its path; `is_wanted` when samples wait for them.
    pub(super) fn add(
        &mut self,
        number: u32,
        file: &Arc<File>,
        name: &str,
        source: Source,
        is_wanted: bool,
    ) {
        let job = Job {
            number,
            file: Arc::clone(file),
            name: name.to_owned(),
            source,
        };
        let (threads, queue) = match source {
            Source::Tables => (count_threads(), &self.tables),
            Source::Instructions => (1, &self.instructions),
        };
        if !queue.has_threads(threads, &self.found) {
            // Where the system gives no thread, the samples do wait.
            let _ = self.found.send(job.run());
            return;
        }
        queue.push(job, is_wanted);
    }

    /// Samples wait for the tables of a file that has been added before: it is the next one, if nobody has begun with it.
    pub(super) fn hurry(&self, number: u32) {
        let mut jobs = self.tables.lock();
        let place = jobs.others.iter().position(|job| job.number == number);
        let job = place.and_then(|place| jobs.others.remove(place));
        jobs.wanted.extend(job);
    }

    /// What is done by now.
    pub(super) fn take(&self) -> Vec<Built> {
        self.done.try_iter().collect()
    }
}

fn count_threads() -> usize {
    /// To ask is to read three files of control groups.
    static CPUS: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));
    CPUS.clamp(FEWEST_THREADS, MOST_THREADS)
}

/// What some threads have to do.
#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    /// Samples wait for them.
    wanted: VecDeque<Job>,
    others: VecDeque<Job>,
    threads: usize,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job, is_wanted: bool) {
        let mut jobs = self.lock();
        match is_wanted {
            true => jobs.wanted.push_back(job),
            false => jobs.others.push_back(job),
        }
        drop(jobs);
        self.changed.notify_one();
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Waits for the next job; `None` when there will be none.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if jobs.is_closed {
                return None;
            }
            if let Some(job) = jobs.next() {
                return Some(job);
            }
            let woken = self.changed.wait(jobs);
            jobs = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Starts the threads, if that has not been done; false when the system gives none.
    fn has_threads(self: &Arc<Self>, wanted: usize, found: &Sender<Built>) -> bool {
        let mut jobs = self.lock();
        if jobs.threads > 0 {
            return true;
        }
        for _ in 0..wanted {
            let (queue, found) = (Arc::clone(self), found.clone());
            let work = move || {
                // The thread that samples goes before others, and starts this one.
                viperf_process::set_priority(Priority::Ordinary);
                while let Some(job) = queue.next() {
                    if found.send(job.run()).is_err() {
                        return;
                    }
                }
            };
            let thread = thread::Builder::new().name("viperf-rows".to_owned());
            jobs.threads += usize::from(thread.spawn(work).is_ok());
        }
        jobs.threads > 0
    }
}

impl Jobs {
    fn next(&mut self) -> Option<Job> {
        self.wanted.pop_front().or_else(|| self.others.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u32) -> Job {
        Job {
            number,
            file: Arc::new(tempfile::tempfile().unwrap()),
            name: String::new(),
            source: Source::Tables,
        }
    }

    #[test]
    fn what_samples_wait_for_is_built_before_all_others() {
        let builders = Builders::default();
        for number in 1..=4 {
            builders.tables.push(job(number), number == 4);
        }
        builders.hurry(3);
        // Begun, or never asked for.
        builders.hurry(9);
        let mut jobs = builders.tables.lock();
        let order: Vec<u32> = std::iter::from_fn(|| jobs.next())
            .map(|job| job.number)
            .collect();
        assert_eq!(order, [4, 3, 1, 2]);
    }

    #[test]
    fn a_file_that_is_no_executable_has_no_rows() {
        let mut builders = Builders::default();
        let file = Arc::new(tempfile::tempfile().unwrap());
        builders.add(7, &file, "nothing", Source::Tables, true);
        let built = builders.done.recv().unwrap();
        assert_eq!((built.number, built.rows.rows.len()), (7, 0));
        assert!(!built.rows.can_be_more);
    }

    #[test]
    fn rows_that_wait_for_room_are_searched_as_the_kernel_searches_its_own() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let built = Job {
            file: Arc::new(file),
            ..job(1)
        }
        .run();
        let rows = &built.rows.rows;
        assert!(rows.len() > 100 && built.took > Duration::ZERO);
        let known: Vec<_> = rows
            .iter()
            .map(|row| viperf_unwind::Row {
                pc: row.pc,
                rule: viperf_unwind::Rule(row.rule),
            })
            .collect();
        let last = rows.last().unwrap().pc;
        for pc in (0..last + 4096).step_by(61) {
            let expected = match rows.first().is_some_and(|first| first.pc <= pc) {
                true => RowSearch::Rule(viperf_unwind::find_rule(&known, pc).0),
                false => RowSearch::Nothing,
            };
            assert_eq!(built.find_rule(pc), expected, "{pc:#x}");
        }
    }
}
