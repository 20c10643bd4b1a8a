//! Texts of source files, where somebody allowed them to be read.

use std::collections::{BTreeMap, HashSet};

use crate::function_table::FrameKind;
use crate::profile::Profile;
use crate::validate::ProfileError;

/// The greatest text of one file, in bytes; generated modules of a few megabytes exist.
pub const LARGEST_SOURCE: usize = 4_000_000;

/// All texts of a profile together, in bytes.
pub const ALL_SOURCES: usize = 64_000_000;

/// The text of one source file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// The text; what was not UTF-8 is U+FFFD.
    pub text: String,
    /// The file was written after the recording, so lines may not be where they were.
    pub changed_since: bool,
}

/// Texts by the path that functions name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTable {
    files: BTreeMap<String, SourceFile>,
    bytes: usize,
}

impl SourceTable {
    /// Keeps the text of the file that functions call `path`; `false` when it is too large, or all together would be.
    /// A path that has its text keeps it.
    pub fn insert(&mut self, path: &str, file: SourceFile) -> bool {
        if self.files.contains_key(path) {
            return true;
        }
        let bytes = self.bytes.saturating_add(file.text.len());
        if file.text.len() > LARGEST_SOURCE || bytes > ALL_SOURCES {
            return false;
        }
        self.bytes = bytes;
        self.files.insert(path.to_owned(), file);
        true
    }

    /// The text of the file that functions call `path`.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&SourceFile> {
        self.files.get(path)
    }

    /// Every text with its path, in order of the paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &SourceFile)> + '_ {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no texts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl Profile {
    /// The files of Python code that samples were taken in, each with the processes (by row) that ran it.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when a handle is not of this profile.
    pub fn sampled_python_files(
        &self,
    ) -> Result<BTreeMap<&str, Vec<crate::ProcessHandle>>, ProfileError> {
        let mut stacks = HashSet::new();
        let mut files: BTreeMap<&str, Vec<crate::ProcessHandle>> = BTreeMap::new();
        for sample in &self.samples {
            let process = self.thread(sample.thread)?.process;
            if !stacks.insert((process, sample.stack)) {
                continue;
            }
            for frame in self.stacks.frames_leaf_first(sample.stack) {
                let function = self.function(self.frame(frame)?.function)?;
                let Some(file) = function.file.filter(|_| function.kind == FrameKind::Python)
                else {
                    continue;
                };
                let processes = files.entry(self.string(file)?).or_default();
                if !processes.contains(&process) {
                    processes.push(process);
                }
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::MadeUp;

    #[test]
    fn texts_are_bounded_one_by_one_and_together() {
        let file = |bytes: usize| SourceFile {
            text: "x".repeat(bytes),
            changed_since: false,
        };
        let mut sources = SourceTable::default();
        assert!(!sources.insert("a.py", file(LARGEST_SOURCE + 1)));
        for number in 0..ALL_SOURCES / LARGEST_SOURCE {
            assert!(sources.insert(&format!("{number}.py"), file(LARGEST_SOURCE)));
        }
        assert!(!sources.insert("one more.py", file(1)));
        assert!(sources.insert("0.py", file(1)), "it has its text");
        assert_eq!(sources.find("0.py").unwrap().text.len(), LARGEST_SOURCE);
    }

    #[test]
    fn only_python_files_with_samples_are_named_with_their_processes() {
        let mut made = MadeUp::default();
        let one = made.thread("p", 1, 1);
        let other = made.thread("q", 2, 2);
        let main = made.python("main", "/srv/a.py", 1, 1);
        let idle = made.python("idle", "/srv/idle.py", 1, 1);
        let native = made.native("deflate", "libz.so");
        made.samples(one, &[main, native], 2);
        made.samples(other, &[main], 1);
        let _ = idle;
        let files = made.profile.sampled_python_files().unwrap();
        let files: Vec<_> = files.iter().map(|(file, all)| (*file, all.len())).collect();
        assert_eq!(files, [("/srv/a.py", 2)]);
    }
}
