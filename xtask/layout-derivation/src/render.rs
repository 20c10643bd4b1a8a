//! Writing layout files, and comparing them.

use std::fmt::Write as _;

use crate::{Derived, Origin, Table};

impl Derived {
    /// The layout file.
    #[must_use]
    pub fn write(&self) -> String {
        let mut file = String::new();
        self.write_head(&mut file);
        for table in &self.tables {
            write_table(&mut file, table);
        }
        file
    }

    fn write_head(&self, file: &mut String) {
        let version = self.version;
        let (major, minor) = (version.major, version.minor);
        let build = if self.free_threaded {
            "free-threaded"
        } else {
            "GIL"
        };
        let origin = match (self.origin, self.free_threaded) {
            (Origin::Interpreter, _) => format!("Read from the DWARF of {version}."),
            (Origin::Headers, true) => {
                format!("Compiled from the headers of {version} with Py_GIL_DISABLED.")
            }
            (Origin::Headers, false) => format!("Compiled from the headers of {version}."),
        };
        let lines = [
            format!("# CPython {major}.{minor}, {build} build, x86-64."),
            "#".to_owned(),
            "# Tables are CPython's C structs and keys their members; values are offsets in bytes unless a comment \
             says otherwise."
                .to_owned(),
            format!("# {origin}"),
        ];
        for line in lines {
            writeln!(file, "{line}").ok();
        }
        if (major, minor) >= (3, 13) {
            let text =
                "# What the interpreter's own `_Py_DebugOffsets` says wins over these numbers.";
            writeln!(file, "{text}").ok();
        }
        write!(file, "major = {major}\nminor = {minor}\n").ok();
        if self.free_threaded {
            file.push_str("free_threaded = true\n");
        }
        writeln!(file, "line_table = \"{}\"", self.line_table).ok();
    }
}

fn write_table(file: &mut String, table: &Table) {
    file.push('\n');
    for comment in &table.comments {
        writeln!(file, "# {comment}").ok();
    }
    writeln!(file, "[{}]", table.name).ok();
    for line in &table.lines {
        if !line.above.is_empty() {
            writeln!(file, "# {}", line.above).ok();
        }
        let quote = if line.key.contains('.') { "\"" } else { "" };
        write!(file, "{quote}{}{quote} = {}", line.key, line.value).ok();
        if !line.note.is_empty() {
            write!(file, " # {}", line.note).ok();
        }
        file.push('\n');
    }
}

/// Every key in which two layout files differ, as `TABLE.KEY: 1, not 2`; comments do not count.
///
/// # Errors
///
/// One of them is no TOML.
pub fn differences(ours: &str, theirs: &str) -> Result<Vec<String>, toml::de::Error> {
    let (ours, theirs): (toml::Table, toml::Table) =
        (toml::from_str(ours)?, toml::from_str(theirs)?);
    let mut found = Vec::new();
    compare("", &ours, &theirs, &mut found);
    Ok(found)
}

fn compare(above: &str, ours: &toml::Table, theirs: &toml::Table, found: &mut Vec<String>) {
    for (key, value) in ours {
        let name = format!("{above}{key}");
        match (value, theirs.get(key)) {
            (_, None) => found.push(format!("{name}: {}, which is not there", show(value))),
            (toml::Value::Table(ours), Some(toml::Value::Table(theirs))) => {
                compare(&format!("{name}."), ours, theirs, found);
            }
            (ours, Some(theirs)) if ours != theirs => {
                found.push(format!("{name}: {}, not {}", show(ours), show(theirs)));
            }
            _ => {}
        }
    }
    for (key, value) in theirs {
        if !ours.contains_key(key) {
            found.push(format!("{above}{key}: missing, it is {}", show(value)));
        }
    }
}

fn show(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(_) => "a table".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Line, Version};

    #[test]
    fn a_file_is_written_with_its_comments_and_is_toml() {
        let derived = Derived {
            version: Version {
                major: 3,
                minor: 16,
                micro: 1,
            },
            free_threaded: true,
            origin: Origin::Headers,
            line_table: "locations",
            tables: vec![Table {
                name: "PyFoo",
                comments: vec!["link".to_owned()],
                lines: vec![
                    Line {
                        key: "a.b",
                        value: 8,
                        note: String::new(),
                        above: "",
                    },
                    Line {
                        key: "c",
                        value: 1,
                        note: "a bit".to_owned(),
                        above: "Bits:",
                    },
                ],
            }],
            missing: Vec::new(),
        };
        let file = derived.write();
        let end = "\n# link\n[PyFoo]\n\"a.b\" = 8\n# Bits:\nc = 1 # a bit\n";
        assert!(file.ends_with(end), "{file}");
        assert!(file.contains("\nfree_threaded = true\nline_table = \"locations\"\n"));
        assert_eq!(differences(&file, &file).unwrap(), Vec::<String>::new());
        assert_eq!(derived.file_name(), "3.16t.toml");
    }

    #[test]
    fn every_difference_is_named() {
        let ours = "a = 1\n[t]\nx = 1\ny = 2\n[only]\nz = 1\n";
        let theirs = "a = 1\n[t]\nx = 2\nw = 3\n";
        let expected = [
            "only: a table, which is not there",
            "t.x: 1, not 2",
            "t.y: 2, which is not there",
            "t.w: missing, it is 3",
        ];
        assert_eq!(differences(ours, theirs).unwrap(), expected);
        assert!(differences("a = ", theirs).is_err());
    }
}
