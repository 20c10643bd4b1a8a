//! The very file a process maps, also when its path has been deleted or replaced since.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{Mapping, Pid, ProcessError, living_thread::find_living_thread};

/// Opens the file behind a mapping for reading.
///
/// `/proc/PID/map_files/START-END` comes first: it is the mapped file itself, whatever became of its path.
/// Without the privilege for it, the path is tried inside the target's root and then as it stands (the kernel
/// shows a chroot's files from outside); both count only if device and inode number are those of the mapping.
/// Only regular files are opened: opening a device or a FIFO can have effects of its own.
///
/// # Errors
///
/// [`ProcessError::FileReplaced`] if only another file is to be had, [`ProcessError::NoSuchProcess`],
/// [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn open_mapped_file(pid: Pid, mapping: &Mapping) -> Result<File, ProcessError> {
    let pid = find_living_thread(pid);
    let itself = format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        mapping.start, mapping.end
    );
    if let Some(file) = open_regular(Path::new(&itself), |_| true)
        .map_err(|source| ProcessError::from_io(pid, "mapped file", source))?
    {
        return Ok(file);
    }
    for path in paths_by_name(pid, mapping) {
        let found = open_regular(&path, |metadata| is_mapped_file(metadata, mapping))
            .map_err(|source| ProcessError::from_io(pid, "mapped file", source))?;
        if let Some(file) = found {
            return Ok(file);
        }
    }
    // Which of the reasons it was decides what the user is told.
    match fs::metadata(format!("/proc/{pid}/root/")) {
        Err(source) => Err(ProcessError::from_io(pid, "mapped file", source)),
        Ok(_) => Err(ProcessError::FileReplaced {
            pid,
            path: mapping.path.clone(),
        }),
    }
}

/// Opens the file behind a mapping that was made so long ago by a process that is gone; `None` if it is not to be had.
///
/// Nothing of the process is left to be asked, so its path is tried as viperf itself sees it, and counts only if device and
/// inode number are those of the mapping. A number can have a new owner: so the file must not have changed since
/// (`st_ctime`, which nobody sets at will).
#[must_use]
pub fn open_file_of_departed(mapping: &Mapping, age: Duration) -> Option<File> {
    if mapping.deleted || !mapping.path.is_absolute() {
        return None;
    }
    open_regular(&mapping.path, |metadata| {
        is_mapped_file(metadata, mapping) && is_unchanged(metadata, age)
    })
    .ok()?
}

/// Whether an open file has not changed for so long: the owner that its inode's number had then is this file.
#[must_use]
pub fn is_unchanged_for(file: &File, age: Duration) -> bool {
    file.metadata()
        .is_ok_and(|metadata| is_unchanged(&metadata, age))
}

fn is_unchanged(metadata: &fs::Metadata, age: Duration) -> bool {
    let then = SystemTime::now().checked_sub(age + CHANGE_TIME_LAG);
    let then = then.and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(u64::MAX);
    let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or(u32::MAX);
    then.is_some_and(|then| (seconds, nanoseconds) < (then.as_secs(), then.subsec_nanos()))
}

/// Times of changes are those of the last tick of the kernel's clock, which ticks a hundred times a second at least.
const CHANGE_TIME_LAG: Duration = Duration::from_millis(20);

fn paths_by_name(pid: Pid, mapping: &Mapping) -> Vec<PathBuf> {
    match mapping.path.strip_prefix("/") {
        Ok(relative) if !mapping.deleted => vec![
            Path::new(&format!("/proc/{pid}/root")).join(relative),
            mapping.path.clone(),
        ],
        _ => Vec::new(),
    }
}

fn is_mapped_file(metadata: &fs::Metadata, mapping: &Mapping) -> bool {
    let device = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
    device == mapping.device && metadata.ino() == mapping.inode
}

/// Opens a path if it is a regular file that `accept` takes; `None` if not, or if it is not to be had.
///
/// The file is looked at through an `O_PATH` descriptor, which opens nothing, and then opened through that
/// descriptor, so that no other file can take its place in between.
fn open_regular(path: &Path, accept: impl Fn(&fs::Metadata) -> bool) -> io::Result<Option<File>> {
    let handle = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path);
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) if is_out_of_descriptors(&error) => return Err(error),
        Err(_gone_or_refused) => return Ok(None),
    };
    let metadata = handle.metadata()?;
    if !metadata.is_file() || !accept(&metadata) {
        return Ok(None);
    }
    match open_named(&handle) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_out_of_descriptors(&error) => Err(error),
        Err(_gone_or_refused) => Ok(None),
    }
}

