//! The screen as text in colours.

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use viperf_report::{columns, escape_for_terminal, keep_start, show_count, show_share, to_ascii};

use crate::columns::{Paint, cells, header};
use crate::live::Live;
use crate::overlay::{help, leave, output, reasons};
use crate::rows::Row;
use crate::state::{Mode, State};
use crate::view::View;

/// Lines above the rows.
const HEAD: u16 = 5;

/// What is shown beside the data.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Samples per second of CPU time that were asked for.
    pub rate_hz: u32,
    /// Whether colours are wanted.
    pub has_color: bool,
    /// Whether only ASCII can be shown.
    pub is_ascii: bool,
    /// Why a stack can be incomplete: the reason, and what it means.
    pub reasons: Vec<(String, String)>,
    /// The last lines that the command has printed.
    pub output: Vec<String>,
    /// Where the command's output is.
    pub output_place: String,
    /// What there is to say: a note of whoever records, or how the targets ended.
    pub note: String,
}

/// Draws everything; tells the state how many rows fit.
pub(crate) fn draw(
    frame: &mut Frame<'_>,
    state: &mut State,
    live: &Live,
    rows: &[Row],
    around: &Surroundings,
) {
    let area = frame.area();
    let width = usize::from(area.width);
    let is_table = matches!(state.mode, Mode::Table | Mode::Search);
    let mut lines = head(state, live, around, width);
    if !is_table {
        // Neither what is selected nor columns.
        lines.truncate(usize::from(HEAD) - 2);
    }
    state.page = usize::from(area.height.saturating_sub(HEAD + 1));
    state.settle(rows);
    let height = usize::from(area.height.saturating_sub(1)).saturating_sub(lines.len());
    match state.mode {
        Mode::Table | Mode::Search => lines.extend(table(state, rows, around, width, height)),
        Mode::Help => lines.extend(plain(help(), height)),
        Mode::Reasons => lines.extend(plain(reasons(live, around, width), height)),
        Mode::Output => lines.extend(plain(output(around, width, height), height)),
        Mode::Leave => lines.extend(plain(leave(), height)),
    }
    frame.render_widget(Paragraph::new(lines), area);
    let last = Rect::new(0, area.height.saturating_sub(1), area.width, 1);
    frame.render_widget(
        Paragraph::new(foot(state, around, width)),
        last.intersection(area),
    );
    if around.is_ascii {
        make_ascii(frame.buffer_mut());
    }
}

/// Puts a sign that is like it in the place of each that is not ASCII.
fn make_ascii(buffer: &mut Buffer) {
    let mut hidden = 0;
    for cell in &mut buffer.content {
        if hidden > 0 {
            // The second half of a wide character.
            hidden -= 1;
            cell.set_char('?');
            continue;
        }
        let symbol = cell.symbol();
        if !symbol.is_ascii() {
            hidden = columns(symbol).saturating_sub(1);
            let ascii = to_ascii(symbol).chars().next();
            cell.set_char(ascii.unwrap_or(' '));
        }
    }
}

fn plain(texts: Vec<String>, height: usize) -> Vec<Line<'static>> {
    texts.into_iter().take(height).map(Line::from).collect()
}

/// What is profiled and how well; the views; what is selected; the columns.
fn head(state: &State, live: &Live, around: &Surroundings, width: usize) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let frozen = if state.is_frozen { " · FROZEN" } else { "" };
    let title = format!(
        "viperf top · {} · {} · {}{frozen}",
        escape_for_terminal(live.target()),
        show_clock(live.elapsed()),
        state.window.name(),
    );
    let quality = quality(state, live, around);
    let bad = match quality.is_bad {
        true => style(Paint::Alarm, around.has_color),
        false => Style::new(),
    };
    let header = header(state.view, state.sort, width);
    vec![
        Line::styled(keep_start(&title, width).into_owned(), bold),
        Line::styled(keep_start(&quality.text, width).into_owned(), bad),
        Line::from(tabs(state.view)),
        Line::from(keep_start(&choice(state, live), width).into_owned()),
        Line::styled(header, bold),
    ]
}

struct QualityLine {
    text: String,
    is_bad: bool,
}

