//! What viperf is held to, and whether a run holds it.

use super::figures::{Figures, Results};

/// A figure of viperf on a workload at a rate, and the most that it may be.
struct Bar {
    what: &'static str,
    workload: &'static str,
    rate: u32,
    read: fn(&Figures) -> Option<f64>,
    most: f64,
}

const MEBIBYTE: f64 = 1_048_576.0;

const BARS: [Bar; 22] = [
    bar(
        "work that the target loses, %",
        "zlib_example",
        100,
        |f| f.loss_percent,
        0.5,
    ),
    bar(
        "work that the target loses, %",
        "zlib_example",
        1000,
        |f| f.loss_percent,
        5.0,
    ),
    bar(
        "kernel time of a sample, µs",
        "zlib_example",
        100,
        |f| f.kernel_microseconds,
        50.0,
    ),
    bar(
        "CPU of everything per 1,000 samples, s (of 60 s, start included)",
        "zlib_example",
        100,
        |f| f.cpu_per_thousand,
        0.06,
    ),
    bar(
        "first sample after viperf's call, ms",
        "zlib_example",
        100,
        |f| f.first_sample_ms,
        150.0,
    ),
    bar(
        "peak memory, MiB",
        "zlib_example",
        100,
        |f| f.peak_bytes.map(|bytes| bytes / MEBIBYTE),
        64.0,
    ),
    bar(
        "stacks that cannot be",
        "quick_calls",
        1000,
        |f| f.impossible,
        0.0,
    ),
    bar(
        "samples lost, %",
        "quick_calls",
        1000,
        |f| Some(100.0 * f.lost? / f.samples?),
        0.5,
    ),
    bar(
        "kernel time of a sample, µs",
        "recursion_900",
        1000,
        |f| f.kernel_microseconds,
        100.0,
    ),
    bar(
        "samples that are not complete, %",
        "recursion_900",
        1000,
        |f| f.complete_percent.map(|complete| 100.0 - complete),
        0.5,
    ),
    bar(
        "peak memory, MiB",
        "recursion_900",
        1000,
        |f| f.peak_bytes.map(|bytes| bytes / MEBIBYTE),
        64.0,
    ),
    bar(
        "error of shares, points",
        "known_shares",
        1000,
        |f| f.attribution_error,
        1.0,
    ),
    bar(
        "error of shares, points",
        "lockstep",
        1000,
        |f| f.attribution_error,
        1.0,
    ),
    bar(
        "work that the targets lose, %",
        "processes_200",
        100,
        |f| f.loss_percent,
        1.0,
    ),
    bar(
        "peak memory, MiB",
        "processes_200",
        100,
        |f| f.peak_bytes.map(|bytes| bytes / MEBIBYTE),
        64.0,
    ),
    bar(
        "work that the stream loses, %",
        "short_processes",
        100,
        |f| f.loss_percent,
        2.0,
    ),
    bar(
        "children without a sample, %",
        "short_processes",
        100,
        |f| f.unseen_percent,
        2.0,
    ),
    bar(
        "innermost functions without a name in files with symbols, %",
        "zlib_example",
        1000,
        |f| f.unnamed_percent,
        1.0,
    ),
    bar(
        "samples without a Python function, %",
        "zlib_example",
        1000,
        |f| f.without_python_percent,
        0.1,
    ),
    bar(
        "samples lost, %",
        "zlib_example",
        10_000,
        |f| Some(100.0 * f.lost? / (f.samples? + f.lost?)),
        0.1,
    ),
    bar(
        "CPU of everything, % of one",
        "zlib_example",
        10_000,
        |f| f.cpu_percent,
        15.0,
    ),
    bar(
        "error of the target's CPU time, %",
        "zlib_example",
        10_000,
        |f| f.cpu_time_error_percent.map(f64::abs),
        1.0,
    ),
];

const fn bar(
    what: &'static str,
    workload: &'static str,
    rate: u32,
    read: fn(&Figures) -> Option<f64>,
    most: f64,
) -> Bar {
    Bar {
        what,
        workload,
        rate,
        read,
        most,
    }
}

/// The table of the bars that this run measured; empty when it measured none.
pub(super) fn table(results: &Results) -> String {
    let rows = BARS.iter().filter_map(|bar| row(results, bar));
    let rows: String = rows.chain(row_of_many(results)).collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "## What viperf is held to\n\n| figure | workload | at most | measured | |\n|---|---|---:|---:|---|\n{rows}"
    )
}

fn row(results: &Results, bar: &Bar) -> Option<String> {
    let key = Results::key(bar.workload, bar.rate);
    let measured = (bar.read)(results.rows.get(&key)?.get("viperf")?)?;
    Some(line(bar.what, &key, bar.most, measured))
}

fn line(what: &str, key: &str, most: f64, measured: f64) -> String {
    // A sum of nothing is -0.
    let measured = measured + 0.0;
    let verdict = match measured <= most {
        true => "holds",
        false => "missed",
    };
    format!("| {what} | {key} | {most} | {measured:.3} | {verdict} |\n")
}

/// What 200 processes cost, two of which are busy, against one, both without their start: per sample.
fn row_of_many(results: &Results) -> Option<String> {
    let key = Results::key("processes_200", 100);
    let kernel_time = |key: &str| results.rows.get(key)?.get("viperf")?.kernel_microseconds;
    let one = kernel_time(&Results::key("zlib_example", 100))?;
    let what = "kernel time of a sample, of that of one process";
    Some(line(what, &key, 1.5, kernel_time(&key)? / one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(loss: f64, peak: f64) -> Results {
        let mut results = Results {
            machine: "a machine".to_owned(),
            rows: Default::default(),
        };
        let figures = Figures {
            loss_percent: Some(loss),
            peak_bytes: Some(peak),
            ..Figures::default()
        };
        results.add("zlib_example", 100, "viperf", figures.clone());
        results.add("zlib_example", 100, "another", figures);
        results
    }

    #[test]
    fn a_bar_holds_up_to_its_limit_and_what_was_not_measured_has_no_row() {
        let text = table(&measured(0.5, 65.0 * MEBIBYTE));
        let rows: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(
            rows,
            [
                "| work that the target loses, % | zlib_example at 100 Hz | 0.5 | 0.500 | holds |",
                "| peak memory, MiB | zlib_example at 100 Hz | 64 | 65.000 | missed |"
            ]
        );
        let nothing = Results {
            machine: String::new(),
            rows: Default::default(),
        };
        assert_eq!(table(&nothing), "");
    }
}
