//! What the mappings of a process tell: its executables, and the Python among them.

use std::{rc::Rc, time::Duration};

use viperf_abi::{Mapping as KernelMapping, PROCESS_PYTHON, Process};
use viperf_cpython::Interpreter;
use viperf_elf::LoadBias;
use viperf_process::{Mapping, MappingKind, Pid, ProcessError};
use viperf_sample::Sampler;

use crate::{
    executables::{Executables, PythonKind},
    generated_rows::GeneratedRows,
    layout::{self, CLibrary},
    mapping_history::PastMapping,
};

/// The kernel's array of mappings is shared by all processes: so many with a file, and so many without, are used of one.
const MAPPINGS_OF_A_KIND: usize = 32_768;

/// What is needed to read a process.
pub(crate) struct Readers<'recording> {
    pub(crate) sampler: &'recording mut Sampler,
    pub(crate) executables: &'recording mut Executables,
    pub(crate) generated: &'recording mut GeneratedRows,
}

/// What was found in the mappings of a process.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) executables: Vec<FoundExecutable>,
    /// For the kernel, by address.
    pub(crate) mappings: Vec<KernelMapping>,
    pub(crate) python: Option<FoundPython>,
    /// A Python that cannot be read, and why.
    pub(crate) unsupported: Option<String>,
    pub(crate) library: CLibrary,
    /// What had no room.
    pub(crate) left_out: Option<String>,
}

/// An executable mapping, the number of its file (0 without one), and where the file has been put.
pub(crate) struct FoundExecutable {
    start: u64,
    end: u64,
    number: u32,
    load_bias: Option<LoadBias>,
}

/// An interpreter in one of the mappings.
pub(crate) struct FoundPython {
    pub(crate) interpreter: Rc<Interpreter>,
    pub(crate) executable: u32,
    load_bias: LoadBias,
}

impl Found {
    /// Opens every executable of a process that is new, and looks for a Python.
    pub(crate) fn read(pid: u32, readers: &mut Readers<'_>) -> Result<Self, ProcessError> {
        let mut found = Self::default();
        let mappings = viperf_process::read_mappings(Pid(pid))?;
        let (mut with_file, mut without) = (0, 0);
        for mapping in mappings.iter().filter(|mapping| mapping.executable) {
            // A JIT compiler's pages must not take the place of the libraries behind them.
            let is_file = matches!(mapping.kind(), MappingKind::File | MappingKind::Vdso);
            let count = if is_file {
                &mut with_file
            } else {
                &mut without
            };
            if *count == MAPPINGS_OF_A_KIND {
                let kind = if is_file {
                    "of files"
                } else {
                    "without a file"
                };
                found.left_out = Some(format!(
                    "only {MAPPINGS_OF_A_KIND} executable mappings {kind} are used"
                ));
                continue;
            }
            *count += 1;
            let number = readers.executables.find_or_open(Pid(pid), mapping);
            found.add(number.unwrap_or(0), mapping, readers.executables);
        }
        Ok(found)
    }

    /// As [`Self::read`] and [`Self::add_rows`], of a process that may be gone.
    pub(crate) fn of_history(mappings: &[PastMapping], readers: &mut Readers<'_>) -> Self {
        let mut found = Self::default();
        let now_ns = viperf_sample::now_ns();
        for PastMapping { mapping, time_ns } in mappings {
            let age = Duration::from_nanos(now_ns.saturating_sub(*time_ns));
            let number = readers.executables.find_or_open_departed(mapping, age);
            found.add(number.unwrap_or(0), mapping, readers.executables);
        }
        for executable in &found.executables {
            let (mapping, left_out) = map_file(executable, readers);
            found.left_out = left_out.or(found.left_out.take());
            found.mappings.push(mapping);
        }
        found
    }

    /// Has the rows built of every executable that is new, and says where they will be.
    pub(crate) fn add_rows(&mut self, pid: u32, readers: &mut Readers<'_>) {
        let generated = self.executables.iter().filter(|found| found.number == 0);
        let starts = generated.map(|found| found.start).collect();
        readers.generated.retain(pid, &starts);
        for found in &self.executables {
            if found.number == 0 {
                let table =
                    readers
                        .generated
                        .find_or_make(pid, found.start..found.end, readers.sampler);
                self.mappings.push(KernelMapping {
                    start: found.start,
                    end: found.end,
                    load_bias: found.start,
                    row_table: table.unwrap_or(0),
                    executable: 0,
                });
                continue;
            }
            let (mapping, left_out) = map_file(found, readers);
            self.left_out = left_out.or(self.left_out.take());
            self.mappings.push(mapping);
        }
    }

    fn add(&mut self, number: u32, mapping: &Mapping, executables: &Executables) {
        let executable = executables.find(number);
        let load_bias = executable.and_then(|executable| executable.load_bias(mapping));
        let (start, end) = (mapping.start, mapping.end);
        self.executables.push(FoundExecutable {
            start,
            end,
            number,
            load_bias,
        });
        let Some((executable, load_bias)) = executable.zip(load_bias) else {
            return;
        };
        if executable.library != CLibrary::Unknown {
            self.library = executable.library;
        }
        match &executable.python {
            PythonKind::Readable(interpreter) => {
                let interpreter = Rc::clone(interpreter);
                if let Some(other) = self
                    .python
                    .as_ref()
                    .filter(|other| other.executable != number)
                {
                    self.left_out = Some(format!(
                        "of two interpreters in one process, CPython {} and {}, only the second one's frames are read",
                        other.interpreter.version, interpreter.version
                    ));
                }
                self.python = Some(FoundPython {
                    interpreter,
                    executable: number,
                    load_bias,
                });
            }
            PythonKind::Unsupported(what) => self.unsupported = Some(what.clone()),
            PythonKind::None => {}
        }
    }
}

/// A mapping of a file for the kernel, and what had no room. The file's rows are built from now on.
fn map_file(found: &FoundExecutable, readers: &mut Readers<'_>) -> (KernelMapping, Option<String>) {
    let table = readers.executables.row_table(found.number, readers.sampler);
    let (table, left_out) = match table {
        Ok(table) => (table, None),
        Err(error) => (None, Some(error.to_string())),
    };
    // Without a bias no address of the file can be looked up: as good as no file.
    let table = table.filter(|_| found.load_bias.is_some());
    let mapping = KernelMapping {
        start: found.start,
        end: found.end,
        load_bias: found.load_bias.map_or(0, |bias| bias.0),
        row_table: table.unwrap_or(0),
        executable: found.number,
    };
    (mapping, left_out)
}

impl FoundPython {
    /// Completes the kernel's picture of a process; false when the layout has a shape that the kernel's walk does not know.
    pub(crate) fn describe(&self, library: CLibrary, kernel: &mut Process) -> bool {
        let offset = self.interpreter.static_thread_state_offset;
        let Some(layout) = layout::for_kernel(&self.interpreter.layout, offset, library) else {
            return false;
        };
        kernel.layout = layout;
        kernel.interpreter = self.executable;
        kernel.flags |= PROCESS_PYTHON;
        kernel.runtime = self.load_bias.avma(self.interpreter.runtime);
        kernel.code_type = self.load_bias.avma(self.interpreter.code_type);
        true
    }
}
