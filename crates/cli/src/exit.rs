//! How viperf ends: the exit codes, and the one line that says what happened and what to do.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::Mutex;

use viperf_agent::RecordError;

use crate::terminal;

/// viperf itself failed.
const FAILED: u8 = 1;
/// The command line makes no sense.
const WRONG_USAGE: u8 = 2;
/// Something is not permitted.
pub(crate) const NOT_PERMITTED: u8 = 3;
/// There is no such process, container or command.
const NOT_FOUND: u8 = 4;
/// The kernel lacks something.
pub(crate) const KERNEL_LACKS: u8 = 5;

/// The code a run ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExitStatus(pub(crate) u8);

impl ExitStatus {
    pub(crate) const DONE: Self = Self(0);

    /// The code a shell would give for a command that ended with `status`: its own, or 128 + N if
    /// signal N ended it.
    pub(crate) fn of_command(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .and_then(|code| u8::try_from(code).ok());
        Self(code.unwrap_or(FAILED))
    }
}

/// Why viperf ends without having done what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    /// What happened and what to do, one line unless there is a choice of remedies.
    message: String,
}

impl Failure {
    /// viperf failed: code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: FAILED,
            message: message.into(),
        }
    }

    /// What happened and what to do.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The command line makes no sense: code 2.
    pub(crate) fn wrong_usage(message: impl Into<String>) -> Self {
        Self {
            code: WRONG_USAGE,
            message: message.into(),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let remedy = match &error {
            RecordError::NotPermitted { .. } => {
                format!("; three ways to be permitted:\n{}", three_ways())
            }
            RecordError::NoSuchProcess { .. } => {
                "; `viperf doctor` lists the Python processes it sees".to_owned()
            }
            RecordError::CommandNotStarted { .. } => {
                "; is it installed, and is its name right?".to_owned()
            }
            _ => String::new(),
        };
        Self {
            code: code_of(&error),
            message: describe(&error) + &remedy,
        }
    }
}

/// What happened, in one line.
pub(crate) fn describe(error: &RecordError) -> String {
    let RecordError::NotPermitted { what, missing } = error else {
        return error.to_string();
    };
    let why = match missing.as_slice() {
        [] => {
            "the kernel refuses in spite of all capabilities (a container, or a locked-down kernel)"
                .to_owned()
        }
        missing => format!("{} missing", missing.join(", ")),
    };
    format!("not permitted ({what}): {why}")
}

/// The exit code that tells a script what went wrong.
pub(crate) fn code_of(error: &RecordError) -> u8 {
    match error {
        RecordError::NotPermitted { .. } => NOT_PERMITTED,
        RecordError::NoSuchProcess { .. }
        | RecordError::Thread { .. }
        | RecordError::NoControlGroup { .. }
        | RecordError::NoContainer { .. }
        | RecordError::CommandNotStarted { .. } => NOT_FOUND,
        RecordError::NoBtf | RecordError::KernelLacks { .. } | RecordError::NoTick { .. } => {
            KERNEL_LACKS
        }
        RecordError::PidNamespace
        | RecordError::NoThread { .. }
        | RecordError::Sample(_)
        | RecordError::Process(_) => FAILED,
    }
}

/// The three ways to be permitted.
pub(crate) fn three_ways() -> String {
    let program = std::env::current_exe().map_or_else(
        |_unknown| "viperf".to_owned(),
        |path| path.display().to_string(),
    );
    format!(
        "  run it as root:         sudo {program} …\n  \
         give the capabilities:  sudo setcap {CAPABILITIES}+ep {program}\n  \
         in a container:         docker run --pid=host --cap-add BPF --cap-add PERFMON --cap-add SYS_PTRACE \
         --cap-add DAC_READ_SEARCH --cap-add CHECKPOINT_RESTORE --cap-add SYSLOG …"
    )
}

/// What viperf uses, in the spelling of `setcap`.
const CAPABILITIES: &str = "cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search,\
                            cap_checkpoint_restore,cap_syslog";

/// Runs a verb, says why it failed if it did, and gives the exit code. A panic is shown as one line.
pub(crate) fn run(verb: impl FnOnce() -> Result<ExitStatus, Failure>) -> ExitCode {
    panic::set_hook(Box::new(remember_place));
    let result = panic::catch_unwind(AssertUnwindSafe(verb))
        .unwrap_or_else(|payload| Err(internal_error(payload.as_ref())));
    match result {
        Ok(ExitStatus(code)) => ExitCode::from(code),
        Err(Failure { code, message }) => {
            terminal::say(&message);
            ExitCode::from(code)
        }
    }
}

/// Where the last panic came from. The symbolizer catches those of the parsers it calls, so a panic is
/// shown only when it arrives in [`run`].
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

fn remember_place(panic: &PanicHookInfo<'_>) {
    if let (Some(place), Ok(mut last)) = (panic.location(), LAST_PANIC.lock()) {
        *last = place.to_string();
    }
}

fn internal_error(payload: &(dyn Any + Send)) -> Failure {
    let what = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown");
    let place = LAST_PANIC
        .lock()
        .map(|place| place.clone())
        .unwrap_or_default();
    Failure::failed(format!(
        "internal error at {place}: {what}; please report it at {}/issues",
        env!("CARGO_PKG_REPOSITORY")
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn the_commands_own_code_passes_through() {
        let status = |raw| ExitStatus::of_command(std::process::ExitStatus::from_raw(raw));
        assert_eq!(status(0), ExitStatus(0));
        assert_eq!(status(7 << 8), ExitStatus(7));
        assert_eq!(status(255 << 8), ExitStatus(255));
        assert_eq!(status(libc::SIGINT), ExitStatus(130));
        assert_eq!(status(libc::SIGKILL), ExitStatus(137));
    }

    #[test]
    fn a_missing_process_and_a_missing_command_end_with_four() {
        let missing = Failure::from(RecordError::NoSuchProcess { pid: 7 });
        assert_eq!(missing.code, 4);
        assert!(missing.message.contains('7'));
        let command = Failure::from(RecordError::CommandNotStarted {
            command: "nowhere".into(),
            source: std::io::Error::from_raw_os_error(libc::ENOENT),
        });
        assert_eq!(command.code, 4);
        assert!(command.message.contains("nowhere"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |missing: &[&str]| {
            let missing = missing.iter().map(ToString::to_string).collect();
            let what = "loading BPF programs".to_owned();
            Failure::from(RecordError::NotPermitted { what, missing })
        };
        let failure = refused(&["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(failure.code, 3);
        let expected =
            "not permitted (loading BPF programs): CAP_BPF, CAP_PERFMON missing; three ways";
        assert!(failure.message.starts_with(expected), "{failure:?}");
        assert!(
            refused(&[])
                .message
                .contains("in spite of all capabilities")
        );
    }

    #[test]
    fn a_kernel_without_btf_ends_with_five() {
        assert_eq!(Failure::from(RecordError::NoBtf).code, 5);
    }

    #[test]
    fn not_permitted_ends_with_three_and_names_three_ways() {
        let ways = three_ways();
        for way in [
            "sudo ",
            "setcap cap_bpf,cap_perfmon,cap_sys_ptrace,",
            "--pid=host",
        ] {
            assert!(ways.contains(way), "{ways}");
        }
    }
}
