//! What a process says about the code that it generates: its perf map, its jitdump, and what it tells debuggers.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use viperf_process::{
    Mapping, Pid, Tid, open_mapped_file, read_mappings, read_namespaced_tid, read_start_time,
};

use crate::code_map::CodeMap;
use crate::debug_interface::{DebugInterface, FrameSection};
use crate::jitdump::decode_jitdump;
use crate::perf_map::decode_perf_map;
use crate::search_root::SearchRoot;
use crate::{NativeSymbol, NoSymbol};

/// A map larger than this is read up to here: 100 bytes for each of 2.5 million functions.
const LARGEST_MAP: u64 = 256 << 20;
/// Dumps hold the code itself, too.
const LARGEST_DUMP: u64 = 1 << 30;

/// How far, in seconds, the clock may have been set back since the map was written.
const LARGEST_CLOCK_STEP: i64 = 60;

/// A file as it was when it was read.
type Stamp = (u64, u64, (i64, i64));

/// The names of the code that one process generated.
///
/// Make it while the process lives; [`GeneratedCode::refresh`] it now and then (a call without news costs reading the
/// process's list of mappings), and once more at the end. What was read stays when the process and its files are gone.
///
/// The files belong to the target: `/tmp/perf-PID.map` below its root, under the number that it has in its own PID
/// namespace, and the file that it maps executable under the name `jit-PID.dump`, which is how writers of jitdumps show
/// that they write one.
/// LLVM tells debuggers of all code that it makes (`__jit_debug_descriptor`), so that numba's functions have names without
/// either.
/// A perf map that is a symbolic link, no regular file, of another user than the target or root, or older than the
/// process (of an earlier one with its number) is refused.
#[derive(Debug)]
pub struct GeneratedCode {
    pid: Pid,
    place: Result<Place, NoSymbol>,
    map: Option<(Stamp, CodeMap)>,
    map_refused: Option<String>,
    dump_file: Option<File>,
    dump: Option<(Stamp, CodeMap)>,
    dump_refused: Option<String>,
    told: DebugInterface,
}

/// Where a process writes its map, and who may have written it.
#[derive(Debug)]
struct Place {
    root: SearchRoot,
    map: PathBuf,
    owners: Vec<u32>,
    /// Seconds since 1970.
    started: i64,
}

impl GeneratedCode {
    /// Of process `pid`, with nothing read yet. A process that cannot be looked at has no names, and the reason is kept.
    #[must_use]
    pub fn of_process(pid: u32) -> Self {
        let pid = Pid(pid);
        Self {
            pid,
            place: find_place(pid).map_err(|error| {
                NoSymbol::Unreadable(format!("process {pid} cannot be looked at: {error}"))
            }),
            map: None,
            map_refused: None,
            dump_file: None,
            dump: None,
            dump_refused: None,
            told: DebugInterface::default(),
        }
    }

    /// Reads what has changed since the last time; what is gone stays known.
    pub fn refresh(&mut self) {
        self.refresh_map();
        self.refresh_dump();
        self.told.refresh(self.pid);
    }

    /// As [`Self::refresh`], of what it tells debuggers alone.
    pub fn refresh_frame_sections(&mut self) {
        self.told.refresh(self.pid);
    }

    /// The call frame information of its code, as it tells debuggers: LLVM writes some for every function. In no order.
    pub fn frame_sections(&self) -> impl Iterator<Item = &FrameSection> {
        self.told.frames()
    }

    fn refresh_map(&mut self) {
        let Ok(place) = &self.place else {
            return;
        };
        let known = self.map.as_ref().map(|(stamp, _)| *stamp);
        match read_map(place, known) {
            Ok(Some(read)) => self.map = Some(read),
            Ok(None) => {}
            Err(error) => {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                self.map_refused =
                    (!is_missing).then(|| format!("/{}: {error}", place.map.display()));
            }
        }
    }

    fn refresh_dump(&mut self) {
        // The process may exec or begin to write one at any time.
        if let Some(file) = find_dump(self.pid) {
            self.dump_file = Some(file);
        }
        let Some(file) = &mut self.dump_file else {
            return;
        };
        let known = self.dump.as_ref().map(|(stamp, _)| *stamp);
        match read_dump(file, known) {
            Ok(Some(read)) => self.dump = Some(read),
            Ok(None) => {}
            Err(reason) => self.dump_refused = Some(format!("jit-PID.dump: {reason}")),
        }
    }

