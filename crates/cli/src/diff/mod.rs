//! `viperf diff`: what changed between two profiles.

mod written;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use viperf_profile::{Normalization, Pair};
use viperf_report::{DiffOptions, DiffReport};

use crate::exit::{ExitStatus, Failure};
use crate::report::{
    FilterArguments, FormArguments, failure, parse_percent, quoted, read_filtered,
};
use crate::{progress, terminal};

use written::DiffFormat;

/// `viperf diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The profile to compare with
    #[arg(value_name = "BASE")]
    base: PathBuf,

    /// The profile to judge
    #[arg(value_name = "NEW")]
    new: PathBuf,

    /// Compare shares of all samples, or time per second of recording
    #[arg(long, value_name = "BY", default_value = "samples")]
    normalize: Normalize,

    /// End with code 1 if a function grew by more than this part of the whole, beyond chance
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    fail_above: Option<f64>,

    /// Rows of each table
    #[arg(short = 'n', long, value_name = "ROWS", default_value_t = 15)]
    limit: usize,

    /// Show what chance explains, too
    #[arg(long)]
    all: bool,

    /// Write to FILE, in the format of its name: .html is a page, .folded are stacks with both counts, .json, .md and .txt
    /// are what is printed; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write this format, whatever FILE is called: `html`, `folded`, `json`, `md`, `txt`
    #[arg(long, value_name = "FORMAT", requires = "output")]
    format: Option<DiffFormat>,

    #[command(flatten)]
    filter: FilterArguments,

    #[command(flatten)]
    form: FormArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Normalize {
    Samples,
    Time,
}

impl From<Normalize> for Normalization {
    fn from(by: Normalize) -> Self {
        match by {
            Normalize::Samples => Self::Samples,
            Normalize::Time => Self::Time,
        }
    }
}

/// Compares, and fails if something grew too much.
pub(crate) fn run(arguments: &DiffArguments) -> Result<ExitStatus, Failure> {
    let read = |path: &PathBuf| read_filtered(std::slice::from_ref(path), &arguments.filter);
    let (base, new) = (read(&arguments.base)?, read(&arguments.new)?);
    for (path, profile) in [(&arguments.base, &base), (&arguments.new, &new)] {
        if profile.samples.is_empty() {
            return Err(Failure::failed(format!(
                "{} has no samples to compare (is a filter too narrow?)",
                quoted(path)
            )));
        }
    }
    let options = DiffOptions {
        normalization: arguments.normalize.into(),
        limit: arguments.limit,
        fail_above: arguments.fail_above,
        all: arguments.all,
    };
    let wanted = written::Wanted::check(arguments)?;
    let report = progress::during("comparing", || DiffReport::new(&base, &new, &options));
    let report = report.map_err(failure)?;
    if let Some(wanted) = wanted {
        let pair = Pair::new(&base, &new).map_err(|error| Failure::failed(error.to_string()))?;
        drop((base, new));
        wanted.write(&pair, &report, arguments)?;
        return match report.failure() {
            Some(grew) => Err(Failure::failed(grew)),
            None => Ok(ExitStatus::DONE),
        };
    }
    let form = arguments.form.resolve();
    let text = form.choose(
        |style| report.text(style),
        || report.json(),
        || report.markdown(),
    );
    form.print(&text)?;
    if let Some(grew) = report.failure() {
        return Err(Failure::failed(grew));
    }
    if let Some(row) = report.functions.first() {
        terminal::suggest_below_text(&format!(
            "viperf report {} --callers {}",
            quoted(&arguments.new),
            crate::report::plain_or_example(&row.name)
        ));
    }
    Ok(ExitStatus::DONE)
}