/// Opens for reading the regular file that an `O_PATH` descriptor names.
///
/// Whoever holds a lease on the file makes others wait for 45 seconds, except those that ask not to wait (fcntl(2)).
pub(crate) fn open_named(handle: &File) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// Our own limit, not a fact about the target.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        process::{Child, Command, Stdio},
    };

    use super::*;
    use crate::{MappingKind, read_mappings};

    /// A copy of `cat` in a folder of its own, running and waiting for its input.
    fn start_copy(folder: &Path) -> (Child, PathBuf, Mapping) {
        let program = folder.join("copy of cat");
        fs::copy("/bin/cat", &program).unwrap();
        let start = || {
            Command::new(&program)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        };
        // A child that another test starts meanwhile can hold the copy open for writing until its own exec.
        let mut child = loop {
            match start() {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                started => break started.unwrap(),
            }
        };
        // An echoed byte shows that the program is fully mapped.
        use std::io::Write;
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let mapping = read_mappings(Pid(child.id()))
            .unwrap()
            .into_iter()
            .find(|mapping| mapping.path == program && mapping.executable)
            .unwrap();
        (child, program, mapping)
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    fn contents(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_mapped_file_is_opened_by_mapping_and_by_path() {
        let folder = tempfile::tempdir().unwrap();
        let (child, program, mapping) = start_copy(folder.path());
        let pid = Pid(child.id());
        assert_eq!(mapping.kind(), MappingKind::File);
        let expected = fs::read(&program).unwrap();
        assert_eq!(contents(open_mapped_file(pid, &mapping).unwrap()), expected);
        // Made-up bounds are no entry of map_files, so the path is what is left.
        let elsewhere = Mapping {
            start: 0x1000,
            end: 0x2000,
            ..mapping
        };
        assert_eq!(
            contents(open_mapped_file(pid, &elsewhere).unwrap()),
            expected
        );
        end(child);
        fs::remove_file(&program).unwrap();
        assert!(matches!(
            open_mapped_file(pid, &elsewhere),
            Err(ProcessError::NoSuchProcess { .. })
        ));
    }

    #[test]
    fn a_file_put_in_the_place_of_the_mapped_one_is_never_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (child, program, mapping) = start_copy(folder.path());
        let pid = Pid(child.id());
        let expected = fs::read(&program).unwrap();
        fs::remove_file(&program).unwrap();
        fs::write(&program, b"another file").unwrap();
        let by_path_only = Mapping {
            start: 0x1000,
            end: 0x2000,
            ..mapping.clone()
        };
        assert!(matches!(
            open_mapped_file(pid, &by_path_only),
            Err(ProcessError::FileReplaced { .. })
        ));
        match open_mapped_file(pid, &mapping) {
            Ok(file) => assert_eq!(contents(file), expected),
            Err(error) => eprintln!("skipped: map_files is not permitted here ({error})"),
        }
        end(child);
    }

    #[test]
    fn the_file_of_a_departed_process_is_opened_if_it_is_the_same_and_has_not_changed_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, b"contents").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let mapping = Mapping {
            device: (libc::major(metadata.dev()), libc::minor(metadata.dev())),
            inode: metadata.ino(),
            path: path.clone(),
            ..read_mappings(Pid(std::process::id())).unwrap().remove(0)
        };
        // Mapped long before the file was made: its number had another owner then.
        assert!(open_file_of_departed(&mapping, Duration::from_secs(3600)).is_none());
        let is_opened = || open_file_of_departed(&mapping, Duration::ZERO).is_some();
        while !is_opened() {
            // Its change is too young.
            let age = fs::metadata(&path).unwrap().modified().unwrap().elapsed();
            assert!(age.unwrap_or_default() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        for another in [
            Mapping {
                inode: mapping.inode + 1,
                ..mapping.clone()
            },
            Mapping {
                device: (mapping.device.0, mapping.device.1 + 1),
                ..mapping.clone()
            },
            Mapping {
                deleted: true,
                ..mapping.clone()
            },
        ] {
            assert!(open_file_of_departed(&another, Duration::ZERO).is_none());
        }
    }

    #[test]
    fn a_lease_on_a_file_makes_nobody_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leased");
        fs::write(&path, b"contents").unwrap();
        let holder = OpenOptions::new().write(true).open(&path).unwrap();
        // SAFETY: the descriptor is open, and the call has no pointers.
        let leased = unsafe { libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
        if leased != 0 {
            eprintln!("skipped: no leases here: {}", io::Error::last_os_error());
            return;
        }
        // The signal that tells the holder would end this process.
        // SAFETY: the disposition of a signal that nothing here uses is changed to be ignored.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        assert!(open_regular(&path, |_| true).unwrap().is_none());
    }

    #[test]
    fn a_device_is_never_opened() {
        assert!(
            open_regular(Path::new("/dev/null"), |_| true)
                .unwrap()
                .is_none()
        );
    }
}
