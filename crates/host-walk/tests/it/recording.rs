//! How programs stood when gdb stopped them: registers, memory, and gdb's own frames.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;
use viperf_abi::{self as abi, Word, limit};
use viperf_elf::Image;
use viperf_host_walk::{Files, Registers, Sample};
use viperf_process::{Mapping, MappingKind, parse_mappings};

const PAGE: usize = 4096;

/// A frame as gdb sees it: its kind, rip, rsp and name.
#[derive(Clone, Deserialize)]
pub(crate) struct Frame(String, pub(crate) u64, pub(crate) u64, pub(crate) String);

impl Frame {
    /// The kernel has called a handler from here.
    pub(crate) fn is_signal(&self) -> bool {
        self.0 == "signal"
    }
}

/// The program at one instruction.
#[derive(Deserialize)]
pub(crate) struct Stop {
    /// So many instructions behind the breakpoint.
    pub(crate) step: u32,
    registers: [u64; 21],
    fsbase: u64,
    /// Leaf first.
    pub(crate) frames: Vec<Frame>,
    mappings: String,
    pages: Vec<(u64, usize)>,
}

impl Stop {
    pub(crate) fn registers(&self) -> Registers {
        Registers {
            saved: self.registers,
            fsbase: self.fsbase,
            tid: 7,
            ..Registers::default()
        }
    }
}

/// What gdb's frames are looked up by: the instruction, or the last byte of the call.
pub(crate) fn lookup_addresses(frames: &[Frame]) -> Vec<u64> {
    let younger = [None].into_iter().chain(frames.iter().map(Some));
    let frames = younger.zip(frames);
    // Where a context begins, the word of the stack that would be a return address is 0.
    let frames = frames.take_while(|(_, frame)| frame.1 != 0);
    frames
        .map(|(younger, frame)| frame.1 - u64::from(younger.is_some_and(|one| !one.is_signal())))
        .collect()
}

pub(crate) struct Recording {
    pub(crate) stops: Vec<Stop>,
    memory: Vec<u8>,
    files: HashMap<PathBuf, Vec<u8>>,
}

/// Whether there is a gdb with Python, and it may trace.
pub(crate) fn gdb_runs_programs() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-ex", "python print(6 * 7)"])
        .args(["-ex", "run", "/bin/true"]);
    run_with_limit(gdb, folder.path())
        .is_ok_and(|(_, said)| said.starts_with("42") && said.contains("exited normally"))
}

/// As long as a machine that is busy with other things may need for one stop: gdb is not waited for when it does nothing.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);

/// Runs gdb as long as it writes something to the folder, where its output goes, too: how it ended, and what it said.
fn run_with_limit(mut gdb: Command, folder: &Path) -> io::Result<(ExitStatus, String)> {
    let (said, complained) = (folder.join("said"), folder.join("complained"));
    gdb.stdin(Stdio::null())
        .stdout(File::create(&said)?)
        .stderr(File::create(&complained)?);
    let mut gdb = gdb.spawn()?;
    let (mut written, mut since) = (0, Instant::now());
    let status = loop {
        if let Some(status) = gdb.try_wait()? {
            break Some(status);
        }
        let now = bytes_in(folder)?;
        if now != written {
            (written, since) = (now, Instant::now());
        } else if since.elapsed() > LONGEST_SILENCE {
            // What it debugs goes with it.
            gdb.kill()?;
            gdb.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let said = [fs::read(&said)?, fs::read(&complained)?].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let status = status.unwrap_or_else(|| panic!("gdb hangs: {said}"));
    Ok((status, said))
}

fn bytes_in(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.metadata()?.len()))
        .sum()
}

impl Recording {
    /// Runs a program to its end, and looks at it at each breakpoint and so many instructions behind it.
    pub(crate) fn of(program: &[&str], breakpoint: &str, steps: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stopped/record.py");
        let mut gdb = Command::new("gdb");
        gdb.args(["-batch", "-nx", "-iex", "set auto-load off", "-x"])
            .arg(script)
            .arg("--args")
            .args(program)
            .env("VIPERF_RECORDING", folder.path())
            .env("VIPERF_BREAKPOINT", breakpoint)
            .env("VIPERF_STEPS", steps.to_string());
        let (status, said) = run_with_limit(gdb, folder.path()).unwrap();
        let stops = fs::read_to_string(folder.path().join("stops")).unwrap();
        let stops: Vec<Stop> = stops
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(!stops.is_empty(), "gdb stopped nowhere: {said}");
        assert!(status.success(), "{said}");
        let memory = fs::read(folder.path().join("memory")).unwrap();
        Self {
            files: files_of(&stops),
            stops,
            memory,
        }
    }

    pub(crate) fn open(&self, stop: &Stop) -> Opened<'_> {
        Opened {
            recording: self,
            pages: stop.pages.iter().copied().collect(),
            mappings: parse_mappings(stop.mappings.as_bytes()),
        }
    }
}

/// The files that are mapped executable at any of the stops.
fn files_of(stops: &[Stop]) -> HashMap<PathBuf, Vec<u8>> {
    let mut files = HashMap::new();
    let mut last = "";
    for stop in stops {
        if stop.mappings == last {
            continue;
        }
        last = &stop.mappings;
        for mapping in parse_mappings(last.as_bytes()) {
            if mapping.executable && mapping.kind() == MappingKind::File {
                let read = || fs::read(&mapping.path).unwrap();
                files.entry(mapping.path.clone()).or_insert_with(read);
            }
        }
    }
    files
}

