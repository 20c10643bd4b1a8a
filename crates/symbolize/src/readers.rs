//! The readers of what processes and files say, each by itself, for those who test them with damaged bytes.
//!
//! Everyone else asks [`crate::GeneratedCode`] and [`crate::Symbolizer`], which find the files and keep what was read.

use crate::code_map::CodeMap;
use crate::debug_file::decode_link;
use crate::debug_interface::decode_object;
use crate::jitdump::decode_jitdump;
use crate::perf_map::decode_perf_map;

/// How many functions a perf map names; `None` if it cannot be read.
#[must_use]
pub fn count_perf_map_functions(bytes: &[u8]) -> Option<usize> {
    Some(ask(&decode_perf_map(bytes).ok()?))
}

/// How many functions a jitdump names; `None` if it is none.
#[must_use]
pub fn count_jitdump_functions(bytes: &[u8]) -> Option<usize> {
    Some(ask(&decode_jitdump(bytes).ok()?))
}

/// How many functions an object file names that a compiler at run time has told debuggers of; `None` if it is none.
#[must_use]
pub fn count_object_functions(bytes: &[u8]) -> Option<usize> {
    let told = decode_object(bytes.to_vec())?;
    let mut code = CodeMap::default();
    for (start, function) in told.functions {
        code.insert(start, function);
    }
    if let Some(frames) = told.frames {
        assert!(frames.code.start < frames.code.end && frames.address != 0);
    }
    Some(ask(&code))
}

/// The file that a `.gnu_debuglink` names, which is the name of a file, never a path.
#[must_use]
pub fn find_debug_link(section: &[u8]) -> Option<Vec<u8>> {
    Some(decode_link(section)?.name)
}

/// Every function is found at its own first byte, where nobody else is.
fn ask(map: &CodeMap) -> usize {
    for start in map.starts() {
        assert!(map.find(start).is_some());
    }
    map.len()
}
