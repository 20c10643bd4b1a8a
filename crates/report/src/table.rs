//! Tables: figures on the left, names on the right, fitted to a width.

use crate::safe_text::{columns, escape_for_terminal, keep_end, keep_start, pad};
use crate::style::{Paint, Style};

/// A name keeps at least so many columns, however narrow the terminal.
const NARROWEST: usize = 12;

/// Which part of a name is kept where it has to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// What tells C++ functions and stacks apart.
    Start,
    /// What tells Python functions, their places and command lines apart.
    End,
}

/// One row: figures, then a name, then where it is.
#[derive(Debug)]
pub(crate) struct Row {
    /// Text and paint of each figure.
    pub(crate) figures: Vec<(String, Paint)>,
    /// What it is about; not yet escaped.
    pub(crate) name: String,
    /// Which part of a long name is kept.
    pub(crate) keep: Keep,
    /// How the name is painted.
    pub(crate) paint: Paint,
    /// Where it is; not yet escaped.
    pub(crate) place: String,
}

/// A table with a heading, or nothing if there are no rows.
pub(crate) fn render(
    title: &str,
    headers: &[&str],
    names: (&str, &str),
    rows: &[Row],
    style: &Style,
) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let widths: Vec<usize> = headers
        .iter()
        .enumerate()
        .map(|(index, header)| {
            let figures = rows.iter().filter_map(|row| row.figures.get(index));
            let widest = figures.map(|(text, _)| columns(text)).max();
            columns(header).max(widest.unwrap_or_default())
        })
        .collect();
    let left = 2 + widths.iter().map(|width| width + 1).sum::<usize>() + 1;
    let texts: Vec<(String, String)> = rows
        .iter()
        .map(|row| {
            let name = escape_for_terminal(&row.name).into_owned();
            (name, escape_for_terminal(&row.place).into_owned())
        })
        .collect();
    let (name_width, place_width) =
        fit(&texts, style.width.map(|width| width.saturating_sub(left)));

    let mut text = format!("\n{}\n", style.paint(title, Paint::Heading));
    let mut line = String::from("  ");
    for (header, width) in headers.iter().zip(&widths) {
        line += &format!("{header:>width$} ");
    }
    line += &format!(" {}  {}", pad(names.0, name_width), names.1);
    text += &style.paint(line.trim_end(), Paint::Dim);
    text.push('\n');
    for (row, (name, place)) in rows.iter().zip(&texts) {
        let mut line = String::from("  ");
        for (index, width) in widths.iter().enumerate() {
            // A row may have no more than the first figures.
            let nothing = (String::new(), Paint::Plain);
            let (figure, paint) = row.figures.get(index).unwrap_or(&nothing);
            line += &format!("{} ", style.paint(&format!("{figure:>width$}"), *paint));
        }
        let name = match row.keep {
            Keep::Start => keep_start(name, name_width),
            Keep::End => keep_end(name, name_width),
        };
        line += &format!(" {}", style.paint(&name, row.paint));
        if !place.is_empty() {
            let fill = name_width.saturating_sub(columns(&name));
            let place = keep_end(place, place_width);
            line += &format!("{}  {}", " ".repeat(fill), style.paint(&place, Paint::Dim));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Room for names and for places: what they need, or a fair part of what there is.
fn fit(texts: &[(String, String)], room: Option<usize>) -> (usize, usize) {
    let widest = |of: &dyn Fn(&(String, String)) -> usize| texts.iter().map(of).max().unwrap_or(0);
    let name = widest(&|(name, _)| columns(name));
    let place = widest(&|(_, place)| columns(place));
    let Some(room) = room else {
        return (name, place);
    };
    let room = room.saturating_sub(2).max(2 * NARROWEST);
    if name + place <= room {
        return (name, place);
    }
    // Each gets what the other does not need, and no less than half.
    let half = room / 2;
    let name = name.min(room.saturating_sub(place.min(half)));
    (name, room - name)
}
