//! `.eh_frame` without section headers: through the table that `PT_GNU_EH_FRAME` points at.

use crate::address::Svma;

// Pointer encodings (DW_EH_PE_*), Linux Standard Base 5.0, section 10.5.1.
const FORMAT_MASK: u8 = 0x0f;
const FORMAT_ABSOLUTE: u8 = 0x00;
const FORMAT_UNSIGNED_4: u8 = 0x03;
const FORMAT_UNSIGNED_8: u8 = 0x04;
const FORMAT_SIGNED_4: u8 = 0x0b;
const FORMAT_SIGNED_8: u8 = 0x0c;
const RELATIVE_MASK: u8 = 0xf0;
const RELATIVE_TO_NOTHING: u8 = 0x00;
const RELATIVE_TO_ITSELF: u8 = 0x10;
const RELATIVE_TO_HEADER: u8 = 0x30;

/// Where the `.eh_frame_hdr` at `header_svma` says that `.eh_frame` starts.
///
/// The header is: version (1), encoding of the pointer, encodings of count and table, the pointer.
/// `header` may be longer than the header.
pub(crate) fn decode_eh_frame_pointer(header: &[u8], header_svma: Svma) -> Option<Svma> {
    const POINTER_OFFSET: u64 = 4;
    let (&[version, encoding, _, _], rest) = header.split_first_chunk::<4>()?;
    if version != 1 {
        return None;
    }
    let value = match encoding & FORMAT_MASK {
        FORMAT_UNSIGNED_4 => u64::from(u32::from_le_bytes(*rest.first_chunk()?)),
        FORMAT_SIGNED_4 => i64::from(i32::from_le_bytes(*rest.first_chunk()?)).cast_unsigned(),
        FORMAT_ABSOLUTE | FORMAT_UNSIGNED_8 | FORMAT_SIGNED_8 => {
            u64::from_le_bytes(*rest.first_chunk()?)
        }
        _ => return None,
    };
    let base = match encoding & RELATIVE_MASK {
        RELATIVE_TO_NOTHING => 0,
        RELATIVE_TO_ITSELF => header_svma.0.wrapping_add(POINTER_OFFSET),
        RELATIVE_TO_HEADER => header_svma.0,
        _ => return None,
    };
    Some(Svma(base.wrapping_add(value)))
}

/// How many of `bytes` are `.eh_frame`: the entries up to and including the zero terminator, or up
/// to the last whole entry.
pub(crate) fn find_eh_frame_length(bytes: &[u8]) -> usize {
    const LENGTH_IS_64_BIT: u32 = 0xffff_ffff;
    let mut position = 0;
    while let Some((length, rest)) = bytes
        .get(position..)
        .and_then(<[u8]>::split_first_chunk::<4>)
    {
        let entry = match u32::from_le_bytes(*length) {
            0 => return position + 4,
            LENGTH_IS_64_BIT => rest
                .first_chunk()
                .and_then(|length| usize::try_from(u64::from_le_bytes(*length)).ok())
                .and_then(|length| length.checked_add(12)),
            length => usize::try_from(length)
                .ok()
                .and_then(|length| length.checked_add(4)),
        };
        match entry.and_then(|entry| position.checked_add(entry)) {
            Some(next) if next <= bytes.len() => position = next,
            _ => break,
        }
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_is_relative_to_its_own_place_as_gnu_ld_writes_it() {
        // readelf -x .eh_frame_hdr of a small program: "011b033b 58000000 ...".
        let header = [0x01, 0x1b, 0x03, 0x3b, 0x58, 0, 0, 0, 9, 9];
        assert_eq!(
            decode_eh_frame_pointer(&header, Svma(0x2004)),
            Some(Svma(0x2060))
        );
        let backwards = [0x01, 0x1b, 0x03, 0x3b, 0xf8, 0xff, 0xff, 0xff];
        assert_eq!(
            decode_eh_frame_pointer(&backwards, Svma(0x2004)),
            Some(Svma(0x2000))
        );
        assert_eq!(decode_eh_frame_pointer(&header[..7], Svma(0x2004)), None);
        assert_eq!(
            decode_eh_frame_pointer(&[2, 0x1b, 3, 0x3b, 0, 0, 0, 0], Svma(0)),
            None
        );
    }

    #[test]
    fn the_length_ends_with_the_terminator_or_the_last_whole_entry() {
        let entry = [4, 0, 0, 0, 1, 2, 3, 4];
        let mut bytes = entry.to_vec();
        bytes.extend(entry);
        assert_eq!(find_eh_frame_length(&bytes), 16);
        bytes.extend([0; 4]);
        bytes.extend([7; 30]);
        assert_eq!(find_eh_frame_length(&bytes), 20);
        assert_eq!(find_eh_frame_length(&entry[..7]), 0);
        assert_eq!(
            find_eh_frame_length(&[
                255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1
            ]),
            0
        );
    }
}
