//! Which processes and threads there are.

use std::{collections::BTreeMap, fs};

use crate::{Pid, ProcessError, Tid, identity};

/// Lists the processes of our PID namespace, ascending. Empty if `/proc` is not mounted.
#[must_use]
pub fn list_processes() -> Vec<Pid> {
    let mut processes: Vec<Pid> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| parse_number(&entry.ok()?).map(Pid))
        .collect();
    processes.sort_unstable();
    processes
}

/// Lists the threads of a process, ascending.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn list_threads(pid: Pid) -> Result<Vec<Tid>, ProcessError> {
    let mut threads: Vec<Tid> = fs::read_dir(format!("/proc/{pid}/task"))
        .map_err(|source| ProcessError::from_io(pid, "threads", source))?
        .filter_map(|entry| parse_number(&entry.ok()?).map(Tid))
        .collect();
    threads.sort_unstable();
    Ok(threads)
}

/// Lists the direct children of a process, ascending. Empty if it has none or is gone.
///
/// One pass over all processes: `/proc/PID/task/TID/children` depends on a kernel option.
#[must_use]
pub fn list_children(pid: Pid) -> Vec<Pid> {
    children_by_parent().remove(&pid).unwrap_or_default()
}

/// Lists the children of a process, their children, and so on, parents before their children, without `pid` itself.
///
/// One pass over all processes, so a child that is started meanwhile can be missed.
#[must_use]
pub fn descendants(pid: Pid) -> Vec<Pid> {
    let mut children = children_by_parent();
    let mut found = children.remove(&pid).unwrap_or_default();
    let mut next = 0;
    // Taking each list out of the table ends this even if reused numbers made a ring of parents.
    while let Some(parent) = found.get(next) {
        found.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    found
}

/// Every process under its parent's number; processes that end meanwhile are left out.
fn children_by_parent() -> BTreeMap<Pid, Vec<Pid>> {
    let mut children: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
    for pid in list_processes() {
        if let Ok(parent) = identity::read_parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

fn parse_number(entry: &fs::DirEntry) -> Option<u32> {
    entry.file_name().to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn own() -> Pid {
        Pid(std::process::id())
    }

    #[test]
    fn this_process_and_this_thread_are_listed() {
        assert!(list_processes().contains(&own()));
        let before = list_threads(own()).unwrap();
        assert!(before.contains(&Tid(own().0)));
        let (ready, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let count = list_threads(own()).unwrap().len();
            drop(wait);
            count
        });
        assert!(thread.join().unwrap() >= 2);
        drop(ready);
    }

    #[test]
    fn threads_of_a_process_that_is_gone_are_an_error() {
        assert!(matches!(
            list_threads(Pid(u32::MAX)),
            Err(ProcessError::NoSuchProcess { .. })
        ));
    }

    #[test]
    fn children_and_their_children_are_found() {
        // The shell stays the parent of `cat` because a command follows it.
        let mut shell = Command::new("sh")
            .args(["-c", "cat; exit 0"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid(shell.id());
        let grandchild = loop {
            match list_children(pid).first() {
                Some(&grandchild) => break grandchild,
                None => std::thread::yield_now(),
            }
        };
        assert!(list_children(own()).contains(&pid));
        assert!(!list_children(own()).contains(&grandchild));
        let all = descendants(own());
        let position = |wanted| all.iter().position(|&pid| pid == wanted).unwrap();
        assert!(position(pid) < position(grandchild));
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(list_children(pid), []);
    }
}
