//! Derives the layout file of a CPython version from an interpreter, or from its headers, and compares it with ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use layout_derivation::{
    DebugInformation, Derived, HEADER_PROGRAM, Origin, Version, compiler_arguments,
    debug_file_candidates, differences, find_version,
};

use crate::{command, say, tree};

/// Where the layout files are, from the project's root.
const LAYOUTS: &str = "crates/cpython/layouts";

/// What to derive, and from what.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// The interpreter or its libpython
    #[arg(required_unless_present = "headers", conflicts_with = "headers")]
    file: Option<PathBuf>,
    /// The file that has its debug information, where that is neither in it nor at a usual place
    #[arg(long, requires = "file")]
    debug_file: Option<PathBuf>,
    /// The folder of Python.h, instead of an interpreter: a C compiler then lays out the structs. May be repeated,
    /// for a pyconfig.h elsewhere
    #[arg(long)]
    headers: Vec<PathBuf>,
    /// The headers' free-threaded build
    #[arg(long, requires = "headers")]
    free_threaded: bool,
    /// Its version, such as 3.10.13: up to 3.10 a file does not say
    #[arg(long)]
    version: Option<String>,
    /// Says how our layout file differs, instead of writing one
    #[arg(long)]
    check: bool,
}

/// Writes the layout file, or says how ours differs.
///
/// # Errors
/// Something could not be read or found, or ours differs; what exactly is said before.
pub(crate) fn run(wanted: &Wanted) -> Result<()> {
    let derived = derive(wanted)?;
    for name in &derived.missing {
        eprintln!("not found: {name}");
    }
    if wanted.check {
        check(&derived)?;
    } else {
        say(derived.write().trim_end());
    }
    match derived.missing.len() {
        0 => Ok(()),
        count => bail!("{count} names were not found in the debug information"),
    }
}

fn derive(wanted: &Wanted) -> Result<Derived> {
    let (elf, debug_elf, origin) = match &wanted.file {
        None => {
            let compiled = compile(&wanted.headers, wanted.free_threaded)?;
            (compiled.clone(), compiled, Origin::Headers)
        }
        Some(file) => {
            let elf = read(file)?;
            let debug_elf = match &wanted.debug_file {
                Some(debug_file) => read(debug_file)?,
                None => read_debug_file(file, &elf)?,
            };
            (elf, debug_elf, Origin::Interpreter)
        }
    };
    let version = match &wanted.version {
        Some(text) => Version::parse(text).with_context(|| format!("{text} is no version"))?,
        None => find_version(&elf)
            .context("the file does not say its version; name it, as in --version 3.10.13")?,
    };
    let information = DebugInformation::parse(&debug_elf)?;
    Ok(Derived::from_debug_information(
        &information,
        version,
        origin,
    ))
}

fn check(derived: &Derived) -> Result<()> {
    let name = format!("{LAYOUTS}/{}", derived.file_name());
    let ours = fs::read_to_string(tree::root().join(&name))
        .with_context(|| format!("there is no {name} to compare with"))?;
    let found =
        differences(&ours, &derived.write()).with_context(|| format!("{name} is broken"))?;
    for difference in &found {
        say(&format!("{name}: {difference}"));
    }
    match found.len() {
        0 => say(&format!("{name}: every number agrees")),
        count => bail!(
            "{name} differs in {count} places from CPython {}",
            derived.version
        ),
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The first file there is that may have the debug information.
fn read_debug_file(file: &Path, elf: &[u8]) -> Result<Vec<u8>> {
    let file = file.canonicalize()?;
    let found = debug_file_candidates(&file, elf)
        .into_iter()
        .find(|candidate| candidate.exists());
    let found = found.with_context(|| {
        format!(
            "{} has no debug information; install it, name its file by --debug-file, or use --headers",
            file.display()
        )
    })?;
    read(&found)
}

/// Has the compiler lay out the structs of the headers.
fn compile(headers: &[PathBuf], free_threaded: bool) -> Result<Vec<u8>> {
    let folder = tree::root().join("target/layout");
    fs::create_dir_all(&folder)?;
    let (source, object) = (folder.join("headers.c"), folder.join("headers.so"));
    fs::write(&source, HEADER_PROGRAM)?;
    let mut compiler = Command::new("cc");
    compiler.args(compiler_arguments(headers, free_threaded));
    command::run(compiler.arg("-o").arg(&object).arg(&source))?;
    read(&object)
}
