//! Profiles from files, read again when these change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use viperf_encode::html::{self, Options, Served, ServedState};
use viperf_profile::{Normalization, Pair, Profile, merge};

use crate::content::{Choice, Content, DataRequest};

/// Reads one profile: the profile and, if it is damaged, how; or one line that says why not.
pub type ReadFile = dyn Fn(&Path) -> Result<(Profile, Option<String>), String> + Send + Sync;

/// A file that was just written may be written on: it is read once it has stayed the same for so long.
const SETTLED: Duration = Duration::from_millis(600);

/// What tells one state of a file from another; `None` while there is no such file.
type Stamp = Option<(SystemTime, u64)>;

/// The files of `viperf view`.
pub struct FileContent {
    paths: Vec<PathBuf>,
    opening: Choice,
    options: Options,
    read: Box<ReadFile>,
    watched: Mutex<Watched>,
    /// What was made last, for as long as the files stay the same; a page that is loaded anew asks for it again.
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    position: String,
    choice: Choice,
    data: Vec<u8>,
}

#[derive(Debug)]
struct Watched {
    stamps: Vec<Stamp>,
    since: Instant,
    /// Counts the states that were seen.
    version: u64,
}

impl std::fmt::Debug for FileContent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FileContent")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl FileContent {
    /// These files, of which there is at least one; a page opens as `options` say, and on what `opening` says.
    #[must_use]
    pub fn new(
        paths: Vec<PathBuf>,
        opening: Choice,
        options: Options,
        read: Box<ReadFile>,
    ) -> Self {
        let now = Instant::now();
        let watched = Watched {
            stamps: stamps(&paths),
            // What is there at the start is whole.
            since: now.checked_sub(SETTLED).unwrap_or(now),
            version: 1,
        };
        Self {
            paths,
            opening,
            options,
            read,
            watched: Mutex::new(watched),
            made: Mutex::new(None),
        }
    }

    /// Reads all files, as the page will want them at first.
    ///
    /// # Errors
    ///
    /// One line that says which file cannot be read and why.
    pub fn read(&self) -> Result<(), String> {
        self.data(&DataRequest::default()).map(drop)
    }

    /// The number of the files' state, and whether it has lasted.
    fn version(&self) -> (u64, bool) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let stamps = stamps(&self.paths);
        if stamps != watched.stamps {
            watched.stamps = stamps;
            watched.since = now;
            watched.version += 1;
        }
        (
            watched.version,
            now.duration_since(watched.since) >= SETTLED,
        )
    }

    fn make(&self, choice: Choice, position: &str) -> Result<Vec<u8>, String> {
        let place = |at: usize| match self.paths.len() {
            files if at < files => Ok(at),
            _ => Err("there is no such file to choose".to_owned()),
        };
        let (chosen, base) = match choice {
            Choice::One(at) => (Some(place(at)?), None),
            Choice::Changes { base, new } => (Some(place(new)?), Some(place(base)?)),
            Choice::All | Choice::Opening => (None, None),
        };
        let places = match (base, chosen) {
            (base, Some(file)) => base.into_iter().chain([file]).collect(),
            (_, None) => (0..self.paths.len()).collect::<Vec<usize>>(),
        };
        let mut profiles = Vec::new();
        let mut notices = Vec::new();
        for path in places.iter().filter_map(|&at| self.paths.get(at)) {
            let (profile, damage) = (self.read)(path)?;
            profiles.push(profile);
            notices.extend(damage);
        }
        let served = Served {
            position: position.to_owned(),
            state: ServedState::File,
            files: match self.paths.len() {
                0 | 1 => Vec::new(),
                _ => short_names(&self.paths),
            },
            file: chosen,
            base,
            notice: notices.join("; "),
            ..Served::default()
        };
        self.encode(profiles, &served)
    }

    /// The profiles as one, or what changed between two.
    fn encode(&self, mut profiles: Vec<Profile>, served: &Served) -> Result<Vec<u8>, String> {
        let names = |at: Option<usize>| at.and_then(|at| served.files.get(at));
        let encoded = match (&*profiles, names(served.base), names(served.file)) {
            ([base, new], Some(base_name), Some(new_name)) => {
                let pair = Pair::new(base, new).map_err(|error| error.to_string())?;
                let comparison =
                    html::Comparison::new(&pair, [base_name, new_name], Normalization::Samples);
                html::encode_served_comparison(&pair, &comparison, &self.options, served)
            }
            _ => {
                let profile = match profiles.len() {
                    1 => profiles.pop().unwrap_or_default(),
                    _ => merge(&profiles).map_err(|error| error.to_string())?,
                };
                html::encode_served_data(&profile, &self.options, served)
            }
        };
        encoded.map_err(|error| error.to_string())
    }
}

impl Content for FileContent {
    fn has_newer(&self, request: &DataRequest) -> bool {
        let (version, is_settled) = self.version();
        is_settled && request.position != version.to_string()
    }

    fn data(&self, request: &DataRequest) -> Result<Vec<u8>, String> {
        let position = self.version().0.to_string();
        let choice = match request.choice {
            Choice::Opening => self.opening,
            chosen => chosen,
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made
            && made.position == position
            && made.choice == choice
        {
            return Ok(made.data.clone());
        }
        *made = None;
        let data = self.make(choice, &position)?;
        *made = Some(Made {
            position,
            choice,
            data: data.clone(),
        });
        Ok(data)
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.iter().map(stamp).collect()
}

/// The names without the folders that all have in common.
fn short_names(paths: &[PathBuf]) -> Vec<String> {
    let common = paths
        .iter()
        .filter_map(|path| path.parent())
        .map(Path::to_path_buf)
        .reduce(|left, right| {
            let both = left.components().zip(right.components());
            both.take_while(|(left, right)| left == right)
                .map(|(component, _)| component)
                .collect()
        })
        .unwrap_or_default();
    let short = |path: &PathBuf| {
        let path = path.strip_prefix(&common).unwrap_or(path);
        path.display().to_string()
    };
    paths.iter().map(short).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_by_what_tells_them_apart() {
        let names =
            |paths: &[&str]| short_names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(
            names(&["/a/b/x.viperf", "/a/c/x.viperf"]),
            ["b/x.viperf", "c/x.viperf"]
        );
        assert_eq!(names(&["x.viperf", "y.folded"]), ["x.viperf", "y.folded"]);
        assert_eq!(names(&["/a/x.viperf"]), ["x.viperf"]);
    }
}
