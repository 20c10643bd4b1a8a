//! Tests of rows against the tables that binutils' `readelf` prints of the same files.

use std::path::Path;
use std::process::Command;

use viperf_elf::Image;

use crate::{CallerRbp, Cfa, Rule, Step, build_rows, find_rule};

/// Where `readelf` says that the CFA is; `None` for what it does not print (expressions).
fn parse_cfa(text: &str) -> Option<Cfa> {
    let (register, offset) = text.split_at(text.find(['+', '-'])?);
    let offset = offset.parse().ok()?;
    match register {
        "rsp" => Some(Cfa::Rsp { offset }),
        "rbp" => Some(Cfa::Rbp { offset }),
        _ => None,
    }
}

/// The same of rbp: `c-16` is 16 below the CFA, `u` and no column are unchanged.
fn parse_rbp(text: Option<&str>) -> Option<CallerRbp> {
    match text {
        None | Some("u") => Some(CallerRbp::Unchanged),
        Some(text) => {
            let distance = text.strip_prefix("c-")?.parse().ok()?;
            Some(CallerRbp::BelowCfa { distance })
        }
    }
}

/// Compares each printed row that is a plain one; how many.
fn compare(printed: &str, rule_at: impl Fn(u32) -> Rule) -> usize {
    let mut rbp_column = None;
    let mut end = 0;
    let mut compared = 0;
    for line in printed.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let Some((_, range)) = line.split_once(" pc=") {
            end = u32::from_str_radix(range.split_once("..").unwrap().1, 16).unwrap();
        }
        if line.contains(" CIE ") {
            end = 0;
        }
        if fields.first() == Some(&"LOC") {
            rbp_column = fields.iter().position(|name| *name == "rbp");
            continue;
        }
        let (Some(pc), Some(cfa), Some(&"c-8")) = (
            fields
                .first()
                .and_then(|text| u32::from_str_radix(text, 16).ok()),
            fields.get(1).and_then(|text| parse_cfa(text)),
            fields.last(),
        ) else {
            continue;
        };
        let rbp = parse_rbp(rbp_column.and_then(|column| fields.get(column).copied()));
        let Some(rbp) = rbp.filter(|_| pc < end) else {
            continue;
        };
        assert_eq!(rule_at(pc).decode(), Step::Caller { cfa, rbp }, "{line}");
        compared += 1;
    }
    compared
}

#[test]
fn rows_are_those_that_readelf_prints() {
    for path in [
        "/lib/x86_64-linux-gnu/libm.so.6",
        "/lib/x86_64-linux-gnu/libz.so.1",
        "/lib64/ld-linux-x86-64.so.2",
    ] {
        let Ok(bytes) = std::fs::read(Path::new(path)) else {
            println!("skipped: no file {path}");
            continue;
        };
        let Ok(output) = Command::new("readelf").args(["-wF", path]).output() else {
            println!("skipped: no readelf");
            return;
        };
        let eh_frame = Image::parse(&bytes).unwrap().eh_frame().unwrap();
        let table = build_rows(eh_frame.data, eh_frame.svma).unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let compared = compare(&printed, |pc| find_rule(&table.rows, pc));
        assert!(compared > 200, "{path}: {compared}");
    }
}
