//! The call tree in lines.
//!
//! A branch that does not fork goes straight down without an indent, so that the deep stacks of real programs fit a
//! terminal: each line is called by the nearest line above it that stands in the same column or further left.

use crate::figures::{show_percent, show_time};
use crate::fold::TreeRow;
use crate::report_text::{paint, shown_name};
use crate::safe_text::{columns, escape_for_terminal, keep_end, keep_start};
use crate::style::{Paint, Style};

/// Packages that are named between two branches.
const MOST_PACKAGES: usize = 2;

/// Which figures stand before a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// The time of the branch, and the part of it that is in no branch below.
    TotalAndOwn,
    /// The time of the branch: of callers there is no more to say.
    Total,
}

/// The rows with their shares and times.
pub(crate) fn render(rows: &[TreeRow], columns_of: Columns, style: &Style) -> String {
    let branches = branches(rows);
    let shows_time = rows.iter().any(|row| row.total.ns != 0);
    let own = match columns_of {
        Columns::TotalAndOwn => "  self",
        Columns::Total => "",
    };
    let last = if shows_time { "   time" } else { "samples" };
    let mut text = style.paint(&format!("  total{own} {last}"), Paint::Dim);
    text.push('\n');
    for (row, branch) in rows.iter().zip(&branches) {
        let figures = figures(row, columns_of, shows_time);
        let room = style
            .width
            .map(|width| width.saturating_sub(columns(&figures) + 2 + columns(branch)));
        let share = Paint::of_share(row.total.share);
        let line = format!(
            "{}  {}{}",
            style.paint(&figures, share),
            style.paint(branch, Paint::Dim),
            label(row, room, style)
        );
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn figures(row: &TreeRow, columns_of: Columns, shows_time: bool) -> String {
    let total = show_percent(row.total.share);
    let own = match columns_of {
        Columns::TotalAndOwn => format!(" {:>5}", show_percent(row.own.share)),
        Columns::Total => String::new(),
    };
    let last = match shows_time {
        true => show_time(row.total.ns),
        false => row.total.samples.to_string(),
    };
    format!("  {total:>5}{own} {last:>7}")
}

/// Name, place, and what is folded on the way to it, in at most `room` columns.
fn label(row: &TreeRow, room: Option<usize>, style: &Style) -> String {
    let name = shown_name(row.kind, &row.name);
    let place = escape_for_terminal(&row.place);
    let mut through = row
        .through
        .iter()
        .take(MOST_PACKAGES)
        .cloned()
        .collect::<Vec<_>>();
    if row.through.len() > MOST_PACKAGES {
        through.push("…".to_owned());
    }
    let through = match through.is_empty() {
        true => String::new(),
        false => format!("  via {}", escape_for_terminal(&through.join(", "))),
    };
    let room = room.unwrap_or(usize::MAX).max(8);
    let name = keep_start(&name, room);
    let mut left = room.saturating_sub(columns(&name));
    let place = match place.is_empty() || left < 8 {
        true => String::new(),
        false => format!("  {}", keep_end(&place, left - 2)),
    };
    left = left.saturating_sub(columns(&place));
    let through = if columns(&through) <= left {
        through
    } else {
        String::new()
    };
    format!(
        "{}{}{}",
        style.paint(&name, paint(row.kind, row.origin)),
        style.paint(&place, Paint::Dim),
        style.paint(&through, Paint::Dim)
    )
}

/// What stands before each name: `├─ `, `│  └─ `, nothing where the branch goes straight on.
fn branches(rows: &[TreeRow]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::with_capacity(rows.len());
    // By depth: what stands before the children of the last row of that depth.
    let mut before: Vec<String> = vec![String::new()];
    for (index, row) in rows.iter().enumerate() {
        before.truncate(row.depth + 1);
        let outer = before.last().cloned().unwrap_or_default();
        let later = rows.get(index + 1..).unwrap_or_default();
        let is_last = !has_sibling(later.iter(), row.depth);
        let earlier = rows.get(..index).unwrap_or_default();
        let is_first = !has_sibling(earlier.iter().rev(), row.depth);
        let (own, below) = match (is_first && is_last, is_last) {
            (true, _) => ("", ""),
            (_, true) => ("└─ ", "   "),
            _ => ("├─ ", "│  "),
        };
        texts.push(format!("{outer}{own}"));
        before.push(format!("{outer}{below}"));
    }
    texts
}

/// Whether a row of this depth comes before one of a smaller depth.
fn has_sibling<'a>(mut rows: impl Iterator<Item = &'a TreeRow>, depth: usize) -> bool {
    rows.find(|row| row.depth <= depth)
        .is_some_and(|row| row.depth == depth)
}
