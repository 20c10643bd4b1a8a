//! Texts of source files, at the end of a recording or when somebody wants to see one, each read in the root of a process that ran it.
//!
//! The names come from the target, and so does what stands below its root: a link there leads nowhere else, only regular
//! files are opened, and no more is read than a profile keeps.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use viperf_process::Pid;
use viperf_profile::{LARGEST_SOURCE, ProcessHandle, Profile, ProfileError, SourceFile};
use viperf_symbolize::SearchRoot;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourcesRead {
    /// Files whose text the profile has now.
    pub found: usize,
    /// Files with samples that could not be read: gone, or all processes that ran them have ended.
    pub missing: usize,
    /// Files that were too large, or too many.
    pub too_large: usize,
}

/// Puts the text of every Python file with samples into `profile`; a file that has its text there keeps it.
///
/// A file is looked for in the roots of those processes that ran it and still live, and then, if `own_root` is set (the
/// target was started by viperf, in its own root), as the path stands.
///
/// # Errors
/// [`ProfileError`] when a handle is not of the profile.
pub fn read_sources(profile: &mut Profile, own_root: bool) -> Result<SourcesRead, ProfileError> {
    let mut read = SourcesRead::default();
    let mut roots = Roots::new(profile, own_root);
    let mut texts = Vec::new();
    for (path, processes) in profile.sampled_python_files()? {
        if path.is_empty() || path.starts_with('<') {
            continue;
        }
        if profile.sources.find(path).is_some() {
            read.found += 1;
            continue;
        }
        match roots.read(profile, path, &processes)? {
            Some(text) => texts.push((path.to_owned(), text)),
            None => read.missing += 1,
        }
    }
    for (path, text) in texts {
        match text.map(|file| profile.sources.insert(&path, file)) {
            Some(true) => read.found += 1,
            Some(false) | None => read.too_large += 1,
        }
    }
    Ok(read)
}

/// Reads those of `wanted` that are Python files with samples, as [`read_sources`] does; for a recording that goes on.
///
/// A name that is none of the profile's is not looked for anywhere.
///
/// # Errors
/// [`ProfileError`] when a handle is not of the profile.
pub fn read_wanted_sources(
    profile: &Profile,
    wanted: &[String],
    own_root: bool,
) -> Result<HashMap<String, WantedSource>, ProfileError> {
    let mut roots = Roots::new(profile, own_root);
    let files = profile.sampled_python_files()?;
    let mut all = HashMap::new();
    for path in wanted {
        let found = match files.get(path.as_str()) {
            None => WantedSource::Unknown,
            Some(processes) => match roots.read(profile, path, processes)? {
                Some(Some(file)) => WantedSource::Found(file),
                Some(None) => WantedSource::TooLarge,
                None => WantedSource::Missing,
            },
        };
        all.insert(path.clone(), found);
    }
    Ok(all)
}

/// The same without a look at any file: which of `wanted` are Python files with samples ([`WantedSource::Missing`]), and which
/// are not.
///
/// # Errors
/// [`ProfileError`] when a handle is not of the profile.
pub fn find_sampled_files(
    profile: &Profile,
    wanted: &[String],
) -> Result<HashMap<String, WantedSource>, ProfileError> {
    let files = profile.sampled_python_files()?;
    let found = |path: &String| match files.contains_key(path.as_str()) {
        true => WantedSource::Missing,
        false => WantedSource::Unknown,
    };
    Ok(wanted
        .iter()
        .map(|path| (path.clone(), found(path)))
        .collect())
}

/// What came of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedSource {
    /// Its text.
    Found(SourceFile),
    /// It is gone, or all processes that ran it have ended.
    Missing,
    /// It has more than a profile keeps.
    TooLarge,
    /// No sample is in a file of this name.
    Unknown,
}

/// The roots in which files are looked for.
struct Roots {
    by_process: HashMap<u32, Option<SearchRoot>>,
    own: Option<SearchRoot>,
    end: Option<SystemTime>,
}

