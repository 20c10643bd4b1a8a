//! Names and lines of addresses inside ELF files.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::debug_file::{DebugFile, Place, find_debug_file, find_shared_names};
use crate::debug_information::{
    DebugInformation, Details, Functions, has_debug_information, read_debug_information,
};
use crate::decompress::decompress_xz;
use crate::demangle::demangle;
use crate::elf_file::ElfFile;
use crate::line_information::{LineInformation, read_line_information};
use crate::search_root::{SearchRoot, open_regular_file};
use crate::symbol_table::{SymbolTable, read_symbol_table};
use crate::{NativeFile, NativeSymbol, NoSymbol, Options};

type Symbols = Vec<Result<NativeSymbol, NoSymbol>>;

/// Every open file holds a few descriptors.
const MOST_OPEN_FILES: usize = 64;

/// A mini symbol table is some hundred kilobytes.
const LARGEST_COMPRESSED_TABLE: u64 = 32 << 20;
const LARGEST_DECOMPRESSED_TABLE: u64 = 128 << 20;

/// Which file it is, so that a path or descriptor that is used again for another one is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Separate debug files are looked for by these.
    root: Option<(u64, u64)>,
    path: Option<PathBuf>,
}

/// Files that have been symbolized, the last one used in front.
#[derive(Debug)]
pub(crate) struct NativeFiles {
    options: Options,
    /// viperf's own root; `None` if it cannot be opened.
    own_root: Option<SearchRoot>,
    opened: RefCell<VecDeque<(FileIdentity, Rc<OpenedFile>)>>,
}

impl NativeFiles {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            own_root: SearchRoot::own().ok(),
            opened: RefCell::default(),
        }
    }

    /// One result per address of `svmas`, in their order.
    pub(crate) fn symbolize(&self, file: &NativeFile<'_>, svmas: &[u64]) -> Symbols {
        let symbols = self
            .find_or_open(file)
            .map(|opened| opened.symbolize(svmas, &self.options));
        self.close_surplus();
        symbols.unwrap_or_else(|reason| vec![Err(reason); svmas.len()])
    }

    fn find_or_open(&self, file: &NativeFile<'_>) -> Result<Rc<OpenedFile>, NoSymbol> {
        let unreadable = |error: &dyn std::fmt::Display| {
            NoSymbol::Unreadable(format!("{} cannot be read: {error}", file.path.display()))
        };
        let handle = open_regular_file(file.path).map_err(|error| unreadable(&error))?;
        let identity = identify(&handle, file).map_err(|error| unreadable(&error))?;
        let mut opened = self.opened.borrow_mut();
        let known = opened.iter().position(|(known, _)| *known == identity);
        let entry = match known.and_then(|index| opened.remove(index)) {
            Some(entry) => entry,
            None => {
                let elf = ElfFile::read(handle).map_err(|error| unreadable(&error))?;
                (identity, Rc::new(self.prepare(elf, file)))
            }
        };
        let found = Rc::clone(&entry.1);
        opened.push_front(entry);
        Ok(found)
    }

    fn prepare(&self, elf: ElfFile, file: &NativeFile<'_>) -> OpenedFile {
        let mut roots: Vec<SearchRoot> = file.root.cloned().into_iter().collect();
        if let Some(own) = &self.own_root
            && !roots.contains(own)
        {
            roots.push(own.clone());
        }
        OpenedFile {
            elf,
            roots,
            path: path_in_target(file),
            own_symbols: OnceCell::new(),
            debug_file: OnceCell::new(),
            debug_symbols: OnceCell::new(),
            mini_symbols: OnceCell::new(),
            debug_information: OnceCell::new(),
            line_information: OnceCell::new(),
        }
    }

    fn close_surplus(&self) {
        let mut opened = self.opened.borrow_mut();
        let mut held = 0;
        let kept = opened.iter().position(|(_, file)| {
            held += file.bytes();
            held > self.options.largest_cache
        });
        // The file just used stays, however large.
        let kept = kept.unwrap_or(MOST_OPEN_FILES).clamp(1, MOST_OPEN_FILES);
        opened.truncate(kept);
    }
}

fn identify(handle: &File, file: &NativeFile<'_>) -> io::Result<FileIdentity> {
    let metadata = handle.metadata()?;
    Ok(FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        root: file.root.map(SearchRoot::identity),
        path: path_in_target(file),
    })
}

