//! What a profiler says of a process of which the truth is known: shares of functions, stacks that cannot be.

use std::{collections::HashMap, fs, path::Path, process::Command};

use anyhow::{Context, Result};

use super::peers::Kind;

/// Folded text, root first: frames by `;`, then the weight.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    lines: Vec<(String, f64)>,
}

/// Functions of a workload whose time the workload itself measures, by the place of its counter, from 1.
const KNOWN: [(&str, &[&[&str]]); 2] = [
    (
        "known_shares",
        &[
            &["half"],
            &["three_tenths"],
            &["three_twentieths"],
            &["twentieth"],
        ],
    ),
    // Each works in a function of its own.
    ("lockstep", &[&["first_of_two"], &["second_of_two"]]),
];

impl Stacks {
    /// Reads what the profiler wrote; perf's file is only counted.
    pub(super) fn read(kind: Kind, output: &Path) -> Result<Self> {
        if kind == Kind::PerfDwarf {
            let script = Command::new("perf")
                .args(["script", "--fields", "pid", "--input"])
                .arg(output)
                .output()
                .context("perf script does not start")?;
            let lines = script.stdout.split(|byte| *byte == b'\n');
            let samples = lines.filter(|line| !line.is_empty()).count();
            return Ok(Self {
                lines: vec![(String::new(), 1.0); samples],
            });
        }
        let text = fs::read(output).with_context(|| format!("no output {}", output.display()))?;
        Ok(Self::parse(&String::from_utf8_lossy(&text), kind))
    }

    fn parse(text: &str, kind: Kind) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let split = lines.filter_map(|line| line.rsplit_once(' '));
        let weigh = |(stack, weight): (&str, &str)| {
            // austin writes a line for each sample, and its microseconds.
            let weight = match kind {
                Kind::Austin => 1.0,
                _ => weight.parse().ok()?,
            };
            Some((stack.to_owned(), weight))
        };
        Self {
            lines: split.filter_map(weigh).collect(),
        }
    }

    pub(super) fn samples(&self) -> f64 {
        self.lines.iter().map(|(_, weight)| weight).sum()
    }

    /// Of viperf's own text: samples of 100 whose innermost function has no name though its file `has_symbols`, and those
    /// without a function of Python.
    pub(super) fn unnamed_and_without_python(
        &self,
        has_symbols: &dyn Fn(&str) -> bool,
    ) -> (f64, f64) {
        let all = self.samples();
        let part = |is_so: &dyn Fn(&str) -> bool| {
            let those = self.lines.iter().filter(|(stack, _)| is_so(stack));
            100.0 * those.map(|(_, weight)| weight).sum::<f64>() / all
        };
        // An address in a file (`[libz.so.1+0x1]`), or a gap.
        let is_unnamed = |stack: &str| {
            let leaf = stack.rsplit(';').next().unwrap_or_default();
            let address = leaf.strip_prefix('[');
            address.is_some_and(|text| {
                text.rsplit_once("+0x")
                    .is_none_or(|(file, _)| has_symbols(file))
            })
        };
        (part(&is_unnamed), part(&|stack| !stack.contains("_[p]")))
    }

    /// The largest difference between a function's share and the true one, in points of 100.
    pub(super) fn error(&self, workload: &str, counters: &[u64]) -> Option<f64> {
        let (_, functions) = KNOWN.iter().find(|(name, _)| *name == workload)?;
        let truth: Vec<f64> = counters
            .iter()
            .skip(1)
            .take(functions.len())
            .map(|each| *each as f64)
            .collect();
        let seen: Vec<f64> = functions
            .iter()
            .map(|names| self.weight_in(names))
            .collect();
        let (true_sum, seen_sum) = (truth.iter().sum::<f64>(), seen.iter().sum::<f64>());
        let differences = truth
            .iter()
            .zip(&seen)
            .map(|(truth, seen)| 100.0 * (truth / true_sum - seen / seen_sum).abs());
        (true_sum > 0.0 && seen_sum > 0.0).then(|| differences.fold(0.0, f64::max))
    }

    fn weight_in(&self, names: &[&str]) -> f64 {
        let has = |stack: &str| {
            stack
                .split(';')
                .any(|frame| names.contains(&name_of(frame)))
        };
        self.lines
            .iter()
            .filter(|(stack, _)| has(stack))
            .map(|(_, weight)| weight)
            .sum()
    }

    /// Samples of `quick_calls` in which a function stands below one that never calls it.
    pub(super) fn impossible(&self, workload: &str) -> Option<f64> {
        if workload != "quick_calls" {
            return None;
        }
        let is_impossible = |stack: &str| {
            let has = |name: &str| stack.split(';').any(|frame| name_of(frame) == name);
            let (a, b) = (has("hot_a"), has("hot_b"));
            (a && b) || (has("leaf_a") && !a) || (has("leaf_b") && !b)
        };
        Some(
            self.lines
                .iter()
                .filter(|(stack, _)| is_impossible(stack))
                .map(|(_, weight)| weight)
                .sum(),
        )
    }
}

