//! The table interpreter × scenario: every test that fills a cell notes it here, and a document is made of all of them.
//!
//! ```text
//! target/e2e/matrix.tsv      INTERPRETER TAB TABLE TAB SCENARIO TAB (ok | partly | skipped | failed) TAB DETAIL
//! ```
//!
//! A cell that is noted again replaces the one before, so a run of some tests brings the whole table up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::output_folder;

/// The tables of the document, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Ways to build and to start an interpreter.
    Builds,
    /// Threads and interpreters.
    Threads,
    /// What Python code can be in the middle of.
    Frames,
    /// What functions and files are called.
    Names,
    /// Which line is executed.
    Lines,
    /// What a whole recording must be.
    Whole,
}

impl Table {
    const ALL: [Self; 6] = [
        Self::Builds,
        Self::Threads,
        Self::Frames,
        Self::Names,
        Self::Lines,
        Self::Whole,
    ];

    /// The table of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Builds => "builds",
            Self::Threads => "threads",
            Self::Frames => "frames",
            Self::Names => "names",
            Self::Lines => "lines",
            Self::Whole => "whole",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Builds => "Builds and ways to start",
            Self::Threads => "Threads and interpreters",
            Self::Frames => "Frames",
            Self::Names => "Names",
            Self::Lines => "Lines",
            Self::Whole => "Whole recordings",
        }
    }
}

/// What one scenario came to on one interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// It holds; the measured figure.
    Ok(String),
    /// It holds but for this.
    Partly(String),
    /// It cannot be tried, and why.
    Skipped(String),
    /// It does not hold, and what was seen.
    Failed(String),
}

impl Cell {
    /// The cell of a test's result, whose good outcome is a figure.
    pub fn of(result: &Result<String>) -> Self {
        match result {
            Ok(figure) => Self::Ok(figure.clone()),
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Ok(figure) => ("ok", figure),
            Self::Partly(reason) => ("partly", reason),
            Self::Skipped(reason) => ("skipped", reason),
            Self::Failed(seen) => ("failed", seen),
        }
    }
}

/// Notes a cell in the output folder's `matrix.tsv`.
pub fn note_cell(interpreter: &str, table: Table, scenario: &str, cell: &Cell) {
    let (outcome, detail) = cell.parts();
    let detail = detail.lines().next().unwrap_or_default().replace('\t', " ");
    let line = format!(
        "{interpreter}\t{}\t{scenario}\t{outcome}\t{detail}\n",
        table.name()
    );
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(matrix_file());
    // One write, so that lines of tests that run beside each other do not mix; the tests themselves tell what failed.
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .ok();
}

