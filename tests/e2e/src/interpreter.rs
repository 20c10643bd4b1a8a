//! The CPythons of this machine, and how each is built, as each says of itself.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{About, fixtures, interpreter_set};

/// The versions that must be covered; one without a release build here is named in the skips, and fails a run of CI.
pub const EXPECTED_VERSIONS: [(u64, u64); 11] = [
    (2, 7),
    (3, 6),
    (3, 7),
    (3, 8),
    (3, 9),
    (3, 10),
    (3, 11),
    (3, 12),
    (3, 13),
    (3, 14),
    (3, 15),
];

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
    /// Every package.
    pub const ALL: [Self; 3] = [Self::Numpy, Self::Django, Self::Greenlet];

    /// The name of the package and of the module to import.
    pub fn name(self) -> &'static str {
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
    /// What is started: the executable, or a script that becomes it under the same process id.
    pub path: PathBuf,
    /// The executable, an ELF file, from the machine's own root.
    pub binary: PathBuf,
    /// The libpython that holds the interpreter, from the machine's own root, where it is not in the executable.
    pub library: Option<PathBuf>,
    /// The folder that is `/` for it, where it runs in a root of its own.
    pub root: Option<PathBuf>,
    /// Folders for the compiler's `-I` that make `#include <Python.h>` work; empty where the headers are not there.
    pub include: Vec<PathBuf>,
    /// Major, minor, micro.
    pub version: (u64, u64, u64),
    /// The interpreter is in libpython, not in the executable.
    pub shared: bool,
    /// Neither .symtab nor debug information.
    pub stripped: bool,
    /// The executable is loaded anywhere (PIE).
    pub position_independent: bool,
    /// Built with `Py_DEBUG`.
    pub debug: bool,
    /// Built without the GIL (`3.13t`).
    pub free_threaded: bool,
    /// Its C library is musl.
    pub musl: bool,
    /// The Debian suite whose packages it is from, where it runs in a root of its own.
    suite: Option<String>,
    /// Modules of the standard library that not every build has.
    modules: BTreeSet<String>,
    /// The same one with packages, where `cargo xtask setup --test` made that, and the packages that it can import.
    environment: Option<(PathBuf, BTreeSet<String>)>,
}

impl Interpreter {
    /// Every CPython of `$VIPERF_E2E_PYTHONS` (by `:`), `~/.pyenv/versions`, `/usr/bin`, `/usr/local/bin` and of the
    /// set that `cargo xtask interpreters` made, by version.
    ///
    /// Of these, where `$VIPERF_E2E_ONLY` is set, the ones whose [`Self::name`] starts with one of its words (by `,`).
    pub fn find_all() -> Vec<Self> {
        let mut candidates = Vec::new();
        if let Some(named) = env::var_os("VIPERF_E2E_PYTHONS") {
            candidates.extend(env::split_paths(&named));
        }
        if let Some(home) = env::var_os("HOME") {
            let versions = entries(&Path::new(&home).join(".pyenv/versions"));
            candidates.extend(versions.iter().map(|folder| folder.join("bin/python")));
        }
        for folder in ["/usr/bin", "/usr/local/bin"] {
            let executables = entries(Path::new(folder));
            candidates.extend(executables.into_iter().filter(|path| is_versioned(path)));
        }
        let set = entries(&interpreter_set().join("set"));
        candidates.extend(set.iter().map(|folder| folder.join("python")));
        let mut seen = BTreeSet::new();
        candidates.retain(|path| path.canonicalize().is_ok_and(|whole| seen.insert(whole)));
        let mut found = probe_all(candidates);
        let only = env::var("VIPERF_E2E_ONLY").unwrap_or_default();
        found.retain(|interpreter| is_wanted(&interpreter.name(), &only));
        found.sort_by_key(|interpreter| (interpreter.version, interpreter.path.clone()));
        found
    }

