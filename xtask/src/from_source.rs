//! Interpreters that no Debian package holds, compiled from the original source in a Debian source package.
//!
//! Each is built without profile-guided optimization, which would take many times as long, with line tables as the
//! only debug information, once as libpython with an executable beside it and once more linked into one executable.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{command, say};

/// Minutes that one step of a build may take; two cores need less than five for the longest.
const PATIENCE: u32 = 25;

/// A compiler that makes programs for musl. What `musl-gcc` says of itself is wrong in one thing: it is asked by
/// CPython's configure for the platform, and answers with that of the GNU C library. Headers of the kernel are found
/// last, so that none of the GNU C library's are.
const MUSL_COMPILER: &str = "\
#!/bin/sh
case \"$*\" in
  *--print-multiarch*) echo x86_64-linux-musl ;;
  *) exec musl-gcc \"$@\" -idirafter \"${0%/*}/kernel\" ;;
esac
";

/// One build: where it happens, and where its result will be.
#[derive(Debug)]
pub(crate) struct Build {
    name: &'static str,
    /// Removed at the end.
    work: PathBuf,
    /// What is installed says this path of itself, so it is the final one.
    prefix: PathBuf,
}

/// The two executables of a build.
#[derive(Debug)]
pub(crate) struct Built {
    /// Uses libpython.
    pub(crate) shared: PathBuf,
    /// Is all in one file.
    pub(crate) linked_whole: PathBuf,
}

