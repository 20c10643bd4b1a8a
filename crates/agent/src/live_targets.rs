//! Live interpreters for the tests that need the kernel.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A running program, killed when dropped.
pub(crate) struct Target(pub(crate) Child);

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's static build and the shared ones of pyenv, those that are there.
pub(crate) fn interpreters() -> Vec<PathBuf> {
    let versions = std::env::home_dir()
        .unwrap_or_default()
        .join(".pyenv/versions");
    let shared = std::fs::read_dir(versions)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/python3"));
    let mut found: Vec<PathBuf> = shared
        .chain([PathBuf::from("/usr/bin/python3")])
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found
}

/// Starts the program and waits until it has loaded all that it uses.
pub(crate) fn start(python: &Path, program: &str) -> Option<Target> {
    let child = Command::new(python)
        .args(["-c", program])
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut target = Target(child);
    target.0.stdout.as_mut()?.read_exact(&mut [0]).ok()?;
    // A program that still runs keeps writing; nobody reads, and it must not stop.
    let mut output = target.0.stdout.take()?;
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    Some(target)
}
