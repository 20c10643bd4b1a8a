//! Reads the source files that a profile names.
//!
//! The names come from the program that was profiled, so only regular files of a bounded size are opened: a name may be
//! that of a device, or of a pipe that never ends.

use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use viperf_profile::ProfileInformation;
use viperf_report::escape_for_terminal;

/// The greatest source file that is read; generated modules of a few megabytes exist.
const LARGEST: u64 = 16_000_000;

/// A file that was found.
#[derive(Debug)]
pub(crate) struct SourceText {
    pub(super) path: PathBuf,
    pub(crate) text: String,
    modified: Option<SystemTime>,
}

impl SourceText {
    /// Whether the file was written after the recording had ended.
    pub(crate) fn is_newer_than(&self, information: &ProfileInformation) -> bool {
        if information.started_unix_ns == 0 {
            return false;
        }
        let end = information
            .started_unix_ns
            .saturating_add(information.duration_ns);
        let end = UNIX_EPOCH + Duration::from_nanos(end);
        self.modified.is_some_and(|modified| modified > end)
    }
}

/// The file at `path` as it stands, else below one of `roots`: whole, then with ever more of its beginning left out.
pub(super) fn read_source(path: &Path, roots: &[PathBuf]) -> Result<SourceText, String> {
    // What is below a root comes first: it was asked for.
    let candidates = below_roots(path, roots).chain([path.to_path_buf()]);
    let why = match read_first(candidates) {
        Ok(found) => return Ok(found),
        Err(why) => why,
    };
    let shown = path.display().to_string();
    Err(format!(
        "{} {why}, so lines stand without their text; say where the sources are with --source-root DIR",
        escape_for_terminal(&shown)
    ))
}

/// The file below one of `roots` that `path` names: whole, then with ever more of its beginning left out, as when a
/// container has the sources in another folder.
pub(crate) fn read_below(path: &Path, roots: &[PathBuf]) -> Option<SourceText> {
    read_first(below_roots(path, roots)).ok()
}

fn below_roots(path: &Path, roots: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    let inside: PathBuf = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    let parts: Vec<_> = inside.components().collect();
    let below = |root: &PathBuf| -> Vec<PathBuf> {
        (0..parts.len())
            .map(|skipped| root.join(parts.iter().skip(skipped).collect::<PathBuf>()))
            .collect()
    };
    let candidates: Vec<PathBuf> = roots.iter().flat_map(below).collect();
    candidates.into_iter()
}

/// The first that is there; the error says what became of them.
fn read_first(candidates: impl Iterator<Item = PathBuf>) -> Result<SourceText, String> {
    let mut why = "is not there".to_owned();
    for candidate in candidates {
        match read_regular(&candidate) {
            Ok(found) => return Ok(found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => why = format!("cannot be read: {error}"),
        }
    }
    Err(why)
}

fn read_regular(path: &Path) -> std::io::Result<SourceText> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    if metadata.len() > LARGEST {
        return Err(std::io::Error::other("it is too large for source text"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(LARGEST)
        .read_to_end(&mut bytes)?;
    Ok(SourceText {
        path: path.to_path_buf(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
        modified: metadata.modified().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_as_named_and_below_a_root() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop/views.py");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(read_source(&path, &[]).unwrap().text, "one\ntwo\n");
        let elsewhere = Path::new("/srv/app/shop/views.py");
        let roots = [folder.path().to_path_buf()];
        assert_eq!(read_source(elsewhere, &roots).unwrap().path, path);
        let why = read_source(elsewhere, &[]).unwrap_err();
        assert!(why.ends_with("with --source-root DIR"), "{why}");
    }

    #[test]
    fn a_name_cannot_climb_out_of_a_root_and_no_device_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret.py"), "x").unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let climbing = Path::new("../secret.py");
        assert!(read_source(climbing, &[root]).is_err());
        for device in ["/dev/zero", "/dev/null", "/"] {
            let why = read_source(Path::new(device), &[]).unwrap_err();
            assert!(why.contains("not a regular file"), "{why}");
        }
    }

    #[test]
    fn a_file_that_was_changed_since_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.py");
        fs::write(&path, "x").unwrap();
        let found = read_source(&path, &[]).unwrap();
        let recorded = |started_unix_ns| ProfileInformation {
            started_unix_ns,
            ..ProfileInformation::default()
        };
        assert!(found.is_newer_than(&recorded(1)));
        assert!(!found.is_newer_than(&recorded(0)));
        assert!(!found.is_newer_than(&recorded(u64::MAX / 2)));
    }
}
