//! `viperf convert`: another format of a profile.

use std::fs;
use std::path::Path;

use viperf_encode::{Limits, decode};
use viperf_profile::Profile;

use crate::arguments::ConvertArguments;
use crate::exit::{ExitStatus, Failure};
use crate::output::{Destination, choose_format, encode_options, next_step};
use crate::quantities::show_bytes;
use crate::terminal;

/// Reads the profile, then writes it in the format that was asked for.
pub(crate) fn run(arguments: &ConvertArguments) -> Result<ExitStatus, Failure> {
    let ConvertArguments {
        input,
        output,
        format,
        shape,
    } = arguments;
    let format = choose_format(*format, output)?;
    let destination = Destination::check(output)?;
    let profile = read_profile(input)?;
    let bytes = format.encode(&profile, &encode_options(*shape))?;
    destination.write(&bytes)?;
    if destination.path().is_some() {
        terminal::say(&format!(
            "wrote {} ({}); {}",
            output.display(),
            show_bytes(bytes.len() as u64),
            next_step(format, output)
        ));
    }
    Ok(ExitStatus::DONE)
}

/// The profile in a file of any format that is understood; of a `.viperf` file that was cut off, as much as is whole.
pub(crate) fn read_profile(path: &Path) -> Result<Profile, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::failed(format!("{} cannot be read: {error}", path.display())))?;
    let decoded = decode(&bytes, &Limits::default())
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    if let Some(damage) = decoded.damage {
        terminal::say(&format!(
            "{} is damaged, what comes before is used: {damage}",
            path.display()
        ));
    }
    Ok(decoded.profile)
}
