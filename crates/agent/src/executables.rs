//! Every file that targets execute: its unwind rows in the kernel, its Python if it holds one, its name.

mod builders;
mod eval_code;
mod letting_go;
mod loading;
mod room;
mod rows;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::Write,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use viperf_cpython::{Detection, Interpreter};
use viperf_elf::{Image, LoadBias, LoadSegment};
use viperf_process::{Mapping, MappingKind, Pid};
use viperf_symbolize::SearchRoot;

use crate::{layout::CLibrary, named_file::NamedFile};
use eval_code::{find_eval, may_have_tail_calls};
pub(crate) use letting_go::ExecutableCounts;
pub(crate) use loading::RowCounts;
use loading::{Instructions, Loading, RowState};

/// greenlet's library.
const GREENLET_PREFIX: &str = "_greenlet.";

/// The kernel's word of a frame has 20 bits for the number.
const LARGEST_NUMBER: u32 = (1 << 20) - 1;

/// So many files without a Python are remembered; beyond that they are looked at again.
const MOST_PLAIN: usize = 1 << 16;

/// Larger files are not read whole; they are shown without unwinding through them.
const LARGEST_FILE: u64 = 4 << 30;

/// The same file, whatever its path: the device and the inode that it is on. The kernel's own library has neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Identity {
    File { device: (u32, u32), inode: u64 },
    Vdso,
}

/// What was found in an executable about Python.
#[derive(Clone, Debug)]
pub(crate) enum PythonKind {
    None,
    Readable(Rc<Interpreter>),
    /// It is a Python, but of a kind without a layout.
    Unsupported(String),
}

/// One executable file.
#[derive(Debug)]
pub(crate) struct Executable {
    /// Kept open, so that it can be symbolized after its path or its processes are gone.
    file: Arc<File>,
    /// The last part of its path.
    pub(crate) name: String,
    /// As the first process that ran it calls it, in the root that this process sees.
    pub(crate) original_path: PathBuf,
    pub(crate) root: Option<SearchRoot>,
    /// In lower-case hexadecimal digits.
    pub(crate) build_id: Option<String>,
    segments: Vec<LoadSegment>,
    pub(crate) python: PythonKind,
    /// The C library that this is, if it is one.
    pub(crate) library: CLibrary,
    /// The evaluation loop (SVMA), where its calls are counted or its size tells the build.
    eval: Vec<Range<u64>>,
    /// The same where that is not so, once it has been asked for.
    eval_when_asked: OnceCell<Vec<Range<u64>>>,
    /// The number of its table of rows in the kernel.
    row_table: Option<u32>,
    rows: RowState,
    /// They have been in the kernel before.
    was_evicted: bool,
    /// After it found no room for them: how long it waited until it tried again.
    pause: Option<Duration>,
    instructions: Instructions,
    /// When it was opened: from then on its inode's number has no other owner.
    opened: Instant,
    /// Since when no process has it mapped, as far as was looked.
    unmapped_since: Option<Instant>,
}

/// The executables of a recording that are mapped, or were a short time ago, by the number that the kernel puts into frames.
/// Number 0 is never used, and no number is used again.
#[derive(Debug, Default)]
pub(crate) struct Executables {
    all: BTreeMap<u32, Executable>,
    /// The newest number.
    last: u32,
    let_go: u64,
    next_look: Option<Instant>,
    numbers: HashMap<Identity, u32>,
    /// Files without a Python that no target runs: looked at once, and not kept open.
    plain: HashSet<Identity>,
    loading: Loading,
}

impl Executables {
    /// None; of their unwind rows so many may wait for room in the kernel.
    pub(crate) fn new(most_waiting_rows: usize) -> Self {
        let mut executables = Self::default();
        executables.loading.most_waiting = most_waiting_rows;
        executables
    }

    /// The number of the executable behind a mapping, opened and looked at if it is new. `None` for memory without a file
    /// and for files that cannot be opened.
    pub(crate) fn find_or_open(&mut self, pid: Pid, mapping: &Mapping) -> Option<u32> {
        let identity = identify(mapping)?;
        if let Some(number) = self.touch(identity) {
            return Some(number);
        }
        let executable = open(pid, mapping).ok()?;
        self.insert(identity, executable)
    }

    /// The file of this identity, if it is known; it is mapped now.
    fn touch(&mut self, identity: Identity) -> Option<u32> {
        let number = self.numbers.get(&identity).copied()?;
        if let Some(known) = self.find_mut(number) {
            known.unmapped_since = None;
        }
        Some(number)
    }

