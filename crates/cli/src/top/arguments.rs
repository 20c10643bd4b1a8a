//! What can be typed after `viperf top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use viperf_tui::{SortBy, View};

use crate::quantities::{parse_duration, parse_memory, parse_rate};
use crate::targets::TargetArguments;

pub(crate) const EXAMPLES: &str = "\
Examples:
  viperf top                         every Python program of the machine
  viperf top -p 1234                 one program and its children
  viperf top -- python3 app.py       run a program and watch it
  viperf top -p 1234 --view tree     begin with the call tree
  viperf top --plain -d 10s          tables as text, without a screen: for scripts
";

pub(crate) const NOTES: &str = "\
Keys: ? lists them. 1-7 switch between processes, threads, functions, lines, native functions,
modules and the call tree; Enter goes into a row, Esc back; / filters, s sorts, Space freezes,
r resets, q quits.

With `-- COMMAND` the program reads nothing from the keyboard, and what it prints goes to a file
(c shows it, --command-output names it), because the screen is taken; with --plain its output
passes through. Its exit code is viperf's in any case.
";

/// `viperf top`.
#[derive(Debug, Args)]
pub(crate) struct TopArguments {
    #[command(flatten)]
    pub(crate) targets: TargetArguments,

    /// Samples per second of CPU time: `99`, `1khz`, `10k`
    #[arg(short = 'F', long, value_name = "RATE", default_value = "99", value_parser = parse_rate)]
    pub(crate) rate: u32,

    /// Stop after this time: `30s`, `5m` [default: until `q`]
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,

    /// Begin with this view: `processes`, `threads`, `functions`, `lines`, `native`, `modules`, `tree`
    /// [default: processes, of named targets functions]
    #[arg(long, value_name = "VIEW", value_parser = parse_view)]
    pub(crate) view: Option<View>,

    /// Sort by this: `own`, `total`, `time`, `trend`, `name`
    #[arg(long, value_name = "ORDER", default_value = "own", value_parser = parse_sort)]
    pub(crate) sort: SortBy,

    /// Show ASCII only [default: where the locale (LC_ALL, LC_CTYPE, LANG) is not of UTF-8]
    #[arg(long)]
    pub(crate) ascii: bool,

    /// Print tables as text, one per interval, instead of taking the screen
    #[arg(long)]
    pub(crate) plain: bool,

    /// With --plain: the time between two tables, which is the time they are of
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    #[arg(requires = "plain")]
    pub(crate) interval: Duration,

    /// With --plain: rows per table
    #[arg(long, value_name = "ROWS", default_value = "20", requires = "plain")]
    pub(crate) limit: usize,

    /// Where the output of the command goes [default: a new file in the folder for temporary files; with
    /// --plain it passes through]
    #[arg(long, value_name = "FILE", requires = "command")]
    pub(crate) command_output: Option<PathBuf>,

    /// Memory for unwind tables, which take the most, and for what is shown: names that nothing in the last minute needs
    /// are let go when they are many, and counted on as others
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_memory)]
    pub(crate) max_memory: usize,

    /// Leave native frames out
    #[arg(long)]
    pub(crate) no_native: bool,

    /// Leave kernel frames out
    #[arg(long)]
    pub(crate) no_kernel: bool,
}

fn parse_view(text: &str) -> Result<View, String> {
    let view = View::ALL.into_iter().find(|view| view.name() == text);
    view.ok_or_else(|| choices(&View::ALL.map(View::name)))
}

fn parse_sort(text: &str) -> Result<SortBy, String> {
    let sort = SortBy::ALL.into_iter().find(|sort| sort.name() == text);
    sort.ok_or_else(|| choices(&SortBy::ALL.map(SortBy::name)))
}

fn choices(names: &[&str]) -> String {
    format!("choose one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_and_orders_go_by_the_names_on_the_screen() {
        assert_eq!(parse_view("tree"), Ok(View::Tree));
        assert_eq!(parse_sort("total"), Ok(SortBy::Total));
        assert!(parse_view("flame").unwrap_err().contains("functions"));
        assert!(parse_sort("cpu").unwrap_err().contains("own"));
    }
}
