//! Structs and their members in DWARF.

use std::{borrow::Cow, collections::HashMap, rc::Rc};

use gimli::{
    AttributeValue, DebugInfoOffset, DebuggingInformationEntry, DwAt, EndianRcSlice, LittleEndian,
    Reader as _, Unit, UnitOffset, constants,
};
use object::{File, Object, ObjectSection};

type Reader = EndianRcSlice<LittleEndian>;
type Entry = DebuggingInformationEntry<Reader>;

/// Why debug information cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DwarfError {
    /// No ELF file, or a broken one.
    #[error("cannot read the ELF file")]
    Elf(#[from] object::Error),
    /// DWARF that contradicts itself.
    #[error("cannot read the debug information")]
    Dwarf(#[from] gimli::Error),
    /// There is none.
    #[error("the file has no debug information; name a file that has it, or the headers")]
    Missing,
}

/// A DWARF entry: its compilation unit and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    unit: usize,
    offset: UnitOffset,
}

/// A member of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it starts, in bits from the start of the struct.
    pub first_bit: u64,
    /// How many bits it has, if it is a bit field.
    pub bits: Option<u64>,
}

impl Field {
    /// Where it starts, in bytes from the start of the struct.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.first_bit / 8
    }
}

/// The types of one ELF file, by name.
///
/// Of types that several compilation units define, the first whole definition counts.
pub struct DebugInformation {
    dwarf: gimli::Dwarf<Reader>,
    units: Vec<Unit<Reader>>,
    /// Structs and unions that are whole, by tag.
    structures: HashMap<String, Place>,
    typedefs: HashMap<String, Place>,
    enumerations: Vec<Place>,
}

impl std::fmt::Debug for DebugInformation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DebugInformation")
            .field("units", &self.units.len())
            .field("structures", &self.structures.len())
            .finish_non_exhaustive()
    }
}

impl DebugInformation {
    /// Reads the type names of an ELF file. Takes seconds for a whole interpreter.
    ///
    /// # Errors
    ///
    /// [`DwarfError`], among others for a file without debug information.
    pub fn parse(elf: &[u8]) -> Result<Self, DwarfError> {
        let file = File::parse(elf)?;
        let dwarf = gimli::Dwarf::load(|id| load_section(&file, id))?;
        let mut headers = dwarf.units();
        let mut units = Vec::new();
        while let Some(header) = headers.next()? {
            units.push(dwarf.unit(header)?);
        }
        if units.is_empty() {
            return Err(DwarfError::Missing);
        }
        let mut information = Self {
            dwarf,
            units,
            structures: HashMap::new(),
            typedefs: HashMap::new(),
            enumerations: Vec::new(),
        };
        for unit in 0..information.units.len() {
            information.index_unit(unit)?;
        }
        Ok(information)
    }

    /// Whether there is a struct of this name, a typedef's or a tag.
    #[must_use]
    pub fn has_structure(&self, name: &str) -> bool {
        self.find_structure(name).is_some()
    }

    /// Size of a struct in bytes.
    #[must_use]
    pub fn find_size(&self, structure: &str) -> Option<u64> {
        let entry = self.entry(self.find_structure(structure)?)?;
        entry.attr_value(constants::DW_AT_byte_size)?.udata_value()
    }

    /// A member by its C name, such as `interpreters.head`. Members of unnamed members and of `ob_base` are the
    /// struct's own.
    #[must_use]
    pub fn find_field(&self, structure: &str, path: &str) -> Option<Field> {
        let mut place = Some(self.find_structure(structure)?);
        let mut found = Field {
            first_bit: 0,
            bits: None,
        };
        for name in path.split('.') {
            let (field, member_type) = self.find_member(place?, name)?;
            found = Field {
                first_bit: found.first_bit.checked_add(field.first_bit)?,
                bits: field.bits,
            };
            place = member_type;
        }
        Some(found)
    }

    /// The value of an enumerator.
    #[must_use]
    pub fn find_enumerator(&self, name: &str) -> Option<u64> {
        self.enumerations.iter().find_map(|&place| {
            let children = self.children(place);
            let enumerator = children
                .iter()
                .find(|entry| self.name_of(place.unit, entry).as_deref() == Some(name))?;
            enumerator
                .attr_value(constants::DW_AT_const_value)?
                .udata_value()
        })
    }

