//! Another process's memory, read without stopping it.

use std::{fs, io, os::unix::fs::FileExt};

use crate::{
    Pid, ProcessError, living_thread::find_living_thread, memory_reader::MemoryReader, patience,
};

/// The kernel's answers for pages of this size, whatever the mapping uses.
pub(crate) const PAGE: u64 = 4096;

/// Reads `bytes.len()` bytes at `address` (AVMA) of a process; on an error the contents of `bytes` mean nothing.
///
/// The process runs on meanwhile, so what is read can be torn; whoever needs a whole value reads it twice.
/// `process_vm_readv(2)` first; where that call is filtered out, `/proc/PID/mem`.
/// A page that is not there has to be fetched, and the process can see to it that this never ends (userfaultfd, FUSE): such a
/// read is given up after a second.
///
/// # Errors
///
/// [`ProcessError::NotMapped`] with the first unreadable address, [`ProcessError::NoSuchProcess`],
/// [`ProcessError::NotPermitted`], [`ProcessError::Io`], of the kind `TimedOut` if the memory was held back.
pub fn read_memory(pid: Pid, address: u64, bytes: &mut [u8]) -> Result<(), ProcessError> {
    MemoryReader::new(pid).read(address, bytes)
}

/// As [`read_memory`], for whoever knows whether the range [`is_present`].
pub(crate) fn read_if_it_comes(
    pid: Pid,
    address: u64,
    bytes: &mut [u8],
    is_present: bool,
) -> Result<(), ProcessError> {
    if is_present {
        return read_now(pid, address, bytes);
    }
    let length = bytes.len();
    let read = patience::read_in_time(pid, move || {
        let mut bytes = vec![0; length];
        read_now(pid, address, &mut bytes).map(|()| bytes)
    });
    let held_back = || io::Error::new(io::ErrorKind::TimedOut, "the process holds it back");
    let read = read.ok_or_else(|| ProcessError::from_io(pid, "memory", held_back()))??;
    bytes.copy_from_slice(&read);
    Ok(())
}

/// Whether every page of the range is in memory, so that reading it cannot wait: bit 63 of its entry in the process's
/// `pagemap`, <https://docs.kernel.org/admin-guide/mm/pagemap.html>.
pub(crate) fn is_present(pagemap: &fs::File, address: u64, length: usize) -> bool {
    const PRESENT: u8 = 1 << 7;
    let Some(end) = address.checked_add(length as u64) else {
        return false;
    };
    let (first, last) = (address / PAGE, end.div_ceil(PAGE));
    let mut few = [0; 8 * 8];
    let mut many = Vec::new();
    let size = (last - first) as usize * 8;
    let entries = match few.get_mut(..size) {
        Some(few) => few,
        None => {
            many.resize(size, 0);
            many.as_mut_slice()
        }
    };
    // The entries are little-endian: the last byte has the highest bits.
    pagemap.read_exact_at(entries, first * 8).is_ok()
        && entries
            .chunks_exact(8)
            .all(|entry| entry.last().is_some_and(|last| last & PRESENT != 0))
}

fn read_now(pid: Pid, address: u64, bytes: &mut [u8]) -> Result<(), ProcessError> {
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let next = address
            .checked_add(done as u64)
            .ok_or(ProcessError::NotMapped { pid, address })?;
        match read_some(pid, next, rest) {
            Ok(0) => return Err(ProcessError::NotMapped { pid, address: next }),
            Ok(count) => done += count,
            Err(error) => match error.raw_os_error() {
                Some(libc::EFAULT) => {
                    return Err(ProcessError::NotMapped { pid, address: next });
                }
                Some(libc::ESRCH) => match find_living_thread(pid) {
                    thread if thread == pid => {
                        return Err(ProcessError::from_io(pid, "memory", error));
                    }
                    thread => return read_now(thread, next, rest),
                },
                // A seccomp filter answers EPERM (containers) or ENOSYS.
                Some(libc::EPERM | libc::ENOSYS) => return read_through_file(pid, next, rest),
                _ => return Err(ProcessError::from_io(pid, "memory", error)),
            },
        }
    }
    Ok(())
}

/// One `process_vm_readv` call: the number of bytes read, which can fall short at an unreadable page.
fn read_some(pid: Pid, address: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let (Ok(number), Ok(start)) = (libc::pid_t::try_from(pid.0), usize::try_from(address)) else {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    };
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(start),
        iov_len: bytes.len(),
    };
    // SAFETY: `local` covers exactly `bytes`, which is borrowed mutably for the whole call, and the kernel writes
    // nowhere else. `remote` is an address of the other process that the kernel checks itself; both counts are 1.
    let count =
        unsafe { libc::process_vm_readv(number, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(count).map_err(|_negative| io::Error::last_os_error())
}

fn read_through_file(pid: Pid, address: u64, bytes: &mut [u8]) -> Result<(), ProcessError> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(libc::EIO | libc::EFAULT) => ProcessError::NotMapped { pid, address },
        _ => ProcessError::from_io(pid, "memory", source),
    };
    let file = fs::File::open(format!("/proc/{pid}/mem")).map_err(failed)?;
    match file.read_exact_at(bytes, address) {
        // The kernel answers "end of file" for a process whose memory is already gone.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(ProcessError::NotMapped { pid, address })
        }
        other => other.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::read_mappings;

    /// Puts a page that nobody delivers into the midst of its own command line, and says where.
    const HOLDS_A_PAGE_BACK: &str = r"
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
PAGE = 4096
stat = open('/proc/self/stat').read()
start = int(stat.rsplit(')', 1)[1].split()[45])
fault = libc.syscall(323, 0)
api = ctypes.create_string_buffer(struct.pack('QQQ', 0xAA, 0, 0))
if fault < 0 or libc.ioctl(fault, 0xC018AA3F, api):
    sys.exit('no userfaultfd')
