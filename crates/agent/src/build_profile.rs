//! From raw stacks to the profile: addresses get their names here, each once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

use viperf_profile::{
    Frame, FrameHandle, FrameKind, Function, FunctionHandle, Library, LibraryHandle, Process,
    ProcessHandle, Profile, ProfileInformation, Sample, SourceRange, StackHandle, Thread,
    ThreadHandle,
};
use viperf_symbolize::{
    InlinedFunction, KernelSymbol, NativeSymbol, NoSymbol, Options, Symbolizer,
};

use crate::{RecordOptions, Target, recording::Recording, stacks::RawFrame, statistics::Costs};

type Symbols<T> = HashMap<u64, Result<T, NoSymbol>>;

/// <https://github.com/python/cpython/blob/v3.14.0/Python/ceval_macros.h>: `TAIL_CALL_FUNC`s are named so.
const INSTRUCTION_PREFIX: &str = "_TAIL_CALL_";

/// Every name that the stacks need.
struct Names {
    native: HashMap<u32, Symbols<NativeSymbol>>,
    kernel: Symbols<KernelSymbol>,
    /// By process description.
    generated: HashMap<u32, Symbols<NativeSymbol>>,
}

/// Builds the profile; `symbolizing` hears of files done and files in all.
pub(crate) fn build(
    recording: &Recording,
    options: &RecordOptions,
    costs: &Costs,
    started: SystemTime,
    symbolizing: &mut dyn FnMut(usize, usize),
) -> Profile {
    let names = symbolize(recording, options, symbolizing);
    let mut builder = Builder {
        recording,
        names,
        profile: Profile::default(),
        frames: HashMap::new(),
        inlined: HashMap::new(),
    };
    builder.profile.information = information(options, costs, started);
    builder.profile.lost = costs.lost_samples + recording.unknown_stacks;
    let stacks = builder.add_stacks();
    builder.add_samples(&stacks, options.period_ns());
    builder.profile
}

fn information(options: &RecordOptions, costs: &Costs, started: SystemTime) -> ProfileInformation {
    let since_epoch = started
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    ProfileInformation {
        viperf_version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: viperf_process::read_hostname(),
        kernel: viperf_process::read_kernel_release(),
        started_unix_ns: since_epoch.as_nanos() as u64,
        duration_ns: costs.sampled_for.as_nanos() as u64,
        period_ns: options.period_ns(),
        rate_hz: options.rate_hz,
        target: describe(&options.target),
    }
}

