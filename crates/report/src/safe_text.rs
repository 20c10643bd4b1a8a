//! Names from a target, made harmless for a terminal, and measured in its columns.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar as _;

/// `text` with everything escaped that a terminal would obey instead of show: control characters of both sets, ends of
/// line, and the marks that turn the direction of text or take no room.
///
/// `\n`, `\r` and `\t` are written so, everything else as `\u{hex}`.
#[must_use]
pub fn escape_for_terminal(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ if is_harmful(character) => safe.extend(character.escape_unicode()),
            _ => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

/// Characters that must not reach a terminal.
///
/// The list of direction marks is that of CVE-2021-42574 (Trojan Source) with the implicit ones; the tags of plane 14 and
/// what takes no room would hide text.
pub(crate) fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The columns that `text` takes.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars()
        .map(|character| character.width().unwrap_or(0))
        .sum()
}

/// The beginning of `text` in at most `width` columns, with `…` where it was cut.
#[must_use]
pub fn keep_start(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut left = width.saturating_sub(1);
    for character in text.chars() {
        let Some(rest) = left.checked_sub(character.width().unwrap_or(0)) else {
            break;
        };
        left = rest;
        kept.push(character);
    }
    kept.push('…');
    Cow::Owned(kept)
}

/// The end of `text` in at most `width` columns, with `…` where it was cut.
#[must_use]
pub fn keep_end(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut left = width.saturating_sub(1);
    let mut start = text.len();
    for (index, character) in text.char_indices().rev() {
        let Some(rest) = left.checked_sub(character.width().unwrap_or(0)) else {
            break;
        };
        left = rest;
        start = index;
    }
    Cow::Owned(format!("…{}", text.get(start..).unwrap_or_default()))
}

/// `text` in at most `width` columns; of paths in it, folders go first and the files' names last.
///
/// `/srv/shop/manage.py runserver --noreload` becomes `…/manage.py runserver…`.
#[must_use]
pub fn keep_file_names(text: &str, width: usize) -> Cow<'_, str> {
    let mut missing = columns(text).saturating_sub(width);
    if missing == 0 {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            kept.push(' ');
        }
        let file = word.rfind('/').and_then(|at| word.get(at..));
        let folders = file.map_or(0, |file| columns(word) - columns(file));
        match file.filter(|file| missing > 0 && folders > 1 && file.len() > 1) {
            Some(file) if !word.starts_with('-') && !word.contains("://") => {
                kept.push('…');
                kept.push_str(file);
                missing = missing.saturating_sub(folders - 1);
            }
            _ => kept.push_str(word),
        }
    }
    Cow::Owned(keep_start(&kept, width).into_owned())
}

/// `text` for a terminal that shows ASCII only: each of viperf's own signs as one that is like it, of the same width, and
/// every other character as so many `?` as it has columns.
#[must_use]
pub fn to_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if character.is_ascii() => ascii.push(character),
            '▲' => ascii.push('+'),
            '▼' | '─' | '·' | '–' | '−' => ascii.push('-'),
            '▾' => ascii.push('v'),
            '▸' | '›' | '→' => ascii.push('>'),
            '…' => ascii.push('~'),
            'µ' => ascii.push('u'),
            '└' => ascii.push('`'),
            '├' | '│' => ascii.push('|'),
            '×' => ascii.push('x'),
            other => ascii.extend(std::iter::repeat_n('?', other.width().unwrap_or(0))),
        }
    }
    Cow::Owned(ascii)
}

/// `text` filled with spaces to `width` columns.
#[must_use]
pub fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        let hostile =
            "a\u{1b}[31m\n\r\t\u{0}\u{7f}\u{9b}2J\u{202e}gnp\u{2066}\u{200b}\u{2028}\u{e0041}";
        let safe = escape_for_terminal(hostile);
        assert!(!safe.chars().any(is_harmful), "{safe:?}");
        assert!(safe.starts_with("a\\u{1b}[31m\\n\\r\\t\\u{0}\\u{7f}\\u{9b}2J\\u{202e}gnp"));
    }

    #[test]
    fn names_in_any_script_stay_as_they_are() {
        for text in ["Ünïcødé", "日本語", "🐍", "e\u{301}", "f.<locals>.g", "\\n"] {
            assert!(
                matches!(escape_for_terminal(text), Cow::Borrowed(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn of_a_long_path_the_name_of_the_file_is_kept() {
        let command = "/opt/venv/bin/python3 /srv/shop/manage.py runserver --pid=/run/shop.pid";
        for (width, expected) in [
            (80, command),
            (
                60,
                "…/python3 /srv/shop/manage.py runserver --pid=/run/shop.pid",
            ),
            (50, "…/python3 …/manage.py runserver --pid=/run/shop.p…"),
            (30, "…/python3 …/manage.py runserv…"),
            (4, "…/py…"),
        ] {
            let kept = keep_file_names(command, width);
            assert!(columns(&kept) <= width.max(1), "{kept}");
            assert_eq!(kept, keep_start(expected, width.max(4)), "{width}");
        }
        assert_eq!(
            keep_file_names("/srv/very/long/path/worker.py", 12),
            "…/worker.py"
        );
        assert_eq!(keep_file_names("gunicorn: worker", 10), "gunicorn:…");
        assert_eq!(keep_file_names("日本語/日本語", 9), "…/日本語");
    }

    #[test]
    fn ascii_keeps_the_width_and_nothing_but_ascii() {
        for text in [
            "▲1.0 ▼2.0 ▾own ▸ x…",
            "└─ main │ 3 µs",
            "日本語 🐍 é",
            "plain",
        ] {
            let ascii = to_ascii(text);
            assert!(ascii.is_ascii(), "{ascii}");
            assert_eq!(columns(&ascii), columns(text), "{ascii}");
        }
        assert_eq!(to_ascii("├─ f · 日"), "|- f - ??");
    }

    #[test]
    fn cut_texts_fit_their_columns() {
        assert_eq!(keep_start("abcdef", 4), "abc…");
        assert_eq!(keep_end("abcdef", 4), "…def");
        assert_eq!(keep_start("日本語", 5), "日本…");
        assert_eq!(keep_end("日本語", 4), "…語");
        assert_eq!(keep_start("abc", 3), "abc");
        assert_eq!(keep_start("abc", 0), "…");
        assert_eq!(pad("日", 4), "日  ");
    }
}
