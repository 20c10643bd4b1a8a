//! The report for a terminal.

use std::borrow::Cow;

use viperf_profile::is_interpreter;

use crate::figures::{Amount, SplitAmounts, show_percent};
use crate::report::Report;
use crate::rows::{FunctionRow, LineRow, ModuleRow, ProcessRow, ThreadRow};
use crate::safe_text::escape_for_terminal;
use crate::style::{Paint, Style};
use crate::table::{Keep, Row, render};
use crate::tree_text;

/// Threads that are shown of each process.
const MOST_THREADS: usize = 4;

/// Processes and threads with less are counted, not shown.
pub(crate) const LEAST_PROCESS: f64 = 0.005;

/// A share of taking the GIL that is worth a column.
const LEAST_WAIT: f64 = 0.005;

impl Report {
    /// The report as text, in the order from the outside to the inside: what was recorded, where the time is, who
    /// called it.
    #[must_use]
    pub fn text(&self, style: &Style) -> String {
        let mut text = self.summary.text(style);
        if self.summary.samples == 0 {
            return text
                + "\nno samples: nothing matches the filters, or the target did not use the CPU\n";
        }
        if let Some(groups) = &self.groups {
            text += &groups.text(style);
        }
        text += &self.processes_text(style);
        text += &modules_text(&self.modules, style);
        text += &native_text(&self.native, style);
        text += &lines_text(&self.lines, style);
        text += &functions_text(&self.functions, style);
        if !self.tree.is_empty() {
            let title =
                "Call tree (% and time of each branch; a line is called by the one above it)";
            text += &format!("\n{}\n", style.paint(title, Paint::Heading));
            text += &tree_text::render(&self.tree, tree_text::Columns::TotalAndOwn, style);
        }
        text
    }

    /// One process with one thread is told by the summary.
    fn processes_text(&self, style: &Style) -> String {
        if self.summary.threads <= 1 {
            return String::new();
        }
        let (shown, rest): (Vec<_>, Vec<_>) = self
            .processes
            .iter()
            .partition(|process| process.total.share >= LEAST_PROCESS);
        let mut rows: Vec<Row> = shown.into_iter().flat_map(process_rows).collect();
        rows.extend(more("processes", rest.iter().map(|process| process.total)));
        render(
            "Processes and threads",
            &[
                "total",
                if self.summary.ns == 0 {
                    "samples"
                } else {
                    "time"
                },
            ],
            ("process", "command line"),
            &rows,
            style,
        )
    }
}

fn process_rows(process: &ProcessRow) -> Vec<Row> {
    let total = |amount: &Amount, paint: Paint| {
        vec![(show_percent(amount.share), paint), (amount.show(), paint)]
    };
    let mut rows = vec![Row {
        figures: total(&process.total, Paint::of_share(process.total.share)),
        name: format!(
            "{} ({})",
            process.title.as_ref().unwrap_or(&process.name),
            process.pid
        ),
        keep: Keep::End,
        paint: Paint::Project,
        place: process.command_line.clone(),
    }];
    if let [_one] = process.threads.as_slice() {
        return rows;
    }
    let is_shown = |index: usize, thread: &ThreadRow| {
        index < MOST_THREADS && thread.total.share >= LEAST_PROCESS
    };
    let threads = || process.threads.iter().enumerate();
    for (_, thread) in threads().filter(|(index, thread)| is_shown(*index, thread)) {
        rows.push(Row {
            figures: total(&thread.total, Paint::Dim),
            name: format!("  {} ({})", thread.name, thread.tid),
            keep: Keep::End,
            paint: Paint::Plain,
            place: String::new(),
        });
    }
    let rest = threads().filter(|(index, thread)| !is_shown(*index, thread));
    rows.extend(more("  threads", rest.map(|(_, thread)| thread.total)));
    rows
}

/// What is not worth a row of its own; nothing if there is none.
fn more(what: &str, totals: impl Iterator<Item = Amount>) -> Option<Row> {
    let (mut count, mut sum) = (0, Amount::default());
    for total in totals {
        count += 1;
        sum = sum + total;
    }
    let bare = what.trim_start();
    let indent = what.strip_suffix(bare).unwrap_or_default();
    (count > 0).then(|| Row {
        figures: vec![
            (show_percent(sum.share), Paint::Dim),
            (sum.show(), Paint::Dim),
        ],
        name: format!("{indent}{count} more {bare}"),
        keep: Keep::End,
        paint: Paint::Dim,
        place: String::new(),
    })
}

