//! The same tables as lines of text, for those without a terminal and for scripts.

use viperf_profile::ProfileError;
use viperf_report::{escape_for_terminal, show_count, show_share, to_ascii};

use crate::columns::{cells, header};
use crate::draw::{Surroundings, show_clock};
use crate::live::Live;
use crate::state::State;

/// Lines of a table nobody cuts: as wide as names need, within reason.
const WIDTH: usize = 160;

/// One table: a line of what it is of, a line of columns, at most `limit` rows, and an empty line.
///
/// # Errors
///
/// [`ProfileError`] when the profile is not sound.
pub fn plain_text(
    state: &State,
    live: &Live,
    around: &Surroundings,
    limit: usize,
) -> Result<String, ProfileError> {
    let quality = live.quality(state.window);
    let seconds = quality.duration.as_secs_f64().max(f64::MIN_POSITIVE);
    let mut text = format!(
        "{} {} · {} · {:.0} samples/s at {} Hz · complete {} · lost {}\n",
        show_clock(live.elapsed()),
        escape_for_terminal(live.target()),
        state.window.name(),
        quality.samples as f64 / seconds,
        around.rate_hz,
        show_share(quality.complete, quality.samples),
        show_count(quality.lost),
    );
    text += header(state.view, state.sort, WIDTH).trim_end();
    text.push('\n');
    for row in state.rows(live)?.iter().take(limit) {
        let line: String = cells(state.view, row, WIDTH)
            .into_iter()
            .map(|(text, _)| text)
            .collect();
        text += &format!(" {}\n", line.trim_end());
    }
    text.push('\n');
    Ok(match around.is_ascii {
        true => to_ascii(&text).into_owned(),
        false => text,
    })
}