    /// As [`Self::find_or_open`], of a process that is gone; the mapping was made so long ago.
    pub(crate) fn find_or_open_departed(
        &mut self,
        mapping: &Mapping,
        age: Duration,
    ) -> Option<u32> {
        let identity = identify(mapping)?;
        let held = self.numbers.get(&identity);
        if let Some(held) = held.and_then(|number| self.find(*number)) {
            // Its inode's number can have had another owner when the mapping was made.
            let is_same = identity == Identity::Vdso
                || held.opened.elapsed() > age
                || viperf_process::is_unchanged_for(&held.file, age);
            return is_same.then(|| self.touch(identity)).flatten();
        }
        let file = match identity {
            Identity::Vdso => copy_of_vdso().ok()?,
            Identity::File { .. } => viperf_process::open_file_of_departed(mapping, age)?,
        };
        let executable = look_at(file, &mapping.path, SearchRoot::own().ok());
        self.insert(identity, executable)
    }

    /// Whether the file behind a mapping holds a Python, readable or not.
    pub(crate) fn has_python(&mut self, pid: Pid, mapping: &Mapping) -> bool {
        let Some(identity) = identify(mapping) else {
            return false;
        };
        if self.plain.contains(&identity) {
            return false;
        }
        if let Some(known) = self
            .numbers
            .get(&identity)
            .and_then(|number| self.find(*number))
        {
            return !matches!(known.python, PythonKind::None);
        }
        match open(pid, mapping) {
            Ok(executable) if matches!(executable.python, PythonKind::None) => {
                if self.plain.len() >= MOST_PLAIN {
                    self.plain.clear();
                }
                self.plain.insert(identity);
                false
            }
            Ok(executable) => self.insert(identity, executable).is_some(),
            Err(_) => false,
        }
    }

    /// `None` when all numbers have been used, a million of them. None is used again: the kernel remembers stacks by them.
    fn insert(&mut self, identity: Identity, mut executable: Executable) -> Option<u32> {
        if self.last >= LARGEST_NUMBER {
            self.loading.notes.push(format!(
                "more than {LARGEST_NUMBER} executables and libraries were run: native frames in later ones are missing until viperf is started again"
            ));
            return None;
        }
        let number = self.last + 1;
        // Nearly all have the same one.
        let held = self.all.values().filter_map(|other| other.root.as_ref());
        executable.root = executable.root.map(|root| root.shared_with(held));
        self.last = number;
        self.all.insert(number, executable);
        self.numbers.insert(identity, number);
        Some(number)
    }

    /// The executable with this number.
    pub(crate) fn find(&self, number: u32) -> Option<&Executable> {
        self.all.get(&number)
    }

    /// Whether it is greenlet's library, which runs parts of a program on stacks of their own.
    pub(crate) fn is_greenlet(&self, number: u32) -> bool {
        self.find(number)
            .is_some_and(|found| found.name.starts_with(GREENLET_PREFIX))
    }

    /// Whether it is a C library without unwind information.
    pub(crate) fn is_musl(&self, number: u32) -> bool {
        self.find(number)
            .is_some_and(|found| found.library == CLibrary::Musl)
    }

    /// The executable with this number, to be changed.
    pub(crate) fn find_mut(&mut self, number: u32) -> Option<&mut Executable> {
        self.all.get_mut(&number)
    }
}

impl Executable {
    /// The rows of its tables.
    #[cfg(test)]
    pub(crate) fn build_rows(&self) -> Vec<viperf_abi::UnwindRow> {
        rows::build_rows(&self.file, &self.name, rows::Source::Tables).rows
    }

    /// What its addresses get their names from.
    pub(crate) fn for_names(&self, has_tail_calls: bool) -> NamedFile {
        NamedFile {
            file: Arc::clone(&self.file),
            name: self.name.clone(),
            original_path: self.original_path.clone(),
            root: self.root.clone(),
            build_id: self.build_id.clone(),
            has_tail_calls,
        }
    }

    /// Where a mapping of it has been put.
    pub(crate) fn load_bias(&self, mapping: &Mapping) -> Option<LoadBias> {
        viperf_elf::find_load_bias(&self.segments, mapping.start, mapping.file_offset)
    }
}

/// `None` for memory without a file.
fn identify(mapping: &Mapping) -> Option<Identity> {
    match mapping.kind() {
        MappingKind::File => Some(Identity::File {
            device: mapping.device,
            inode: mapping.inode,
        }),
        MappingKind::Vdso => Some(Identity::Vdso),
        MappingKind::Anonymous | MappingKind::Other => None,
    }
}

fn open(pid: Pid, mapping: &Mapping) -> std::io::Result<Executable> {
    let file = match mapping.kind() {
        MappingKind::Vdso => copy_of_vdso()?,
        _ => viperf_process::open_mapped_file(pid, mapping).map_err(std::io::Error::other)?,
    };
    let root = SearchRoot::of_process(pid.0).ok();
    Ok(look_at(file, &mapping.path, root))
}

