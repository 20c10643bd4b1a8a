//! Numbers as they are kept, and as people read them.

use serde::Serialize;
use viperf_profile::{Measure, Split, Weight};

/// An amount of time, and the share of the whole that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Amount {
    /// Samples.
    pub samples: u64,
    /// The time they stand for, in nanoseconds.
    pub ns: u64,
    /// The share of the whole, from 0 to 1, by the report's measure.
    pub share: f64,
}

impl Amount {
    /// `9.84 s`; the number of samples if they say no time.
    pub(crate) fn show(&self) -> String {
        match self.ns {
            0 => show_count(self.samples),
            ns => show_time(ns),
        }
    }

    /// `9.84 s`, or `984 samples`.
    pub(crate) fn show_with_unit(&self) -> String {
        match self.ns {
            0 => show_counted(self.samples, "sample", "samples"),
            ns => show_time(ns),
        }
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            samples: self.samples.saturating_add(other.samples),
            ns: self.ns.saturating_add(other.ns),
            share: self.share + other.share,
        }
    }
}

/// [`Split`] with shares of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SplitAmounts {
    /// Bytecode.
    pub python: Amount,
    /// C code that was called directly.
    pub native: Amount,
    /// The kernel.
    pub kernel: Amount,
    /// On-CPU time in taking the GIL; not the time asleep.
    pub gil_wait: Amount,
    /// The walk could not go on.
    pub unknown: Amount,
}

/// What shares are shares of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    pub(crate) weight: Weight,
    pub(crate) measure: Measure,
}

impl Whole {
    /// By time, unless no sample says for how long it stands.
    pub(crate) fn new(weight: Weight) -> Self {
        let measure = match weight.ns {
            0 => Measure::Samples,
            _ => Measure::Time,
        };
        Self { weight, measure }
    }

    pub(crate) fn share(&self, part: Weight) -> f64 {
        match self.weight.by(self.measure) {
            0 => 0.0,
            whole => part.by(self.measure) as f64 / whole as f64,
        }
    }

    pub(crate) fn amount(&self, part: Weight) -> Amount {
        let Weight { samples, ns } = part;
        Amount {
            samples,
            ns,
            share: self.share(part),
        }
    }

    pub(crate) fn split(&self, split: &Split) -> SplitAmounts {
        let Split {
            python,
            native,
            kernel,
            gil_wait,
            unknown,
        } = *split;
        SplitAmounts {
            python: self.amount(python),
            native: self.amount(native),
            kernel: self.amount(kernel),
            gil_wait: self.amount(gil_wait),
            unknown: self.amount(unknown),
        }
    }
}

/// `45.2`, `0.3`; `0.0` is more than nothing, and nothing is `-`.
#[must_use]
pub fn show_percent(share: f64) -> String {
    match share {
        share if share <= 0.0 => "-".to_owned(),
        share => format!("{:.1}", share * 100.0),
    }
}

/// `99.7 %`; `100 %` and `0 %` only when it is so.
#[must_use]
pub fn show_share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let percent = 100.0 * part as f64 / whole as f64;
    match percent {
        _ if part == 0 => "0 %".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        _ if percent < 0.1 => "< 0.1 %".to_owned(),
        _ if percent > 99.9 => "> 99.9 %".to_owned(),
        _ => format!("{percent:.1} %"),
    }
}

/// `1,234,567`.
#[must_use]
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 process`, `2,000 processes`.
#[must_use]
pub fn show_counted(count: u64, one: &str, many: &str) -> String {
    let noun = if count == 1 { one } else { many };
    format!("{} {noun}", show_count(count))
}

/// `850 ns`, `34 ms`, `9.84 s`, `187 s`, `2h 05m`.
#[must_use]
pub fn show_time(ns: u64) -> String {
    let seconds = ns as f64 / 1e9;
    match seconds {
        _ if ns < 1_000 => format!("{ns} ns"),
        _ if ns < 1_000_000 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 9.995 => format!("{seconds:.2} s"),
        _ if seconds < 99.95 => format!("{seconds:.1} s"),
        _ if seconds < 3600.0 => format!("{seconds:.0} s"),
        _ => format!(
            "{}h {:02}m",
            ns / 3_600_000_000_000,
            ns / 60_000_000_000 % 60
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well_at_every_size() {
        let times = [
            5,
            34_000,
            34_000_000,
            9_840_000_000,
            45_200_000_000,
            187_000_000_000,
            7_530_000_000_000,
        ];
        assert_eq!(
            times.map(show_time),
            [
                "5 ns", "34 µs", "34 ms", "9.84 s", "45.2 s", "187 s", "2h 05m"
            ]
        );
        assert_eq!(
            [0.0, 0.0001, 0.4521, 1.0].map(show_percent),
            ["-", "0.0", "45.2", "100.0"]
        );
        assert_eq!(
            [0, 999, 1_234_567].map(show_count),
            ["0", "999", "1,234,567"]
        );
        assert_eq!(show_counted(1, "process", "processes"), "1 process");
        let many = show_counted(2000, "process", "processes");
        assert_eq!(many, "2,000 processes");
    }

    #[test]
    fn a_share_is_whole_only_when_nothing_is_missing() {
        assert_eq!(show_share(10_000, 10_000), "100 %");
        assert_eq!(show_share(99_999, 100_000), "> 99.9 %");
        assert_eq!(show_share(1, 100_000), "< 0.1 %");
        assert_eq!(show_share(0, 5), "0 %");
        assert_eq!(show_share(0, 0), "-");
        assert_eq!(show_share(997, 1000), "99.7 %");
    }

    #[test]
    fn samples_that_say_no_time_are_counted() {
        let whole = Whole::new(Weight { samples: 4, ns: 0 });
        assert_eq!(whole.share(Weight { samples: 1, ns: 0 }), 0.25);
        assert_eq!(Whole::new(Weight::default()).share(Weight::default()), 0.0);
    }
}
