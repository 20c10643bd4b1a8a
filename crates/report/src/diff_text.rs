//! What changed, for a terminal and for a pull request.

use crate::diff_report::{DiffReport, DiffRow, DiffSide, Figure};
use crate::figures::{show_count, show_time};
use crate::markdown::{code, table};
use crate::report_text::paint;
use crate::safe_text::escape_for_terminal;
use crate::style::{Paint, Style};
use crate::table::{Keep, Row, render};

/// Functions of a stack that are named, from the leaf up.
const NAMED_FUNCTIONS: usize = 4;

impl DiffReport {
    /// The comparison as text.
    #[must_use]
    pub fn text(&self, style: &Style) -> String {
        let mut text = format!(
            "  {} {}\n  {} {}\n",
            style.paint("base", Paint::Dim),
            self.side(&self.base),
            style.paint("new ", Paint::Dim),
            self.side(&self.new)
        );
        text += &format!("  {}\n", style.paint(&self.method(), Paint::Dim));
        text += &self.table_text(self.functions_title(), &self.functions, style);
        text += &self.table_text(self.stacks_title(), &self.stacks, style);
        if self.functions_changed + self.stacks_changed == 0 {
            let nothing = "\nnothing changed beyond what chance explains";
            text += &format!("{}\n", style.paint(nothing, Paint::Good));
        }
        text
    }

    /// The comparison as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "### Profile: what changed\n\n- base: {}\n- new: {}\n- {}\n",
            self.side(&self.base),
            self.side(&self.new),
            self.method()
        );
        if let Some(failing) = &self.failing {
            let names: Vec<_> = failing.functions.iter().map(|name| code(name)).collect();
            text += &match names.as_slice() {
                [] => format!("- nothing grew by more than {} %\n", limit(failing.above)),
                _ => format!(
                    "- **grew by more than {} %**: {}\n",
                    limit(failing.above),
                    names.join(", ")
                ),
            };
        }
        text += &self.table_markdown(&self.functions_title(), &self.functions);
        text += &self.table_markdown(&self.stacks_title(), &self.stacks);
        if self.functions_changed + self.stacks_changed == 0 {
            text += "\nNothing changed beyond what chance explains.\n";
        }
        text
    }

    /// `grew by more than 5 %: f, g`, if anything did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let failing = self.failing.as_ref()?;
        let mut names: Vec<_> = failing
            .functions
            .iter()
            .take(5)
            .map(|name| escape_for_terminal(name).into_owned())
            .collect();
        let more = failing.functions.len().saturating_sub(names.len());
        if names.is_empty() {
            return None;
        }
        if more > 0 {
            names.push(format!("{more} more"));
        }
        let of = match self.normalized_by {
            "time" => "one CPU",
            _ => "all samples",
        };
        Some(format!(
            "grew by more than {} % of {of}: {}",
            limit(failing.above),
            names.join(", ")
        ))
    }

    fn side(&self, side: &DiffSide) -> String {
        let mut text = format!("{} samples", show_count(side.samples));
        if side.ns != 0 {
            text += &format!(", {} in all", show_time(side.ns));
        }
        if side.duration_ns != 0 {
            text += &format!(", recorded for {}", show_time(side.duration_ns));
            if self.normalized_by == "time" && side.ns != 0 {
                let cpus = side.ns as f64 / side.duration_ns as f64;
                text += &format!(" ({:.1} % of one CPU)", cpus * 100.0);
            }
        }
        text
    }

    fn method(&self) -> String {
        let what = match self.normalized_by {
            "time" => "by time: 100 % is one CPU for the whole recording",
            _ => "by samples: 100 % are all samples of a profile",
        };
        let confidence = self.confidence * 100.0;
        format!("{what}; ± is the {confidence:.0} % interval over all rows together")
    }

    fn functions_title(&self) -> String {
        format!(
            "Functions: {} of {} changed (% points; base and new are self)",
            show_count(self.functions_changed as u64),
            show_count(self.functions_compared as u64)
        )
    }

    fn stacks_title(&self) -> String {
        format!(
            "Stacks: {} of {} changed",
            show_count(self.stacks_changed as u64),
            show_count(self.stacks_compared as u64)
        )
    }

    fn table_text(&self, title: String, rows: &[DiffRow], style: &Style) -> String {
        let rows_are_stacks = rows.iter().any(|row| !row.path.is_empty());
        let rows: Vec<Row> = rows
            .iter()
            .map(|row| Row {
                figures: figures(row).into_iter().zip(paints(row)).collect(),
                name: name(row),
                keep: match (row.kind, row.path.is_empty()) {
                    ("python", true) => Keep::End,
                    _ => Keep::Start,
                },
                paint: paint(row.kind, row.origin),
                place: place(row),
            })
            .collect();
        render(
            &title,
            &["Δ self", "±", "base", "new", "Δ total", ""],
            match rows_are_stacks {
                true => ("stack, its leaf first", ""),
                false => ("function", "where"),
            },
            &rows,
            style,
        )
    }

    fn table_markdown(&self, title: &str, rows: &[DiffRow]) -> String {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let names = [code(&name(row)), code(&place(row))];
                figures(row).into_iter().chain(names).collect()
            })
            .collect();
        let headers = [
            "Δ self", "±", "base", "new", "Δ total", "", "function", "where",
        ];
        table(title, &headers, 6, &rows)
    }
}

/// The leaf, and of a stack some of its callers: `deflate ← compress ← main ← …`.
fn name(row: &DiffRow) -> String {
    if row.path.is_empty() {
        return row.name.clone();
    }
    let named = row.path.iter().rev().take(NAMED_FUNCTIONS);
    let mut names: Vec<&str> = named.map(String::as_str).collect();
    if row.path.len() > names.len() {
        names.push("…");
    }
    names.join(" ← ")
}

/// A stack is told by its functions.
fn place(row: &DiffRow) -> String {
    match row.path.is_empty() {
        true => row.place.clone(),
        false => String::new(),
    }
}

fn figures(row: &DiffRow) -> Vec<String> {
    let Figure {
        base, new, change, ..
    } = row.self_figure;
    vec![
        if base == new {
            "-".to_owned()
        } else {
            signed(change)
        },
        format!("{:.1}", half_width(&row.self_figure) * 100.0),
        plain(base),
        plain(new),
        signed(row.total.change),
        match row.verdict {
            "appeared" => "new".to_owned(),
            "vanished" => "gone".to_owned(),
            "too-few-samples" => "few".to_owned(),
            "unchanged" => "same".to_owned(),
            _ => String::new(),
        },
    ]
}

/// The interval is not quite even; the side towards 0 is what decides.
fn half_width(figure: &Figure) -> f64 {
    match figure.change >= 0.0 {
        true => figure.change - figure.low,
        false => figure.high - figure.change,
    }
}

fn paints(row: &DiffRow) -> Vec<Paint> {
    let of = |figure: &Figure| match (figure.low > 0.0, figure.high < 0.0) {
        (true, _) => Paint::Alarm,
        (_, true) => Paint::Good,
        _ => Paint::Dim,
    };
    vec![
        of(&row.self_figure),
        Paint::Dim,
        Paint::Plain,
        Paint::Plain,
        of(&row.total),
        Paint::Warm,
    ]
}

fn signed(change: f64) -> String {
    format!("{:+.1}", change * 100.0)
}

fn plain(share: f64) -> String {
    match share {
        share if share <= 0.0 => "-".to_owned(),
        share => format!("{:.1}", share * 100.0),
    }
}

/// `5`, `2.5`.
fn limit(share: f64) -> String {
    let percent = (share * 1e6).round() / 1e4;
    format!("{percent}")
}
