//! `docs/kernels.md`: what each kernel's verifier says of each program.

use std::fmt::Write as _;

/// The figures of all programs on one kernel.
#[derive(Debug)]
pub(super) struct Figures {
    release: String,
    /// Program, then instructions, states, and milliseconds.
    rows: Vec<[String; 4]>,
}

const INTRODUCTION: &str = "\
# Kernels

This document is written by `VIPERF_WRITE_KERNELS=1 cargo xtask vm`: do not edit it.
Each kernel is Debian's, in a virtual machine without acceleration (`cargo xtask vm`), where a live stack of Python, C and kernel, its shares and a forked child are checked, too.
Instructions are those that the verifier looked at, of 1,000,000 at most; states are those that it kept; the time is that of an emulated CPU, some ten times what it is on a real one.
";

impl Figures {
    /// Reads lines of `PROGRAM INSTRUCTIONS STATES MILLISECONDS`; others are left out.
    pub(super) fn new(release: &str, text: &str) -> Self {
        let rows = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let row = [words.next()?, words.next()?, words.next()?, words.next()?];
            (words.next().is_none() && row[1].parse::<u64>().is_ok()).then_some(row)
        });
        Self {
            release: release.to_owned(),
            rows: rows.collect(),
        }
    }
}

pub(super) fn render(kernels: &[Figures]) -> String {
    let mut text = INTRODUCTION.to_owned();
    for kernel in kernels {
        // Writing to a string cannot fail.
        write!(
            text,
            "\n## Linux {}\n\n| program | instructions | states | milliseconds |\n|---|---:|---:|---:|\n",
            kernel.release
        )
        .ok();
        for row in &kernel.rows {
            writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                row[0], row[1], row[2], row[3]
            )
            .ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_a_table_of_its_programs() {
        let figures = Figures::new(
            "6.1.0-1",
            "on_cpu_sample 1200 34 56\nnoise\nprocess_exit x 1 2\n",
        );
        let text = render(&[figures]);
        assert!(text.ends_with(
            "\n## Linux 6.1.0-1\n\n| program | instructions | states | milliseconds |\n|---|---:|---:|---:|\n\
             | `on_cpu_sample` | 1200 | 34 | 56 |\n"
        ));
    }
}
