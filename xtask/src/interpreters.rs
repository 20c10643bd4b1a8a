//! The set of interpreters that the tests run on and no one machine has, fetched and built once and kept in the cache.
//!
//! A piece that cannot be had is named with the reason and keeps no other from being made; the end-to-end tests name
//! what is missing, and fail in CI where it is one that is required. `docs/interpreters.md` says what the set is for.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{About, Interpreter, interpreter_set};

use crate::{
    container::{self, Container},
    from_source::{Build, Built},
    say,
    suite::{Kind, Suite},
};

/// What is taken of one version from a suite's packages.
struct Packages {
    version: &'static str,
    /// Also the build with `Py_DEBUG`, the debug files and the headers.
    is_whole: bool,
}

/// The suites whose packages are taken, and what of each.
const SUITES: [(&str, &[Packages]); 2] = [
    (
        "trixie",
        &[Packages {
            version: "3.13",
            is_whole: false,
        }],
    ),
    (
        "sid",
        &[
            Packages {
                version: "3.13",
                is_whole: true,
            },
            Packages {
                version: "3.14",
                is_whole: true,
            },
            Packages {
                version: "3.15",
                is_whole: true,
            },
        ],
    ),
];

/// The suite whose source of CPython is compiled, the package, and its version.
const PYTHON_SOURCE: (&str, &str, &str) = ("trixie", "python3.13", "3.13");
/// The suite of what musl needs beside it: the last one whose libffi comes with a configure.
const LIBRARY_SUITE: &str = "bookworm";

impl Packages {
    /// The folders in the set.
    fn names(&self, suite: &str) -> Vec<String> {
        let kinds: &[&str] = if self.is_whole {
            &["static", "debug", "shared"]
        } else {
            &["static", "shared"]
        };
        let name = |kind| format!("{}-{kind}-{suite}", self.version);
        kinds.iter().map(name).collect()
    }

    fn packages(&self) -> Vec<String> {
        let version = self.version;
        let mut packages = vec![
            format!("python{version}"),
            format!("libpython{version}"),
            // The script that enters the root ends in it.
            "busybox-static".to_owned(),
            // Packages from PyPI need it.
            "libstdc++6".to_owned(),
        ];
        if self.is_whole {
            packages.push(format!("python{version}-dbg"));
            packages.push(format!("libpython{version}-dev"));
        }
        packages
    }
}

/// Where the set is, and what could not be had so far.
struct Workshop {
    set: PathBuf,
    missing: Mutex<Vec<String>>,
}

/// Makes what is missing of the set, and names what cannot be had.
///
/// # Errors
/// The cache cannot be written.
pub(crate) fn run() -> Result<()> {
    let workshop = Workshop {
        set: interpreter_set(),
        missing: Mutex::default(),
    };
    fs::create_dir_all(workshop.set.join("set"))
        .with_context(|| format!("cannot make {}", workshop.set.display()))?;
    // Another checkout may be making the same set.
    let lock = File::create(workshop.set.join("lock"))?;
    if lock.try_lock().is_err() {
        say("interpreters: waiting for another run that makes them");
        lock.lock()?;
    }
    let start = Instant::now();
    let sources = workshop.fetch_sources();
    thread::scope(|scope| {
        scope.spawn(|| workshop.make_containers());
        for (piece, source) in &sources {
            scope.spawn(|| workshop.attempt(piece.name(), || workshop.compile(piece, source)));
        }
    });
    for missing in workshop.missing.lock().iter().flat_map(|list| list.iter()) {
        say(&format!("interpreters: could not be had: {missing}"));
    }
    let seconds = start.elapsed().as_secs();
    say(&format!(
        "interpreters: those of {} are ready after {seconds} s",
        workshop.set.join("set").display()
    ));
    Ok(())
}

/// Prints every interpreter that the tests would run on.
pub(crate) fn list() {
    for found in Interpreter::find_all() {
        say(&format!("{:32} {}", found.name(), found.path.display()));
    }
}

/// What is compiled.
#[derive(Debug, Clone, Copy)]
enum Piece {
    FreeThreaded,
    Musl,
}

impl Piece {
    fn name(self) -> &'static str {
        match self {
            Self::FreeThreaded => "3.13t",
            Self::Musl => "3.13-musl",
        }
    }

    /// The folders in the set: of the shared build, and of the one linked into one file.
    fn names(self) -> [String; 2] {
        ["shared", "static"].map(|kind| format!("{}-{kind}", self.name()))
    }
}

/// The archives that a piece is compiled from.
struct Sources {
    python: PathBuf,
    zlib: PathBuf,
    libffi: PathBuf,
}

impl Workshop {
    /// Makes a piece, and notes why not.
    fn attempt<T>(&self, name: &str, make: impl FnOnce() -> Result<T>) -> Option<T> {
        match make() {
            Ok(made) => Some(made),
            Err(error) => {
                if let Ok(mut missing) = self.missing.lock() {
                    missing.push(format!("{name}: {error:#}"));
                }
                None
            }
        }
    }

    fn has_all(&self, names: &[String]) -> bool {
        names
            .iter()
            .all(|name| self.set.join("set").join(name).join("python").exists())
    }

    fn downloads(&self) -> PathBuf {
        self.set.join("downloads")
    }

