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
pub(crate) fn columns(text: &str) -> usize {
    text.chars()
        .map(|character| character.width().unwrap_or(0))
        .sum()
}

/// The beginning of `text` in at most `width` columns, with `…` where it was cut.
pub(crate) fn keep_start(text: &str, width: usize) -> Cow<'_, str> {
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
pub(crate) fn keep_end(text: &str, width: usize) -> Cow<'_, str> {
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

/// `text` filled with spaces to `width` columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
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
