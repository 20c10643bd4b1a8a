//! The page without a profile in it: it asks the server that gave it for the data, and again for what is newer.

use serde::Serialize;
use viperf_profile::{Pair, Profile, SourceFile};

use super::{Comparison, Options, call_tree, data, page, sources};
use crate::EncodeError;

/// What the data of a served page is part of; it stands in the head.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Served {
    /// What the page sends when it asks for what is newer than this data.
    pub position: String,
    /// Whether the rows continue those that the page has; otherwise they are all there are.
    pub append: bool,
    /// Whether more may come.
    pub state: ServedState,
    /// Samples per second over the last moments; 0 when nothing is recorded.
    pub rate_achieved: f64,
    /// The files to choose from, by name; empty when there is no choice.
    pub files: Vec<String>,
    /// The place in `files` of the one that this is; `None` for all of them as one.
    pub file: Option<usize>,
    /// The place in `files` of the one that `file` is compared with.
    pub base: Option<usize>,
    /// Where the text of source files is.
    pub sources: ServedSources,
    /// What its reader should know: what was damaged, or which limit was met.
    pub notice: String,
}

/// Where the data of a served page comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServedState {
    /// A file, which may be written anew.
    #[default]
    File,
    /// A recording that goes on.
    Recording,
    /// A recording that has ended: nothing comes after this.
    Ended,
}

/// Where a served page has the text of source files from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServedSources {
    /// All that there is stands in the data.
    #[default]
    Given,
    /// It asks at `source` beside itself for a file that somebody wants to see.
    Asked,
    /// It has none, since nobody allowed it to be read.
    Refused,
}

/// The page that asks for its data at the address `data` beside its own.
#[must_use]
pub fn encode_served_page() -> String {
    page::render(None)
}

/// The content security policy of [`encode_served_page`], for the header of the answer.
#[must_use]
pub fn served_policy() -> String {
    format!(
        "{}; frame-ancestors 'none'",
        page::content_security_policy(true)
    )
}

/// All data of a profile, compressed with gzip.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound or has more rows than the page can number.
pub fn encode_served_data(
    profile: &Profile,
    options: &Options,
    served: &Served,
) -> Result<Vec<u8>, EncodeError> {
    profile.validate()?;
    let tree = call_tree::build(profile)?;
    let origin = data::Origin {
        served: Some(served),
        comparison: None,
    };
    data::encode(profile, &tree, options, origin)
}

/// All data of two profiles, compressed with gzip.
///
/// # Errors
///
/// As for [`encode_served_data`].
pub fn encode_served_comparison(
    pair: &Pair,
    comparison: &Comparison<'_>,
    options: &Options,
    served: &Served,
) -> Result<Vec<u8>, EncodeError> {
    let profile = pair.merged();
    profile.validate()?;
    let tree = call_tree::build(profile)?;
    let origin = data::Origin {
        served: Some(served),
        comparison: Some(comparison),
    };
    data::encode(profile, &tree, options, origin)
}

/// The text of one source file, as the page that asked for it reads it.
///
/// # Errors
///
/// [`EncodeError`] when it cannot be JSON, which no text is.
pub fn encode_served_source(path: &str, file: &SourceFile) -> Result<Vec<u8>, EncodeError> {
    Ok(serde_json::to_vec(&sources::of(path, file))?)
}
