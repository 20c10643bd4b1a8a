//! Debian's kernels: which there are, and fetching them once into the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::{
    command, say,
    suite::{Kind, Suite},
};

/// A kernel of a Debian release, as its images for clouds have it: small, and with all that a test needs built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// Debian 11's
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12's
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's
    #[value(name = "6.12")]
    V6_12,
    /// Of sid, the newest
    #[value(name = "newest")]
    Newest,
}

/// Names the newest image of its suite.
const PACKAGE: &str = "linux-image-cloud-amd64";
/// How the packages that hold an image are called; from 7.x on the second one.
const HOLDERS: [&str; 2] = ["linux-image-", "linux-binary-"];

impl Kernel {
    /// Oldest first.
    pub(crate) const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::Newest];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Newest => "newest",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::Newest => "sid",
        }
    }

    /// The image, fetched if it is not in `cache` yet.
    ///
    /// # Errors
    /// The suite or the package cannot be had, or holds no image.
    pub(crate) fn image(self, cache: &Path) -> Result<PathBuf> {
        let image = cache.join(format!("vmlinuz-{}", self.suite()));
        if !image.exists() {
            fs::create_dir_all(cache)?;
            say(&format!("vm: fetching the kernel of {}", self.suite()));
            let downloads = cache.join("downloads");
            let suite = Suite::open(self.suite(), Kind::Binaries, &downloads)?;
            let package = suite.package_of(PACKAGE, &HOLDERS)?;
            unpack_image(&package, &image)?;
            // 100 MB of lists and modules that nothing needs any longer.
            fs::remove_dir_all(&downloads)?;
        }
        Ok(image)
    }
}

/// Writes the only file called `vmlinuz*` of a package.
fn unpack_image(package: &Path, image: &Path) -> Result<()> {
    let folder = image.with_extension("unpacked");
    fs::create_dir_all(&folder)?;
    let mut contents = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let stdout = contents.stdout.take().context("no output of dpkg-deb")?;
    let listed = Command::new("tar")
        .args(["--extract", "--wildcards", "--verbose", "--directory"])
        .arg(&folder)
        .args(["./boot/vmlinuz*", "./usr/lib/modules/*/vmlinuz"])
        .stdin(stdout)
        .stderr(Stdio::null())
        .output()
        .context("cannot start tar")?;
    // tar complains of the pattern that is not there; what it has found counts.
    ensure!(
        contents.wait()?.success(),
        "dpkg-deb cannot read {}",
        package.display()
    );
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let name = listed.lines().find(|name| name.contains("/vmlinuz"));
    let name = name.with_context(|| format!("{} holds no vmlinuz", package.display()))?;
    // Under its own name only when it is whole.
    fs::rename(folder.join(name), image)?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The program that runs them, if it is installed.
pub(crate) fn find_emulator() -> Option<&'static str> {
    const EMULATOR: &str = "qemu-system-x86_64";
    command::is_in_path(EMULATOR).then_some(EMULATOR)
}
