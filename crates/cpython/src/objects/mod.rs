//! Python objects of a live process: types, strings, numbers, tuples, dicts, attributes.
//!
//! Nothing read is believed: all that is read is counted and bounded, so that chains that run in circles come
//! to an end; lengths are bounded; and whatever cannot be right is `None`.

mod attributes;
mod dict;

use crate::{
    Layout, ObjectLayout, code_object,
    memory::{Memory, is_plausible_pointer},
    text,
};

pub(crate) use dict::{Entry, Key};

/// Bits of `tp_flags`, the same in every version.
/// <https://github.com/python/cpython/blob/v3.13.0/Include/object.h#L587>
const IS_DICT: u32 = 29;
const IS_TYPE: u32 = 31;

/// Longest name of a type read, in bytes; longer ones are none.
const TYPE_NAME_LIMIT: usize = 16 * 1024;

/// Longest tuple read, in items. The standard library's longest `__mro__` has 12.
const TUPLE_LIMIT: u64 = 1024;

/// The objects of one process.
pub(crate) struct Objects<'a, F> {
    pub(crate) layout: &'a Layout,
    pub(crate) objects: &'a ObjectLayout,
    memory: Memory<F>,
}

/// What a read costs apart from its bytes: a system call takes as long as copying some hundred bytes.
const READ_COST: u64 = 64;

