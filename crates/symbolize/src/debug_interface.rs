//! Code that a process has told to debuggers: GDB's interface for compilers at run time, which LLVM's JIT (numba) serves always.
//!
//! A library with `__jit_debug_descriptor` keeps a list of object files in memory, one for each piece of code that it has made.
//! <https://sourceware.org/gdb/current/onlinedocs/gdb.html/JIT-Interface.html>
//! The process goes on while the list is read, and may be hostile: everything is bounded, and what does not fit together is left
//! out until the next time.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::elf::{SHF_EXECINSTR, SHT_SYMTAB, STT_FUNC, STT_OBJECT, SectionHeader64, Sym64};
use object::read::elf::Sym as _;
use object::{LittleEndian, pod};
use viperf_elf::{Image, read_partially};
use viperf_process::{Mapping, MappingKind, Pid, open_mapped_file, read_mappings, read_memory};

use crate::code_map::{Code, CodeMap, readable_name};
use crate::demangle::demangle;
use crate::elf_file::{ENDIAN, ElfFile};

const DESCRIPTOR: &[u8] = b"__jit_debug_descriptor\0";
/// `struct jit_descriptor`: version, action, relevant entry, first entry.
const DESCRIPTOR_BYTES: usize = 24;
/// `struct jit_code_entry`: next, previous, the object file and its size.
const ENTRY_BYTES: usize = 32;
const VERSION: u32 = 1;

/// Symbols of a library beyond this are not looked through: LLVM's has 4 MiB of them, jaxlib's 13.
const LARGEST_TABLE: u64 = 64 << 20;
/// The strings of one object.
const LARGEST_STRINGS: u64 = 16 << 20;
/// So many bytes of libraries' symbols, and of objects, are read in one go; what is left is read the next time.
const MOST_BYTES: u64 = 64 << 20;
/// A larger object, or more of them, are not taken in: numba's have some kilobytes each.
const LARGEST_OBJECT: u64 = 16 << 20;
/// The code of one object lies together; one that claims more would be read for every mapping.
const LARGEST_EXTENT: u64 = 64 << 20;
const MOST_OBJECTS: usize = 20_000;
/// Libraries with a descriptor in one process: LLVM may be there several times.
const MOST_DESCRIPTORS: usize = 8;

/// Where a process keeps the call frame information of code that it has made: an `.eh_frame` in its memory, with the
/// addresses filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSection {
    /// Its first byte (AVMA).
    pub address: u64,
    /// In bytes, 16 MiB at most.
    pub size: u64,
    /// From the first to the last byte of the code that it may speak of (AVMA).
    pub code: Range<u64>,
}

/// What one process has told.
#[derive(Debug, Default)]
pub(crate) struct DebugInterface {
    /// Device and inode of files that have been looked through.
    checked: HashSet<((u32, u32), u64)>,
    /// Where descriptors are (AVMA).
    descriptors: Vec<u64>,
    /// The object of each entry that has been read, by the entry's place.
    taken: HashMap<u64, Object>,
    code: CodeMap,
    /// Of objects that are in a list still, by the entry's place.
    frames: HashMap<u64, FrameSection>,
}

/// What one object says.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) functions: Vec<(u64, Code)>,
    pub(crate) frames: Option<FrameSection>,
}

/// An object file in the process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Object {
    address: u64,
    size: u64,
}

impl DebugInterface {
    /// The functions known so far.
    pub(crate) fn code(&self) -> &CodeMap {
        &self.code
    }

