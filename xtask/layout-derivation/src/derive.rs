//! From debug information to the numbers of a layout file.

use std::fmt;

use crate::{
    DebugInformation,
    members::{Key, Source, TABLES, TableOfKeys},
};

/// A CPython version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 of 3.13.0.
    pub major: u8,
    /// 13 of 3.13.0.
    pub minor: u8,
    /// 0 of 3.13.0.
    pub micro: u8,
}

impl Version {
    /// From `PY_VERSION_HEX`.
    #[must_use]
    pub const fn from_hex(hex: u32) -> Self {
        let [major, minor, micro, _level] = hex.to_be_bytes();
        Self {
            major,
            minor,
            micro,
        }
    }

    /// From a text such as `3.13.0`; whatever follows the number, such as `rc1`, is not looked at.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|part| {
            let end = part.find(|digit: char| !digit.is_ascii_digit());
            part.get(..end.unwrap_or(part.len()))?.parse().ok()
        });
        Some(Self {
            major: numbers.next()??,
            minor: numbers.next()??,
            micro: numbers.next()??,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Where the debug information is from; said in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An interpreter.
    Interpreter,
    /// A C file compiled against the interpreter's headers.
    Headers,
}

/// What a layout file says, with its comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The version that it was derived from.
    pub version: Version,
    /// A build without a GIL.
    pub free_threaded: bool,
    /// What it was derived from.
    pub origin: Origin,
    /// The value of `line_table`.
    pub line_table: &'static str,
    /// The tables in their order.
    pub tables: Vec<Table>,
    /// C names of what the debug information should have and has not.
    pub missing: Vec<String>,
}

/// One table of a layout file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The table's name, mostly the struct's.
    pub name: &'static str,
    /// Comments above it: what it is about and where it is declared.
    pub comments: Vec<String>,
    /// Its keys in their order.
    pub lines: Vec<Line>,
}

/// One key of a layout file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The key's name, mostly the member's.
    pub key: &'static str,
    /// Its number.
    pub value: u64,
    /// A comment behind it.
    pub note: String,
    /// A comment above it.
    pub above: &'static str,
}

impl Derived {
    /// Looks up everything that a layout file of this version holds.
    #[must_use]
    pub fn from_debug_information(
        information: &DebugInformation,
        version: Version,
        origin: Origin,
    ) -> Self {
        let mut missing = Vec::new();
        let minor = (version.major, version.minor);
        // A member of the object header that only this build has.
        let free_threaded = information.find_field("PyObject", "ob_tid").is_some();
        let has_code_member = |name| information.find_field("PyCodeObject", name).is_some();
        let line_table = if has_code_member("co_lnotab") {
            if version.major < 3 {
                "lnotab-unsigned"
            } else {
                "lnotab-signed"
            }
        } else if has_code_member("co_code_adaptive") {
            "locations"
        } else {
            "ranges"
        };
        let mut tables = Vec::new();
        for table in TABLES {
            let is_of_build = !(free_threaded && table.is_with_gil_only);
            if !is_of_build || !(table.since..=table.until).contains(&minor) {
                continue;
            }
            if !information.has_structure(table.structure) {
                missing.push(table.structure.to_owned());
                continue;
            }
            let keys = table.keys.iter().filter(|key| {
                let is_in_build = free_threaded || !key.is_free_threaded_only;
                (key.since..=key.until).contains(&minor) && is_in_build
            });
            let mut lines = Vec::new();
            for key in keys {
                match find_line(information, table, key) {
                    Some(line) => lines.push(line),
                    None => missing.push(describe(table, key)),
                }
            }
            tables.push(Table {
                name: table.name,
                comments: comments(information, table, version),
                lines,
            });
        }
        Self {
            version,
            free_threaded,
            origin,
            line_table,
            tables,
            missing,
        }
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let Version { major, minor, .. } = self.version;
        let suffix = if self.free_threaded { "t" } else { "" };
        format!("{major}.{minor}{suffix}.toml")
    }
}