    /// The function at `address` (AVMA): of the jitdump, which knows lines, else of the perf map, else as debuggers are told.
    ///
    /// # Errors
    /// Why there is no name.
    pub fn find(&self, address: u64) -> Result<NativeSymbol, NoSymbol> {
        let maps = self.maps();
        if let Some(found) = maps.clone().find_map(|map| map.find(address)) {
            return Ok(found);
        }
        let mut refused = [&self.map_refused, &self.dump_refused]
            .into_iter()
            .flatten();
        let refused = refused.next().cloned().map(NoSymbol::Unreadable);
        let unseen = self.place.as_ref().err().cloned();
        Err(match maps.count() {
            0 => refused.or(unseen).unwrap_or(NoSymbol::NoPerfMap),
            _ => refused.unwrap_or(NoSymbol::NoSymbolAtAddress),
        })
    }

    /// How many functions have a name.
    #[must_use]
    pub fn functions(&self) -> usize {
        self.maps().map(CodeMap::len).sum()
    }

    /// Those that there are.
    fn maps(&self) -> impl Iterator<Item = &CodeMap> + Clone {
        let files = [&self.dump, &self.map].into_iter().flatten();
        let told = Some(self.told.code()).filter(|told| told.len() > 0);
        files.map(|(_, map)| map).chain(told)
    }
}

fn find_place(pid: Pid) -> io::Result<Place> {
    let Tid(own_number) = read_namespaced_tid(pid, Tid(pid.0)).map_err(io::Error::other)?;
    Ok(Place {
        root: SearchRoot::of_process(pid.0)?,
        map: PathBuf::from(format!("tmp/perf-{own_number}.map")),
        owners: read_owners(pid)?,
        started: read_start(pid)?,
    })
}

/// When the process started, in seconds since 1970.
fn read_start(pid: Pid) -> io::Result<i64> {
    let ticks = read_start_time(pid).map_err(io::Error::other)?;
    let since_boot = ticks / clock_ticks_per_second().max(1);
    let uptime = clock_gettime(ClockId::Boottime).tv_sec;
    let age = uptime - i64::try_from(since_boot).unwrap_or(uptime);
    Ok(clock_gettime(ClockId::Realtime).tv_sec - age)
}

/// The users that a process is and was: real, effective, saved and of the file system; and root, whose files nobody
/// else can have made.
fn read_owners(pid: Pid) -> io::Result<Vec<u32>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let users = line.unwrap_or_default().split_ascii_whitespace();
    let mut owners: Vec<u32> = users.filter_map(|user| user.parse().ok()).collect();
    owners.push(0);
    Ok(owners)
}

/// `None` if it is the one already read.
fn read_map(place: &Place, known: Option<Stamp>) -> io::Result<Option<(Stamp, CodeMap)>> {
    let file = place.root.open_file_itself(&place.map)?;
    let stamp = stamp_of(&file)?;
    if known == Some(stamp) {
        return Ok(None);
    }
    let metadata = file.metadata()?;
    if metadata.mtime() + LARGEST_CLOCK_STEP < place.started {
        return Err(io::Error::other(
            "it is older than the process: an earlier one with the same number wrote it",
        ));
    }
    let owner = metadata.uid();
    if !place.owners.contains(&owner) {
        return Err(io::Error::other(format!(
            "it belongs to user {owner}, not to that of the process"
        )));
    }
    let functions = decode_perf_map(BufReader::new(file.take(LARGEST_MAP)))?;
    Ok(Some((stamp, functions)))
}

/// The jitdump that a living process writes.
fn find_dump(pid: Pid) -> Option<File> {
    let mappings = read_mappings(pid).ok()?;
    let is_dump = |mapping: &&Mapping| mapping.executable && is_dump_name(&mapping.path);
    let mapping = mappings.iter().rev().find(is_dump)?;
    open_mapped_file(pid, mapping).ok()
}

/// `jit-` and a number; the number is not compared, because writers differ on whose namespace it is of.
fn is_dump_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix("jit-")?.strip_suffix(".dump"));
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn read_dump(
    file: &mut File,
    known: Option<Stamp>,
) -> Result<Option<(Stamp, CodeMap)>, crate::jitdump::JitDumpError> {
    let stamp = stamp_of(file)?;
    if known == Some(stamp) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0))?;
    let functions = decode_jitdump(BufReader::new(file.take(LARGEST_DUMP)))?;
    Ok(Some((stamp, functions)))
}