fn modules_text(modules: &[ModuleRow], style: &Style) -> String {
    let rows: Vec<Row> = modules
        .iter()
        .map(|module| Row {
            figures: vec![share(&module.total), share(&module.own)],
            name: module.name.clone(),
            keep: Keep::End,
            paint: paint(module.kind, module.origin),
            place: match is_interpreter(&module.name) && module.kind == "native" {
                true => "the interpreter".to_owned(),
                false => whose(module.kind, module.origin).to_owned(),
            },
        })
        .collect();
    render(
        "Modules and libraries",
        &["total", "self"],
        ("module", ""),
        &rows,
        style,
    )
}

/// `package`, `native library`.
pub(crate) fn whose(kind: &str, origin: &'static str) -> &'static str {
    match (kind, origin) {
        ("python", "standard-library") => "standard library",
        ("python", origin) => origin,
        ("native", _) => "native code",
        ("kernel", _) => "kernel",
        _ => "",
    }
}

fn native_text(functions: &[FunctionRow], style: &Style) -> String {
    let rows: Vec<Row> = functions
        .iter()
        .map(|function| Row {
            figures: vec![share(&function.total), share(&function.own)],
            name: shown_name(function.kind, &function.name).into_owned(),
            keep: Keep::Start,
            paint: paint(function.kind, function.origin),
            place: match function.kind {
                "kernel" => "kernel".to_owned(),
                "incomplete" => "the walk ended here".to_owned(),
                _ => function.place.clone(),
            },
        })
        .collect();
    render(
        "Native and kernel functions",
        &["total", "self"],
        ("function", "library"),
        &rows,
        style,
    )
}

fn lines_text(lines: &[LineRow], style: &Style) -> String {
    let has_gil = lines.iter().any(|line| waits(&line.split));
    let rows: Vec<Row> = lines
        .iter()
        .map(|line| Row {
            figures: split_figures(&line.self_amount, &line.total, &line.split, has_gil),
            name: line.place.clone(),
            keep: Keep::End,
            paint: paint("python", line.origin),
            place: line.function.clone(),
        })
        .collect();
    let title = "Python lines";
    render(title, headers(has_gil), ("line", "function"), &rows, style)
}

fn functions_text(functions: &[FunctionRow], style: &Style) -> String {
    let splits = || functions.iter().filter_map(|function| function.split);
    let has_gil = splits().any(|split| waits(&split));
    let rows: Vec<Row> = functions
        .iter()
        .zip(splits())
        .map(|(function, split)| Row {
            figures: split_figures(&function.self_amount, &function.total, &split, has_gil),
            name: function.name.clone(),
            keep: Keep::End,
            paint: paint(function.kind, function.origin),
            place: function.place.clone(),
        })
        .collect();
    let title = "Python functions (self = bytecode + the C and kernel code it calls directly)";
    render(title, headers(has_gil), ("function", "where"), &rows, style)
}

pub(crate) fn headers(has_gil: bool) -> &'static [&'static str] {
    match has_gil {
        true => &["total", "self", "python", "native", "kernel", "GIL"],
        false => &["total", "self", "python", "native", "kernel"],
    }
}

pub(crate) fn waits(split: &SplitAmounts) -> bool {
    split.gil_wait.share >= LEAST_WAIT
}

fn split_figures(
    own: &Amount,
    total: &Amount,
    split: &SplitAmounts,
    has_gil: bool,
) -> Vec<(String, Paint)> {
    let part = |amount: &Amount, paint| (show_percent(amount.share), paint);
    let mut figures = vec![
        part(total, Paint::of_share(total.share)),
        part(own, Paint::of_share(own.share)),
        part(&split.python, Paint::Plain),
        part(&split.native, Paint::Native),
        part(&split.kernel, Paint::Kernel),
    ];
    if has_gil {
        figures.push(part(&split.gil_wait, Paint::Alarm));
    }
    figures
}

fn share(amount: &Amount) -> (String, Paint) {
    (show_percent(amount.share), Paint::of_share(amount.share))
}

/// The name, escaped; the reason why a walk ended in brackets, as in folded stacks.
pub(crate) fn shown_name<'a>(kind: &str, name: &'a str) -> Cow<'a, str> {
    match kind {
        "incomplete" => Cow::Owned(format!("[{}]", escape_for_terminal(name))),
        _ => escape_for_terminal(name),
    }
}

pub(crate) fn paint(kind: &str, origin: &str) -> Paint {
    match (kind, origin) {
        ("python", "project") => Paint::Project,
        ("native", _) => Paint::Native,
        ("kernel", _) => Paint::Kernel,
        ("incomplete", _) => Paint::Alarm,
        _ => Paint::Plain,
    }
}
