//! The Firefox Profiler's processed format, version 60, as gzip-compressed JSON. `docs/formats/firefox.md` says what of a
//! profile is in it.
//!
//! Later versions of the Profiler bring it up to date when they open it:
//! <https://github.com/firefox-devtools/profiler/blob/main/docs-developer/CHANGELOG-formats.md>.
//! Version 60 is the first whose tables are shared by all threads, as a profile's are here.

mod meta;
mod tables;
mod threads;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use viperf_profile::Profile;

use crate::EncodeError;
use crate::json_text::{push_field, push_name};

/// How the file is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The interpreter's eval frames too, as native frames. Default is `false`.
    pub interpreter_frames: bool,
}

/// The profile for the Firefox Profiler.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound.
pub fn encode(profile: &Profile, options: &Options) -> Result<Vec<u8>, EncodeError> {
    profile.validate()?;
    let mut tables = tables::Tables::build(profile, options)?;
    let mut text = b"{".to_vec();
    push_field(&mut text, "meta", &meta::meta(profile))?;
    push_field(&mut text, "libs", &tables::libraries(profile)?)?;
    push_field(&mut text, "pages", &[(); 0])?;
    push_field(&mut text, "profilerOverhead", &[(); 0])?;
    push_field(&mut text, "counters", &[(); 0])?;
    push_name(&mut text, "threads");
    text.push(b'[');
    threads::push_threads(&mut text, profile, &mut tables)?;
    text.push(b']');
    tables.push_shared(&mut text, profile)?;
    text.push(b'}');
    // Level 3 takes half the time of level 6 for a tenth more bytes.
    let mut file = GzEncoder::new(Vec::new(), Compression::new(3));
    file.write_all(&text)?;
    Ok(file.finish()?)
}

#[cfg(test)]
mod tests;
