//! Samples that still waited for their names when a recording was cut off.

use viperf_profile::{Profile, count_reasons};

use crate::viperf_file::{apply, block::Block, message};

/// Adds to `profile` what `blocks` have of the samples after its own; how many there are. What is damaged is left out.
///
/// The samples of these blocks are numbered like those of the recording, and those that `profile` has are known by their names.
pub(super) fn apply(profile: &mut Profile, blocks: &[Block<'_>], budget: &mut u64) -> usize {
    let named = profile.samples.len();
    let mut batch: Vec<message::UnnamedRows> = Vec::new();
    for block in blocks {
        let Ok(message) = block.decode::<message::UnnamedRows>(budget) else {
            break;
        };
        if batch
            .first()
            .is_some_and(|first| first.batch != message.batch)
        {
            apply_batch(profile, named as u64, std::mem::take(&mut batch));
        }
        batch.push(message);
    }
    apply_batch(profile, named as u64, batch);
    let added = profile.samples.get(named..).unwrap_or_default();
    for (reason, count) in count_reasons(profile, added).unwrap_or_default() {
        *profile.incomplete.entry(reason).or_default() += count;
    }
    profile.samples.len() - named
}

fn samples(message: &message::UnnamedRows) -> u64 {
    let rows = message.rows.as_ref();
    let samples = rows.and_then(|rows| rows.samples.as_ref());
    samples.map_or(0, |samples| samples.stack.len() as u64)
}

fn apply_batch(profile: &mut Profile, named: u64, batch: Vec<message::UnnamedRows>) {
    let end =
        |message: &message::UnnamedRows| message.samples_before.saturating_add(samples(message));
    if batch.iter().all(|message| end(message) <= named) {
        return;
    }
    let mut rows = apply::FileRows::default();
    for message in batch {
        let known = named.saturating_sub(message.samples_before);
        let known = known.min(samples(&message)) as usize;
        let before = profile.samples.len();
        let message = message.rows.unwrap_or_default();
        if apply::apply_rows_of_chapter(profile, &mut rows, message).is_err() {
            return;
        }
        profile.samples.drain(before..before + known);
    }
}
