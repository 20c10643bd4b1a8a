//! Who a process or thread is: names, parent, start time, number in its own namespace.

use std::{ffi::OsString, fs, io::Read, os::unix::ffi::OsStringExt, path::Path};

use crate::{Pid, ProcessError, Tid, list_threads, living_thread::find_living_thread};

/// A command line longer than this is cut: the kernel allows 2 MiB and more, and the target chooses it.
const COMMAND_LINE_LIMIT: u64 = 64 * 1024;

/// `PF_KTHREAD`, <https://github.com/torvalds/linux/blob/v6.1/include/linux/sched.h>.
const KERNEL_THREAD_FLAG: u64 = 0x0020_0000;

/// Reads the name of a process (its first thread's name): at most 15 bytes, invalid UTF-8 replaced.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn read_comm(pid: Pid) -> Result<String, ProcessError> {
    read_name(pid, &format!("/proc/{pid}/comm"))
}

/// Reads the name of one thread: at most 15 bytes, invalid UTF-8 replaced.
///
/// # Errors
///
/// As [`read_comm`]; a thread that has ended counts as [`ProcessError::NoSuchProcess`].
pub fn read_thread_comm(pid: Pid, tid: Tid) -> Result<String, ProcessError> {
    read_name(pid, &format!("/proc/{pid}/task/{tid}/comm"))
}

/// Reads the arguments of a process, the program first. Empty for kernel threads. Cut at 64 KiB.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn read_command_line(pid: Pid) -> Result<Vec<OsString>, ProcessError> {
    Ok(parse_command_line(&read_argument_text(pid)?))
}

/// Reads the arguments of a process as one text, each ended by NUL, or what the process has written over them.
/// Empty for kernel threads. Cut at 64 KiB.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn read_argument_text(pid: Pid) -> Result<Vec<u8>, ProcessError> {
    let mut text = Vec::new();
    fs::File::open(format!("/proc/{}/cmdline", find_living_thread(pid)))
        .and_then(|file| file.take(COMMAND_LINE_LIMIT).read_to_end(&mut text))
        .map_err(|source| ProcessError::from_io(pid, "command line", source))?;
    Ok(text)
}

/// Reads the number of a process's parent; `Pid(0)` when the parent is outside our PID namespace.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn read_parent(pid: Pid) -> Result<Pid, ProcessError> {
    Ok(read_stat(pid)?.parent)
}

/// Reads when a process started, in clock ticks since boot. A reused process number has another start time.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn read_start_time(pid: Pid) -> Result<u64, ProcessError> {
    Ok(read_stat(pid)?.start_time)
}

/// Reads when a process started, in nanoseconds since boot, as exactly as the kernel tells: to a hundredth of a second.
///
/// # Errors
///
/// As [`read_start_time`].
pub fn read_start_time_ns(pid: Pid) -> Result<u64, ProcessError> {
    // SAFETY: sysconf only returns a number.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let ticks_per_second = u64::try_from(ticks_per_second).unwrap_or(100).max(1);
    Ok(read_start_time(pid)?.saturating_mul(1_000_000_000 / ticks_per_second))
}

/// Reads the number a thread has in its own (innermost) PID namespace, which is what `gettid()` tells it.
///
/// # Errors
///
/// As [`read_comm`]; a thread that has ended counts as [`ProcessError::NoSuchProcess`].
pub fn read_namespaced_tid(pid: Pid, tid: Tid) -> Result<Tid, ProcessError> {
    let what = "thread status";
    let text = fs::read(format!("/proc/{pid}/task/{tid}/status"))
        .map_err(|source| ProcessError::from_io(pid, what, source))?;
    parse_namespaced_tid(&text).ok_or_else(|| ProcessError::malformed(pid, what, &text))
}

/// The process that `pid` belongs to: itself, unless the number is that of another of its threads, which `/proc` finds too.
///
/// # Errors
///
/// As [`read_comm`].
pub fn read_thread_group(pid: Pid) -> Result<Pid, ProcessError> {
    let what = "status";
    let text = fs::read(format!("/proc/{pid}/status"))
        .map_err(|source| ProcessError::from_io(pid, what, source))?;
    let line = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Tgid:"));
    line.and_then(|number| std::str::from_utf8(number).ok()?.trim().parse().ok())
        .map(Pid)
        .ok_or_else(|| ProcessError::malformed(pid, what, &text))
}

/// Whether viperf sees the kernel's own numbers of processes: outside every PID namespace but the first, whose inode is a
/// constant ([`PROC_PID_INIT_INO`]).
///
/// [`PROC_PID_INIT_INO`]: https://github.com/torvalds/linux/blob/v6.1/include/linux/proc_ns.h#L45
#[must_use]
pub fn is_in_first_pid_namespace() -> bool {
    const FIRST: &str = "pid:[4026531836]";
    // Where the link cannot be read there are no namespaces to be in.
    fs::read_link("/proc/self/ns/pid").map_or(true, |link| link.as_os_str() == FIRST)
}

/// Whether the "process" is a thread of the kernel, which has no user memory and no user stack.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn is_kernel_thread(pid: Pid) -> Result<bool, ProcessError> {
    Ok(read_stat(pid)?.flags & KERNEL_THREAD_FLAG != 0)
}

/// Whether the process has ended and only waits for its parent to collect its exit code.
pub(crate) fn has_ended(pid: Pid) -> Result<bool, ProcessError> {
    Ok(matches!(read_stat(pid)?.state, b'Z' | b'X' | b'x'))
}

