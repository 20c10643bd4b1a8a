//! `viperf record`: plan, sample, write, sum up.

mod command;
mod plan;
mod signals;
mod statistics;
mod status_line;
mod summary;

use viperf_agent::{CommandState, Outcome, Target};

use crate::arguments::RecordArguments;
use crate::exit::{ExitStatus, Failure};
use crate::output::next_step;
use crate::quantities::show_bytes;
use crate::terminal;
use plan::RecordPlan;
use signals::StopSignals;
use status_line::StatusLine;

/// Records as `arguments` say; everything that can be found out before sampling is found out first.
pub(crate) fn run(arguments: RecordArguments) -> Result<ExitStatus, Failure> {
    let plan = RecordPlan::resolve(arguments)?;
    let runs_command = matches!(plan.options.target, Target::Command(_));
    let signals = StopSignals::install(runs_command)
        .map_err(|error| Failure::failed(format!("signals cannot be caught: {error}")))?;
    let status = StatusLine::new(runs_command);
    let outcome = viperf_agent::record(&plan.options, signals.stop(), &mut |progress| {
        status.show(progress);
    });
    status.clear();
    let outcome = outcome?;
    write_results(&plan, &outcome)?;
    let ended = match outcome.command {
        None => return Ok(ExitStatus::DONE),
        Some(CommandState::Ended(status)) => status,
        Some(CommandState::Running(command)) => command::wait_for_command(command, &signals)
            .map_err(|error| Failure::failed(format!("cannot wait for the command: {error}")))?,
    };
    Ok(ExitStatus::of_command(ended))
}

fn write_results(plan: &RecordPlan, outcome: &Outcome) -> Result<(), Failure> {
    let bytes = plan.format.encode(&outcome.profile, &plan.encode_options)?;
    plan.destination.write(&bytes)?;
    if let Some(destination) = &plan.statistics {
        destination.write(&statistics::encode_statistics(&outcome.statistics)?)?;
    }
    terminal::show(&summary::render(&outcome.statistics, &plan.options));
    if let Some(path) = plan.destination.path() {
        let shown = path.strip_prefix(&plan.folder).unwrap_or(path);
        terminal::say(&format!(
            "wrote {} ({}); {}",
            shown.display(),
            show_bytes(bytes.len() as u64),
            next_step(plan.format, shown)
        ));
    }
    Ok(())
}
