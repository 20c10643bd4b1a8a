//! One ELF file, read section by section: what is not asked for is not read, however large it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use object::elf::{
    ELF_NOTE_GNU, ELFCLASS64, ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD, ELFDATA2LSB, ELFMAG, EM_X86_64,
    ET_REL, FileHeader64, NT_GNU_BUILD_ID, SHF_COMPRESSED, SHN_XINDEX, SHT_NOBITS, SHT_NOTE,
    SectionHeader64,
};
use object::read::elf::{CompressionHeader as _, NoteIterator};
use object::{LittleEndian, pod};

use crate::debug_file::read_check_sum;
use crate::decompress::{decompress_zlib, decompress_zstd};

pub(crate) const ENDIAN: LittleEndian = LittleEndian;

/// A file with more sections is not believed. Compilers make one section per function, linkers join them.
const MOST_SECTIONS: u64 = 100_000;
/// The names of that many sections.
const LARGEST_SECTION_NAMES: u64 = 16 << 20;
/// Notes are some tens of bytes; a kernel's may be a few kilobytes.
const LARGEST_NOTE: u64 = 64 << 10;
/// How many sections with notes, and notes in one, are looked through.
const MOST_NOTES: usize = 64;

/// Why a file or a part of it is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElfError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is not an ELF file for 64-bit x86")]
    NotElf,
    #[error("its section headers are malformed")]
    Malformed,
    #[error("its section {name} has {size} bytes, and no more than {limit} are read")]
    TooLarge { name: String, size: u64, limit: u64 },
    #[error("its section {name} cannot be decompressed: {reason}")]
    Compression { name: String, reason: String },
}

/// Where the bytes of an ELF file are.
#[derive(Debug)]
enum Bytes {
    File {
        file: File,
        length: u64,
    },
    /// A file that came out of a section of another one.
    Memory(Vec<u8>),
}

/// The sections of one ELF file.
#[derive(Debug)]
pub(crate) struct ElfFile {
    bytes: Bytes,
    sections: Vec<SectionHeader64<LittleEndian>>,
    names: Vec<u8>,
    is_relocatable: bool,
}

impl ElfFile {
    /// Reads the headers of `file`.
    pub(crate) fn read(file: File) -> Result<Self, ElfError> {
        let length = file.metadata()?.len();
        Self::from_bytes(Bytes::File { file, length })
    }

    /// Reads the headers of the file whose bytes these are.
    pub(crate) fn from_memory(bytes: Vec<u8>) -> Result<Self, ElfError> {
        Self::from_bytes(Bytes::Memory(bytes))
    }

