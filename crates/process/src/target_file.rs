//! Files as a process sees them, through its own root.

use std::{
    fs::{self, File},
    io::Read,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{Pid, living_thread::find_living_thread, mapped_file::open_named, read_start_time};

/// Reads a regular file of at most `limit` bytes by the name that the process has for it, and when it was changed last.
///
/// A name without a root is taken from the process's folder. Symbolic links are followed within the process's root, never
/// out of it: a container cannot show a file of the machine. `None` when there is no such file, when it is none that can be
/// read without waiting, or a larger one.
#[must_use]
pub fn read_file_of(pid: Pid, path: &Path, limit: u64) -> Option<(Vec<u8>, SystemTime)> {
    let pid = find_living_thread(pid);
    let folder = match path.is_absolute() {
        true => None,
        false => Some(fs::read_link(format!("/proc/{pid}/cwd")).ok()?),
    };
    let path = folder.map_or_else(|| path.to_owned(), |folder| folder.join(path));
    let root = File::open(format!("/proc/{pid}/root")).ok()?;
    let found = open_within(&root, &path)?;
    let metadata = found.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > limit {
        return None;
    }
    // The first descriptor only names the file; this one opens that very file.
    let file = open_named(&found).ok()?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some((bytes, metadata.modified().ok()?))
}

/// `openat2(2)` with `RESOLVE_IN_ROOT` (Linux 5.6): a descriptor that names the file and opens nothing.
fn open_within(root: &File, path: &Path) -> Option<File> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: all fields are integers, for which zeros are a value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::try_from(libc::O_PATH | libc::O_CLOEXEC).ok()?;
    how.resolve = libc::RESOLVE_IN_ROOT;
    // SAFETY: the name ends with a NUL and lives across the call, as does `how`, whose size is given.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            name.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    let descriptor = i32::try_from(descriptor)
        .ok()
        .filter(|number| *number >= 0)?;
    // SAFETY: the descriptor is new and ours.
    Some(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// When a process started, by the clock of files; `None` when it is gone.
#[must_use]
pub fn read_start_instant(pid: Pid) -> Option<SystemTime> {
    // SAFETY: takes a number and gives one.
    let ticks_per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    let ticks = read_start_time(pid).ok()?;
    let since_boot = Duration::from_millis(ticks.checked_mul(1000)?.checked_div(ticks_per_second)?);
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel fills the struct, which lives across the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) } != 0 {
        return None;
    }
    let now = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    SystemTime::now().checked_sub(now.checked_sub(since_boot)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Pid {
        Pid(std::process::id())
    }

    #[test]
    fn a_file_is_read_by_its_own_name_and_by_a_link_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.py");
        fs::write(&file, "x = 1\n").unwrap();
        let link = folder.path().join("link.py");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            let (bytes, changed) = read_file_of(own(), path, 100).unwrap();
            assert_eq!(bytes, b"x = 1\n");
            assert!(changed <= SystemTime::now());
        }
        assert!(read_file_of(own(), &file, 3).is_none(), "too large");
    }

    #[test]
    fn what_is_no_regular_file_is_never_opened() {
        for path in ["/dev/zero", "/proc", "/no/such/file", "/a\0b"] {
            assert!(
                read_file_of(own(), Path::new(path), 100).is_none(),
                "{path}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: the name ends with a NUL and lives across the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(read_file_of(own(), &pipe, 100).is_none());
    }

    #[test]
    fn this_process_has_started_before_now_and_not_long_ago() {
        let started = read_start_instant(own()).unwrap();
        let age = SystemTime::now().duration_since(started).unwrap();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }
}
