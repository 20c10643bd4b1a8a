//! Writing the file, whole or as it grows.

use viperf_profile::{Profile, ProfileInformation};

use crate::EncodeError;
use crate::viperf_file::{MAGIC, VERSION, block, message, rows};

/// How the file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// zstd's level, 1 (fast) to 19 (small). Default is 3.
    pub compression_level: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compression_level: 3,
        }
    }
}

/// How many rows of each table, and how many samples, are written already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) strings: usize,
    pub(super) libraries: usize,
    pub(super) functions: usize,
    pub(super) frames: usize,
    pub(super) stacks: usize,
    pub(super) processes: usize,
    pub(super) threads: usize,
    pub(super) samples: usize,
}

/// Writes a profile that is still growing.
///
/// Tables only ever grow at their end, so what is new is what lies behind the counts kept here.
///
/// [`Writer::begin`] once, [`Writer::append`] as often as there is news, [`Writer::finish`] once; each gives the bytes to
/// put at the end of the file.
/// Between two calls the profile's rows and samples may be added to, never reordered: sort the new samples first.
#[derive(Debug)]
pub struct Writer {
    options: Options,
    written: Written,
}

impl Writer {
    /// A writer of one file.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            written: Written::default(),
        }
    }

    /// The file's first bytes. The duration is not among them: it is known at the end.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when a text of the information is too large or the compressor gives up.
    pub fn begin(&self, information: &ProfileInformation) -> Result<Vec<u8>, EncodeError> {
        let mut file = Vec::from(MAGIC);
        file.extend(VERSION.to_le_bytes());
        let message = rows::information_message(information);
        block::write_block(
            &mut file,
            block::INFORMATION,
            &message,
            self.options.compression_level,
        )?;
        Ok(file)
    }

    /// Blocks with the rows and samples that were not written yet; no bytes when there are none.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the profile is not sound, a row is too large or the compressor gives up.
    pub fn append(&mut self, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
        profile.validate()?;
        let mut file = Vec::new();
        while let Some(message) = rows::next_rows(profile, &mut self.written) {
            block::write_block(
                &mut file,
                block::ROWS,
                &message,
                self.options.compression_level,
            )?;
        }
        Ok(file)
    }

    /// The file's last bytes: what is still new, then the block that says that nothing is missing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the profile is not sound, a row is too large or the compressor gives up.
    pub fn finish(mut self, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
        let mut file = self.append(profile)?;
        let message = message::End {
            duration_ns: profile.information.duration_ns,
            lost: profile.lost,
            incomplete: rows::incomplete_messages(&profile.incomplete),
            samples: profile.samples.len() as u64,
        };
        block::write_block(
            &mut file,
            block::END,
            &message,
            self.options.compression_level,
        )?;
        Ok(file)
    }
}

/// The whole file of a profile that is done.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound, a row is too large or the compressor gives up.
pub fn encode(profile: &Profile, options: &Options) -> Result<Vec<u8>, EncodeError> {
    let writer = Writer::new(options.clone());
    let mut file = writer.begin(&profile.information)?;
    file.extend(writer.finish(profile)?);
    Ok(file)
}
