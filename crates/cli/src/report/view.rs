//! What `report` and `diff` have in common: which samples are looked at, and how the text is shown.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use regex::{Regex, RegexBuilder};
use viperf_profile::{
    DivideBy, Filter, FrameKind, PlaceSelector, Profile, Selector, filter, merge,
};
use viperf_report::Style;

use super::names;
use crate::convert::read_profile;
use crate::exit::Failure;
use crate::progress;
use crate::quantities::parse_duration;
use crate::terminal;

/// An expression's compiled size; ordinary ones take a few kilobytes.
const EXPRESSION_LIMIT: usize = 10_000_000;

/// Which samples and which frames.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArguments {
    /// Look at this process only, by its number, its name, or the first words of what it runs: `gunicorn` (repeat it for
    /// several)
    #[arg(long, value_name = "PID|NAME")]
    process: Vec<String>,

    /// Look at this thread only (repeat it for several)
    #[arg(long, value_name = "TID|NAME")]
    thread: Vec<String>,

    /// Look at this container only, by its name or the beginning of its ID (repeat it for several)
    #[arg(long, value_name = "NAME|ID")]
    container: Vec<String>,

    /// Look at this Kubernetes pod only: `NAME`, `NAMESPACE/NAME` or its UID (repeat it for several)
    #[arg(long, value_name = "POD")]
    pod: Vec<String>,

    /// Look at this systemd unit only: `nginx` or `nginx.service` (repeat it for several)
    #[arg(long, value_name = "UNIT")]
    unit: Vec<String>,

    /// Look at this control group only, with all below it: `/system.slice` (repeat it for several)
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,

    /// Look at this part of the recording only: `2s..5s`, `..500ms`, `1m..`
    #[arg(long, value_name = "FROM..TO", value_parser = parse_window)]
    time: Option<(u64, Option<u64>)>,

    /// Look at stacks with a function, file or library that this expression finds
    #[arg(long = "match", value_name = "REGEX", value_parser = parse_expression)]
    matching: Option<Regex>,

    /// Look at stacks without any function, file or library that this expression finds
    #[arg(long, value_name = "REGEX", value_parser = parse_expression)]
    no_match: Option<Regex>,

    /// Give the time of native functions to what called them
    #[arg(long)]
    hide_native: bool,

    /// Give the time of kernel functions to what called them
    #[arg(long)]
    hide_kernel: bool,

    /// Show the interpreter's own frames, too
    #[arg(long)]
    interpreter_frames: bool,
}

/// In what form.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Form")]
pub(crate) struct FormArguments {
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,

    /// Print Markdown, for a pull request
    #[arg(long)]
    markdown: bool,

    /// Use colours [default: on a terminal, unless NO_COLOR is set]
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that shows them.
    Auto,
    /// Also into a file or a pipe.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    /// The style of standard output, by what it is and by the environment.
    pub(crate) fn choose_style(self) -> Style {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        // https://no-color.org: set and not empty, whatever it is set to.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let width = is_terminal
            .then(|| terminal_size::terminal_size_of(&stdout))
            .flatten();
        Style {
            color: match self {
                Self::Auto => is_terminal && !refused,
                Self::Always => true,
                Self::Never => false,
            },
            width: width.map(|(width, _)| usize::from(width.0)),
        }
    }
}

/// How text is shown here and now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextForm {
    arguments: FormArguments,
    style: Style,
}

impl FormArguments {
    /// Looks at standard output and the environment.
    pub(crate) fn resolve(self) -> TextForm {
        TextForm {
            arguments: self,
            style: self.color.choose_style(),
        }
    }
}

impl TextForm {
    /// Writes what was chosen to standard output.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        match self.arguments.json || self.arguments.markdown {
            true => terminal::print(text.as_bytes()),
            false => terminal::print_text(text),
        }
    }

    /// The form that was asked for.
    pub(crate) fn choose(
        &self,
        text: impl FnOnce(&Style) -> String,
        json: impl FnOnce() -> String,
        markdown: impl FnOnce() -> String,
    ) -> String {
        match self.arguments {
            FormArguments { json: true, .. } => json(),
            FormArguments { markdown: true, .. } => markdown(),
            _ => text(&self.style),
        }
    }
}