/// Empties the table before a run that makes the document.
///
/// # Errors
/// The file is there and cannot be removed.
pub fn clear_cells() -> io::Result<()> {
    match fs::remove_file(matrix_file()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// True if this run is to write the document: `VIPERF_WRITE_COVERAGE=1`.
pub fn writes_coverage() -> bool {
    env::var_os("VIPERF_WRITE_COVERAGE").is_some_and(|value| value == "1")
}

/// Writes `docs/coverage.md` from the cells noted so far.
///
/// # Errors
/// The table cannot be read, or the document cannot be written.
pub fn write_coverage() -> io::Result<()> {
    let text = fs::read_to_string(matrix_file())?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/coverage.md");
    fs::write(path, Matrix::parse(&text).render())
}

fn matrix_file() -> PathBuf {
    output_folder().join("matrix.tsv")
}

const INTRODUCTION: &str = "\
# What is covered

This document is written by the end-to-end tests (`VIPERF_WRITE_COVERAGE=1 cargo xtask test`): do not edit it.
A row is a scenario of `fixtures/python/scenarios.py` or a test of `tests/e2e`, a column is an interpreter.
`ok` says that the whole Python stacks, names, files and lines, are what the interpreter itself told; `ok` with a number, that they are but for what the number says.
A number refers to the reason below the table, and `–` says that the scenario is not tried there.
";

/// All cells, by table, scenario and interpreter.
#[derive(Debug, Default)]
struct Matrix {
    cells: BTreeMap<(Table, String), BTreeMap<Version, Cell>>,
    /// The columns of each table.
    interpreters: BTreeMap<Table, BTreeSet<Version>>,
    /// The scenarios of each table in the order in which they were first noted.
    order: Vec<(Table, String)>,
}

/// An interpreter's name, in the order of versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Version(Vec<u64>, String);

impl Version {
    fn new(name: &str) -> Self {
        let number = name.split('-').next().unwrap_or_default();
        let digits = |part: &str| {
            let end = part.find(|character: char| !character.is_ascii_digit());
            part.get(..end.unwrap_or(part.len()))?.parse().ok()
        };
        Self(
            number.split('.').filter_map(digits).collect(),
            name.to_owned(),
        )
    }
}

impl Matrix {
    /// Reads the table; lines that are none are left out.
    fn parse(text: &str) -> Self {
        let mut matrix = Self::default();
        for line in text.lines() {
            let parts: Vec<_> = line.splitn(5, '\t').collect();
            let [interpreter, table, scenario, outcome, detail] = parts.as_slice() else {
                continue;
            };
            let Some(table) = Table::find(table) else {
                continue;
            };
            let detail = (*detail).to_owned();
            let cell = match *outcome {
                "ok" => Cell::Ok(detail),
                "partly" => Cell::Partly(detail),
                "skipped" => Cell::Skipped(detail),
                _ => Cell::Failed(detail),
            };
            matrix.note(table, scenario, Version::new(interpreter), cell);
        }
        matrix
    }

    fn note(&mut self, table: Table, scenario: &str, interpreter: Version, cell: Cell) {
        let row = (table, scenario.to_owned());
        if !self.cells.contains_key(&row) {
            self.order.push(row.clone());
        }
        let columns = self.interpreters.entry(table).or_default();
        columns.insert(interpreter.clone());
        self.cells.entry(row).or_default().insert(interpreter, cell);
    }

    fn render(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        for table in Table::ALL {
            let rows: Vec<_> = self.order.iter().filter(|(of, _)| *of == table).collect();
            if !rows.is_empty() {
                self.render_table(table, &rows, &mut text);
            }
        }
        text
    }

    fn render_table(&self, table: Table, rows: &[&(Table, String)], text: &mut String) {
        let mut reasons: Vec<String> = Vec::new();
        let columns: Vec<_> = self
            .interpreters
            .get(&table)
            .into_iter()
            .flatten()
            .collect();
        let headings = columns.iter().map(|version| version.1.as_str());
        let headings = headings.collect::<Vec<_>>().join(" | ");
        let rule = "---|".repeat(columns.len());
        // Writing to a string cannot fail.
        write!(
            text,
            "\n## {}\n\n| scenario | {headings} |\n|---|{rule}\n",
            table.title()
        )
        .ok();
        for row in rows {
            let cells = columns
                .iter()
                .map(|version| self.mark(row, version, &mut reasons));
            let cells = cells.collect::<Vec<_>>().join(" | ");
            writeln!(text, "| {} | {cells} |", row.1.replace('_', " ")).ok();
        }
        if !reasons.is_empty() {
            text.push('\n');
        }
        for (number, reason) in reasons.iter().enumerate() {
            writeln!(text, "{}. {reason}", number + 1).ok();
        }
    }

    /// What stands in a cell: `ok`, or the number of its reason, which is added if it is new.
    fn mark(&self, row: &(Table, String), version: &Version, reasons: &mut Vec<String>) -> String {
        let cell = self.cells.get(row).and_then(|cells| cells.get(version));
        let (reason, word) = match cell {
            Some(Cell::Ok(_)) => return "ok".to_owned(),
            None => return "–".to_owned(),
            Some(Cell::Partly(reason)) => (reason.clone(), "ok "),
            Some(Cell::Skipped(reason)) => (reason.clone(), ""),
            Some(Cell::Failed(seen)) => (format!("failed: {seen}"), "failed "),
        };
        let known = reasons.iter().position(|known| *known == reason);
        let number = known.unwrap_or_else(|| {
            reasons.push(reason);
            reasons.len() - 1
        });
        format!("{word}{}", number + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_a_table_for_each_group_and_a_number_for_each_reason() {
        let text = "3.10.1-shared\tframes\tawait_chain\tfailed\tno frame\n\
                    3.9.2-static\tframes\tawait_chain\tok\t1.000 of 12\n\
                    2.7.18-shared\tframes\tawait_chain\tskipped\tnot before 3.5\n\
                    3.10.1-shared\tframes\tawait_chain\tok\t0.99 of 100\n\
                    2.7.18-shared\tnames\tlatin\tskipped\tnot before 3.0\n\
                    3.9.2-static\tnames\tlatin\tfailed\tgot x\n\
                    3.9.2-static\tnames\tonly_here\tpartly\tno root\n\
                    not a line\n";
        let document = Matrix::parse(text).render();
        let tables = document.split_once("\n## ").unwrap().1;
        assert_eq!(
            tables,
            "Frames\n\n\
             | scenario | 2.7.18-shared | 3.9.2-static | 3.10.1-shared |\n\
             |---|---|---|---|\n\
             | await chain | 1 | ok | ok |\n\
             \n\
             1. not before 3.5\n\
             \n\
             ## Names\n\n\
             | scenario | 2.7.18-shared | 3.9.2-static |\n\
             |---|---|---|\n\
             | latin | 1 | failed 2 |\n\
             | only here | – | ok 3 |\n\
             \n\
             1. not before 3.0\n\
             2. failed: got x\n\
             3. no root\n"
        );
    }

    #[test]
    fn free_threaded_builds_stand_beside_their_version() {
        let mut names = [
            "3.14.1-static",
            "3.13.5t-static",
            "3.9.1-x",
            "3.13.5-shared",
        ];
        names.sort_by_key(|name| Version::new(name));
        assert_eq!(
            names,
            [
                "3.9.1-x",
                "3.13.5-shared",
                "3.13.5t-static",
                "3.14.1-static"
            ]
        );
    }
}
