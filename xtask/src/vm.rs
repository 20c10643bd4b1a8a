//! viperf on Debian's kernels, each in a virtual machine: the programs load, and a live stack of Python, C and kernel has
//! its true order and shares there.
//!
//! The machine is QEMU without acceleration, so that it runs wherever QEMU does; what it says of time is meaningless, what it
//! says of stacks is not. `VIPERF_VM_ACCELERATOR=kvm` takes another accelerator where that works.

mod initramfs;
mod kernels;
mod table;
mod verdict;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub(crate) use self::kernels::Kernel;
use self::table::Figures;
use crate::{command, say, tally::Tally, tree};

/// Seconds that one machine may take; some twenty are usual.
const PATIENCE: u32 = 240;
/// Lines of the console that are shown of a machine that failed.
const LINES_SHOWN: usize = 25;

/// Boots each kernel and counts it as one test.
///
/// # Errors
/// The file system of the machine cannot be made.
pub(crate) fn run(kernels: &[Kernel], tally: &mut Tally) -> Result<()> {
    let Some(emulator) = kernels::find_emulator() else {
        skip(
            tally,
            "vm",
            "no qemu-system-x86_64 (apt-get install qemu-system-x86)",
        );
        return Ok(());
    };
    let writes = env::var_os("VIPERF_WRITE_KERNELS").is_some_and(|value| value == "1");
    let folder = tree::root().join("target/vm");
    fs::create_dir_all(&folder)?;
    let archive = folder.join("initramfs.cpio");
    initramfs::write(&archive, &programs(&folder, writes)?)?;
    let mut figures = Vec::new();
    for kernel in kernels {
        let name = format!("vm/{}", kernel.name());
        let image = match kernel.image(&cache()) {
            Ok(image) => image,
            Err(error) => {
                skip(tally, &name, &format!("no kernel: {error:#}"));
                continue;
            }
        };
        let start = Instant::now();
        let console = run_to_its_end(&name, tally, || boot(emulator, &image, &archive));
        let told = console.and_then(|console| {
            let told = verdict::judge(&console.results);
            told.with_context(|| console.last_lines.join("\n"))
        });
        let seconds = start.elapsed().as_secs();
        match told {
            Ok(told) => {
                say(&format!("figure: {name}: {} ({seconds} s)", told.summary));
                tally.check(&name, &[]);
                figures.extend(
                    told.verifier
                        .map(|verifier| Figures::new(&told.release, &verifier)),
                );
            }
            Err(error) => tally.fail(&format!("{name}: {error:#} ({seconds} s)")),
        }
    }
    if writes {
        fs::write(
            tree::root().join("docs/kernels.md"),
            table::render(&figures),
        )?;
    }
    fs::remove_file(&archive)?;
    Ok(())
}

fn skip(tally: &mut Tally, name: &str, why: &str) {
    let line = format!("skipped: {name}: {why}");
    say(&line);
    tally.read_line(&line);
}

/// What goes into the machine's `/bin`.
fn programs(folder: &Path, with_verifier: bool) -> Result<Vec<PathBuf>> {
    let built =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree::root().join("target"), PathBuf::from);
    let viperf =
        env::var_os("VIPERF_BIN").map_or_else(|| built.join("release/viperf"), PathBuf::from);
    ensure!(
        viperf.exists(),
        "{} is missing: cargo build --release",
        viperf.display()
    );
    let mut programs = vec![initramfs::strip(&viperf, folder)?];
    if with_verifier {
        let mut build = Command::new("cargo");
        build
            .current_dir(tree::root())
            .args(["build", "--package", "viperf-sample"])
            .args(["--example", "verifier_figures"]);
        command::run(&mut build)?;
        programs.push(initramfs::strip(
            &built.join("debug/examples/verifier_figures"),
            folder,
        )?);
    }
    Ok(programs)
}

/// Where fetched kernels are kept, for every checkout of the machine.
fn cache() -> PathBuf {
    viperf_e2e::interpreter_set().with_file_name("kernels-1")
}

