//! The columns of each view, the same on the screen and in plain text.

use viperf_profile::{FrameKind, Origin};
use viperf_report::{
    columns, escape_for_terminal, keep_end, keep_file_names, keep_start, pad, show_percent,
    show_time,
};

use crate::rows::{Row, SortBy};
use crate::view::View;

/// What a piece of text is; its colour follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Dim,
    Project,
    Native,
    Kernel,
    Alarm,
    Warm,
}

/// A figure that stands before the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Cpu,
    Own,
    Total,
    Trend,
    Time,
    Gil,
    GilWait,
    Pid,
    Tid,
}

impl Column {
    fn of_view(view: View) -> &'static [Self] {
        match view {
            View::Processes => &[
                Self::Cpu,
                Self::Trend,
                Self::Time,
                Self::Gil,
                Self::GilWait,
                Self::Pid,
            ],
            View::Threads => &[
                Self::Cpu,
                Self::Trend,
                Self::Time,
                Self::Gil,
                Self::GilWait,
                Self::Tid,
            ],
            View::Functions | View::Lines | View::Native | View::Modules => {
                &[Self::Own, Self::Total, Self::Trend, Self::Time]
            }
            View::Tree => &[Self::Total, Self::Own, Self::Trend, Self::Time],
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU%",
            Self::Own => "own%",
            Self::Total => "total%",
            Self::Trend => "trend",
            Self::Time => "time",
            Self::Gil => "GIL%",
            Self::GilWait => "wait%",
            Self::Pid => "PID",
            Self::Tid => "TID",
        }
    }

    fn width(self) -> usize {
        match self {
            Self::Cpu | Self::Total | Self::Time | Self::Pid | Self::Tid => 7,
            Self::Own | Self::Trend | Self::Gil | Self::GilWait => 6,
        }
    }

    fn sort(self) -> Option<SortBy> {
        match self {
            Self::Cpu | Self::Own => Some(SortBy::Own),
            Self::Total => Some(SortBy::Total),
            Self::Trend => Some(SortBy::Trend),
            Self::Time => Some(SortBy::Time),
            Self::Gil | Self::GilWait | Self::Pid | Self::Tid => None,
        }
    }

    fn cell(self, row: &Row) -> (String, Paint) {
        match self {
            Self::Cpu | Self::Own => (show_percent(row.own), paint_of(row.own)),
            Self::Total => (show_percent(row.total), paint_of(row.total)),
            Self::Trend => match row.trend {
                Some(points) if points > 0.0 => (format!("▲{points:.1}"), Paint::Alarm),
                Some(points) => (format!("▼{:.1}", points.abs()), Paint::Native),
                None => (String::new(), Paint::Plain),
            },
            Self::Time => {
                let weight = match row.branch {
                    Some(_) => row.total_time,
                    None => row.own_time,
                };
                let text = match (weight.samples, weight.ns) {
                    (0, _) => "-".to_owned(),
                    (samples, 0) => samples.to_string(),
                    (_, ns) => show_time(ns),
                };
                (text, Paint::Plain)
            }
            Self::Gil => (row.gil.map(show_percent).unwrap_or_default(), Paint::Plain),
            Self::GilWait => (
                row.gil_wait.map(show_percent).unwrap_or_default(),
                Paint::Plain,
            ),
            Self::Pid | Self::Tid => (row.number.to_string(), Paint::Dim),
        }
    }
}

/// What is most of the time stands out.
fn paint_of(share: f64) -> Paint {
    match share {
        _ if share >= 0.3 => Paint::Alarm,
        _ if share >= 0.1 => Paint::Warm,
        _ if share >= 0.02 => Paint::Plain,
        _ => Paint::Dim,
    }
}

fn paint_of_name(row: &Row) -> Paint {
    match (row.kind, row.origin) {
        (FrameKind::Python, Origin::Project) => Paint::Project,
        (FrameKind::Python | FrameKind::Interpreter, _) => Paint::Plain,
        (FrameKind::Native, _) => Paint::Native,
        (FrameKind::Kernel, _) => Paint::Kernel,
        (FrameKind::Incomplete, _) => Paint::Alarm,
    }
}

/// The line above the rows; `▾` marks what they are sorted by.
pub(crate) fn header(view: View, sort: SortBy, width: usize) -> String {
    let mut text = String::from(" ");
    for column in Column::of_view(view) {
        let is_sorted = column.sort() == Some(sort) && view != View::Tree;
        let title = match is_sorted {
            true => format!("▾{}", column.title()),
            false => column.title().to_owned(),
        };
        text += &format!("{title:>width$}", width = column.width());
    }
    let names = match view {
        View::Processes => "process, command",
        View::Threads => "thread, process",
        View::Functions | View::Lines => "function, where",
        View::Native => "function, library",
        View::Modules => "module",
        View::Tree => "function, where",
    };
    let mark = match sort {
        SortBy::Name if view != View::Tree => "▾",
        _ => "",
    };
    keep_start(&format!("{text}  {mark}{names}"), width).into_owned()
}

/// One row in at most `width` columns, in pieces; nothing in it can steer a terminal.
pub(crate) fn cells(view: View, row: &Row, width: usize) -> Vec<(String, Paint)> {
    let mut pieces = Vec::new();
    let mut taken = 1;
    for column in Column::of_view(view) {
        let (text, paint) = column.cell(row);
        let text = format!("{text:>width$}", width = column.width());
        taken += columns(&text);
        pieces.push((text, paint));
    }
    pieces.push(("  ".to_owned(), Paint::Plain));
    let mut room = width.saturating_sub(taken + 2);
    if let Some(branch) = &row.branch {
        let mark = match branch.is_open {
            Some(true) => "▾ ",
            Some(false) => "▸ ",
            None => "  ",
        };
        // Of a tree that is deeper than the screen is wide, the names are worth more than the lines.
        let prefix = keep_end(&branch.prefix, room / 2);
        let prefix = format!("{prefix}{mark}");
        room = room.saturating_sub(columns(&prefix));
        pieces.push((prefix, Paint::Dim));
    }
    let name = escape_for_terminal(&row.name);
    let place = escape_for_terminal(&row.place);
    let half = match view {
        // The name of a process says little, its command line all.
        View::Processes => room / 3,
        _ => room / 2,
    };
    let needed = columns(&place).min(room.saturating_sub(half + 2));
    let for_name = match needed {
        0 => room,
        needed => room.saturating_sub(needed + 2),
    };
    let name = match row.kind {
        // A process is known by its script, a thread by how its name begins.
        _ if view == View::Processes => keep_file_names(&name, for_name),
        FrameKind::Python => keep_end(&name, for_name),
        _ => keep_start(&name, for_name),
    };
    let left = room.saturating_sub(columns(&name) + 2);
    // Names of one table stand in one column, places in another; in a tree that would tear them apart.
    let widest = room.saturating_sub(needed + 2).max(columns(&name));
    let gap = match view {
        View::Tree => columns(&name),
        _ => half.clamp(columns(&name), widest),
    };
    pieces.push((pad(&name, gap), paint_of_name(row)));
    if !place.is_empty() && left >= 4 {
        let left = room.saturating_sub(gap + 2);
        let place = match view {
            View::Processes => keep_file_names(&place, left),
            _ => keep_end(&place, left),
        };
        pieces.push((format!("  {place}"), Paint::Dim));
    }
    pieces
}
