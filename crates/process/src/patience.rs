//! Reading what the process itself can hold back: a page that a userfaultfd or a FUSE file system is to deliver comes when the
//! process likes, and whoever touches it waits in the kernel, where no signal but the deadly one reaches.
//!
//! So a read that may wait is done by a thread that is left behind when its time is over. It ends with the process, or with
//! viperf.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::Pid;

/// Longer than a page from a busy disk takes.
const LIMIT: Duration = Duration::from_secs(1);
/// As many threads may be left behind; then nothing that may wait is read of anybody.
const MOST_LEFT_BEHIND: usize = 16;

/// A read copies into what it has allocated.
const STACK: usize = 128 << 10;

/// Reads that are waited for no longer, by process and number.
static WAITING: Mutex<Option<HashSet<(u32, u64)>>> = Mutex::new(None);

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// What `read` gives, or `None`: it did not come in time, or another read of this process is still waiting.
pub(crate) fn read_in_time<T: Send + 'static>(
    pid: Pid,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    read_within(LIMIT, pid, read)
}

fn read_within<T: Send + 'static>(
    limit: Duration,
    pid: Pid,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if is_held_back(pid) {
        return None;
    }
    let read_itself = (pid.0, NEXT_NUMBER.fetch_add(1, Ordering::Relaxed));
    let (sender, receiver) = mpsc::channel();
    let reader = thread::Builder::new()
        .name("reader".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            // Perhaps nobody listens any longer.
            let _ = sender.send(read());
            if let Some(waiting) = waiting().as_mut() {
                waiting.remove(&read_itself);
            }
        });
    reader.ok()?;
    if let Ok(value) = receiver.recv_timeout(limit) {
        return Some(value);
    }
    let mut waiting = waiting();
    let waiting = waiting.get_or_insert_default();
    waiting.insert(read_itself);
    // It may have come since; if it comes later, the reader takes it off the list once we have let go of that.
    let late = receiver.try_recv().ok();
    if late.is_some() {
        waiting.remove(&read_itself);
    }
    late
}

fn is_held_back(pid: Pid) -> bool {
    waiting().as_ref().is_some_and(|reads| {
        reads.len() >= MOST_LEFT_BEHIND || reads.iter().any(|read| read.0 == pid.0)
    })
}

fn waiting() -> MutexGuard<'static, Option<HashSet<(u32, u64)>>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Numbers that no process has, for `pid_max` is below.
    const NOBODY: u32 = 1 << 30;

    #[test]
    fn what_comes_in_time_is_given() {
        assert_eq!(read_in_time(Pid(NOBODY), || 7), Some(7));
        assert!(!is_held_back(Pid(NOBODY)));
    }

    #[test]
    fn who_lets_viperf_wait_is_not_asked_again_until_the_answer_has_come() {
        let pid = Pid(NOBODY + 1);
        let (release, wait) = mpsc::channel::<()>();
        let start = Instant::now();
        let read = read_within(Duration::from_millis(20), pid, move || wait.recv().is_ok());
        assert_eq!(read, None);
        assert!(is_held_back(pid));
        assert_eq!(read_in_time(pid, || 7), None);
        assert_eq!(read_in_time(Pid(NOBODY + 2), || 7), Some(7));
        assert!(start.elapsed() < Duration::from_secs(30));
        release.send(()).unwrap();
        while is_held_back(pid) {
            thread::yield_now();
        }
        assert_eq!(read_in_time(pid, || 7), Some(7));
    }
}