impl Roots {
    fn new(profile: &Profile, own_root: bool) -> Self {
        Self {
            by_process: HashMap::new(),
            own: own_root.then(SearchRoot::own).and_then(Result::ok),
            end: recording_end(profile),
        }
    }

    /// `None` when it is nowhere, `Some(None)` when it is too large.
    fn read(
        &mut self,
        profile: &Profile,
        path: &str,
        processes: &[ProcessHandle],
    ) -> Result<Option<Option<SourceFile>>, ProfileError> {
        for &handle in processes {
            let process = profile.process(handle)?;
            let name = profile.string(process.name)?;
            let root = self
                .by_process
                .entry(process.pid)
                .or_insert_with(|| root_of(process.pid, name));
            let found = root
                .as_ref()
                .and_then(|root| read_file(root, path, self.end));
            if found.is_some() {
                return Ok(found);
            }
        }
        let own = self.own.as_ref();
        Ok(own.and_then(|root| read_file(root, path, self.end)))
    }
}

/// The root of a process, unless its number has gone to one of another name.
fn root_of(pid: u32, name: &str) -> Option<SearchRoot> {
    let root = SearchRoot::of_process(pid).ok()?;
    let now = viperf_process::read_comm(Pid(pid)).ok()?;
    (now == name).then_some(root)
}

/// `None` when it is not there, `Some(None)` when it is too large.
fn read_file(root: &SearchRoot, path: &str, end: Option<SystemTime>) -> Option<Option<SourceFile>> {
    // A name without its folder says nothing of where the file is.
    let file = path
        .starts_with('/')
        .then(|| root.open_file(Path::new(path)))?
        .ok()?;
    let metadata = file.metadata().ok()?;
    let mut bytes = Vec::new();
    file.take(LARGEST_SOURCE as u64 + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    if bytes.len() > LARGEST_SOURCE {
        return Some(None);
    }
    let changed_since = match (metadata.modified(), end) {
        (Ok(modified), Some(end)) => modified > end,
        _ => false,
    };
    Some(Some(SourceFile {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        changed_since,
    }))
}

fn recording_end(profile: &Profile) -> Option<SystemTime> {
    let information = &profile.information;
    let end = information
        .started_unix_ns
        .checked_add(information.duration_ns)?;
    (information.started_unix_ns != 0).then(|| UNIX_EPOCH + Duration::from_nanos(end))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_read_in_its_root_and_no_link_leads_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.py"), "secret").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let srv = folder.path().join("srv");
        fs::create_dir(&srv).unwrap();
        fs::write(srv.join("app.py"), b"x = 1 # \xff\n").unwrap();
        symlink(outside.path().join("secret.py"), srv.join("out.py")).unwrap();
        symlink("/srv/app.py", srv.join("in.py")).unwrap();
        fs::write(srv.join("large.py"), vec![b'x'; LARGEST_SOURCE + 1]).unwrap();
        let root = SearchRoot::open(folder.path()).unwrap();
        let text = |path: &str| read_file(&root, path, None).map(|file| file.map(|file| file.text));
        assert_eq!(
            text("/srv/app.py"),
            Some(Some("x = 1 # \u{fffd}\n".to_owned()))
        );
        assert_eq!(text("/srv/in.py"), text("/srv/app.py"));
        for path in [
            "/srv/out.py",
            "/srv/none.py",
            "/srv",
            "/../../etc/passwd",
            "srv/app.py",
        ] {
            assert_eq!(text(path), None, "{path}");
        }
        assert_eq!(text("/srv/large.py"), Some(None));
    }

    #[test]
    fn a_file_that_was_written_after_the_recording_is_known() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.py"), "x").unwrap();
        let root = SearchRoot::open(folder.path()).unwrap();
        let changed = |end| {
            read_file(&root, "/a.py", end)
                .unwrap()
                .unwrap()
                .changed_since
        };
        assert!(changed(Some(UNIX_EPOCH)));
        assert!(!changed(Some(SystemTime::now() + Duration::from_secs(60))));
        assert!(!changed(None));
    }
}
