//! Tests of the rows from instructions against those that the compiler wrote for the same code.

use std::path::Path;

use viperf_elf::Image;

use super::analyse_code;
use crate::{CallerRbp, Row, RowTable, Rule, Step, build_rows, build_rows_of_images, find_rule};

/// Bytes of code by how the two agree.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    equal: u64,
    /// The same CFA; rbp is said to be in two places. While it is pushed and popped it is in both.
    rbp_otherwise: u64,
    /// The same CFA; where rbp is, is known to one of them only.
    rbp_unknown: u64,
    missing: u64,
    wrong: u64,
    examples: Vec<String>,
}

impl Agreement {
    fn count(&mut self, pc: u64, bytes: u64, ours: Rule, theirs: Rule) {
        let unknown = |rule: Rule| match rule.decode() {
            Step::Caller { cfa, .. } => Rule::encode(Step::Caller {
                cfa,
                rbp: CallerRbp::Unknown,
            }),
            _ => rule,
        };
        if ours == theirs {
            self.equal += bytes;
        } else if ours == Rule::NONE {
            self.missing += bytes;
        } else if ours == unknown(theirs) || unknown(ours) == theirs {
            self.rbp_unknown += bytes;
        } else if unknown(ours) == unknown(theirs) {
            self.rbp_otherwise += bytes;
        } else {
            self.wrong += bytes;
            let (ours, theirs) = (ours.decode(), theirs.decode());
            self.examples.push(format!(
                "{pc:#x}+{bytes}: {ours:?}, the file says {theirs:?}"
            ));
        }
    }

    fn total(&self) -> u64 {
        self.equal + self.rbp_otherwise + self.rbp_unknown + self.missing + self.wrong
    }

    /// The share of bytes with the right CFA, from 0 to 1.
    pub(crate) fn share_right(&self) -> f64 {
        self.percent(self.equal + self.rbp_otherwise + self.rbp_unknown) / 100.0
    }

    /// The share of bytes with a wrong one.
    pub(crate) fn share_wrong(&self) -> f64 {
        self.percent(self.wrong) / 100.0
    }

    fn percent(&self, bytes: u64) -> f64 {
        100.0 * bytes as f64 / self.total().max(1) as f64
    }
}

fn ends_of(rows: &[Row]) -> impl Iterator<Item = (Row, u32)> {
    let ends = rows.iter().skip(1).map(|row| row.pc);
    rows.iter().copied().zip(ends)
}

/// Compares at every byte that the tables cover.
pub(crate) fn compare(tables: &[Row], analysed: &[Row]) -> Agreement {
    let mut agreement = Agreement::default();
    for (row, end) in ends_of(tables) {
        if row.rule == Rule::NONE {
            continue;
        }
        let mut pc = row.pc;
        while pc < end {
            let after = analysed.partition_point(|other| other.pc <= pc);
            let next = analysed.get(after).map_or(end, |other| other.pc.min(end));
            let ours = find_rule(analysed, pc);
            agreement.count(u64::from(pc), u64::from(next - pc), ours, row.rule);
            pc = next;
        }
    }
    agreement
}

fn compare_files(stripped: &Path, with_tables: &Path) -> Agreement {
    let (stripped, with_tables) = (
        std::fs::read(stripped).unwrap(),
        std::fs::read(with_tables).unwrap(),
    );
    let (stripped, with_tables) = (
        Image::parse(&stripped).unwrap(),
        Image::parse(&with_tables).unwrap(),
    );
    let tables = build_rows_of_images(&with_tables, None).unwrap();
    let own = stripped
        .eh_frame()
        .map(|section| build_rows(section.data, section.svma).unwrap());
    let mut analysed: RowTable = own.unwrap_or_default();
    let started = std::time::Instant::now();
    let covered = analyse_code(&stripped, &mut analysed);
    println!(
        "{covered} bytes analysed in {:.1} ms, {} rows against {}",
        started.elapsed().as_secs_f64() * 1000.0,
        analysed.rows.len(),
        tables.rows.len()
    );
    compare(&tables.rows, &analysed.rows)
}

/// For files found nowhere by default, such as musl built with `-g`: a stripped file and the same one with tables,
/// separated by a colon.
#[test]
fn instructions_of_files_in_the_environment_say_what_their_tables_say() {
    let Some(paths) = std::env::var_os("VIPERF_ANALYSIS_TEST_FILES") else {
        println!("skipped: VIPERF_ANALYSIS_TEST_FILES names no files");
        return;
    };
    let paths: Vec<_> = std::env::split_paths(&paths).collect();
    for pair in paths.chunks_exact(2) {
        let agreement = compare_files(&pair[0], &pair[1]);
        for example in agreement.examples.iter().take(15) {
            println!("{example}");
        }
        println!(
            "{}: {} bytes: {:.2} % equal, {:.2} % with rbp elsewhere, {:.2} % with rbp unknown, {:.2} % missing, {:.2} % wrong",
            pair[0].display(),
            agreement.total(),
            agreement.percent(agreement.equal),
            agreement.percent(agreement.rbp_otherwise),
            agreement.percent(agreement.rbp_unknown),
            agreement.percent(agreement.missing),
            agreement.percent(agreement.wrong),
        );
    }
}
