//! What was recorded, and how well.

use std::collections::BTreeMap;

use serde::Serialize;
use viperf_profile::{Measure, Profile, ProfileError, Weight};

use crate::figures::{Whole, show_count, show_counted, show_share, show_time};
use crate::safe_text::{columns, escape_for_terminal, keep_file_names};
use crate::style::{Paint, Style};

/// What is left of a target on a narrow terminal.
const FEWEST_COLUMNS: usize = 16;
/// What stands before a value: two spaces, nine of a label, one space.
const LABEL_COLUMNS: usize = 12;

/// What was recorded, and how well.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What was profiled, as the user named it.
    pub target: String,
    /// The machine's host name.
    pub hostname: String,
    /// The versions of Python that were seen.
    pub python_versions: Vec<String>,
    /// How long it lasted, in nanoseconds; 0 when not known.
    pub duration_ns: u64,
    /// What shares are shares of: `time` or `samples`.
    pub measure: &'static str,
    /// Samples.
    pub samples: u64,
    /// The time they stand for together.
    pub ns: u64,
    /// Samples that are complete.
    pub samples_complete: u64,
    /// Samples that the kernel took and that never arrived.
    pub samples_lost: u64,
    /// Reason to number of samples.
    pub incomplete: BTreeMap<String, u64>,
    /// Samples without a Python frame.
    pub samples_without_python: u64,
    /// Processes with samples.
    pub processes: u64,
    /// Threads with samples.
    pub threads: u64,
    /// Samples per second and CPU that were asked for; 0 when not known.
    pub rate_hz: u32,
    /// Samples per second that came, over all targets; 0 when not known.
    pub rate_achieved: f64,
}

impl Summary {
    /// Shares are by time, unless no sample says for how long it stands.
    pub(crate) fn new(
        profile: &Profile,
        with_python: Weight,
        threads: &[Weight],
    ) -> Result<Self, ProfileError> {
        let whole = Whole::new(Weight::of(&profile.samples));
        let information = &profile.information;
        let mut seen_processes = std::collections::BTreeSet::new();
        let mut seen_threads = 0;
        let mut versions = std::collections::BTreeSet::new();
        for ((_, thread), weight) in profile.threads.iter().zip(threads) {
            if weight.is_empty() {
                continue;
            }
            seen_threads += 1;
            seen_processes.insert(thread.process);
            if let Some(version) = profile.process(thread.process)?.python_version {
                versions.insert(profile.string(version)?.to_owned());
            }
        }
        let samples = whole.weight.samples;
        let seconds = information.duration_ns as f64 / 1e9;
        Ok(Self {
            target: information.target.clone(),
            hostname: information.hostname.clone(),
            python_versions: versions.into_iter().collect(),
            duration_ns: information.duration_ns,
            measure: match whole.measure {
                Measure::Time => "time",
                Measure::Samples => "samples",
            },
            samples,
            ns: whole.weight.ns,
            samples_complete: profile.complete_samples(),
            samples_lost: profile.lost,
            incomplete: profile.incomplete.clone(),
            samples_without_python: samples.saturating_sub(with_python.samples),
            processes: seen_processes.len() as u64,
            threads: seen_threads,
            rate_hz: information.rate_hz,
            rate_achieved: if seconds > 0.0 {
                samples as f64 / seconds
            } else {
                0.0
            },
        })
    }