    /// The call frame information of code that had not been given back when the lists were read last.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &FrameSection> {
        self.frames.values()
    }

    /// Reads what is new in a process.
    pub(crate) fn refresh(&mut self, pid: Pid) {
        self.find_descriptors(pid);
        let mut budget = MOST_BYTES;
        let mut listed = HashSet::new();
        let mut are_whole = true;
        for descriptor in self.descriptors.clone() {
            are_whole &= self.read_list(pid, descriptor, &mut budget, &mut listed);
        }
        if are_whole {
            self.frames.retain(|entry, _| listed.contains(entry));
        }
    }

    fn find_descriptors(&mut self, pid: Pid) {
        let mut budget = MOST_BYTES;
        let is_code =
            |mapping: &&Mapping| mapping.executable && mapping.kind() == MappingKind::File;
        for mapping in read_mappings(pid)
            .unwrap_or_default()
            .iter()
            .filter(is_code)
        {
            if budget == 0 || self.descriptors.len() >= MOST_DESCRIPTORS {
                return;
            }
            if self.checked.insert((mapping.device, mapping.inode))
                && let Ok(file) = open_mapped_file(pid, mapping)
            {
                let found = find_descriptor(file, mapping, &mut budget);
                self.descriptors.extend(found);
            }
        }
    }

    /// Takes what is new in one list; true if it was read to its end.
    fn read_list(
        &mut self,
        pid: Pid,
        descriptor: u64,
        budget: &mut u64,
        listed: &mut HashSet<u64>,
    ) -> bool {
        let Some(header) = read::<DESCRIPTOR_BYTES>(pid, descriptor) else {
            return false;
        };
        if word(&header, 0) as u32 != VERSION {
            return false;
        }
        let (mut entry, mut before) = (word(&header, 16), 0);
        let mut new = Vec::new();
        for _ in 0..MOST_OBJECTS {
            // The end, or an entry that is being changed.
            let Some(bytes) = read::<ENTRY_BYTES>(pid, entry).filter(|_| entry != 0) else {
                break;
            };
            if word(&bytes, 8) != before {
                break;
            }
            let object = Object {
                address: word(&bytes, 16),
                size: word(&bytes, 24),
            };
            listed.insert(entry);
            if self.taken.get(&entry) != Some(&object) {
                new.push((entry, object));
            }
            (before, entry) = (entry, word(&bytes, 0));
        }
        // The newest is the first; of two at one address it holds.
        for (entry, object) in new.into_iter().rev() {
            if object.size > *budget || object.size > LARGEST_OBJECT {
                continue;
            }
            *budget -= object.size;
            let told = read_object(pid, object);
            if let Some(told) = told.filter(|_| self.taken.len() < MOST_OBJECTS) {
                self.taken.insert(entry, object);
                self.take(entry, told);
            }
        }
        entry == 0
    }

    fn take(&mut self, entry: u64, told: Told) {
        for (start, code) in told.functions {
            self.code.insert(start, code);
        }
        match told.frames {
            Some(frames) => self.frames.insert(entry, frames),
            None => self.frames.remove(&entry),
        };
    }
}

fn read_object(pid: Pid, object: Object) -> Option<Told> {
    let mut bytes = vec![0; usize::try_from(object.size).ok()?];
    read_memory(pid, object.address, &mut bytes).ok()?;
    decode_object(bytes)
}

/// The place of the descriptor in a library that is mapped so.
fn find_descriptor(file: File, mapping: &Mapping, budget: &mut u64) -> Option<u64> {
    let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
    let headers = read_partially(
        length,
        |_, _| false,
        |offset, buffer| file.read_exact_at(buffer, offset).is_ok(),
    )?;
    let segments = Image::parse(&headers).ok()?.load_segments().to_vec();
    drop(headers);
    let bias = viperf_elf::find_load_bias(&segments, mapping.start, mapping.file_offset)?;
    let svma = find_object_symbol(&ElfFile::read(file).ok()?, budget)?;
    Some(bias.0.wrapping_add(svma))
}

/// Of a symbol table only the names are read that belong to data of the descriptor's size.
fn find_object_symbol(file: &ElfFile, budget: &mut u64) -> Option<u64> {
    let tables = [SHT_SYMTAB, object::elf::SHT_DYNSYM];
    tables.into_iter().find_map(|kind| {
        let mut sections = file.sections().iter();
        let table = sections.find(|section| section.sh_type.get(ENDIAN) == kind)?;
        let strings = file.sections().get(table.sh_link.get(ENDIAN) as usize)?;
        let entries = file.read_raw(table, LARGEST_TABLE).ok()?;
        *budget = budget.saturating_sub(entries.len() as u64);
        let mut candidates = symbols(&entries).iter().filter(|symbol| {
            symbol.st_type() == STT_OBJECT && symbol.st_size(ENDIAN) == DESCRIPTOR_BYTES as u64
        });
        let found = candidates.find(|symbol| {
            let name = u64::from(symbol.st_name(ENDIAN));
            let read = file.read_part(strings, name, DESCRIPTOR.len() as u64);
            read.is_ok_and(|read| read == DESCRIPTOR)
        });
        found.map(|symbol| symbol.st_value(ENDIAN))
    })
}

