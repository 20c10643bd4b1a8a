//! A process whose first thread has ended while others go on: it is as alive as before, but its number leads to nothing.

use std::path::PathBuf;

use crate::{Pid, identity::has_ended, process_list::list_threads};

/// The thread by whose number the memory, the mappings and the files of a process are to be had: its first, or another one
/// where that has ended (`pthread_exit` in `main`). The kernel has let go of what was the first one's alone, and takes the
/// process's number for that thread's.
pub(crate) fn find_living_thread(pid: Pid) -> Pid {
    if !has_ended(pid).unwrap_or(false) {
        return pid;
    }
    let threads = list_threads(pid).unwrap_or_default().into_iter();
    let mut others = threads.map(|tid| Pid(tid.0)).filter(|tid| *tid != pid);
    others
        .find(|tid| matches!(has_ended(*tid), Ok(false)))
        .unwrap_or(pid)
}

/// The way to the root folder that process `pid` sees; nothing is there once its last thread has ended.
#[must_use]
pub fn root_folder(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", find_living_thread(pid)))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        path::Path,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::{
        ProcessError, is_gone, memory::is_present, memory_reader::open_pagemap, open_mapped_file,
        read_argument_text, read_file_of, read_mappings, read_memory,
    };

    /// Says where eight bytes are, ends its first thread, and goes on until its input ends.
    const WITHOUT_FIRST_THREAD: &str = r"
import ctypes, sys, threading
kept = ctypes.create_string_buffer(b'eight by')
def work():
    print(ctypes.addressof(kept), flush=True)
    sys.stdin.read()
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)
";

    #[test]
    fn a_process_without_its_first_thread_is_read_like_any_other() {
        let mut child = Command::new("python3")
            .args(["-c", WITHOUT_FIRST_THREAD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid(child.id());
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        while !has_ended(pid).unwrap() {
            std::thread::yield_now();
        }
        assert!(!is_gone(pid));
        let mut bytes = [0; 8];
        read_memory(pid, address, &mut bytes).unwrap();
        assert_eq!(&bytes, b"eight by");
        let pagemap = open_pagemap(pid).unwrap();
        assert!(is_present(&pagemap, address, 8));
        let mappings = read_mappings(pid).unwrap();
        let code = mappings
            .iter()
            .find(|mapping| mapping.executable && mapping.path.is_absolute())
            .unwrap();
        open_mapped_file(pid, code).unwrap();
        let arguments = read_argument_text(pid).unwrap();
        assert!(String::from_utf8_lossy(&arguments).contains("pthread_exit"));
        assert!(read_file_of(pid, Path::new("/proc/version"), 1 << 20).is_some());
        // Its input ends, and with that its last thread.
        drop(child.stdin.take());
        while !is_gone(pid) {
            std::thread::yield_now();
        }
        let gone = read_mappings(pid);
        assert!(matches!(gone, Err(ProcessError::NoSuchProcess { .. })));
        child.wait().unwrap();
    }
}
