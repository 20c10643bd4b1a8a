//! `viperf doctor`: what this machine allows, what is missing, and the remedy for each.

mod checks;
mod report;

use crate::arguments::DoctorArguments;
use crate::exit::{ExitStatus, Failure};
use crate::terminal;

/// Prints the checks (or the reasons), and ends as `viperf record` would end here.
pub(crate) fn run(arguments: &DoctorArguments) -> Result<ExitStatus, Failure> {
    let DoctorArguments { reasons, json } = *arguments;
    if reasons {
        let list: Vec<_> = viperf_agent::reasons().collect();
        let text = match json {
            true => report::reasons_as_json(&list)?,
            false => report::reasons_as_text(&list),
        };
        terminal::print(text.as_bytes())?;
        return Ok(ExitStatus::DONE);
    }
    let checks = checks::run_checks();
    let text = match json {
        true => report::checks_as_json(&checks)?,
        false => report::checks_as_text(&checks),
    };
    terminal::print(text.as_bytes())?;
    let codes = checks.iter().filter_map(|check| check.verdict.exit_code());
    let code = codes.max().unwrap_or(0);
    if code == 0 && !json {
        terminal::suggest_below_text("viperf record -- python3 app.py");
    }
    Ok(ExitStatus(code))
}
