//! An address becomes a function, a file and a line, or the reason why not.
//!
//! Three kinds of address are understood: an SVMA inside an ELF file ([`Symbolizer::symbolize_native`]),
//! an address of the running kernel ([`Symbolizer::symbolize_kernel`]), and an address in code that a
//! process generated and described in a perf map, a jitdump or to debuggers ([`GeneratedCode`]).
//!
//! **What it asks of you.**
//! Pass the addresses of one file together: a file is opened and its tables are sorted on the first
//! call, later calls only search.
//! A return address points *behind* its call; subtract one before asking, or the last call of a
//! function is given the name of the next function.
//! Open a target's [`SearchRoot`] and make its [`GeneratedCode`] while it lives.
//!
//! **What it will not do.**
//! It never gives the nearest name: an address belongs to a symbol only if it lies in
//! `[symbol, symbol + size)`, and a symbol without a size names its first byte alone.
//! It does not fetch anything from the network, does not read split DWARF (`.dwo`, `.dwp`), and does not map
//! files into memory: one that shrinks while it is read gives an error, not a signal.
//! Names are demangled (C++, Rust and Cython); the compiler's suffixes (`.cold`, `.part.0`, `.constprop.0`)
//! are kept, because they say where the time went.
//!
//! **Which symbols are used**, in this order, each only for addresses that the ones before do not know:
//!
//! 1. `.symtab` and `.dynsym` of the file itself;
//! 2. those of its separate debug file, found by build ID or by `.gnu_debuglink`, in the target's root and in viperf's;
//! 3. `.gnu_debugdata`;
//! 4. the functions of DWARF, where no `.symtab` was found.
//!
//! Of several names of one function the one shown is global before local, has few leading underscores, and is short;
//! its version is cut off.
//! Lines come from DWARF when [`Options::native_lines`] asks for them, and inlined functions when
//! [`Options::inlined_functions`] does.
//!
//! **What it costs.** 20,000 addresses spread over the code of a libpython3.12 with 14 MB of `.debug_info`: 0.01 s of
//! CPU time and 6 MB at the peak for names alone, 0.07 s and 30 MB with lines, 0.13 s and 39 MB with inlined functions
//! too; a second time 0.01 s, 0.06 s and 0.11 s (release build, files in the page cache).
//! The tables are kept for the next call, lines are looked up anew. So lines are on by default, and inlined functions
//! are not because of the frames that they add.
//! Files that were used are kept open as long as they hold no more than [`Options::largest_cache`] together.
//! The figures are from `cargo run --release -p viperf-symbolize --example time_symbols`.
//!
//! The files read here belong to the profiled program and are hostile: what goes wrong, a panic of the DWARF parser
//! included, costs this file's names or lines, never the profile. Tables and sections are read one by one, each with a
//! largest size, so that a sparse file of terabytes costs no more than its symbols; of DWARF only what belongs to the
//! addresses asked for is kept, and a look-up that takes longer than a minute ends without lines.

#![forbid(unsafe_code)]

mod code_map;
mod cython;
mod debug_file;
mod debug_information;
mod debug_interface;
mod decompress;
mod demangle;
mod dwarf_lines;
mod dwarf_scopes;
mod elf_file;
mod generated;
mod jitdump;
mod kernel;
mod line_information;
mod native;
mod perf_map;
#[doc(hidden)]
pub mod readers;
mod search_root;
mod symbol_table;

use std::cell::OnceCell;
use std::path::Path;

pub use crate::debug_interface::FrameSection;
pub use crate::generated::GeneratedCode;
pub use crate::kernel::shows_kernel_addresses;
pub use crate::search_root::SearchRoot;

use crate::kernel::KernelSymbols;
use crate::native::NativeFiles;

/// The function that an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NativeSymbol {
    /// The function's name; C++ and Rust names are demangled.
    pub name: String,
    /// The source file as the debug information names it, absolute where it says so.
    pub file: Option<String>,
    /// The source line of the address, counted from 1.
    ///
    /// Where functions were inlined and asked for, file and line are those of the call to the outermost of them.
    pub line: Option<u32>,
    /// The functions that were inlined into this one at the address, innermost first; empty unless
    /// [`Options::inlined_functions`] asks for them. An empty list costs nothing.
    pub inlined: Vec<InlinedFunction>,
}