/// What a file is; `path` is what its first process calls it.
fn look_at(file: File, path: &Path, root: Option<SearchRoot>) -> Executable {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let mut bytes = read_file(&file, is_wanted_for_python).unwrap_or_default();
    read_code(&file, &mut bytes);
    let image = Image::parse(&bytes).ok();
    let python = image.as_ref().map_or(PythonKind::None, find_python);
    let library = image.as_ref().map_or(CLibrary::Unknown, find_library);
    let eval = match &python {
        PythonKind::Readable(interpreter)
            if interpreter.layout.has_call_per_frame() || may_have_tail_calls(interpreter) =>
        {
            find_eval(&file)
        }
        _ => Vec::new(),
    };
    let build_id = image.as_ref().and_then(Image::build_id).map(hexadecimal);
    let segments = image
        .map(|image| image.load_segments().to_vec())
        .unwrap_or_default();
    Executable {
        file: Arc::new(file),
        name,
        original_path: path.to_owned(),
        root,
        build_id,
        segments,
        python,
        library,
        eval,
        eval_when_asked: OnceCell::new(),
        row_table: None,
        rows: RowState::Absent,
        was_evicted: false,
        pause: None,
        instructions: Instructions::Settled,
        opened: Instant::now(),
        unmapped_since: None,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn find_python(image: &Image<'_>) -> PythonKind {
    match viperf_cpython::detect(image) {
        Detection::NotPython => PythonKind::None,
        Detection::Unsupported { what } => PythonKind::Unsupported(what),
        Detection::Python(interpreter) => PythonKind::Readable(Rc::from(interpreter)),
    }
}

/// By what only one of them exports.
fn find_library(image: &Image<'_>) -> CLibrary {
    let defines = |name| image.symbol(name).is_some();
    if defines("gnu_get_libc_version") {
        CLibrary::Glibc
    } else if defines("__libc_start_main") && defines("pthread_getspecific") {
        CLibrary::Musl
    } else {
        CLibrary::Unknown
    }
}

/// The kernel's own library exists only in memory: a file of ours with its bytes. It is the same in every process, and
/// copied from ours, for another one's could have been changed by it.
fn copy_of_vdso() -> std::io::Result<File> {
    const LARGEST: u64 = 1 << 20;
    let pid = Pid(std::process::id());
    let mappings = viperf_process::read_mappings(pid).map_err(std::io::Error::other)?;
    let mapping = mappings
        .iter()
        .find(|mapping| mapping.kind() == MappingKind::Vdso)
        .ok_or(std::io::ErrorKind::NotFound)?;
    let length = (mapping.end - mapping.start).min(LARGEST);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    viperf_process::read_memory(pid, mapping.start, &mut bytes).map_err(std::io::Error::other)?;
    let mut file = tempfile::tempfile()?;
    file.write_all(&bytes)?;
    Ok(file)
}

/// What tells a Python, its version and its layout.
fn is_wanted_for_python(section: &str, all: &[&str]) -> bool {
    let has_runtime = all.contains(&".PyRuntime");
    match section {
        ".dynsym" | ".dynstr" | ".PyRuntime" | ".rodata" | ".note.gnu.build-id" => true,
        // An interpreter inside a program that exports nothing.
        ".symtab" | ".strtab" => has_runtime || !all.contains(&".dynsym"),
        _ => false,
    }
}

/// The few functions of an interpreter that are looked at.
fn read_code(file: &File, bytes: &mut [u8]) {
    let Ok(image) = Image::parse(bytes) else {
        return;
    };
    let places: Vec<_> = viperf_cpython::code_to_detect(&image)
        .into_iter()
        .filter_map(|(svma, length)| Some((image.file_offset(svma)?, length)))
        .collect();
    read_code_at(file, bytes, places);
}

/// Fills in parts of a file that has been read partially: offset and length.
fn read_code_at(file: &File, bytes: &mut [u8], places: impl IntoIterator<Item = (u64, usize)>) {
    for (offset, length) in places {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(code) = bytes.get_mut(start..start.saturating_add(length)) {
            // What cannot be read stays zero, which nothing is decoded from.
            let _ = file.read_exact_at(code, offset);
        }
    }
}

/// The wanted sections of a file. Read, not mapped: a file that is truncated while it is mapped would kill viperf.
fn read_file(file: &File, wanted: fn(&str, &[&str]) -> bool) -> Option<Vec<u8>> {
    let length = file.metadata().ok()?.len();
    if length > LARGEST_FILE {
        return None;
    }
    let read_at = |offset, buffer: &mut [u8]| file.read_exact_at(buffer, offset).is_ok();
    viperf_elf::read_partially(usize::try_from(length).ok()?, wanted, read_at)
}
