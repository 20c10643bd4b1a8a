//! Texts of source files, in a block of their own that the page reads when somebody wants to see one.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use viperf_profile::{Profile, SourceFile};

use crate::EncodeError;

#[derive(Serialize)]
pub(super) struct Source<'a> {
    path: &'a str,
    text: &'a str,
    changed_since: bool,
}

/// Every text, in order of the paths.
pub(super) fn list(profile: &Profile) -> Vec<Source<'_>> {
    let texts = profile.sources.iter();
    texts.map(|(path, file)| of(path, file)).collect()
}

pub(super) fn of<'a>(path: &'a str, file: &'a SourceFile) -> Source<'a> {
    Source {
        path,
        text: &file.text,
        changed_since: file.changed_since,
    }
}

/// A gzip of JSON; empty when there are no texts.
pub(super) fn encode(profile: &Profile) -> Result<Vec<u8>, EncodeError> {
    if profile.sources.is_empty() {
        return Ok(Vec::new());
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::new(6));
    packed.write_all(&serde_json::to_vec(&list(profile))?)?;
    Ok(packed.finish()?)
}
