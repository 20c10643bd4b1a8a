//! Debian packages: which are missing, and installing them.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{command, say};

/// What the build needs: clang for the BPF programs, libelf and zlib for libbpf.
pub(crate) const BUILD: [&str; 7] = [
    "clang-19",
    "gcc",
    "libc6-dev",
    "libelf-dev",
    "make",
    "pkg-config",
    "zlib1g-dev",
];

/// What the tests need: a Python, the kernel's own list of BPF objects, `nm`, gdb (with the names in libc) and a C++ compiler as oracles, BOLT to
/// reorder a libpython; to build interpreters: musl, libraries that CPython uses, Debian's keys; QEMU for other kernels; a
/// terminal that a program can type on and read, and the shells that complete a command.
pub(crate) const TEST: [&str; 18] = [
    "binutils",
    "bolt-16",
    "bpftool",
    "debian-archive-keyring",
    "fish",
    "g++",
    "gdb",
    "libc6-dbg",
    "libffi-dev",
    "libsqlite3-dev",
    "libssl-dev",
    "musl-tools",
    "python3",
    "python3-venv",
    "qemu-system-x86",
    "tmux",
    "xz-utils",
    "zsh",
];

/// Seconds that one call of apt may take.
const PATIENCE: &str = "1800";

/// What the demo needs: a Python to profile.
pub(crate) const DEMO: [&str; 2] = ["python3", "python3-venv"];

/// Installs the packages that are missing, if any.
///
/// # Errors
/// Not root, or apt fails; the text is the line to run by hand.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if Command::new("dpkg-query")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        say(&format!(
            "setup: this is no Debian; these packages must be there: {}",
            packages.join(" ")
        ));
        return Ok(());
    }
    let missing: Vec<_> = packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        say("setup: every Debian package is there");
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "packages are missing; as root: apt-get update && apt-get install -y {}",
            missing.join(" ")
        );
    }
    say(&format!("setup: apt-get installs {}", missing.join(" ")));
    command::run(apt().args(["-q", "update"]).stdout(Stdio::null()))?;
    command::run(
        apt()
            .args(["-q", "-y", "--no-install-recommends", "install"])
            .args(&missing)
            .stdout(Stdio::null()),
    )
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn apt() -> Command {
    let mut apt = Command::new("timeout");
    apt.arg(PATIENCE)
        .arg("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}
