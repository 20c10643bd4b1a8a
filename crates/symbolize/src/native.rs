//! Functions and lines inside ELF files, through blazesym.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Reason, Sym, Symbolized, Symbolizer};

use crate::debug_file::find_debug_file;
use crate::{NativeSymbol, NoSymbol};

type Symbols = Vec<Result<NativeSymbol, NoSymbol>>;

/// How many sizeless labels inside one function are stepped over to find the function itself.
const LABELS_STEPPED_OVER: usize = 8;

/// No file is mapped above the lower half of the address space.
const LARGEST_SVMA: u64 = u64::MAX / 2;

/// Which file it is, whatever it is called: `/proc/self/fd/7` is another file tomorrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// The executables opened so far; blazesym knows them again by the same identity.
pub(crate) struct NativeFiles {
    names: Symbolizer,
    /// `None` if lines are not wanted.
    lines: Option<Symbolizer>,
    debug_files: RefCell<HashMap<FileIdentity, Option<PathBuf>>>,
}

impl NativeFiles {
    pub(crate) fn new(native_lines: bool) -> Self {
        let builder = || Symbolizer::builder().enable_inlined_fns(false);
        Self {
            names: builder().enable_code_info(false).build(),
            lines: native_lines.then(|| builder().enable_demangling(false).build()),
            debug_files: RefCell::default(),
        }
    }

    /// One result per address of `svmas`, in their order.
    pub(crate) fn symbolize(&self, path: &Path, svmas: &[u64]) -> Symbols {
        // The parsers are written for well-formed files and compute with what they read; a file made to
        // break them shall cost its own names, not the profile.
        let possible: Vec<u64> = svmas.iter().map(|&svma| svma.min(LARGEST_SVMA)).collect();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.symbolize_unguarded(path, &possible)
        }));
        let failed = match outcome {
            Ok(Ok(symbols)) => return symbols,
            Ok(Err(reason)) => reason,
            Err(_panic) => {
                NoSymbol::Unreadable(format!("{}: its symbols are malformed", path.display()))
            }
        };
        vec![Err(failed); svmas.len()]
    }

    fn symbolize_unguarded(&self, path: &Path, svmas: &[u64]) -> Result<Symbols, NoSymbol> {
        let debug_file = self.debug_file_of(path)?;
        let mut symbols = self.find_names(&symbol_tables_of(path), svmas)?;
        if let Some(debug_file) = &debug_file {
            self.name_the_rest(&symbol_tables_of(debug_file), svmas, &mut symbols);
        }
        // Follows `.gnu_debuglink`, and knows the functions of a file that kept DWARF without symbols.
        self.name_the_rest(&debug_information_of(path), svmas, &mut symbols);
        if let Some(lines) = &self.lines {
            let source = debug_information_of(debug_file.as_deref().unwrap_or(path));
            add_lines(lines, &source, svmas, &mut symbols);
        }
        Ok(symbols)
    }

    /// Asks another source for the addresses that have no name yet.
    fn name_the_rest(
        &self,
        source: &Source<'_>,
        svmas: &[u64],
        symbols: &mut [Result<NativeSymbol, NoSymbol>],
    ) {
        let (unnamed, rest): (Vec<_>, Vec<u64>) = symbols
            .iter_mut()
            .zip(svmas)
            .filter(|(symbol, _)| symbol.is_err())
            .unzip();
        if rest.is_empty() {
            return;
        }
        // A debug file that cannot be read takes nothing away from what the executable itself said.
        if let Ok(found) = self.find_names(source, &rest) {
            for (symbol, found) in unnamed.into_iter().zip(found) {
                *symbol = found;
            }
        }
    }

    fn find_names(&self, source: &Source<'_>, svmas: &[u64]) -> Result<Symbols, NoSymbol> {
        let found = self
            .names
            .symbolize(source, Input::VirtOffset(svmas))
            .map_err(|error| NoSymbol::Unreadable(error.to_string()))?;
        Ok(found
            .iter()
            .zip(svmas)
            .map(|(found, &svma)| match found {
                Symbolized::Sym(symbol) => self.believe(source, svma, symbol),
                Symbolized::Unknown(reason) => Err(explain(*reason)),
            })
            .collect())
    }

    /// Accepts a symbol only if it covers `svma`.
    ///
    /// blazesym stretches a symbol of `.symtab` that has no size up to the next one. Such a symbol is a
    /// label in assembly code: the function around it, if any, starts before it and has a size.
    fn believe(
        &self,
        source: &Source<'_>,
        svma: u64,
        found: &Sym<'_>,
    ) -> Result<NativeSymbol, NoSymbol> {
        if covers(found, svma) {
            return Ok(named(found));
        }
        let mut label = found.addr;
        for _ in 0..LABELS_STEPPED_OVER {
            let Some(before) = label.checked_sub(1) else {
                break;
            };
            match self
                .names
                .symbolize_single(source, Input::VirtOffset(before))
            {
                Ok(Symbolized::Sym(outer)) if covers(&outer, svma) => return Ok(named(&outer)),
                Ok(Symbolized::Sym(outer)) if outer.size.is_none() => label = outer.addr,
                _ => break,
            }
        }
        if found.addr == svma && !found.name.is_empty() {
            return Ok(named(found));
        }
        Err(NoSymbol::NoSymbolAtAddress)
    }

    fn debug_file_of(&self, path: &Path) -> Result<Option<PathBuf>, NoSymbol> {
        let identity = read_identity(path).map_err(|error| {
            NoSymbol::Unreadable(format!("{} cannot be read: {error}", path.display()))
        })?;
        let mut debug_files = self.debug_files.borrow_mut();
        let known = debug_files
            .entry(identity)
            .or_insert_with(|| find_debug_file(path));
        Ok(known.clone())
    }
}