fn comments(information: &DebugInformation, table: &TableOfKeys, version: Version) -> Vec<String> {
    let declaration = information.find_declaration(table.structure);
    let link = declaration.and_then(|(header, line)| {
        let path = path_in_sources(&header)?;
        Some(format!(
            "https://github.com/python/cpython/blob/v{version}/{path}#L{line}"
        ))
    });
    let note = (!table.note.is_empty()).then(|| table.note.to_owned());
    note.into_iter().chain(link).collect()
}

/// `Include/cpython/code.h` of a header in CPython's sources or installed under `include/python3.13`.
fn path_in_sources(header: &str) -> Option<String> {
    let parts: Vec<&str> = header.split('/').filter(|part| *part != ".").collect();
    let folder = parts
        .iter()
        .rposition(|part| *part == "Include" || part.starts_with("python"))?;
    let below = parts.get(folder + 1..)?.join("/");
    Some(format!("Include/{below}"))
}

fn find_line(information: &DebugInformation, table: &TableOfKeys, key: &Key) -> Option<Line> {
    let structure = table.structure;
    let mut note = key.note.to_owned();
    let value = match key.source {
        Source::Member([]) => information.find_field(structure, key.name)?.offset(),
        Source::Member(names) => {
            let found = names
                .iter()
                .find_map(|name| Some((name, information.find_field(structure, name)?)));
            let (name, field) = found?;
            if name.replace('.', "_") != key.name {
                (*name).clone_into(&mut note);
            }
            field.offset()
        }
        Source::MemberOf(other, member) => information.find_field(other, member)?.offset(),
        Source::Size(of) => information.find_size(of)?,
        Source::LowestBit(word, field) => {
            let word_field = information.find_field(structure, word)?;
            let field = information.find_field(structure, &format!("{word}.{field}"))?;
            field.first_bit.checked_sub(word_field.first_bit)?
        }
        Source::Mask(word, field) => {
            let bits = information
                .find_field(structure, &format!("{word}.{field}"))?
                .bits?;
            1_u64
                .checked_shl(u32::try_from(bits).ok()?)?
                .checked_sub(1)?
        }
        Source::Enumerator(name) => information.find_enumerator(name)?,
    };
    Some(Line {
        key: key.name,
        value,
        note,
        above: key.above,
    })
}

/// What a key is called in C.
fn describe(table: &TableOfKeys, key: &Key) -> String {
    let structure = table.structure;
    match key.source {
        Source::Member([]) => format!("{structure}.{}", key.name),
        Source::Member(names) => format!("{structure}.{}", names.join(" or .")),
        Source::MemberOf(other, member) => format!("{other}.{member}"),
        Source::Size(of) => format!("sizeof({of})"),
        Source::LowestBit(word, field) | Source::Mask(word, field) => {
            format!("{structure}.{word}.{field}")
        }
        Source::Enumerator(name) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_text_and_number() {
        let version = Version {
            major: 3,
            minor: 13,
            micro: 0,
        };
        assert_eq!(Version::parse("3.13.0rc1"), Some(version));
        assert_eq!(Version::parse("3.13.0"), Some(version));
        assert_eq!(Version::from_hex(0x030d_00f0), version);
        assert_eq!(version.to_string(), "3.13.0");
        for text in ["", "3", "3.13", "three", "3..1", "3.13.x", "3.999.1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn headers_are_found_in_the_sources_wherever_they_were_compiled() {
        for (header, path) in [
            ("./Include/cpython/code.h", "Include/cpython/code.h"),
            (
                "../src/Python-3.13.5/Include/internal/a.h",
                "Include/internal/a.h",
            ),
            (
                "/usr/include/python3.14/internal/a.h",
                "Include/internal/a.h",
            ),
        ] {
            assert_eq!(path_in_sources(header).as_deref(), Some(path));
        }
        assert_eq!(path_in_sources("/usr/include/stdint.h"), None);
    }
}