    /// The sources of the pieces that are not there, before anything is compiled: apt is run by one at a time.
    fn fetch_sources(&self) -> Vec<(Piece, Sources)> {
        let wanted = [Piece::FreeThreaded, Piece::Musl];
        let wanted = wanted
            .into_iter()
            .filter(|piece| !self.has_all(&piece.names()));
        wanted
            .filter_map(|piece| {
                let sources = self.attempt(piece.name(), || self.sources_of(piece))?;
                Some((piece, sources))
            })
            .collect()
    }

    fn sources_of(&self, piece: Piece) -> Result<Sources> {
        let (suite, package, _) = PYTHON_SOURCE;
        let python = Suite::open(suite, Kind::Sources, &self.downloads())?.source(package)?;
        let (zlib, libffi) = match piece {
            Piece::FreeThreaded => Default::default(),
            Piece::Musl => {
                let suite = Suite::open(LIBRARY_SUITE, Kind::Sources, &self.downloads())?;
                (suite.source("zlib")?, suite.source("libffi")?)
            }
        };
        Ok(Sources {
            python,
            zlib,
            libffi,
        })
    }

    fn compile(&self, piece: &Piece, sources: &Sources) -> Result<()> {
        let start = Instant::now();
        let build = Build::begin(piece.name(), &self.set)?;
        let Built {
            shared,
            linked_whole,
        } = match piece {
            Piece::FreeThreaded => build.free_threaded(&sources.python)?,
            Piece::Musl => build.musl(&sources.python, &sources.zlib, &sources.libffi)?,
        };
        for (name, executable) in piece.names().iter().zip([shared, linked_whole]) {
            self.add(name, &About::default(), |python| {
                Ok(symlink(&executable, python)?)
            })?;
        }
        let seconds = start.elapsed().as_secs();
        say(&format!(
            "interpreters: {} was compiled in {seconds} s",
            piece.name()
        ));
        Ok(())
    }

    fn make_containers(&self) {
        for (suite, versions) in SUITES {
            let missing: Vec<_> = versions
                .iter()
                .filter(|packages| !self.has_all(&packages.names(suite)))
                .collect();
            if missing.is_empty() {
                continue;
            }
            let start = Instant::now();
            let opened = self.attempt(suite, || {
                container::check_permission()?;
                let opened = Suite::open(suite, Kind::Binaries, &self.downloads())?;
                let container = Container::open(&self.set.join("roots").join(suite))?;
                Ok((opened, container))
            });
            let Some((opened, container)) = opened else {
                continue;
            };
            for packages in missing {
                let name = format!("{} of {suite}", packages.version);
                self.attempt(&name, || {
                    self.make_contained(&opened, &container, suite, packages)
                });
            }
            container::note_size(&container);
            let seconds = start.elapsed().as_secs();
            say(&format!("interpreters: {suite} took {seconds} s"));
        }
    }

    fn make_contained(
        &self,
        suite: &Suite,
        container: &Container,
        suite_name: &str,
        packages: &Packages,
    ) -> Result<()> {
        container.unpack(&suite.packages(&packages.packages())?)?;
        let version = packages.version;
        let about = About {
            root: Some(container.root()),
            suite: Some(suite_name.to_owned()),
            include: vec![container.headers()],
        };
        for name in packages.names(suite_name) {
            let executable = match name.split('-').nth(1) {
                Some("shared") => container.link_launcher(version)?,
                Some("debug") => format!("/usr/bin/python{version}-dbg"),
                _ => format!("/usr/bin/python{version}"),
            };
            self.add(&name, &about, |python| {
                container.write_script(python, &executable)
            })?;
        }
        Ok(())
    }

    /// Adds an interpreter to the set if it runs: whole, or not at all.
    fn add(
        &self,
        name: &str,
        about: &About,
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let folder = self.set.join("set").join(name);
        let unproved = self.set.join("unproved").join(name);
        for folder in [&folder, &unproved] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        fs::create_dir_all(&unproved)?;
        about.write(&unproved)?;
        write(&unproved.join("python"))?;
        let found = Interpreter::probe(&unproved.join("python"));
        let found = found.with_context(|| format!("{name} was made and does not run"))?;
        ensure!(found.is_supported(), "{name} is a {}", found.name());
        fs::rename(&unproved, &folder)?;
        say(&format!("interpreters: {} is there", found.name()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interpreter_has_a_folder_of_its_own() {
        let contained = SUITES.iter().flat_map(|(suite, versions)| {
            versions
                .iter()
                .flat_map(move |packages| packages.names(suite))
        });
        let compiled = [Piece::FreeThreaded, Piece::Musl]
            .into_iter()
            .flat_map(Piece::names);
        let mut names: Vec<_> = contained.chain(compiled).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.contains(&"3.15-static-sid".to_owned()));
        assert!(names.contains(&"3.13t-shared".to_owned()));
    }

    #[test]
    fn a_piece_that_cannot_be_had_is_named_with_the_reason() {
        let workshop = Workshop {
            set: "/nowhere".into(),
            missing: Mutex::default(),
        };
        let made: Option<()> = workshop.attempt("3.14 of sid", || anyhow::bail!("no network"));
        assert!(made.is_none());
        assert_eq!(
            *workshop.missing.lock().unwrap(),
            ["3.14 of sid: no network"]
        );
    }
}