/// What the machine said.
#[derive(Default)]
struct Console {
    results: Vec<Value>,
    last_lines: Vec<String>,
}

impl Console {
    /// Its first process came to its end, whatever it found.
    fn has_ended(&self) -> bool {
        self.results.iter().any(|result| result["what"] == "end")
    }
}

/// Runs a machine; one whose kernel panicked or hung, which an emulated processor can be the reason of, once more, and the end
/// of the run names it. What viperf did wrong on a machine that came to its end is never asked twice.
fn run_to_its_end(
    name: &str,
    tally: &mut Tally,
    mut boot: impl FnMut() -> Result<Console>,
) -> Result<Console> {
    let console = boot()?;
    if console.has_ended() {
        return Ok(console);
    }
    let last_lines = console.last_lines.join("\n");
    say(&format!(
        "{name}: the machine panicked or hung, and is started once more; it said last:\n{last_lines}"
    ));
    tally.note(format!(
        "started twice, for the machine panicked or hung: {name}"
    ));
    let console = boot()?;
    ensure!(
        console.has_ended(),
        "the machine panicked or hung (within {PATIENCE} s), twice:\n{}",
        console.last_lines.join("\n")
    );
    Ok(console)
}

fn boot(emulator: &str, image: &Path, archive: &Path) -> Result<Console> {
    let accelerator = env::var("VIPERF_VM_ACCELERATOR");
    let accelerator = accelerator.unwrap_or_else(|_| "tcg,thread=multi".to_owned());
    let mut machine = Command::new("timeout");
    machine
        .args([&PATIENCE.to_string(), emulator, "-accel", &accelerator])
        .args(["-cpu", "max", "-m", "2G", "-smp", "2"])
        .args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"])
        .args(["-serial", "stdio", "-kernel"])
        .arg(image)
        .arg("-initrd")
        .arg(archive)
        .args([
            "-append",
            "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off nokaslr",
        ]);
    let mut console = Console::default();
    // However the emulator itself ends: what counts is what the machine said.
    command::stream(&mut machine, |line| {
        let line = line.trim_matches(['\r', '\n', '\0']);
        match line.split_once("VIPERF {") {
            Some((_, result)) => {
                if let Ok(value) = serde_json::from_str(&format!("{{{result}")) {
                    console.results.push(value);
                }
            }
            None if line.is_empty() => {}
            None => {
                if console.last_lines.len() == LINES_SHOWN {
                    console.last_lines.remove(0);
                }
                console.last_lines.push(line.to_owned());
            }
        }
    })?;
    Ok(console)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The machines that are started, one after the other, and what comes of them.
    fn run(machines: &[&[&str]]) -> (Result<Console>, usize, Vec<String>) {
        let mut started = 0;
        let boot = || {
            let results = machines[started].iter().map(|what| json!({"what": what}));
            started += 1;
            Ok(Console {
                results: results.collect(),
                last_lines: vec![format!("machine {started}")],
            })
        };
        let mut tally = Tally::default();
        let console = run_to_its_end("vm/test", &mut tally, boot);
        (console, started, tally.last_lines())
    }

    #[test]
    fn a_machine_that_died_is_started_once_more_and_no_other() {
        let (console, started, lines) = run(&[&["kernel"], &["kernel", "process", "end"]]);
        assert_eq!(
            (console.unwrap().last_lines, started),
            (vec!["machine 2".to_owned()], 2)
        );
        assert_eq!(
            lines[0],
            "started twice, for the machine panicked or hung: vm/test"
        );
        let (console, started, lines) = run(&[&["kernel", "broken", "end"]]);
        assert_eq!((console.unwrap().results.len(), started), (3, 1));
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_machine_that_dies_twice_is_a_failure() {
        let (console, started, _) = run(&[&[], &["kernel"]]);
        assert!(
            console
                .err()
                .is_some_and(|error| error.to_string().ends_with("machine 2"))
        );
        assert_eq!(started, 2);
    }
}
