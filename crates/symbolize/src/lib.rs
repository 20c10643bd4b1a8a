//! An address becomes a function, a file and a line, or the reason why not.
//!
//! Three kinds of address are understood: an SVMA inside an ELF file ([`Symbolizer::symbolize_file`]),
//! an address of the running kernel ([`Symbolizer::symbolize_kernel`]), and an address in code that a
//! process generated and described in a perf map ([`Symbolizer::symbolize_perf_map`]).
//!
//! **What it asks of you.**
//! Pass the addresses of one file together: a file is opened and its tables are sorted on the first
//! call, later calls only search.
//! A return address points *behind* its call; subtract one before asking, or the last call of a
//! function is given the name of the next function.
//!
//! **What it will not do.**
//! It never gives the nearest name: an address belongs to a symbol only if it lies in
//! `[symbol, symbol + size)`, and a symbol without a size names its first byte alone.
//! It does not expand inlined functions, and it does not fetch anything from the network.
//! Names are demangled (C++ and Rust); the compiler's suffixes (`.cold`, `.part.0`, `.constprop.0`)
//! are kept, because they say where the time went.
//!
//! **Which symbols are used**, in this order: `.symtab` and `.dynsym` of the file itself, then those
//! of its separate debug file, found by build ID below `/usr/lib/debug/.build-id`.
//! Whatever is still without a name is looked up in DWARF, through `.gnu_debuglink` too.
//! Lines come from DWARF when [`Options::native_lines`] asks for them.
//!
//! **What it costs.** 20,000 addresses spread over the code of a libpython3.12 with 14 MB of
//! `.debug_info`: 0.05 s and 28 MB at the peak for names alone, 0.15 s and 66 MB with lines, the second
//! time 0.013 s and 0.03 s (release build, files in the page cache, 2 cores). So lines are on by default.
//! The figures are from `cargo run --release --example measure`.
//!
//! The files read here belong to the profiled program and are hostile: every failure, a panic of the
//! ELF or DWARF parser included, becomes a [`NoSymbol`] of the addresses asked for.

#![forbid(unsafe_code)]

mod debug_file;
mod kernel;
mod native;
mod perf_map;

use std::cell::OnceCell;
use std::path::Path;

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
    pub line: Option<u32>,
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
}

impl Default for Options {
    fn default() -> Self {
        Self { native_lines: true }
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
        let Options { native_lines } = options;
        Self {
            native: NativeFiles::new(native_lines),
            kernel: OnceCell::new(),
        }
    }

    /// The functions at `svmas` (addresses as written in the ELF file) of the file at `path`.
    ///
    /// There is one result per input, in the order of the inputs.
    /// `path` may be `/proc/self/fd/N` of a file that has no name any more; a number that is used
    /// again for another file is noticed.
    pub fn symbolize_file(
        &self,
        path: &Path,
        svmas: &[u64],
    ) -> Vec<Result<NativeSymbol, NoSymbol>> {
        self.native.symbolize(path, svmas)
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

    /// The functions at `addresses` (AVMAs) in the code that process `pid` generated and described in
    /// its perf map, one result per input, in the order of the inputs.
    ///
    /// The map is `/tmp/perf-PID.map` as the process sees it: in its root, under the PID that it has
    /// in its own namespace. It is read at every call, because a process appends to it as it compiles.
    pub fn symbolize_perf_map(
        &self,
        pid: u32,
        addresses: &[u64],
    ) -> Vec<Result<NativeSymbol, NoSymbol>> {
        let map = perf_map::read_perf_map(pid);
        addresses
            .iter()
            .map(|&address| match &map {
                Ok(map) => map.find(address).ok_or(NoSymbol::NoSymbolAtAddress),
                Err(reason) => Err(reason.clone()),
            })
            .collect()
    }
}