    /// One of each minor version, with the GIL and without: bytecode, line tables and objects depend on nothing else.
    /// Release builds come before others, and those of this machine before those in a container.
    pub fn find_one_of_each() -> Vec<Self> {
        let mut found = Self::find_all();
        found.retain(Self::is_supported);
        found.sort_by_key(|one| {
            let (major, minor, _) = one.version;
            let kind = (!one.is_release(), one.musl, one.in_container());
            (major, minor, one.free_threaded, kind)
        });
        found.dedup_by_key(|one| (one.version.0, one.version.1, one.free_threaded));
        found
    }

    /// None if it is no CPython, or does not run.
    pub fn probe(path: &Path) -> Option<Self> {
        // Without `site` it starts in half the time.
        let mut command = Command::new(path);
        command.arg("-S").arg(fixtures().join("probe.py"));
        let output = command.stdin(Stdio::null()).output().ok()?;
        let facts: Value = serde_json::from_slice(&output.stdout).ok()?;
        let mut interpreter = Self::from_facts(path, About::read_beside(path), &facts)?;
        let folder = environments().join(interpreter.name());
        // The list is written last: an environment that has none is not whole.
        interpreter.environment = fs::read_to_string(folder.join(IMPORTABLE))
            .ok()
            .map(|names| {
                let names = names.lines().map(str::to_owned).collect();
                (folder.join("bin/python"), names)
            });
        Some(interpreter)
    }

    fn from_facts(path: &Path, about: About, facts: &Value) -> Option<Self> {
        if facts["implementation"] != "CPython" {
            return None;
        }
        let outside = |inside: &str| match &about.root {
            Some(root) => root.join(inside.trim_start_matches('/')),
            None => PathBuf::from(inside),
        };
        let number = |at: usize| facts["version"][at].as_u64();
        let is = |fact: &str| facts[fact].as_bool();
        let mut include = about.include.clone();
        include.insert(0, outside(facts["include"].as_str()?));
        if !include
            .iter()
            .any(|folder| folder.join("Python.h").exists())
        {
            include.clear();
        }
        let modules = facts["modules"].as_array()?;
        Some(Self {
            path: path.to_owned(),
            binary: outside(facts["executable"].as_str()?),
            library: facts["library"].as_str().map(outside),
            include,
            version: (number(0)?, number(1)?, number(2)?),
            shared: facts["library"].is_string(),
            stripped: is("stripped")?,
            position_independent: is("position_independent")?,
            debug: is("debug")?,
            free_threaded: is("free_threaded")?,
            musl: is("musl")?,
            suite: about.suite,
            root: about.root,
            modules: modules
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            environment: None,
        })
    }

    /// For test names and folders: `3.11.2-static-stripped`, `3.13.5t-shared`, `3.13.5-shared-musl`,
    /// `3.14.10-debug-sid`.
    pub fn name(&self) -> String {
        let (major, minor, micro) = self.version;
        let threads = if self.free_threaded { "t" } else { "" };
        let link = match (self.debug, self.shared) {
            (true, true) => "debug-shared",
            (true, false) => "debug",
            (false, true) => "shared",
            (false, false) => "static",
        };
        let symbols = if self.stripped { "-stripped" } else { "" };
        let library = if self.musl { "-musl" } else { "" };
        let suite = self.suite.as_deref().map(|suite| format!("-{suite}"));
        let suite = suite.unwrap_or_default();
        format!("{major}.{minor}.{micro}{threads}-{link}{symbols}{library}{suite}")
    }

    /// A version that this release reads, in whatever build.
    pub fn is_supported(&self) -> bool {
        let (major, minor, _) = self.version;
        EXPECTED_VERSIONS.contains(&(major, minor))
    }

    /// The common build of its version: with a GIL, without `Py_DEBUG`, on the GNU C library.
    pub fn is_release(&self) -> bool {
        !self.debug && !self.free_threaded && !self.musl
    }

