//! Where the profile goes: standard output, or a file that appears whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use viperf_encode::{Format, Options, firefox, folded, html, pprof, pstats, speedscope, svg};

use crate::arguments::{ShapeArguments, Switch};
use crate::exit::Failure;
use crate::output_format::OutputFormat;
use crate::output_owner;
use crate::terminal;

/// A place that could be written to when it was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Standard output.
    StandardOutput,
    /// A file, written beside its place and renamed into it.
    File(PathBuf),
    /// A pipe or a device, which has no beside: written directly.
    Stream(PathBuf),
}

impl Destination {
    /// Finds out whether `path` can be written, without changing what is there.
    pub(crate) fn check(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::StandardOutput);
        }
        Self::check_path(path).map_err(|error| not_writable(path, &error))
    }

    fn check_path(path: &Path) -> io::Result<Self> {
        // A link stays a link: what it points to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_new| path.to_path_buf());
        if let Ok(metadata) = fs::metadata(&target) {
            let kind = metadata.file_type();
            if kind.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if kind.is_fifo() || kind.is_char_device() {
                return Ok(Self::Stream(target));
            }
            // Renaming would replace even a file that its owner has protected.
            OpenOptions::new().write(true).open(&target)?;
        }
        let temporary = temporary_name(&target)?;
        create_new(&temporary)?;
        fs::remove_file(&temporary)?;
        Ok(Self::File(target))
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::StandardOutput => terminal::print(bytes),
            Self::Stream(path) => OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|mut stream| stream.write_all(bytes))
                .map_err(|error| not_writable(path, &error)),
            Self::File(path) => {
                replace_file(path, bytes).map_err(|error| not_writable(path, &error))
            }
        }
    }

    /// Begins a file that is written bit by bit; what is there is replaced by the first bit.
    pub(crate) fn begin(&self) -> io::Result<GrowingOutput> {
        Ok(match self {
            Self::StandardOutput => GrowingOutput::StandardOutput,
            Self::Stream(path) => GrowingOutput::Stream(OpenOptions::new().write(true).open(path)?),
            Self::File(path) => {
                let temporary = temporary_name(path)?;
                GrowingOutput::File {
                    file: create_new(&temporary)?,
                    bytes: 0,
                    to_rename: Some((temporary, path.clone())),
                }
            }
        })
    }

    /// The place, for people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::StandardOutput => "standard output".to_owned(),
            Self::Stream(path) | Self::File(path) => path.display().to_string(),
        }
    }

    /// The file's path, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::StandardOutput | Self::Stream(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

/// What is written bit by bit. Each bit is in it whole or not at all, as far as the place allows.
#[derive(Debug)]
pub(crate) enum GrowingOutput {
    StandardOutput,
    Stream(File),
    File {
        file: File,
        /// Those of all bits so far.
        bytes: u64,
        /// Its first name and its own, which it gets with the first bit: until then an older file stays.
        to_rename: Option<(PathBuf, PathBuf)>,
    },
}

impl GrowingOutput {
    /// Writes one bit to the end.
    ///
    /// # Errors
    /// It is not in the file; a pipe may have got a part of it.
    pub(crate) fn append(&mut self, bit: &[u8]) -> io::Result<()> {
        match self {
            Self::StandardOutput => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bit)?;
                stdout.flush()
            }
            Self::Stream(stream) => stream.write_all(bit),
            Self::File {
                file,
                bytes,
                to_rename,
            } => {
                let mut written = file.write_all(bit);
                if written.is_ok()
                    && let Some((temporary, path)) = to_rename.as_ref()
                {
                    written = fs::rename(temporary, path);
                }
                match written {
                    Ok(()) => {
                        *to_rename = None;
                        *bytes += bit.len() as u64;
                        Ok(())
                    }
                    Err(error) => {
                        // The first error is the one to tell; a reader stops at the half of a bit, too.
                        let _ = file.set_len(*bytes);
                        Err(error)
                    }
                }
            }
        }
    }
}

