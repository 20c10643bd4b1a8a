//! An executable as far as names are concerned: what outlives its processes, and its path.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use viperf_symbolize::{NativeFile, SearchRoot};

/// What its addresses get their names from.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    /// Kept open, so that it can be symbolized after its path or its processes are gone.
    pub(crate) file: Arc<File>,
    /// The last part of its path.
    pub(crate) name: String,
    /// As the first process that ran it calls it, in the root that this process sees.
    pub(crate) original_path: PathBuf,
    pub(crate) root: Option<SearchRoot>,
    /// In lower-case hexadecimal digits.
    pub(crate) build_id: Option<String>,
    /// An interpreter whose instructions are functions that jump to each other.
    pub(crate) has_tail_calls: bool,
}

impl NamedFile {
    /// Where to read it from, by a name that stays good while this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// The same for symbols, which may stand in other files beside it.
    pub(crate) fn native_file<'a>(&'a self, path: &'a Path) -> NativeFile<'a> {
        NativeFile {
            path,
            original_path: Some(&self.original_path),
            root: self.root.as_ref(),
        }
    }
}
