//! One frame of a stack becomes a row of the profile.

use viperf_profile::{
    Frame, FrameHandle, FrameKind, Function, FunctionHandle, Library, LibraryHandle, Profile,
    SourceRange,
};
use viperf_symbolize::{InlinedFunction, NativeSymbol};

use super::Builder;
use crate::{code_objects::PythonFunction, named_file::NamedFile, stacks::RawFrame};

/// <https://github.com/python/cpython/blob/v3.14.0/Python/ceval_macros.h>: `TAIL_CALL_FUNC`s are named so.
const INSTRUCTION_PREFIX: &str = "_TAIL_CALL_";

impl Builder {
    /// In an interpreter built with tail calls (clang, 3.14 and later) eval itself jumps to one function per instruction,
    /// of which one is on the stack above it: part of the eval call, not something that Python has called.
    pub(super) fn part_of_eval(&self, frame: RawFrame, caller: Option<&RawFrame>) -> RawFrame {
        let (RawFrame::Native { executable, svma }, Some(RawFrame::Interpreter { .. })) =
            (frame, caller)
        else {
            return frame;
        };
        let is_instruction = match self.names.native(executable, svma) {
            Some(symbol) => symbol.name.starts_with(INSTRUCTION_PREFIX),
            // The names of instructions are local: a stripped interpreter has lost them.
            None => {
                let file = self.names.files.get(&executable);
                file.is_some_and(|file| file.has_tail_calls)
            }
        };
        match is_instruction {
            true => RawFrame::Interpreter { executable, svma },
            false => frame,
        }
    }

    pub(super) fn frame(&mut self, raw: RawFrame) -> FrameHandle {
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
        let made = self.made_functions.get(&function).copied();
        let row = made.or_else(|| {
            let python = self.functions.get(&function)?;
            let handle = intern_python(&mut self.profile, python);
            self.made_functions.insert(function, handle);
            Some(handle)
        });
        let Some(function) = row else {
            return self.plain_frame("[unknown function]", FrameKind::Python, 0);
        };
        self.profile.frames.intern(Frame {
            function,
            source,
            address: 0,
            inlined: false,
        })
    }

    /// What was inlined into the eval call is as much part of the interpreter as the call itself.
    fn add_inlined(&mut self, raw: RawFrame, executable: u32, svma: u64, kind: FrameKind) {
        let symbol = self.names.native(executable, svma);
        let Some(symbol) = symbol.filter(|symbol| !symbol.inlined.is_empty()) else {
            return;
        };
        let library = intern_file(&mut self.profile, self.names.files.get(&executable));
        let profile = &mut self.profile;
        let frames = symbol
            .inlined
            .iter()
            .map(|inlined| intern_inlined(profile, inlined, svma, library, kind));
        self.inlined.insert(raw, frames.collect());
    }

    fn native_frame(&mut self, executable: u32, svma: u64, kind: FrameKind) -> FrameHandle {
        let library = intern_file(&mut self.profile, self.names.files.get(&executable));
        let (function, line) = match self.names.native(executable, svma) {
            Some(symbol) => {
                let line = symbol.line.unwrap_or(0);
                (
                    intern_native(&mut self.profile, symbol, library, kind),
                    line,
                )
            }
            None => {
                let name = self.names.files.get(&executable);
                let name = name.map_or("?", |file| file.name.as_str());
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
        let symbol = self.names.generated(process, address);
        let line = symbol.and_then(|symbol| symbol.line).unwrap_or(0);
        let function = match symbol {
            Some(symbol) => {
                let library = intern_library(&mut self.profile, "[generated code]");
                intern_native(&mut self.profile, symbol, library, FrameKind::Native)
            }
            None => intern_function(
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
        match self.names.kernel(address) {
            Some(symbol) => {
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
            None => self.plain_frame("[kernel]", FrameKind::Kernel, address),
        }
    }

    pub(super) fn plain_frame(&mut self, name: &str, kind: FrameKind, address: u64) -> FrameHandle {
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
fn intern_file(profile: &mut Profile, file: Option<&NamedFile>) -> LibraryHandle {
    let Some(found) = file else {
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

fn intern_python(profile: &mut Profile, python: &PythonFunction) -> FunctionHandle {
    let name = profile.strings.intern(&python.qualname);
    let file = Some(profile.strings.intern(&python.filename));
    profile.functions.intern(Function {
        name,
        file,
        library: None,
        first_line: python.first_line,
        kind: FrameKind::Python,
    })
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