/// Memory and mappings of one stop.
pub(crate) struct Opened<'recording> {
    recording: &'recording Recording,
    pages: HashMap<u64, usize>,
    pub(crate) mappings: Vec<Mapping>,
}

impl Opened<'_> {
    /// As the kernel reads: all of it or nothing.
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let mut done = 0;
        while done < bytes.len() {
            let from = address + done as u64;
            let in_page = from as usize % PAGE;
            let size = (PAGE - in_page).min(bytes.len() - done);
            let Some(page) = self.page(from - in_page as u64) else {
                return false;
            };
            let Some(part) = page.get(in_page..in_page + size) else {
                return false;
            };
            bytes[done..done + size].copy_from_slice(part);
            done += size;
        }
        true
    }

    fn page(&self, start: u64) -> Option<&[u8]> {
        if let Some(number) = self.pages.get(&start) {
            let place = number * PAGE;
            return self.recording.memory.get(place..place + PAGE);
        }
        let mapping = self.mappings.iter().find(|one| one.contains(start))?;
        if mapping.writable || mapping.kind() != MappingKind::File {
            return None;
        }
        let place = (mapping.file_offset + (start - mapping.start)) as usize;
        let bytes = self.recording.files.get(&mapping.path)?;
        bytes.get(place..bytes.len().min(place + PAGE))
    }

    /// The bytes behind an executable mapping.
    pub(crate) fn file(&self, mapping: &Mapping) -> Option<Vec<u8>> {
        match mapping.kind() {
            MappingKind::File => self.recording.files.get(&mapping.path).cloned(),
            MappingKind::Vdso => {
                let mut bytes = vec![0; (mapping.end - mapping.start) as usize];
                self.read(mapping.start, &mut bytes).then_some(bytes)
            }
            _ => None,
        }
    }
}

/// What user space would have given the kernel, made once for all stops with the same mappings.
#[derive(Default)]
pub(crate) struct Tables {
    /// In the order in which they were first met, by which the kernel knows them apart.
    rows: Vec<(PathBuf, Vec<abi::UnwindRow>)>,
    last: (Vec<Mapping>, Files),
}

impl Tables {
    /// Each mapping is an executable of its own.
    pub(crate) fn files_of(&mut self, opened: &Opened<'_>) -> &mut Files {
        if self.last.0 != opened.mappings {
            self.last = (opened.mappings.clone(), self.make(opened));
        }
        &mut self.last.1
    }

    fn make(&mut self, opened: &Opened<'_>) -> Files {
        let mut files = Files::default();
        files.row_tables.push(abi::RowTable::default());
        let mut places = HashMap::new();
        for mapping in opened.mappings.iter().filter(|mapping| mapping.executable) {
            let Some(bytes) = opened.file(mapping) else {
                continue;
            };
            let image = Image::parse(&bytes).unwrap();
            let bias = image.load_bias(mapping.start, mapping.file_offset).unwrap();
            let row_table = *places.entry(mapping.path.clone()).or_insert_with(|| {
                let number = self.number(&mapping.path, &image);
                let rows = &self.rows[number].1;
                let place = (rows.len() as u64) << 32 | files.rows.len() as u64;
                files.rows.extend(rows.iter());
                files.row_tables.push(abi::RowTable {
                    place,
                    placement: (number as u32 + 1) << limit::ROWS_PLACEMENT_SHIFT,
                    ..abi::RowTable::default()
                });
                files.row_tables.len() as u32 - 1
            });
            files.mappings.push(abi::Mapping {
                start: mapping.start,
                end: mapping.end,
                load_bias: bias.0,
                row_table,
                // 0 is generated code.
                executable: files.mappings.len() as u32 + 1,
            });
        }
        files
    }

    fn number(&mut self, path: &Path, image: &Image<'_>) -> usize {
        let known = self.rows.iter().position(|one| one.0 == path);
        known.unwrap_or_else(|| {
            self.rows.push((path.to_owned(), build(image)));
            self.rows.len() - 1
        })
    }
}

/// All rows that there ever are: those of the instructions, too.
fn build(image: &Image<'_>) -> Vec<abi::UnwindRow> {
    let mut table = viperf_unwind::build_rows_of_image(image).unwrap_or_default();
    viperf_unwind::analyse_code(image, &mut table);
    let rows = table.rows.iter().map(|row| abi::UnwindRow {
        pc: row.pc,
        rule: row.rule.0,
    });
    rows.collect()
}

/// AVMAs of native words; what is no frame is kept.
pub(crate) fn addresses(files: &Files, words: &[Word]) -> Vec<Result<u64, Word>> {
    let one = |word: &Word| match *word {
        Word::Native { executable, svma } => Ok(files.mappings[executable as usize - 1]
            .load_bias
            .wrapping_add(svma)),
        Word::Address(address) => Ok(address),
        other => Err(other),
    };
    words.iter().map(one).collect()
}

/// Those of the frames: a reason has none.
pub(crate) fn cfas(sample: &Sample) -> Vec<u64> {
    let words = sample.native.iter().zip(&sample.cfas);
    let of_frames = words.filter(|(word, _)| !matches!(word, Word::Reason(_)));
    of_frames.map(|(_, cfa)| *cfa).collect()
}
