//! What was recorded, and how well.

use std::collections::BTreeMap;

use serde::Serialize;
use viperf_profile::{Measure, Profile, ProfileError, Weight};

use crate::figures::{Whole, show_count, show_counted, show_share, show_time};
use crate::safe_text::escape_for_terminal;
use crate::style::{Paint, Style};

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
    pub(crate) fn headline(&self) -> String {
        let mut parts = Vec::new();
        if !self.target.is_empty() {
            parts.push(escape_for_terminal(&self.target).into_owned());
        }
        if let [one] = self.python_versions.as_slice() {
            parts.push(format!("Python {}", escape_for_terminal(one)));
        }
        if self.duration_ns != 0 {
            parts.push(show_time(self.duration_ns));
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

    /// `99.2 % (native: unknown mapping 0.5 %, …)`.
    pub(crate) fn complete_line(&self) -> String {
        let share = show_share(self.samples_complete, self.samples);
        let mut reasons: Vec<_> = self.incomplete.iter().collect();
        reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), *reason));
        let shown: Vec<_> = reasons
            .iter()
            .take(3)
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
            true => share,
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
        let headline = self.headline();
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
        let mut line = |label: &str, value: &str, paint: Paint| {
            let label = style.paint(&format!("{label:<9}"), Paint::Dim);
            text += &format!("  {label} {}\n", style.paint(value, paint));
        };
        line("samples", &self.samples_line(), Paint::Plain);
        if let Some(rate) = self.rate_line() {
            line("rate", &rate, Paint::Plain);
        }
        line("complete", &self.complete_line(), complete);
        line("lost", &self.lost_line(), lost);
        text
    }
}
