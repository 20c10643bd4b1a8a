//! The name of a profile that was given none: `viperf-NAME-YYYYmmdd-HHMMSS.html`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use viperf_agent::Target;
use viperf_process::{Pid, read_command_line};

use crate::output_format::OutputFormat;

/// A name longer than this is cut.
const LONGEST_NAME: usize = 40;

/// A name in the current folder that says what was profiled and when, in local time.
pub(crate) fn default_file_name(target: &Target, format: OutputFormat) -> PathBuf {
    let suffix = format.suffix();
    let name = plain_name(&target_name(target));
    PathBuf::from(format!("viperf-{name}-{}{suffix}", local_time_stamp()))
}

fn target_name(target: &Target) -> String {
    match target {
        Target::EveryPython => "python".to_owned(),
        Target::EveryProcess => "machine".to_owned(),
        Target::ControlGroup(path) => {
            let name = path.file_name().unwrap_or(OsStr::new("cgroup"));
            name.to_string_lossy().into_owned()
        }
        Target::Container(prefix) => prefix.chars().take(12).collect(),
        Target::Command(command) => command_name(command),
        Target::Pids(pids) => match pids.as_slice() {
            [pid, ..] => process_name(Pid(*pid)),
            [] => "python".to_owned(),
        },
    }
}

/// What a running process is called, its number if it has gone.
fn process_name(pid: Pid) -> String {
    match read_command_line(pid) {
        Ok(command) if !command.is_empty() => command_name(&command),
        _ => pid.to_string(),
    }
}

/// The script or module that a Python command runs, else the program's own name.
fn command_name(command: &[impl AsRef<OsStr>]) -> String {
    let stem = |text: &OsStr| {
        let stem = Path::new(text).file_stem().unwrap_or(text);
        stem.to_string_lossy().into_owned()
    };
    let mut words = command.iter().map(AsRef::as_ref);
    let program = words.next().map(Path::new).and_then(Path::file_name);
    let program = program.unwrap_or_default().to_string_lossy().into_owned();
    if !program.starts_with("python") && !program.starts_with("pypy") {
        return stem(OsStr::new(&program));
    }
    while let Some(word) = words.next() {
        match word.to_string_lossy().as_ref() {
            "-c" | "-" => break,
            "-m" => {
                return words
                    .next()
                    .map_or(program, |module| module.to_string_lossy().into_owned());
            }
            // These take a value of their own.
            "-W" | "-X" | "--check-hash-based-pycs" => drop(words.next()),
            option if option.starts_with('-') => {}
            _script => return stem(word),
        }
    }
    program
}

/// Only what is safe in a file name and needs no quotes in a shell.
fn plain_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .take(LONGEST_NAME)
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => character,
            _ => '-',
        })
        .collect();
    let trimmed = plain.trim_matches(['-', '.']);
    if trimmed.is_empty() {
        "python"
    } else {
        trimmed
    }
    .to_owned()
}

/// `20260131-235959`.
fn local_time_stamp() -> String {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = libc::time_t::try_from(since_epoch.as_secs()).unwrap_or(0);
    // SAFETY: `tm` is plain numbers and a pointer, for which all zeroes is a value.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type, and `localtime_r` keeps neither.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut local) };
    format!(
        "{:04}{:02}{:02}-{:02}{:02}{:02}",
        local.tm_year + 1900,
        local.tm_mon + 1,
        local.tm_mday,
        local.tm_hour,
        local.tm_min,
        local.tm_sec
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_command_is_named_after_its_script_or_module() {
        assert_eq!(command_name(&["python3", "dir/app.py", "x.py"]), "app");
        assert_eq!(
            command_name(&["/usr/bin/python3.11", "-m", "http.server"]),
            "http.server"
        );
        assert_eq!(
            command_name(&["python3", "-X", "dev", "-u", "app.py"]),
            "app"
        );
        assert_eq!(command_name(&["python3", "-c", "pass"]), "python3");
        assert_eq!(command_name(&["python3.11"]), "python3.11");
        assert_eq!(command_name(&["./venv/bin/gunicorn", "app"]), "gunicorn");
    }

    #[test]
    fn strange_names_become_plain_ones() {
        assert_eq!(plain_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(plain_name("a b;c"), "a-b-c");
        assert_eq!(plain_name("ü"), "python");
        assert_eq!(plain_name(&"x".repeat(100)).len(), LONGEST_NAME);
    }

    #[test]
    fn the_name_says_what_and_when_and_ends_in_the_format() {
        let name = default_file_name(&Target::EveryPython, OutputFormat::HTML);
        let name = name.to_str().unwrap();
        let stamp = name
            .strip_prefix("viperf-python-")
            .unwrap()
            .strip_suffix(".html")
            .unwrap();
        let shape: Vec<usize> = stamp.split('-').map(str::len).collect();
        assert_eq!(shape, [8, 6]);
        assert!(stamp.starts_with("20"));
    }
}
