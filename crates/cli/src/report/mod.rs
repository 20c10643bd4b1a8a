//! `viperf report`: a profile as text.

mod arguments;
mod names;
pub(crate) mod source_text;
mod view;

use std::path::{Path, PathBuf};

use viperf_profile::Profile;
use viperf_report::{Calls, Direction, PartRow, Report, ReportError, ReportOptions, Source};

pub(crate) use arguments::{ReportArguments, parse_percent};
pub(crate) use view::{Color, FilterArguments, FormArguments, TextForm, read_filtered};

use crate::exit::{ExitStatus, Failure};
use crate::{progress, terminal};

/// Reads, filters, and shows what was asked for.
pub(crate) fn run(arguments: &ReportArguments) -> Result<ExitStatus, Failure> {
    let profile = read_filtered(&arguments.files, &arguments.filter)?;
    let form = arguments.form.resolve();
    let (text, next) = answer(&profile, arguments, &form)?;
    form.print(&text)?;
    if let Some(next) = next
        && let Some(file) = arguments.files.first()
    {
        let files = match arguments.files.as_slice() {
            [_one] => quoted(file),
            _ => format!("{} …", quoted(file)),
        };
        terminal::suggest_below_text(&format!("viperf report {files} {next}"));
    }
    Ok(ExitStatus::DONE)
}

/// What is printed, and what may be asked next.
type Answer = (String, Option<String>);

fn answer(
    profile: &Profile,
    arguments: &ReportArguments,
    form: &TextForm,
) -> Result<Answer, Failure> {
    let options = arguments.options();
    match (&arguments.callers, &arguments.callees, &arguments.source) {
        (Some(name), ..) => calls(profile, Direction::Callers, name, &options, form),
        (_, Some(name), _) => calls(profile, Direction::Callees, name, &options, form),
        (_, _, Some(name)) => source(profile, name, arguments, form),
        _ => whole(profile, &options, form),
    }
}

fn whole(profile: &Profile, options: &ReportOptions, form: &TextForm) -> Result<Answer, Failure> {
    let report = progress::during("adding up", || Report::new(profile, options));
    let report = report.map_err(failure)?;
    if let Some(groups) = &report.groups {
        let next = groups.parts.first().and_then(|part| only(groups.by, part));
        return Ok((shown(&report, form), next));
    }
    // One's own code is what one can change; of installed code it is of interest who calls it.
    let functions = &report.functions;
    let own = functions
        .iter()
        .find(|function| function.origin == "project");
    let next = match own {
        Some(own) => Some(format!("--source {}", plain_or_example(&own.name))),
        None => functions
            .first()
            .map(|function| format!("--callers {}", plain_or_example(&function.name))),
    };
    Ok((shown(&report, form), next))
}

fn shown(report: &Report, form: &TextForm) -> String {
    form.choose(
        |style| report.text(style),
        || report.json(),
        || report.markdown(),
    )
}

/// The filter that keeps one part; none where the samples belong to none.
fn only(by: &str, part: &PartRow) -> Option<String> {
    let name = part.name.as_deref()?;
    Some(match by {
        "thread" | "process" if part.id != "0" => format!("--{by} {}", part.id),
        "program" => format!("--process {}", plain_or_example(name)),
        by => format!("--{by} {}", plain_or_example(name)),
    })
}

fn calls(
    profile: &Profile,
    direction: Direction,
    name: &str,
    options: &ReportOptions,
    form: &TextForm,
) -> Result<Answer, Failure> {
    let calls = progress::during("adding up", || {
        Calls::new(profile, direction, name, options)
    });
    let calls = calls.map_err(failure)?;
    let other = match direction {
        Direction::Callers => "--callees",
        Direction::Callees => "--callers",
    };
    let next = format!("{other} {}", plain_or_example(&calls.function));
    let text = form.choose(
        |style| calls.text(style),
        || calls.json(),
        || calls.markdown(),
    );
    Ok((text, Some(next)))
}

fn source(
    profile: &Profile,
    name: &str,
    arguments: &ReportArguments,
    form: &TextForm,
) -> Result<Answer, Failure> {
    let source = Source::new(profile, name).map_err(failure)?;
    let source = with_text(source, profile, &arguments.source_root);
    let next = source
        .function
        .as_ref()
        .map(|function| format!("--callers {}", plain_or_example(function)));
    let text = form.choose(
        |style| source.text(style),
        || source.json(),
        || source.markdown(),
    );
    Ok((text, next))
}

/// The lines with their text: from below one of `roots`, else as the file has it, else as it stands on this machine.
fn with_text(source: Source, profile: &Profile, roots: &[PathBuf]) -> Source {
    let changed = |path: &str| {
        terminal::say(&format!(
            "{} was changed after the recording: lines may not be where they were",
            viperf_report::escape_for_terminal(path)
        ));
    };
    let path = Path::new(&source.file);
    if let Some(kept) = profile.sources.find(&source.file)
        && source_text::read_below(path, roots).is_none()
    {
        if kept.changed_since {
            changed(&source.file);
        }
        return source.with_text(&kept.text);
    }
    match source_text::read_source(path, roots) {
        Ok(found) => {
            if found.is_newer_than(&profile.information) {
                changed(&found.path.display().to_string());
            }
            source.with_text(&found.text)
        }
        Err(why) => {
            terminal::say(&why);
            source
        }
    }
}

pub(crate) fn failure(error: ReportError) -> Failure {
    Failure::failed(error.to_string())
}

/// A name that a shell takes as it is, or in quotes.
pub(crate) fn plain_or_example(name: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "_.".contains(character);
    let is_quotable =
        |character: char| is_plain(character) || "<>() :,+-*&~[]=/".contains(character);
    match name {
        "" => "FUNCTION".to_owned(),
        name if name.chars().all(is_plain) => name.to_owned(),
        name if name.chars().all(is_quotable) => format!("'{name}'"),
        _ => "FUNCTION".to_owned(),
    }
}

/// A path as it would be typed.
pub(crate) fn quoted(path: &Path) -> String {
    let shown = path.display().to_string();
    let is_plain = |character: char| character.is_alphanumeric() || "_./-+,@".contains(character);
    match shown.chars().all(is_plain) {
        true => shown,
        false => format!(
            "'{}'",
            viperf_report::escape_for_terminal(&shown).replace('\'', "'\\''")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_can_be_typed_as_it_stands() {
        assert_eq!(plain_or_example("Job.run"), "Job.run");
        assert_eq!(plain_or_example("f.<locals>.g"), "'f.<locals>.g'");
        assert_eq!(plain_or_example("x'; rm -r ~ #"), "FUNCTION");
        assert_eq!(plain_or_example("a\u{1b}[31m"), "FUNCTION");
        assert_eq!(quoted(Path::new("a.viperf")), "a.viperf");
        assert_eq!(quoted(Path::new("it's.viperf")), "'it'\\''s.viperf'");
    }
}
