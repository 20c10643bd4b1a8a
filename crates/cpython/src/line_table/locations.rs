//! The location table of CPython 3.11 and later, `co_linetable`.
//!
//! A table is a sequence of entries, each covering 1 to 8 instruction units (2 bytes each):
//!
//! ```text
//! first byte   1 cccc uuu      code = cccc, units = uuu + 1
//!
//! code         what follows                                   line            columns
//! 0 … 9        one byte b                                     the same        start = code·8 + (b >> 4)
//!                                                                             end   = start + (b & 15)
//! 10 … 12      two bytes                                      + code − 10     start, end
//! 13           svarint Δ                                      + Δ             none
//! 14           svarint Δ, varint Δend, varint s, varint e     + Δ, to + Δend  start = s − 1, end = e − 1 (0: none)
//! 15           nothing                                        none            none
//! ```
//!
//! A varint has 6 bits per byte, lowest first, and bit 6 set in all bytes but the last;
//! a svarint keeps its sign in bit 0. The running line starts at `co_firstlineno`.
//! <https://github.com/python/cpython/blob/v3.11.7/Objects/locations.md>

use super::{Entry, Position, take_byte};

/// Takes one entry off the front. Each takes at least one byte, so a table ends after as many steps as it has bytes.
pub(super) fn decode_entry(rest: &mut &[u8], line: &mut i32) -> Option<Entry> {
    let first = take_byte(rest)?;
    if first & 0x80 == 0 {
        return None;
    }
    let units = u32::from(first & 7) + 1;
    let code = first >> 3 & 15;
    if code == 15 {
        return Some(Entry {
            units,
            position: None,
        });
    }
    let mut end_line_delta = 0;
    let (mut start_column, mut end_column) = (None, None);
    match code {
        0..=9 => {
            let columns = take_byte(rest)?;
            let start = u32::from(code) * 8 + u32::from(columns >> 4);
            start_column = Some(start);
            end_column = Some(start + u32::from(columns & 15));
        }
        10..=12 => {
            *line = line.checked_add(i32::from(code) - 10)?;
            start_column = Some(u32::from(take_byte(rest)?));
            end_column = Some(u32::from(take_byte(rest)?));
        }
        13 => *line = line.checked_add(take_signed_varint(rest)?)?,
        _ => {
            *line = line.checked_add(take_signed_varint(rest)?)?;
            end_line_delta = i32::try_from(take_varint(rest)?).ok()?;
            start_column = take_varint(rest)?.checked_sub(1);
            end_column = take_varint(rest)?.checked_sub(1);
        }
    }
    let position = u32::try_from(*line).ok().map(|first| Position {
        line: first,
        end_line: first.saturating_add_signed(end_line_delta),
        start_column,
        end_column,
    });
    Some(Entry { units, position })
}

/// `None` for a number that does not fit into 32 bits: no compiler writes one.
fn take_varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..32).step_by(6) {
        let byte = take_byte(rest)?;
        let bits = u32::from(byte & 0x3f);
        if bits.leading_zeros() < shift {
            return None;
        }
        value |= bits << shift;
        if byte & 0x40 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_signed_varint(rest: &mut &[u8]) -> Option<i32> {
    let value = take_varint(rest)?;
    let magnitude = i32::try_from(value >> 1).ok()?;
    Some(if value & 1 == 1 {
        -magnitude
    } else {
        magnitude
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LineTableKind::Locations;

    /// `lambda: 0` on line 5 of 3.11 is not needed: the example of CPython's own `locations.md` is enough.
    /// Entry 1: code 14 "long form", 2 units; entry 2: code 15, 1 unit; entry 3: code 11, 3 units.
    const TABLE: [u8; 9] = [
        0x80 | 14 << 3 | 1,
        2 << 1, // line + 2
        1,      // end line + 1
        5,      // column 4
        0x40 | 1,
        2, // 1 + 2·64 = 129: column 128
        0x80 | 15 << 3,
        0x80 | 11 << 3 | 2,
        7,
    ];

    #[test]
    fn forms_decode_as_specified() {
        let mut table = TABLE.to_vec();
        table.push(9);
        let long = Position {
            line: 12,
            end_line: 13,
            start_column: Some(4),
            end_column: Some(128),
        };
        let next_line = Position {
            line: 13,
            end_line: 13,
            start_column: Some(7),
            end_column: Some(9),
        };
        let expected = [
            Some(long),
            Some(long),
            None,
            Some(next_line),
            Some(next_line),
            Some(next_line),
            None,
        ];
        for (units, position) in expected.into_iter().enumerate() {
            let units = i32::try_from(units).unwrap();
            assert_eq!(
                Locations.find_position(&table, 10, units),
                position,
                "unit {units}"
            );
        }
        assert_eq!(Locations.find_line(&table, 10, 0), Some(12));
    }

    #[test]
    fn cut_tables_lose_only_what_is_cut_off() {
        for length in 0..TABLE.len() {
            let line = Locations.find_line(&TABLE[..length], 10, 0);
            assert_eq!(line.is_some(), length >= 6, "{length}");
        }
    }

    #[test]
    fn lines_that_overflow_or_fall_below_zero_are_no_lines() {
        let back = [0x80 | 13 << 3, 11 << 1 | 1];
        assert_eq!(Locations.find_line(&back, 10, 0), None);
        let forward = [0x80 | 13 << 3, 2];
        assert_eq!(Locations.find_line(&forward, i32::MAX, 0), None);
        let endless = [0x80 | 13 << 3, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f];
        assert_eq!(Locations.find_line(&endless, 10, 0), None);
    }

    #[test]
    fn random_bytes_never_give_more_entries_than_bytes() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for length in 0..4_000_usize {
            let table: Vec<u8> = (0..length % 64)
                .map(|_| {
                    // xorshift64: the seed makes every run the same.
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[3] | 0x80
                })
                .collect();
            let (mut rest, mut line) = (&table[..], 1);
            let entries = std::iter::from_fn(|| decode_entry(&mut rest, &mut line));
            assert!(entries.count() <= table.len());
        }
    }
}
