//! Source text with the time of each line beside it.

use std::collections::BTreeMap;

use serde::Serialize;
use viperf_profile::{CallTree, FrameKind, GroupBy, Grouping, Profile, Weight, group_statistics};

use crate::ReportError;
use crate::calls::{ends_in_path, find_functions, similar};
use crate::figures::{Amount, Whole, show_percent};
use crate::json::to_json;
use crate::markdown::block;
use crate::safe_text::{escape_for_terminal, keep_start};
use crate::style::{Paint, Style};

/// Lines without time that are shown before and after one that has some.
const CONTEXT: u32 = 3;

/// One file, or one function of it, line by line.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// The form of these keys.
    pub version: u32,
    /// The file's path, as the program had it.
    pub file: String,
    /// The function, if one was asked for.
    pub function: Option<String>,
    /// Whether the text was found.
    pub has_text: bool,
    /// The line on which the function begins, if one was asked for.
    pub first_line: Option<u32>,
    /// Lines with time and those around them; without the text, lines with time.
    pub lines: Vec<SourceLine>,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct SourceLine {
    /// Its number, from 1.
    pub line: u32,
    /// Its text; empty when the text was not found.
    pub text: String,
    /// With the C and kernel code it calls directly.
    #[serde(rename = "self")]
    pub self_amount: Amount,
    /// The samples in which it is being executed, or waits for what it called.
    pub total: Amount,
}

impl Source {
    /// The lines of a file of Python code that `name` ends (`app.py`, `shop/views.py`), or of the function that it means.
    ///
    /// # Errors
    ///
    /// [`ReportError::NotFound`], or [`ReportError::Profile`] when a handle is not of this profile.
    pub fn new(profile: &Profile, name: &str) -> Result<Self, ReportError> {
        profile.validate()?;
        let whole = Whole::new(Weight::of(&profile.samples));
        let chosen = choose(profile, name)?;
        let grouping = Grouping::new(profile, GroupBy::FileLine)?;
        let tree = CallTree::new(profile, &grouping)?;
        let weights = tree.weigh(&profile.samples);
        let statistics = group_statistics(&tree, &weights, &grouping);
        let mut lines = BTreeMap::new();
        for ((_, group), statistics) in grouping.iter().zip(&statistics) {
            let is_in = group.kind == FrameKind::Python
                && group.file == Some(chosen.file.as_str())
                && group.line != 0
                && chosen
                    .lines
                    .is_none_or(|(first, last)| (first..=last).contains(&group.line));
            if is_in && !statistics.total.is_empty() {
                let line = SourceLine {
                    line: group.line,
                    text: String::new(),
                    self_amount: whole.amount(statistics.self_weight()),
                    total: whole.amount(statistics.total),
                };
                lines.insert(group.line, line);
            }
        }
        Ok(Self {
            version: 1,
            file: chosen.file,
            function: chosen.function,
            has_text: false,
            first_line: chosen.lines.map(|(first, _)| first),
            lines: lines.into_values().collect(),
        })
    }

