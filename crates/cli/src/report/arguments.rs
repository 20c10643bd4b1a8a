//! What can be typed after `viperf report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use viperf_profile::DivideBy;
use viperf_report::{ReportOptions, Section, SortBy};

use super::view::{FilterArguments, FormArguments};

/// `viperf report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// The profiles to read; several are shown as one
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Show who calls this function, and for how much of the time
    #[arg(long, value_name = "FUNCTION", group = "question")]
    pub(crate) callers: Option<String>,

    /// Show what this function calls, and for how much of the time
    #[arg(long, value_name = "FUNCTION", group = "question")]
    pub(crate) callees: Option<String>,

    /// Show the source of this file or Python function with the time of each line
    #[arg(long, value_name = "FILE|FUNCTION", group = "question")]
    pub(crate) source: Option<String>,

    /// Look for source files below DIR, too (repeat it); the beginning of their path may be another there
    #[arg(long, value_name = "DIR", requires = "source")]
    pub(crate) source_root: Vec<PathBuf>,

    /// Show these parts only
    #[arg(
        long,
        value_name = "PARTS",
        value_delimiter = ',',
        conflicts_with = "question"
    )]
    show: Vec<Part>,

    /// Show what each of these takes, and on what; other parts only if --show names them
    #[arg(long, value_name = "BY", conflicts_with = "question")]
    group: Option<GroupedBy>,

    /// Rows of each table
    #[arg(short = 'n', long, value_name = "ROWS", default_value_t = 10)]
    limit: usize,

    /// Sort tables by the time of the function itself, or with all that it calls
    #[arg(long, value_name = "TIME", default_value = "self")]
    sort: Sort,

    /// Show every frame of the call tree: nothing is folded
    #[arg(long)]
    full: bool,

    /// Leave branches of the call tree out that take less than this part of the time
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = parse_percent)]
    min: f64,

    #[command(flatten)]
    pub(crate) filter: FilterArguments,

    #[command(flatten)]
    pub(crate) form: FormArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Processes,
    Modules,
    Native,
    Lines,
    Functions,
    Tree,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    #[value(name = "self")]
    Own,
    Total,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GroupedBy {
    /// Each process.
    Process,
    /// Each thread.
    Thread,
    /// What runs: all workers of one server are one.
    Program,
    /// Each container.
    Container,
    /// Each Kubernetes pod.
    Pod,
    /// Each systemd unit.
    Unit,
    /// Each control group.
    Cgroup,
}

impl From<GroupedBy> for DivideBy {
    fn from(by: GroupedBy) -> Self {
        match by {
            GroupedBy::Process => Self::Process,
            GroupedBy::Thread => Self::Thread,
            GroupedBy::Program => Self::Program,
            GroupedBy::Container => Self::Container,
            GroupedBy::Pod => Self::Pod,
            GroupedBy::Unit => Self::Unit,
            GroupedBy::Cgroup => Self::ControlGroup,
        }
    }
}

impl ReportArguments {
    pub(crate) fn options(&self) -> ReportOptions {
        let defaults = ReportOptions::default();
        let sections = self.show.iter().map(|part| match part {
            Part::Processes => Section::Processes,
            Part::Modules => Section::Modules,
            Part::Native => Section::Native,
            Part::Lines => Section::Lines,
            Part::Functions => Section::Functions,
            Part::Tree => Section::Tree,
        });
        ReportOptions {
            sections: match (self.show.is_empty(), self.group) {
                (true, None) => defaults.sections,
                _ => sections.collect(),
            },
            divide_by: self.group.map(DivideBy::from),
            limit: self.limit,
            sort: match self.sort {
                Sort::Own => SortBy::Own,
                Sort::Total => SortBy::Total,
            },
            full_tree: self.full,
            least_share: self.min,
            // Four times the rows of a table: as much as a screen holds, by default.
            tree_rows: self.limit.saturating_mul(4),
        }
    }
}

/// `5%`, `5`, `2.5%` as a part of 1.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let is_plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(percent) if is_plain && (0.0..=100_000.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("write it like 5% or 0.5%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_understood_with_and_without_their_sign() {
        for (text, part) in [("5%", 0.05), ("5", 0.05), ("2.5 %", 0.025), ("0%", 0.0)] {
            assert!(
                (parse_percent(text).unwrap() - part).abs() < 1e-12,
                "{text}"
            );
        }
        for text in ["", "%", "-1%", "1e3", "nan", "inf%", "five", "."] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }
}
