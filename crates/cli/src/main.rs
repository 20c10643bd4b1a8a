//! The `viperf` command: what was typed, what it means, what is shown.
//!
//! Each verb is a function from its arguments to an exit code or a [`exit::Failure`]; the work is done
//! by `viperf-agent`, the files are written by `viperf-encode`. Nothing here is a library for others.

mod arguments;
mod convert;
mod diff;
mod doctor;
mod dump;
mod exit;
mod file_name;
mod next;
mod output;
mod output_format;
mod output_owner;
mod progress;
mod quantities;
mod record;
mod report;
mod shell;
mod sources;
mod targets;
mod terminal;
mod top;
mod view;

use std::process::ExitCode;

use crate::arguments::Verb;

fn main() -> ExitCode {
    exit::run(|| match arguments::parse()? {
        None => arguments::print_short_help(),
        Some(Verb::Record(arguments)) => record::run(*arguments),
        Some(Verb::Dump(arguments)) => dump::run(&arguments),
        Some(Verb::View(arguments)) => view::run(arguments),
        Some(Verb::Top(arguments)) => top::run(*arguments),
        Some(Verb::Report(arguments)) => report::run(&arguments),
        Some(Verb::Convert(arguments)) => convert::run(&arguments),
        Some(Verb::Diff(arguments)) => diff::run(&arguments),
        Some(Verb::Doctor(arguments)) => doctor::run(&arguments),
        Some(Verb::Completions(arguments)) => shell::print_completions(&arguments),
        Some(Verb::Man(arguments)) => shell::show_pages(&arguments),
    })
}
