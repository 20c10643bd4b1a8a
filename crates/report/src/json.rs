//! JSON that can be shown on a terminal.

use serde::Serialize;

use crate::safe_text::is_harmful;

/// `value` as JSON for people and programs alike, ended by a newline; empty when it has no JSON form.
///
/// JSON allows every character outside ASCII's controls as it is; here those that steer a terminal are escaped, too.
/// They stand inside strings only, where `\u` means the same.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    // Numbers and strings always have a form; a share that is not finite becomes null.
    let Ok(text) = serde_json::to_string_pretty(value) else {
        return String::new();
    };
    let mut safe = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        if character != '\n' && is_harmful(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                safe += &format!("\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    safe.push('\n');
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_what_went_in_and_nothing_steers_a_terminal() {
        let hostile = "a\u{1b}[31m\n\u{9b}\u{202e}\u{e0041}\u{2028}é\"\\";
        let text = to_json(&[hostile]);
        let back: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, [hostile]);
        assert!(
            !text
                .chars()
                .any(|character| character != '\n' && is_harmful(character))
        );
    }
}
