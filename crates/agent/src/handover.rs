//! What the thread that polls the ring hands to the one that makes a profile of it.
//!
//! The first must never wait for the second: what it has is put into one place, under a lock that is held for as long as it
//! takes to put two lists together, and the second takes all that is there. Records of samples are what there can be too
//! many of while the second is held up (a slow disk, a pipe that nobody reads): they have a share of the
//! memory ([`MemoryShares`](crate::MemoryShares)), and those beyond it are counted as lost.

use std::{
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use crate::{
    Progress, code_objects::PythonFunction, generated_code::GeneratedNames, named_file::NamedFile,
    processes::ProcessDescription, recording::RawSample, stacks::RawStack, statistics::Costs,
    threads::ThreadDescription,
};

/// What is new since it was last handed over. What a row names is in the same news or in earlier ones.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// By their numbers.
    pub(crate) files: Vec<(u32, NamedFile)>,
    /// In the order of their numbers.
    pub(crate) functions: Vec<PythonFunction>,
    /// Functions that no process has any more. All stacks with frames of them are in the same news or in earlier ones.
    pub(crate) gone_functions: Vec<u32>,
    /// In the order of their numbers.
    pub(crate) stacks: Vec<RawStack>,
    /// By their numbers; again when something about them has changed.
    pub(crate) processes: Vec<(u32, ProcessDescription)>,
    /// By their numbers; again when something about them has changed.
    pub(crate) threads: Vec<(u32, ThreadDescription)>,
    /// Nearly in the order of time.
    pub(crate) samples: Vec<RawSample>,
    pub(crate) arrivals: Vec<Arrival>,
    /// Processes that are gone, by their numbers. All of their samples are in the same news or in earlier ones.
    pub(crate) ended: Vec<Ended>,
    /// Files that are gone. All samples with frames in them are in the same news or in earlier ones.
    pub(crate) gone_files: Vec<GoneFile>,
}

/// When samples came, and how late the latest of them was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) latest_ns: u64,
}

/// A process of which nothing is still to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) at: Instant,
    /// Number of its description.
    pub(crate) process: u32,
}

/// A file that no process has mapped any more and that is not held any longer: nothing is still to come of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoneFile {
    pub(crate) at: Instant,
    /// Number of the executable.
    pub(crate) number: u32,
}

impl News {
    fn append(&mut self, mut later: Self) {
        self.files.append(&mut later.files);
        self.functions.append(&mut later.functions);
        self.gone_functions.append(&mut later.gone_functions);
        self.stacks.append(&mut later.stacks);
        self.processes.append(&mut later.processes);
        self.threads.append(&mut later.threads);
        self.samples.append(&mut later.samples);
        self.arrivals.append(&mut later.arrivals);
        self.ended.append(&mut later.ended);
        self.gone_files.append(&mut later.gone_files);
    }
}

/// Everything there is to take.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) news: News,
    /// The newest, with the notes of all.
    pub(crate) progress: Option<Progress>,
    /// The newest.
    pub(crate) costs: Option<Costs>,
    /// Nothing comes any more.
    pub(crate) has_ended: bool,
}

/// The place where both threads meet.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    contents: Mutex<Contents>,
    arrived: Condvar,
    is_abandoned: AtomicBool,
    /// When sampling began.
    pub(crate) started: OnceLock<SystemTime>,
    /// Read by the one thread while processes live, asked by the other.
    pub(crate) generated: Arc<GeneratedNames>,
}

impl Handover {
    /// Samples are taken from now on.
    pub(crate) fn sampling_begins(&self) {
        self.started.get_or_init(SystemTime::now);
    }

    /// Adds news; how many samples wait now.
    pub(crate) fn put_news(&self, news: News) -> usize {
        let mut contents = self.lock();
        contents.news.append(news);
        contents.news.samples.len()
    }

    /// Says how it stands.
    pub(crate) fn put_progress(&self, mut progress: Progress, costs: Option<Costs>) {
        let mut contents = self.lock();
        if let Some(earlier) = contents.progress.take() {
            let newer = mem::replace(&mut progress.notes, earlier.notes);
            progress.notes.extend(newer);
        }
        contents.progress = Some(progress);
        contents.costs = costs.or(contents.costs.take());
        self.arrived.notify_one();
    }

    /// Nothing comes any more.
    pub(crate) fn end(&self) {
        self.lock().has_ended = true;
        self.arrived.notify_one();
    }

    /// Takes what there is, once there is progress, the end has come, or the time is over.
    pub(crate) fn take(&self, until: Option<Instant>) -> Contents {
        let mut contents = self.lock();
        while contents.progress.is_none() && !contents.has_ended {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            contents = match left {
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    let waited = self.arrived.wait_timeout(contents, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.arrived.wait(contents);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        let has_ended = contents.has_ended;
        Contents {
            has_ended,
            ..mem::replace(
                &mut *contents,
                Contents {
                    has_ended,
                    ..Contents::default()
                },
            )
        }
    }

    /// What there is to say, without the news.
    pub(crate) fn take_progress(&self) -> Option<Progress> {
        self.lock().progress.take()
    }

    /// Nobody takes anything any more.
    pub(crate) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether nobody takes anything any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
    }

    /// A thread that panics while it holds the lock has moved lists at most: they are whole.
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn note(text: &str) -> Progress {
        Progress {
            notes: vec![text.to_owned()],
            ..Progress::starting()
        }
    }

    #[test]
    fn no_note_is_lost_and_none_comes_twice() {
        let handover = Handover::default();
        handover.put_progress(note("a"), None);
        handover.put_progress(note("b"), None);
        let taken = handover.take(None).progress.unwrap();
        assert_eq!(taken.notes, ["a", "b"]);
        let now = Instant::now();
        assert!(handover.take(Some(now)).progress.is_none());
    }

    #[test]
    fn what_came_before_the_end_is_there_with_it_and_the_end_stays() {
        let handover = Handover::default();
        let sample = RawSample {
            time_ns: 1,
            cpu: 0,
            thread: 0,
            stack: crate::stacks::StackNumber(0),
            weight_ns: 1,
        };
        for _ in 0..2 {
            handover.put_news(News {
                samples: vec![sample; 3],
                ..News::default()
            });
        }
        handover.end();
        let taken = handover.take(None);
        assert!(taken.has_ended);
        assert_eq!(taken.news.samples.len(), 6);
        let again = handover.take(None);
        assert!(again.has_ended && again.news.samples.is_empty());
    }

    #[test]
    fn waiting_ends_when_something_is_said() {
        let handover = Handover::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| handover.take(None));
            std::thread::sleep(Duration::from_millis(20));
            handover.put_news(News::default());
            handover.put_progress(note("a"), None);
            assert!(waiting.join().unwrap().progress.is_some());
        });
    }
}
