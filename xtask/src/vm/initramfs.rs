//! The file system of the virtual machine: viperf, Python and a program to profile, as one archive that the kernel unpacks.
//!
//! Nothing is fetched: the files are the machine's own, and exactly those that a run outside has needed.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{command, tree};

/// What the machine runs first.
const INIT: &str = include_str!("init.py");
/// Runs the program outside and names every file that it has imported, with what the first process imports.
const IMPORTED: &str = "\
import sys
sys.argv = ['into_kernel.py', '--seconds', '0']
import ctypes, json, os, subprocess, traceback, into_kernel, announce
into_kernel.main()
names = set()
for module in list(sys.modules.values()):
    for name in (getattr(module, '__file__', None), getattr(module, '__cached__', None)):
        if name and name.startswith(sys.prefix):
            names.add(name)
print('\\n'.join(['EXECUTABLE ' + os.path.realpath(sys.executable)] + ['FILE ' + name for name in sorted(names)]))
";

/// Where `/usr/bin/python3` is no interpreter, the first one in `PATH` is taken.
const PYTHONS: [&str; 2] = ["/usr/bin/python3", "python3"];

/// Writes the archive to `archive`: `programs` go into `/bin`.
///
/// # Errors
/// There is no Python, or a file cannot be read.
pub(crate) fn write(archive: &Path, programs: &[PathBuf]) -> Result<()> {
    let fixtures = tree::root().join("fixtures/python");
    let (python, imported) = find_python(&fixtures)?;
    let mut files: BTreeSet<PathBuf> = imported.into_iter().collect();
    files.insert(python.clone());
    let objects: Vec<_> = files
        .iter()
        .filter(|file| **file == python || file.extension().is_some_and(|end| end == "so"))
        .chain(programs)
        .cloned()
        .collect();
    for object in &objects {
        files.extend(libraries(object)?);
    }
    let mut packed = Archive::default();
    for file in &files {
        packed.add(
            file,
            &fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        );
    }
    for program in programs {
        let name = program.file_name().context("a program without a name")?;
        packed.add(&Path::new("/bin").join(name), &fs::read(program)?);
    }
    for name in ["announce.py", "into_kernel.py"] {
        packed.add(&Path::new("/").join(name), &fs::read(fixtures.join(name))?);
    }
    let init = format!("#!{} -S\n{INIT}", python.display());
    packed.add(Path::new("/init"), init.as_bytes());
    fs::write(archive, packed.finish())?;
    Ok(())
}

/// An interpreter, and every file of it that the program needs.
fn find_python(fixtures: &Path) -> Result<(PathBuf, Vec<PathBuf>)> {
    let found = PYTHONS.iter().find_map(|python| {
        let mut run = Command::new(python);
        run.args(["-S", "-c", IMPORTED])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONPATH", fixtures)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command::output(&mut run).ok()
    });
    let text = found.context("no python3 runs fixtures/python/into_kernel.py")?;
    let lines = |start: &'static str| {
        text.lines()
            .filter_map(move |line| line.strip_prefix(start))
            .map(PathBuf::from)
    };
    let python = lines("EXECUTABLE ")
        .next()
        .context("Python names no executable")?;
    Ok((
        python,
        lines("FILE ").filter(|file| file.exists()).collect(),
    ))
}

/// The libraries that an object is linked with, the loader included.
fn libraries(object: &Path) -> Result<Vec<PathBuf>> {
    let text = command::output(Command::new("ldd").arg(object))?;
    Ok(parse_libraries(&text).map(PathBuf::from).collect())
}

/// The paths in lines of `NAME => PATH (ADDRESS)` and `PATH (ADDRESS)`.
fn parse_libraries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.rsplit_once(" (")?.0.trim();
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        path.starts_with('/').then_some(path)
    })
}

/// A cpio archive in the format that the kernel unpacks:
/// <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const EXECUTABLE_FILE: u32 = 0o100_755;

impl Archive {
    /// Adds a file, and the folders above it.
    fn add(&mut self, path: &Path, contents: &[u8]) {
        let mut missing: Vec<_> = path
            .ancestors()
            .skip(1)
            .filter(|folder| folder.parent().is_some() && !self.folders.contains(*folder))
            .map(Path::to_owned)
            .collect();
        missing.reverse();
        for folder in missing {
            self.entry(&folder, FOLDER, &[]);
            self.folders.insert(folder);
        }
        self.entry(path, EXECUTABLE_FILE, contents);
    }

    fn entry(&mut self, path: &Path, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let name = path.to_string_lossy();
        let name = name.trim_start_matches('/');
        // inode, mode, uid, gid, links, time, size, two devices of two numbers, size of the name, no checksum.
        let size = contents.len() as u32;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            // Writing to a vector cannot fail.
            write!(self.bytes, "{field:08x}").ok();
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.fill();
        self.bytes.extend_from_slice(contents);
        self.fill();
    }

    fn fill(&mut self) {
        let whole = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(whole, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), 0, &[]);
        self.bytes
    }
}

/// A program without its debug information, which would only take room.
///
/// # Errors
/// `strip` fails.
pub(crate) fn strip(program: &Path, folder: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("a program without a name")?;
    let stripped = folder.join(name);
    command::run(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    fs::set_permissions(&stripped, fs::Permissions::from_mode(0o755))?;
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_both_forms_of_a_line() {
        let text = "\tlinux-vdso.so.1 (0x00007f80)\n\tlibz.so.1 => /lib/x/libz.so.1 (0x00007f80)\n\t/lib64/ld.so.2 (0x0)\n";
        let found: Vec<_> = parse_libraries(text).collect();
        assert_eq!(found, ["/lib/x/libz.so.1", "/lib64/ld.so.2"]);
        assert_eq!(parse_libraries("\tstatically linked\n").count(), 0);
    }

    #[test]
    fn cpio_lists_and_unpacks_what_was_packed() {
        let mut archive = Archive::default();
        archive.add(Path::new("/usr/bin/one"), b"first");
        archive.add(Path::new("/usr/bin/two"), b"");
        archive.add(Path::new("/init"), b"#!x\n");
        let bytes = archive.finish();
        let folder = std::env::temp_dir().join(format!("viperf-cpio-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("archive"), &bytes).unwrap();
        let mut cpio = Command::new("cpio");
        cpio.args([
            "--extract",
            "--make-directories",
            "--quiet",
            "--file=archive",
        ])
        .current_dir(&folder);
        match cpio.status() {
            Err(error) => println!("skipped: an initramfs against cpio: {error}"),
            Ok(status) => {
                assert!(status.success());
                assert_eq!(fs::read(folder.join("usr/bin/one")).unwrap(), b"first");
                assert_eq!(fs::read(folder.join("usr/bin/two")).unwrap(), b"");
                assert_eq!(fs::read(folder.join("init")).unwrap(), b"#!x\n");
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
