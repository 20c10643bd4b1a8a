//! Whom to profile: the arguments that `record` and every other verb that samples share.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use viperf_agent::Target;

/// Targets, one definition for all verbs.
#[derive(Clone, Debug, Args)]
pub(crate) struct TargetArguments {
    /// Profile this process (repeat it, or give a list with commas) [default: every Python process]
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',')]
    #[arg(conflicts_with = "command", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pids: Vec<u32>,

    /// Profile every Python process of the machine, also those that start later; so it is without a target
    #[arg(short, long, conflicts_with_all = ["pids", "command"])]
    pub(crate) all: bool,

    /// With -a, profile what is not Python, too: every process of the machine and the kernel's own threads
    #[arg(long, requires = "all")]
    pub(crate) no_python_only: bool,

    /// Profile what runs in this control group and below it: a folder below /sys/fs/cgroup, or its path from there
    #[arg(long, value_name = "PATH", conflicts_with_all = ["pids", "all", "command"])]
    pub(crate) cgroup: Option<PathBuf>,

    /// Profile what runs in this container, by the beginning of its ID (LXC, systemd-nspawn: its name)
    #[arg(long, value_name = "ID", conflicts_with_all = ["pids", "all", "command", "cgroup"])]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) container: Option<String>,

    /// Of the targets, only processes that the kernel knows by this name, such as `gunicorn` (`ps -o comm`)
    #[arg(long, value_name = "NAME")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) comm: Option<String>,

    /// Do not follow the processes that a target starts
    #[arg(long)]
    pub(crate) no_children: bool,

    /// Start this program and profile it; its output and exit code pass through
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl TargetArguments {
    /// Whom they mean.
    pub(crate) fn target(&self) -> Target {
        if !self.command.is_empty() {
            return Target::Command(self.command.clone());
        }
        if let Some(path) = &self.cgroup {
            return Target::ControlGroup(path.clone());
        }
        if let Some(prefix) = &self.container {
            return Target::Container(prefix.clone());
        }
        if self.pids.is_empty() {
            return match self.no_python_only {
                true => Target::EveryProcess,
                false => Target::EveryPython,
            };
        }
        let mut pids = self.pids.clone();
        pids.sort_unstable();
        pids.dedup();
        Target::Pids(pids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(pids: &[u32], command: &[&str]) -> TargetArguments {
        TargetArguments {
            pids: pids.to_vec(),
            all: false,
            no_python_only: false,
            cgroup: None,
            container: None,
            comm: None,
            no_children: false,
            command: command.iter().map(OsString::from).collect(),
        }
    }

    #[test]
    fn without_a_target_every_python_is_meant() {
        assert_eq!(arguments(&[], &[]).target(), Target::EveryPython);
        assert_eq!(
            arguments(&[], &["x"]).target(),
            Target::Command(vec!["x".into()])
        );
    }

    #[test]
    fn a_process_named_twice_is_one_target() {
        assert_eq!(
            arguments(&[2, 1, 2], &[]).target(),
            Target::Pids(vec![1, 2])
        );
    }
}
