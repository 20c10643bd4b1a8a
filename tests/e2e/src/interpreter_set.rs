//! The interpreters that `cargo xtask interpreters` fetched and built: where they are kept, and what is noted of each.
//!
//! ```text
//! CACHE/interpreters-1/set/NAME/python      starts it: a link, or a script that enters a root and becomes the interpreter
//! CACHE/interpreters-1/set/NAME/about.json  an `About`; written first, so a `python` that is there is whole
//! CACHE/interpreters-1/roots/SUITE/root     what the packages of one Debian suite hold, with a C library of its own
//! CACHE/interpreters-1/builds/NAME          what was built from a source package
//! ```

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// Counts up when the way to make the set changes, so that a set made in an old way is not taken for the new one.
const RECIPE: u32 = 1;

/// The folder of the whole set: in `$XDG_CACHE_HOME/viperf`, else in `.cache/viperf` of the home folder.
/// Every checkout on the machine shares it; it may be removed at any time and is then made anew.
pub fn interpreter_set() -> PathBuf {
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/tmp".into())).join(".cache"),
    };
    cache.join("viperf").join(format!("interpreters-{RECIPE}"))
}

/// What is noted of an interpreter of the set; all else it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The folder that is `/` for it, where it runs in a root of its own.
    pub root: Option<PathBuf>,
    /// The Debian suite that its packages are from, where it runs in a root.
    pub suite: Option<String>,
    /// Folders for the compiler's `-I`, from the machine's own root; those of an interpreter without root it says itself.
    pub include: Vec<PathBuf>,
}

impl About {
    /// The notes beside a `python` of the set; none beside any other executable.
    pub(crate) fn read_beside(python: &Path) -> Self {
        let text = fs::read_to_string(python.with_file_name("about.json")).unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let facts: Value = serde_json::from_str(text).unwrap_or_default();
        let include = facts["include"].as_array().cloned().unwrap_or_default();
        Self {
            root: facts["root"].as_str().map(PathBuf::from),
            suite: facts["suite"].as_str().map(str::to_owned),
            include: include
                .iter()
                .filter_map(Value::as_str)
                .map(PathBuf::from)
                .collect(),
        }
    }

    /// Writes `about.json` into the folder of an interpreter of the set.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("about.json"), self.encode())
    }

    fn encode(&self) -> String {
        let Self {
            root,
            suite,
            include,
        } = self;
        format!(
            "{:#}\n",
            json!({"root": root, "suite": suite, "include": include})
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_as_they_were_written() {
        let about = About {
            root: Some("/cache/roots/sid/root".into()),
            suite: Some("sid".to_owned()),
            include: vec!["/cache/roots/sid/root/usr/include/python3.14".into()],
        };
        assert_eq!(About::parse(&about.encode()), about);
    }

    #[test]
    fn an_interpreter_without_notes_is_the_machines_own() {
        assert_eq!(About::parse(""), About::default());
    }
}