    /// It has mounts, a root and a C library of its own, as in a container.
    pub fn in_container(&self) -> bool {
        self.root.is_some()
    }

    /// It can import a module of the standard library that not every build has; `fixtures/python/probe.py` lists them.
    ///
    /// # Errors
    /// That it cannot, for the skips.
    pub fn has_module(&self, module: &str) -> Result<(), String> {
        if self.modules.contains(module) {
            return Ok(());
        }
        Err(format!("{} was built without {module}", self.name()))
    }

    /// The executable that can import the package.
    ///
    /// # Errors
    /// Why there is none, and what makes it.
    pub fn with(&self, package: Package) -> Result<PathBuf, String> {
        match &self.environment {
            Some((path, packages)) if packages.contains(package.name()) => Ok(path.clone()),
            Some(_) => Err(format!(
                "there is no {} made for {}",
                package.name(),
                self.name()
            )),
            None => Err(format!(
                "no packages for {}; `cargo xtask setup --test` installs them",
                self.name()
            )),
        }
    }

    /// Starts it and looks: the started process must itself be the interpreter, not one that has it as a child.
    ///
    /// # Errors
    /// It does not start, or another file than [`Self::binary`] runs under the process id.
    pub fn check_start(&self) -> Result<()> {
        let says_so =
            "import sys; sys.stdout.write('here\\n'); sys.stdout.flush(); sys.stdin.read()";
        let mut child = Command::new(&self.path)
            .args(["-S", "-c", says_so])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let checked = self.check_running(&mut child);
        // Its input has ended with the pipe; one that hangs all the same is ended.
        child.kill().ok();
        child.wait().ok();
        checked
    }

    fn check_running(&self, child: &mut Child) -> Result<()> {
        let mut line = String::new();
        let output = child.stdout.take().context("the output was not piped")?;
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "here\n", "{} said {line:?}", self.path.display());
        let running = fs::metadata(format!("/proc/{}/exe", child.id()))?;
        let expected = fs::metadata(&self.binary)
            .with_context(|| format!("cannot see {}", self.binary.display()))?;
        ensure!(
            (running.dev(), running.ino()) == (expected.dev(), expected.ino()),
            "the process that {} started runs another file than {}",
            self.path.display(),
            self.binary.display()
        );
        Ok(())
    }
}

/// Where `cargo xtask setup --test` makes the virtual environments, one folder per [`Interpreter::name`].
pub fn environments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/environments")
}

/// The file of an environment that lists the packages that it can import, one on each line, written last.
pub const IMPORTABLE: &str = "importable.txt";

/// Starts all candidates, two at a time.
fn probe_all(candidates: Vec<PathBuf>) -> Vec<Interpreter> {
    let waiting = Mutex::new(candidates.into_iter());
    let next = || waiting.lock().ok().and_then(|mut paths| paths.next());
    let work = || -> Vec<Interpreter> {
        std::iter::from_fn(next)
            .filter_map(|path| Interpreter::probe(&path))
            .collect()
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut found = work();
        found.extend(other.join().unwrap_or_default());
        found
    })
}

