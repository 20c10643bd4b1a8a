//! What the arguments of `viperf record` mean on this machine.

use std::path::PathBuf;
use std::time::Duration;

use viperf_agent::RecordOptions;
use viperf_encode::{Format, Options};

use super::growing_file;
use super::live::{self, LivePage};
use crate::arguments::{OutputArguments, RecordArguments};
use crate::exit::Failure;
use crate::file_name::default_file_name;
use crate::output::{Destination, choose_format, encode_options};
use crate::output_format::OutputFormat;
use crate::sources::SourceArguments;

/// Everything decided before the first sample.
#[derive(Debug)]
pub(super) struct RecordPlan {
    pub(super) options: RecordOptions,
    pub(super) format: OutputFormat,
    pub(super) encode_options: Options,
    pub(super) destination: Destination,
    /// Where `--stats` goes.
    pub(super) statistics: Option<Destination>,
    /// The page that is served meanwhile.
    pub(super) live: Option<LivePage>,
    /// The current folder, left away from names that are shown.
    pub(super) folder: PathBuf,
    /// Read source text where the target has it.
    pub(super) embed_source: bool,
    /// Where else source text may be taken from.
    pub(super) sources: SourceArguments,
}

impl RecordPlan {
    /// Chooses target, format and file, and finds out whether the files can be written.
    pub(super) fn resolve(arguments: RecordArguments) -> Result<Self, Failure> {
        let RecordArguments {
            targets,
            rate,
            clock,
            duration,
            output: OutputArguments { output, format },
            no_native,
            no_kernel,
            inlines,
            shape,
            embed_source,
            sources,
            max_cpu,
            max_memory,
            live,
            port,
            open,
            stats,
        } = arguments;
        let target = targets.target();
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
                clock: clock.into(),
                duration,
                native: !no_native,
                kernel: !no_kernel,
                follow_children: !targets.no_children,
                name: targets.comm,
                inlined_functions: inlines,
                max_cpu,
                max_memory,
                grow_every: grow_every(live, format),
                command_output: None,
            },
            format,
            encode_options: encode_options(shape),
            live: live.then_some(LivePage { port, open }),
            destination: Destination::check(&path)?,
            statistics: stats.as_deref().map(Destination::check).transpose()?,
            folder: std::env::current_dir().unwrap_or_default(),
            embed_source,
            sources,
        })
    }
}

/// How often what is new is wanted: a live page and the native file want it, the other formats are written at the end.
fn grow_every(is_live: bool, format: OutputFormat) -> Option<Duration> {
    match format {
        OutputFormat::Encoded(Format::Viperf) => Some(growing_file::GROW_EVERY),
        _ => is_live.then_some(live::GROW_EVERY),
    }
}
