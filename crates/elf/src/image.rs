//! The file as a whole.

use std::fmt;
use std::ops::Range;

use object::LittleEndian;
use object::elf::{
    ELF_NOTE_GNU, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_DYN, FileHeader64,
    NT_GNU_BUILD_ID, PT_GNU_EH_FRAME, ProgramHeader64, SHF_ALLOC, SHF_EXECINSTR, SHT_DYNSYM,
    SHT_SYMTAB, SectionHeader64, SectionType,
};
use object::pod;
use object::read::elf::{FileHeader as _, NoteIterator, ProgramHeader as _, SectionHeader as _};

use crate::address::{LoadBias, Svma};
use crate::eh_frame::{decode_eh_frame_pointer, find_eh_frame_length};
use crate::segments::{
    LoadSegment, ThreadLocalSegment, find_load_bias, find_thread_local_segment, parse_load_segments,
};
use crate::symbols::{Symbol, Table, is_string_at, string_at};

pub(crate) type Header = FileHeader64<LittleEndian>;

pub(crate) const ENDIAN: LittleEndian = LittleEndian;

/// How many parts with notes are looked through, and how many notes in each. Files have two or
/// three of either; a hostile one could have every header point at the same million notes.
const MAX_NOTE_PARTS: usize = 64;
const MAX_NOTES: usize = 64;

/// Why bytes are not an image this crate reads.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The first bytes are not an ELF header.
    #[error("not an ELF file: {length} bytes that do not start with an ELF header")]
    NotElf {
        /// How many bytes there were.
        length: usize,
    },
    /// 32-bit or big-endian.
    #[error(
        "an ELF file of class {class} and data encoding {encoding}; only 64-bit little-endian files (2 and 1) are read"
    )]
    WrongClass {
        /// `EI_CLASS`: 1 is 32-bit, 2 is 64-bit.
        class: u8,
        /// `EI_DATA`: 1 is little-endian, 2 is big-endian.
        encoding: u8,
    },
    /// Code of another processor.
    #[error("an ELF file for machine {machine}; only x86-64 (62) is read")]
    WrongMachine {
        /// `e_machine`.
        machine: u16,
    },
    /// The program headers are outside the bytes.
    #[error("the ELF program headers cannot be read; the file may be cut off")]
    ProgramHeaders(#[source] object::read::Error),
}

/// A section found by name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Section<'data> {
    /// Where it is in memory; zero for a section that is not loaded.
    pub svma: Svma,
    /// Its size in memory in bytes.
    pub size: u64,
    /// Its bytes in the file; empty for a section of zeroes (`SHT_NOBITS`).
    pub data: &'data [u8],
}

impl fmt::Debug for Section<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { svma, size, data } = self;
        formatter
            .debug_struct("Section")
            .field("svma", svma)
            .field("size", size)
            .field("data.len()", &data.len())
            .finish()
    }
}

/// One ELF64 little-endian x86-64 file, or a memory image of one.
///
/// Cheap to make: it looks at the headers only.
#[derive(Clone)]
pub struct Image<'data> {
    pub(crate) data: &'data [u8],
    header: &'data Header,
    program_headers: &'data [ProgramHeader64<LittleEndian>],
    load_segments: Vec<LoadSegment>,
    sections: &'data [SectionHeader64<LittleEndian>],
    section_names: &'data [u8],
}

impl fmt::Debug for Image<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Image")
            .field("length", &self.data.len())
            .field("load_segments", &self.load_segments)
            .field("sections", &self.sections.len())
            .finish_non_exhaustive()
    }
}

impl<'data> Image<'data> {
    /// Reads the headers.
    ///
    /// Section headers that cannot be read count as stripped: memory images have none, and nothing
    /// that a running program needs depends on them.
    ///
    /// # Errors
    ///
    /// When `data` does not start with a 64-bit little-endian x86-64 ELF header, or its program
    /// headers are not within `data`.
    pub fn parse(data: &'data [u8]) -> Result<Self, ParseError> {
        let header = parse_header(data)?;
        let program_headers = header
            .program_headers(ENDIAN, data)
            .map_err(ParseError::ProgramHeaders)?;
        let sections = header.section_headers(ENDIAN, data).unwrap_or_default();
        let section_names = header
            .section_strings_index(ENDIAN, data)
            .ok()
            .and_then(|index| sections.get(index.0))
            .and_then(|section| section.data(ENDIAN, data).ok())
            .unwrap_or_default();
        Ok(Self {
            data,
            header,
            program_headers,
            load_segments: parse_load_segments(program_headers).collect(),
            sections,
            section_names,
        })
    }

    /// Whether the file may be mapped anywhere (`ET_DYN`): libraries and most executables.
    pub fn is_position_independent(&self) -> bool {
        self.header.e_type(ENDIAN) == ET_DYN
    }