address = libc.mmap((start + PAGE - 1) & -PAGE, PAGE, 3, 0x32, -1, 0)
register = ctypes.create_string_buffer(struct.pack('QQQQ', address, PAGE, 1, 0))
if libc.ioctl(fault, 0xC020AA00, register):
    sys.exit('no userfaultfd')
print(address, id(libc), flush=True)
sys.stdin.read()
";

    /// The process, its page that never comes, and an address that can be read; none where that is not permitted.
    fn hold_a_page_back() -> Option<(Child, u64, u64)> {
        let mut child = Command::new("python3")
            .args(["-c", HOLDS_A_PAGE_BACK, &"x".repeat(3 * PAGE as usize)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        let facts: Vec<u64> = line
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        let [address, present] = facts[..] else {
            child.wait().unwrap();
            return None;
        };
        Some((child, address, present))
    }

    fn is_held_back<T>(result: &Result<T, ProcessError>) -> bool {
        matches!(result, Err(ProcessError::Io { source, .. }) if source.kind() == io::ErrorKind::TimedOut)
    }

    #[test]
    fn a_page_that_never_comes_holds_nobody_up() {
        let Some((mut child, address, present)) = hold_a_page_back() else {
            return println!("skipped: a page that never comes: no userfaultfd here");
        };
        let pid = Pid(child.id());
        let mut bytes = [0; 16];
        assert!(is_held_back(&read_memory(pid, address + 8, &mut bytes)));
        // The second one is refused at once, and what is there can be read all the same.
        assert!(is_held_back(&read_memory(pid, address, &mut bytes)));
        read_memory(pid, present, &mut bytes).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // The reader that was left behind ends with the process.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while is_held_back(&read_memory(pid, address, &mut bytes)) {
            assert!(std::time::Instant::now() < end);
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_command_line_that_never_comes_holds_nobody_up() {
        let Some((mut child, _, _)) = hold_a_page_back() else {
            return println!("skipped: a command line that never comes: no userfaultfd here");
        };
        // The kernel itself does not wait (get_mm_cmdline of fs/proc/base.c): what comes before the page is told.
        let words = crate::read_command_line(Pid(child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let length: usize = words.iter().map(|word| word.len()).sum();
        assert!(length < 2 * PAGE as usize, "{length}");
    }

    fn own() -> Pid {
        Pid(std::process::id())
    }

    #[test]
    fn own_memory_reads_back_both_ways() {
        let expected: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let address = expected.as_ptr() as u64;
        let mut bytes = vec![0; expected.len()];
        read_memory(own(), address, &mut bytes).unwrap();
        assert_eq!(bytes, expected);
        bytes.fill(0);
        read_through_file(own(), address, &mut bytes).unwrap();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_read_across_the_end_of_a_mapping_names_the_first_unreadable_address() {
        // A child that waits for input maps nothing new meanwhile, as the other tests' threads here could.
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid(child.id());
        while crate::read_command_line(pid).unwrap() != ["cat"] {
            std::thread::yield_now();
        }
        let stack_end = loop {
            let mappings = read_mappings(pid).unwrap();
            let stack = mappings
                .iter()
                .find(|mapping| mapping.path.as_os_str() == "[stack]");
            match stack {
                Some(stack) => break stack.end,
                None => std::thread::yield_now(),
            }
        };
        let mut bytes = [0; 64];
        let result = read_memory(pid, stack_end - 16, &mut bytes);
        drop(child.stdin.take());
        child.wait().unwrap();
        match result {
            Err(ProcessError::NotMapped { address, .. }) => assert_eq!(address, stack_end),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_that_wrap_or_are_null_are_not_mapped() {
        for address in [0, u64::MAX - 3, 1 << 63] {
            assert!(matches!(
                read_memory(own(), address, &mut [0; 16]),
                Err(ProcessError::NotMapped { .. })
            ));
        }
    }

    #[test]
    fn a_child_is_read_while_it_lives_and_gone_afterwards() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid(child.id());
        let magic = |pid| {
            let start = read_mappings(pid)?
                .first()
                .map_or(0, |mapping| mapping.start);
            let mut bytes = [0; 4];
            read_memory(pid, start, &mut bytes).map(|()| bytes)
        };
        // `spawn` returns in the middle of exec, when there is only a stack yet.
        while !magic(pid).is_ok_and(|bytes| &bytes == b"\x7fELF") {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        let error = read_memory(pid, 0x1000, &mut [0; 4]).unwrap_err();
        assert!(
            matches!(error, ProcessError::NoSuchProcess { .. }),
            "{error:?}"
        );
    }
}