fn describe(target: &Target) -> String {
    match target {
        Target::EveryPython => "every Python process".to_owned(),
        Target::Pids(pids) => {
            let numbers: Vec<String> = pids.iter().map(u32::to_string).collect();
            format!("pid {}", numbers.join(", "))
        }
        Target::Command(words) => words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// The addresses that need a name, each once.
#[derive(Default)]
struct Addresses {
    native: BTreeMap<u32, BTreeSet<u64>>,
    generated: BTreeMap<u32, BTreeSet<u64>>,
    kernel: BTreeSet<u64>,
}

fn collect_addresses(recording: &Recording) -> Addresses {
    let mut addresses = Addresses::default();
    let stacks = recording.stacks.all().iter();
    for frame in stacks.flat_map(|stack| &stack.frames) {
        match *frame {
            RawFrame::Native { executable, svma } | RawFrame::Interpreter { executable, svma } => {
                addresses.native.entry(executable).or_default().insert(svma);
            }
            RawFrame::Kernel(address) => {
                addresses.kernel.insert(address);
            }
            RawFrame::Address { process, address } => {
                let generated = addresses.generated.entry(process).or_default();
                generated.insert(address);
            }
            RawFrame::Python { .. } | RawFrame::Reason(_) => {}
        }
    }
    addresses
}

fn symbolize(
    recording: &Recording,
    options: &RecordOptions,
    symbolizing: &mut dyn FnMut(usize, usize),
) -> Names {
    let addresses = collect_addresses(recording);
    let symbolizer = Symbolizer::new(Options {
        inlined_functions: options.inlined_functions,
        ..Options::default()
    });
    let total = addresses.native.len() + 1;
    let mut names = Names {
        native: HashMap::new(),
        kernel: HashMap::new(),
        generated: HashMap::new(),
    };
    for (done, (number, addresses)) in addresses.native.into_iter().enumerate() {
        symbolizing(done, total);
        let executable = recording.executables.find(number);
        let Some(executable) = executable else {
            continue;
        };
        let path = executable.path();
        let file = executable.native_file(&path);
        let named = name_each(addresses, |each| symbolizer.symbolize_native(&file, each));
        names.native.insert(number, named);
    }
    symbolizing(total - 1, total);
    names.kernel = name_each(addresses.kernel, |each| symbolizer.symbolize_kernel(each));
    for (process, addresses) in addresses.generated {
        let find = |address: &u64| recording.generated.find(process, *address);
        let named = name_each(addresses, |each| each.iter().map(find).collect());
        names.generated.insert(process, named);
    }
    symbolizing(total, total);
    names
}

/// Each address beside its name; `symbolize` gives one for each, in their order.
fn name_each<T>(
    addresses: BTreeSet<u64>,
    symbolize: impl FnOnce(&[u64]) -> Vec<Result<T, NoSymbol>>,
) -> Symbols<T> {
    let addresses: Vec<u64> = addresses.into_iter().collect();
    let names = symbolize(&addresses);
    addresses.into_iter().zip(names).collect()
}

struct Builder<'recording> {
    recording: &'recording Recording,
    names: Names,
    profile: Profile,
    frames: HashMap<RawFrame, FrameHandle>,
    /// Those inlined into a native frame, innermost first; only where there are any.
    inlined: HashMap<RawFrame, Vec<FrameHandle>>,
}

impl Builder<'_> {
    /// By stack number; `None` for a stack without frames.
    fn add_stacks(&mut self) -> Vec<Option<StackHandle>> {
        let recording = self.recording;
        let mut handles = Vec::with_capacity(recording.stacks.all().len());
        for stack in recording.stacks.all() {
            let mut frames: Vec<FrameHandle> = Vec::with_capacity(stack.frames.len());
            for (index, frame) in stack.frames.iter().enumerate() {
                let caller = stack.frames.get(index + 1);
                let frame = self.part_of_eval(*frame, caller);
                let itself = self.frame(frame);
                frames.extend(self.inlined.get(&frame).into_iter().flatten());
                frames.push(itself);
            }
            if frames.is_empty() {
                frames.push(self.plain_frame(
                    "no frames of the kinds asked for",
                    FrameKind::Incomplete,
                    0,
                ));
            }
            handles.push(self.profile.intern_stack_leaf_first(frames));
        }
        handles
    }

    /// In an interpreter built with tail calls (clang, 3.14 and later) eval itself jumps to one function per instruction,
    /// of which one is on the stack above it: part of the eval call, not something that Python has called.
    fn part_of_eval(&self, frame: RawFrame, caller: Option<&RawFrame>) -> RawFrame {
        let (RawFrame::Native { executable, svma }, Some(RawFrame::Interpreter { .. })) =
            (frame, caller)
        else {
            return frame;
        };
        let symbols = self.names.native.get(&executable);
        let name = symbols.and_then(|symbols| symbols.get(&svma)?.as_ref().ok());
        let is_instruction = match name {
            Some(symbol) => symbol.name.starts_with(INSTRUCTION_PREFIX),
            // The names of instructions are local: a stripped interpreter has lost them.
            None => self.recording.executables.has_tail_calls(executable),
        };
        match is_instruction {
            true => RawFrame::Interpreter { executable, svma },
            false => frame,
        }
    }

    fn add_samples(&mut self, stacks: &[Option<StackHandle>], weight_ns: u64) {
        let recording = self.recording;
        let first_ns = recording
            .samples
            .iter()
            .map(|sample| sample.time_ns)
            .min()
            .unwrap_or(0);
        let processes = self.add_processes();
        let mut threads: HashMap<u32, ThreadHandle> = HashMap::new();
        for sample in &recording.samples {
            let index = sample.stack.0 as usize;
            let (Some(Some(stack)), Some(raw)) =
                (stacks.get(index), recording.stacks.all().get(index))
            else {
                continue;
            };
            let Some(process) = processes.get(&sample.process) else {
                continue;
            };
            let Some(sampled) = recording.threads.find(sample.thread) else {
                continue;
            };
            let thread = *threads.entry(sample.thread).or_insert_with(|| {
                let name = recording.threads.name(sampled);
                let name = self.profile.strings.intern(&name);
                self.profile.threads.intern(Thread {
                    process: *process,
                    tid: sampled.tid,
                    name,
                })
            });
            if let Some(reason) = raw.incomplete {
                *self
                    .profile
                    .incomplete
                    .entry(reason.text().to_owned())
                    .or_default() += 1;
            }
            self.profile.samples.push(Sample {
                time_ns: sample.time_ns - first_ns,
                weight_ns,
                cpu: sample.cpu,
                thread,
                stack: *stack,
                complete: raw.incomplete.is_none(),
            });
        }
        self.profile.sort_samples();
    }

    /// Those that have samples, by index of their description.
    fn add_processes(&mut self) -> HashMap<u32, ProcessHandle> {
        let recording = self.recording;
        let sampled: BTreeSet<u32> = recording
            .samples
            .iter()
            .map(|sample| sample.process)
            .collect();
        let mut handles = HashMap::new();
        for index in sampled {
            let Some(process) = recording.processes.descriptions().get(index as usize) else {
                continue;
            };
            let name = self.profile.strings.intern(&process.name);
            let command_line = self.profile.strings.intern(&process.command_line);
            let python_version = process
                .python_version
                .as_ref()
                .map(|version| self.profile.strings.intern(version));
            let handle = self.profile.processes.intern(Process {
                pid: process.pid,
                parent_pid: process.parent,
                name,
                command_line,
                python_version,
                start_time_ns: 0,
            });
            handles.insert(index, handle);
        }
        handles
    }

    fn frame(&mut self, raw: RawFrame) -> FrameHandle {
        if let Some(handle) = self.frames.get(&raw) {
            return *handle;
        }
        let handle = match raw {
            RawFrame::Kernel(address) => self.kernel_frame(address),
            RawFrame::Native { executable, svma } => {
                self.add_inlined(raw, executable, svma, FrameKind::Native);
                self.native_frame(executable, svma, FrameKind::Native)
            }
            RawFrame::Interpreter { executable, svma } => {
                self.add_inlined(raw, executable, svma, FrameKind::Interpreter);
                self.native_frame(executable, svma, FrameKind::Interpreter)
            }
            RawFrame::Address { process, address } => self.generated_frame(process, address),
            RawFrame::Python { function, source } => self.python_frame(function, source),
            RawFrame::Reason(reason) => self.plain_frame(reason.text(), FrameKind::Incomplete, 0),
        };
        self.frames.insert(raw, handle);
        handle
    }

    fn python_frame(&mut self, function: u32, source: SourceRange) -> FrameHandle {
        let Some(python) = self.recording.codes.function(function) else {
            return self.plain_frame("[unknown function]", FrameKind::Python, 0);
        };
        let name = self.profile.strings.intern(&python.qualname);
        let file = Some(self.profile.strings.intern(&python.filename));
        let function = Function {
            name,
            file,
            library: None,
            first_line: python.first_line,
            kind: FrameKind::Python,
        };
        let function = self.profile.functions.intern(function);
        self.profile.frames.intern(Frame {
            function,
            source,
            address: 0,
            inlined: false,
        })
    }

    /// What was inlined into the eval call is as much part of the interpreter as the call itself.
    fn add_inlined(&mut self, raw: RawFrame, executable: u32, svma: u64, kind: FrameKind) {
        let symbols = self.names.native.get(&executable);
        let symbol = symbols.and_then(|symbols| symbols.get(&svma)?.as_ref().ok());
        let Some(symbol) = symbol.filter(|symbol| !symbol.inlined.is_empty()) else {
            return;
        };
        let library = intern_file(&mut self.profile, self.recording, executable);
        let profile = &mut self.profile;
        let frames = symbol
            .inlined
            .iter()
            .map(|inlined| intern_inlined(profile, inlined, svma, library, kind));
        self.inlined.insert(raw, frames.collect());
    }

    fn native_frame(&mut self, executable: u32, svma: u64, kind: FrameKind) -> FrameHandle {
        let library = intern_file(&mut self.profile, self.recording, executable);
        let symbol = self
            .names
            .native
            .get(&executable)
            .and_then(|symbols| symbols.get(&svma));
        let (function, line) = match symbol {
            Some(Ok(symbol)) => {
                let line = symbol.line.unwrap_or(0);
                (
                    intern_native(&mut self.profile, symbol, library, kind),
                    line,
                )
            }
            _ => {
                let name = self.recording.executables.find(executable);
                let name = name.map_or("?", |executable| executable.name.as_str());
                let name = format!("[{name}+{svma:#x}]");
                let function = intern_function(&mut self.profile, &name, Some(library), kind);
                (function, 0)
            }
        };
        self.profile.frames.intern(Frame {
            function,
            source: SourceRange::from_line(line),
            address: svma,
            inlined: false,
        })
    }

    fn generated_frame(&mut self, process: u32, address: u64) -> FrameHandle {
        let symbol = self
            .names
            .generated
            .get(&process)
            .and_then(|symbols| symbols.get(&address));
        let line = match symbol {
            Some(Ok(symbol)) => symbol.line.unwrap_or(0),
            _ => 0,
        };
        let function = match symbol {
            Some(Ok(symbol)) => {
                let library = intern_library(&mut self.profile, "[generated code]");
                intern_native(&mut self.profile, symbol, library, FrameKind::Native)
            }
            _ => intern_function(
                &mut self.profile,
                "[code without a file]",
                None,
                FrameKind::Native,
            ),
        };
        self.profile.frames.intern(Frame {
            function,
            source: SourceRange::from_line(line),
            address,
            inlined: false,
        })
    }

    fn kernel_frame(&mut self, address: u64) -> FrameHandle {
        match self.names.kernel.get(&address) {
            Some(Ok(symbol)) => {
                let library = symbol.module.as_deref();
                let library = library.map(|name| intern_library(&mut self.profile, name));
                let function =
                    intern_function(&mut self.profile, &symbol.name, library, FrameKind::Kernel);
                self.profile.frames.intern(Frame {
                    function,
                    source: SourceRange::default(),
                    address,
                    inlined: false,
                })
            }
            _ => self.plain_frame("[kernel]", FrameKind::Kernel, address),
        }
    }

    fn plain_frame(&mut self, name: &str, kind: FrameKind, address: u64) -> FrameHandle {
        let function = intern_function(&mut self.profile, name, None, kind);
        self.profile.frames.intern(Frame {
            function,
            source: SourceRange::default(),
            address,
            inlined: false,
        })
    }
}

