//! The project's own files: where they are, and their text.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// What holds no file of ours; in a further work tree `.git` is a file.
const FOREIGN: [&str; 4] = ["target", "node_modules", ".git", "__pycache__"];

/// The project's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// One text file of the project.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Holds only tests, by its folder or by `#[cfg(test)] mod NAME;` beside it.
    is_only_tests: bool,
}

impl Source {
    pub(crate) fn has_extension(&self, extensions: &[&str]) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|own| extensions.iter().any(|wanted| own == *wanted))
    }

    /// A file as if it stood there.
    #[cfg(test)]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            is_only_tests: false,
        }
    }

    /// The lines before the unit tests, with their numbers from 1; none of a file that is only tests.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = match self.text.find("#[cfg(test)]\nmod tests {") {
            _ if self.is_only_tests => 0,
            Some(start) => start,
            None => self.text.len(),
        };
        let product = self.text.get(..end).unwrap_or_default();
        product
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line))
    }

    /// The paths of the modules that this file declares for tests only.
    fn test_modules(&self) -> impl Iterator<Item = String> {
        let declared = self.text.split("#[cfg(test)]\n").skip(1);
        let names = declared
            .filter_map(|rest| rest.lines().next()?.strip_prefix("mod ")?.strip_suffix(';'));
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        names.map(move |name| format!("{folder}/{name}.rs"))
    }
}

fn mark_test_modules(sources: &mut [Source]) {
    let only_tests: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        source.is_only_tests |= only_tests.contains(&source.path);
    }
}

/// Every text file of the project, sorted by path.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn sources() -> Result<Vec<Source>> {
    let root = root();
    let mut found = Vec::new();
    collect(&root, &root, &mut found)?;
    found.sort_by(|left, right| left.path.cmp(&right.path));
    mark_test_modules(&mut found);
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if FOREIGN.contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, found)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            // What is not text (pictures, ELF fixtures) has nothing to check.
            let path = path.strip_prefix(root)?.to_string_lossy().into_owned();
            let is_only_tests = path.contains("/tests/");
            found.push(Source {
                path,
                text,
                is_only_tests,
            });
        }
    }
    Ok(())
}
