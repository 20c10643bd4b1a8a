//! What a compiler does not see: lengths, names, words, and whether documents name what exists.

use std::fs;

use anyhow::Result;

use crate::{
    tree::{self, Source},
    verb_names,
};

/// Lines of a source file before its tests.
const FILE_LIMIT: usize = 800;
/// Lines of a C function; Rust's are clippy's matter.
const FUNCTION_LIMIT: usize = 100;
/// Names that say a habit, not a thing.
const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "common", "helper", "helpers", "shared", "types", "misc",
];
/// Words for what is not done; written in halves, for this file is checked too.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X "),
    concat!("HA", "CK"),
];
/// Paths of one machine, in halves too.
const PRIVATE_PATHS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];
/// Folders of the project, by which a path in a document is known as one of ours.
const FOLDERS: [&str; 7] = [
    "crates/",
    "docs/",
    "fixtures/",
    "tests/",
    "xtask/",
    "web/",
    ".ci/",
];

/// What is not tidy.
///
/// # Errors
/// A source file cannot be read.
pub(crate) fn complaints() -> Result<Vec<String>> {
    let sources = tree::sources()?;
    let mut complaints = Vec::new();
    for source in &sources {
        complaints.extend(empty_name(source));
        if source.has_extension(&["rs", "c", "h", "ts", "js", "py"]) {
            complaints.extend(too_long(source));
        }
        if source.has_extension(&["c", "h"]) {
            complaints.extend(long_functions(source));
        }
        if source.path != "Cargo.lock" && !source.path.starts_with("LICENSE") {
            complaints.extend(forbidden_words(source));
        }
        if source.has_extension(&["md"]) {
            complaints.extend(dead_paths(source));
            complaints.extend(dead_commands(source)?);
        }
    }
    Ok(complaints)
}

fn empty_name(source: &Source) -> Option<String> {
    if !source.has_extension(&["rs", "c", "h", "ts", "js", "py"]) {
        return None;
    }
    let empty = source.path.split('/').find(|part| {
        let stem = part.split('.').next().unwrap_or_default();
        EMPTY_NAMES.contains(&stem)
    })?;
    Some(format!(
        "{}: `{empty}` says nothing about what is in it",
        source.path
    ))
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.product_lines().count();
    (lines > FILE_LIMIT).then(|| format!("{}: {lines} lines, {FILE_LIMIT} at most", source.path))
}

/// A C function ends at the first `}` of column 0 after the line that opens it.
fn long_functions(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut start = None;
    for (number, line) in source.product_lines() {
        let is_top_level =
            line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if is_top_level && line.contains('(') && !line.ends_with(';') {
            start = Some(number);
        } else if line.starts_with('}')
            && let Some(start) = start.take()
            && number - start > FUNCTION_LIMIT
        {
            complaints.push(format!(
                "{}:{start}: a function of {} lines",
                source.path,
                number - start
            ));
        }
    }
    complaints
}

fn forbidden_words(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let unfinished = UNFINISHED.iter().find(|word| line.contains(**word));
        let private = PRIVATE_PATHS.iter().find(|path| names_path(line, path));
        if let Some(word) = unfinished.or(private) {
            found.push(format!("{}:{}: {word}", source.path, number + 1));
        }
    }
    found
}

/// True if the path starts in the line: `/proc/{pid}/root/` is nobody's home.
fn names_path(line: &str, path: &str) -> bool {
    let mut starts = line
        .match_indices(path)
        .map(|(at, _)| line.get(..at).unwrap_or_default());
    starts.any(|before| before.ends_with([' ', '"', '`', '(', '=', ':', '\'']) || before.is_empty())
}