/// A function whose code became part of the function that calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InlinedFunction {
    /// The function's name; C++ and Rust names are demangled.
    pub name: String,
    /// The source file of `line`.
    pub file: Option<String>,
    /// For the innermost function the line of the address, for the others that of the call to the one before.
    pub line: Option<u32>,
}

/// An executable file: where to read it, and what its target calls it.
///
/// `NativeFile::from(path)` is a file that is only known by a path of viperf's own.
#[derive(Clone, Copy, Debug)]
pub struct NativeFile<'a> {
    /// Where viperf reads it. `/proc/self/fd/N` is a file that is held open.
    pub path: &'a Path,
    /// Its path as the target sees it, for the debug files beside it.
    pub original_path: Option<&'a Path>,
    /// The target's root, in which debug files are looked for before viperf's own.
    pub root: Option<&'a SearchRoot>,
}

/// The kernel function that an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelSymbol {
    /// The function's name as `/proc/kallsyms` gives it.
    pub name: String,
    /// The module that holds the function (`bpf` for BPF programs); `None` for the kernel proper.
    pub module: Option<String>,
}

/// Why an address has no name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoSymbol {
    /// The file has no `.symtab`, neither in itself nor beside it, and no export covers the address.
    #[error("the file is stripped and no export covers the address")]
    Stripped,
    /// There are symbols, and none of them covers the address.
    #[error("no symbol covers the address")]
    NoSymbolAtAddress,
    /// The file, the perf map or the kernel's symbol list could not be read; the text says why.
    #[error("{0}")]
    Unreadable(String),
    /// The process has written no perf map, so its generated code has no names.
    #[error("the process has no perf map")]
    NoPerfMap,
    /// `/proc/kallsyms` shows every address as zero.
    #[error(
        "the kernel hides its addresses; run as root, or set the sysctl kernel.kptr_restrict to 0"
    )]
    KernelAddressesHidden,
}

/// How to symbolize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Look up file and line of native addresses in DWARF. Default is `true`.
    pub native_lines: bool,
    /// Look up the functions that were inlined at native addresses in DWARF. Default is `false`.
    pub inlined_functions: bool,
    /// DWARF of more bytes than this, decompressed, is not read. Default is 1 GiB.
    pub largest_debug_information: u64,
    /// Bytes that the tables of opened files may take together before the file used longest ago is closed; the one that is
    /// being used stays open, however large. Default is 256 MiB.
    pub largest_cache: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            native_lines: true,
            inlined_functions: false,
            largest_debug_information: 1 << 30,
            largest_cache: 256 << 20,
        }
    }
}

/// Symbolizes addresses and keeps what it opened for the next call.
///
/// It is not `Send`: create it on the thread that uses it.
pub struct Symbolizer {
    native: NativeFiles,
    kernel: OnceCell<Result<KernelSymbols, NoSymbol>>,
}

impl std::fmt::Debug for Symbolizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Symbolizer").finish_non_exhaustive()
    }
}

impl Default for Symbolizer {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Symbolizer {
    /// A symbolizer that has opened nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            native: NativeFiles::new(options),
            kernel: OnceCell::new(),
        }
    }

    /// The functions at `svmas` (addresses as written in the ELF file) of `file`.
    ///
    /// There is one result per input, in the order of the inputs.
    /// A path or a descriptor number that is used again for another file is noticed.
    pub fn symbolize_native(
        &self,
        file: &NativeFile<'_>,
        svmas: &[u64],
    ) -> Vec<Result<NativeSymbol, NoSymbol>> {
        self.native.symbolize(file, svmas)
    }

    /// As [`Self::symbolize_native`], for a file of which nothing but a path is known.
    pub fn symbolize_file(
        &self,
        path: &Path,
        svmas: &[u64],
    ) -> Vec<Result<NativeSymbol, NoSymbol>> {
        self.symbolize_native(&NativeFile::from(path), svmas)
    }

    /// The kernel functions at `addresses`, one result per input, in the order of the inputs.
    ///
    /// The kernel's symbol list is read at the first call.
    pub fn symbolize_kernel(&self, addresses: &[u64]) -> Vec<Result<KernelSymbol, NoSymbol>> {
        let symbols = self.kernel.get_or_init(kernel::read_kernel_symbols);
        addresses
            .iter()
            .map(|&address| match symbols {
                Ok(symbols) => symbols.find(address).ok_or(NoSymbol::NoSymbolAtAddress),
                Err(reason) => Err(reason.clone()),
            })
            .collect()
    }
}