/// What an object file says whose sections tell where they have been put; `None` if it is none.
pub(crate) fn decode_object(bytes: Vec<u8>) -> Option<Told> {
    let file = ElfFile::from_memory(bytes).ok()?;
    Some(Told {
        functions: decode_functions(&file)?,
        frames: find_frames(&file),
    })
}

/// The object's own bytes of the section are those before the linker has filled in addresses; the ones that hold are where it
/// has been put.
fn find_frames(file: &ElfFile) -> Option<FrameSection> {
    let frames = file.find(".eh_frame")?;
    let place = |section: &SectionHeader64<LittleEndian>| {
        let start = section.sh_addr.get(ENDIAN);
        Some(start..start.checked_add(section.sh_size.get(ENDIAN))?)
    };
    let code = file.sections().iter().filter(|section| {
        section.sh_flags.get(ENDIAN).contains(SHF_EXECINSTR) && section.sh_addr.get(ENDIAN) != 0
    });
    let code = code
        .filter_map(place)
        .filter(|code| !code.is_empty())
        .reduce(|one, other| one.start.min(other.start)..one.end.max(other.end))?;
    let place = place(frames)?;
    let size = place.end - place.start;
    let extent = code.end - code.start;
    (place.start != 0 && size <= LARGEST_OBJECT && extent <= LARGEST_EXTENT).then_some(
        FrameSection {
            address: place.start,
            size,
            code,
        },
    )
}

fn decode_functions(file: &ElfFile) -> Option<Vec<(u64, Code)>> {
    let mut sections = file.sections().iter();
    let table = sections.find(|section| section.sh_type.get(ENDIAN) == SHT_SYMTAB)?;
    let strings = file.sections().get(table.sh_link.get(ENDIAN) as usize)?;
    let entries = file.read_raw(table, LARGEST_OBJECT).ok()?;
    let strings = file.read_section(strings, LARGEST_STRINGS).ok()?;
    let functions = symbols(&entries)
        .iter()
        .filter(|symbol| symbol.st_type() == STT_FUNC && symbol.st_size(ENDIAN) > 0)
        .filter_map(|symbol| {
            // In an object that is not linked, values count from the section.
            let base = match file.is_relocatable() {
                true => file
                    .sections()
                    .get(usize::from(symbol.st_shndx(ENDIAN).0))?,
                false => file.sections().first()?,
            };
            let base = base.sh_addr.get(ENDIAN);
            if file.is_relocatable() && base == 0 {
                return None;
            }
            let start = base.checked_add(symbol.st_value(ENDIAN))?;
            let name = strings.get(symbol.st_name(ENDIAN) as usize..)?;
            let name = demangle(name.split(|&byte| byte == 0).next()?);
            let code = Code {
                end: start.checked_add(symbol.st_size(ENDIAN))?,
                name: readable_name(name.as_bytes()).into(),
                lines: Box::default(),
            };
            Some((start, code))
        });
    Some(functions.collect())
}

fn symbols(entries: &[u8]) -> &[Sym64<LittleEndian>] {
    let whole = entries.len() - entries.len() % size_of::<Sym64<LittleEndian>>();
    let entries = entries.get(..whole).unwrap_or_default();
    pod::slice_from_all_bytes(entries).unwrap_or_default()
}

fn read<const SIZE: usize>(pid: Pid, address: u64) -> Option<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    read_memory(pid, address, &mut bytes).ok()?;
    Some(bytes)
}