/// Whether nothing of the process runs any longer. Its first thread alone can have ended, while others go on.
#[must_use]
pub fn is_gone(pid: Pid) -> bool {
    match has_ended(pid) {
        Ok(ended) => ended && list_threads(pid).map_or(true, |threads| threads.len() < 2),
        Err(ProcessError::NoSuchProcess { .. }) => true,
        Err(_) => false,
    }
}

/// Whether the process has a thread with this number.
#[must_use]
pub fn has_thread(pid: Pid, tid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/task/{tid}")).exists()
}

/// The fields of `/proc/PID/stat` that viperf uses.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: Pid,
    flags: u64,
    start_time: u64,
}

fn read_stat(pid: Pid) -> Result<Stat, ProcessError> {
    let what = "status line";
    let text = fs::read(format!("/proc/{pid}/stat"))
        .map_err(|source| ProcessError::from_io(pid, what, source))?;
    parse_stat(&text).ok_or_else(|| ProcessError::malformed(pid, what, &text))
}

/// Field numbers as in [`proc_pid_stat(5)`](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
/// The name (field 2) may itself hold spaces and brackets, so counting starts after the *last* bracket.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    const STATE: usize = 3;
    const PARENT: usize = 4;
    const FLAGS: usize = 9;
    const START_TIME: usize = 22;
    let name_end = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - STATE).copied();
    Some(Stat {
        state: *field(STATE)?.as_bytes().first()?,
        parent: Pid(field(PARENT)?.parse().ok()?),
        flags: field(FLAGS)?.parse().ok()?,
        start_time: field(START_TIME)?.parse().ok()?,
    })
}

fn parse_command_line(text: &[u8]) -> Vec<OsString> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|&byte| byte == 0)
        .map(|argument| OsString::from_vec(argument.to_vec()))
        .collect()
}

/// `NSpid:` lists the thread's number in every namespace from ours inwards; its own is the last.
fn parse_namespaced_tid(status: &[u8]) -> Option<Tid> {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"))?;
    let number = std::str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .next_back()?;
    Some(Tid(number.parse().ok()?))
}

fn read_name(pid: Pid, path: &str) -> Result<String, ProcessError> {
    let text = fs::read(path).map_err(|source| ProcessError::from_io(pid, "name", source))?;
    let name = text.strip_suffix(b"\n").unwrap_or(&text);
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn own() -> Pid {
        Pid(std::process::id())
    }

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text = b"42 (a) R 7 (b)) S 7 42 42 0 -1 2097152 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0\n";
        let expected = Stat {
            state: b'S',
            parent: Pid(7),
            flags: 2_097_152,
            start_time: 987_654,
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat(b"42 (cut) S 7"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn the_innermost_number_of_a_namespaced_thread_is_taken() {
        let status = b"Name:\tx\nNStgid:\t5\t1\nNSpid:\t31762\t88\t1\nCapEff:\t0\n";
        assert_eq!(parse_namespaced_tid(status), Some(Tid(1)));
        assert_eq!(parse_namespaced_tid(b"Name:\tx\n"), None);
    }

    #[test]
    fn empty_arguments_survive_and_no_arguments_are_none() {
        assert_eq!(parse_command_line(b"a\0\0b\0"), ["a", "", "b"]);
        assert_eq!(parse_command_line(b""), [] as [&str; 0]);
    }

    #[test]
    fn own_identity_agrees_with_the_standard_library() {
        assert_eq!(
            read_parent(own()).unwrap(),
            Pid(std::os::unix::process::parent_id())
        );
        assert_eq!(
            read_command_line(own()).unwrap(),
            std::env::args_os().collect::<Vec<_>>()
        );
        assert!(!is_kernel_thread(own()).unwrap());
        assert_eq!(
            read_namespaced_tid(own(), Tid(own().0)).unwrap(),
            Tid(own().0)
        );
    }

    #[test]
    fn a_child_is_named_and_starts_no_earlier_than_its_parent() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid(child.id());
        // The new name is there once exec is done, which the command line shows.
        while read_command_line(pid).unwrap() != ["cat"] {
            std::thread::yield_now();
        }
        assert_eq!(read_comm(pid).unwrap(), "cat");
        assert_eq!(read_thread_comm(pid, Tid(pid.0)).unwrap(), "cat");
        assert_eq!(read_parent(pid).unwrap(), own());
        assert!(read_start_time(pid).unwrap() >= read_start_time(own()).unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(matches!(
            read_comm(pid),
            Err(ProcessError::NoSuchProcess { .. })
        ));
    }

    #[test]
    fn errors_name_the_process_and_the_remedy() {
        let error = read_comm(Pid(u32::MAX)).unwrap_err();
        assert!(error.to_string().contains("no process 4294967295"));
    }

    #[test]
    fn a_process_is_gone_when_its_last_thread_is() {
        assert!(!is_gone(Pid(std::process::id())));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid(child.id());
        // Not waited for, it stays as a zombie.
        while !is_gone(pid) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert!(is_gone(pid));
    }

    #[test]
    fn a_thread_belongs_to_its_process() {
        let own = Pid(std::process::id());
        let thread = std::thread::spawn(|| fs::read_link("/proc/thread-self").unwrap())
            .join()
            .unwrap();
        let tid: u32 = thread
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(read_thread_group(own).unwrap(), own);
        assert!(
            matches!(
                read_thread_group(Pid(tid)),
                Ok(found) if found == own
            ) || matches!(
                read_thread_group(Pid(tid)),
                Err(ProcessError::NoSuchProcess { .. })
            )
        );
        assert_ne!(tid, own.0);
    }
}
