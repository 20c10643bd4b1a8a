//! JSON written piece by piece: the large formats hold more numbers than a tree of values has room for.

use serde::Serialize;

/// Appends any value.
pub(crate) fn push_value(
    text: &mut Vec<u8>,
    value: &(impl Serialize + ?Sized),
) -> Result<(), serde_json::Error> {
    serde_json::to_writer(text, value)
}

/// Appends `,"NAME":`, or without the comma after an opening brace.
pub(crate) fn push_name(text: &mut Vec<u8>, name: &str) {
    if !text.ends_with(b"{") {
        text.push(b',');
    }
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\":");
}

/// Appends `"NAME":VALUE`.
pub(crate) fn push_field(
    text: &mut Vec<u8>,
    name: &str,
    value: &(impl Serialize + ?Sized),
) -> Result<(), serde_json::Error> {
    push_name(text, name);
    push_value(text, value)
}

/// Appends `"NAME":[…]` with one entry per item.
pub(crate) fn push_list<T: Serialize>(
    text: &mut Vec<u8>,
    name: &str,
    items: impl IntoIterator<Item = T>,
) -> Result<(), serde_json::Error> {
    push_name(text, name);
    text.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        push_value(text, &item)?;
    }
    text.push(b']');
    Ok(())
}

/// Appends a number in decimal digits.
pub(crate) fn push_number(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        if let Some(digit) = digits.get_mut(start) {
            // A digit is less than 10.
            *digit = b'0' + (number % 10) as u8;
        }
        number /= 10;
        if number == 0 || start == 0 {
            break;
        }
    }
    text.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
            let mut text = Vec::new();
            push_number(&mut text, number);
            assert_eq!(String::from_utf8(text).unwrap(), number.to_string());
        }
    }
}
