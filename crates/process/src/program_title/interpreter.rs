//! The arguments of a Python interpreter.

/// What an interpreter was told to run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Program<'a> {
    /// `-c`.
    Code {
        /// The code itself.
        code: &'a str,
    },
    /// `-m`.
    Module {
        /// The module's name.
        name: &'a str,
        /// What follows it.
        arguments: &'a [String],
    },
    /// A file or folder.
    Script {
        /// As it was typed, or as the kernel found it for a `#!` line.
        path: &'a str,
        /// What follows it.
        arguments: &'a [String],
    },
}

/// Whether a program of this name is a Python: `python3.13t`, `pypy3`, `python3-dbg`.
pub(super) fn is_interpreter(name: &str) -> bool {
    let name = name.trim_start_matches(['-', '.']);
    let rest = name
        .strip_prefix("python")
        .or_else(|| name.strip_prefix("pypy"));
    let is_version = |character: char| character.is_ascii_digit() || ".dmtw".contains(character);
    rest.is_some_and(|rest| {
        rest.trim_end_matches("-dbg")
            .trim_end_matches("-wrapped")
            .chars()
            .all(is_version)
    })
}

/// As CPython reads them: <https://github.com/python/cpython/blob/v3.14.0/Python/getopt.c>, with the `-Q` of Python 2.
/// `None` when it runs what is typed.
pub(super) fn parse_interpreter_arguments(words: &[String]) -> Option<Program<'_>> {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        let Some(letters) = word.strip_prefix('-') else {
            return Some(script(word, rest));
        };
        match letters {
            "" => return None,
            "-" => {
                let (path, arguments) = rest.split_first()?;
                return Some(script(path, arguments));
            }
            "-check-hash-based-pycs" => rest = rest.get(1..).unwrap_or_default(),
            _ if letters.starts_with('-') => {}
            _ => {
                let (option, value) = option_with_value(letters);
                let Some(option) = option else { continue };
                let value = match value {
                    "" => {
                        let (value, after) = rest.split_first()?;
                        rest = after;
                        value
                    }
                    value => value,
                };
                match option {
                    'c' => return Some(Program::Code { code: value }),
                    'm' => {
                        return Some(Program::Module {
                            name: value,
                            arguments: rest,
                        });
                    }
                    _ => {}
                }
            }
        }
    }
    None
}

fn script<'a>(path: &'a str, arguments: &'a [String]) -> Program<'a> {
    Program::Script { path, arguments }
}

/// The first letter of a word such as `-uIm` that takes a value, and the value if it is part of the word.
fn option_with_value(letters: &str) -> (Option<char>, &str) {
    let found = letters
        .char_indices()
        .find(|(_, letter)| "cmWXQ".contains(*letter));
    match found {
        Some((place, letter)) => (Some(letter), letters.get(place + 1..).unwrap_or_default()),
        None => (None, ""),
    }
}
