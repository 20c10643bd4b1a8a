//! Perf maps: the names that a process gives to the code it generated.
//!
//! A line is `START SIZE NAME`, both numbers hexadecimal.
//! <https://github.com/torvalds/linux/blob/v6.12/tools/perf/Documentation/jit-interface.txt>
//!
//! blazesym reads perf maps too, but only together with a live process's mappings, and gives up at the
//! first bad line; a map that is being written to ends in half a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use viperf_process::{Pid, Tid, read_namespaced_tid};

use crate::{NativeSymbol, NoSymbol};

/// A map larger than this is read up to here: 100 bytes for each of 2.5 million functions.
const LARGEST_MAP: u64 = 256 << 20;

#[derive(Debug, PartialEq, Eq)]
struct Function {
    start: u64,
    size: u64,
    name: String,
}

/// The functions of one perf map, sorted by start; of those at one start the last written comes first.
#[derive(Debug, Default)]
pub(crate) struct PerfMap {
    functions: Vec<Function>,
}

/// The perf map of process `pid`.
pub(crate) fn read_perf_map(pid: u32) -> Result<PerfMap, NoSymbol> {
    let path = perf_map_path(pid);
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => NoSymbol::NoPerfMap,
        _ => NoSymbol::Unreadable(format!("{} cannot be read: {error}", path.display())),
    };
    // The file belongs to the target, who may have put a pipe there (opening would wait for ever) or a
    // link out of its root.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(&path)
        .map_err(unreadable)?;
    read_regular_file(&file)
        .map(|bytes| decode_perf_map(&bytes))
        .map_err(unreadable)
}

fn read_regular_file(file: &File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_MAP).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where the process writes its map: below its own root, named after the PID it sees itself under.
fn perf_map_path(pid: u32) -> PathBuf {
    let own_pid = read_namespaced_tid(Pid(pid), Tid(pid)).map_or(pid, |Tid(namespaced)| namespaced);
    PathBuf::from(format!("/proc/{pid}/root/tmp/perf-{own_pid}.map"))
}

fn decode_perf_map(bytes: &[u8]) -> PerfMap {
    let mut functions: Vec<Function> = bytes
        .split(|&byte| byte == b'\n')
        .filter_map(decode_line)
        .collect();
    // Code memory is used again; the last line written about an address is the one that holds.
    functions.reverse();
    functions.sort_by_key(|function| function.start);
    PerfMap { functions }
}

fn decode_line(line: &[u8]) -> Option<Function> {
    let line = String::from_utf8_lossy(line);
    let mut parts = line.trim_ascii().splitn(3, ' ');
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let start = number(parts.next()?)?;
    let size = number(parts.next()?)?;
    let name = parts.next()?.trim_ascii();
    (!name.is_empty()).then(|| Function {
        start,
        size,
        name: name.to_owned(),
    })
}

impl PerfMap {
    /// The function that `address` lies in.
    pub(crate) fn find(&self, address: u64) -> Option<NativeSymbol> {
        let behind = self
            .functions
            .partition_point(|function| function.start <= address);
        let start = self.functions.get(behind.checked_sub(1)?)?.start;
        let first = self
            .functions
            .partition_point(|function| function.start < start);
        let function = self.functions.get(first)?;
        (address - start < function.size).then(|| NativeSymbol {
            name: function.name.clone(),
            file: None,
            line: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &[u8] = b"\
7f0000001000 10 py::first:/srv/app.py
7f0000001010 10 py::second with spaces:/srv/app.py
7f0000002000 20 old
7f0000002000 8 new
nonsense
7f00000030";

    fn name_at(map: &PerfMap, address: u64) -> Option<String> {
        map.find(address).map(|symbol| symbol.name)
    }

    #[test]
    fn an_address_belongs_to_the_function_whose_size_covers_it() {
        let map = decode_perf_map(MAP);
        assert_eq!(
            name_at(&map, 0x7f00_0000_100f).unwrap(),
            "py::first:/srv/app.py"
        );
        assert_eq!(
            name_at(&map, 0x7f00_0000_1010).unwrap(),
            "py::second with spaces:/srv/app.py"
        );
        assert_eq!(name_at(&map, 0x7f00_0000_1020), None);
        assert_eq!(name_at(&map, 0), None);
    }

    #[test]
    fn of_two_lines_about_one_address_the_later_holds() {
        let map = decode_perf_map(MAP);
        assert_eq!(name_at(&map, 0x7f00_0000_2000).unwrap(), "new");
        assert_eq!(name_at(&map, 0x7f00_0000_2010), None);
    }

    #[test]
    fn half_a_line_at_the_end_is_left_out() {
        assert_eq!(decode_perf_map(MAP).functions.len(), 4);
    }

    #[test]
    fn a_process_without_a_map_says_so() {
        assert_eq!(
            read_perf_map(std::process::id()).err(),
            Some(NoSymbol::NoPerfMap)
        );
    }

    #[test]
    fn the_map_of_a_live_process_is_found_through_its_root() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let path = format!("/tmp/perf-{}.map", child.id());
        std::fs::write(&path, MAP).unwrap();
        let map = read_perf_map(child.id());
        std::fs::remove_file(&path).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(name_at(&map.unwrap(), 0x7f00_0000_2001).unwrap(), "new");
    }
}