    /// The header that declares a struct, as the compiler was given it, and the line.
    #[must_use]
    pub fn find_declaration(&self, structure: &str) -> Option<(String, u64)> {
        let place = self.find_structure(structure)?;
        let (unit, entry) = (self.units.get(place.unit)?, self.entry(place)?);
        let index = match entry.attr_value(constants::DW_AT_decl_file)? {
            AttributeValue::FileIndex(index) => index,
            other => other.udata_value()?,
        };
        let line = entry
            .attr_value(constants::DW_AT_decl_line)?
            .udata_value()?;
        let header = unit.line_program.as_ref()?.header();
        let file = header.file(index)?;
        let text = |value| {
            let reader = self.dwarf.attr_string(unit, value).ok()?;
            Some(reader.to_string_lossy().ok()?.into_owned())
        };
        let folder = file.directory(header).and_then(text).unwrap_or_default();
        Some((format!("{folder}/{}", text(file.path_name())?), line))
    }

    fn index_unit(&mut self, unit: usize) -> Result<(), DwarfError> {
        let Some(reader) = self.units.get(unit) else {
            return Ok(());
        };
        let mut entries = reader.entries();
        let (mut structures, mut typedefs, mut enumerations) = (Vec::new(), Vec::new(), Vec::new());
        // The root, then what stands right below it.
        entries.next_entry()?;
        entries.next_entry()?;
        while let Some(entry) = entries.current() {
            let found = match entry.tag() {
                constants::DW_TAG_structure_type | constants::DW_TAG_union_type => {
                    (!is_declaration(entry)).then_some(&mut structures)
                }
                constants::DW_TAG_typedef => Some(&mut typedefs),
                constants::DW_TAG_enumeration_type => {
                    enumerations.push(Place {
                        unit,
                        offset: entry.offset(),
                    });
                    None
                }
                _ => None,
            };
            if let Some(found) = found
                && let Some(name) = self.name_of(unit, entry)
            {
                found.push((
                    name,
                    Place {
                        unit,
                        offset: entry.offset(),
                    },
                ));
            }
            entries.next_sibling()?;
        }
        for (name, place) in structures {
            self.structures.entry(name).or_insert(place);
        }
        for (name, place) in typedefs {
            self.typedefs.entry(name).or_insert(place);
        }
        self.enumerations.extend(enumerations);
        Ok(())
    }

    fn find_structure(&self, name: &str) -> Option<Place> {
        let own = self.typedefs.get(name).and_then(|&place| self.strip(place));
        own.or_else(|| self.structures.get(name).copied())
    }

    /// The struct or union behind typedefs and qualifiers, whole; `None` for other types.
    fn strip(&self, mut place: Place) -> Option<Place> {
        // No chain of typedefs is longer.
        for _ in 0..16 {
            let entry = self.entry(place)?;
            match entry.tag() {
                constants::DW_TAG_structure_type | constants::DW_TAG_union_type => {
                    if !is_declaration(&entry) {
                        return Some(place);
                    }
                    let name = self.name_of(place.unit, &entry)?;
                    return self.structures.get(&name).copied();
                }
                constants::DW_TAG_typedef
                | constants::DW_TAG_const_type
                | constants::DW_TAG_volatile_type
                | constants::DW_TAG_atomic_type => place = self.type_of(place.unit, &entry)?,
                _ => return None,
            }
        }
        None
    }

    /// A member by name, and its type if that is a struct.
    fn find_member(&self, structure: Place, name: &str) -> Option<(Field, Option<Place>)> {
        let members = self.children(structure);
        let members = members
            .iter()
            .filter(|entry| entry.tag() == constants::DW_TAG_member);
        members.into_iter().find_map(|member| {
            let own_name = self.name_of(structure.unit, member);
            let own_type = || self.strip(self.type_of(structure.unit, member)?);
            let field = field_of(member)?;
            match own_name.as_deref() {
                Some(own_name) if own_name == name => Some((field, own_type())),
                None | Some("ob_base") => {
                    let (inner, inner_type) = self.find_member(own_type()?, name)?;
                    let first_bit = field.first_bit.checked_add(inner.first_bit)?;
                    Some((Field { first_bit, ..inner }, inner_type))
                }
                Some(_) => None,
            }
        })
    }