/// `187 samples/s at 99 Hz · 1.89 CPUs · complete 99.7 % · lost 0`.
fn quality(state: &State, live: &Live, around: &Surroundings) -> QualityLine {
    let quality = live.quality(state.window);
    let seconds = quality.duration.as_secs_f64();
    let rate = match seconds > 0.0 {
        true => quality.samples as f64 / seconds,
        false => 0.0,
    };
    let cpus = rate / f64::from(around.rate_hz.max(1));
    let is_incomplete = (quality.complete as f64) < 0.99 * quality.samples as f64;
    let mark = if is_incomplete { " (i: why)" } else { "" };
    QualityLine {
        text: format!(
            "{rate:.0} samples/s at {} Hz · {cpus:.2} CPUs · complete {}{mark} · lost {}",
            around.rate_hz,
            show_share(quality.complete, quality.samples),
            show_count(quality.lost),
        ),
        is_bad: is_incomplete || quality.lost > 0,
    }
}

fn tabs(current: View) -> String {
    let mut text = String::new();
    for (index, view) in View::ALL.iter().enumerate() {
        let name = format!("{} {}", index + 1, view.name());
        text += &match *view == current {
            true => format!("[{name}]"),
            false => format!(" {name} "),
        };
    }
    text
}

/// `in python3 (1234) › thread 1235 › function f · filter: text`.
fn choice(state: &State, live: &Live) -> String {
    let profile = live.profile();
    let mut steps = Vec::new();
    let text = |handle| profile.string(handle).unwrap_or_default().to_owned();
    if let Some(process) = state.selection.process
        && let Ok(process) = profile.process(process)
    {
        steps.push(format!("{} ({})", text(process.shown_name()), process.pid));
    }
    steps.extend(state.selection.tid.map(|tid| format!("thread {tid}")));
    if let Some(function) = state.selection.function
        && let Ok(function) = profile.function(function)
    {
        steps.push(format!("samples with {}", text(function.name)));
    }
    let mut parts = Vec::new();
    if !steps.is_empty() {
        parts.push(format!("in {}", steps.join(" › ")));
    }
    if !state.search.is_empty() {
        parts.push(format!("filter: {}", state.search.text()));
    }
    if state.is_full && state.view == View::Tree {
        parts.push("every frame".to_owned());
    }
    escape_for_terminal(&parts.join(" · ")).into_owned()
}

fn table(
    state: &State,
    rows: &[Row],
    around: &Surroundings,
    width: usize,
    height: usize,
) -> Vec<Line<'static>> {
    if rows.is_empty() {
        return vec![Line::from(""), Line::from(nothing(state))];
    }
    let shown = rows.iter().enumerate().skip(state.top).take(height);
    shown
        .map(|(index, row)| {
            let is_cursor = index == state.at;
            let mark = if is_cursor { ">" } else { " " };
            let mut spans = vec![Span::raw(mark)];
            for (text, paint) in cells(state.view, row, width) {
                spans.push(Span::styled(text, style(paint, around.has_color)));
            }
            let line = Line::from(spans);
            match is_cursor {
                true => line.style(Style::new().add_modifier(Modifier::REVERSED)),
                false => line,
            }
        })
        .collect()
}

/// Why there is nothing.
fn nothing(state: &State) -> String {
    if !state.search.is_empty() {
        return "  nothing is found by the filter; Esc takes it away".to_owned();
    }
    format!(
        "  nothing ran on a CPU ({}): the targets wait or sleep, or samples have yet to come",
        state.window.name()
    )
}

/// The filter that is being typed, what there is to say, or the keys.
fn foot(state: &State, around: &Surroundings, width: usize) -> Line<'static> {
    let dim = style(Paint::Dim, around.has_color);
    match state.mode {
        Mode::Search => {
            let typed = escape_for_terminal(&state.typed).into_owned();
            Line::from(format!("/{typed}_   Enter keeps, Esc clears"))
        }
        _ if !around.note.is_empty() => {
            let note = escape_for_terminal(&around.note);
            Line::from(keep_start(&note, width).into_owned())
        }
        Mode::Table => Line::styled(
            "? help  q quit  Enter into  Esc back  / filter  s sort  w window  Space freeze",
            dim,
        ),
        _ => Line::styled("any key: back", dim),
    }
}

/// Of the sixteen colours that every terminal has, those that show on dark and on light ground.
fn style(paint: Paint, has_color: bool) -> Style {
    let color = match paint {
        Paint::Plain => None,
        Paint::Dim => return Style::new().add_modifier(Modifier::DIM),
        Paint::Project => return Style::new().add_modifier(Modifier::BOLD),
        Paint::Native => Some(Color::Cyan),
        Paint::Kernel => Some(Color::Magenta),
        Paint::Alarm => Some(Color::Red),
        Paint::Warm => Some(Color::Yellow),
    };
    match color.filter(|_| has_color) {
        Some(color) => Style::new().fg(color),
        None => Style::new(),
    }
}

/// `1:23`, `1:02:03`.
pub(crate) fn show_clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}