    fn from_bytes(bytes: Bytes) -> Result<Self, ElfError> {
        let start = bytes.read(0, size_of::<FileHeader64<LittleEndian>>() as u64)?;
        let (header, _) =
            pod::from_bytes::<FileHeader64<LittleEndian>>(&start).map_err(|()| ElfError::NotElf)?;
        let ident = &header.e_ident;
        let is_ours = ident.magic == ELFMAG
            && ident.class == ELFCLASS64
            && ident.data == ELFDATA2LSB
            && header.e_machine.get(ENDIAN) == EM_X86_64;
        if !is_ours {
            return Err(ElfError::NotElf);
        }
        let sections = read_section_headers(&bytes, header)?;
        let index = match header.e_shstrndx.get(ENDIAN) {
            SHN_XINDEX => sections
                .first()
                .map_or(0, |first| first.sh_link.get(ENDIAN)),
            index => u32::from(index.0),
        };
        let names = match sections.get(index as usize) {
            Some(names) => bytes.read(
                names.sh_offset.get(ENDIAN),
                names.sh_size.get(ENDIAN).min(LARGEST_SECTION_NAMES),
            ),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            names: names.unwrap_or_default(),
            bytes,
            sections,
            is_relocatable: header.e_type.get(ENDIAN) == ET_REL,
        })
    }

    /// What the assembler wrote, not a linker.
    pub(crate) fn is_relocatable(&self) -> bool {
        self.is_relocatable
    }

    pub(crate) fn sections(&self) -> &[SectionHeader64<LittleEndian>] {
        &self.sections
    }

    /// The first section of that name that has bytes in the file.
    pub(crate) fn find(&self, name: &str) -> Option<&SectionHeader64<LittleEndian>> {
        self.sections.iter().find(|section| {
            section.sh_type.get(ENDIAN) != SHT_NOBITS
                && section.sh_size.get(ENDIAN) > 0
                && self.name_of(section) == Some(name.as_bytes())
        })
    }

    fn name_of(&self, section: &SectionHeader64<LittleEndian>) -> Option<&[u8]> {
        let rest = self.names.get(section.sh_name.get(ENDIAN) as usize..)?;
        rest.split(|&byte| byte == 0).next()
    }

    /// The bytes of a section as they stand in the file, if they are no more than `limit`.
    pub(crate) fn read_raw(
        &self,
        section: &SectionHeader64<LittleEndian>,
        limit: u64,
    ) -> Result<Vec<u8>, ElfError> {
        let size = self.size_within(section, limit)?;
        Ok(self.bytes.read(section.sh_offset.get(ENDIAN), size)?)
    }

    /// A part of a section as it stands in the file, from `offset` of the section on.
    pub(crate) fn read_part(
        &self,
        section: &SectionHeader64<LittleEndian>,
        offset: u64,
        size: u64,
    ) -> Result<Vec<u8>, ElfError> {
        let end = offset.checked_add(size).ok_or(ElfError::Malformed)?;
        let start = section.sh_offset.get(ENDIAN).checked_add(offset);
        if end > section.sh_size.get(ENDIAN) {
            return Err(ElfError::Malformed);
        }
        Ok(self.bytes.read(start.ok_or(ElfError::Malformed)?, size)?)
    }

    /// The bytes of a section, decompressed, if they are no more than `limit`.
    pub(crate) fn read_section(
        &self,
        section: &SectionHeader64<LittleEndian>,
        limit: u64,
    ) -> Result<Rc<[u8]>, ElfError> {
        let size = self.size_within(section, limit)?;
        let offset = section.sh_offset.get(ENDIAN);
        if !self.is_compressed(section) {
            return Ok(self.bytes.read_counted(offset, size)?);
        }
        let compressed = self.bytes.read(offset, size)?;
        self.decompress(section, &compressed, limit).map(Rc::from)
    }

    pub(crate) fn is_compressed(&self, section: &SectionHeader64<LittleEndian>) -> bool {
        section.sh_flags.get(ENDIAN).contains(SHF_COMPRESSED)
    }

    /// How many bytes a section has once it is decompressed, as it says itself.
    pub(crate) fn decompressed_size(
        &self,
        section: &SectionHeader64<LittleEndian>,
    ) -> Result<u64, ElfError> {
        if !self.is_compressed(section) {
            return Ok(section.sh_size.get(ENDIAN));
        }
        let header = self.read_part(section, 0, size_of::<CompressionHeader>() as u64)?;
        Ok(split_compressed(&header)?.0.ch_size(ENDIAN))
    }

    /// The first `size` bytes of a section, decompressed.
    pub(crate) fn read_start(
        &self,
        section: &SectionHeader64<LittleEndian>,
        size: u64,
    ) -> Result<Rc<[u8]>, ElfError> {
        if !self.is_compressed(section) {
            return Ok(self.read_part(section, 0, size)?.into());
        }
        let all = section.sh_size.get(ENDIAN);
        let compressed = self.bytes.read(section.sh_offset.get(ENDIAN), all)?;
        self.decompress_start(section, &compressed, size)
            .map(Rc::from)
    }

    fn decompress(
        &self,
        section: &SectionHeader64<LittleEndian>,
        compressed: &[u8],
        limit: u64,
    ) -> Result<Vec<u8>, ElfError> {
        let size = split_compressed(compressed)?.0.ch_size(ENDIAN);
        if size > limit {
            let name = self.readable_name(section);
            return Err(ElfError::TooLarge { name, size, limit });
        }
        self.decompress_start(section, compressed, size)
    }

    fn decompress_start(
        &self,
        section: &SectionHeader64<LittleEndian>,
        compressed: &[u8],
        size: u64,
    ) -> Result<Vec<u8>, ElfError> {
        let (header, data) = split_compressed(compressed)?;
        let is_all = size == header.ch_size(ENDIAN);
        let decompressed = match header.ch_type(ENDIAN) {
            ELFCOMPRESS_ZLIB => decompress_zlib(data, size, is_all),
            ELFCOMPRESS_ZSTD => decompress_zstd(data, size, is_all),
            other => Err(io::Error::other(format!(
                "its kind {} is not known",
                other.0
            ))),
        };
        decompressed.map_err(|error| ElfError::Compression {
            name: self.readable_name(section),
            reason: error.to_string(),
        })
    }

    fn size_within(
        &self,
        section: &SectionHeader64<LittleEndian>,
        limit: u64,
    ) -> Result<u64, ElfError> {
        let size = section.sh_size.get(ENDIAN);
        if section.sh_type.get(ENDIAN) == SHT_NOBITS {
            return Ok(0);
        }
        if size > limit {
            let name = self.readable_name(section);
            return Err(ElfError::TooLarge { name, size, limit });
        }
        Ok(size)
    }

    fn readable_name(&self, section: &SectionHeader64<LittleEndian>) -> String {
        String::from_utf8_lossy(self.name_of(section).unwrap_or_default()).into_owned()
    }

    /// Whether this is the CRC-32 of the whole file.
    pub(crate) fn has_check_sum(&self, check_sum: u32) -> bool {
        match &self.bytes {
            Bytes::File { file, .. } => read_check_sum(file).is_ok_and(|found| found == check_sum),
            Bytes::Memory(bytes) => crc32fast::hash(bytes) == check_sum,
        }
    }

    /// The GNU build ID, usually 20 bytes.
    pub(crate) fn read_build_id(&self) -> Option<Vec<u8>> {
        let notes = self
            .sections
            .iter()
            .filter(|section| section.sh_type.get(ENDIAN) == SHT_NOTE);
        notes.take(MOST_NOTES).find_map(|section| {
            let bytes = self.read_raw(section, LARGEST_NOTE).ok()?;
            let align = section.sh_addralign.get(ENDIAN);
            let notes =
                NoteIterator::<FileHeader64<LittleEndian>>::new(ENDIAN, align, &bytes).ok()?;
            notes
                .take(MOST_NOTES)
                .filter_map(Result::ok)
                .find(|note| note.name() == ELF_NOTE_GNU && note.n_type(ENDIAN) == NT_GNU_BUILD_ID)
                .map(|note| note.desc().to_vec())
                .filter(|id| !id.is_empty())
        })
    }
}

