//! The live view: one thread records, this one draws and listens.

use std::io;
use std::path::Path;
use std::process::{Child, ExitStatus as CommandStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use viperf_agent::{CommandState, Outcome, RecordError, RecordOptions, Target};
use viperf_tui::{Ending, Live, Recorder, Screen, State, Surroundings, Window};

use super::watcher::{Told, Watcher, lock};
use super::{CommandOutput, GROW_EVERY, TopArguments, first_state, record_options, surroundings};
use crate::exit::{ExitStatus, Failure};
use crate::quantities::{show_count, show_elapsed, show_share};
use crate::record::{StopSignals, pass_on, wait_for_command};
use crate::report::quoted;
use crate::targets::TargetArguments;
use crate::terminal;

/// So long a note stands in the last line.
const NOTE: Duration = Duration::from_secs(8);

/// How soon the start is noticed.
const POLL: Duration = Duration::from_millis(10);

/// So many notes are repeated when the screen is given back.
const MOST_NOTES: usize = 10;

pub(super) fn run(arguments: &TopArguments) -> Result<ExitStatus, Failure> {
    let mut options = record_options(arguments, GROW_EVERY);
    let output = match &options.target {
        Target::Command(_) => {
            let named = arguments.command_output.as_deref();
            Some(CommandOutput::create(named)?)
        }
        _ => None,
    };
    options.command_output = output.as_ref().map(|output| output.path().to_owned());
    let mut show = Show {
        state: first_state(arguments, &options.target, Window::ALL[0]),
        around: surroundings(arguments, output.as_ref()),
        output,
        live: Mutex::default(),
        told: Mutex::default(),
        options,
    };
    let (outcome, ending) = show.run()?;
    show.say_goodbye(arguments);
    let ended = match outcome.command {
        None => return Ok(ExitStatus::DONE),
        Some(CommandState::Ended(status)) => status,
        Some(CommandState::Running(command)) => end_command(command, ending)?,
    };
    Ok(ExitStatus::of_command(ended))
}

/// Waits for the command, after it was told to end if that is what was wanted.
fn end_command(command: Child, ending: Ending) -> Result<CommandStatus, Failure> {
    match ending {
        Ending::QuitAndEndCommand => pass_on(&command, libc::SIGTERM),
        Ending::Signal(signal) => pass_on(&command, signal),
        Ending::Quit | Ending::Over => {}
    }
    let waited = StopSignals::install(true).and_then(|signals| wait_for_command(command, &signals));
    waited.map_err(|error| Failure::failed(format!("cannot wait for the command: {error}")))
}

/// Everything that is shown, and what it is made of.
struct Show {
    options: RecordOptions,
    state: State,
    around: Surroundings,
    output: Option<CommandOutput>,
    live: Mutex<Live>,
    told: Mutex<Told>,
}

type Recorded = Result<Outcome, RecordError>;

/// Whoever records, while it does and afterwards.
enum RecorderThread<'scope> {
    Runs(ScopedJoinHandle<'scope, Recorded>),
    HasEnded(Box<Outcome>),
    Failed(RecordError),
}

impl RecorderThread<'_> {
    /// Takes the outcome over as soon as there is one; true when that was now.
    fn look(&mut self) -> bool {
        if !matches!(self, Self::Runs(recorder) if recorder.is_finished()) {
            return false;
        }
        // Replaced at once by what it brought.
        let gone = Self::Failed(RecordError::NoSuchProcess { pid: 0 });
        let Self::Runs(recorder) = std::mem::replace(self, gone) else {
            return false;
        };
        *self = Self::of(recorder);
        true
    }

    fn of(recorder: ScopedJoinHandle<'_, Recorded>) -> Self {
        match recorder.join() {
            Ok(Ok(outcome)) => Self::HasEnded(Box::new(outcome)),
            Ok(Err(error)) => Self::Failed(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// What it brought, once it was told to stop.
    fn end(self) -> Recorded {
        match self {
            Self::Runs(recorder) => Self::of(recorder).end(),
            Self::HasEnded(outcome) => Ok(*outcome),
            Self::Failed(error) => Err(error),
        }
    }
}

/// A panic on the screen must not leave a thread that records for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Show {
    /// From the start of the recording to its end.
    fn run(&mut self) -> Result<(Outcome, Ending), Failure> {
        // A parent may have left it ignored: then the kernel would reap the command, and its exit code be lost.
        // SAFETY: restores the default of a signal for which there is no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        let stop = AtomicBool::new(false);
        let Self {
            options,
            state,
            around,
            output,
            live,
            told,
        } = self;
        let (options, live, told) = (&*options, &*live, &*told);
        thread::scope(|scope| {
            let stop = StopOnDrop(&stop);
            let shares = options.memory_shares();
            let mut watcher = Watcher { live, told, shares };
            let signal = stop.0;
            let record = move || viperf_agent::record(options, signal, &mut watcher);
            let recorder = thread::Builder::new()
                .name("viperf".to_owned())
                .spawn_scoped(scope, record)
                .map_err(|error| Failure::failed(format!("no thread for recording: {error}")))?;
            let mut recorder = RecorderThread::Runs(recorder);
            wait_for_begin(&recorder, told);
            state.command_runs = state.has_command;
            let mut look = |state: &mut State, around: &mut Surroundings| {
                look_around(
                    &mut recorder,
                    options,
                    (live, told),
                    output,
                    (state, around),
                )
            };
            let ending = match look(state, around) {
                // It failed before there was anything to see.
                Recorder::IsOver => Ok(Ending::Over),
                Recorder::Records | Recorder::HasEnded => Screen::take().and_then(|mut screen| {
                    viperf_tui::run(&mut screen, live, state, around, &mut look)
                }),
            };
            drop(stop);
            let outcome = recorder.end()?;
            let ending = ending.map_err(|error| cannot_draw(&error))?;
            Ok((outcome, ending))
        })
    }

    /// What remains to be said when the screen is given back, and what to type next.
    fn say_goodbye(&mut self, arguments: &TopArguments) {
        let told = lock(&self.told);
        for note in told.notes.iter().take(MOST_NOTES) {
            terminal::say(note);
        }
        if let Some(more) = told.notes.len().checked_sub(MOST_NOTES + 1) {
            terminal::say(&format!("and {} more notes", more + 1));
        }
        if let Some(place) = self.output.take().and_then(CommandOutput::close) {
            terminal::say(&place);
        }
        let live = lock(&self.live);
        let whole = live.whole();
        terminal::tell(&format!(
            "{} samples in {}, complete {}, lost {}",
            show_count(whole.samples),
            show_elapsed(live.elapsed()),
            show_share(whole.complete, whole.samples),
            show_count(whole.lost),
        ));
        terminal::suggest(&next_command(&arguments.targets));
    }
}

fn cannot_draw(error: &io::Error) -> Failure {
    Failure::failed(format!(
        "the terminal cannot be drawn on: {error}; `viperf top --plain` prints tables as text"
    ))
}

/// Loading programs takes a moment, of a large machine seconds; what fails until then is told without a screen.
fn wait_for_begin(recorder: &RecorderThread<'_>, told: &Mutex<Told>) {
    if !terminal::is_quiet() {
        terminal::show("viperf: starting …");
    }
    while let RecorderThread::Runs(recorder) = recorder
        && !recorder.is_finished()
        && !lock(told).has_begun
    {
        thread::sleep(POLL);
    }
    terminal::show("\r\u{1b}[K");
}

/// What the recorder does, and what there is to say about it.
fn look_around(
    recorder: &mut RecorderThread<'_>,
    options: &RecordOptions,
    (live, told): (&Mutex<Live>, &Mutex<Told>),
    output: &mut Option<CommandOutput>,
    (state, around): (&mut State, &mut Surroundings),
) -> Recorder {
    if let Some(lines) = output.as_mut().and_then(CommandOutput::read_new_tail) {
        around.output = lines;
    }
    if recorder.look()
        && let RecorderThread::HasEnded(outcome) = recorder
    {
        // What has come since the last growth.
        let shares = options.memory_shares();
        Watcher { live, told, shares }.take(&outcome.profile);
    }
    let told = lock(told);
    match recorder {
        RecorderThread::Runs(_) if told.error.is_none() => {
            let is_new = told.last_note.is_some_and(|last| last.elapsed() < NOTE);
            let note = told.notes.last().filter(|_| is_new);
            around.note = note.cloned().unwrap_or_default();
            Recorder::Records
        }
        RecorderThread::HasEnded(outcome) => {
            state.command_runs = false;
            let duration = lock(live).elapsed();
            let is_over = options.duration.is_some_and(|wanted| duration >= wanted);
            if is_over {
                return Recorder::IsOver;
            }
            around.note = match &outcome.command {
                Some(CommandState::Ended(status)) => {
                    format!("the command has ended ({status}); q quits, ? help")
                }
                _ => "the processes have ended; q quits, ? help".to_owned(),
            };
            Recorder::HasEnded
        }
        RecorderThread::Runs(_) | RecorderThread::Failed(_) => Recorder::IsOver,
    }
}

/// The command that keeps what runs in a file.
pub(super) fn next_command(targets: &TargetArguments) -> String {
    let mut words = vec!["viperf record".to_owned()];
    let pids: Vec<String> = targets.pids.iter().map(u32::to_string).collect();
    if !pids.is_empty() {
        words.push(format!("-p {}", pids.join(",")));
    }
    if let Some(path) = &targets.cgroup {
        words.push(format!("--cgroup {}", quoted(path)));
    }
    if let Some(id) = &targets.container {
        words.push(format!("--container {}", quoted(Path::new(id))));
    }
    words.push("-d 30s".to_owned());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        targets: TargetArguments,
    }

    #[test]
    fn the_next_command_names_the_same_targets() {
        for (typed, next) in [
            (&["", "-p", "1,2"][..], "viperf record -p 1,2 -d 30s"),
            (
                &["", "--container", "ab"],
                "viperf record --container ab -d 30s",
            ),
            (&[""], "viperf record -d 30s"),
        ] {
            assert_eq!(next_command(&Typed::parse_from(typed).targets), next);
        }
    }
}
