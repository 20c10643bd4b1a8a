//! `viperf record`: plan, sample, write, sum up.

mod command;
mod growing_file;
mod live;
mod plan;
mod signals;
mod statistics;
mod status_line;
mod summary;

use viperf_agent::{CommandState, Outcome, Target};
use viperf_encode::Format;

pub(crate) use command::{pass_on, wait_for_command};
pub(crate) use signals::StopSignals;

use crate::arguments::RecordArguments;
use crate::exit::{ExitStatus, Failure};
use crate::output_format::OutputFormat;
use crate::{next, progress, terminal};
use growing_file::GrowingFile;
use live::{Live, LiveSources, RecordObserver};
use plan::RecordPlan;
use status_line::StatusLine;

/// Records as `arguments` say; everything that can be found out before sampling is found out first.
pub(crate) fn run(arguments: RecordArguments) -> Result<ExitStatus, Failure> {
    let plan = RecordPlan::resolve(arguments)?;
    let runs_command = matches!(plan.options.target, Target::Command(_));
    let signals = StopSignals::install(runs_command)
        .map_err(|error| Failure::failed(format!("signals cannot be caught: {error}")))?;
    let live = match plan.live {
        Some(page) => {
            let sources = LiveSources {
                embedded: plan.embed_source,
                runs_command,
                roots: plan.sources.clone(),
            };
            let options = plan.encode_options.html.clone();
            Some(Live::start(page, options, sources)?)
        }
        None => None,
    };
    let mut observer = RecordObserver::new(
        StatusLine::new(runs_command, plan.options.duration),
        live.as_ref(),
    );
    let (outcome, written) = if plan.format == OutputFormat::Encoded(Format::Viperf) {
        let mut file = GrowingFile::new(observer, &plan, signals.stop());
        let outcome = viperf_agent::record(&plan.options, signals.stop(), &mut file);
        file.clear_status();
        let mut outcome = outcome?;
        add_sources(&plan, live.as_ref(), &mut outcome)?;
        let written = file.finish(&outcome);
        (outcome, written)
    } else {
        let outcome = viperf_agent::record(&plan.options, signals.stop(), &mut observer);
        observer.clear();
        let mut outcome = outcome?;
        add_sources(&plan, live.as_ref(), &mut outcome)?;
        let bytes = progress::during("writing the profile", || {
            plan.format.encode(&outcome.profile, &plan.encode_options)
        })?;
        plan.destination.write(&bytes)?;
        (outcome, Ok(bytes.len() as u64))
    };
    show_results(&plan, &outcome, written)?;
    if let Some(live) = live {
        live.finish(&outcome.profile);
    }
    let ended = match outcome.command {
        None => return Ok(ExitStatus::DONE),
        Some(CommandState::Ended(status)) => status,
        Some(CommandState::Running(command)) => wait_for_command(command, &signals)
            .map_err(|error| Failure::failed(format!("cannot wait for the command: {error}")))?,
    };
    Ok(ExitStatus::of_command(ended))
}

/// Before anything else is done: each moment, a process may end and take its files along.
fn add_sources(
    plan: &RecordPlan,
    live: Option<&Live>,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    if let Some(live) = live {
        live.keep_sources(&mut outcome.profile);
    }
    if plan.embed_source {
        let is_command = matches!(plan.options.target, Target::Command(_));
        let read = viperf_agent::read_sources(&mut outcome.profile, is_command)
            .map_err(|error| Failure::failed(error.to_string()))?;
        crate::sources::say(read);
    }
    match plan.sources.is_empty() {
        true => Ok(()),
        false => plan.sources.add_to(&mut outcome.profile),
    }
}

/// The figures, also of a recording that could not be written to its end, and where it is.
fn show_results(
    plan: &RecordPlan,
    outcome: &Outcome,
    written: Result<u64, Failure>,
) -> Result<(), Failure> {
    if let Some(destination) = &plan.statistics {
        destination.write(&statistics::encode_statistics(&outcome.statistics)?)?;
    }
    if !terminal::is_quiet() {
        terminal::show(&summary::render(&outcome.statistics, &plan.options));
    }
    let bytes = written?;
    if let Some(path) = plan.destination.path() {
        let shown = path.strip_prefix(&plan.folder).unwrap_or(path);
        next::tell_written(plan.format, shown, bytes);
    }
    Ok(())
}