/// The library that an executable is in the profile.
fn intern_file(profile: &mut Profile, recording: &Recording, executable: u32) -> LibraryHandle {
    let Some(found) = recording.executables.find(executable) else {
        return intern_library(profile, "?");
    };
    let strings = &mut profile.strings;
    let library = Library {
        name: strings.intern(&found.name),
        path: Some(strings.intern(&found.original_path.to_string_lossy())),
        build_id: found.build_id.as_ref().map(|id| strings.intern(id)),
    };
    profile.libraries.intern(library)
}

fn intern_library(profile: &mut Profile, name: &str) -> LibraryHandle {
    let name = profile.strings.intern(name);
    profile.libraries.intern(Library::named(name))
}

fn intern_native(
    profile: &mut Profile,
    symbol: &NativeSymbol,
    library: LibraryHandle,
    kind: FrameKind,
) -> FunctionHandle {
    let name = profile.strings.intern(&symbol.name);
    let file = symbol
        .file
        .as_ref()
        .map(|file| profile.strings.intern(file));
    let library = Some(library);
    profile.functions.intern(Function {
        name,
        file,
        library,
        first_line: 0,
        kind,
    })
}

fn intern_inlined(
    profile: &mut Profile,
    inlined: &InlinedFunction,
    svma: u64,
    library: LibraryHandle,
    kind: FrameKind,
) -> FrameHandle {
    let file = inlined.file.as_ref();
    let function = Function {
        name: profile.strings.intern(&inlined.name),
        file: file.map(|file| profile.strings.intern(file)),
        library: Some(library),
        first_line: 0,
        kind,
    };
    let function = profile.functions.intern(function);
    profile.frames.intern(Frame {
        function,
        source: SourceRange::from_line(inlined.line.unwrap_or(0)),
        address: svma,
        inlined: true,
    })
}

fn intern_function(
    profile: &mut Profile,
    name: &str,
    library: Option<LibraryHandle>,
    kind: FrameKind,
) -> FunctionHandle {
    let name = profile.strings.intern(name);
    profile.functions.intern(Function {
        name,
        file: None,
        library,
        first_line: 0,
        kind,
    })
}
