//! `viperf convert`: another format of a profile.

use std::fs;
use std::path::Path;

use viperf_encode::{Limits, decode_observed};
use viperf_profile::Profile;

use crate::arguments::ConvertArguments;
use crate::exit::{ExitStatus, Failure};
use crate::output::{Destination, choose_format, encode_options};
use crate::report::quoted;
use crate::{next, progress, terminal};

/// Reads the profile, then writes it in the format that was asked for.
pub(crate) fn run(arguments: &ConvertArguments) -> Result<ExitStatus, Failure> {
    let ConvertArguments {
        input,
        output,
        format,
        shape,
        sources,
    } = arguments;
    let format = choose_format(*format, output)?;
    let destination = Destination::check(output)?;
    let mut profile = read_profile(input)?;
    if !sources.is_empty() {
        sources.add_to(&mut profile)?;
    }
    let what = format!("writing {}", quoted(output));
    let bytes = progress::during(&what, || format.encode(&profile, &encode_options(*shape)))?;
    destination.write(&bytes)?;
    if destination.path().is_some() {
        next::tell_written(format, output, bytes.len() as u64);
    }
    Ok(ExitStatus::DONE)
}

/// The profile in a file of any format that is understood; of a `.viperf` file that was cut off, as much as is whole.
pub(crate) fn read_profile(path: &Path) -> Result<Profile, Failure> {
    let (profile, damage) = read_with_damage(path).map_err(Failure::failed)?;
    if let Some(damage) = damage {
        terminal::say(&damage);
    }
    Ok(profile)
}

/// The same, and one line on what is damaged; the error is one line, too.
pub(crate) fn read_with_damage(path: &Path) -> Result<(Profile, Option<String>), String> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let decoded = progress::reading(path, bytes.len(), |progress| {
        decode_observed(&bytes, &Limits::default(), progress)
    });
    let decoded = decoded.map_err(|error| format!("{shown}: {error}"))?;
    let damage = decoded
        .damage
        .map(|damage| format!("{shown} is damaged, what comes before is used: {damage}"));
    Ok((decoded.profile, damage))
}
