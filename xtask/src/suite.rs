//! Packages of a Debian suite that need not be the machine's own: downloaded with all that they depend on, checked
//! against Debian's signatures, and installed nowhere.
//!
//! It runs the machine's apt on a configuration, package lists and a state of its own, so neither the machine's
//! sources nor its installed packages are touched or have a say. What was downloaded stays and is not fetched again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{command, say};

/// Where packages are from; `$VIPERF_DEBIAN_MIRROR` is used instead where it is set.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Whose signatures are taken; of the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Seconds that one call of apt may take.
const PATIENCE: u32 = 600;

/// What is wanted of a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `deb`.
    Binaries,
    /// `deb-src`.
    Sources,
}

/// One suite whose package lists have been read.
#[derive(Debug)]
pub(crate) struct Suite {
    folder: PathBuf,
}

impl Suite {
    /// Downloads the suite's package lists into a folder of their own under `downloads`.
    ///
    /// # Errors
    /// There is no apt, or no list with a good signature.
    pub(crate) fn open(name: &str, kind: Kind, downloads: &Path) -> Result<Self> {
        let (entry, lists) = match kind {
            Kind::Binaries => ("deb", "binaries"),
            Kind::Sources => ("deb-src", "sources"),
        };
        let folder = downloads.join(format!("{name}-{lists}"));
        for part in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "state/lists/partial",
            "cache/archives/partial",
            "empty",
        ] {
            fs::create_dir_all(folder.join(part))?;
        }
        let mirror = std::env::var("VIPERF_DEBIAN_MIRROR").unwrap_or_else(|_| MIRROR.to_owned());
        let source = format!("{entry} [signed-by={KEYRING}] {mirror} {name} main\n");
        fs::write(folder.join("sources.list"), source)?;
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("apt.conf"), configuration(&folder, &network()?))?;
        let suite = Self { folder };
        // Without this, lists that cannot be had are only warned of.
        let update = ["-q=2", "-o", "APT::Update::Error-Mode=any", "update"];
        suite.run(suite.apt().args(update))?;
        Ok(suite)
    }

    /// Downloads packages and all that they depend on; returns the files, dependencies first.
    ///
    /// # Errors
    /// A package is not in the suite, or cannot be downloaded.
    pub(crate) fn packages(&self, names: &[String]) -> Result<Vec<PathBuf>> {
        let install = |options: &[&str]| {
            let mut apt = self.apt();
            apt.args(["-q=2", "-y", "install"])
                .args(options)
                .args(names);
            apt
        };
        let plan = self.run(&mut install(&["--simulate"]))?;
        let archives = self.folder.join("cache/archives");
        let files: Vec<_> = parse_plan(&plan).map(|name| archives.join(name)).collect();
        let missing = files.iter().filter(|file| !file.exists()).count();
        if missing > 0 {
            say(&format!(
                "interpreters: downloading {missing} packages for {}",
                names.first().map_or("", String::as_str)
            ));
            self.run(&mut install(&["--download-only"]))?;
        }
        if let Some(missing) = files.iter().find(|file| !file.exists()) {
            bail!("apt-get downloaded no {}", missing.display());
        }
        Ok(files)
    }

    /// Downloads one package alone: the one that a package depends on and whose name begins with one of `starts`.
    ///
    /// # Errors
    /// There is none in the suite, or it cannot be downloaded.
    pub(crate) fn package_of(&self, name: &str, starts: &[&str]) -> Result<PathBuf> {
        let mut simulate = self.apt();
        simulate.args(["-q=2", "-y", "install", "--simulate", name]);
        let plan = self.run(&mut simulate)?;
        let is_wanted = |file: &String| {
            starts
                .iter()
                .any(|start| file.starts_with(start) && !file.starts_with(&format!("{name}_")))
        };
        let file = parse_plan(&plan).find(is_wanted);
        let file = file.with_context(|| format!("no package of {name} is in the suite"))?;
        let package = file.split('_').next().unwrap_or_default();
        let mut download = self.apt();
        download
            .args(["-q=2", "download", package])
            .current_dir(self.folder.join("cache/archives"));
        self.run(&mut download)?;
        Ok(self.folder.join("cache/archives").join(&file))
    }

    /// Downloads the original source of a package, without Debian's changes; returns the archive.
    ///
    /// # Errors
    /// The source is not in the suite, or cannot be downloaded.
    pub(crate) fn source(&self, package: &str) -> Result<PathBuf> {
        let source = |option: &str, folder: &str| {
            let mut apt = self.apt();
            apt.args(["-q=2", "--tar-only", option, "source", package])
                .current_dir(self.folder.join(folder));
            apt
        };
        // It names only what is not in its folder yet.
        let uris = self.run(&mut source("--print-uris", "empty"))?;
        let archive = parse_original(&uris)
            .with_context(|| format!("apt-get names no archive of {package}"))?;
        let file = self.folder.join(archive);
        if !file.exists() {
            say(&format!(
                "interpreters: downloading the source of {package}"
            ));
        }
        // One that is there whole is only checked.
        self.run(&mut source("--download-only", ""))?;
        Ok(file)
    }

    /// Runs a call of apt and returns its standard output; an error is what apt gives as the reason.
    fn run(&self, apt: &mut Command) -> Result<String> {
        let output = apt.stdin(Stdio::null()).output();
        let output = output.context("cannot start timeout")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            match parse_reason(&text) {
                Some(reason) => bail!("{reason}"),
                None => bail!("apt-get ended with {}: {text}", output.status),
            }
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn apt(&self) -> Command {
        let mut apt = Command::new("timeout");
        apt.arg(PATIENCE.to_string())
            .arg("apt-get")
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C");
        apt
    }
}

