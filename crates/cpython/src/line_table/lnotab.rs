//! The line number table of CPython up to 3.9, `co_lnotab`.
//!
//! A sequence of pairs of bytes:
//!
//! ```text
//! byte 0   unsigned          how many bytes of code the running line still covers
//! byte 1   2.7: unsigned     what is then added to the running line
//!          3.6+: signed
//! ```
//!
//! Steps that do not fit into a byte are split over several pairs, of which all but one cover no code or change no
//! line. After the last pair the running line covers the rest of the code, however long; a single byte after the last
//! pair means nothing.
//! <https://github.com/python/cpython/blob/v2.7.18/Objects/lnotab_notes.txt>
//! <https://github.com/python/cpython/blob/v3.9.18/Objects/lnotab_notes.txt>

use super::{Entry, Position};

/// Takes one pair off the front; after the last gives the rest of the code, as often as it is asked.
///
/// `None` where the running line overflows: no compiler writes such a table.
pub(super) fn decode_entry(
    rest: &mut &[u8],
    line: &mut i32,
    step: impl Fn(u8) -> i32,
) -> Option<Entry> {
    let position = Position::from_line(*line);
    let Some((&[bytes, line_step], tail)) = rest.split_first_chunk() else {
        *rest = &[];
        return Some(Entry {
            units: u32::MAX,
            position,
        });
    };
    *rest = tail;
    *line = line.checked_add(step(line_step))?;
    Some(Entry {
        units: u32::from(bytes),
        position,
    })
}

#[cfg(test)]
mod tests {
    use crate::line_table::LineTableKind::{LnotabSigned, LnotabUnsigned};

    #[test]
    fn the_example_of_the_notes_decodes_as_they_say() {
        // Code offsets 0, 6, 50, 350, 361 are on lines 1, 2, 7, 207, 208.
        let unsigned = [6, 1, 44, 5, 255, 0, 45, 200, 11, 1];
        let signed = [6, 1, 44, 5, 255, 0, 45, 127, 0, 73, 11, 1];
        let expected = [
            (0, 1),
            (5, 1),
            (6, 2),
            (49, 2),
            (50, 7),
            (349, 7),
            (350, 207),
            (360, 207),
            (361, 208),
            (i32::MAX, 208),
        ];
        for (position, line) in expected {
            let found = LnotabUnsigned.find_line(&unsigned, 1, position);
            assert_eq!(found, Some(line), "{position}");
            let found = LnotabSigned.find_line(&signed, 1, position);
            assert_eq!(found, Some(line), "{position}");
        }
    }

    #[test]
    fn line_steps_are_signed_from_3_6_on() {
        // From line 300 on: 2 bytes, back 100, 4 bytes, on 127 + 73.
        let table = [2, 0x9c, 4, 127, 0, 73];
        for (position, line) in [(0, 300), (2, 200), (5, 200), (6, 400), (900, 400)] {
            assert_eq!(LnotabSigned.find_line(&table, 300, position), Some(line));
        }
        assert_eq!(LnotabUnsigned.find_line(&table, 300, 2), Some(456));
    }

    #[test]
    fn a_table_without_pairs_has_one_line_and_half_a_pair_is_ignored() {
        for table in [&[][..], &[7], &[4, 1, 7]] {
            assert_eq!(LnotabSigned.find_line(table, 5, 0), Some(5));
        }
        assert_eq!(LnotabSigned.find_line(&[4, 1, 7], 5, 100), Some(6));
    }

    #[test]
    fn lines_that_overflow_or_fall_below_zero_are_no_lines() {
        let table = [2, 0xfe, 2, 4];
        assert_eq!(LnotabSigned.find_line(&table, 1, 2), None);
        assert_eq!(LnotabSigned.find_line(&table, 1, 4), Some(3));
        assert_eq!(LnotabUnsigned.find_line(&table, i32::MAX, 2), None);
    }
}