/// The files as one profile, as far as the filters let it through.
pub(crate) fn read_filtered(
    files: &[PathBuf],
    arguments: &FilterArguments,
) -> Result<Profile, Failure> {
    let damaged = |error: viperf_profile::ProfileError| Failure::failed(error.to_string());
    let mut profiles = Vec::new();
    for file in files {
        profiles.push(read_profile(file)?);
    }
    let profile = match profiles.len() {
        1 => profiles.remove(0),
        _ => merge(&profiles).map_err(damaged)?,
    };
    drop(profiles);
    let wanted = arguments.resolve();
    names::check(&profile, &wanted).map_err(damaged)??;
    progress::during("choosing samples", || filter(profile, &wanted)).map_err(damaged)
}

impl FilterArguments {
    fn places(&self) -> Vec<PlaceSelector> {
        let kinds = [
            (DivideBy::Container, &self.container),
            (DivideBy::Pod, &self.pod),
            (DivideBy::Unit, &self.unit),
            (DivideBy::ControlGroup, &self.cgroup),
        ];
        let selector = |by, text: &String| PlaceSelector {
            by,
            text: text.clone(),
        };
        let of_kind = |(by, texts): (DivideBy, &'_ Vec<String>)| {
            texts
                .iter()
                .map(|text| selector(by, text))
                .collect::<Vec<_>>()
        };
        kinds.into_iter().flat_map(of_kind).collect()
    }

    fn resolve(&self) -> Filter {
        let selectors = |texts: &[String]| texts.iter().map(|text| selector(text)).collect();
        let (from_ns, to_ns) = self.time.unwrap_or_default();
        let hidden = [
            (
                !self.interpreter_frames || self.hide_native,
                FrameKind::Interpreter,
            ),
            (self.hide_native, FrameKind::Native),
            (self.hide_kernel, FrameKind::Kernel),
        ];
        Filter {
            processes: selectors(&self.process),
            threads: selectors(&self.thread),
            places: self.places(),
            from_ns,
            to_ns,
            matching: self.matching.clone(),
            not_matching: self.no_match.clone(),
            hidden: hidden
                .into_iter()
                .filter_map(|(hides, kind)| hides.then_some(kind))
                .collect(),
        }
    }
}

fn selector(text: &str) -> Selector {
    match text.parse() {
        Ok(id) => Selector::Id(id),
        Err(_not_a_number) => Selector::Name(text.to_owned()),
    }
}

/// `FROM..TO`, either of which may be left out, in nanoseconds.
fn parse_window(text: &str) -> Result<(u64, Option<u64>), String> {
    let Some((from, to)) = text.split_once("..") else {
        return Err("write it like 2s..5s, ..500ms or 1m..".to_owned());
    };
    let from = parse_instant(from)?.unwrap_or_default();
    let to = parse_instant(to)?;
    if to.is_some_and(|to| to <= from) {
        return Err("the end comes before the start".to_owned());
    }
    Ok((from, to))
}

/// A time since the start, which may be 0.
fn parse_instant(text: &str) -> Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    if !digits.is_empty() && digits.bytes().all(|byte| byte == b'0' || byte == b'.') {
        return Ok(Some(0));
    }
    let duration = parse_duration(text)?;
    Ok(Some(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
}

fn parse_expression(text: &str) -> Result<Regex, String> {
    let expression = RegexBuilder::new(text).size_limit(EXPRESSION_LIMIT).build();
    expression.map_err(|error| {
        let what = error.to_string();
        let last = what.lines().last().unwrap_or_default();
        format!(
            "not a regular expression: {}",
            last.trim_start_matches("error: ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_time_may_be_open() {
        let second = 1_000_000_000;
        for (text, window) in [
            ("2s..5s", (2 * second, Some(5 * second))),
            ("..500ms", (0, Some(second / 2))),
            ("1m..", (60 * second, None)),
            ("0..1s", (0, Some(second))),
            ("..", (0, None)),
        ] {
            assert_eq!(parse_window(text), Ok(window), "{text}");
        }
        for text in ["5s..2s", "2s", "a..b", "1s..1s", "-1s..2s", ""] {
            assert!(parse_window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_expression_is_told_in_one_line() {
        let error = parse_expression("(").unwrap_err();
        assert!(
            error.lines().count() == 1 && error.contains("unclosed"),
            "{error}"
        );
    }

    #[test]
    fn numbers_are_ids_and_the_rest_are_names() {
        assert_eq!(selector("42"), Selector::Id(42));
        assert_eq!(selector("gunicorn"), Selector::Name("gunicorn".to_owned()));
    }
}
