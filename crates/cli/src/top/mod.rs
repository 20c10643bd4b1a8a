//! `viperf top`: a live view in the terminal, or tables as text.

mod arguments;
mod command_output;
mod on_screen;
mod plain;
mod watcher;

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use viperf_agent::{RecordOptions, Target};
use viperf_tui::{State, Surroundings, View, Window};

pub(crate) use arguments::{EXAMPLES, NOTES, TopArguments};
use command_output::CommandOutput;

use crate::exit::{ExitStatus, Failure};
use crate::terminal;

/// How often the picture changes.
const GROW_EVERY: Duration = Duration::from_secs(1);

/// Shows what the targets do until the user has seen enough.
pub(crate) fn run(arguments: TopArguments) -> Result<ExitStatus, Failure> {
    if arguments.plain {
        return plain::run(&arguments);
    }
    let term = std::env::var_os("TERM");
    can_be_drawn_on(io::stdout().is_terminal(), term.as_deref())?;
    on_screen::run(&arguments)
}

/// Whether there is a screen that can be drawn on.
fn can_be_drawn_on(is_terminal: bool, term: Option<&OsStr>) -> Result<(), Failure> {
    let remedy = "`viperf top --plain` prints tables as text, `viperf record` writes a file";
    if !is_terminal {
        return Err(Failure::wrong_usage(format!(
            "top draws on a terminal, and standard output is none; {remedy}"
        )));
    }
    match term.and_then(OsStr::to_str) {
        None | Some("" | "dumb") => Err(Failure::wrong_usage(format!(
            "this terminal cannot be drawn on (TERM is {}); {remedy}",
            term.map_or("not set".into(), OsStr::to_string_lossy)
        ))),
        Some(_) => Ok(()),
    }
}

fn record_options(arguments: &TopArguments, grow_every: Duration) -> RecordOptions {
    RecordOptions {
        target: arguments.targets.target(),
        rate_hz: arguments.rate,
        duration: arguments.duration,
        native: !arguments.no_native,
        kernel: !arguments.no_kernel,
        follow_children: !arguments.targets.no_children,
        name: arguments.targets.comm.clone(),
        grow_every: Some(grow_every),
        max_memory: arguments.max_memory,
        ..RecordOptions::default()
    }
}

/// The first picture: of a machine the processes, of what was named the functions.
fn first_state(arguments: &TopArguments, target: &Target, window: Window) -> State {
    let default = match target {
        Target::Pids(_) | Target::Command(_) => View::Functions,
        _ => View::Processes,
    };
    let mut state = State::new(arguments.view.unwrap_or(default), arguments.sort);
    state.window = window;
    state.has_command = matches!(target, Target::Command(_));
    state
}

fn surroundings(arguments: &TopArguments, output: Option<&CommandOutput>) -> Surroundings {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Surroundings {
        rate_hz: arguments.rate,
        has_color: !no_color,
        is_ascii: arguments.ascii || (!arguments.plain && terminal::is_ascii_only()),
        reasons: viperf_agent::reasons()
            .map(|(reason, explanation)| (reason.to_owned(), explanation.to_owned()))
            .collect(),
        output_place: output
            .map(|output| output.path().display().to_string())
            .unwrap_or_default(),
        ..Surroundings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_drawn_on_is_told_what_to_do() {
        assert_eq!(can_be_drawn_on(true, Some(OsStr::new("xterm"))), Ok(()));
        for (is_terminal, term) in [
            (false, Some("xterm")),
            (true, Some("dumb")),
            (true, Some("")),
            (true, None),
        ] {
            let failure = can_be_drawn_on(is_terminal, term.map(OsStr::new)).unwrap_err();
            let text = format!("{failure:?}");
            assert!(text.contains("viperf top --plain"), "{text}");
            assert!(text.contains("viperf record"), "{text}");
        }
    }
}
