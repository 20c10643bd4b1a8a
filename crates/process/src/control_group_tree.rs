//! The control groups of this machine.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{Container, Pid, control_group};

/// More folders are not looked at.
const FOLDERS: usize = 64 * 1024;

/// Numbers of file systems, <https://github.com/torvalds/linux/blob/v6.1/include/uapi/linux/magic.h>.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
const CGROUP_SUPER_MAGIC: i64 = 0x0027_e0eb;

/// Where the unified hierarchy (version 2) is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside the first version's.
#[must_use]
pub fn find_control_groups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (folder, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(folder.replace("\\040", " ")))
    })
}

/// Which file system a folder is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlGroupVersion {
    /// One hierarchy for each controller.
    First,
    /// The unified hierarchy.
    Second,
}

/// The version that a folder is a control group of; `None` when it is none.
///
/// # Errors
///
/// The folder cannot be looked at.
pub fn read_control_group_version(folder: &Path) -> io::Result<Option<ControlGroupVersion>> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: a struct of numbers may be all zero.
    let mut answer: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in NUL and the answer is a struct of the kernel's size; both live until the call returns.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut answer) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match answer.f_type {
        CGROUP2_SUPER_MAGIC => Some(ControlGroupVersion::Second),
        CGROUP_SUPER_MAGIC => Some(ControlGroupVersion::First),
        _ => None,
    })
}

/// The containers of this machine whose ID, or name where they have no ID, begins with `prefix`: each with the folder of its
/// control group below `root`. Containers in containers, too.
#[must_use]
pub fn list_containers(root: &Path, prefix: &str) -> Vec<(Container, PathBuf)> {
    let mut found: Vec<(Container, PathBuf)> = Vec::new();
    for folder in folders_below(root) {
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let Some(own) = name(&folder) else { continue };
        let above = folder.parent().and_then(name);
        let in_pod = above.as_deref().is_some_and(|above| above.contains("pod"));
        let container = control_group::find_container(&own, above.as_deref(), in_pod);
        if let Some(container) = container.filter(|container| container.id.starts_with(prefix)) {
            found.push((container, folder));
        }
    }
    found.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));
    found
}

/// The processes in a control group and below it, ascending.
#[must_use]
pub fn list_control_group(folder: &Path) -> Vec<Pid> {
    let mut processes: Vec<Pid> = folders_below(folder)
        .iter()
        .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok())
        .flat_map(|text| {
            let numbers = text.lines().map(|line| line.parse().map(Pid));
            numbers.filter_map(Result::ok).collect::<Vec<_>>()
        })
        // 0 is a process of another PID namespace.
        .filter(|pid| pid.0 != 0)
        .collect();
    processes.sort_unstable();
    processes.dedup();
    processes
}

/// The folder and all below it, those above others first. Links are not followed.
fn folders_below(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned()];
    let mut next = 0;
    while let Some(folder) = folders.get(next) {
        next += 1;
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let below: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        folders.extend(below);
        if folders.len() > FOLDERS {
            folders.truncate(FOLDERS);
            break;
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Runtime;

    #[test]
    fn containers_are_found_by_the_beginning_of_their_id() {
        let root = tempfile::tempdir().unwrap();
        let id = |digit: char| format!("ab{}", digit.to_string().repeat(62));
        let docker = format!("system.slice/docker-{}.scope", id('1'));
        let pod = format!(
            "kubepods/burstable/pod6f1c2a3b-4d5e-6f70-8192-a3b4c5d6e7f8/{}",
            id('2')
        );
        for path in [
            &docker,
            &pod,
            "system.slice/ssh.service",
            "lxc/web/init.scope",
        ] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let ids = |prefix| -> Vec<String> {
            let found = list_containers(root.path(), prefix);
            found
                .into_iter()
                .map(|(container, _)| container.id)
                .collect()
        };
        assert_eq!(ids("ab"), [id('1'), id('2')]);
        assert_eq!(ids("web"), ["web"]);
        assert_eq!(ids(""), [id('1'), id('2'), "web".to_owned()]);
        assert!(ids("cd").is_empty());
        let (container, folder) = list_containers(root.path(), "ab1").remove(0);
        assert_eq!(container.runtime, Some(Runtime::Docker));
        assert_eq!(folder, root.path().join(docker));
    }

    #[test]
    fn only_control_groups_have_a_version() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_control_group_version(folder.path()).unwrap(), None);
        let gone = folder.path().join("gone");
        assert!(read_control_group_version(&gone).is_err());
        if let Some(root) = find_control_groups() {
            let version = read_control_group_version(&root).unwrap();
            assert_eq!(version, Some(ControlGroupVersion::Second));
            assert!(!list_control_group(&root).is_empty());
        }
    }
}
