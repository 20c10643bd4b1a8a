//! A flame graph picture that needs no program but a browser: no script, no network. `docs/formats/svg.md` describes it.
//!
//! The root is on top, a box is as wide as its share of the samples' time, and neighbours stand in the order of their names.

mod call_tree;
mod draw;

use viperf_profile::Profile;

use crate::EncodeError;

/// How the picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Its width in pixels. Default is 1200.
    pub width: u32,
    /// Boxes narrower than this many pixels are not drawn. Default is 0.5.
    pub narrowest: f64,
    /// The interpreter's eval frames too, as native frames. Default is `false`.
    pub interpreter_frames: bool,
    /// One root for all processes of one name. Default is `false`.
    pub merge_processes: bool,
}

impl Eq for Options {}

impl Default for Options {
    fn default() -> Self {
        Self {
            width: 1200,
            narrowest: 0.5,
            interpreter_frames: false,
            merge_processes: false,
        }
    }
}

/// The profile as a picture.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound.
pub fn encode(profile: &Profile, options: &Options) -> Result<String, EncodeError> {
    profile.validate()?;
    let narrowest = options.narrowest.max(0.01) / draw::room(options);
    let tree = call_tree::build(profile, options, narrowest)?;
    Ok(draw::draw(profile, &tree, options))
}

#[cfg(test)]
mod tests;