    /// Puts the file's text beside the figures, with some lines before and after those that have time.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        let mut shown: BTreeMap<u32, SourceLine> = BTreeMap::new();
        let texts: Vec<&str> = text.lines().collect();
        let (begin, end) = self.extent(&texts);
        for line in &self.lines {
            let first = line.line.saturating_sub(CONTEXT).max(begin);
            let last = line.line.saturating_add(CONTEXT).min(end);
            for number in first..=last {
                if texts.len() >= number as usize {
                    shown.entry(number).or_insert_with(|| SourceLine {
                        line: number,
                        text: String::new(),
                        self_amount: Amount::default(),
                        total: Amount::default(),
                    });
                }
            }
        }
        for line in self.lines {
            shown.insert(line.line, line);
        }
        for (number, line) in &mut shown {
            let text = texts.get((*number as usize).saturating_sub(1));
            line.text = text.copied().unwrap_or_default().to_owned();
        }
        Self {
            has_text: true,
            lines: shown.into_values().collect(),
            ..self
        }
    }

    /// The first and the last line that may be shown: those of the function, which ends where the text is indented no
    /// further than its first line.
    fn extent(&self, texts: &[&str]) -> (u32, u32) {
        let Some(first) = self.first_line else {
            return (1, u32::MAX);
        };
        let indent = |text: &str| text.len() - text.trim_start().len();
        let at = |line: u32| texts.get((line as usize).saturating_sub(1)).copied();
        let outer = at(first).map_or(0, indent);
        let last_seen = self.lines.last().map_or(first, |line| line.line);
        let mut end = last_seen;
        while let Some(text) = at(end.saturating_add(1))
            && end < last_seen.saturating_add(CONTEXT)
            && !text.trim().is_empty()
            && indent(text) > outer
        {
            end += 1;
        }
        (first, end)
    }

    /// The lines as text.
    #[must_use]
    pub fn text(&self, style: &Style) -> String {
        let file = escape_for_terminal(&self.file);
        let title = match &self.function {
            Some(function) => format!("{}  {file}", escape_for_terminal(function)),
            None => file.into_owned(),
        };
        format!(
            "{}\n{}",
            style.paint(&title, Paint::Heading),
            self.body(style)
        )
    }

    /// The lines as JSON, ended by a newline.
    #[must_use]
    pub fn json(&self) -> String {
        to_json(self)
    }

    /// The lines as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let title = self.function.as_ref().unwrap_or(&self.file);
        let title = crate::markdown::code(title);
        format!(
            "### Lines of {title}\n\n{}",
            block(&self.body(&Style::default()))
        )
    }

    fn body(&self, style: &Style) -> String {
        let last = self.lines.last().map_or(0, |line| line.line);
        let digits = last.to_string().len().max(4);
        let mut text = style.paint(&format!("  total   self  {:>digits$}", "line"), Paint::Dim);
        text.push('\n');
        let mut next = None;
        for line in &self.lines {
            if next.is_some_and(|next| next != line.line) && self.has_text {
                text += &style.paint(&format!("{:>width$}", "⋮", width = 16 + digits), Paint::Dim);
                text.push('\n');
            }
            next = Some(line.line + 1);
            let share = |amount: &Amount| match amount.samples {
                0 => String::new(),
                _ => show_percent(amount.share),
            };
            let figures = format!(
                "  {:>5}  {:>5}",
                share(&line.total),
                share(&line.self_amount)
            );
            let number = format!("{:>digits$}", line.line);
            let source = line.text.replace('\t', "    ");
            let source = escape_for_terminal(source.trim_end());
            let room = style.width.map(|width| width.saturating_sub(20 + digits));
            let source = keep_start(&source, room.unwrap_or(usize::MAX).max(20));
            let (share_paint, source_paint) = match line.total.samples {
                0 => (Paint::Dim, Paint::Dim),
                _ => (Paint::of_share(line.total.share), Paint::Plain),
            };
            let row = format!(
                "{}  {}  {}",
                style.paint(&figures, share_paint),
                style.paint(&number, Paint::Dim),
                style.paint(&source, source_paint)
            );
            text += row.trim_end();
            text.push('\n');
        }
        text
    }
}

struct Chosen {
    file: String,
    function: Option<String>,
    /// From the line on which the function begins to the last of it that was seen.
    lines: Option<(u32, u32)>,
}

/// The file or function that `name` means; of several, the one with most time.
fn choose(profile: &Profile, name: &str) -> Result<Chosen, ReportError> {
    let by_function = Grouping::new(profile, GroupBy::Function)?;
    let tree = CallTree::new(profile, &by_function)?;
    let weights = tree.weigh(&profile.samples);
    let statistics = group_statistics(&tree, &weights, &by_function);
    let mut files: BTreeMap<&str, u64> = BTreeMap::new();
    for ((_, group), statistics) in by_function.iter().zip(&statistics) {
        let file = group.file.filter(|_| group.kind == FrameKind::Python);
        if let Some(file) = file.filter(|file| ends_in_path(file, name)) {
            *files.entry(file).or_default() += statistics.total.samples;
        }
    }
    if let Some((file, _)) = files.iter().max_by_key(|(_, samples)| **samples) {
        return Ok(Chosen {
            file: (*file).to_owned(),
            function: None,
            lines: None,
        });
    }
    let found = find_functions(&by_function, &statistics, name);
    let found = found.iter().filter_map(|handle| {
        let group = by_function.find(*handle)?;
        let file = group.file.filter(|_| group.kind == FrameKind::Python)?;
        Some((group, file))
    });
    let Some((group, file)) = found.into_iter().next() else {
        return Err(ReportError::NotFound {
            what: "file or Python function",
            name: escape_for_terminal(name).into_owned(),
            similar: similar(&by_function, &statistics, name),
        });
    };
    let lines = Grouping::new(profile, GroupBy::Line)?;
    let last = lines
        .iter()
        .filter(|(_, line)| {
            line.name == group.name
                && line.file == group.file
                && line.first_line == group.first_line
        })
        .map(|(_, line)| line.line)
        .max();
    Ok(Chosen {
        file: file.to_owned(),
        function: Some(group.name.to_string()),
        lines: Some((group.first_line, last.unwrap_or(group.first_line))),
    })
}