/// Where the executable is for the target. For a file that is only known by a path of viperf's own it is that one.
fn path_in_target(file: &NativeFile<'_>) -> Option<PathBuf> {
    match file.original_path {
        Some(path) => Some(path.to_owned()),
        None => file.path.canonicalize().ok(),
    }
}

/// One executable and what belongs to it, read when it is first asked for.
#[derive(Debug)]
struct OpenedFile {
    elf: ElfFile,
    roots: Vec<SearchRoot>,
    path: Option<PathBuf>,
    own_symbols: OnceCell<Result<SymbolTable, NoSymbol>>,
    debug_file: OnceCell<Option<DebugFile>>,
    debug_symbols: OnceCell<SymbolTable>,
    mini_symbols: OnceCell<SymbolTable>,
    debug_information: OnceCell<Option<DebugInformation>>,
    line_information: OnceCell<Option<LineInformation>>,
}

impl OpenedFile {
    fn symbolize(&self, svmas: &[u64], options: &Options) -> Symbols {
        let own_symbols = self.own_symbols.get_or_init(|| {
            read_symbol_table(&self.elf).map_err(|error| {
                NoSymbol::Unreadable(format!("its symbols cannot be read: {error}"))
            })
        });
        let mut names: Vec<Option<String>> = svmas
            .iter()
            .map(|&svma| {
                let own = own_symbols.as_ref().ok().and_then(|table| table.find(svma));
                own.or_else(|| self.find_in_other_tables(svma))
                    .map(demangle)
            })
            .collect();
        self.add_names_of_debug_information(svmas, options, &mut names);
        let mut symbols: Symbols = names
            .into_iter()
            .map(|name| {
                let name = name.ok_or_else(|| self.explain(own_symbols))?;
                Ok(NativeSymbol {
                    name,
                    file: None,
                    line: None,
                    inlined: Vec::new(),
                })
            })
            .collect();
        self.add_details(svmas, options, &mut symbols);
        symbols
    }

    /// The tables behind the file's own, each only asked for what the ones before do not know.
    fn find_in_other_tables(&self, svma: u64) -> Option<&[u8]> {
        let debug = self.debug_symbols().find(svma);
        debug.or_else(|| self.mini_symbols().find(svma))
    }

    /// Where there is a `.symtab` it has all that DWARF has; DWARF takes long to say that it does not know either.
    fn add_names_of_debug_information(
        &self,
        svmas: &[u64],
        options: &Options,
        names: &mut [Option<String>],
    ) {
        let unnamed = names
            .iter_mut()
            .zip(svmas)
            .filter(|(name, _)| name.is_none());
        let (unnamed, svmas): (Vec<&mut Option<String>>, Vec<u64>) = unnamed.unzip();
        if svmas.is_empty() || self.has_local_names() {
            return;
        }
        if let Some(information) = self.debug_information(options) {
            let found = information.look_up(&svmas, Functions::Wanted);
            for (name, found) in unnamed.into_iter().zip(found) {
                *name = found.name;
            }
        }
    }

    fn has_local_names(&self) -> bool {
        let own = self.own_symbols.get().and_then(|own| own.as_ref().ok());
        own.is_some_and(|own| own.has_local_names) || self.debug_symbols().has_local_names
    }

    /// Lines and inlined functions of what has a name.
    fn add_details(&self, svmas: &[u64], options: &Options, symbols: &mut Symbols) {
        if !options.native_lines && !options.inlined_functions {
            return;
        }
        let named = symbols.iter_mut().zip(svmas);
        let named = named.filter_map(|(symbol, &svma)| Some((symbol.as_mut().ok()?, svma)));
        let (named, svmas): (Vec<&mut NativeSymbol>, Vec<u64>) = named.unzip();
        if svmas.is_empty() {
            return;
        }
        for (symbol, found) in named.into_iter().zip(self.details(&svmas, options)) {
            symbol.inlined = found.inlined;
            if options.native_lines {
                (symbol.file, symbol.line) = (found.file, found.line);
            } else {
                for inlined in &mut symbol.inlined {
                    (inlined.file, inlined.line) = (None, None);
                }
            }
        }
    }

