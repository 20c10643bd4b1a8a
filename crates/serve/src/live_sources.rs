//! Texts of source files that pages have asked for while a recording goes on.
//!
//! Whoever records reads them ([`crate::LiveContent::wanted_sources`]): it knows which names are those of the profile, and
//! whose root each file is to be looked for in.

use std::collections::{BTreeMap, BTreeSet};

use crate::content::SourceAnswer;

/// Names that wait to be read; a page asks for one at a time.
const MOST_WANTED: usize = 64;

/// All texts together, like those of a file.
const MOST_BYTES: usize = 64 << 20;

/// Names without a text that are remembered.
const MOST_MISSING: usize = 4096;

/// Why no page gets any text.
const NOT_ALLOWED: &str = "the text of source files is not shown: record with --embed-source, or with --source-root DIR for what is below DIR";

/// What is known, and what is wanted.
#[derive(Debug, Default)]
pub(crate) struct LiveSources {
    is_allowed: bool,
    texts: BTreeMap<String, Vec<u8>>,
    bytes: usize,
    missing: BTreeMap<String, String>,
    wanted: BTreeSet<String>,
}

impl LiveSources {
    pub(crate) fn new(is_allowed: bool) -> Self {
        Self {
            is_allowed,
            ..Self::default()
        }
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// What is known of a file; it is wanted from now on if that is nothing.
    pub(crate) fn ask(&mut self, path: &str) -> SourceAnswer {
        if !self.is_allowed {
            return SourceAnswer::None(NOT_ALLOWED.to_owned());
        }
        if let Some(text) = self.texts.get(path) {
            return SourceAnswer::Text(text.clone());
        }
        if let Some(why) = self.missing.get(path) {
            return SourceAnswer::None(why.clone());
        }
        if self.wanted.len() < MOST_WANTED {
            self.wanted.insert(path.to_owned());
        }
        SourceAnswer::Waiting
    }

    pub(crate) fn wanted(&self) -> Vec<String> {
        self.wanted.iter().cloned().collect()
    }

    /// What became of a file that was wanted.
    pub(crate) fn give(&mut self, path: &str, text: Result<Vec<u8>, String>) {
        self.wanted.remove(path);
        let text = text.and_then(|text| match self.bytes + text.len() <= MOST_BYTES {
            true => Ok(text),
            false => Err("there is as much source text already as a page may have".to_owned()),
        });
        match text {
            Ok(text) => {
                self.bytes += text.len();
                self.texts.insert(path.to_owned(), text);
            }
            Err(why) => {
                if self.missing.len() >= MOST_MISSING {
                    self.missing.clear();
                }
                self.missing.insert(path.to_owned(), why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wanted_or_told_unless_it_is_allowed() {
        let mut sources = LiveSources::new(false);
        assert!(
            matches!(sources.ask("/a.py"), SourceAnswer::None(why) if why.contains("--embed-source"))
        );
        assert!(sources.wanted().is_empty());
    }

    #[test]
    fn a_file_is_wanted_until_it_is_given() {
        let mut sources = LiveSources::new(true);
        assert_eq!(sources.ask("/a.py"), SourceAnswer::Waiting);
        assert_eq!(sources.ask("/b.py"), SourceAnswer::Waiting);
        assert_eq!(sources.wanted(), ["/a.py", "/b.py"]);
        sources.give("/a.py", Ok(b"x = 1".to_vec()));
        sources.give("/b.py", Err("it is gone".to_owned()));
        assert_eq!(sources.ask("/a.py"), SourceAnswer::Text(b"x = 1".to_vec()));
        assert_eq!(
            sources.ask("/b.py"),
            SourceAnswer::None("it is gone".to_owned())
        );
        assert!(sources.wanted().is_empty());
    }

    #[test]
    fn who_asks_without_end_takes_no_more_than_a_bound() {
        let mut sources = LiveSources::new(true);
        for number in 0..10 * MOST_WANTED {
            sources.ask(&format!("/{number}.py"));
        }
        assert_eq!(sources.wanted().len(), MOST_WANTED);
        for number in 0..20 {
            sources.give(&format!("/{number}.py"), Ok(vec![b'x'; 4 << 20]));
        }
        assert!(sources.bytes <= MOST_BYTES);
        assert!(
            matches!(sources.ask("/19.py"), SourceAnswer::None(why) if why.contains("as much"))
        );
        for number in 0..3 * MOST_MISSING {
            sources.give(&format!("/none-{number}.py"), Err(String::new()));
        }
        assert!(sources.missing.len() <= MOST_MISSING);
    }
}
