//! The figures as text: a table for each workload, with a row for each profiler.

use std::fmt::Write;

use super::{
    bars,
    figures::{FIELDS, Figures, Results},
    plots::PLOTS,
};

/// The table of one workload at one rate, in Markdown.
pub(super) fn of_workload(results: &Results, workload: &str, rate: u32) -> String {
    let key = Results::key(workload, rate);
    results
        .rows
        .get(&key)
        .map_or_else(String::new, |row| table(&key, row.iter()))
}

/// Every table, and where it was measured.
pub(super) fn document(results: &Results) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         This document is written by `cargo xtask bench --write`: do not edit it.\n\
         Measured on {}.\n\
         A figure is the median of several measurements, each beside the same process without a profiler just before and after.\n\
         The CPU time of a profiler is all of it, in user space and in the kernel, start and output included.\n\
         An empty cell is a figure that the profiler does not tell.\n",
        results.machine
    );
    let bars = bars::table(results);
    if !bars.is_empty() {
        text.push('\n');
        text.push_str(&bars);
    }
    for plot in PLOTS.iter().filter(|plot| plot.draw(results).is_some()) {
        write!(text, "\n![{}](benchmarks/{})\n", plot.title, plot.file).ok();
    }
    for (key, row) in &results.rows {
        text.push('\n');
        text.push_str(&table(key, row.iter()));
    }
    text
}

/// What changed since an earlier run: ratios of the figures that cost something.
pub(super) fn compared(earlier: &Results, now: &Results) -> String {
    let mut text = String::from("now / earlier\n");
    for (key, row) in &now.rows {
        for (profiler, figures) in row {
            let before = earlier.rows.get(key).and_then(|row| row.get(profiler));
            let ratios = before
                .map(|before| ratios(before, figures))
                .unwrap_or_default();
            if !ratios.is_empty() {
                // Writing to a string cannot fail.
                writeln!(text, "{key}, {profiler}: {}", ratios.join(", ")).ok();
            }
        }
    }
    text
}

fn ratios(before: &Figures, now: &Figures) -> Vec<String> {
    let ratio = |(name, read, _): &(&str, fn(&Figures) -> Option<f64>, _)| {
        let (before, now) = (read(before)?, read(now)?);
        (before > 0.0).then(|| format!("{name} {:.2}", now / before))
    };
    FIELDS.iter().filter_map(ratio).collect()
}

fn table<'a>(title: &str, rows: impl Iterator<Item = (&'a String, &'a Figures)> + Clone) -> String {
    let told: Vec<_> = FIELDS
        .iter()
        .filter(|(_, read, _)| rows.clone().any(|(_, figures)| read(figures).is_some()))
        .collect();
    let mut text = format!("## {title}\n\n| profiler |");
    for (name, _, _) in &told {
        write!(text, " {name} |").ok();
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(told.len()));
    text.push('\n');
    for (profiler, figures) in rows {
        write!(text, "| {profiler} |").ok();
        for (name, read, _) in &told {
            write!(
                text,
                " {} |",
                read(figures).map_or_else(String::new, |value| show(name, value))
            )
            .ok();
        }
        text.push('\n');
    }
    text
}

fn show(name: &str, value: f64) -> String {
    if name == "peak memory" || name == "BPF maps" {
        return format!("{:.0} MB", value / 1e6);
    }
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 1.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_nobody_fills_is_left_out() {
        let mut results = Results {
            machine: "a machine".to_owned(),
            rows: Default::default(),
        };
        let figures = Figures {
            loss_percent: Some(0.25),
            samples: Some(1000.0),
            ..Figures::default()
        };
        results.add("zlib_example", 100, "viperf", figures);
        let text = of_workload(&results, "zlib_example", 100);
        assert_eq!(
            text,
            "## zlib_example at 100 Hz\n\n| profiler | target lost, % | samples |\n|---|---|---|\n| viperf | 0.250 | 1000 |\n"
        );
    }
}
