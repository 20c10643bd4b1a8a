//! A profile, or what changed between two, as text for people and as JSON for programs.
//!
//! [`Report`], [`Calls`], [`Source`] and [`DiffReport`] are plain data made of a [`viperf_profile::Profile`]; each can be
//! shown as text ([`Style`] says for what terminal), as Markdown for a pull request, and as JSON (documented in
//! `docs/formats/report.md`).
//!
//! What it asks of you: filter and merge before (`viperf_profile::filter`), hide the interpreter's own frames, and read
//! the source files that [`Source`] names.
//!
//! What it does not do: no I/O, no clock, no environment. The same profile gives the same text.
//! No name reaches the output raw: what could steer a terminal or turn the direction of text is escaped.
//!
//! ```
//! use viperf_report::{Report, ReportOptions, Style};
//!
//! let profile = viperf_profile::Profile::default();
//! let report = Report::new(&profile, &ReportOptions::default()).expect("a sound profile");
//! assert!(report.text(&Style::default()).contains("samples   0"));
//! ```

#![forbid(unsafe_code)]

mod calls;
mod diff_report;
mod diff_text;
mod divided;
mod divided_text;
mod dump_json;
mod dump_text;
mod figures;
mod fold;
mod json;
mod markdown;
mod place;
mod report;
mod report_text;
mod rows;
mod safe_text;
mod source;
mod style;
mod summary;
mod table;
mod tree_text;

pub use calls::{Calls, Direction};
pub use diff_report::{DiffOptions, DiffReport, DiffRow, DiffSide, Failing, Figure};
pub use divided::{Divided, PartFunction, PartRow};
pub use dump_json::dump_json;
pub use dump_text::{DumpTextOptions, dump_text};
pub use figures::{
    Amount, SplitAmounts, show_count, show_counted, show_percent, show_share, show_time,
};
pub use fold::TreeRow;
pub use report::{Report, ReportOptions, Section, SortBy};
pub use rows::{FunctionRow, LineRow, ModuleRow, ProcessRow, ThreadRow};
pub use safe_text::{
    columns, escape_for_terminal, keep_end, keep_file_names, keep_start, pad, to_ascii,
};
pub use source::{Source, SourceLine};
pub use style::Style;
pub use summary::Summary;

use thiserror::Error;
use viperf_profile::ProfileError;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The profile is not sound.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// `--callers`, `--callees` or `--source` name nothing that is in the profile.
    #[error(
        "no {what} of the profile is called `{name}`{}; \
         `--show functions --limit 1000` lists what there is",
        also(similar)
    )]
    NotFound {
        /// `function`, or `file or Python function`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// Names that are near to it.
        similar: Vec<String>,
    },
}

fn also(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        similar => format!(" (there is {})", similar.join(", ")),
    }
}
