//! What a filter names and the profile does not have is a slip of the finger: what is there is named.

use viperf_profile::{
    DivideBy, Division, Filter, PlaceSelector, Process, Profile, ProfileError, Selector,
};
use viperf_report::escape_for_terminal;

use crate::exit::Failure;

/// Names that are listed when one is not found.
const MOST_NAMES: usize = 8;

/// Whether every process, thread and place that `wanted` names is in the profile.
pub(super) fn check(
    profile: &Profile,
    wanted: &Filter,
) -> Result<Result<(), Failure>, ProfileError> {
    for selector in &wanted.processes {
        if !has_process(profile, selector)? {
            return missing(profile, "process", shown(selector), DivideBy::Process);
        }
    }
    for selector in &wanted.threads {
        if !has_thread(profile, selector)? {
            return missing(profile, "thread", shown(selector), DivideBy::Thread);
        }
    }
    for place in &wanted.places {
        if !has_place(profile, place)? {
            let what = match place.by {
                DivideBy::ControlGroup => "control group",
                by => by.name(),
            };
            return missing(profile, what, place.text.clone(), place.by);
        }
    }
    Ok(Ok(()))
}

fn has_process(profile: &Profile, wanted: &Selector) -> Result<bool, ProfileError> {
    let is_it = |process: &Process| {
        let name = profile.string(process.name)?;
        let title = profile.string(process.shown_name())?;
        Ok(wanted.selects(process.pid, name) || wanted.selects_title(process.pid, title))
    };
    any(profile.processes.iter().map(|(_, process)| is_it(process)))
}

fn has_thread(profile: &Profile, wanted: &Selector) -> Result<bool, ProfileError> {
    let threads = profile.threads.iter();
    any(threads.map(|(_, thread)| Ok(wanted.selects(thread.tid, profile.string(thread.name)?))))
}

fn has_place(profile: &Profile, wanted: &PlaceSelector) -> Result<bool, ProfileError> {
    let processes = profile.processes.iter();
    any(processes.map(|(_, process)| wanted.selects(profile, process)))
}

fn any(
    mut answers: impl Iterator<Item = Result<bool, ProfileError>>,
) -> Result<bool, ProfileError> {
    answers.try_fold(false, |found, answer| Ok(found || answer?))
}

fn shown(selector: &Selector) -> String {
    match selector {
        Selector::Id(id) => id.to_string(),
        Selector::Name(name) => name.clone(),
    }
}

fn missing(
    profile: &Profile,
    what: &str,
    wanted: String,
    by: DivideBy,
) -> Result<Result<(), Failure>, ProfileError> {
    let division = Division::new(profile, by)?;
    let known = division.parts().iter().filter_map(|part| {
        let name = escape_for_terminal(part.name.as_deref()?);
        Some(match part.id.as_str() {
            "" => name.into_owned(),
            id => format!("{name} ({})", escape_for_terminal(id)),
        })
    });
    let mut names: Vec<String> = known.collect();
    if names.len() > MOST_NAMES {
        names.truncate(MOST_NAMES);
        names.push("…".to_owned());
    }
    let there = match names.is_empty() {
        true => format!("no {what} is known of it"),
        false => format!("it has: {}", names.join(", ")),
    };
    Ok(Err(Failure::failed(format!(
        "the profile has no {what} {}; {there}",
        escape_for_terminal(&wanted)
    ))))
}
