//! The pipeline: from a target to a profile. The only crate that names every stage.
//!
//! ```text
//! record ─► targets ─► processes + executables ─► sampler ─► stacks (merge, intern) ─► profile (symbolize)
//! ```
//!
//! What it asks of you: the permissions that `viperf-sample` names, and a way to say stop.
//! What it will not do: print, choose a format, or touch what it profiles.
#![forbid(unsafe_code)]

mod bounded_reader;
mod build_profile;
mod calls;
mod code_objects;
mod deferred;
mod error;
mod executables;
mod found;
mod generated_code;
mod generated_rows;
mod layout;
#[cfg(test)]
mod live_targets;
mod merge;
mod method_names;
mod options;
mod processes;
mod recorder;
mod recording;
mod stacks;
mod statistics;
mod targets;
mod thread_start;
#[cfg(test)]
mod thread_states_found;
mod threads;
#[cfg(test)]
mod walks_agree;

pub use error::RecordError;
pub use options::{CommandState, Outcome, Progress, RecordOptions, Stage, Statistics, Target};
pub use recorder::{probe, record};

/// Why stacks can be incomplete: the text that stands in stacks and counts, and what it means.
pub fn reasons() -> impl Iterator<Item = (&'static str, &'static str)> {
    viperf_abi::Reason::ALL
        .iter()
        .map(|reason| (reason.text(), reason.explanation()))
}
