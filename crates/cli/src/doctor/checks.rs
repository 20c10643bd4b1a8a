//! What is looked at.

use std::fs;
use std::path::Path;

use viperf_agent::RecordError;
use viperf_process::{
    Capabilities, Capability, Pid, effective_capabilities, list_processes, read_comm, read_mappings,
};

use crate::exit::{KERNEL_LACKS, NOT_PERMITTED, code_of, describe, three_ways};

/// The first kernel that viperf has been run on; it has what cannot be replaced: the ring buffer and
/// the capabilities for BPF (both 5.8).
const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// From here on there is nothing to replace: <https://github.com/torvalds/linux/commit/dd6e10fbd9fb>.
const WHOLE_KERNEL: (u32, u32) = (5, 15);

/// Until here the memory of BPF maps counts as locked memory, which has a limit; from 5.11 on it counts for the cgroup.
const LOCKED_MEMORY_KERNEL: (u32, u32) = (5, 10);

/// What `viperf record` needs.
const NEEDED: [Capability; 3] = [Capability::BPF, Capability::PERFMON, Capability::SYS_PTRACE];

/// What makes its results better, and what is missing without it.
const USEFUL: [(Capability, &str); 3] = [
    (
        Capability::DAC_READ_SEARCH,
        "no names and no Python frames of files that only their owner may read",
    ),
    (
        Capability::CHECKPOINT_RESTORE,
        "no names and no Python frames of files that were deleted or replaced",
    ),
    (Capability::SYSLOG, "kernel frames have no names"),
];

/// As many processes are named; the rest is counted.
const PROCESSES_NAMED: usize = 5;

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    /// What was found, in a few words.
    pub(super) found: String,
}

/// Whether it is as viperf needs it.
#[derive(Debug)]
pub(super) enum Verdict {
    Well,
    /// `viperf record` works, but shows less.
    Limited {
        remedy: String,
    },
    /// `viperf record` ends with `code`.
    Missing {
        code: u8,
        remedy: String,
    },
}

impl Verdict {
    /// The code that `viperf record` would end with because of this.
    pub(super) fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Missing { code, .. } => Some(*code),
            Self::Well | Self::Limited { .. } => None,
        }
    }

    fn limited(remedy: &str) -> Self {
        Self::Limited {
            remedy: remedy.to_owned(),
        }
    }
}

