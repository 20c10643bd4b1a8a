//! Writing the file, whole or as it grows.

use viperf_profile::{Profile, ProfileInformation, RecordingCost};

use crate::EncodeError;
use crate::viperf_file::{MAGIC, VERSION, block, message, rows};

/// Without news it is written so often how a recording stands: that is 50 bytes.
const LONGEST_SILENCE_NS: u64 = 10_000_000_000;

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
/// Between two calls the profile's rows and samples may be added to, never reordered: sort the new samples first. Rows of
/// processes and threads may say something else than before.
/// What waits for names and is not in the profile yet goes into the file by [`Writer::append_unnamed`], after [`Writer::append`].
/// Samples that were written may be taken out of the profile, if [`Writer::samples_were_taken_out`] is told; and the profile
/// may give way to an empty one, if [`Writer::profile_begins_anew`] is.
#[derive(Debug)]
pub struct Writer {
    options: Options,
    written: Written,
    named: rows::Named,
    standing: message::Standing,
    /// Samples that are written and no longer in the profile.
    samples_before: u64,
    /// How many profiles were written before this one.
    chapter: u32,
    /// How many profiles of samples without names were written.
    unnamed: u32,
}

impl Writer {
    /// A writer of one file.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            written: Written::default(),
            named: rows::Named::default(),
            standing: message::Standing::default(),
            samples_before: 0,
            chapter: 0,
            unnamed: 0,
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

    /// Blocks with the rows and samples that were not written yet, and how the recording stands; no bytes when there is no news.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the profile is not sound, a row is too large or the compressor gives up.
    pub fn append(&mut self, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
        let mut file = self.append_rows(profile)?;
        let standing = rows::standing_message(profile);
        let idle_ns = standing
            .duration_ns
            .saturating_sub(self.standing.duration_ns);
        if standing != self.standing && (!file.is_empty() || idle_ns >= LONGEST_SILENCE_NS) {
            self.write_standing(&mut file, standing)?;
        }
        Ok(file)
    }

    /// Blocks with samples that wait for names, as a profile of their own; they will be appended with their names, too, and
    /// whoever reads the file up to there forgets these. `before` samples of the recording come before them.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the profile is not sound, a row is too large or the compressor gives up.
    pub fn append_unnamed(
        &mut self,
        before: u64,
        profile: &Profile,
    ) -> Result<Vec<u8>, EncodeError> {
        profile.validate()?;
        self.unnamed += 1;
        let mut file = Vec::new();
        let mut written = Written::default();
        let mut samples_before = before;
        while let Some(rows) = rows::next_rows(profile, &mut written) {
            let message = message::UnnamedRows {
                batch: self.unnamed,
                samples_before,
                rows: Some(rows),
            };
            let level = self.options.compression_level;
            block::write_block(&mut file, block::UNNAMED_ROWS, &message, level)?;
            samples_before = before + written.samples as u64;
        }
        Ok(file)
    }

    fn append_rows(&mut self, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
        profile.validate()?;
        let mut file = Vec::new();
        while let Some(message) = rows::next_rows(profile, &mut self.written) {
            self.write_rows(&mut file, message)?;
        }
        if let Some(message) = rows::renamed_rows(profile, &mut self.named) {
            self.write_rows(&mut file, message)?;
        }
        Ok(file)
    }

    fn write_rows(&self, file: &mut Vec<u8>, rows: message::Rows) -> Result<(), EncodeError> {
        let level = self.options.compression_level;
        if self.chapter == 0 {
            return block::write_block(file, block::ROWS, &rows, level);
        }
        let message = message::ChapterRows {
            chapter: self.chapter,
            rows: Some(rows),
        };
        block::write_block(file, block::CHAPTER_ROWS, &message, level)
    }

    fn write_standing(
        &mut self,
        file: &mut Vec<u8>,
        standing: message::Standing,
    ) -> Result<(), EncodeError> {
        let level = self.options.compression_level;
        block::write_block(file, block::STANDING, &standing, level)?;
        self.standing = standing;
        Ok(())
    }

    /// The profile given to the last [`Writer::append`] has no samples any more.
    pub fn samples_were_taken_out(&mut self) {
        self.samples_before += self.written.samples as u64;
        self.written.samples = 0;
    }

    /// The profile given to the last [`Writer::append`] is over: the next one has its rows and samples from the beginning, and
    /// goes on with the same recording. Its times count from the same moment, and its losses from the beginning.
    pub fn profile_begins_anew(&mut self) {
        self.samples_were_taken_out();
        self.written = Written::default();
        self.named = rows::Named::default();
        self.chapter += 1;
    }

    /// The file's last bytes: what is still new, then the block that says that nothing is missing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the profile is not sound, a row is too large or the compressor gives up.
    pub fn finish(mut self, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
        let mut file = self.append_rows(profile)?;
        let standing = rows::standing_message(profile);
        // What else it says stands in the last block.
        if profile.information.cost != RecordingCost::default() && standing != self.standing {
            self.write_standing(&mut file, standing)?;
        }
        for (path, source) in profile.sources.iter() {
            let message = message::Source {
                path: path.to_owned(),
                text: source.text.clone(),
                changed_since: source.changed_since,
            };
            block::write_block(
                &mut file,
                block::SOURCE,
                &message,
                self.options.compression_level,
            )?;
        }
        let message = message::End {
            duration_ns: profile.information.duration_ns,
            lost: profile.lost,
            incomplete: rows::incomplete_messages(&profile.incomplete),
            samples: self.samples_before + profile.samples.len() as u64,
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
