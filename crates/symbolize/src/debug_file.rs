//! The separate debug file of an executable, found by build ID.

use std::path::{Path, PathBuf};

use blazesym::helper::read_elf_build_id;

/// Where distributions put separate debug files, one per build ID.
const BUILD_ID_DIRECTORIES: [&str; 2] = ["/usr/lib/debug/.build-id", "/lib/debug/.build-id"];

/// The separate debug file of the executable at `path`, if one is installed.
///
/// blazesym follows `.gnu_debuglink` by itself, but starts from the name of the file, and a file that
/// is reached through `/proc/self/fd` or `/proc/PID/root` has a name that leads to nothing or to
/// another file. The build ID needs no name and cannot lead to another build.
pub(crate) fn find_debug_file(path: &Path) -> Option<PathBuf> {
    let build_id = read_elf_build_id(path).ok()??;
    let relative = debug_file_name(&build_id)?;
    BUILD_ID_DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(&relative))
        .find(|candidate| candidate.is_file())
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
}
