//! What was typed to find rows.

use regex::{Regex, RegexBuilder};

/// A regular expression, or text if it is none; the default finds everything.
#[derive(Clone, Debug, Default)]
pub struct Search {
    text: String,
    expression: Option<Regex>,
}

impl Search {
    /// Small letters find great ones, too; great letters only themselves. What is no regular expression is text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let ignores_case = !text.chars().any(char::is_uppercase);
        let build = |pattern: &str| {
            RegexBuilder::new(pattern)
                .case_insensitive(ignores_case)
                .build()
                .ok()
        };
        let expression = match text {
            "" => None,
            text => build(text).or_else(|| build(&regex::escape(text))),
        };
        Self {
            text: text.to_owned(),
            expression,
        }
    }

    /// What was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it finds everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expression.is_none()
    }

    /// Whether one of `texts` has it.
    #[must_use]
    pub fn finds(&self, texts: &[&str]) -> bool {
        let expression = self.expression.as_ref();
        expression.is_none_or(|expression| texts.iter().any(|text| expression.is_match(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_expressions_find_names_and_small_letters_find_all() {
        assert!(Search::new("").finds(&["x"]));
        assert!(Search::new("spin|wait").finds(&["a", "Spinner"]));
        assert!(!Search::new("Spin").finds(&["spinner"]));
        assert!(
            Search::new("f(").finds(&["call f(x)"]),
            "no expression: text"
        );
        assert!(!Search::new("^b").finds(&["ab"]));
    }
}