    /// `python3 app.py · Python 3.12.4 · 9.87 s`, escaped; what is not known is left out.
    /// A target that does not fit in `width` columns is shortened.
    pub(crate) fn headline(&self, width: Option<usize>) -> String {
        let mut parts = Vec::new();
        if let [one] = self.python_versions.as_slice() {
            parts.push(format!("Python {}", escape_for_terminal(one)));
        }
        if self.duration_ns != 0 {
            parts.push(show_time(self.duration_ns));
        }
        if !self.target.is_empty() {
            let target = escape_for_terminal(&self.target);
            let others: usize = parts.iter().map(|part| columns(part) + 3).sum();
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(others));
            parts.insert(
                0,
                keep_file_names(&target, room.max(FEWEST_COLUMNS)).into_owned(),
            );
        }
        parts.join(" · ")
    }

    /// `9,873 of 1 process and 3 threads, 9.87 s in all`.
    pub(crate) fn samples_line(&self) -> String {
        let mut text = format!(
            "{} of {} and {}",
            show_count(self.samples),
            show_counted(self.processes, "process", "processes"),
            show_counted(self.threads, "thread", "threads")
        );
        if self.ns != 0 {
            text += &format!(", {} in all", show_time(self.ns));
        }
        text
    }

    /// `987.0 samples per second over all targets, at 999 Hz`.
    pub(crate) fn rate_line(&self) -> Option<String> {
        if self.rate_achieved <= 0.0 {
            return None;
        }
        let asked = match self.rate_hz {
            0 => String::new(),
            rate => format!(", at {rate} Hz"),
        };
        Some(format!(
            "{:.1} samples per second over all targets{asked}",
            self.rate_achieved
        ))
    }

    /// `99.2 %; not: 0.5 % native: unknown mapping, 2 more`: as many reasons as `width` columns hold, three at most.
    pub(crate) fn complete_line(&self, width: Option<usize>) -> String {
        let lines = (0..=3).rev().map(|most| self.complete_with(most));
        let room = width.unwrap_or(usize::MAX);
        let mut fitting = lines.filter(|line| columns(line) <= room);
        fitting.next().unwrap_or_else(|| self.complete_with(0))
    }

    fn complete_with(&self, most: usize) -> String {
        let share = show_share(self.samples_complete, self.samples);
        let mut reasons: Vec<_> = self.incomplete.iter().collect();
        reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), *reason));
        let shown: Vec<_> = reasons
            .iter()
            .take(most)
            .map(|(reason, count)| {
                let share = show_share(**count, self.samples);
                format!("{share} {}", escape_for_terminal(reason))
            })
            .collect();
        let more = match reasons.len().saturating_sub(shown.len()) {
            0 => String::new(),
            more => format!(", {more} more"),
        };
        match shown.is_empty() {
            true if reasons.is_empty() => share,
            true => format!(
                "{share}; {} why not",
                show_counted(reasons.len() as u64, "reason", "reasons")
            ),
            false => format!("{share}; not: {}{more}", shown.join(", ")),
        }
    }

    /// `0`, or how many and of what.
    pub(crate) fn lost_line(&self) -> String {
        match self.samples_lost {
            0 => "0".to_owned(),
            lost => format!(
                "{} ({}): record with a lower rate or fewer targets",
                show_count(lost),
                show_share(lost, self.samples.saturating_add(lost))
            ),
        }
    }

    /// The lines above a report.
    pub(crate) fn text(&self, style: &Style) -> String {
        let mut text = String::new();
        let headline = self.headline(style.width);
        if !headline.is_empty() {
            text += &format!("{}\n", style.paint(&headline, Paint::Heading));
        }
        let complete = match self.samples_complete as f64 {
            complete if complete >= 0.99 * self.samples as f64 => Paint::Good,
            _ => Paint::Alarm,
        };
        let lost = match self.samples_lost {
            0 => Paint::Plain,
            _ => Paint::Alarm,
        };
        let room = style.width.map(|width| width.saturating_sub(LABEL_COLUMNS));
        let mut line = |label: &str, value: &str, paint: Paint| {
            let label = style.paint(&format!("{label:<9}"), Paint::Dim);
            text += &format!("  {label} {}\n", style.paint(value, paint));
        };
        line("samples", &self.samples_line(), Paint::Plain);
        if let Some(rate) = self.rate_line() {
            line("rate", &rate, Paint::Plain);
        }
        line("complete", &self.complete_line(room), complete);
        line("lost", &self.lost_line(), lost);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut profile = Profile::default();
        let long = "/srv/environments/shop/bin/python3 /srv/environments/shop/bin/gunicorn shop.wsgi:application --workers 8";
        profile.information.target = long.to_owned();
        profile.information.duration_ns = 9_870_000_000;
        for (reason, count) in [
            ("native: unknown mapping", 9),
            ("native: no row for this place", 7),
        ] {
            profile.incomplete.insert(reason.to_owned(), count);
        }
        let summary = Summary::new(&profile, Weight::default(), &[]).unwrap();
        for width in [60, 80, 200] {
            let style = Style {
                width: Some(width),
                ..Style::default()
            };
            let text = summary.text(&style);
            for line in text.lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
        let text = summary.text(&Style::default());
        assert!(text.starts_with(&format!("{long} · 9.87 s\n")), "{text}");
        assert!(
            text.contains("unknown mapping") && text.contains("no row"),
            "{text}"
        );
        let narrow = summary.text(&Style {
            width: Some(80),
            ..Style::default()
        });
        assert!(
            narrow.contains("gunicorn") && narrow.contains("9.87 s\n"),
            "{narrow}"
        );
    }
}
