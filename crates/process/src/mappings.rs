//! The mappings of a process, as `/proc/PID/maps` lists them.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, path::PathBuf};

use crate::{Pid, ProcessError, identity, living_thread::find_living_thread};

/// One line of `/proc/PID/maps`: a range of addresses and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address (AVMA).
    pub start: u64,
    /// First address after the range (AVMA).
    pub end: u64,
    /// Bytes into the file at which the mapping starts; meaningless without a file.
    pub file_offset: u64,
    /// May be read by the process.
    pub readable: bool,
    /// May be written by the process.
    pub writable: bool,
    /// May be executed by the process.
    pub executable: bool,
    /// Writes reach the file or the other processes that map it (`MAP_SHARED`).
    pub shared: bool,
    /// Major and minor number of the device that holds the file.
    pub device: (u32, u32),
    /// The file's inode number on that device; 0 without a file.
    pub inode: u64,
    /// The file's path as the kernel shows it, or a name in brackets such as `[vdso]`, or empty.
    /// It is seen from the target's mount namespace.
    pub path: PathBuf,
    /// The file has been unlinked since; the kernel's mark is taken off `path`.
    pub deleted: bool,
}

/// What is behind a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MappingKind {
    /// A file (also a deleted one, or a memfd) that may be an executable.
    File,
    /// The kernel's own shared library, `[vdso]`.
    Vdso,
    /// Memory without a file: heap, stacks, JIT code.
    Anonymous,
    /// Anything else: `[vvar]`, `[vsyscall]`, `anon_inode:`, System V shared memory.
    Other,
}

impl Mapping {
    /// What is behind this mapping.
    #[must_use]
    pub fn kind(&self) -> MappingKind {
        let path = self.path.as_os_str().as_encoded_bytes();
        match path {
            b"[vdso]" => MappingKind::Vdso,
            b"" | b"[heap]" | b"[stack]" | b"/dev/zero" => MappingKind::Anonymous,
            _ if path.starts_with(b"[anon") || path.starts_with(b"[stack:") => {
                MappingKind::Anonymous
            }
            _ if path.starts_with(b"/SYSV") => MappingKind::Other,
            _ if path.starts_with(b"/") && self.inode != 0 => MappingKind::File,
            _ => MappingKind::Other,
        }
    }

    /// Whether `address` (AVMA) lies in the range.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }
}

/// A path as the kernel writes it outside of `/proc/PID/maps`: nothing is escaped. And whether the file had been unlinked.
#[must_use]
pub fn parse_recorded_path(text: &[u8]) -> (PathBuf, bool) {
    let (text, deleted) = split_mark_of_deleted(text);
    (PathBuf::from(OsString::from_vec(text.to_vec())), deleted)
}

fn split_mark_of_deleted(text: &[u8]) -> (&[u8], bool) {
    match text.strip_suffix(b" (deleted)") {
        Some(name) => (name, true),
        None => (text, false),
    }
}

/// Parses the text of `/proc/PID/maps`, in its order (ascending addresses).
///
/// Lines that are not shaped as [`proc_pid_maps(5)`] says are left out.
/// In paths the kernel writes a newline as `\012` and nothing else differently
/// ([`show_map_vma`]), so only that escape is undone.
///
/// [`proc_pid_maps(5)`]: https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html
/// [`show_map_vma`]: https://github.com/torvalds/linux/blob/v6.1/fs/proc/task_mmu.c
#[must_use]
pub fn parse_mappings(text: &[u8]) -> Vec<Mapping> {
    text.split(|&byte| byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// Reads the mappings of a process.
///
/// A kernel thread has none. A process that has ended but is not yet waited for has none either, and is reported
/// as gone.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn read_mappings(pid: Pid) -> Result<Vec<Mapping>, ProcessError> {
    let read = |pid: Pid| {
        fs::read(format!("/proc/{pid}/maps"))
            .map_err(|source| ProcessError::from_io(pid, "mappings", source))
    };
    let mut text = read(pid)?;
    if text.is_empty() && identity::has_ended(pid)? {
        let thread = find_living_thread(pid);
        if thread == pid {
            return Err(ProcessError::NoSuchProcess { pid });
        }
        text = read(thread)?;
    }
    Ok(parse_mappings(&text))
}

/// One line: `start-end rwxp offset major:minor inode   path`.
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let (range, rest) = split_field(line)?;
    let (permissions, rest) = split_field(rest)?;
    let (offset, rest) = split_field(rest)?;
    let (device, rest) = split_field(rest)?;
    let (inode, rest) = split_field(rest)?;
    let (start, end) = parse_hexadecimal_pair(range, b'-')?;
    let (major, minor) = parse_hexadecimal_pair(device, b':')?;
    let &[readable, writable, executable, sharing] = permissions else {
        return None;
    };
    let (path, deleted) = parse_path(rest.trim_ascii_start());
    (start < end).then_some(Mapping {
        start,
        end,
        file_offset: parse_hexadecimal(offset)?,
        readable: readable == b'r',
        writable: writable == b'w',
        executable: executable == b'x',
        shared: sharing == b's',
        device: (u32::try_from(major).ok()?, u32::try_from(minor).ok()?),
        inode: std::str::from_utf8(inode).ok()?.parse().ok()?,
        path,
        deleted,
    })
}