type CompressionHeader = object::elf::CompressionHeader64<LittleEndian>;

/// <https://gabi.xinuos.com/elf/03-sheader.html#compression-header>
fn split_compressed(section: &[u8]) -> Result<(&CompressionHeader, &[u8]), ElfError> {
    pod::from_bytes::<CompressionHeader>(section).map_err(|()| ElfError::Malformed)
}

fn read_section_headers(
    bytes: &Bytes,
    header: &FileHeader64<LittleEndian>,
) -> Result<Vec<SectionHeader64<LittleEndian>>, ElfError> {
    const ENTRY: u64 = size_of::<SectionHeader64<LittleEndian>>() as u64;
    let offset = header.e_shoff.get(ENDIAN);
    if offset == 0 {
        return Ok(Vec::new());
    }
    if u64::from(header.e_shentsize.get(ENDIAN)) != ENTRY {
        return Err(ElfError::Malformed);
    }
    // A file cut off before its section headers is a stripped one.
    let read = |count: u64| match bytes.read(offset, count * ENTRY) {
        Ok(table) => pod::slice_from_all_bytes::<SectionHeader64<LittleEndian>>(&table)
            .map(<[_]>::to_vec)
            .map_err(|()| ElfError::Malformed),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    };
    let count = match u64::from(header.e_shnum.get(ENDIAN)) {
        // The number is too large for its field, and stands in the first section.
        0 => read(1)?
            .first()
            .map_or(0, |first| first.sh_size.get(ENDIAN)),
        count => count,
    };
    if count > MOST_SECTIONS {
        return Err(ElfError::Malformed);
    }
    read(count)
}

impl Bytes {
    fn length(&self) -> u64 {
        match self {
            Self::File { length, .. } => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Allocates only what the file really has.
    fn check(&self, offset: u64, size: u64) -> io::Result<usize> {
        let end = offset.checked_add(size);
        if end.is_none_or(|end| end > self.length()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        usize::try_from(size).map_err(io::Error::other)
    }

    fn read_into(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File { file, .. } => file.read_exact_at(buffer, offset),
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                let part = start
                    .checked_add(buffer.len())
                    .and_then(|end| bytes.get(start..end));
                buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    fn read(&self, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.check(offset, size)?];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn read_counted(&self, offset: u64, size: u64) -> io::Result<Rc<[u8]>> {
        let mut bytes: Rc<[u8]> = std::iter::repeat_n(0, self.check(offset, size)?).collect();
        let only_owner = Rc::get_mut(&mut bytes).ok_or_else(|| io::Error::other("shared"))?;
        self.read_into(offset, only_owner)?;
        Ok(bytes)
    }
}