    fn entry(&self, place: Place) -> Option<Entry> {
        self.units.get(place.unit)?.entry(place.offset).ok()
    }

    fn children(&self, place: Place) -> Vec<Entry> {
        let mut found = Vec::new();
        let Some(unit) = self.units.get(place.unit) else {
            return found;
        };
        let Ok(mut tree) = unit.entries_tree(Some(place.offset)) else {
            return found;
        };
        let Ok(root) = tree.root() else { return found };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            found.push(child.entry().clone());
        }
        found
    }

    fn name_of(&self, unit: usize, entry: &Entry) -> Option<String> {
        let name = entry.attr_value(constants::DW_AT_name)?;
        let reader = self.dwarf.attr_string(self.units.get(unit)?, name).ok()?;
        Some(reader.to_string_lossy().ok()?.into_owned())
    }

    fn type_of(&self, unit: usize, entry: &Entry) -> Option<Place> {
        match entry.attr_value(constants::DW_AT_type)? {
            AttributeValue::UnitRef(offset) => Some(Place { unit, offset }),
            AttributeValue::DebugInfoRef(offset) => self.place_at(offset),
            _ => None,
        }
    }

    /// Link-time optimization lets units refer to each other.
    fn place_at(&self, offset: DebugInfoOffset) -> Option<Place> {
        let starts_after = |unit: &Unit<Reader>| {
            unit.header
                .debug_info_offset()
                .is_some_and(|start| start.0 > offset.0)
        };
        let unit = self
            .units
            .partition_point(|unit| !starts_after(unit))
            .checked_sub(1)?;
        let offset = offset.to_unit_offset(&self.units.get(unit)?.header)?;
        Some(Place { unit, offset })
    }
}

fn is_declaration(entry: &Entry) -> bool {
    entry.has_attr(constants::DW_AT_declaration)
}

fn number(entry: &Entry, name: DwAt) -> Option<u64> {
    entry.attr_value(name)?.udata_value()
}

/// Where a member lies. Bit fields have a bit number of their own (DWARF 4 and later); members of unions start at 0.
fn field_of(member: &Entry) -> Option<Field> {
    let bits = number(member, constants::DW_AT_bit_size);
    if let Some(first_bit) = number(member, constants::DW_AT_data_bit_offset) {
        return Some(Field { first_bit, bits });
    }
    if bits.is_some() {
        return None;
    }
    let bytes = match member.attr_value(constants::DW_AT_data_member_location) {
        Some(location) => location.udata_value()?,
        None => 0,
    };
    let first_bit = bytes.checked_mul(8)?;
    Some(Field { first_bit, bits })
}

