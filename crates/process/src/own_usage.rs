//! What the calling process itself costs, and may.

use std::{fs, os::fd::RawFd, time::Duration};

/// CPU time and memory of the calling process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnUsage {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Largest resident memory, in bytes; not that of the program that started it.
    pub peak_rss_bytes: u64,
}

/// Reads the usage of the calling process.
#[must_use]
pub fn read_own_usage() -> OwnUsage {
    // SAFETY: rusage is a struct of integers, for which zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the struct, which lives across the call.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let duration = |time: libc::timeval| {
        Duration::new(
            time.tv_sec.unsigned_abs(),
            (time.tv_usec.unsigned_abs() as u32) * 1000,
        )
    };
    OwnUsage {
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        // An exec hands ru_maxrss on to the new program:
        // <https://github.com/torvalds/linux/blob/v6.12/fs/exec.c#L1008-L1012>. It is in KiB (getrusage(2)).
        peak_rss_bytes: read_peak_of_memory().unwrap_or(usage.ru_maxrss.unsigned_abs() * 1024),
    }
}

/// The most that the memory of the calling process, which an exec makes anew, has had resident, in bytes.
fn read_peak_of_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// Memory that the kernel accounts to the BPF map behind a descriptor of the calling process, in bytes
/// (`memlock` in its fdinfo); 0 when it is not a map.
#[must_use]
pub fn read_map_memory(descriptor: RawFd) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
        .unwrap_or(0)
}

/// Lets the calling process have as many open files as its hard limit allows; each profiled executable is kept open.
/// Where that is not permitted, the limit stays as it is.
pub fn raise_open_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel fills the struct, which lives across the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads the struct, which lives across the call.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// Has memory that the calling process no longer needs given back to the machine, from now on; for a process that runs for
/// long, before it starts threads.
///
/// The C library's allocator keeps what was freed: after a large block has been freed, others of that size (up to 32 MiB)
/// come from the thread's own pool, between small blocks that stay. Of a hundred libraries whose tables are read one after
/// the other hundreds of megabytes would be kept so.
pub fn give_freed_memory_back() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 256 << 10;
        const UNUSED_AT_THE_END: libc::c_int = 1 << 20;
        // SAFETY: mallopt takes two integers and changes only how later blocks are allocated; it locks what it changes.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, UNUSED_AT_THE_END);
        }
    }
}

/// How the calling thread stands beside the others of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Before ordinary threads: what it does is short, and comes too late if it has to wait for them (`nice -10`).
    First,
    /// As an ordinary one.
    Ordinary,
}

/// Changes the priority of the calling thread and of those that it starts; where that is not permitted (`CAP_SYS_NICE`), it
/// stays as it is. A thread that has been given another `nice` value than the ordinary 0 keeps that.
pub fn set_priority(priority: Priority) {
    let (from, to) = match priority {
        Priority::First => (0, FIRST),
        Priority::Ordinary => (FIRST, 0),
    };
    // SAFETY: both calls take and give integers. 0 is the calling thread, not the whole process:
    // <https://github.com/torvalds/linux/blob/v6.12/kernel/sys.c#L216-L286>.
    unsafe {
        if libc::getpriority(libc::PRIO_PROCESS, 0) == from {
            libc::setpriority(libc::PRIO_PROCESS, 0, to);
        }
    }
}

const FIRST: libc::c_int = -10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_and_memory_is_used() {
        let before = read_own_usage();
        let mut sum = 0_u64;
        while read_own_usage().cpu < before.cpu + Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(read_own_usage().peak_rss_bytes > 100_000);
    }

    #[test]
    fn memory_of_the_program_that_started_it_is_not_its_own() {
        const LARGE: usize = 256 << 20;
        const IS_CHILD: &str = "VIPERF_TEST_PRINTS_ITS_PEAK";
        if std::env::var_os(IS_CHILD).is_some() {
            return println!("peak {}.", read_own_usage().peak_rss_bytes);
        }
        let large = std::hint::black_box(vec![1_u8; LARGE]);
        let own = std::env::current_exe().unwrap();
        let name = "own_usage::tests::memory_of_the_program_that_started_it_is_not_its_own";
        let child = std::process::Command::new(own)
            .args([name, "--exact", "--nocapture"])
            .env(IS_CHILD, "1")
            .output()
            .unwrap();
        drop(std::hint::black_box(large));
        let text = String::from_utf8(child.stdout).unwrap();
        let (_, rest) = text.split_once("peak ").unwrap();
        let peak: usize = rest.split_once('.').unwrap().0.parse().unwrap();
        assert!(peak < LARGE / 2, "{peak}");
        assert!(read_own_usage().peak_rss_bytes >= LARGE as u64);
    }

    #[test]
    fn what_is_no_map_takes_no_map_memory() {
        assert_eq!(read_map_memory(0), 0);
        assert_eq!(read_map_memory(-1), 0);
    }

    #[test]
    fn one_thread_goes_first_and_what_it_starts_can_be_ordinary() {
        let nice = |tid: &str| -> i64 {
            let stat = fs::read_to_string(format!("/proc/{tid}/stat")).unwrap();
            let mut fields = stat.rsplit(')').next().unwrap().split_whitespace();
            fields.nth(16).unwrap().parse().unwrap()
        };
        let own = nice("self");
        let first = std::thread::spawn(move || {
            set_priority(Priority::First);
            let first = nice("thread-self");
            let started = std::thread::spawn(move || {
                set_priority(Priority::Ordinary);
                nice("thread-self")
            });
            (first, started.join().unwrap())
        });
        let (first, ordinary) = first.join().unwrap();
        assert_eq!(nice("self"), own);
        if own != 0 || first == 0 {
            return println!("skipped: priorities: not permitted here");
        }
        assert_eq!((first, ordinary), (-10, 0));
    }
}
