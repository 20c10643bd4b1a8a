//! What the stages of a run came to: tests passed, failed, skipped, counted from the runners' own closing lines.

use crate::say;

/// The sum so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    /// `NAME: why`.
    skipped: Vec<String>,
    /// Tests that a runner ignored; those that said why are in `skipped` as well.
    ignored: u64,
    failures: Vec<String>,
    /// Tests that failed beside others and passed alone.
    passed_alone: Vec<String>,
}

impl Tally {
    /// A check that is no test runner counts as one.
    pub(crate) fn check(&mut self, name: &str, complaints: usize) {
        if complaints == 0 {
            self.passed += 1;
        } else {
            self.fail(format!("{name}: {complaints} complaints"));
        }
    }

    /// A stage that could not run to its end, with its reason.
    pub(crate) fn fail(&mut self, why: String) {
        self.failed += 1;
        self.failures.push(why);
    }

    /// A runner ended badly: where no test of it failed, that is a failure of its own (it crashed, say).
    pub(crate) fn note_bad_end(&mut self) {
        if self.failed == 0 {
            self.fail("a test runner ended badly".to_owned());
        }
    }

    /// The names of what has failed so far.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// A test that failed has passed when it was run again by itself.
    pub(crate) fn passed_alone(&mut self, test: &str) {
        if let Some(place) = self.failures.iter().position(|name| name == test) {
            self.passed_alone.push(self.failures.remove(place));
            self.failed = self.failed.saturating_sub(1);
            self.passed += 1;
        }
    }

    /// Reads one line of a test runner's output.
    pub(crate) fn read_line(&mut self, line: &str) {
        if let Some(skip) = line.strip_prefix("skipped: ") {
            self.skipped.push(skip.to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.ignored += count(counts, "ignored");
        } else if let Some(test) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(test.trim_end().to_owned());
        }
    }

    /// Prints what failed, what was skipped, and the one closing line; true if all is well.
    pub(crate) fn close(&self) -> bool {
        for failure in &self.failures {
            say(&format!("failed: {failure}"));
        }
        for test in &self.passed_alone {
            say(&format!("failed beside others and passed alone: {test}"));
        }
        if !self.skipped.is_empty() {
            say("skipped on this machine:");
            for skip in &self.skipped {
                say(&format!("  {skip}"));
            }
        }
        say(&self.closing_line());
        self.failed == 0
    }

    fn closing_line(&self) -> String {
        let skipped = self.ignored.max(self.skipped.len() as u64);
        format!(
            "{} passed, {} failed, {skipped} skipped",
            self.passed, self.failed
        )
    }
}

/// The number before a word in `ok. 12 passed; 0 failed; 1 ignored; …`.
fn count(counts: &str, word: &str) -> u64 {
    let part = counts
        .split(';')
        .find_map(|part| part.trim().strip_suffix(word));
    let number = part.and_then(|part| part.split_whitespace().last());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_runners_are_summed() {
        let mut tally = Tally::default();
        tally.read_line("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        tally.read_line("test a::b ... FAILED");
        tally.read_line(
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        tally.read_line("skipped: late-import/3.12: no numpy");
        tally.check("tidy", 0);
        assert_eq!(tally.closing_line(), "16 passed, 1 failed, 1 skipped");
        assert_eq!(tally.failures, ["a::b"]);
    }

    #[test]
    fn what_passes_alone_is_no_failure_and_is_named() {
        let mut tally = Tally::default();
        tally.read_line("test a/b     ... FAILED");
        tally.read_line("test result: FAILED. 3 passed; 1 failed; 0 ignored");
        tally.passed_alone("a/b");
        assert_eq!(tally.closing_line(), "4 passed, 0 failed, 0 skipped");
        assert_eq!(tally.passed_alone, ["a/b"]);
    }

    #[test]
    fn a_complaint_is_one_failure() {
        let mut tally = Tally::default();
        tally.check("layers", 2);
        assert_eq!(tally.closing_line(), "0 passed, 1 failed, 0 skipped");
    }
}
