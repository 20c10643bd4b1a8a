//! What the arguments of `viperf record` mean on this machine.

use std::path::PathBuf;

use viperf_agent::{RecordOptions, Target};
use viperf_encode::Options;

use crate::arguments::{OutputArguments, RecordArguments};
use crate::exit::Failure;
use crate::file_name::default_file_name;
use crate::output::{Destination, choose_format, encode_options};
use crate::output_format::OutputFormat;

/// Everything decided before the first sample.
#[derive(Debug)]
pub(super) struct RecordPlan {
    pub(super) options: RecordOptions,
    pub(super) format: OutputFormat,
    pub(super) encode_options: Options,
    pub(super) destination: Destination,
    /// Where `--stats` goes.
    pub(super) statistics: Option<Destination>,
    /// The current folder, left away from names that are shown.
    pub(super) folder: PathBuf,
}

impl RecordPlan {
    /// Chooses target, format and file, and finds out whether the files can be written.
    pub(super) fn resolve(arguments: RecordArguments) -> Result<Self, Failure> {
        let RecordArguments {
            pids,
            // What no target means, said aloud.
            all: _,
            no_children,
            rate,
            duration,
            output: OutputArguments { output, format },
            no_native,
            no_kernel,
            inlines,
            shape,
            stats,
            command,
        } = arguments;
        let target = choose_target(pids, command);
        let (path, format) = match output {
            Some(path) => {
                let format = choose_format(format, &path)?;
                (path, format)
            }
            None => {
                let format = format.unwrap_or(OutputFormat::HTML);
                (default_file_name(&target, format), format)
            }
        };
        Ok(Self {
            options: RecordOptions {
                target,
                rate_hz: rate,
                duration,
                native: !no_native,
                kernel: !no_kernel,
                follow_children: !no_children,
                inlined_functions: inlines,
            },
            format,
            encode_options: encode_options(shape),
            destination: Destination::check(&path)?,
            statistics: stats.as_deref().map(Destination::check).transpose()?,
            folder: std::env::current_dir().unwrap_or_default(),
        })
    }
}

fn choose_target(mut pids: Vec<u32>, command: Vec<std::ffi::OsString>) -> Target {
    if !command.is_empty() {
        return Target::Command(command);
    }
    if pids.is_empty() {
        return Target::EveryPython;
    }
    pids.sort_unstable();
    pids.dedup();
    Target::Pids(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_target_every_python_is_meant() {
        assert!(matches!(choose_target(vec![], vec![]), Target::EveryPython));
        assert!(matches!(
            choose_target(vec![], vec!["x".into()]),
            Target::Command(_)
        ));
    }

    #[test]
    fn a_process_named_twice_is_one_target() {
        let Target::Pids(pids) = choose_target(vec![2, 1, 2], vec![]) else {
            panic!("not processes");
        };
        assert_eq!(pids, [1, 2]);
    }
}
