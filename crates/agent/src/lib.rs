//! The pipeline: from a target to a profile. The only crate that names every stage.
//!
//! ```text
//! targets ─► processes + executables ─► sampler ─► stacks (merge, intern) ─► handover ─► profile (symbolize) ─► observer
//! └──────────────── a thread of its own, which polls the ring ───────────┘            └── the thread of `record` ──┘
//! ```
//!
//! What it asks of you: the permissions that `viperf-sample` names, and a way to say stop.
//! What it will not do: print, choose a format, or touch what it profiles.
#![forbid(unsafe_code)]

mod bounded_reader;
mod budget;
mod build_profile;
mod calls;
mod captures;
mod code_objects;
mod control_group_target;
mod deferred;
mod dump;
mod error;
mod executables;
mod found;
mod generated_code;
mod generated_rows;
mod growth;
mod handover;
mod layout;
#[cfg(test)]
mod live_targets;
mod mapping_history;
mod memory;
mod merge;
mod method_names;
mod named_file;
mod observer;
mod options;
mod privileges;
mod processes;
mod recorder;
mod recording;
mod sources;
mod stacks;
mod statistics;
mod targets;
mod thread_start;
#[cfg(test)]
mod thread_states_found;
mod threads;
#[cfg(test)]
mod walks_agree;

pub use dump::{DumpOptions, Dumper};
pub use error::RecordError;
pub use growth::record;
pub use memory::MemoryShares;
pub use observer::{Kept, Observer};
pub use options::{
    CommandState, DEFAULT_MAX_MEMORY, Outcome, Progress, RecordOptions, Stage, Statistics, Target,
};
pub use recorder::probe;
pub use sources::{
    SourcesRead, WantedSource, find_sampled_files, read_sources, read_wanted_sources,
};
pub use viperf_sample::Clock;
pub use viperf_symbolize::shows_kernel_addresses;

/// Why stacks can be incomplete: the text that stands in stacks and counts, and what it means.
pub fn reasons() -> impl Iterator<Item = (&'static str, &'static str)> {
    viperf_abi::Reason::ALL
        .iter()
        .map(|reason| (reason.text(), reason.explanation()))
}
