//! The parts of a profile, for a terminal and for a pull request.

use crate::divided::{Divided, PartFunction, PartRow};
use crate::figures::{Amount, show_counted, show_percent};
use crate::markdown;
use crate::report_text::{LEAST_PROCESS, headers, waits};
use crate::style::{Paint, Style};
use crate::table::{Keep, Row, render};

impl Divided {
    /// A table: a row for each part, its functions below it.
    pub(crate) fn text(&self, style: &Style) -> String {
        let has_gil = self.parts.iter().any(|part| waits(&part.split));
        let is_shown = |share: f64| share >= LEAST_PROCESS;
        let mut rows = Vec::new();
        let (mut more, mut others) = (self.parts_in_all, self.others);
        for part in &self.parts {
            if !is_shown(part.total.share) {
                others = others + part.total;
                continue;
            }
            more = more.saturating_sub(1);
            rows.push(part_row(self.by, part, has_gil));
            let functions = part.functions.iter();
            rows.extend(
                functions
                    .filter(|one| is_shown(one.self_amount.share))
                    .map(function_row),
            );
        }
        if more > 0 {
            rows.push(Row {
                figures: vec![
                    (show_percent(others.share), Paint::Dim),
                    (others.show(), Paint::Dim),
                ],
                name: format!("{more} more"),
                keep: Keep::Start,
                paint: Paint::Dim,
                place: String::new(),
            });
        }
        let says_time = self.parts.iter().any(|part| part.total.ns != 0);
        let mut figures = vec!["total", if says_time { "time" } else { "samples" }];
        // What follows total and self in the table of functions.
        figures.extend(headers(has_gil).iter().skip(2));
        let title = format!(
            "By {} (below each: the functions with most time of their own)",
            self.by
        );
        render(&title, &figures, (self.by, "about"), &rows, style)
    }

    /// The same as a table of Markdown.
    pub(crate) fn markdown(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .parts
            .iter()
            .map(|part| {
                let split = part.split;
                let shares = [
                    part.total,
                    split.python,
                    split.native,
                    split.kernel,
                    split.gil_wait,
                ];
                let mut row: Vec<_> = shares.map(|one| show_percent(one.share)).into();
                let functions = part
                    .functions
                    .iter()
                    .map(|function| markdown::code(&function.name));
                row.push(markdown::code(&shown_name(self.by, part)));
                row.push(markdown::code(&about(part)));
                row.push(functions.collect::<Vec<_>>().join(", "));
                row
            })
            .collect();
        let headers = [
            "total %",
            "Python",
            "native",
            "kernel",
            "GIL",
            self.by,
            "about",
            "functions",
        ];
        markdown::table(&format!("By {}", self.by), &headers, 5, &rows)
    }
}

fn part_row(by: &str, part: &PartRow, has_gil: bool) -> Row {
    let share = |amount: &Amount, paint| (show_percent(amount.share), paint);
    let paint = Paint::of_share(part.total.share);
    let mut figures = vec![
        share(&part.total, paint),
        (part.total.show(), paint),
        share(&part.split.python, Paint::Plain),
        share(&part.split.native, Paint::Native),
        share(&part.split.kernel, Paint::Kernel),
    ];
    if has_gil {
        figures.push(share(&part.split.gil_wait, Paint::Alarm));
    }
    Row {
        figures,
        name: shown_name(by, part),
        keep: Keep::End,
        paint: Paint::Project,
        place: about(part),
    }
}

fn function_row(function: &PartFunction) -> Row {
    let own = &function.self_amount;
    Row {
        figures: vec![
            (show_percent(own.share), Paint::Dim),
            (own.show(), Paint::Dim),
        ],
        name: format!("  {}", function.name),
        keep: Keep::End,
        paint: Paint::Plain,
        place: function.place.clone(),
    }
}

/// `gunicorn: worker [app] (42)`, `web`, `no container`; a number tells threads and processes of one name apart.
fn shown_name(by: &str, part: &PartRow) -> String {
    match (by, &part.name) {
        (by, None) => format!("no {by}"),
        ("thread" | "process", Some(name)) => format!("{name} ({})", part.id),
        (_, Some(name)) => name.clone(),
    }
}

/// `shop:1.2, docker`, or else how much is in it.
fn about(part: &PartRow) -> String {
    if !part.about.is_empty() {
        return part.about.clone();
    }
    match (part.processes, part.threads) {
        (1, 1) => String::new(),
        (1, threads) => show_counted(threads, "thread", "threads"),
        (processes, _) => show_counted(processes, "process", "processes"),
    }
}