fn stamp_of(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok((
        metadata.ino(),
        metadata.len(),
        (metadata.mtime(), metadata.mtime_nsec()),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command};

    use super::*;

    const MAP: &[u8] = b"1000 10 first\n2000 10 second\n";

    /// A process that waits, and the name of its map.
    fn start() -> (Child, PathBuf) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let map = PathBuf::from(format!("/tmp/perf-{}.map", child.id()));
        (child, map)
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_without_a_map_says_so() {
        let mut code = GeneratedCode::of_process(std::process::id());
        code.refresh();
        assert_eq!(code.find(0x1000), Err(NoSymbol::NoPerfMap));
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let mut code = GeneratedCode::of_process(u32::MAX);
        code.refresh();
        let reason = code.find(0x1000).unwrap_err().to_string();
        assert!(reason.contains("4294967295"), "{reason}");
    }

    #[test]
    fn what_was_read_stays_when_the_process_and_its_map_are_gone() {
        let (child, map) = start();
        fs::write(&map, MAP).unwrap();
        let mut code = GeneratedCode::of_process(child.id());
        code.refresh();
        fs::write(&map, [MAP, b"3000 10 later\n"].concat()).unwrap();
        end(child);
        // The map is found through the root that was opened while the process lived.
        code.refresh();
        fs::remove_file(&map).unwrap();
        code.refresh();
        assert_eq!(code.find(0x1004).unwrap().name, "first");
        assert_eq!(code.find(0x3000).unwrap().name, "later");
        assert_eq!(code.find(0x4000), Err(NoSymbol::NoSymbolAtAddress));
        assert_eq!(code.functions(), 3);
    }

    #[test]
    fn a_link_or_a_fifo_in_the_place_of_the_map_is_refused_with_the_reason() {
        let (child, map) = start();
        let mut code = GeneratedCode::of_process(child.id());
        symlink("/etc/passwd", &map).unwrap();
        code.refresh();
        let link = code.find(0x1000).unwrap_err().to_string();
        fs::remove_file(&map).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &map, rustix::fs::Mode::RUSR).unwrap();
        code.refresh();
        let fifo = code.find(0x1000).unwrap_err().to_string();
        fs::remove_file(&map).unwrap();
        end(child);
        assert!(link.contains("symbolic link"), "{link}");
        assert!(fifo.contains("not a regular file"), "{fifo}");
    }

    #[test]
    fn a_map_of_an_earlier_process_with_the_same_number_is_refused_with_the_reason() {
        let (child, map) = start();
        fs::write(&map, MAP).unwrap();
        let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
        let times = fs::FileTimes::new().set_modified(yesterday);
        File::options()
            .write(true)
            .open(&map)
            .unwrap()
            .set_times(times)
            .unwrap();
        let mut code = GeneratedCode::of_process(child.id());
        code.refresh();
        fs::remove_file(&map).unwrap();
        end(child);
        let reason = code.find(0x1000).unwrap_err().to_string();
        assert!(reason.contains("older than the process"), "{reason}");
    }

    #[test]
    fn a_map_of_another_user_is_refused_with_the_reason() {
        let (child, map) = start();
        fs::write(&map, MAP).unwrap();
        let mut code = GeneratedCode::of_process(child.id());
        match std::os::unix::fs::chown(&map, Some(12345), None) {
            Ok(()) => {
                code.refresh();
                let reason = code.find(0x1000).unwrap_err().to_string();
                assert!(reason.contains("user 12345"), "{reason}");
            }
            Err(_) => eprintln!("skipped: owner of a map: only root can give files away"),
        }
        fs::remove_file(&map).unwrap();
        end(child);
    }

    #[test]
    fn the_name_of_a_dump_is_jit_and_a_number() {
        assert!(is_dump_name(Path::new("/x/.debug/jit/jit-17.dump")));
        for other in [
            "/jit-.dump",
            "/jit-17.dump.old",
            "/xjit-17.dump",
            "/jit-1x.dump",
            "",
        ] {
            assert!(!is_dump_name(Path::new(other)));
        }
    }
}
