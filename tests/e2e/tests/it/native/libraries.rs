//! The libraries of `fixtures/c/native_*`, each compiled once a run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Need, fixtures, output_folder};

/// A library in which a fixture works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    /// `native_work.c`.
    Work,
    /// The same for programs whose C library is musl.
    WorkForMusl,
    /// `native_throwing.cpp`.
    Throwing,
    /// `native_rust.rs`.
    Rust,
}

impl Library {
    /// The compiler, its options, and the source.
    fn recipe(self) -> (&'static str, &'static [&'static str], &'static str) {
        const C: &[&str] = &["-O2", "-g", "-shared", "-fPIC"];
        match self {
            Self::Work => ("cc", C, "native_work.c"),
            Self::WorkForMusl => ("musl-gcc", C, "native_work.c"),
            Self::Throwing => ("c++", C, "native_throwing.cpp"),
            Self::Rust => (
                "rustc",
                &["--edition=2024", "--crate-type=cdylib", "-O"],
                "native_rust.rs",
            ),
        }
    }

    /// That its compiler is here.
    pub(super) fn need(self) -> Need {
        let (compiler, ..) = self.recipe();
        let output = Command::new(compiler).arg("--version").output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            _ => Err(format!("there is no compiler called {compiler}")),
        }
    }

    /// Its file.
    pub(super) fn path(self) -> Result<&'static Path> {
        static FILES: [OnceLock<Result<PathBuf, String>>; 4] = [const { OnceLock::new() }; 4];
        let file = FILES.get(self as usize).context("no such library")?;
        let file = file.get_or_init(|| self.compile().map_err(|error| format!("{error:#}")));
        file.as_deref()
            .map_err(|error| anyhow::Error::msg(error.clone()))
    }

    fn compile(self) -> Result<PathBuf> {
        let (compiler, options, source) = self.recipe();
        let folder = folder(&format!("native/{compiler}"))?;
        let name = Path::new(source)
            .file_stem()
            .context("a source has a name")?;
        let library = folder.join(format!("lib{}.so", name.to_string_lossy()));
        let output = Command::new(compiler)
            .args(options)
            .arg(fixtures().join("../c").join(source))
            .arg("-o")
            .arg(&library)
            .output()
            .with_context(|| format!("cannot run {compiler}"))?;
        ensure!(
            output.status.success(),
            "{compiler} did not compile {source}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(library)
    }
}

/// A folder for what a test makes, by its whole name.
pub(super) fn folder(name: &str) -> Result<PathBuf> {
    let folder = output_folder().join(name.replace('/', "_"));
    fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}
