//! Which interpreters there are, and running them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::LazyLock,
};

use viperf_cpython::{Detection, Interpreter, detect};
use viperf_e2e::Interpreter as Installed;
use viperf_elf::{Image, LoadBias};
use viperf_process::{Mapping, MappingKind, Pid, open_mapped_file, read_mappings};

/// All interpreters of the machine, of any version. Finding them starts each once.
pub(crate) fn all() -> &'static [Installed] {
    static FOUND: LazyLock<Vec<Installed>> = LazyLock::new(|| {
        let found = Installed::find_all();
        if found.is_empty() {
            println!("skipped: no CPython on this machine to compare with");
        }
        found
    });
    &FOUND
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
