//! Folders that are taken for `/`: viperf's own, and those of targets, whose contents are hostile.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, statx};
use viperf_process::{Pid, root_folder};

/// The root folder of a mount namespace or a chroot, held open.
///
/// Open it while a process of the container lives: `/proc/PID/root` is gone with the process, an opened folder is not.
/// (The file systems mounted below it are, once the last process of the mount namespace has ended.)
/// A clone is cheap and shares the folder.
///
/// Whatever is opened below it stays below it: a symbolic link to `/etc/passwd` in a container leads to the container's,
/// however often `..` is in it. Only regular files are opened; opening a FIFO waits, opening a device can do anything.
#[derive(Clone, Debug)]
pub struct SearchRoot {
    directory: Arc<OwnedFd>,
    /// Device and inode number.
    identity: (u64, u64),
    /// The mount that it was reached by: another one has other file systems below it. No other mount has its number while the
    /// folder is held open. Not known before Linux 5.8.
    mount: Option<u64>,
}

/// Two that were opened by different names, or for different processes, are equal if they are one folder.
impl PartialEq for SearchRoot {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for SearchRoot {}

impl Hash for SearchRoot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl SearchRoot {
    /// The root folder that viperf itself sees.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn own() -> io::Result<Self> {
        Self::open(Path::new("/"))
    }

    /// The root folder that process `pid` sees; its first thread may have ended before it.
    ///
    /// # Errors
    /// The process has ended, or belongs to somebody else and the privilege to look at it is missing.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        Self::open(&root_folder(Pid(pid)))
    }

    /// Takes the folder at `path`, links followed, for a root.
    ///
    /// # Errors
    /// There is no such folder, or it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = File::from(openat(CWD, path, flags, Mode::empty())?);
        let metadata = directory.metadata()?;
        let wanted = StatxFlags::MNT_ID;
        let told = statx(&directory, "", AtFlags::EMPTY_PATH, wanted).ok();
        let told = told.filter(|told| told.stx_mask & wanted.bits() != 0);
        Ok(Self {
            directory: Arc::new(directory.into()),
            identity: (metadata.dev(), metadata.ino()),
            mount: told.map(|told| told.stx_mnt_id),
        })
    }

    /// This root, held open once with those of `held` that are the same folder by the same mount.
    #[must_use]
    pub fn shared_with<'a>(self, held: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut held = held.into_iter();
        let same =
            held.find(|other| self == **other && self.mount.is_some() && self.mount == other.mount);
        same.cloned().unwrap_or(self)
    }

    /// Device and inode number.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Opens the regular file at `path`, counted from this root; links in it are followed within the root.
    ///
    /// # Errors
    /// There is no such file, or it is not a regular one.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        self.open_with(path, OFlags::empty())
    }

    /// As [`Self::open_file`], but the last part of `path` must not be a link.
    pub(crate) fn open_file_itself(&self, path: &Path) -> io::Result<File> {
        self.open_with(path, OFlags::NOFOLLOW)
    }

    fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let handle = openat2(
            &*self.directory,
            path,
            OFlags::PATH | OFlags::CLOEXEC | flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?;
        open_handle(handle)
    }
}

/// Opens the regular file at `path`, links followed, `/proc/self/fd/N` included.
pub(crate) fn open_regular_file(path: &Path) -> io::Result<File> {
    let handle = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    open_handle(handle)
}

/// The handle opens nothing by itself; what it is a handle of can be looked at, and no other file can take its place
/// before it is opened.
fn open_handle(handle: OwnedFd) -> io::Result<File> {
    let handle = File::from(handle);
    let metadata = handle.metadata()?;
    if metadata.is_symlink() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // A lease that somebody holds on the file makes nobody wait who asks not to (fcntl(2)).
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    File::options()
        .read(true)
        .custom_flags(flags)
        .open(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// `path` without the `/` it starts with and without `..`, for a path of the target that is put behind another one.
pub(crate) fn relative(path: &Path) -> PathBuf {
    let parts = path.components().filter_map(|part| match part {
        std::path::Component::Normal(part) => Some(part),
        _ => None,
    });
    parts.collect::<Vec<&OsStr>>().iter().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use super::*;

    fn contents(file: io::Result<File>) -> io::Result<String> {
        let mut text = String::new();
        file?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn nothing_leads_out_of_a_root() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "outside").unwrap();
        let folder = outside.path().join("root");
        fs::create_dir_all(folder.join("in")).unwrap();
        fs::write(folder.join("file"), "inside").unwrap();
        let absolute = outside.path().join("file");
        symlink(&absolute, folder.join("absolute")).unwrap();
        symlink("../../../../file", folder.join("in/upwards")).unwrap();
        symlink("/file", folder.join("in/link")).unwrap();
        let root = SearchRoot::open(&folder).unwrap();
        let open = |path: &str| contents(root.open_file(Path::new(path)));
        assert_eq!(open("/file").unwrap(), "inside");
        assert_eq!(open("in/link").unwrap(), "inside");
        assert_eq!(open("in/upwards").unwrap(), "inside");
        assert_eq!(open("../file").unwrap(), "inside");
        assert!(open("absolute").is_err());
        let itself = root.open_file_itself(Path::new("in/link"));
        assert!(itself.unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn only_regular_files_are_opened_and_none_waits() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR).unwrap();
        let root = SearchRoot::open(folder.path()).unwrap();
        assert!(root.open_file(Path::new("fifo")).is_err());
        assert!(open_regular_file(&fifo).is_err());
        assert!(open_regular_file(Path::new("/dev/null")).is_err());
        assert!(open_regular_file(folder.path()).is_err());
    }

    #[test]
    fn a_root_of_a_process_is_that_of_this_one_without_containers() {
        let own = SearchRoot::own().unwrap();
        let by_number = SearchRoot::of_process(std::process::id()).unwrap();
        assert_eq!(own, by_number);
        assert!(SearchRoot::of_process(u32::MAX).is_err());
    }

    #[test]
    fn the_root_of_a_process_is_found_when_its_first_thread_has_ended() {
        let program = "import ctypes, sys, threading\n\
             threading.Thread(target=sys.stdin.read).start()\n\
             ctypes.CDLL(None).pthread_exit(None)";
        let mut child = Command::new("python3")
            .args(["-c", program])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let by_first_thread = Path::new("/proc").join(pid.to_string()).join("root");
        while root_folder(Pid(pid)) == by_first_thread {
            std::thread::yield_now();
        }
        assert_eq!(
            SearchRoot::of_process(pid).unwrap(),
            SearchRoot::own().unwrap()
        );
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_root_that_is_held_already_is_held_once() {
        let own = SearchRoot::own().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let other = SearchRoot::open(folder.path()).unwrap();
        let again = SearchRoot::own().unwrap().shared_with([&other, &own]);
        assert_eq!(
            Arc::ptr_eq(&again.directory, &own.directory),
            own.mount.is_some()
        );
        let elsewhere = SearchRoot {
            mount: own.mount.map(|mount| mount + 1),
            ..SearchRoot::own().unwrap()
        };
        assert!(!Arc::ptr_eq(
            &elsewhere.shared_with([&own]).directory,
            &own.directory
        ));
        assert!(!Arc::ptr_eq(
            &other.shared_with([&own]).directory,
            &own.directory
        ));
    }

    #[test]
    fn what_leads_upwards_is_left_out_of_a_path() {
        assert_eq!(relative(Path::new("/a/../../b/./c")), Path::new("a/b/c"));
    }
}
