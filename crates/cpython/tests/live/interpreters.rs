//! Which interpreters there are, and running them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use viperf_cpython::{Detection, Interpreter, detect};
use viperf_elf::{Image, LoadBias};
use viperf_process::{Mapping, MappingKind, Pid, open_mapped_file, read_mappings};

/// All interpreters found, of any version, by path.
pub(crate) fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let pyenv = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| {
            let home = PathBuf::from(std::env::var_os("HOME")?);
            Some(home.join(".pyenv"))
        });
    for version in pyenv.iter().flat_map(|root| list(&root.join("versions"))) {
        let programs = list(&version.join("bin"));
        found.extend(programs.into_iter().find(|path| is_versioned(path)));
    }
    found.extend(
        list(Path::new("/usr/bin"))
            .into_iter()
            .filter(|path| is_versioned(path)),
    );
    found
}

/// The supported ones; a version that is missing is named on the error output.
pub(crate) fn supported() -> Vec<PathBuf> {
    let all = all();
    let of = |version: &str| {
        let name = format!("python{version}");
        let found = all.iter().filter(|path| path.ends_with(&name));
        let found: Vec<_> = found.cloned().collect();
        if found.is_empty() {
            eprintln!("skipped: no CPython {version} on this machine");
        }
        found
    };
    ["3.11", "3.12", "3.13"].into_iter().flat_map(of).collect()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// `python3.11`, but not `python3.11-config` and not `python3`.
fn is_versioned(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let version = name.and_then(|name| name.strip_prefix("python"));
    version
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| major.parse::<u8>().is_ok() && minor.parse::<u8>().is_ok())
}

/// Runs a script to its end and gives what it printed.
pub(crate) fn run(program: &Path, script: &str) -> String {
    let output = Command::new(program)
        .args(["-c", script])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", program.display());
    String::from_utf8(output.stdout).unwrap()
}

/// A running script that has printed one line and now waits for its input to end.
pub(crate) struct Running {
    pub(crate) pid: Pid,
    pub(crate) first_line: String,
    child: Child,
    input: Option<ChildStdin>,
}

impl Running {
    pub(crate) fn start(program: &Path, script: &str) -> Self {
        let mut child = Command::new(program)
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let mut first_line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut first_line).unwrap();
        Self {
            pid: Pid(child.id()),
            first_line,
            child,
            input,
        }
    }

    /// What [`detect`] says of every file that the process maps executable, by path.
    pub(crate) fn detections(&self) -> BTreeMap<PathBuf, (Detection, LoadBias)> {
        let mappings = read_mappings(self.pid).unwrap();
        let files = mappings
            .iter()
            .filter(|mapping| mapping.executable && mapping.kind() == MappingKind::File);
        files
            .map(|mapping| (mapping.path.clone(), self.detect_one(mapping)))
            .collect()
    }

    fn detect_one(&self, mapping: &Mapping) -> (Detection, LoadBias) {
        let mut bytes = Vec::new();
        let mut file = open_mapped_file(self.pid, mapping).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let bias = image.load_bias(mapping.start, mapping.file_offset).unwrap();
        (detect(&image), bias)
    }

    /// The one supported interpreter in it.
    pub(crate) fn interpreter(&self) -> (Interpreter, LoadBias) {
        let mut found: Vec<_> = self
            .detections()
            .into_values()
            .filter_map(|(detection, bias)| match detection {
                Detection::Python(interpreter) => Some((*interpreter, bias)),
                _ => None,
            })
            .collect();
        assert_eq!(found.len(), 1);
        found.pop().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended first, so that the closed input does not let it run on.
        self.child.kill().ok();
        self.child.wait().ok();
        drop(self.input.take());
    }
}