/// Paths in backquotes that start with a folder of ours, and links to files, must exist.
fn dead_paths(source: &Source) -> Vec<String> {
    let root = tree::root();
    let folder = root
        .join(&source.path)
        .parent()
        .map(ToOwned::to_owned)
        .unwrap_or_else(tree::root);
    let is_a_pattern = |path: &&str| !path.contains(['*', '<', '{', '…', ' ', '$']);
    let quoted = between(&source.text, '`', '`').filter(is_a_pattern);
    let quoted = quoted.filter(|path| FOLDERS.iter().any(|folder| path.starts_with(folder)));
    let dead = quoted.filter(|path| !root.join(path).exists());
    let mut complaints: Vec<_> = dead
        .map(|path| format!("{}: `{path}` does not exist", source.path))
        .collect();
    for link in source
        .text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        let file = link.split('#').next().unwrap_or_default();
        if !file.is_empty() && !link.contains("://") && !folder.join(file).exists() {
            complaints.push(format!("{}: the link to {file} is dead", source.path));
        }
    }
    complaints
}

/// `make X` and `cargo xtask X` in a document must be there to be run.
fn dead_commands(source: &Source) -> Result<Vec<String>> {
    let makefile = fs::read_to_string(tree::root().join("Makefile"))?;
    let verbs = verb_names();
    let mut complaints = Vec::new();
    let quoted = between(&source.text, '`', '`').chain(
        source
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("    ")),
    );
    let fenced = source
        .text
        .split("```")
        .skip(1)
        .step_by(2)
        .flat_map(str::lines);
    for command in quoted.chain(fenced) {
        let words: Vec<_> = command
            .split_whitespace()
            .filter(|word| *word != "sudo" && *word != "$")
            .collect();
        match words.as_slice() {
            ["make", target, ..] if !makefile.contains(&format!("\n{target}:")) => {
                complaints.push(format!("{}: there is no `make {target}`", source.path));
            }
            ["cargo", "xtask", verb, ..]
                if !verbs.iter().any(|known| known == verb) && *verb != "VERB" =>
            {
                complaints.push(format!("{}: there is no `cargo xtask {verb}`", source.path));
            }
            _ => {}
        }
    }
    Ok(complaints)
}

/// What stands between two marks on one line.
fn between(text: &str, open: char, close: char) -> impl Iterator<Item = &str> {
    let parts_of = move |line| str::split(line, [open, close]).skip(1).step_by(2);
    text.lines()
        .filter(|line| !line.starts_with("```"))
        .flat_map(parts_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_say_something() {
        assert!(empty_name(&Source::new("crates/elf/src/utils.rs", "")).is_some());
        assert!(empty_name(&Source::new("crates/common/src/lib.rs", "")).is_some());
        assert!(empty_name(&Source::new("crates/elf/src/symbols.rs", "")).is_none());
    }

    #[test]
    fn dead_paths_and_commands_are_found() {
        let text = "See `crates/no-such/` and [this](nowhere.md), run `make nonsense` or `cargo xtask nonsense`.\n";
        let source = Source::new("README.md", text);
        assert_eq!(dead_paths(&source).len(), 2);
        assert_eq!(
            dead_commands(&source).map(|found| found.len()).unwrap_or(0),
            2
        );
    }

    #[test]
    fn a_long_c_function_is_found() {
        let body = "    x++;\n".repeat(FUNCTION_LIMIT + 1);
        assert_eq!(
            long_functions(&Source::new(
                "a.c",
                &format!("static int f(void)\n{{\n{body}}}\n")
            ))
            .len(),
            1
        );
        assert!(
            long_functions(&Source::new(
                "a.c",
                "static int f(void)\n{\n    return 0;\n}\n"
            ))
            .is_empty()
        );
    }

    #[test]
    fn tests_do_not_count_as_lines() {
        let long = "//\n".repeat(FILE_LIMIT);
        assert!(
            too_long(&Source::new(
                "a.rs",
                &format!("{long}#[cfg(test)]\nmod tests {{\n{long}")
            ))
            .is_none()
        );
        assert!(too_long(&Source::new("a.rs", &format!("{long}//\n"))).is_some());
    }
}