/// Looks at everything.
pub(super) fn run_checks() -> Vec<Check> {
    let held = effective_capabilities().ok();
    vec![
        check_kernel(read_line("/proc/sys/kernel/osrelease").as_deref()),
        check_type_information(Path::new("/sys/kernel/btf/vmlinux").exists()),
        check_capabilities(
            held,
            read_line("/proc/sys/kernel/osrelease")
                .and_then(|release| parse_kernel_version(&release)),
        ),
        check_lockdown(read_line("/sys/kernel/security/lockdown").as_deref()),
        check_perf_events(
            read_line("/proc/sys/kernel/perf_event_paranoid").as_deref(),
            held,
        ),
        check_unprivileged_bpf(
            read_line("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref(),
            held,
        ),
        check_kernel_symbols(
            read_line("/proc/sys/kernel/kptr_restrict").as_deref(),
            viperf_agent::shows_kernel_addresses(),
        ),
        check_programs(viperf_agent::probe()),
        check_processes(&find_python_processes()),
    ]
}

fn read_line(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn check_kernel(release: Option<&str>) -> Check {
    let (major, minor) = OLDEST_KERNEL;
    let version = release.and_then(parse_kernel_version);
    let verdict = match version {
        Some(version) if version < OLDEST_KERNEL => Verdict::Missing {
            code: KERNEL_LACKS,
            remedy: format!("boot Linux {major}.{minor} or newer"),
        },
        Some(_) => Verdict::Well,
        None => Verdict::limited("the version cannot be told; the check `programs` decides"),
    };
    let older = match version {
        Some(version) if (OLDEST_KERNEL..WHOLE_KERNEL).contains(&version) => {
            ", with the programs for kernels before 5.15"
        }
        _ => "",
    };
    Check {
        name: "kernel",
        verdict,
        found: format!("Linux {}{older}", release.unwrap_or("unknown")),
    }
}

/// `6.1.0-28-amd64` is `(6, 1)`.
fn parse_kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn check_type_information(present: bool) -> Check {
    let (verdict, found) = match present {
        true => (Verdict::Well, "/sys/kernel/btf/vmlinux"),
        false => {
            let remedy = "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (those of the distributions are), \
                          and mount sysfs in the container";
            let code = KERNEL_LACKS;
            (
                Verdict::Missing {
                    code,
                    remedy: remedy.to_owned(),
                },
                "/sys/kernel/btf/vmlinux is missing",
            )
        }
    };
    Check {
        name: "BTF",
        verdict,
        found: found.to_owned(),
    }
}

fn check_capabilities(held: Option<Capabilities>, kernel: Option<(u32, u32)>) -> Check {
    let is_missing = |wanted: &Capability| !held.is_some_and(|held| held.has(*wanted));
    let mut needed = NEEDED.to_vec();
    if kernel.is_some_and(|kernel| kernel <= LOCKED_MEMORY_KERNEL) {
        needed.push(Capability::SYS_RESOURCE);
    }
    needed.retain(is_missing);
    let useful: Vec<_> = USEFUL.iter().filter(|(one, _)| is_missing(one)).collect();
    let names = |capabilities: Vec<&str>| format!("{} missing", capabilities.join(", "));
    let (verdict, found) = if !needed.is_empty() {
        let verdict = Verdict::Missing {
            code: NOT_PERMITTED,
            remedy: three_ways(),
        };
        (
            verdict,
            names(needed.iter().map(|one| one.name()).collect()),
        )
    } else if !useful.is_empty() {
        let lost: Vec<_> = useful
            .iter()
            .map(|(one, lost)| format!("without {one}: {lost}"))
            .collect();
        let found = names(useful.iter().map(|(one, _)| one.name()).collect());
        (Verdict::limited(&lost.join("\n")), found)
    } else {
        (Verdict::Well, "all that are used".to_owned())
    };
    Check {
        name: "capabilities",
        verdict,
        found,
    }
}

/// `none [integrity] confidentiality`: the one in brackets holds; `confidentiality` forbids BPF to read
/// memory. The file is missing where the kernel has no lockdown.
fn check_lockdown(modes: Option<&str>) -> Check {
    let mode = modes.and_then(|modes| modes.split_once('[')?.1.split_once(']'));
    let mode = mode.map_or("none", |(mode, _)| mode);
    let verdict = match mode {
        "confidentiality" => Verdict::Missing {
            code: NOT_PERMITTED,
            remedy: "boot without lockdown=confidentiality: it forbids BPF programs to read memory"
                .to_owned(),
        },
        _ => Verdict::Well,
    };
    Check {
        name: "lockdown",
        verdict,
        found: mode.to_owned(),
    }
}

/// The sysctl only binds those without `CAP_PERFMON`, whom the check of capabilities has told already.
fn check_perf_events(paranoid: Option<&str>, held: Option<Capabilities>) -> Check {
    let free = held.is_some_and(|held| held.has(Capability::PERFMON));
    let (verdict, found) = match paranoid {
        None => (
            Verdict::Missing {
                code: KERNEL_LACKS,
                remedy: "boot a kernel built with CONFIG_PERF_EVENTS=y".to_owned(),
            },
            "there are none".to_owned(),
        ),
        Some(level) if free => (
            Verdict::Well,
            format!("perf_event_paranoid is {level}, CAP_PERFMON overrides it"),
        ),
        Some(level) => (
            Verdict::limited("events of the whole machine need CAP_PERFMON; see capabilities"),
            format!("perf_event_paranoid is {level}"),
        ),
    };
    Check {
        name: "perf events",
        verdict,
        found,
    }
}

fn check_unprivileged_bpf(disabled: Option<&str>, held: Option<Capabilities>) -> Check {
    let free = held.is_some_and(|held| held.has(Capability::BPF));
    let (verdict, found) = match disabled {
        None => (
            Verdict::Missing {
                code: KERNEL_LACKS,
                remedy: "boot a kernel built with CONFIG_BPF_SYSCALL=y".to_owned(),
            },
            "there is none".to_owned(),
        ),
        Some(value) if free => (
            Verdict::Well,
            format!("unprivileged_bpf_disabled is {value}, CAP_BPF overrides it"),
        ),
        Some(value) => (
            Verdict::limited("programs that sample need CAP_BPF; see capabilities"),
            format!("unprivileged_bpf_disabled is {value}"),
        ),
    };
    Check {
        name: "BPF",
        verdict,
        found,
    }
}

/// Whether `/proc/kallsyms` shows addresses (without them nothing of the kernel is named), which hangs on `kptr_restrict`, `perf_event_paranoid` and
/// `CAP_SYSLOG`: <https://github.com/torvalds/linux/blob/v6.12/kernel/ksyms_common.c#L29-L43>.
fn check_kernel_symbols(restrict: Option<&str>, is_shown: bool) -> Check {
    let verdict = match (is_shown, restrict) {
        (true, _) => Verdict::Well,
        (false, Some("2")) => {
            Verdict::limited("kernel frames have no names: sysctl kernel.kptr_restrict=1")
        }
        (false, _) => {
            Verdict::limited("kernel frames have no names: run as root or with CAP_SYSLOG")
        }
    };
    let found = if is_shown { "shown" } else { "hidden" };
    Check {
        name: "kernel symbols",
        verdict,
        found: format!(
            "{found} (kptr_restrict is {})",
            restrict.unwrap_or("unknown")
        ),
    }
}

/// Whether the programs load and the timer opens: the kernel's own word, which settles the rest.
fn check_programs(probe: Result<(), RecordError>) -> Check {
    let (verdict, found) = match probe {
        Ok(()) => (Verdict::Well, "loaded, and the timer opens".to_owned()),
        Err(error) => {
            let remedy = match &error {
                RecordError::NotPermitted { .. } => "see capabilities above",
                RecordError::NoBtf | RecordError::KernelLacks { .. } => "boot a newer kernel",
                _ => "please report this with the output of `viperf doctor --json`",
            };
            let code = code_of(&error);
            (
                Verdict::Missing {
                    code,
                    remedy: remedy.to_owned(),
                },
                describe(&error),
            )
        }
    };
    Check {
        name: "programs",
        verdict,
        found,
    }
}

/// The processes that have an executable mapping called like a Python interpreter.
fn find_python_processes() -> Vec<(Pid, String)> {
    let own = Pid(std::process::id());
    let runs_python = |pid: &Pid| {
        read_mappings(*pid).is_ok_and(|mappings| {
            mappings
                .iter()
                .any(|mapping| mapping.executable && is_interpreter(&mapping.path))
        })
    };
    list_processes()
        .into_iter()
        .filter(|pid| *pid != own && runs_python(pid))
        .map(|pid| (pid, read_comm(pid).unwrap_or_default()))
        .collect()
}

/// `python3.11`, `libpython3.13.so.1.0`; not `python-something`.
fn is_interpreter(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let rest = name
        .strip_prefix("lib")
        .unwrap_or(&name)
        .strip_prefix("python");
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(|first: char| first.is_ascii_digit())
    })
}

