//! The lines that frames stand on, read through the target's own root.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use viperf_process::Pid;

/// A larger file is left alone; the largest modules that people write have some hundred kilobytes.
const LARGEST_FILE: u64 = 8 * 1024 * 1024;
/// A file can look younger than the process that was started for it: clocks of files tick coarsely.
const COARSENESS: Duration = Duration::from_secs(1);

/// The files of one process, each read once.
#[derive(Debug)]
pub(super) struct SourceTexts {
    pid: Pid,
    /// Later changes are not what the process runs.
    started: Option<SystemTime>,
    files: HashMap<String, Option<String>>,
}

impl SourceTexts {
    pub(super) fn new(pid: u32) -> Self {
        Self {
            pid: Pid(pid),
            started: viperf_process::read_start_instant(Pid(pid)),
            files: HashMap::new(),
        }
    }

    /// The text of a line, counted from 1.
    pub(super) fn line(&mut self, file: &str, line: u32) -> Option<String> {
        // `<string>`, `<frozen importlib._bootstrap>`.
        if file.is_empty() || file.starts_with('<') {
            return None;
        }
        if !self.files.contains_key(file) {
            let text = self.read(file);
            self.files.insert(file.to_owned(), text);
        }
        let text = self.files.get(file)?.as_deref()?;
        let index = (line as usize).checked_sub(1)?;
        text.lines().nth(index).map(str::to_owned)
    }

    fn read(&self, file: &str) -> Option<String> {
        let (bytes, changed) =
            viperf_process::read_file_of(self.pid, std::path::Path::new(file), LARGEST_FILE)?;
        let is_newer = self
            .started
            .is_some_and(|started| changed > started + COARSENESS);
        (!is_newer).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}