/// Names of the files that run in a process, and whether each has symbols of its own functions, as binutils says.
pub(super) fn files_with_symbols(pid: u32) -> Result<HashMap<String, bool>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let paths = maps
        .lines()
        .filter_map(|line| Some(&line[line.find(" /")? + 1..]));
    let mut files = HashMap::new();
    for path in paths.map(Path::new) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !files.contains_key(name) {
            files.insert(name.to_owned(), has_symbols(path)?);
        }
    }
    Ok(files)
}

fn has_symbols(file: &Path) -> Result<bool> {
    let sections = Command::new("readelf")
        .args(["--section-headers", "--wide"])
        .arg(file)
        .output()
        .context("readelf does not start")?;
    Ok(String::from_utf8_lossy(&sections.stdout).contains(" .symtab "))
}

/// `name (file:line)` of viperf and py-spy, `file:name:line` of austin and CPython.
fn name_of(frame: &str) -> &str {
    match frame.split_once(" (") {
        Some((name, _)) => name,
        None => frame.rsplit(':').nth(1).unwrap_or(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_in_the_text_of_every_profiler() {
        for frame in [
            "half (benchmark.py:3)_[p]",
            "half (benchmark.py:3)",
            "/a/benchmark.py:half:3",
        ] {
            assert_eq!(name_of(frame), "half");
        }
    }

    #[test]
    fn the_error_is_the_largest_difference_of_shares() {
        let stacks = Stacks::parse(
            "a;first_of_two (x:1) 60\na;second_of_two (x:2) 40\n",
            Kind::PySpy,
        );
        assert_eq!(stacks.samples(), 100.0);
        assert!((stacks.error("lockstep", &[9, 500, 500]).unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(stacks.error("zlib_example", &[9]), None);
    }

    #[test]
    fn an_address_has_no_name_and_a_stack_of_native_code_no_python() {
        let text = "p (1);f (a.py:1)_[p];deflate (libz.so)_[pn] 6\np (1);f (a.py:1)_[p];[libz.so+0x1]_[pn] 1\np (1);g (libc.so)_[pn] 3\n";
        let stacks = Stacks::parse(text, Kind::Viperf);
        let (unnamed, without_python) =
            stacks.unnamed_and_without_python(&|file| file == "libz.so");
        assert!((unnamed - 10.0).abs() < 1e-9 && (without_python - 30.0).abs() < 1e-9);
        // No profiler can name what is stripped.
        let (unnamed, _) = stacks.unnamed_and_without_python(&|_| false);
        assert!(unnamed.abs() < 1e-9);
    }

    #[test]
    fn a_leaf_without_its_caller_is_impossible() {
        let text = "hot_a (x:1);leaf_a (x:2) 5\nhot_b (x:1);leaf_a (x:2) 2\nleaf_b (x:9) 1\n";
        assert_eq!(
            Stacks::parse(text, Kind::PySpy).impossible("quick_calls"),
            Some(3.0)
        );
    }
}
