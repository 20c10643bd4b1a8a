//! A folder that is `/` for the interpreters of one Debian suite, and the scripts that start them in it.
//!
//! Such an interpreter runs on the C library of its suite and sees no file of the machine's own `/usr`, as in a
//! container. Everything else of the machine is at its usual place, so programs are started with the same paths as
//! outside; a checkout that is itself under `/usr` or `/etc` cannot be seen.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{command, say};

/// What a root has of its own; all other folders of the machine are bound into it.
const OWN: &str = "/usr|/bin|/sbin|/lib|/lib32|/lib64|/libx32|/etc|/boot|/lost+found";

/// A program that does nothing but run the interpreter of a libpython, as CPython's own executable of a shared build:
/// <https://github.com/python/cpython/blob/v3.13.0/Programs/python.c>. Debian ships the library without one.
const LAUNCHER: &str = "\
extern int Py_BytesMain(int, char **);

int main(int count, char **arguments)
{
    return Py_BytesMain(count, arguments);
}
";

/// One root.
#[derive(Debug)]
pub(crate) struct Container {
    folder: PathBuf,
}

impl Container {
    /// Makes the root, or takes the one that is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let container = Self {
            folder: folder.to_owned(),
        };
        let root = container.root();
        // Debian's packages hold everything under /usr; these links come from no package.
        for name in ["bin", "sbin", "lib", "lib64"] {
            fs::create_dir_all(root.join("usr").join(name))?;
            if !root.join(name).is_symlink() {
                symlink(format!("usr/{name}"), root.join(name))?;
            }
        }
        fs::create_dir_all(root.join("etc"))?;
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\n")?;
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
        // The headers of a Python include others as <x86_64-linux-gnu/…>. A folder with only that lets a compiler find
        // them without seeing the root's C library.
        let headers = container.headers();
        fs::create_dir_all(&headers)?;
        let link = headers.join("x86_64-linux-gnu");
        if !link.is_symlink() {
            symlink("../usr/include/x86_64-linux-gnu", link)?;
        }
        Ok(container)
    }

    /// The folder that is `/` inside.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// For `-I`, beside the folder of `Python.h`.
    pub(crate) fn headers(&self) -> PathBuf {
        self.root().join("include")
    }

    /// Unpacks packages that have not been unpacked yet, without static libraries and documents.
    ///
    /// # Errors
    /// A package is damaged, or the disk is full.
    pub(crate) fn unpack(&self, packages: &[PathBuf]) -> Result<()> {
        let list = self.folder.join("unpacked.txt");
        let text = fs::read_to_string(&list).unwrap_or_default();
        let mut unpacked: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        for package in packages {
            let name = package.file_name().unwrap_or_default().to_string_lossy();
            if !unpacked.contains(name.as_ref()) {
                unpack(package, &self.root())?;
                // Written after each, so that a run that was ended goes on where it was.
                unpacked.insert(name.into_owned());
                let lines: Vec<_> = unpacked.iter().map(String::as_str).collect();
                fs::write(&list, lines.join("\n") + "\n")?;
            }
        }
        Ok(())
    }

    /// Compiles an executable for the root's libpython, with the machine's compiler; returns its path inside.
    ///
    /// # Errors
    /// There is no such library, or no compiler.
    pub(crate) fn link_launcher(&self, version: &str) -> Result<String> {
        let source = self.folder.join("launcher.c");
        fs::write(&source, LAUNCHER)?;
        let inside = format!("/usr/bin/python{version}-shared");
        let library = format!("usr/lib/x86_64-linux-gnu/libpython{version}.so.1.0");
        command::run(
            // The libraries that libpython needs are found inside, later.
            Command::new("cc")
                .args(["-O2", "-Wl,--allow-shlib-undefined", "-o"])
                .arg(self.root().join(inside.trim_start_matches('/')))
                .arg(&source)
                .arg(self.root().join(library)),
        )?;
        Ok(inside)
    }

    /// Writes the script that starts an executable of the root.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_script(&self, file: &Path, executable: &str) -> Result<()> {
        let root = self.root();
        let root = root.to_str().context("the cache's path is no UTF-8")?;
        ensure!(
            !root.contains('\''),
            "the cache's path has a quote in it: {root}"
        );
        fs::write(file, script(root, executable))?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

fn unpack(package: &Path, root: &Path) -> Result<()> {
    let shown = package.display();
    let mut contents = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let stdout = contents.stdout.take().context("no output of dpkg-deb")?;
    let unpacked = Command::new("tar")
        .args(["--extract", "--keep-directory-symlink", "--no-same-owner"])
        .args([
            "--exclude=*.a",
            "--exclude=./usr/share/doc",
            "--exclude=./usr/share/man",
        ])
        .arg("--directory")
        .arg(root)
        .stdin(stdout)
        .status()
        .context("cannot start tar")?;
    let read = contents.wait()?;
    ensure!(
        unpacked.success() && read.success(),
        "cannot unpack {shown}"
    );
    Ok(())
}

/// The script: each step replaces the one before it, so the process that was started is the interpreter in the end.
///
/// Everything it mounts is seen by this process and its children only, and is gone with the last of them.
fn script(root: &str, executable: &str) -> String {
    format!(
        r#"#!/bin/sh
# Makes {executable} of this root of the process that it is started in. Needs root.
export VIPERF_ROOT='{root}'
exec unshare --mount --propagation private sh -eu -c '
mount --bind "$VIPERF_ROOT" "$VIPERF_ROOT"
for folder in /*; do
  case "$folder" in {OWN}) continue ;; esac
  if [ -L "$folder" ] || [ ! -d "$folder" ]; then continue; fi
  mkdir -p "$VIPERF_ROOT$folder"
  mount --rbind "$folder" "$VIPERF_ROOT$folder"
done
mkdir -p "$VIPERF_ROOT/.machine"
folder=$PWD
cd "$VIPERF_ROOT"
pivot_root . .machine
unset VIPERF_ROOT
exec /usr/bin/busybox sh -eu -c "
busybox umount -l /.machine
cd \"\$0\" 2>/dev/null || cd /
exec {executable} \"\$@\"" "$folder" "$@"
' sh "$@"
"#
    )
}

/// Why interpreters cannot be run in a root here, if so.
pub(crate) fn check_permission() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "starting it in a root of its own needs root"
    );
    Ok(())
}

/// Says how large the root has become.
pub(crate) fn note_size(container: &Container) {
    let mut size = Command::new("du");
    size.args(["-s", "-m"]).arg(container.root());
    if let Ok(size) = command::output(&mut size) {
        let megabytes = size.split_whitespace().next().unwrap_or("?");
        say(&format!(
            "interpreters: {} holds {megabytes} MB",
            container.root().display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_ends_as_the_interpreter_under_the_same_process_id() {
        let script = script("/cache/sid/root", "/usr/bin/python3.15");
        // Nothing but `exec` leads on: a plain call would leave a shell as the process that is measured.
        let leads_on = ["unshare", "busybox sh", "/usr/bin/python3.15 \\\"\\$@"];
        for step in leads_on {
            let line = script.lines().find(|line| line.contains(step)).unwrap();
            assert!(line.starts_with("exec "), "{line}");
        }
    }
}