fn load_section(file: &File<'_>, id: gimli::SectionId) -> Result<Reader, DwarfError> {
    use gimli::SectionId::{
        DebugAbbrev, DebugInfo, DebugLine, DebugLineStr, DebugStr, DebugStrOffsets,
    };
    // Types are in these; the others are large.
    let is_wanted = matches!(
        id,
        DebugAbbrev | DebugInfo | DebugLine | DebugLineStr | DebugStr | DebugStrOffsets
    );
    let section = file.section_by_name(id.name()).filter(|_| is_wanted);
    let data = match section {
        Some(section) => section.uncompressed_data()?,
        None => Cow::Borrowed(&[][..]),
    };
    Ok(EndianRcSlice::new(Rc::from(&*data), LittleEndian))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::{Derived, Origin, Version};

    /// Structs of every kind that CPython has, and what the compiler itself makes of them.
    const PROGRAM: &str = r#"
        #include <stddef.h>
        #include <stdio.h>
        #include <string.h>
        struct head { long count; struct declared *type; };
        typedef struct { struct head ob_base; long ob_size; } variable;
        struct declared { char first; union { int left; long right; }; };
        typedef const struct declared *pointer;
        typedef struct wide { variable ob_base; char c; struct { short a, b; } inner; pointer p; } wide_t;
        typedef wide_t again;
        struct bits { char c; struct { unsigned int a : 2, kind : 3, last : 1; } state; };
        enum owner { OWNED_BY_NONE = 1, OWNED_BY_ALL = 7 };
        again keep; struct declared keep_declared; enum owner keep_owner; struct bits keep_bits;
        static int first_bit(void)
        {
            unsigned int word;
            struct bits bits;
            memset(&bits, 0, sizeof(bits));
            bits.state.kind = 7;
            memcpy(&word, &bits.state, sizeof(word));
            return __builtin_ctz(word);
        }
        int main(void)
        {
            printf("%zu %zu %zu %zu %zu %zu %zu %d\n", offsetof(wide_t, c), offsetof(wide_t, inner.b),
                   offsetof(wide_t, ob_base.ob_size), offsetof(wide_t, ob_base.ob_base.type),
                   offsetof(struct declared, right), sizeof(wide_t), offsetof(struct bits, state), first_bit());
            return 0;
        }"#;

    /// The program's debug information, and what it prints; `None` without a C compiler.
    fn compile() -> Option<(DebugInformation, Vec<u64>)> {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("a.c"), folder.path().join("a"));
        fs::write(&source, PROGRAM).unwrap();
        let mut compiler = Command::new("cc");
        let compiled = compiler.arg("-g").arg("-o").args([&program, &source]);
        if !compiled.status().is_ok_and(|status| status.success()) {
            println!("skipped: layout-derivation: no C compiler");
            return None;
        }
        let printed = Command::new(&program).output().unwrap().stdout;
        let numbers = String::from_utf8(printed).unwrap();
        let numbers = numbers.split_whitespace().map(|text| text.parse().unwrap());
        let information = DebugInformation::parse(&fs::read(&program).unwrap()).unwrap();
        Some((information, numbers.collect()))
    }

    #[test]
    fn members_are_where_the_compiler_puts_them() {
        let Some((information, expected)) = compile() else {
            return;
        };
        let offset = |structure, path| information.find_field(structure, path).unwrap().offset();
        let kind = information.find_field("bits", "state.kind").unwrap();
        let state = information.find_field("bits", "state").unwrap();
        let found = [
            offset("again", "c"),
            offset("wide", "inner.b"),
            // Through what it begins with, as with CPython's objects.
            offset("wide_t", "ob_size"),
            offset("wide_t", "type"),
            offset("declared", "right"),
            information.find_size("again").unwrap(),
            state.offset(),
            kind.first_bit - state.first_bit,
        ];
        assert_eq!(found.as_slice(), expected);
        assert_eq!((kind.bits, state.bits), (Some(3), None));
        assert_eq!(information.find_enumerator("OWNED_BY_ALL"), Some(7));
        let (file, line) = information.find_declaration("bits").unwrap();
        assert!(file.ends_with("a.c") && line == 11, "{file}:{line}");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let Some((information, _)) = compile() else {
            return;
        };
        assert!(information.find_field("wide", "inner.c").is_none());
        assert!(information.find_field("wide", "c.inner").is_none());
        assert!(information.find_field("nothing", "c").is_none());
        assert!(information.find_size("pointer").is_none());
        assert!(information.find_enumerator("OWNED_BY_SOME").is_none());
        let version = Version::from_hex(0x030e_00f0);
        let derived = Derived::from_debug_information(&information, version, Origin::Interpreter);
        assert!(derived.tables.is_empty());
        let missing = |name: &str| derived.missing.iter().any(|missing| missing == name);
        assert!(missing("PyThreadState") && missing("_Py_DebugOffsets"));
    }

    #[test]
    fn a_file_without_debug_information_is_said_to_have_none() {
        assert!(matches!(
            DebugInformation::parse(b"no ELF"),
            Err(DwarfError::Elf(_))
        ));
        // A header of 64 bytes and nothing else: no sections.
        let mut elf = vec![0; 64];
        elf[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        (elf[16], elf[18], elf[20], elf[52], elf[54], elf[58]) = (3, 62, 1, 64, 56, 64);
        assert!(matches!(
            DebugInformation::parse(&elf),
            Err(DwarfError::Missing)
        ));
    }
}