/// True if the name starts with one of the words (by `,`), or there are none.
fn is_wanted(name: &str, only: &str) -> bool {
    let mut words = only.split(',').filter(|word| !word.is_empty()).peekable();
    words.peek().is_none() || words.any(|word| name.starts_with(word))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// `python3.11`, and not `python3.11-config`.
fn is_versioned(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let version = name.strip_prefix("python");
    let version = version.and_then(|version| version.split_once('.'));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    version.is_some_and(|(major, minor)| {
        ["2", "3"].contains(&major) && !minor.is_empty() && is_number(minor)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn interpreter(about: About, changes: &[(&str, Value)]) -> Interpreter {
        let mut facts = json!({
            "implementation": "CPython", "version": [3, 14, 10], "executable": "/usr/bin/python3.14",
            "library": null, "include": "/usr/include/python3.14", "position_independent": false,
            "stripped": true, "debug": false, "free_threaded": false, "musl": false, "modules": ["zlib"],
        });
        for (fact, value) in changes {
            facts[*fact] = value.clone();
        }
        Interpreter::from_facts(Path::new("/set/x/python"), about, &facts).unwrap()
    }

    fn sid() -> About {
        About {
            root: Some("/cache/sid".into()),
            suite: Some("sid".to_owned()),
            include: Vec::new(),
        }
    }

    #[test]
    fn names_say_version_and_build() {
        let name = |about, changes: &[_]| interpreter(about, changes).name();
        let libpython = ("library", json!("/usr/lib/libpython3.14.so.1.0"));
        let unstripped = ("stripped", json!(false));
        assert_eq!(name(sid(), &[]), "3.14.10-static-stripped-sid");
        let debug = [unstripped.clone(), ("debug", json!(true))];
        assert_eq!(name(sid(), &debug), "3.14.10-debug-sid");
        let shared = name(sid(), std::slice::from_ref(&libpython));
        assert_eq!(shared, "3.14.10-shared-stripped-sid");
        let free_threaded = ("free_threaded", json!(true));
        let built = [libpython.clone(), unstripped.clone(), free_threaded];
        assert_eq!(name(About::default(), &built), "3.14.10t-shared");
        let musl = [unstripped.clone(), ("musl", json!(true))];
        assert_eq!(name(About::default(), &musl), "3.14.10-static-musl");
        let old = [("version", json!([2, 7, 18])), libpython, unstripped];
        assert_eq!(name(About::default(), &old), "2.7.18-shared");
    }

    #[test]
    fn files_of_a_root_are_named_from_the_machines_own_root() {
        let found = interpreter(sid(), &[]);
        assert_eq!(found.binary, Path::new("/cache/sid/usr/bin/python3.14"));
        assert!(found.in_container());
        assert!(found.include.is_empty(), "no Python.h is there");
        let found = interpreter(About::default(), &[]);
        assert_eq!(found.binary, Path::new("/usr/bin/python3.14"));
        assert!(!found.in_container());
    }

    #[test]
    fn what_a_build_lacks_is_named() {
        let found = interpreter(sid(), &[]);
        assert!(found.has_module("zlib").is_ok());
        let why = found.has_module("ctypes").unwrap_err();
        assert_eq!(why, "3.14.10-static-stripped-sid was built without ctypes");
    }

    #[test]
    fn every_build_of_an_expected_version_is_supported() {
        let debug = [("debug", json!(true))];
        assert!(interpreter(sid(), &debug).is_supported());
        assert!(!interpreter(sid(), &debug).is_release());
        let unknown = [("version", json!([3, 16, 0]))];
        assert!(!interpreter(sid(), &unknown).is_supported());
        let old = [("version", json!([2, 7, 18]))];
        assert!(interpreter(About::default(), &old).is_supported());
    }

    #[test]
    fn another_implementation_is_no_interpreter_of_ours() {
        let facts = json!({"implementation": "PyPy"});
        assert!(Interpreter::from_facts(Path::new("pypy"), About::default(), &facts).is_none());
    }

    #[test]
    fn a_filter_chooses_by_the_start_of_the_name() {
        assert!(is_wanted("3.14.10-debug-sid", ""));
        assert!(is_wanted("3.14.10-debug-sid", "2.7,3.14"));
        assert!(!is_wanted("3.13.0-shared", "2.7,3.14"));
    }

    #[test]
    fn only_executables_that_name_a_version_are_tried() {
        assert!(is_versioned(Path::new("/usr/bin/python3.11")));
        assert!(is_versioned(Path::new("/usr/bin/python2.7")));
        assert!(!is_versioned(Path::new("/usr/bin/python3.11-config")));
        assert!(!is_versioned(Path::new("/usr/bin/python3")));
    }
}
