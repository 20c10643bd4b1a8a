//! What the stages of a run came to: tests passed, failed, skipped, counted from the runners' own closing lines.

mod said;

use self::said::Said;
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
    /// What did not go as it should and is no failure.
    noted: Vec<String>,
    /// What tests said that failed, also if only beside others.
    said: Said,
}

impl Tally {
    /// A check that is no test runner counts as one; what it complains of is said again at the end.
    pub(crate) fn check(&mut self, name: &str, complaints: &[String]) {
        if complaints.is_empty() {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures
                .push(format!("{name}: {} complaints", complaints.len()));
            self.said.add(name, complaints.to_vec());
        }
    }

    /// A stage that could not run to its end, with its reason: whole now, shortened at the end, where its first line is its name.
    pub(crate) fn fail(&mut self, why: &str) {
        say(why);
        self.failed += 1;
        let mut lines = why.lines();
        let name = lines.next().unwrap_or_default().to_owned();
        self.said.add(&name, lines.map(str::to_owned).collect());
        self.failures.push(name);
    }

    /// A runner ended badly: where no test of it failed, that is a failure of its own (it crashed, say).
    pub(crate) fn note_bad_end(&mut self) {
        if self.failed == 0 {
            self.fail("a test runner ended badly");
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

    /// What is to be known of a test that passed: the end of the run names it.
    pub(crate) fn note(&mut self, what: String) {
        self.noted.push(what);
    }

    /// Reads one line of a runner that runs a test again, which is counted already.
    pub(crate) fn read_line_again(&mut self, line: &str) {
        self.said.read_line(line);
    }

    /// Reads one line of a test runner's output.
    pub(crate) fn read_line(&mut self, line: &str) {
        self.said.read_line(line);
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

    /// Prints what was skipped, what failed and its words, and the one closing line; true if all is well.
    pub(crate) fn close(&self) -> bool {
        self.last_lines().iter().for_each(|line| say(line));
        self.failed == 0
    }

    /// What matters most comes last: of a log that is cut, that is left.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.skipped.is_empty() {
            lines.push("skipped on this machine:".to_owned());
            lines.extend(self.skipped.iter().map(|skip| format!("  {skip}")));
        }
        let alone = self.passed_alone.iter();
        lines.extend(alone.map(|test| format!("failed beside others and passed alone: {test}")));
        lines.extend(self.noted.iter().cloned());
        let failures = self.failures.iter();
        lines.extend(failures.map(|failure| format!("failed: {failure}")));
        lines.extend(self.said.lines());
        lines.push(self.closing_line());
        lines
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
        tally.check("tidy", &[]);
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
        tally.check("layers", &["a uses b".to_owned(), "b uses a".to_owned()]);
        assert_eq!(tally.closing_line(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn what_failed_tests_said_is_last_but_for_the_counts() {
        let mut tally = Tally::default();
        let runner = "test a/b ... FAILED\nskipped: c/d: no root\n\nfailures:\n\n---- a/b ----\nwrong\n\n\n\
                      failures:\n    a/b\n\ntest result: FAILED. 3 passed; 1 failed; 0 ignored";
        runner.lines().for_each(|line| tally.read_line(line));
        let again = "failures:\n\n---- a/b ----\nwrong again\n\n\nfailures:\n    a/b\n";
        again.lines().for_each(|line| tally.read_line_again(line));
        tally.check("layers", &["a uses b".to_owned()]);
        tally.note("started twice: vm/6.1".to_owned());
        tally.fail("vm/5.10: it panicked:\nlast words");
        assert_eq!(
            tally.last_lines(),
            [
                "skipped on this machine:",
                "  c/d: no root",
                "started twice: vm/6.1",
                "failed: a/b",
                "failed: layers: 1 complaints",
                "failed: vm/5.10: it panicked:",
                "---- a/b said:",
                "wrong",
                "---- a/b said:",
                "wrong again",
                "---- layers said:",
                "a uses b",
                "---- vm/5.10: it panicked: said:",
                "last words",
                "3 passed, 3 failed, 1 skipped",
            ]
        );
    }
}
