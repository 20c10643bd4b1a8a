//! Tables as text, one per interval, on standard output.

use std::sync::Mutex;

use viperf_agent::{CommandState, Kept, Observer, Progress, Statistics, Target};
use viperf_profile::Profile;
use viperf_tui::{Live, State, Surroundings, Window, plain_text};

use super::on_screen::next_command;
use super::watcher::{Told, Watcher, lock};
use super::{CommandOutput, TopArguments, first_state, record_options, surroundings};
use crate::exit::{ExitStatus, Failure};
use crate::record::{StopSignals, wait_for_command};
use crate::terminal;

pub(super) fn run(arguments: &TopArguments) -> Result<ExitStatus, Failure> {
    let named = arguments.command_output.as_deref();
    let output = named
        .map(|path| CommandOutput::create(Some(path)))
        .transpose()?;
    let mut options = record_options(arguments, arguments.interval);
    options.command_output = output.as_ref().map(|output| output.path().to_owned());
    let runs_command = matches!(options.target, Target::Command(_));
    let signals = StopSignals::install(runs_command)
        .map_err(|error| Failure::failed(format!("signals cannot be caught: {error}")))?;
    let (live, told) = (Mutex::default(), Mutex::default());
    let window = Window::Last(arguments.interval);
    let mut printer = Printer {
        watcher: Watcher {
            live: &live,
            told: &told,
            shares: options.memory_shares(),
        },
        live: &live,
        told: &told,
        state: first_state(arguments, &options.target, window),
        around: surroundings(arguments, output.as_ref()),
        limit: arguments.limit,
        has_printed: false,
        failure: None,
    };
    let outcome = viperf_agent::record(&options, signals.stop(), &mut printer)?;
    let is_most_of_one = {
        let live = lock(&live);
        let since = outcome.profile.information.duration_ns;
        let since = since.saturating_sub(live.elapsed().as_nanos() as u64);
        u128::from(since) * 2 >= arguments.interval.as_nanos()
    };
    if is_most_of_one || !printer.has_printed {
        printer.print(&outcome.profile);
    }
    if let Some(failure) = printer.failure {
        return Err(failure);
    }
    if outcome.command.is_none() {
        terminal::suggest_below_text(&next_command(&arguments.targets));
    }
    match outcome.command {
        None => Ok(ExitStatus::DONE),
        Some(CommandState::Ended(status)) => Ok(ExitStatus::of_command(status)),
        Some(CommandState::Running(command)) => wait_for_command(command, &signals)
            .map(ExitStatus::of_command)
            .map_err(|error| Failure::failed(format!("cannot wait for the command: {error}"))),
    }
}

struct Printer<'a> {
    watcher: Watcher<'a>,
    live: &'a Mutex<Live>,
    told: &'a Mutex<Told>,
    state: State,
    around: Surroundings,
    limit: usize,
    has_printed: bool,
    failure: Option<Failure>,
}

impl Printer<'_> {
    fn print(&mut self, profile: &Profile) {
        self.watcher.take(profile);
        self.has_printed = true;
        let table = {
            let live = lock(self.live);
            self.state.follow(&live);
            plain_text(&self.state, &live, &self.around, self.limit)
        };
        let table = table.map_err(|error| error.to_string());
        let error = lock(self.told).error.take();
        let printed = match (error, table) {
            (Some(error), _) | (None, Err(error)) => Err(Failure::failed(error)),
            (None, Ok(table)) => terminal::print(table.as_bytes()),
        };
        self.failure = self.failure.take().or(printed.err());
    }
}

impl Observer for Printer<'_> {
    fn progress(&mut self, progress: &Progress) {
        for note in &progress.notes {
            terminal::say(note);
        }
    }

    fn grew(&mut self, profile: &Profile, _: &Statistics) -> Kept {
        self.print(profile);
        self.watcher.let_go(profile)
    }
}