    /// What DWARF says about `svmas`. All of it is read only where inlined functions are wanted or it says in no other way which
    /// unit an address belongs to.
    fn details(&self, svmas: &[u64], options: &Options) -> Vec<Details> {
        let functions = match options.inlined_functions {
            true => Functions::Wanted,
            false => Functions::LeftOut,
        };
        let is_all_read = matches!(self.debug_information.get(), Some(Some(_)));
        let mut lines = vec![None; svmas.len()];
        if functions == Functions::LeftOut
            && !is_all_read
            && let Some((file, information)) = self.line_information(options)
        {
            lines = information.look_up(file, svmas);
        }
        let missing = svmas.iter().zip(&lines);
        let missing = missing.filter_map(|(svma, found)| found.is_none().then_some(*svma));
        let missing: Vec<u64> = missing.collect();
        let information = (!missing.is_empty())
            .then(|| self.debug_information(options))
            .flatten();
        let found = information.map(|information| information.look_up(&missing, functions));
        let mut found = found.into_iter().flatten();
        let fill = |line: Option<Details>| line.or_else(|| found.next()).unwrap_or_default();
        lines.into_iter().map(fill).collect()
    }

    fn explain(&self, own_symbols: &Result<SymbolTable, NoSymbol>) -> NoSymbol {
        match own_symbols {
            Err(reason) => reason.clone(),
            Ok(own) => {
                let others = [self.debug_symbols(), self.mini_symbols()];
                match own.has_local_names || others.iter().any(|table| !table.is_empty()) {
                    true => NoSymbol::NoSymbolAtAddress,
                    false => NoSymbol::Stripped,
                }
            }
        }
    }

    fn debug_file(&self) -> Option<&DebugFile> {
        let found = self.debug_file.get_or_init(|| {
            let place = Place {
                roots: self.roots.iter().collect(),
                path: self.path.as_deref(),
            };
            find_debug_file(&self.elf, &place)
        });
        found.as_ref()
    }

    fn debug_symbols(&self) -> &SymbolTable {
        self.debug_symbols.get_or_init(|| {
            let file = self.debug_file().map(|found| &found.file);
            // A debug file that cannot be read takes nothing away from what the executable itself said.
            file.and_then(|file| read_symbol_table(file).ok())
                .unwrap_or_default()
        })
    }

    fn mini_symbols(&self) -> &SymbolTable {
        self.mini_symbols
            .get_or_init(|| read_mini_symbols(&self.elf).unwrap_or_default())
    }

    /// What tells lines alone, and the file that has it.
    fn line_information(&self, options: &Options) -> Option<(&ElfFile, &LineInformation)> {
        let file = match has_debug_information(&self.elf) {
            true => &self.elf,
            false => &self.debug_file()?.file,
        };
        let limit = options.largest_debug_information;
        let read = self
            .line_information
            .get_or_init(|| read_line_information(file, limit));
        read.as_ref().map(|information| (file, information))
    }

    fn debug_information(&self, options: &Options) -> Option<&DebugInformation> {
        let limit = options.largest_debug_information;
        let read = self.debug_information.get_or_init(|| {
            if has_debug_information(&self.elf) {
                return read_debug_information(&self.elf, None, limit).ok();
            }
            let found = self.debug_file()?;
            let shared = find_shared_names(found);
            read_debug_information(&found.file, shared.as_ref(), limit).ok()
        });
        read.as_ref()
    }

    /// What it holds in memory. The lines and functions decoded so far are about as large as their sections.
    fn bytes(&self) -> usize {
        let own = self.own_symbols.get().and_then(|own| own.as_ref().ok());
        let tables = [own, self.debug_symbols.get(), self.mini_symbols.get()];
        let tables: usize = tables.into_iter().flatten().map(SymbolTable::bytes).sum();
        let information = self.debug_information.get().and_then(Option::as_ref);
        let lines = self.line_information.get().and_then(Option::as_ref);
        tables
            + information.map_or(0, |information| 2 * information.bytes)
            + lines.map_or(0, LineInformation::bytes)
    }
}

/// The symbols that were left out of `.dynsym`, an ELF file of its own compressed by xz.
/// <https://sourceware.org/gdb/current/onlinedocs/gdb.html/MiniDebugInfo.html>
fn read_mini_symbols(elf: &ElfFile) -> Option<SymbolTable> {
    let section = elf.find(".gnu_debugdata")?;
    let compressed = elf.read_raw(section, LARGEST_COMPRESSED_TABLE).ok()?;
    let bytes = decompress_xz(&compressed, LARGEST_DECOMPRESSED_TABLE).ok()?;
    read_symbol_table(&ElfFile::from_memory(bytes).ok()?).ok()
}

impl<'a> From<&'a Path> for NativeFile<'a> {
    fn from(path: &'a Path) -> Self {
        Self {
            path,
            original_path: None,
            root: None,
        }
    }
}
