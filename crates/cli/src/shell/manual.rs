//! Manual pages.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// One manual page.
#[derive(Debug)]
pub(super) struct Page {
    /// `viperf-record`.
    pub(super) name: String,
    /// The page as roff.
    pub(super) text: Vec<u8>,
}

/// The page of viperf and one of each verb.
pub(super) fn pages(mut root: Command) -> Vec<Page> {
    root.build();
    let verbs = root.get_subcommands().map(|verb| {
        let name = format!("viperf-{}", verb.get_name());
        (name.clone(), verb.clone().display_name(name))
    });
    let root = ("viperf".to_owned(), root.clone());
    std::iter::once(root)
        .chain(verbs)
        .map(|(name, command)| Page {
            name,
            text: page(command),
        })
        .collect()
}

/// Writing to memory does not fail, so an error has nothing to tell.
fn page(command: Command) -> Vec<u8> {
    let mut text = Vec::new();
    let examples = plain(command.get_before_help());
    let notes = plain(command.get_after_help());
    let has_version = command.get_version().is_some();
    let has_verbs = command.get_subcommands().next().is_some();
    // What comes before and after the help has its own sections below.
    let man = Man::new(command.before_help("").after_help(""));
    let _ = man.render_title(&mut text);
    let _ = man.render_name_section(&mut text);
    let _ = man.render_synopsis_section(&mut text);
    let _ = man.render_description_section(&mut text);
    section(
        &mut text,
        "EXAMPLES",
        examples.trim_start_matches("Examples:\n"),
    );
    let _ = man.render_options_section(&mut text);
    if has_verbs {
        let _ = man.render_subcommands_section(&mut text);
    }
    section(&mut text, "NOTES", &notes);
    if has_version {
        let _ = man.render_version_section(&mut text);
    }
    text
}

fn plain(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// Lines as they stand.
fn section(text: &mut Vec<u8>, title: &str, body: &str) {
    if body.trim().is_empty() {
        return;
    }
    let mut roff = Roff::default();
    roff.control("SH", [title]);
    roff.control("nf", []);
    for line in body.trim_end().lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    let _ = roff.to_writer(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::definition;

    #[test]
    fn every_verb_has_a_page_with_examples_and_options() {
        let pages = pages(definition());
        assert!(pages.len() > 6);
        for page in pages {
            let text = String::from_utf8(page.text).unwrap();
            assert!(text.contains(".SH EXAMPLES"), "{}: {text}", page.name);
            assert!(text.contains(".SH OPTIONS"), "{}: {text}", page.name);
            assert!(text.contains(".SH NAME"), "{}: {text}", page.name);
        }
    }
}
