//! The one line that lives while the recording runs.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use viperf_agent::{Observer, Progress, Stage};

use crate::quantities::{show_count, show_counted, show_elapsed};
use crate::terminal;

/// Redraws per second: enough to look alive, and little to send over a slow connection.
const REDRAWS_PER_SECOND: u8 = 5;

const STARTING: &str = "viperf: starting …";

/// Draws progress on standard error if that is a terminal, and says the notes in any case.
#[derive(Debug)]
pub(super) struct StatusLine {
    bar: ProgressBar,
    /// A command's output on the same terminal would be torn by a line that redraws itself.
    silent_while_sampling: bool,
    /// How long the recording is to last, if that is known.
    duration: Option<Duration>,
}

impl StatusLine {
    pub(super) fn new(runs_command: bool, duration: Option<Duration>) -> Self {
        let target = if io::stderr().is_terminal() && !terminal::is_quiet() {
            ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        // The default template would add a clock and a bar of its own; `wide` cuts the line at the terminal's edge.
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        let line = Self {
            bar,
            silent_while_sampling: runs_command && io::stdout().is_terminal(),
            duration,
        };
        // Loading programs and reading every Python of a large machine takes seconds.
        if !line.silent_while_sampling {
            line.draw(STARTING);
        }
        line
    }

    fn draw(&self, text: &str) {
        self.bar.set_message(text.to_owned());
        self.bar.tick();
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for StatusLine {
    /// Shows where the recording stands, and the notes that have come since the last call.
    fn progress(&mut self, progress: &Progress) {
        for note in &progress.notes {
            self.bar.suspend(|| terminal::say(note));
        }
        let is_sampling = !matches!(progress.stage, Stage::Symbolizing { .. });
        if !(is_sampling && self.silent_while_sampling) {
            self.draw(&render(progress, self.duration));
        }
    }
}

fn render(progress: &Progress, duration: Option<Duration>) -> String {
    let Progress {
        stage,
        samples,
        rate_achieved,
        processes,
        lost,
        elapsed,
        notes: _,
    } = progress;
    match stage {
        Stage::Starting => STARTING.to_owned(),
        Stage::Sampling => format!(
            "viperf: {} · {rate_achieved:.0}/s · {} · {} lost · {} · Ctrl-C writes the file",
            show_counted(*samples, "sample", "samples"),
            show_counted(*processes as u64, "process", "processes"),
            show_count(*lost),
            show_of(*elapsed, duration),
        ),
        Stage::Symbolizing { done, total } => format!(
            "viperf: {} · naming frames, {done} of {total} files",
            show_counted(*samples, "sample", "samples")
        ),
    }
}

/// `1:23`, or `1:23 of 5:00`.
fn show_of(elapsed: Duration, duration: Option<Duration>) -> String {
    match duration {
        Some(duration) => format!("{} of {}", show_elapsed(elapsed), show_elapsed(duration)),
        None => show_elapsed(elapsed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(stage: Stage) -> Progress {
        Progress {
            stage,
            samples: 12_345,
            rate_achieved: 98.7,
            processes: 2,
            lost: 0,
            elapsed: Duration::from_secs(83),
            notes: vec![],
        }
    }

    #[test]
    fn sampling_shows_samples_rate_processes_lost_and_time() {
        assert_eq!(
            render(&progress(Stage::Sampling), None),
            "viperf: 12,345 samples · 99/s · 2 processes · 0 lost · 1:23 · Ctrl-C writes the file"
        );
        let bounded = render(&progress(Stage::Sampling), Some(Duration::from_secs(300)));
        assert!(bounded.contains(" · 1:23 of 5:00 · "), "{bounded}");
    }
}
