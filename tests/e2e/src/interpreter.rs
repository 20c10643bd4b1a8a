//! The CPythons of this machine, and how each is built, as each says of itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::fixtures;

/// The minor versions that must be covered; a version that is not here is named in the skips.
pub const EXPECTED_VERSIONS: [u64; 3] = [11, 12, 13];

/// A package from PyPI that a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// `numpy`.
    Numpy,
    /// `django`.
    Django,
    /// `greenlet`.
    Greenlet,
}

impl Package {
    fn name(self) -> &'static str {
        match self {
            Self::Numpy => "numpy",
            Self::Django => "django",
            Self::Greenlet => "greenlet",
        }
    }
}

/// One CPython.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// The executable.
    pub path: PathBuf,
    /// The same one in a virtual environment with packages, where `cargo xtask setup --test` made one.
    environment: Option<(PathBuf, Vec<String>)>,
    /// Major, minor, micro.
    pub version: (u64, u64, u64),
    /// The interpreter is in libpython, not in the executable.
    pub shared: bool,
    /// Neither .symtab nor debug information.
    pub stripped: bool,
    /// The executable is loaded anywhere (PIE).
    pub position_independent: bool,
}

impl Interpreter {
    /// Every CPython of `~/.pyenv/versions`, `/usr/bin` and `/usr/local/bin`, and of `$VIPERF_E2E_PYTHONS` (by `:`).
    pub fn find_all() -> Vec<Self> {
        let mut candidates = Vec::new();
        if let Some(named) = env::var_os("VIPERF_E2E_PYTHONS") {
            candidates.extend(env::split_paths(&named));
        }
        if let Some(home) = env::var_os("HOME") {
            let versions = entries(&Path::new(&home).join(".pyenv/versions"));
            candidates.extend(
                versions
                    .into_iter()
                    .map(|folder| folder.join("bin/python3")),
            );
        }
        for folder in ["/usr/bin", "/usr/local/bin"] {
            candidates.extend(
                entries(Path::new(folder))
                    .into_iter()
                    .filter(|path| is_versioned(path)),
            );
        }
        let mut found: Vec<Self> = Vec::new();
        for path in candidates {
            let known = |other: &Self| other.path.canonicalize().ok() == path.canonicalize().ok();
            if path.exists()
                && !found.iter().any(known)
                && let Some(interpreter) = Self::probe(&path)
            {
                found.push(interpreter);
            }
        }
        found.sort_by_key(|interpreter| (interpreter.version, interpreter.path.clone()));
        found
    }

    /// None if it is no CPython 3, or does not run.
    fn probe(path: &Path) -> Option<Self> {
        let facts = probe(path)?;
        let number = |at: usize| facts["version"][at].as_u64();
        let mut interpreter = Self {
            path: path.to_owned(),
            environment: None,
            version: (number(0)?, number(1)?, number(2)?),
            shared: facts["shared"].as_bool()?,
            stripped: facts["stripped"].as_bool()?,
            position_independent: facts["position_independent"].as_bool()?,
        };
        let environment = environments().join(interpreter.name()).join("bin/python");
        interpreter.environment = probe(&environment).map(|facts| {
            let packages = facts["packages"].as_array().cloned().unwrap_or_default();
            (
                environment,
                packages
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            )
        });
        Some(interpreter)
    }

    /// For test names and folders: `3.11.2-static-stripped`.
    pub fn name(&self) -> String {
        let (major, minor, micro) = self.version;
        let link = if self.shared { "shared" } else { "static" };
        let symbols = if self.stripped { "-stripped" } else { "" };
        format!("{major}.{minor}.{micro}-{link}{symbols}")
    }

    /// A version that this release has a layout for.
    pub fn is_supported(&self) -> bool {
        self.version.0 == 3 && EXPECTED_VERSIONS.contains(&self.version.1)
    }

    /// The executable that can import the package.
    ///
    /// # Errors
    /// Why there is none, and what makes it.
    pub fn with(&self, package: Package) -> Result<PathBuf, String> {
        match &self.environment {
            Some((path, packages)) if packages.iter().any(|name| name == package.name()) => {
                Ok(path.clone())
            }
            _ => Err(format!(
                "no {} for {}; `cargo xtask setup --test` installs it",
                package.name(),
                self.name()
            )),
        }
    }
}

/// Where `cargo xtask setup --test` makes the virtual environments, one folder per [`Interpreter::name`].
pub fn environments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/environments")
}

fn probe(path: &Path) -> Option<Value> {
    let output = Command::new(path)
        .arg(fixtures().join("probe.py"))
        .output()
        .ok()?;
    let facts: Value = serde_json::from_slice(&output.stdout).ok()?;
    (facts["implementation"] == "CPython").then_some(facts)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// `python3.11`, and not `python3.11-config`.
fn is_versioned(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    name.strip_prefix("python3.")
        .is_some_and(|minor| minor.chars().all(|digit| digit.is_ascii_digit()))
}
