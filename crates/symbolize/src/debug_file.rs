//! The separate debug file of an executable.
//!
//! It is looked for where gdb does, by build ID and by `.gnu_debuglink`, first in the target's own root, then in
//! viperf's. <https://sourceware.org/gdb/current/onlinedocs/gdb.html/Separate-Debug-Files.html>
//! A container may hold anything under these names, so a file counts only if it carries the executable's build ID; where
//! the executable has none, the check sum of the link must be that of the file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::elf_file::ElfFile;
use crate::search_root::{SearchRoot, relative};

/// Below these are files by build ID and by path.
const DEBUG_DIRECTORIES: [&str; 2] = ["usr/lib/debug", "lib/debug"];
/// A link is a name, padding and four bytes.
const LARGEST_LINK: u64 = 8 << 10;
/// A larger file is not summed up.
const LARGEST_SUMMED: u64 = 4 << 30;

/// An executable in its target: its root, and its path there, if they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place<'a> {
    pub(crate) roots: Vec<&'a SearchRoot>,
    pub(crate) path: Option<&'a Path>,
}

/// A debug file, and where it was found.
#[derive(Debug)]
pub(crate) struct DebugFile {
    pub(crate) file: ElfFile,
    root: SearchRoot,
    path: PathBuf,
}

/// The separate debug file of `executable`, if there is one that belongs to it.
pub(crate) fn find_debug_file(executable: &ElfFile, place: &Place<'_>) -> Option<DebugFile> {
    let build_id = executable.read_build_id();
    let by_build_id = build_id
        .as_deref()
        .and_then(|id| find_by_build_id(id, &place.roots));
    by_build_id.or_else(|| {
        let link = read_link(executable)?;
        let candidates = link_candidates(&link.name, place.path?);
        find_first(&place.roots, &candidates, |file| {
            let is_named = build_id.is_none() || file.read_build_id() == build_id;
            (is_named && file.has_check_sum(link.check_sum)).then_some(())
        })
    })
}

/// The file of names that several debug files share (`dwz`), if it is the one that `debug_file` was made with.
pub(crate) fn find_shared_names(debug_file: &DebugFile) -> Option<ElfFile> {
    let section = debug_file.file.find(".gnu_debugaltlink")?;
    let link = debug_file.file.read_raw(section, LARGEST_LINK).ok()?;
    let (name, build_id) = link.split_at_checked(link.iter().position(|&byte| byte == 0)?)?;
    let build_id = build_id.get(1..).filter(|id| !id.is_empty())?;
    let roots = [&debug_file.root];
    let found = find_by_build_id(build_id, &roots).or_else(|| {
        // Relative to the folder of the debug file.
        let path = debug_file.path.parent()?.join(OsStr::from_bytes(name));
        find_first(&roots, &[path], |file| carries(file, build_id))
    });
    Some(found?.file)
}

fn find_by_build_id(build_id: &[u8], roots: &[&SearchRoot]) -> Option<DebugFile> {
    let name = debug_file_name(build_id)?;
    let candidates =
        DEBUG_DIRECTORIES.map(|directory| Path::new(directory).join(".build-id").join(&name));
    find_first(roots, &candidates, |file| carries(file, build_id))
}

fn carries(file: &ElfFile, build_id: &[u8]) -> Option<()> {
    (file.read_build_id()? == build_id).then_some(())
}

fn find_first(
    roots: &[&SearchRoot],
    candidates: &[PathBuf],
    belongs: impl Fn(&ElfFile) -> Option<()>,
) -> Option<DebugFile> {
    let in_root = |root: &SearchRoot| {
        candidates.iter().find_map(|path| {
            let file = ElfFile::read(root.open_file(path).ok()?).ok()?;
            belongs(&file)?;
            Some(DebugFile {
                file,
                root: root.clone(),
                path: path.clone(),
            })
        })
    };
    roots.iter().find_map(|root| in_root(root))
}

/// What `.gnu_debuglink` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: Vec<u8>,
    check_sum: u32,
}