fn word(bytes: &[u8], offset: usize) -> u64 {
    let word = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As LLVM leaves them: not linked, with the place of `.text` filled in. One function in it, 16 bytes long.
    fn object_file(text: u64, function: u64, name: &str) -> Vec<u8> {
        const HEADER: usize = 64;
        let strings = [b"\0", name.as_bytes(), b"\0"].concat();
        let mut symbols = vec![0; 24];
        symbols.extend(1_u32.to_le_bytes());
        // STT_FUNC, section 1.
        symbols.extend([0x12, 0, 1, 0]);
        symbols.extend(function.to_le_bytes());
        symbols.extend(16_u64.to_le_bytes());
        let sections_at = HEADER + symbols.len() + strings.len();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        // ET_REL, x86-64.
        file.extend([1, 0, 62, 0, 1, 0, 0, 0]);
        file.extend([0; 16]);
        file.extend((sections_at as u64).to_le_bytes());
        file.extend([0; 4]);
        file.extend([64, 0, 0, 0, 0, 0, 64, 0, 4, 0, 0, 0]);
        assert_eq!(file.len(), HEADER);
        file.extend(&symbols);
        file.extend(&strings);
        let section = |kind: u32, address: u64, offset: usize, size: usize, link: u32| {
            let mut header = [0_u32, kind].map(u32::to_le_bytes).concat();
            let words = [0, address, offset as u64, size as u64];
            header.extend(words.map(u64::to_le_bytes).concat());
            header.extend([link, 0].map(u32::to_le_bytes).concat());
            header.extend([0; 16]);
            header
        };
        let after = HEADER + symbols.len();
        file.extend(section(0, 0, 0, 0, 0));
        file.extend(section(1, text, 0, 0, 0));
        file.extend(section(2, 0, HEADER, symbols.len(), 3));
        file.extend(section(3, 0, after, strings.len(), 0));
        file
    }

    fn bytes(words: [u64; 4]) -> Vec<u8> {
        words.map(u64::to_le_bytes).concat()
    }

    fn place(bytes: &[u8]) -> u64 {
        bytes.as_ptr().addr() as u64
    }

    /// What is read of a list in our own memory.
    fn read_own(descriptor: &[u8]) -> DebugInterface {
        let mut interface = DebugInterface::default();
        let (pid, mut budget) = (Pid(std::process::id()), MOST_BYTES);
        interface.read_list(pid, place(descriptor), &mut budget, &mut HashSet::new());
        interface
    }

    fn name(interface: &DebugInterface, address: u64) -> Option<String> {
        interface.code().find(address).map(|found| found.name)
    }

    #[test]
    fn functions_of_all_objects_in_the_list_are_named_where_they_were_put() {
        let old = object_file(0x10_0000, 0x20, "_ZN8__main__7collatzEx");
        let new = object_file(0x20_0000, 0, "plain");
        let mut last = bytes([0, 0, place(&old), old.len() as u64]);
        let first = bytes([place(&last), 0, place(&new), new.len() as u64]);
        last[8..16].copy_from_slice(&place(&first).to_le_bytes());
        let descriptor = bytes([1, 0, place(&first), 0]);
        let interface = read_own(&descriptor);
        let collatz = name(&interface, 0x10_0020).unwrap();
        assert!(collatz.starts_with("__main__::collatz("), "{collatz}");
        assert_eq!(name(&interface, 0x20_000f).as_deref(), Some("plain"));
        for outside in [0x10_001f, 0x10_0030, 0x20_0010] {
            assert_eq!(name(&interface, outside), None);
        }
        // An object that is not linked, and of which nobody says where it is.
        let nowhere = decode_object(object_file(0, 0, "x")).unwrap();
        assert!(nowhere.functions.is_empty());
    }

    #[test]
    fn a_list_that_leads_nowhere_or_in_a_circle_ends() {
        let mut entry = bytes([0, 0, 8, u64::MAX]);
        let itself = place(&entry);
        entry[0..8].copy_from_slice(&itself.to_le_bytes());
        entry[8..16].copy_from_slice(&itself.to_le_bytes());
        let descriptor = |version: u64, first: u64| bytes([version, 0, first, 0]);
        for (version, first) in [(1, itself), (1, 8), (1, 0), (2, itself)] {
            let interface = read_own(&descriptor(version, first));
            assert_eq!(interface.code().len(), 0);
        }
        entry[8..16].fill(0);
        assert_eq!(read_own(&descriptor(1, itself)).code().len(), 0);
    }

    #[test]
    fn damaged_objects_give_no_names_and_no_panic() {
        let whole = object_file(0x1000, 0, "name");
        for length in 0..whole.len() {
            let _ = decode_object(whole[..length].to_vec());
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = decode_object(damaged);
            }
        }
    }
}