impl Build {
    /// Begins anew: what an earlier run left half done is removed.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub(crate) fn begin(name: &'static str, set: &Path) -> Result<Self> {
        let work = set.join("building").join(name);
        let prefix = set.join("builds").join(name);
        for folder in [&work, &prefix] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        fs::create_dir_all(&work)?;
        Ok(Self { name, work, prefix })
    }

    /// CPython without a GIL, on the GNU C library.
    ///
    /// # Errors
    /// A step fails, with the place of its log, or takes too long.
    pub(crate) fn free_threaded(self, python: &Path) -> Result<Built> {
        say("interpreters: compiling CPython without GIL (3 minutes or more)");
        let mut configure = self.configure_python(python)?;
        configure.arg("--disable-gil");
        self.make_python(&mut configure, "-Wl,-export-dynamic")
    }

    /// CPython on musl, with modules in libpython, and zlib and libffi linked into it.
    ///
    /// # Errors
    /// As [`Self::free_threaded`].
    pub(crate) fn musl(self, python: &Path, zlib: &Path, libffi: &Path) -> Result<Built> {
        say("interpreters: compiling CPython for musl (3 minutes or more)");
        let compiler = self.write_musl_compiler()?;
        let libraries = self.work.join("libraries");
        let mut configure = Command::new(self.unpack(zlib)?.join("configure"));
        configure.arg("--static");
        self.make_library("zlib", &mut configure, &compiler, &libraries)?;
        let mut configure = Command::new(self.unpack(libffi)?.join("configure"));
        configure.args([
            "--disable-shared",
            "--disable-docs",
            "--disable-multi-os-directory",
        ]);
        self.make_library("libffi", &mut configure, &compiler, &libraries)?;

        let shown = libraries.display();
        let mut configure = self.configure_python(python)?;
        configure
            .env("CC", &compiler)
            // Packages for the GNU C library must not be found.
            .env("PKG_CONFIG_LIBDIR", libraries.join("lib/pkgconfig"))
            .arg(format!("CPPFLAGS=-I{shown}/include"))
            .arg(format!("LIBFFI_CFLAGS=-I{shown}/include"))
            .arg(format!("LIBFFI_LIBS=-L{shown}/lib -lffi"))
            .arg(format!(
                "LDFLAGS=-L{shown}/lib -Wl,-rpath,{}/lib",
                self.prefix.display()
            ))
            .arg("MODULE_BUILDTYPE=static");
        self.make_python(&mut configure, "-static")
    }

    fn configure_python(&self, source: &Path) -> Result<Command> {
        let mut configure = Command::new(self.unpack(source)?.join("configure"));
        let prefix = self.prefix.display();
        configure
            .arg(format!("--prefix={prefix}"))
            .args(["--enable-shared", "--without-ensurepip"])
            .arg("--disable-test-modules")
            .args(["CFLAGS=-g1", "OPT=-O2 -DNDEBUG"])
            .arg(format!("LDFLAGS=-Wl,-rpath,{prefix}/lib"));
        Ok(configure)
    }

    /// Builds, installs beside the final place and moves there, so that what is there is whole.
    fn make_python(&self, configure: &mut Command, linking: &str) -> Result<Built> {
        let folder = self.work.join("python");
        fs::create_dir_all(&folder)?;
        self.step("configure", configure.current_dir(&folder))?;
        let make = |target: &str| {
            let mut make = Command::new("make");
            make.args(["--jobs=2", target]).current_dir(&folder);
            make
        };
        self.step("make", &mut make("all"))?;
        let makefile = fs::read_to_string(folder.join("Makefile"))?;
        let variable = |name: &str| {
            find_variable(&makefile, name).with_context(|| format!("the Makefile has no {name}"))
        };
        // Such as 3.13t.
        let version = variable("VERSION")? + &variable("ABIFLAGS")?;
        let mut link = make("python-whole");
        link.args(["BUILDPYTHON=python-whole"])
            .args(["LINK_PYTHON_OBJS=$(LIBRARY)", "LINK_PYTHON_DEPS=$(LIBRARY)"])
            .arg(format!("LINKFORSHARED={linking}"));
        self.step("link", &mut link)?;
        let staged = self.work.join("staged");
        let mut install = make("install");
        install.arg(format!("DESTDIR={}", staged.display()));
        self.step("install", &mut install)?;

        let installed = staged.join(self.prefix.strip_prefix("/")?);
        let names = [
            format!("bin/python{version}"),
            format!("bin/python{version}-whole"),
        ];
        fs::copy(folder.join("python-whole"), installed.join(&names[1]))?;
        // CPython's own tests are two thirds of what is installed.
        fs::remove_dir_all(installed.join(format!("lib/python{version}/test"))).ok();
        fs::create_dir_all(self.prefix.parent().context("the cache is no folder")?)?;
        fs::rename(&installed, &self.prefix)?;
        fs::remove_dir_all(&self.work)?;
        let [shared, linked_whole] = names.map(|name| self.prefix.join(name));
        Ok(Built {
            shared,
            linked_whole,
        })
    }

    fn make_library(
        &self,
        name: &str,
        configure: &mut Command,
        compiler: &Path,
        prefix: &Path,
    ) -> Result<()> {
        // In the folder of its source, for zlib cannot be configured from another.
        let folder = Path::new(configure.get_program())
            .parent()
            .context("configure is in no folder")?
            .to_owned();
        configure
            .env("CC", compiler)
            .env("CFLAGS", "-O2 -fPIC")
            .arg(format!("--prefix={}", prefix.display()))
            .current_dir(&folder);
        self.step(&format!("{name}-configure"), configure)?;
        let mut make = Command::new("make");
        make.args(["--jobs=2", "install"]).current_dir(&folder);
        self.step(&format!("{name}-make"), &mut make)
    }

    fn write_musl_compiler(&self) -> Result<PathBuf> {
        let compiler = self.work.join("musl-compiler");
        fs::write(&compiler, MUSL_COMPILER)?;
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755))?;
        let headers = self.work.join("kernel");
        fs::create_dir_all(&headers)?;
        for (name, target) in [
            ("linux", "/usr/include/linux"),
            ("asm-generic", "/usr/include/asm-generic"),
            ("asm", "/usr/include/x86_64-linux-gnu/asm"),
        ] {
            std::os::unix::fs::symlink(target, headers.join(name))?;
        }
        Ok(compiler)
    }

    /// Unpacks an archive that holds one folder, and returns that.
    fn unpack(&self, archive: &Path) -> Result<PathBuf> {
        let stem = archive.file_name().unwrap_or_default().to_string_lossy();
        let folder = self
            .work
            .join(stem.split('_').next().unwrap_or_default())
            .with_extension("source");
        fs::create_dir_all(&folder)?;
        command::run(
            Command::new("tar")
                .args(["--extract", "--no-same-owner", "--strip-components=1"])
                .arg("--file")
                .arg(archive)
                .arg("--directory")
                .arg(&folder),
        )?;
        Ok(folder)
    }

    /// Runs one step with its output in a log beside the work, for a bounded time, behind everything else.
    fn step(&self, name: &str, step: &mut Command) -> Result<()> {
        let log = self.work.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let mut bounded = Command::new("nice");
        bounded
            .args(["-n", "10", "timeout", &format!("{PATIENCE}m")])
            .arg(step.get_program())
            .args(step.get_args())
            .stdout(output.try_clone()?)
            .stderr(output);
        // What a make that started this one told it is not meant for these.
        for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
            bounded.env_remove(variable);
        }
        for (variable, value) in step.get_envs() {
            bounded.env(variable, value.unwrap_or_default());
        }
        if let Some(folder) = step.get_current_dir() {
            bounded.current_dir(folder);
        }
        let status = bounded.status().context("cannot start nice")?;
        let ended = if status.code() == Some(124) {
            format!("was ended after {PATIENCE} minutes")
        } else {
            format!("ended with {status}")
        };
        ensure!(
            status.success(),
            "{name} of {} {ended}; see {}",
            self.name,
            log.display()
        );
        Ok(())
    }
}

/// The value of a variable that is set on one line of a Makefile.
fn find_variable(makefile: &str, name: &str) -> Option<String> {
    makefile.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.trim_start().strip_prefix('=')?;
        Some(value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::find_variable;

    #[test]
    fn a_variable_is_read_from_the_line_that_sets_it() {
        let makefile = "VERSION_NUMBER= x\nVERSION=\t3.13\nABIFLAGS=\t\nLDVERSION=      $(VERSION)$(ABIFLAGS)\n";
        let find = |name| find_variable(makefile, name);
        assert_eq!(find("VERSION").as_deref(), Some("3.13"));
        assert_eq!(find("ABIFLAGS").as_deref(), Some(""));
        assert_eq!(find("SUFFIX"), None);
    }
}