/// Splits off the text up to the next space. The last field may have none.
fn split_field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text
        .iter()
        .position(|&byte| byte == b' ')
        .unwrap_or(text.len());
    let (field, rest) = text.split_at_checked(end)?;
    (!field.is_empty()).then(|| (field, rest.get(1..).unwrap_or_default()))
}

fn parse_hexadecimal(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

fn parse_hexadecimal_pair(text: &[u8], separator: u8) -> Option<(u64, u64)> {
    let middle = text.iter().position(|&byte| byte == separator)?;
    let (first, second) = text.split_at_checked(middle)?;
    Some((
        parse_hexadecimal(first)?,
        parse_hexadecimal(second.get(1..)?)?,
    ))
}

/// Undoes `\012` and takes the mark of an unlinked file off.
fn parse_path(text: &[u8]) -> (PathBuf, bool) {
    let (text, deleted) = split_mark_of_deleted(text);
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(b"\\012") {
            path.push(b'\n');
            rest = tail;
        } else {
            path.push(byte);
            rest = tail;
        }
    }
    (PathBuf::from(OsString::from_vec(path)), deleted)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &[u8] = b"\
55d0c8a00000-55d0c8a28000 r--p 00000000 fe:01 1234                       /usr/bin/with space
55d0c8a28000-55d0c8b00000 r-xp 00028000 fe:01 1234                       /usr/bin/with space
55d0c9000000-55d0c9021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000001000 rwxs 00001000 00:01 99                         /memfd:jit (deleted)
7f0000001000-7f0000002000 ---p 00000000 00:00 0 \n\
7f0000002000-7f0000003000 r--p 00000000 fe:01 7                          /tmp/new\\012line\\011
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
7f1-7f0 r-xp 0 0:0 0
nonsense
";

    #[test]
    fn every_field_of_a_line_is_parsed() {
        let mappings = parse_mappings(TEXT);
        assert_eq!(mappings.len(), 8);
        assert_eq!(
            mappings[1],
            Mapping {
                start: 0x55d0_c8a2_8000,
                end: 0x55d0_c8b0_0000,
                file_offset: 0x28000,
                readable: true,
                writable: false,
                executable: true,
                shared: false,
                device: (0xfe, 1),
                inode: 1234,
                path: PathBuf::from("/usr/bin/with space"),
                deleted: false,
            }
        );
    }

    #[test]
    fn kinds_follow_from_the_name_and_the_inode() {
        let kinds: Vec<_> = parse_mappings(TEXT).iter().map(Mapping::kind).collect();
        use MappingKind::{Anonymous, File, Other, Vdso};
        assert_eq!(
            kinds,
            [File, File, Anonymous, File, Anonymous, File, Vdso, Other]
        );
    }

    #[test]
    fn only_the_newline_escape_and_the_deleted_mark_are_undone() {
        let mappings = parse_mappings(TEXT);
        assert_eq!(mappings[3].path, Path::new("/memfd:jit"));
        assert!(mappings[3].deleted && mappings[3].shared);
        assert_eq!(mappings[5].path, Path::new("/tmp/new\nline\\011"));
        assert!(!mappings[5].deleted);
    }

    #[test]
    fn own_mappings_hold_the_address_of_this_function() {
        let address = own_mappings_hold_the_address_of_this_function as *const () as u64;
        let mappings = read_mappings(Pid(std::process::id())).unwrap();
        let mapping = mappings
            .iter()
            .find(|mapping| mapping.contains(address))
            .unwrap();
        assert!(mapping.executable);
        assert_eq!(mapping.kind(), MappingKind::File);
        assert_eq!(mapping.path, std::env::current_exe().unwrap());
        assert!(
            mappings
                .iter()
                .any(|mapping| mapping.kind() == MappingKind::Vdso)
        );
    }

    #[test]
    fn a_kernel_thread_has_no_mappings_and_is_no_error() {
        // Only where the machine's own PID namespace shows kthreadd as number 2.
        if crate::is_kernel_thread(Pid(2)).unwrap_or(false) {
            assert_eq!(read_mappings(Pid(2)).unwrap(), []);
        } else {
            eprintln!("skipped: no kernel thread is visible here");
        }
    }

    #[test]
    fn an_ended_child_that_nobody_waited_for_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid(child.id());
        while !identity::has_ended(pid).unwrap() {
            std::thread::yield_now();
        }
        assert!(matches!(
            read_mappings(pid),
            Err(ProcessError::NoSuchProcess { .. })
        ));
        child.wait().unwrap();
        assert!(matches!(
            read_mappings(pid),
            Err(ProcessError::NoSuchProcess { .. })
        ));
    }
}
