//! What was measured, as numbers.

use std::{collections::BTreeMap, fs};

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// One profiler on one workload at one rate; what it does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Work per second that the target lost.
    pub(super) loss_percent: Option<f64>,
    pub(super) samples: Option<f64>,
    /// Of the profiler, in user space and in the kernel, start and output included.
    pub(super) cpu_seconds: Option<f64>,
    pub(super) cpu_per_thousand: Option<f64>,
    /// The same, of one CPU.
    pub(super) cpu_percent: Option<f64>,
    /// Of each sample in the kernel, in the sampled thread.
    pub(super) kernel_microseconds: Option<f64>,
    pub(super) peak_bytes: Option<f64>,
    pub(super) map_bytes: Option<f64>,
    pub(super) first_sample_ms: Option<f64>,
    /// Start and output: what the profiler ran longer than it was told to sample.
    pub(super) after_ms: Option<f64>,
    pub(super) lost: Option<f64>,
    pub(super) complete_percent: Option<f64>,
    /// Points of 100 between a known share and the one that was seen.
    pub(super) attribution_error: Option<f64>,
    /// Samples whose stack cannot be.
    pub(super) impossible: Option<f64>,
    /// Samples times their period, against the CPU time that the kernel accounted to the target.
    pub(super) cpu_time_error_percent: Option<f64>,
    /// Samples whose innermost function has no name.
    pub(super) unnamed_percent: Option<f64>,
    /// Samples without a Python function.
    pub(super) without_python_percent: Option<f64>,
    /// Processes that did work and have no sample.
    pub(super) unseen_percent: Option<f64>,
}

type Field = fn(&Figures) -> Option<f64>;
type FieldMut = fn(&mut Figures) -> &mut Option<f64>;

/// A figure: its name in the tables, how it is read and set.
pub(super) const FIELDS: [(&str, Field, FieldMut); 18] = [
    (
        "target lost, %",
        |f| f.loss_percent,
        |f| &mut f.loss_percent,
    ),
    ("samples", |f| f.samples, |f| &mut f.samples),
    ("its CPU, s", |f| f.cpu_seconds, |f| &mut f.cpu_seconds),
    (
        "CPU s per 1,000 samples",
        |f| f.cpu_per_thousand,
        |f| &mut f.cpu_per_thousand,
    ),
    ("CPU, % of one", |f| f.cpu_percent, |f| &mut f.cpu_percent),
    (
        "kernel µs per sample",
        |f| f.kernel_microseconds,
        |f| &mut f.kernel_microseconds,
    ),
    ("peak memory", |f| f.peak_bytes, |f| &mut f.peak_bytes),
    ("BPF maps", |f| f.map_bytes, |f| &mut f.map_bytes),
    (
        "first sample, ms",
        |f| f.first_sample_ms,
        |f| &mut f.first_sample_ms,
    ),
    ("start and output, ms", |f| f.after_ms, |f| &mut f.after_ms),
    ("lost", |f| f.lost, |f| &mut f.lost),
    (
        "complete, %",
        |f| f.complete_percent,
        |f| &mut f.complete_percent,
    ),
    (
        "attribution error, points",
        |f| f.attribution_error,
        |f| &mut f.attribution_error,
    ),
    ("impossible stacks", |f| f.impossible, |f| &mut f.impossible),
    (
        "CPU time error, %",
        |f| f.cpu_time_error_percent,
        |f| &mut f.cpu_time_error_percent,
    ),
    (
        "innermost function unnamed, %",
        |f| f.unnamed_percent,
        |f| &mut f.unnamed_percent,
    ),
    (
        "without Python, %",
        |f| f.without_python_percent,
        |f| &mut f.without_python_percent,
    ),
    (
        "processes unseen, %",
        |f| f.unseen_percent,
        |f| &mut f.unseen_percent,
    ),
];

/// The median of each figure.
pub(super) fn median(all: &[Figures]) -> Figures {
    let mut result = Figures::default();
    for (_, read, place) in FIELDS {
        let mut values: Vec<f64> = all
            .iter()
            .filter_map(read)
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        *place(&mut result) = values.get(values.len() / 2).copied();
    }
    result
}

/// The figures of one run of the whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Results {
    /// Where it was, and how often and long: kernel, processors.
    pub(super) machine: String,
    /// By workload and rate, then by profiler.
    pub(super) rows: BTreeMap<String, BTreeMap<String, Figures>>,
}

impl Results {
    pub(super) fn of_this_machine(pairs: usize, seconds: u64) -> Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("an unknown processor", |line| {
            line.trim_start_matches(['\t', ' ', ':'])
        });
        let count = std::thread::available_parallelism()?;
        Ok(Self {
            machine: format!(
                "{count} virtual cores of {model}, Linux {}, {pairs} times for {seconds} s each",
                kernel.trim()
            ),
            rows: BTreeMap::new(),
        })
    }

    pub(super) fn key(workload: &str, rate: u32) -> String {
        format!("{workload} at {rate} Hz")
    }

    pub(super) fn add(&mut self, workload: &str, rate: u32, profiler: &str, figures: Figures) {
        let row = self.rows.entry(Self::key(workload, rate)).or_default();
        row.insert(profiler.to_owned(), figures);
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(self)?)
    }

    pub(super) fn from_json(text: &[u8]) -> Result<Self> {
        Ok(serde_json::from_slice(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_own_median_and_one_that_nobody_tells_has_none() {
        let of = |loss, samples| Figures {
            loss_percent: Some(loss),
            samples: Some(samples),
            ..Figures::default()
        };
        let median = median(&[of(3.0, 10.0), of(1.0, 30.0), of(f64::NAN, 20.0)]);
        assert_eq!(median.samples, Some(20.0));
        assert_eq!(median.loss_percent, Some(3.0));
        assert_eq!(median.lost, None);
    }
}
