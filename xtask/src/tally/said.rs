//! What failed tests said, for the end of the run: of a log that is cut, the last lines are what is left.

/// Lines that are kept of what one test said, the one that tells of others included.
const MOST_LINES: usize = 40;
/// Of these, so many are its last.
const LAST_LINES: usize = 10;
/// Characters that are kept of a line.
const MOST_CHARACTERS: usize = 300;

/// The messages of failed tests, in their order.
#[derive(Debug, Default)]
pub(super) struct Said {
    messages: Vec<Message>,
    place: Place,
}

#[derive(Debug)]
struct Message {
    test: String,
    lines: Vec<String>,
}

/// Where in a runner's output the next line stands.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    /// Behind `failures:`, before the first message.
    Failures,
    /// In the last message.
    Message,
}

impl Said {
    /// Reads one line of a test runner's output.
    pub(super) fn read_line(&mut self, line: &str) {
        let in_failures = self.place != Place::Elsewhere;
        match line {
            // The first time, messages follow; the second time, a list of names.
            "failures:" if in_failures => self.place = Place::Elsewhere,
            "failures:" => self.place = Place::Failures,
            _ if line.starts_with("test result: ") => self.place = Place::Elsewhere,
            _ if !in_failures => {}
            _ => match (parse_heading(line), &self.place) {
                (Some(test), _) => {
                    self.add(test, Vec::new());
                    self.place = Place::Message;
                }
                (None, Place::Message) => {
                    if let Some(message) = self.messages.last_mut() {
                        message.lines.push(line.to_owned());
                    }
                }
                (None, _) => {}
            },
        }
    }

    /// What something said that no runner told of.
    pub(super) fn add(&mut self, test: &str, lines: Vec<String>) {
        self.messages.push(Message {
            test: test.to_owned(),
            lines,
        });
    }

    /// What is to be printed: each message under its test's name, shortened.
    pub(super) fn lines(&self) -> Vec<String> {
        let with_words = self.messages.iter().filter_map(Message::shorten);
        with_words.flatten().collect()
    }
}

impl Message {
    /// `None` if nothing was said.
    fn shorten(&self) -> Option<Vec<String>> {
        let last = self
            .lines
            .iter()
            .rposition(|line| !line.trim().is_empty())?;
        let said: Vec<_> = self
            .lines
            .iter()
            .take(last + 1)
            .map(|line| cut(line))
            .collect();
        let mut shown = vec![format!("---- {} said:", self.test)];
        match said.len().checked_sub(MOST_LINES) {
            None | Some(0) => shown.extend(said),
            Some(_) => {
                let first_lines = MOST_LINES - LAST_LINES - 1;
                let left_out = said.len() - first_lines - LAST_LINES;
                shown.extend(said.iter().take(first_lines).cloned());
                shown.push(format!("… {left_out} lines are left out"));
                shown.extend(said.into_iter().skip(first_lines + left_out));
            }
        }
        Some(shown)
    }
}

/// The name in `---- NAME ----`; the runner of tests beside the code writes ` stdout` behind it.
fn parse_heading(line: &str) -> Option<&str> {
    let inside = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(inside.strip_suffix(" stdout").unwrap_or(inside))
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => line.get(..end).unwrap_or_default().to_owned() + "…",
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut said = Said::default();
        text.lines().for_each(|line| said.read_line(line));
        said.lines()
    }

    #[test]
    fn messages_of_both_runners_stand_under_their_tests() {
        // As the runner of tests beside the code prints it with --show-output, then as that of the end-to-end tests does.
        let lines = read(
            "test a::right ... ok\ntest a::wrong ... FAILED\n\nsuccesses:\n\n---- a::right stdout ----\nnoise\n\n\n\
             successes:\n    a::right\n\nfailures:\n\n---- a::wrong stdout ----\n\nthread 'a::wrong' panicked at a.rs:1:\n\
             assertion failed\n\n\nfailures:\n    a::wrong\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n\
             noise\n\nfailures:\n\n---- tick/shares ----\nhalf has 0.9:\np (1);main 9\n\n---- tick/silent ----\n\n\n\
             failures:\n    tick/shares\n    tick/silent\n\ntest result: FAILED. 0 passed; 2 failed; 0 ignored",
        );
        assert_eq!(
            lines,
            [
                "---- a::wrong said:",
                "",
                "thread 'a::wrong' panicked at a.rs:1:",
                "assertion failed",
                "---- tick/shares said:",
                "half has 0.9:",
                "p (1);main 9",
            ]
        );
    }

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        let mut said = Said::default();
        let message = |count| (1..=count).map(|number| format!("line {number}")).collect();
        said.add("short", message(40));
        said.add("long", message(200));
        let lines = said.lines();
        assert_eq!(lines.len(), 41 + 41);
        assert_eq!(lines[40], "line 40");
        assert_eq!(
            [&lines[41], &lines[70], &lines[71], &lines[72], &lines[81]],
            [
                "---- long said:",
                "line 29",
                "… 161 lines are left out",
                "line 191",
                "line 200"
            ]
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut said = Said::default();
        said.add("wide", vec!["ä".repeat(301), "ä".repeat(300)]);
        assert_eq!(said.lines()[1..], ["ä".repeat(300) + "…", "ä".repeat(300)]);
    }
}