fn check_processes(processes: &[(Pid, String)]) -> Check {
    let named: Vec<String> = processes
        .iter()
        .take(PROCESSES_NAMED)
        .map(|(pid, name)| format!("{name} ({pid})"))
        .collect();
    let more = processes.len().saturating_sub(PROCESSES_NAMED);
    let (verdict, found) = match (named.is_empty(), more) {
        (true, _) => (
            Verdict::limited(
                "start one, or `viperf record -- python3 app.py`; in a container, --pid=host shows those outside",
            ),
            "none seen".to_owned(),
        ),
        (false, 0) => (Verdict::Well, named.join(", ")),
        (false, more) => (
            Verdict::Well,
            format!("{} and {more} more", named.join(", ")),
        ),
    };
    Check {
        name: "Python processes",
        verdict,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_compared_as_numbers() {
        assert_eq!(parse_kernel_version("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(parse_kernel_version("5.15.0-rc1"), Some((5, 15)));
        assert_eq!(parse_kernel_version("6.12"), Some((6, 12)));
        assert_eq!(parse_kernel_version("unknown"), None);
        assert_eq!(check_kernel(Some("5.4.0-1")).verdict.exit_code(), Some(5));
        assert_eq!(check_kernel(Some("5.10.0-46")).verdict.exit_code(), None);
        assert!(
            check_kernel(Some("5.10.0-46"))
                .found
                .contains("before 5.15")
        );
        assert_eq!(check_kernel(Some("5.15.1")).found, "Linux 5.15.1");
        assert_eq!(check_kernel(Some("10.2")).verdict.exit_code(), None);
    }

    #[test]
    fn missing_type_information_is_the_kernels_lack() {
        assert_eq!(check_type_information(false).verdict.exit_code(), Some(5));
        assert_eq!(check_type_information(true).verdict.exit_code(), None);
    }

    #[test]
    fn unknown_capabilities_count_as_missing() {
        let check = check_capabilities(None, Some((6, 1)));
        assert_eq!(check.verdict.exit_code(), Some(3));
        assert_eq!(check.found, "CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE missing");
    }

    #[test]
    fn locked_memory_is_a_matter_of_old_kernels() {
        let check = check_capabilities(None, Some((5, 10)));
        assert!(check.found.contains("CAP_SYS_RESOURCE"), "{}", check.found);
    }

    #[test]
    fn only_confidentiality_locks_viperf_out() {
        let code = |modes| check_lockdown(modes).verdict.exit_code();
        assert_eq!(code(Some("none integrity [confidentiality]")), Some(3));
        assert_eq!(code(Some("none [integrity] confidentiality")), None);
        assert_eq!(code(Some("[none] integrity confidentiality")), None);
        assert_eq!(code(None), None);
    }

    #[test]
    fn hidden_kernel_addresses_limit_but_do_not_forbid() {
        let check = check_kernel_symbols(Some("2"), false);
        assert!(matches!(check.verdict, Verdict::Limited { .. }));
    }

    #[test]
    fn an_interpreter_is_known_by_its_name() {
        for yes in [
            "/usr/bin/python3.11",
            "/lib/libpython3.13.so.1.0",
            "/x/python",
        ] {
            assert!(is_interpreter(Path::new(yes)), "{yes}");
        }
        for no in [
            "/usr/bin/python-config",
            "/lib/libpythonic.so",
            "/usr/bin/bash",
            "/",
        ] {
            assert!(!is_interpreter(Path::new(no)), "{no}");
        }
    }

    #[test]
    fn a_python_process_that_runs_is_seen() {
        let mut child = match std::process::Command::new("python3")
            .args(["-c", "import sys; sys.stdin.read()"])
            .stdin(std::process::Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(error) => {
                eprintln!("skipped: python3 cannot be started: {error}");
                return;
            }
        };
        let pid = Pid(child.id());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut seen = false;
        while !seen && std::time::Instant::now() < deadline {
            seen = find_python_processes()
                .iter()
                .any(|(found, _)| *found == pid);
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(seen);
    }

    #[test]
    fn many_processes_are_counted() {
        let processes: Vec<(Pid, String)> =
            (1..=7).map(|pid| (Pid(pid), "app".to_owned())).collect();
        let found = check_processes(&processes).found;
        assert!(
            found.starts_with("app (1), ") && found.ends_with(" and 2 more"),
            "{found}"
        );
    }
}
