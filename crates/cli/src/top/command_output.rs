//! What the command prints while the screen is taken.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::quantities::show_bytes;

/// As much of the end is read as a screen can show.
const TAIL: u64 = 16 * 1024;

/// The file that takes a command's output.
#[derive(Debug)]
pub(super) struct CommandOutput {
    path: PathBuf,
    file: File,
    /// Named by the user: it stays, also when nothing was printed.
    is_named: bool,
    seen: u64,
}

impl CommandOutput {
    /// Makes the file: that of this name, else a new one that nobody else can read.
    pub(super) fn create(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.map_or_else(
            || std::env::temp_dir().join(format!("viperf-top-{}.output", std::process::id())),
            Path::to_path_buf,
        );
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o600);
        let file = match named {
            Some(path) => options.create(true).open(path),
            None => options.create_new(true).open(&path),
        };
        let file = file.map_err(|error| {
            Failure::failed(format!(
                "{} cannot be written: {error}; --command-output names another file",
                path.display()
            ))
        })?;
        let seen = file.metadata().map(|metadata| metadata.len());
        Ok(Self {
            path,
            file,
            is_named: named.is_some(),
            seen: seen.unwrap_or_default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last lines, if there are new ones.
    pub(super) fn read_new_tail(&mut self) -> Option<Vec<String>> {
        let length = self.file.metadata().ok()?.len();
        if length == self.seen {
            return None;
        }
        self.seen = length;
        self.read_tail(length).ok()
    }

    fn read_tail(&mut self, length: u64) -> io::Result<Vec<String>> {
        let start = length.saturating_sub(TAIL);
        self.file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        Read::take(&mut self.file, TAIL).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::to_owned);
        // The first line is cut where the end begins in its middle.
        Ok(lines.skip(usize::from(start > 0)).collect())
    }

    /// Where the output is, for people; a file that nobody wants is taken away.
    pub(super) fn close(self) -> Option<String> {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        if length == 0 {
            if !self.is_named {
                // It is empty and has a name that says whose it was.
                let _ = std::fs::remove_file(&self.path);
            }
            return None;
        }
        Some(format!(
            "what the command has printed is in {} ({})",
            self.path.display(),
            show_bytes(length)
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_end_of_a_long_output_begins_with_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let mut output = CommandOutput::create(Some(&path)).unwrap();
        assert_eq!(output.read_new_tail(), None);
        let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
        for number in 0..5000 {
            writeln!(writer, "line {number}").unwrap();
        }
        let lines = output.read_new_tail().unwrap();
        assert_eq!(lines.last().unwrap(), "line 4999");
        assert!(
            lines.len() < 5000 && lines[0].starts_with("line "),
            "{lines:?}"
        );
        assert_eq!(output.read_new_tail(), None);
        assert!(output.close().unwrap().contains("output ("));
    }

    #[test]
    fn an_empty_file_of_ours_is_taken_away_and_others_stay() {
        let ours = CommandOutput::create(None).unwrap();
        let path = ours.path().to_owned();
        assert!(path.exists());
        assert_eq!(ours.close(), None);
        assert!(!path.exists());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        CommandOutput::create(Some(&path)).unwrap().close();
        assert!(path.exists());
    }
}