fn read_link(executable: &ElfFile) -> Option<Link> {
    let section = executable.find(".gnu_debuglink")?;
    decode_link(&executable.read_raw(section, LARGEST_LINK).ok()?)
}

/// A name, zeros up to a multiple of four, and the CRC-32 of the file.
pub(crate) fn decode_link(section: &[u8]) -> Option<Link> {
    let length = section.iter().position(|&byte| byte == 0)?;
    let name = section.get(..length)?;
    let sum_at = (length + 1).next_multiple_of(4);
    let check_sum = section.get(sum_at..)?.first_chunk()?;
    // It is the name of a file, not a path to anywhere.
    let is_name = !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..";
    is_name.then(|| Link {
        name: name.to_vec(),
        check_sum: u32::from_le_bytes(*check_sum),
    })
}

/// In the order of gdb: beside the executable, in `.debug` there, and in the same folder below `/usr/lib/debug`.
fn link_candidates(name: &[u8], executable: &Path) -> Vec<PathBuf> {
    let name = OsStr::from_bytes(name);
    let folder = relative(executable.parent().unwrap_or(Path::new("")));
    let mut candidates = vec![folder.join(name), folder.join(".debug").join(name)];
    // `/lib` is a link to `/usr/lib`, and packages know one or the other name.
    let without_usr = folder.strip_prefix("usr").ok();
    for directory in DEBUG_DIRECTORIES {
        let directory = Path::new(directory);
        candidates.push(directory.join(&folder).join(name));
        candidates.extend(without_usr.map(|folder| directory.join(folder).join(name)));
    }
    // The executable itself may have the name of its debug file.
    let itself = relative(executable);
    candidates.retain(|candidate| *candidate != itself);
    candidates
}

/// `ab/cdef….debug` for the build ID `abcdef…`.
fn debug_file_name(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(PathBuf::from(format!("{first:02x}/{rest}.debug")))
}

/// The CRC-32 of all that can be read, if that is no more than [`LARGEST_SUMMED`].
pub(crate) fn read_check_sum(file: &File) -> io::Result<u32> {
    if file.metadata()?.len() > LARGEST_SUMMED {
        return Err(io::Error::other("it is too large"));
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut limited = file.take(LARGEST_SUMMED);
    loop {
        match limited.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            length => hasher.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_the_build_id_is_the_folder() {
        assert_eq!(
            debug_file_name(&[0xab, 0x0c, 0xff]),
            Some(PathBuf::from("ab/0cff.debug"))
        );
    }

    #[test]
    fn a_build_id_too_short_for_a_folder_and_a_name_finds_nothing() {
        assert_eq!(debug_file_name(&[]), None);
        assert_eq!(debug_file_name(&[1]), None);
    }

    #[test]
    fn a_link_is_a_name_padding_and_a_sum() {
        let link = decode_link(b"lib.debug\0\0\0\x78\x56\x34\x12").unwrap();
        assert_eq!(
            (&*link.name, link.check_sum),
            (&b"lib.debug"[..], 0x1234_5678)
        );
        for broken in [
            &b""[..],
            b"lib",
            b"lib\0",
            b"lib\0\x01\x02\x03",
            b"\0\0\0\0\x01\x02\x03\x04",
        ] {
            assert_eq!(decode_link(broken), None);
        }
        assert_eq!(decode_link(b"../../etc/x\0\x01\x02\x03\x04"), None);
    }

    #[test]
    fn candidates_are_those_of_gdb() {
        let candidates = link_candidates(b"x.debug", Path::new("/usr/lib/x.so"));
        let expected = [
            "usr/lib/x.debug",
            "usr/lib/.debug/x.debug",
            "usr/lib/debug/usr/lib/x.debug",
            "usr/lib/debug/lib/x.debug",
            "lib/debug/usr/lib/x.debug",
            "lib/debug/lib/x.debug",
        ];
        assert_eq!(candidates, expected.map(PathBuf::from));
        assert!(
            !link_candidates(b"x.so", Path::new("/usr/lib/x.so"))
                .contains(&PathBuf::from("usr/lib/x.so"))
        );
    }
}