/// How the machine's own apt reaches the network, as lines of a configuration.
fn network() -> Result<String> {
    let dump = command::output(Command::new("apt-config").arg("dump"))?;
    let is_network = |line: &&str| {
        ["Acquire::http", "Acquire::https"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    Ok(dump
        .lines()
        .filter(is_network)
        .fold(String::new(), |text, line| text + line + "\n"))
}

/// Everything that apt reads and writes is in the folder; it checks signatures, and not how old the lists are.
fn configuration(folder: &Path, network: &str) -> String {
    let folder = folder.display();
    format!(
        "Dir::State \"{folder}/state\";\n\
         Dir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Etc \"{folder}/etc\";\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"\";\n\
         Acquire::Check-Valid-Until \"false\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"2\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         {network}"
    )
}

/// The names that the files of `Inst NAME (VERSION SUITE [ARCHITECTURE])` have in apt's cache; a `:` is kept as `%3a`.
fn parse_plan(plan: &str) -> impl Iterator<Item = String> {
    plan.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
        let (inside, _) = rest.split_once(')')?;
        let (version, rest) = inside.split_once(' ')?;
        let (_, architecture) = rest.rsplit_once('[')?;
        let architecture = architecture.strip_suffix(']')?;
        let version = version.replace(':', "%3a");
        Some(format!("{name}_{version}_{architecture}.deb"))
    })
}

/// The first error that apt names.
fn parse_reason(errors: &str) -> Option<&str> {
    errors.lines().find_map(|line| line.strip_prefix("E: "))
}

/// The name of the original archive among lines of `'URI' NAME SIZE HASH`.
fn parse_original(uris: &str) -> Option<String> {
    let names = uris.lines().filter_map(|line| {
        line.strip_prefix('\'')?
            .split_once("' ")?
            .1
            .split(' ')
            .next()
    });
    names
        .into_iter()
        .find(|name| name.contains(".orig.tar.") && !name.ends_with(".asc"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_the_files_in_the_order_of_installation() {
        let plan = "\
Inst libgcc-s1 (16.2.0-4 Debian:unstable [amd64]) []
Inst zlib1g (1:1.3.dfsg+really1.3.2-4 Debian:unstable [amd64])
Inst tzdata (2026f-1 Debian:unstable [all])
Inst libncursesw6 (6.6+20260608-2 Debian:13.1/stable, Debian:unstable [amd64])
Conf libgcc-s1 (16.2.0-4 Debian:unstable [amd64])
";
        let files: Vec<_> = parse_plan(plan).collect();
        assert_eq!(
            files,
            [
                "libgcc-s1_16.2.0-4_amd64.deb",
                "zlib1g_1%3a1.3.dfsg+really1.3.2-4_amd64.deb",
                "tzdata_2026f-1_all.deb",
                "libncursesw6_6.6+20260608-2_amd64.deb",
            ]
        );
    }

    #[test]
    fn a_plan_of_nothing_names_nothing() {
        assert_eq!(parse_plan("").count(), 0);
        assert_eq!(parse_plan("Inst \nInst x (\nInst x (1 )\n").count(), 0);
    }

    #[test]
    fn the_original_archive_is_told_from_its_signature() {
        let uris = "\
'http://deb.debian.org/debian/pool/main/p/python3.13/python3.13_3.13.5-2.dsc' python3.13_3.13.5-2.dsc 4298 SHA256:9b
'http://deb.debian.org/debian/pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz.asc' python3.13_3.13.5.orig.tar.xz.asc 963 SHA256:1a
'http://deb.debian.org/debian/pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz' python3.13_3.13.5.orig.tar.xz 22856016 SHA256:93
";
        assert_eq!(
            parse_original(uris).as_deref(),
            Some("python3.13_3.13.5.orig.tar.xz")
        );
        assert_eq!(parse_original("Reading package lists...\n"), None);
    }

    #[test]
    fn the_reason_of_a_failure_is_the_first_error() {
        let errors = "W: old\nE: Failed to fetch http://x/y.tar.xz  404  Not Found\nE: Failed to fetch some archives.\n";
        assert_eq!(
            parse_reason(errors),
            Some("Failed to fetch http://x/y.tar.xz  404  Not Found")
        );
        assert_eq!(parse_reason("W: old\n"), None);
    }

    #[test]
    fn the_configuration_keeps_the_machines_way_to_the_network() {
        let text = configuration(
            Path::new("/cache/sid"),
            "Acquire::http::Proxy \"http://[::1]:3128\";\n",
        );
        assert!(text.contains("Dir::State::status \"/cache/sid/status\";\n"));
        assert!(text.ends_with("Acquire::http::Proxy \"http://[::1]:3128\";\n"));
    }
}
