//! The report for a pull request.

use crate::calls::Calls;
use crate::figures::show_percent;
use crate::report::Report;
use crate::safe_text::escape_for_terminal;
use crate::style::Style;
use crate::tree_text::{self, Columns};

/// `text` as code in a cell: nothing in it is markup, a mention or an end of the cell.
pub(crate) fn code(text: &str) -> String {
    let safe = escape_for_terminal(text).replace('|', "\\|");
    if safe.trim().is_empty() {
        return String::new();
    }
    // A run of backquotes ends code that began with as many.
    let longest = safe.split(|other| other != '`').map(str::len).max();
    let fence = "`".repeat(longest.unwrap_or_default() + 1);
    match safe.contains('`') {
        true => format!("{fence} {safe} {fence}"),
        false => format!("{fence}{safe}{fence}"),
    }
}

/// `text` in a block of its own; nothing in it ends the block.
pub(crate) fn block(text: &str) -> String {
    // Each line begins with a figure, so no line is a fence.
    format!("```text\n{}\n```\n", text.trim_end())
}

/// A heading, a row of headers, and rows of cells; nothing without rows. The first cells are figures.
pub(crate) fn table(title: &str, headers: &[&str], figures: usize, rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
    let ruler: Vec<String> = (0..headers.len())
        .map(|index| if index < figures { "--:" } else { "---" }.to_owned())
        .collect();
    let mut text = format!("\n#### {title}\n\n{}{}", line(&headers), line(&ruler));
    for row in rows {
        text += &line(row);
    }
    text
}

impl Report {
    /// The report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let summary = &self.summary;
        let mut text = format!(
            "### Profile: {}\n\n- samples: {}\n- complete: {}\n- lost: {}\n",
            code(&summary.headline(None)),
            summary.samples_line(),
            // A reason is a name from the profile.
            code(&summary.complete_line(None)),
            summary.lost_line()
        );
        if let Some(groups) = &self.groups {
            text += &groups.markdown();
        }
        let functions: Vec<_> = self
            .functions
            .iter()
            .filter_map(|function| {
                let split = function.split?;
                let shares = [
                    function.total,
                    function.self_amount,
                    split.python,
                    split.native,
                    split.kernel,
                    split.gil_wait,
                ];
                let mut row: Vec<_> = shares.map(|one| show_percent(one.share)).into();
                row.extend([code(&function.name), code(&function.place)]);
                Some(row)
            })
            .collect();
        text += &table(
            "Python functions",
            &[
                "total %", "self %", "Python", "native", "kernel", "GIL", "function", "where",
            ],
            6,
            &functions,
        );
        text += &self.other_tables();
        if !self.tree.is_empty() {
            text += "\n#### Call tree\n\n";
            text += &block(&tree_text::render(
                &self.tree,
                Columns::TotalAndOwn,
                &Style::default(),
            ));
        }
        text
    }

    fn other_tables(&self) -> String {
        let pair = |one: f64, other: f64| [show_percent(one), show_percent(other)];
        let lines: Vec<Vec<String>> = self
            .lines
            .iter()
            .map(|line| {
                let shares = pair(line.total.share, line.self_amount.share);
                let names = [code(&line.place), code(&line.function)];
                shares.into_iter().chain(names).collect()
            })
            .collect();
        let native: Vec<Vec<String>> = self
            .native
            .iter()
            .map(|function| {
                let shares = pair(function.total.share, function.own.share);
                let place = match function.kind {
                    "native" => code(&function.place),
                    kind => kind.to_owned(),
                };
                shares
                    .into_iter()
                    .chain([code(&function.name), place])
                    .collect()
            })
            .collect();
        let modules: Vec<Vec<String>> = self
            .modules
            .iter()
            .map(|module| {
                let shares = pair(module.total.share, module.own.share);
                let whose = crate::report_text::whose(module.kind, module.origin).to_owned();
                shares
                    .into_iter()
                    .chain([code(&module.name), whose])
                    .collect()
            })
            .collect();
        let headers = |name, other| ["total %", "self %", name, other];
        table("Python lines", &headers("line", "function"), 2, &lines)
            + &table(
                "Native and kernel functions",
                &headers("function", "library"),
                2,
                &native,
            )
            + &table(
                "Modules and libraries",
                &headers("module", "whose"),
                2,
                &modules,
            )
    }
}

impl Calls {
    /// The tree as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        format!(
            "### {} {}\n\n{} and {} of the profile.\n\n{}",
            self.direction.title(),
            code(&self.function),
            format_args!("{} %", show_percent(self.total.share)),
            self.total.show_with_unit(),
            block(&tree_text::render(
                &self.tree,
                self.direction.columns(),
                &Style::default()
            ))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_cell() {
        for (name, cell) in [
            ("f", "`f`"),
            ("a|b", "`a\\|b`"),
            ("`rm`", "`` `rm` ``"),
            ("x``y", "``` x``y ```"),
            ("line\nbreak", "`line\\nbreak`"),
            ("<img src=x>", "`<img src=x>`"),
            ("@team #1", "`@team #1`"),
            ("", ""),
        ] {
            assert_eq!(code(name), cell);
        }
    }
}