impl Drop for GrowingOutput {
    /// A file that never got its name is no file.
    fn drop(&mut self) {
        if let Self::File {
            to_rename: Some((temporary, _)),
            ..
        } = self
        {
            // What cannot be removed is named after viperf.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Writes beside `path` and renames: a reader, or a viperf that is killed, never leaves half a file.
fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let replaced = fs::metadata(path).ok();
    let written = create_new(&temporary)
        .and_then(|mut file| {
            output_owner::give(&file, replaced.as_ref());
            file.write_all(bytes)
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; what cannot be removed is named after viperf.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// `.NAME.viperf-PID` in the folder of `path`.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".viperf-{}", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn not_writable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "{} cannot be written: {error}; choose another place with -o",
        path.display()
    ))
}

/// The format to write: named, or told by the file's name; folded on standard output, being text.
pub(crate) fn choose_format(
    named: Option<OutputFormat>,
    path: &Path,
) -> Result<OutputFormat, Failure> {
    match named {
        Some(format) => Ok(format),
        None if path == Path::new("-") => Ok(OutputFormat::Encoded(Format::Folded)),
        None => OutputFormat::from_path(path).map_err(Failure::wrong_usage),
    }
}

/// What the flags mean for each format.
pub(crate) fn encode_options(shape: ShapeArguments) -> Options {
    let ShapeArguments {
        threads,
        merge_processes,
        interpreter_frames,
        frame_kinds,
    } = shape;
    Options {
        folded: folded::Options {
            threads,
            merge_processes,
            interpreter_frames,
            frame_kinds: frame_kinds == Switch::On,
        },
        html: html::Options {
            merge_processes,
            interpreter_frames,
            ..html::Options::default()
        },
        svg: svg::Options {
            interpreter_frames,
            merge_processes,
            ..svg::Options::default()
        },
        pprof: pprof::Options { interpreter_frames },
        speedscope: speedscope::Options { interpreter_frames },
        firefox: firefox::Options { interpreter_frames },
        pstats: pstats::Options { interpreter_frames },
        ..Options::default()
    }
}

/// The path as it stands in a `file://` address, so that a terminal makes one link of it.
pub(crate) fn url_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~+,@".contains(&byte);
    path.as_os_str()
        .as_bytes()
        .iter()
        .map(|&byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn checking_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old.html");
        fs::write(&old, "old").unwrap();
        let new = folder.path().join("new.html");
        assert_eq!(
            Destination::check(&old).unwrap().path(),
            Some(old.as_path())
        );
        assert_eq!(
            Destination::check(&new).unwrap().path(),
            Some(new.as_path())
        );
        assert_eq!(fs::read(&old).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["old.html"]);
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.html");
        fs::write(&path, "something longer than the new text").unwrap();
        Destination::check(&path).unwrap().write(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a.html"]);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.html");
        let link = folder.path().join("link.html");
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        Destination::check(&link).unwrap().write(b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn a_folder_and_a_missing_folder_are_refused_with_the_path_and_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_path_buf(), folder.path().join("no/a.html")] {
            let failure = Destination::check(&path).unwrap_err();
            let expected = format!("{} cannot be written: ", path.display());
            let text = format!("{failure:?}");
            assert!(
                text.contains(&expected) && text.contains("with -o"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_device_is_written_directly() {
        let null = Destination::check(Path::new("/dev/null")).unwrap();
        assert_eq!(null, Destination::Stream("/dev/null".into()));
        null.write(b"gone").unwrap();
    }

    #[test]
    fn a_dash_is_standard_output_and_folded_unless_named() {
        let dash = Path::new("-");
        assert_eq!(
            Destination::check(dash).unwrap(),
            Destination::StandardOutput
        );
        let folded = OutputFormat::Encoded(Format::Folded);
        assert_eq!(choose_format(None, dash), Ok(folded));
        let named = Some(OutputFormat::Text);
        assert_eq!(choose_format(named, dash), Ok(OutputFormat::Text));
    }

    #[test]
    fn the_files_name_tells_the_format() {
        assert_eq!(
            choose_format(None, Path::new("a.viperf")),
            Ok(OutputFormat::Encoded(Format::Viperf))
        );
        let failure = choose_format(None, Path::new("a.png")).unwrap_err();
        assert!(format!("{failure:?}").contains("code: 2"));
    }
}
