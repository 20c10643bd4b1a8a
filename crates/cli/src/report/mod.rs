//! `viperf report`: a profile as text.

mod arguments;
mod source_text;
mod view;

use std::path::Path;

use viperf_profile::Profile;
use viperf_report::{Calls, Direction, Report, ReportError, ReportOptions, Source};

pub(crate) use arguments::{ReportArguments, parse_percent};
pub(crate) use view::{FilterArguments, FormArguments, TextForm, read_filtered};

use crate::exit::{ExitStatus, Failure};
use crate::terminal;

/// Reads, filters, and shows what was asked for.
pub(crate) fn run(arguments: &ReportArguments) -> Result<ExitStatus, Failure> {
    let profile = read_filtered(&arguments.files, &arguments.filter)?;
    let form = arguments.form.resolve();
    let options = arguments.options();
    let (text, next) = match (&arguments.callers, &arguments.callees, &arguments.source) {
        (Some(name), ..) => calls(&profile, Direction::Callers, name, &options, &form)?,
        (_, Some(name), _) => calls(&profile, Direction::Callees, name, &options, &form)?,
        (_, _, Some(name)) => source(&profile, name, arguments, &form)?,
        _ => whole(&profile, &options, &form)?,
    };
    terminal::print(text.as_bytes())?;
    if let Some(next) = next.filter(|_| form.is_terminal)
        && let Some(file) = arguments.files.first()
    {
        let files = match arguments.files.as_slice() {
            [_one] => quoted(file),
            _ => format!("{} …", quoted(file)),
        };
        terminal::say(&format!("next: viperf report {files} {next}"));
    }
    Ok(ExitStatus::DONE)
}

/// What is printed, and what may be asked next.
type Answer = (String, Option<String>);

fn whole(profile: &Profile, options: &ReportOptions, form: &TextForm) -> Result<Answer, Failure> {
    let report = Report::new(profile, options).map_err(failure)?;
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
    let text = form.choose(
        |style| report.text(style),
        || report.json(),
        || report.markdown(),
    );
    Ok((text, next))
}

fn calls(
    profile: &Profile,
    direction: Direction,
    name: &str,
    options: &ReportOptions,
    form: &TextForm,
) -> Result<Answer, Failure> {
    let calls = Calls::new(profile, direction, name, options).map_err(failure)?;
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
    let roots = arguments.source_root.as_slice();
    let source = match source_text::read_source(Path::new(&source.file), roots) {
        Ok(found) => {
            if found.is_newer_than(&profile.information) {
                terminal::say(&format!(
                    "{} was changed after the recording: lines may not be where they were",
                    viperf_report::escape_for_terminal(&found.path.display().to_string())
                ));
            }
            source.with_text(&found.text)
        }
        Err(why) => {
            terminal::say(&why);
            source
        }
    };
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