/// Lets memory be read until `limit` bytes were, each read counting as 64 bytes more; after that there is none.
pub(crate) fn limit_bytes(
    limit: u64,
    mut read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> impl FnMut(u64, &mut [u8]) -> bool {
    let mut left = limit;
    move |address, bytes| {
        left = left.saturating_sub(READ_COST.saturating_add(bytes.len() as u64));
        left != 0 && read_memory(address, bytes)
    }
}

impl<'a, F: FnMut(u64, &mut [u8]) -> bool> Objects<'a, F> {
    pub(crate) fn new(layout: &'a Layout, objects: &'a ObjectLayout, read_memory: F) -> Self {
        Self {
            layout,
            objects,
            memory: Memory(read_memory),
        }
    }

    pub(crate) fn word(&mut self, base: u64, offset: u16) -> Option<u64> {
        self.memory.read_word(base, offset)
    }

    /// Reads a pointer, which is not NULL.
    pub(crate) fn pointer(&mut self, base: u64, offset: u16) -> Option<u64> {
        self.word(base, offset)
            .filter(|&pointer| is_plausible_pointer(pointer))
    }

    /// Reads the type of the object at `address`.
    pub(crate) fn type_of(&mut self, address: u64) -> Option<u64> {
        self.pointer(address, self.layout.code.ob_type)
    }

    fn type_has_flag(&mut self, type_address: u64, bit: u32) -> Option<bool> {
        let flags = self.word(type_address, self.layout.type_object.flags)?;
        Some(flags >> bit & 1 == 1)
    }

    /// Whether the object at `address` is a type.
    pub(crate) fn is_type(&mut self, address: u64) -> Option<bool> {
        let type_address = self.type_of(address)?;
        self.type_has_flag(type_address, IS_TYPE)
    }

    fn is_dict(&mut self, address: u64) -> Option<bool> {
        let type_address = self.type_of(address)?;
        self.type_has_flag(type_address, IS_DICT)
    }

    /// Reads `tp_name` after its last dot: types made by C code carry the name of their module.
    pub(crate) fn type_name(&mut self, type_address: u64) -> Option<String> {
        let start = self.word(type_address, self.layout.type_object.name)?;
        let bytes = self.bytes_up_to_nul(start)?;
        let name = bytes.rsplit(|&byte| byte == b'.').next()?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// Reads up to a NUL, and nothing beyond the 64 bytes that it is in: what follows may not be mapped.
    fn bytes_up_to_nul(&mut self, start: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < TYPE_NAME_LIMIT {
            let next = start.checked_add(bytes.len() as u64)?;
            let length = 64 - usize::try_from(next % 64).ok()?;
            let some = self.memory.read_vec(next, 0, length)?;
            let end = some.iter().position(|&byte| byte == 0);
            bytes.extend_from_slice(some.get(..end.unwrap_or(length))?);
            if end.is_some() {
                return Some(bytes);
            }
        }
        None
    }

    /// Reads a `str`; in 2.7 a byte string. Cut after 16 KiB.
    pub(crate) fn text(&mut self, address: u64) -> Option<String> {
        code_object::read_text(self.layout, address, "name", &mut self.memory).ok()
    }

    /// Reads the first `most` characters of a text: a `str`, or a `unicode` of 2.7.
    pub(crate) fn unicode(&mut self, address: u64, most: usize) -> Option<String> {
        let Some(members) = self.objects.unicode.clone() else {
            return self.text(address);
        };
        let length = usize::try_from(self.word(address, members.length)?).ok()?;
        let characters = self.pointer(address, members.characters)?;
        let shown = length.min(most);
        let wide = self.memory.read_vec(characters, 0, 4)?;
        match is_wide(&wide) || length < 2 {
            true => {
                let bytes = self.memory.read_vec(characters, 0, shown * 4)?;
                Some(text::decode(4, false, &bytes))
            }
            false => {
                let bytes = self.memory.read_vec(characters, 0, shown * 2)?;
                let (units, _) = bytes.as_chunks();
                let units: Vec<u16> = units.iter().map(|&unit| u16::from_le_bytes(unit)).collect();
                Some(String::from_utf16_lossy(&units))
            }
        }
    }

    /// Whether the object at `address` is this string.
    fn is_text(&mut self, address: u64, wanted: &str) -> Option<bool> {
        // Nearly all that differ differ in length already.
        let (offset, length) = match &self.layout.unicode {
            Some(unicode) => (unicode.length, wanted.chars().count()),
            None => (self.layout.bytes.size, wanted.len()),
        };
        match self.word(address, offset)? == length as u64 {
            true => Some(self.text(address)? == wanted),
            false => Some(false),
        }
    }

    /// Reads the pointers that a tuple holds.
    pub(crate) fn tuple(&mut self, address: u64) -> Option<Vec<u64>> {
        let count = self.word(address, self.objects.var.size)?;
        let count = Some(count).filter(|&count| count <= TUPLE_LIMIT)?;
        self.words(
            address,
            self.layout.tuple.items,
            usize::try_from(count).ok()?,
        )
    }

    fn words(&mut self, base: u64, offset: u16, count: usize) -> Option<Vec<u64>> {
        let bytes = self.memory.read_vec(base, offset, count.checked_mul(8)?)?;
        let (words, _) = bytes.as_chunks();
        Some(words.iter().map(|&word| u64::from_le_bytes(word)).collect())
    }

    /// Reads one byte of a struct.
    pub(crate) fn byte(&mut self, base: u64, offset: u16) -> Option<u8> {
        self.memory.read_bytes::<1>(base, offset).map(|[byte]| byte)
    }

    /// Reads the first bytes of a `bytes` (2.7: `str`), which has so many at least.
    pub(crate) fn byte_string(&mut self, address: u64, length: usize) -> Option<Vec<u8>> {
        let has = self.word(address, self.layout.bytes.size)?;
        let has = usize::try_from(has).ok()?;
        let data = self.layout.bytes.data;
        self.memory.read_vec(address, data, length.min(has))
    }

    /// Reads an `int` of either sign that fits into 90 bits; `is_plain` says that it is 2.7's `int`, and no `long`.
    pub(crate) fn signed_number(&mut self, address: u64, is_plain: bool) -> Option<i128> {
        if let Some(int) = self.objects.int.as_ref().filter(|_| is_plain) {
            let offset = int.value;
            let value = self.word(address, offset)?;
            return Some(i128::from(value as i64));
        }
        let long = &self.objects.long;
        let (tag, size, digits) = (long.tag, long.size, long.digits);
        let (count, is_negative) = match (tag, size) {
            (Some(tag), _) => {
                let tag = self.word(address, tag)?;
                (tag >> 3, tag & 3 == 2)
            }
            (None, size) => {
                let count = self.word(address, size?)? as i64;
                (count.unsigned_abs(), count < 0)
            }
        };
        let count = usize::try_from(count).ok().filter(|count| *count <= 3)?;
        let bytes = self.memory.read_vec(address, digits, count * 4)?;
        let (digits, _) = bytes.as_chunks();
        let sum = digits.iter().rev().fold(0_i128, |sum, &digit| {
            (sum << 30) + i128::from(u32::from_le_bytes(digit))
        });
        Some(if is_negative { -sum } else { sum })
    }

    /// Reads an `int` (2.7: `int` or `long`) that is not below 0 and fits into 64 bits.
    pub(crate) fn number(&mut self, address: u64) -> Option<u64> {
        if let Some(int) = &self.objects.int {
            let offset = int.value;
            let type_address = self.type_of(address)?;
            if self.type_name(type_address)? == "int" {
                let value = self.word(address, offset)?;
                return i64::try_from(value).is_ok().then_some(value);
            }
        }
        let long = &self.objects.long;
        let (tag, size, digits) = (long.tag, long.size, long.digits);
        let count = match (tag, size) {
            // Bits 0 and 1 are the sign: 0 for above 0, 1 for 0.
            (Some(tag), _) => match self.word(address, tag)? {
                tag if tag & 3 == 2 => return None,
                tag => tag >> 3,
            },
            (None, size) => self.word(address, size?)?,
        };
        // 64 bits are in three digits of 30; numbers below 0 have a count below 0.
        let count = Some(count).filter(|&count| count <= 3)?;
        let bytes = self
            .memory
            .read_vec(address, digits, usize::try_from(count * 4).ok()?)?;
        let (digits, _) = bytes.as_chunks();
        digits.iter().rev().try_fold(0_u64, |sum, &digit| {
            let digit = u64::from(u32::from_le_bytes(digit));
            sum.checked_mul(1 << 30)?.checked_add(digit)
        })
    }
}

/// Whether a text of 2.7 of two characters or more has four bytes for each: its first four bytes are then a character of a
/// plane that has any, and of two bytes each they are so for a second character of U+0000 to U+0003 and U+000E alone.
fn is_wide(first: &[u8]) -> bool {
    let unit = first.first_chunk().map(|unit| u32::from_le_bytes(*unit));
    unit.is_some_and(|unit| matches!(unit >> 16, 0..=3 | 0xe))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Version, find_layout, find_object_layout};

    /// Memory made by hand: what was put, zero between, nothing beyond.
    pub(crate) struct Space {
        pub(crate) layout: Layout,
        pub(crate) objects: ObjectLayout,
        bytes: Vec<u8>,
        used: usize,
    }

    pub(crate) const START: u64 = 0x10000;

    impl Space {
        pub(crate) fn new(hex: u32, free_threaded: bool) -> Self {
            let layout = find_layout(Version { hex }, free_threaded).unwrap();
            let objects = find_object_layout(&layout).unwrap();
            Self {
                layout,
                objects,
                bytes: vec![0; 256 * 1024],
                used: 64,
            }
        }

        /// Overwrites words here and there: most with small numbers or pointers to where something else is.
        pub(crate) fn corrupt(&mut self, seed: u64) {
            let mut state = seed + 1;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            let words = self.used as u64 / 8;
            for _ in 0..words / 64 {
                let (kind, place, number) = (next(), next() % words * 8, next());
                let word = match kind % 4 {
                    0 => number % 8,
                    1 => number >> (number % 64),
                    _ => START + number % words * 8,
                };
                self.put(START + place, &word.to_le_bytes());
            }
        }

        /// Room that nobody else gets, with 64 bytes before it.
        pub(crate) fn allocate(&mut self, size: usize) -> u64 {
            let start = self.used + 64;
            self.used = (start + size).next_multiple_of(16);
            assert!(self.used <= self.bytes.len());
            START + start as u64
        }

        pub(crate) fn put(&mut self, address: u64, bytes: &[u8]) {
            let start = usize::try_from(address - START).unwrap();
            self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        }

        pub(crate) fn put_word(&mut self, address: u64, offset: u16, word: u64) {
            self.put(address + u64::from(offset), &word.to_le_bytes());
        }

        /// An object of nothing but its type.
        pub(crate) fn object(&mut self, type_address: u64, size: usize) -> u64 {
            let address = self.allocate(size);
            self.put_word(address, self.layout.code.ob_type, type_address);
            address
        }

        pub(crate) fn type_object(&mut self, name: &str, flags: u64) -> u64 {
            let address = self.allocate(1024);
            let text = self.allocate(name.len() + 1);
            self.put(text, name.as_bytes());
            let layout = self.layout.type_object;
            self.put_word(address, layout.name, text);
            self.put_word(address, layout.flags, flags);
            address
        }

        pub(crate) fn ascii(&mut self, text: &str) -> u64 {
            let address = self.allocate(64 + text.len());
            match self.layout.unicode {
                Some(unicode) => {
                    let state = 1_u32 << unicode.kind_shift
                        | 1 << unicode.compact_bit
                        | 1 << unicode.ascii_bit;
                    self.put_word(address, unicode.length, text.len() as u64);
                    self.put(address + u64::from(unicode.state), &state.to_le_bytes());
                    self.put(address + u64::from(unicode.ascii_data), text.as_bytes());
                }
                None => {
                    let bytes = self.layout.bytes;
                    self.put_word(address, bytes.size, text.len() as u64);
                    self.put(address + u64::from(bytes.data), text.as_bytes());
                }
            }
            address
        }

        pub(crate) fn tuple(&mut self, items: &[u64]) -> u64 {
            let address = self.allocate(64 + 8 * items.len());
            self.put_word(address, self.objects.var.size, items.len() as u64);
            for (place, &item) in (0_u16..).zip(items) {
                self.put_word(address, self.layout.tuple.items + 8 * place, item);
            }
            address
        }

        pub(crate) fn reader(&self) -> Objects<'_, impl FnMut(u64, &mut [u8]) -> bool> {
            Objects::new(&self.layout, &self.objects, self.read_memory())
        }

        pub(crate) fn read_memory(&self) -> impl FnMut(u64, &mut [u8]) -> bool {
            limit_bytes(1 << 24, |address, bytes: &mut [u8]| {
                let start = address.checked_sub(START);
                let start = start.and_then(|start| usize::try_from(start).ok());
                let found = start.and_then(|start| self.bytes.get(start..)?.get(..bytes.len()));
                found.is_some_and(|found| {
                    bytes.copy_from_slice(found);
                    true
                })
            })
        }
    }

    #[test]
    fn numbers_are_the_sum_of_their_digits() {
        // 2**47 - 1 is 2**17 - 1 times 2**30 and 2**30 - 1.
        for hex in [0x0306_00f0, 0x030b_00f0, 0x030c_00f0] {
            let mut space = Space::new(hex, false);
            let number = space.allocate(64);
            let long = space.objects.long.clone();
            match long.tag {
                Some(tag) => space.put_word(number, tag, 2 << 3),
                None => space.put_word(number, long.size.unwrap(), 2),
            }
            let digits = 0x1_ffff_3fff_ffff;
            space.put_word(number, long.digits, digits);
            assert_eq!(space.reader().number(number), Some((1 << 47) - 1));
        }
    }

    #[test]
    fn numbers_below_zero_and_beyond_64_bits_are_none() {
        let mut space = Space::new(0x030c_00f0, false);
        let number = space.allocate(64);
        for (tag, expected) in [
            (1 << 3 | 2, None),
            (1, Some(0)),
            (4 << 3, None),
            (u64::MAX - 3, None),
        ] {
            space.put_word(number, 16, tag);
            assert_eq!(space.reader().number(number), expected, "{tag:#x}");
        }
        space.put_word(number, 16, 3 << 3);
        space.put_word(number, 32, 0x3fff_ffff);
        assert_eq!(space.reader().number(number), None);
        space.put_word(number, 32, 0xf);
        assert_eq!(space.reader().number(number), Some(0xf << 60));

        let mut space = Space::new(0x0306_00f0, false);
        let number = space.allocate(64);
        space.put_word(number, 16, u64::MAX);
        assert_eq!(space.reader().number(number), None);
    }

    #[test]
    fn names_of_types_end_at_nul_and_start_after_the_last_dot() {
        let mut space = Space::new(0x030a_00f0, false);
        let plain = space.type_object("Widget", 0);
        let dotted = space.type_object("collections.OrderedDict", 0);
        let long = space.type_object(&"x".repeat(1000), 0);
        let endless = space.type_object(&"x".repeat(TYPE_NAME_LIMIT + 64), 0);
        let mut reader = space.reader();
        assert_eq!(reader.type_name(plain).as_deref(), Some("Widget"));
        assert_eq!(reader.type_name(dotted).as_deref(), Some("OrderedDict"));
        assert_eq!(reader.type_name(long), Some("x".repeat(1000)));
        assert_eq!(reader.type_name(endless), None);
    }

    #[test]
    fn a_name_that_ends_where_the_memory_ends_is_read() {
        let mut space = Space::new(0x030a_00f0, false);
        let end = START + space.bytes.len() as u64;
        space.put(end - 3, b"ab\0");
        let address = space.allocate(1024);
        space.put_word(address, space.layout.type_object.name, end - 3);
        assert_eq!(space.reader().type_name(address).as_deref(), Some("ab"));
        space.put(end - 3, b"abc");
        assert_eq!(space.reader().type_name(address), None);
    }

    #[test]
    fn huge_tuples_are_none() {
        let mut space = Space::new(0x030a_00f0, false);
        let tuple = space.tuple(&[1, 2, 3]);
        assert_eq!(space.reader().tuple(tuple), Some(vec![1, 2, 3]));
        for size in [u64::MAX, 1 << 40, TUPLE_LIMIT + 1] {
            space.put_word(tuple, 16, size);
            assert_eq!(space.reader().tuple(tuple), None);
        }
    }

    #[test]
    fn after_the_limit_nothing_is_read() {
        let mut limited = limit_bytes(3 * READ_COST, |_, _: &mut [u8]| true);
        assert!(limited(0, &mut [0; 8]));
        assert!(limited(0, &mut [0; 8]));
        assert!(!limited(0, &mut [0; 1024]));
        assert!(!limited(0, &mut [0; 0]));
    }
}
