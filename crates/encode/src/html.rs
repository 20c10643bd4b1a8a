//! One self-contained page: an interactive flame graph that needs no network. `docs/formats/html.md` describes the data
//! in it.
//!
//! The page carries the call tree at its finest, a node per process, thread and (function, line) on each path, and every
//! sample with its time, CPU and leaf in that tree, and builds what it shows from them: by
//! default a level of processes, a level of threads, and a box per **function** on each path.
//! The lines of a function are kept for the tooltip (top lines by time) and can be made boxes of their own; interpreter
//! frames are there, hidden.
//!
//! Nothing of a profile becomes HTML: the data is base64 inside a block that no browser runs, its texts enter the page as
//! text nodes, and the page's content security policy allows only the page's own script and style, by their hashes.

mod call_tree;
mod comparison;
mod data;
mod gil;
mod groups;
mod growing;
mod page;
mod ranges;
mod served;
mod sources;

#[cfg(test)]
mod tests;

use viperf_profile::{Pair, Profile};

use crate::EncodeError;

pub use comparison::Comparison;
pub use growing::{Growing, LIVE_NODES, LIVE_SAMPLES};
pub use served::{
    Served, ServedSources, ServedState, encode_served_comparison, encode_served_data,
    encode_served_page, encode_served_source, served_policy,
};

/// What the page shows when it opens; its reader can change each of these there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A level of threads under each process. Default is `true`.
    pub threads: bool,
    /// Processes of one name as one. Default is `false`.
    pub merge_processes: bool,
    /// The interpreter's eval frames too. Default is `false`.
    pub interpreter_frames: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: true,
            merge_processes: false,
            interpreter_frames: false,
        }
    }
}

/// The page, as the text of an HTML file.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound or has more rows than the page can number.
pub fn encode(profile: &Profile, options: &Options) -> Result<String, EncodeError> {
    profile.validate()?;
    let tree = call_tree::build(profile)?;
    let data = data::encode(profile, &tree, options, data::Origin::default())?;
    Ok(page::render(Some((&data, &sources::encode(profile)?))))
}

/// The page of two profiles, which opens on what differs between them.
///
/// # Errors
///
/// As for [`encode`].
pub fn encode_comparison(
    pair: &Pair,
    comparison: &Comparison<'_>,
    options: &Options,
) -> Result<String, EncodeError> {
    let profile = pair.merged();
    profile.validate()?;
    let tree = call_tree::build(profile)?;
    let origin = data::Origin {
        comparison: Some(comparison),
        served: None,
    };
    let data = data::encode(profile, &tree, options, origin)?;
    Ok(page::render(Some((&data, &sources::encode(profile)?))))
}
