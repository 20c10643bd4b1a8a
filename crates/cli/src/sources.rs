//! Source text for the page, where the user allows it to be read.

use std::path::{Path, PathBuf};

use clap::Args;
use viperf_agent::SourcesRead;
use viperf_profile::{Profile, ProfileInformation, SourceFile};

use crate::exit::Failure;
use crate::report::source_text::read_below;
use crate::terminal;

/// Where source text may be taken from.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SourceArguments {
    /// Put the source files below DIR that have samples into the page or .viperf file (repeat it); FROM=DIR says which
    /// folder of the program, of a container perhaps, DIR is
    #[arg(long, value_name = "[FROM=]DIR")]
    pub(crate) source_root: Vec<SourceRoot>,
}

/// A folder with sources, and where the program had it, if that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceRoot {
    from: Option<PathBuf>,
    folder: PathBuf,
}

impl From<&str> for SourceRoot {
    fn from(text: &str) -> Self {
        match text.split_once('=') {
            Some((from, folder)) if from.starts_with('/') => Self {
                from: Some(from.into()),
                folder: folder.into(),
            },
            _ => Self {
                from: None,
                folder: text.into(),
            },
        }
    }
}

impl SourceRoot {
    /// The folder to look below, and the path to look for there; `None` when this folder does not hold `path`.
    fn place_of<'p>(&'p self, path: &'p Path) -> Option<(&'p Path, &'p Path)> {
        match &self.from {
            Some(from) => Some((&self.folder, path.strip_prefix(from).ok()?)),
            None => Some((&self.folder, path)),
        }
    }
}

impl SourceArguments {
    /// Whether any source may be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.source_root.is_empty()
    }

    /// Whether all of them are folders.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for root in &self.source_root {
            if !root.folder.is_dir() {
                return Err(Failure::wrong_usage(format!(
                    "--source-root {} is no folder",
                    root.folder.display()
                )));
            }
        }
        Ok(())
    }

    /// The text of the file that the program called `path`, if it is below one of the folders.
    pub(crate) fn find(&self, path: &str, recorded: &ProfileInformation) -> Option<SourceFile> {
        let find = |root: &SourceRoot| {
            let (folder, inside) = root.place_of(Path::new(path))?;
            read_below(inside, &[folder.to_path_buf()])
        };
        let found = self.source_root.iter().find_map(find)?;
        let changed_since = found.is_newer_than(recorded);
        Some(SourceFile {
            text: found.text,
            changed_since,
        })
    }

    /// Puts the texts that are found into `profile`, and says how many there are.
    pub(crate) fn add_to(&self, profile: &mut Profile) -> Result<(), Failure> {
        self.check()?;
        let files: Vec<String> = profile
            .sampled_python_files()
            .map_err(|error| Failure::failed(error.to_string()))?
            .into_keys()
            .map(str::to_owned)
            .collect();
        let mut read = SourcesRead::default();
        for path in files.iter().filter(|path| !path.starts_with('<')) {
            if profile.sources.find(path).is_some() {
                read.found += 1;
                continue;
            }
            let Some(file) = self.find(path, &profile.information) else {
                read.missing += 1;
                continue;
            };
            match profile.sources.insert(path, file) {
                true => read.found += 1,
                false => read.too_large += 1,
            }
        }
        say(read);
        Ok(())
    }
}

/// What became of the source files, in a line.
pub(crate) fn say(read: SourcesRead) {
    let SourcesRead {
        found,
        missing,
        too_large,
    } = read;
    let mut text = format!("source: the text of {found} files is in it");
    if missing > 0 {
        text += &format!(", {missing} were not found");
    }
    if too_large > 0 {
        text += &format!(", {too_large} were too large");
    }
    terminal::tell(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_stand_for_one_of_the_program() {
        let root = SourceRoot::from("/app=./src");
        let place = |root: &SourceRoot, path: &str| {
            let path = PathBuf::from(path);
            let place = root.place_of(&path);
            place.map(|(folder, inside)| (folder.to_path_buf(), inside.to_path_buf()))
        };
        assert_eq!(
            place(&root, "/app/shop/views.py"),
            Some(("./src".into(), "shop/views.py".into()))
        );
        assert_eq!(place(&root, "/apple/views.py"), None);
        let plain = SourceRoot::from("a=b");
        assert_eq!(place(&plain, "/x.py"), Some(("a=b".into(), "/x.py".into())));
    }
}