    /// Where a process begins that runs this file (`e_entry`): of the interpreter named in `PT_INTERP` if there is one.
    /// `None` for libraries without an entry.
    pub fn entry(&self) -> Option<Svma> {
        Some(Svma(self.header.e_entry(ENDIAN))).filter(|entry| entry.0 != 0)
    }

    /// The GNU build ID, usually 20 bytes.
    ///
    /// From the loaded notes; from the sections only where those have none.
    pub fn build_id(&self) -> Option<&'data [u8]> {
        let loaded = self
            .program_headers
            .iter()
            .filter_map(|header| header.notes(ENDIAN, self.data).ok()?);
        let sections = self
            .sections
            .iter()
            .filter_map(|section| section.notes(ENDIAN, self.data).ok()?);
        loaded
            .take(MAX_NOTE_PARTS)
            .chain(sections.take(MAX_NOTE_PARTS))
            .find_map(find_build_id)
    }

    /// The parts that are mapped, in the order of the program headers.
    pub fn load_segments(&self) -> &[LoadSegment] {
        &self.load_segments
    }

    /// How far from its stated addresses the file is mapped, given one of its mappings: the
    /// mapping's first address and the file offset it starts at (a multiple of the page size), as
    /// in `/proc/PID/maps`.
    ///
    /// `None` if no loaded part contains that offset. Where two parts share that page of the file,
    /// the one that starts with it is meant, and of two that do, the executable one.
    pub fn load_bias(&self, mapping_start: u64, mapping_file_offset: u64) -> Option<LoadBias> {
        find_load_bias(&self.load_segments, mapping_start, mapping_file_offset)
    }

    /// The first section of that name; `None` too if its bytes are not within the file.
    ///
    /// Compressed sections are returned as they are; [`Image::contents`] decompresses.
    pub fn section(&self, name: &str) -> Option<Section<'data>> {
        let section = self.find_section_header(name)?;
        Some(Section {
            svma: Svma(section.sh_addr(ENDIAN)),
            size: section.sh_size(ENDIAN),
            data: section.data(ENDIAN, self.data).ok()?,
        })
    }

    pub(crate) fn find_section_header(
        &self,
        name: &str,
    ) -> Option<&'data SectionHeader64<LittleEndian>> {
        self.sections.iter().skip(1).find(|section| {
            is_string_at(self.section_names, section.sh_name(ENDIAN), name.as_bytes())
        })
    }

    /// Name, and offset and size in the file (`None` without bytes there), of every section.
    pub(crate) fn section_files(&self) -> Vec<(&'data str, Option<(u64, u64)>)> {
        let named = |section: &SectionHeader64<LittleEndian>| {
            let name = string_at(self.section_names, section.sh_name(ENDIAN)).unwrap_or_default();
            (
                std::str::from_utf8(name).unwrap_or_default(),
                section.file_range(ENDIAN),
            )
        };
        self.sections.iter().map(named).collect()
    }

    /// The symbol of that name that is defined here: in `.dynsym`, else in `.symtab`; a global one
    /// before a local one. Costs one pass over the tables.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.tables().find_map(|table| table.find(name.as_bytes()))
    }

    /// All symbols defined here with their names (bytes: names need not be UTF-8), those of
    /// `.dynsym` first, then those of `.symtab`; many are in both.
    pub fn symbols(&self) -> impl Iterator<Item = (&'data [u8], Symbol)> {
        self.tables().flat_map(Table::iter)
    }

    /// Where the sections with code are in memory, first byte to the one behind the last; none in a file without section
    /// headers. A segment that may be executed often holds constants, too.
    #[must_use]
    pub fn code_sections(&self) -> Vec<Range<u64>> {
        let loaded_code = SHF_ALLOC | SHF_EXECINSTR;
        let is_code = |section: &&SectionHeader64<LittleEndian>| {
            section.sh_flags(ENDIAN).contains(loaded_code) && section.file_range(ENDIAN).is_some()
        };
        let sections = self.sections.iter().filter(is_code);
        sections
            .map(|section| {
                let start = section.sh_addr(ENDIAN);
                start..start.saturating_add(section.sh_size(ENDIAN))
            })
            .collect()
    }

    /// All functions defined here, with or without a name, those of `.dynsym` first, then those of `.symtab`; many are in
    /// both. The strings of the tables need not have been read.
    pub fn functions(&self) -> impl Iterator<Item = Symbol> {
        self.tables().flat_map(Table::functions)
    }

    /// Where in the file `.dynsym` and `.symtab` are: offset and size in bytes. Enough for [`Image::functions`].
    #[must_use]
    pub fn symbol_table_files(&self) -> Vec<(u64, u64)> {
        let is_table = |section: &&SectionHeader64<LittleEndian>| {
            [SHT_DYNSYM, SHT_SYMTAB].contains(&section.sh_type(ENDIAN))
        };
        let tables = self.sections.iter().filter(is_table);
        tables
            .filter_map(|section| section.file_range(ENDIAN))
            .collect()
    }

    /// The unwind information: the section `.eh_frame`, else what `PT_GNU_EH_FRAME` points at.
    ///
    /// `None` when there is none, or it is not in this file (a file of debug information only).
    pub fn eh_frame(&self) -> Option<Section<'data>> {
        self.section(".eh_frame")
            .filter(|section| !section.data.is_empty())
            .or_else(|| self.find_eh_frame_by_header())
    }

    /// What each thread's copy of the thread-local variables needs; `None` if there are none.
    pub fn thread_local_segment(&self) -> Option<ThreadLocalSegment> {
        find_thread_local_segment(self.program_headers)
    }

    /// The `length` bytes that the file has for `start`; `None` unless all of them are within the
    /// part of one segment that comes from the file.
    pub fn bytes_at(&self, start: Svma, length: usize) -> Option<&'data [u8]> {
        self.bytes_from(start)?.get(..length)
    }

    /// Where in the file the byte at an address is; `None` if it is not loaded from the file.
    pub fn file_offset(&self, address: Svma) -> Option<u64> {
        self.load_segments.iter().find_map(|segment| {
            let skipped = address.0.checked_sub(segment.svma.0)?;
            (skipped < segment.file_size).then(|| segment.file_offset.checked_add(skipped))?
        })
    }

    /// The bytes from `start` to the end of what its segment has in the file.
    fn bytes_from(&self, start: Svma) -> Option<&'data [u8]> {
        self.load_segments.iter().find_map(|segment| {
            let skipped = start.0.checked_sub(segment.svma.0)?;
            let length = segment.file_size.checked_sub(skipped)?;
            let from = usize::try_from(segment.file_offset.checked_add(skipped)?).ok()?;
            let to = from.checked_add(usize::try_from(length).ok()?)?;
            self.data
                .get(from..to.min(self.data.len()))
                .filter(|bytes| !bytes.is_empty())
        })
    }

    fn find_eh_frame_by_header(&self) -> Option<Section<'data>> {
        let header = self
            .program_headers
            .iter()
            .find(|header| header.p_type(ENDIAN) == PT_GNU_EH_FRAME)?;
        let header_svma = Svma(header.p_vaddr(ENDIAN));
        let svma = decode_eh_frame_pointer(self.bytes_from(header_svma)?, header_svma)?;
        let bytes = self.bytes_from(svma)?;
        let data = bytes.get(..find_eh_frame_length(bytes))?;
        (!data.is_empty()).then_some(Section {
            svma,
            size: u64::try_from(data.len()).ok()?,
            data,
        })
    }

    fn tables(&self) -> impl Iterator<Item = Table<'data>> {
        [SHT_DYNSYM, SHT_SYMTAB]
            .into_iter()
            .filter_map(|kind| self.table(kind))
    }

    fn table(&self, kind: SectionType) -> Option<Table<'data>> {
        let section = self
            .sections
            .iter()
            .find(|section| section.sh_type(ENDIAN) == kind)?;
        let strings = self.sections.get(section.link(ENDIAN).0)?;
        Some(Table {
            symbols: pod::slice_from_all_bytes(section.data(ENDIAN, self.data).ok()?).ok()?,
            // Functions are found without their names.
            strings: strings.data(ENDIAN, self.data).unwrap_or_default(),
        })
    }
}

fn parse_header(data: &[u8]) -> Result<&Header, ParseError> {
    let not_elf = || ParseError::NotElf { length: data.len() };
    let (header, _) = pod::from_bytes::<Header>(data).ok().ok_or_else(not_elf)?;
    let ident = header.e_ident();
    if ident.magic != ELFMAG {
        return Err(not_elf());
    }
    if ident.class != ELFCLASS64 || ident.data != ELFDATA2LSB {
        return Err(ParseError::WrongClass {
            class: ident.class.0,
            encoding: ident.data.0,
        });
    }
    match header.e_machine(ENDIAN) {
        EM_X86_64 => Ok(header),
        machine => Err(ParseError::WrongMachine { machine: machine.0 }),
    }
}

fn find_build_id<'data>(notes: NoteIterator<'data, Header>) -> Option<&'data [u8]> {
    notes
        .take(MAX_NOTES)
        .filter_map(Result::ok)
        .find(|note| note.name() == ELF_NOTE_GNU && note.n_type(ENDIAN) == NT_GNU_BUILD_ID)
        .map(|note| note.desc())
        .filter(|id| !id.is_empty())
}
