//! Another process's memory, read without stopping it.

use std::{fs, io, os::unix::fs::FileExt};

use crate::{Pid, ProcessError};

/// Reads `bytes.len()` bytes at `address` (AVMA) of a process; on an error the contents of `bytes` mean nothing.
///
/// The process runs on meanwhile, so what is read can be torn; whoever needs a whole value reads it twice.
/// `process_vm_readv(2)` first; where that call is filtered out, `/proc/PID/mem`.
///
/// # Errors
///
/// [`ProcessError::NotMapped`] with the first unreadable address, [`ProcessError::NoSuchProcess`],
/// [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn read_memory(pid: Pid, address: u64, bytes: &mut [u8]) -> Result<(), ProcessError> {
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
    use std::process::{Command, Stdio};

    use super::*;
    use crate::read_mappings;

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
