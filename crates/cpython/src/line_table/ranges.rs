//! The line table of CPython 3.10, `co_linetable` of PEP 626.
//!
//! A sequence of pairs of bytes, one for each range of the code:
//!
//! ```text
//! byte 0   unsigned   length of the range, in bytes of code; 0 only where a step takes several pairs
//! byte 1   signed     −128: the range has no line, and the running line stays as it is
//!                     else: is added to the running line, which is the line of this range
//! ```
//!
//! Unlike in the table of 3.9 the line changes before the range, not after it, and the ranges end with the code.
//! <https://github.com/python/cpython/blob/v3.10.13/Objects/lnotab_notes.txt>

use super::{Entry, Position};

/// The step of a range without a line.
const NO_LINE: i8 = -128;

/// Takes one pair off the front. `None` at the end, and where the running line overflows.
pub(super) fn decode_entry(rest: &mut &[u8], line: &mut i32) -> Option<Entry> {
    let (&[length, step], tail) = rest.split_first_chunk()?;
    *rest = tail;
    let step = i8::from_le_bytes([step]);
    let position = if step == NO_LINE {
        None
    } else {
        *line = line.checked_add(i32::from(step))?;
        Position::from_line(*line)
    };
    Some(Entry {
        units: u32::from(length),
        position,
    })
}

#[cfg(test)]
mod tests {
    use crate::line_table::LineTableKind::Ranges;

    /// 6 bytes on line 10, 2 without a line, 254 + 46 on line 11, 2 on line 211, 4 on line 210.
    const TABLE: [u8; 16] = [
        6, 0, 2, 0x80, 254, 1, 46, 0, 0, 127, 2, 73, 4, 0xff, 0, 0x80,
    ];

    #[test]
    fn positions_count_units_of_two_bytes() {
        let expected = [
            (0, Some(10)),
            (2, Some(10)),
            (3, None),
            (4, Some(11)),
            (153, Some(11)),
            (154, Some(211)),
            (155, Some(210)),
            (156, Some(210)),
            (157, None),
            (i32::MAX, None),
        ];
        for (position, line) in expected {
            assert_eq!(Ranges.find_line(&TABLE, 10, position), line, "{position}");
        }
    }

    #[test]
    fn a_range_without_a_line_does_not_move_the_running_line() {
        let table = [2, 1, 2, 0x80, 2, 0x80, 2, 0, 2, 0x81];
        let lines = [0, 1, 2, 3, 4].map(|position| Ranges.find_line(&table, 200, position));
        assert_eq!(lines, [Some(201), None, None, Some(201), Some(74)]);
    }

    #[test]
    fn cut_tables_and_lines_out_of_range_have_no_line() {
        assert_eq!(Ranges.find_line(&[], 10, 0), None);
        assert_eq!(Ranges.find_line(&[4], 10, 0), None);
        assert_eq!(Ranges.find_line(&[4, 1, 4], 10, 2), None);
        assert_eq!(Ranges.find_line(&[4, 1], i32::MAX, 0), None);
        assert_eq!(Ranges.find_line(&[4, 0xf0], 10, 0), None);
    }
}