/// `.symtab` and `.dynsym` alone. DWARF knows functions too, but not their `.cold` parts by name, so
/// it comes second.
fn symbol_tables_of(path: &Path) -> Source<'static> {
    let mut source = Elf::new(path);
    source.debug_syms = false;
    Source::Elf(source)
}

fn debug_information_of(path: &Path) -> Source<'static> {
    Source::Elf(Elf::new(path))
}

fn add_lines(
    lines: &Symbolizer,
    source: &Source<'_>,
    svmas: &[u64],
    symbols: &mut [Result<NativeSymbol, NoSymbol>],
) {
    // A file whose DWARF is damaged is shown without lines.
    let Ok(found) = lines.symbolize(source, Input::VirtOffset(svmas)) else {
        return;
    };
    for (symbol, found) in symbols.iter_mut().zip(found) {
        let Some(code) = found.into_sym().and_then(|found| found.code_info) else {
            continue;
        };
        if let Ok(symbol) = symbol {
            symbol.file = Some(code.to_path().to_string_lossy().into_owned());
            // Line 0 is DWARF's way to say that the compiler made the instruction up.
            symbol.line = code.line.filter(|&line| line != 0);
        }
    }
}

fn read_identity(path: &Path) -> io::Result<FileIdentity> {
    let metadata = fs::metadata(path)?;
    // A pipe in the place of a library would make the reader wait for ever.
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// `svma` is in `[address, address + size)`.
fn covers(symbol: &Sym<'_>, svma: u64) -> bool {
    let size = symbol.size.map_or(0, |size| size as u64);
    !symbol.name.is_empty()
        && svma
            .checked_sub(symbol.addr)
            .is_some_and(|offset| offset < size)
}

fn named(symbol: &Sym<'_>) -> NativeSymbol {
    NativeSymbol {
        name: symbol.name.clone().into_owned(),
        file: None,
        line: None,
    }
}

fn explain(reason: Reason) -> NoSymbol {
    match reason {
        Reason::MissingSyms => NoSymbol::Stripped,
        Reason::UnknownAddr => NoSymbol::NoSymbolAtAddress,
        other => NoSymbol::Unreadable(other.to_string()),
    }
}
