//! Python strings.

/// Decodes the characters of a compact string.
///
/// `kind` is the number of bytes per character: 1 (Latin-1, or ASCII if `ascii`), 2 or 4 (code points, little
/// endian; CPython uses no surrogate pairs). Bytes after the last whole character are left out.
///
/// CPython puts bytes of file names that it could not decode into strings as lone surrogates U+DC80 to U+DCFF
/// ([PEP 383](https://peps.python.org/pep-0383/)). They are turned back into these bytes, and what then still is no
/// UTF-8 becomes U+FFFD. Other lone surrogates are shown as `\udXXX`, and numbers that are no code points as U+FFFD.
#[must_use]
pub fn decode(kind: u8, ascii: bool, bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len());
    match kind {
        1 if ascii => text.extend_from_slice(bytes),
        1 => bytes
            .iter()
            .for_each(|&byte| push_code_point(&mut text, u32::from(byte))),
        2 => bytes
            .as_chunks()
            .0
            .iter()
            .for_each(|&unit| push_code_point(&mut text, u32::from(u16::from_le_bytes(unit)))),
        4 => bytes
            .as_chunks()
            .0
            .iter()
            .for_each(|&unit| push_code_point(&mut text, u32::from_le_bytes(unit))),
        _ => {}
    }
    String::from_utf8(text)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn push_code_point(text: &mut Vec<u8>, code_point: u32) {
    match code_point {
        0xdc80..=0xdcff => text.extend(u8::try_from(code_point & 0xff)),
        0xd800..=0xdfff => text.extend_from_slice(format!("\\u{code_point:04x}").as_bytes()),
        _ => {
            let character = char::from_u32(code_point).unwrap_or(char::REPLACEMENT_CHARACTER);
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_2(units: &[u16]) -> String {
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        decode(2, false, &bytes)
    }

    #[test]
    fn each_kind_decodes_to_its_characters() {
        assert_eq!(decode(1, true, b"<module>"), "<module>");
        assert_eq!(decode(1, false, &[b'f', 0xe9, 0xff]), "fé\u{ff}");
        assert_eq!(kind_2(&[0x53, 0x20ac, 0xfffd]), "S€\u{fffd}");
        let bytes: Vec<u8> = [0x1f40d_u32, 0x41]
            .iter()
            .flat_map(|unit| unit.to_le_bytes())
            .collect();
        assert_eq!(decode(4, false, &bytes), "🐍A");
    }

    #[test]
    fn bytes_that_python_could_not_decode_come_back() {
        // b'\xc3\xa9' read under an ASCII locale is 'é' again; b'\xff' never was UTF-8.
        assert_eq!(kind_2(&[0x61, 0xdcc3, 0xdca9]), "aé");
        assert_eq!(kind_2(&[0x61, 0xdcff, 0x62]), "a\u{fffd}b");
    }

    #[test]
    fn lone_surrogates_are_shown_and_nonsense_is_replaced() {
        assert_eq!(kind_2(&[0xd83d]), "\\ud83d");
        assert_eq!(decode(4, false, &0x0011_0000_u32.to_le_bytes()), "\u{fffd}");
        assert_eq!(decode(3, false, b"abc"), "");
        assert_eq!(decode(1, true, b"\xff"), "\u{fffd}");
    }

    #[test]
    fn half_a_character_at_the_end_is_left_out() {
        assert_eq!(decode(2, false, &[0x41, 0, 0x42]), "A");
        assert_eq!(decode(4, false, &[0x41, 0, 0]), "");
    }
}
