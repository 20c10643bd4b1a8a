//! Dicts.
//!
//! 2.7 has a hash table whose slots hold hash, key and value. Since 3.6 a dict has *keys*: a header, a table of small
//! indices that hashing leads to, and entries in the order of insertion; whoever wants all entries needs no hashing.
//! An entry is hash, key and value, or key and value alone where all keys are strings (3.11). Dicts of instances of
//! one class share their keys, and their values stand in an array of their own.
//! <https://github.com/python/cpython/blob/v2.7.18/Include/dictobject.h#L16>
//! <https://github.com/python/cpython/blob/v3.6.15/Objects/dictobject.c#L1>
//! <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_dict.h#L40>

use super::Objects;
use crate::{
    memory::is_plausible_pointer,
    object_layout::{DictMembers, KeysMembers, SharedDictMembers, TableMembers},
};

/// Most entries (2.7: slots) read of one dict: more than there are modules or threads in any process that is well.
const ENTRY_LIMIT: u64 = 1 << 18;

/// How often a dict is read again that was given other keys meanwhile.
const ATTEMPTS: usize = 3;

/// A key and its value; neither is NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: u64,
    pub(crate) value: u64,
}

/// A string to look for.
///
/// The names in a program are made once, so where one was found it is recognised by its address the next time.
#[derive(Clone, Debug)]
pub(crate) struct Key<'a> {
    text: &'a str,
    address: Option<u64>,
}

impl<'a> Key<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self {
            text,
            address: None,
        }
    }
}

/// Where the entries of keys are.
struct Entries {
    count: usize,
    /// From the start of the keys.
    offset: u64,
    has_hashes: bool,
}

impl<F: FnMut(u64, &mut [u8]) -> bool> Objects<'_, F> {
    /// Reads all entries of the dict at `address`, or of what is derived from it.
    pub(crate) fn dict(&mut self, address: u64) -> Option<Vec<Entry>> {
        if !self.is_dict(address)? {
            return None;
        }
        let objects = self.objects;
        match &objects.dict {
            DictMembers::Table(table) => self.table(address, table),
            DictMembers::Keys(members) => (0..ATTEMPTS).find_map(|_| {
                let keys = self.pointer(address, members.keys)?;
                let entries = self.dict_with_keys(address, keys, members)?;
                // A dict that grew moved to other keys, and the memory of these was another's while we read it.
                (self.pointer(address, members.keys)? == keys).then_some(entries)
            }),
        }
    }

    /// Finds the value of a string among entries.
    pub(crate) fn find(&mut self, entries: &[Entry], key: &mut Key<'_>) -> Option<u64> {
        let known = entries.iter().find(|entry| Some(entry.key) == key.address);
        let found = known.or_else(|| {
            let is_key = |entry: &&Entry| self.is_text(entry.key, key.text) == Some(true);
            entries.iter().find(is_key)
        })?;
        key.address = Some(found.key);
        Some(found.value)
    }

    fn table(&mut self, address: u64, members: &TableMembers) -> Option<Vec<Entry>> {
        let mask = self.word(address, members.mask)?;
        let slots = Some(mask).filter(|&mask| mask < ENTRY_LIMIT)? + 1;
        let table = self.pointer(address, members.table)?;
        let words = self.words(table, 0, usize::try_from(slots).ok()?.checked_mul(3)?)?;
        let (slots, _) = words.as_chunks();
        Some(present(slots.iter().map(|&[_, key, value]| (key, value))))
    }

    fn dict_with_keys(
        &mut self,
        address: u64,
        keys: u64,
        members: &SharedDictMembers,
    ) -> Option<Vec<Entry>> {
        match self.word(address, members.values)? {
            0 => self.keys(keys),
            values => self.keys_with_values(keys, values),
        }
    }

    fn keys(&mut self, keys: u64) -> Option<Vec<Entry>> {
        let pairs = self.key_value_pairs(keys)?;
        Some(present(pairs.into_iter()))
    }

    /// Reads shared keys together with the values of one dict or instance.
    pub(super) fn keys_with_values(&mut self, keys: u64, values: u64) -> Option<Vec<Entry>> {
        let pairs = self.key_value_pairs(keys)?;
        let offset = self.objects.values.as_ref()?.values;
        let values = self.words(values, offset, pairs.len())?;
        let pairs = pairs.into_iter().zip(values);
        Some(present(pairs.map(|((key, _), value)| (key, value))))
    }

    fn key_value_pairs(&mut self, keys: u64) -> Option<Vec<(u64, u64)>> {
        let entries = self.entries(keys)?;
        let start = keys.checked_add(entries.offset)?;
        let width = if entries.has_hashes { 3 } else { 2 };
        let words = self.words(start, 0, entries.count.checked_mul(width)?)?;
        let pair = |entry: &[u64]| match *entry {
            [key, value] | [_, key, value] => (key, value),
            _ => (0, 0),
        };
        Some(words.chunks_exact(width).map(pair).collect())
    }

    fn entries(&mut self, keys: u64) -> Option<Entries> {
        let objects = self.objects;
        let members: &KeysMembers = objects.keys.as_ref()?;
        let count = self.word(keys, members.entry_count)?;
        let index_size = match (members.size, members.log2_index_bytes) {
            (Some(size), _) => match self.word(keys, size)? {
                size @ 0..=0xff => size,
                size @ 0x100..=0xffff => size * 2,
                size @ 0x1_0000..=0xffff_ffff => size * 4,
                _ => return None,
            },
            (None, offset) => {
                let [log2] = self.memory.read_bytes(keys, offset?)?;
                1_u64.checked_shl(u32::from(log2))?
            }
        };
        let has_hashes = match members.kind {
            Some(offset) => self.memory.read_bytes(keys, offset)? == [0],
            None => true,
        };
        Some(Entries {
            count: usize::try_from(count)
                .ok()
                .filter(|_| count <= ENTRY_LIMIT)?,
            offset: u64::from(members.indices).checked_add(index_size)?,
            has_hashes,
        })
    }
}

/// The entries that are there: deleted ones and those that were never used lack key or value.
fn present(pairs: impl Iterator<Item = (u64, u64)>) -> Vec<Entry> {
    pairs
        .filter(|&(key, value)| is_plausible_pointer(key) && is_plausible_pointer(value))
        .map(|(key, value)| Entry { key, value })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{super::tests::Space, *};

    const V2_7: u32 = 0x0207_00f0;
    const V3_6: u32 = 0x0306_00f0;
    const V3_12: u32 = 0x030c_00f0;

    impl Space {
        /// A dict of the version's usual shape; its keys are strings.
        pub(crate) fn dict(&mut self, entries: &[(&str, u64)]) -> u64 {
            let entries: Vec<_> = entries
                .iter()
                .map(|&(key, value)| (self.ascii(key), value))
                .collect();
            self.dict_of(&entries, true)
        }

        pub(crate) fn dict_of(&mut self, entries: &[(u64, u64)], are_strings: bool) -> u64 {
            let dict_type = self.type_object("dict", 1 << IS_DICT_BIT);
            let dict = self.object(dict_type, 64);
            match self.objects.dict.clone() {
                DictMembers::Table(members) => {
                    let slots = (entries.len() * 2 + 1).next_power_of_two();
                    let table = self.allocate(slots * 24);
                    for (slot, &(key, value)) in (0_u64..).step_by(2).zip(entries) {
                        self.put_word(table + slot * 24, 8, key);
                        self.put_word(table + slot * 24, 16, value);
                    }
                    self.put_word(dict, members.mask, slots as u64 - 1);
                    self.put_word(dict, members.table, table);
                }
                DictMembers::Keys(members) => {
                    let keys = self.keys(entries, are_strings);
                    self.put_word(dict, members.keys, keys);
                }
            }
            dict
        }

        pub(crate) fn keys(&mut self, entries: &[(u64, u64)], are_strings: bool) -> u64 {
            let members = self.objects.keys.clone().unwrap();
            let keys = self.allocate(64 + 16 + entries.len() * 24);
            self.put_word(keys, members.entry_count, entries.len() as u64);
            match members.size {
                Some(size) => self.put_word(keys, size, 16),
                None => self.put(keys + u64::from(members.log2_index_bytes.unwrap()), &[4]),
            }
            let is_short = members.kind.is_some() && are_strings;
            if let Some(kind) = members.kind {
                self.put(keys + u64::from(kind), &[u8::from(is_short)]);
            }
            let mut place = keys + u64::from(members.indices) + 16;
            for &(key, value) in entries {
                if !is_short {
                    place += 8;
                }
                self.put_word(place, 0, key);
                self.put_word(place, 8, value);
                place += 16;
            }
            keys
        }
    }

    const IS_DICT_BIT: u32 = 29;

    #[test]
    fn entries_of_every_shape_are_read() {
        for (hex, free_threaded) in [
            (V2_7, false),
            (V3_6, false),
            (0x030b_00f0, false),
            (V3_12, false),
            (0x030e_00f0, true),
        ] {
            for are_strings in [true, false] {
                let mut space = Space::new(hex, free_threaded);
                let (first, second, third) =
                    (space.ascii("first"), space.ascii("other"), space.ascii("x"));
                // The second was deleted.
                let dict = space.dict_of(
                    &[(first, 0x7000), (second, 0), (third, 0x8000)],
                    are_strings,
                );
                let mut reader = space.reader();
                let entries = reader.dict(dict).unwrap();
                let expected = [(first, 0x7000), (third, 0x8000)];
                assert_eq!(
                    entries,
                    expected.map(|(key, value)| Entry { key, value }),
                    "{hex:#x}"
                );
                assert_eq!(reader.find(&entries, &mut Key::new("x")), Some(0x8000));
                assert_eq!(reader.find(&entries, &mut Key::new("other")), None);
            }
        }
    }

    #[test]
    fn shared_keys_take_the_values_of_the_dict() {
        for hex in [V3_6, 0x030b_00f0, V3_12, 0x030d_00f0] {
            let mut space = Space::new(hex, false);
            let (first, second) = (space.ascii("first"), space.ascii("second"));
            let dict = space.dict_of(&[(first, 0), (second, 0)], true);
            let values = space.allocate(64);
            let place = space.objects.values.as_ref().unwrap().values;
            space.put_word(values, place + 8, 0x7000);
            space.put_word(dict, 40, values);
            let entries = space.reader().dict(dict).unwrap();
            assert_eq!(
                entries,
                [Entry {
                    key: second,
                    value: 0x7000
                }],
                "{hex:#x}"
            );
        }
    }

    #[test]
    fn a_known_key_is_recognised_by_its_address() {
        let mut space = Space::new(V3_12, false);
        let name = space.ascii("_name");
        let mut key = Key::new("_name");
        let entries = [Entry {
            key: name,
            value: 0x7000,
        }];
        assert_eq!(space.reader().find(&entries, &mut key), Some(0x7000));
        // Its characters are not read again.
        space.put_word(name, 16, 1);
        assert_eq!(space.reader().find(&entries, &mut key), Some(0x7000));
        assert_eq!(space.reader().find(&entries, &mut Key::new("_name")), None);
    }

    #[test]
    fn what_is_no_dict_is_none() {
        let mut space = Space::new(V3_12, false);
        let list_type = space.type_object("list", 1 << 25);
        let list = space.object(list_type, 64);
        let mut reader = space.reader();
        assert_eq!(reader.dict(list), None);
        assert_eq!(reader.dict(0), None);
        assert_eq!(reader.dict(u64::MAX), None);
    }

    #[test]
    fn impossible_sizes_are_none() {
        for value in [u64::MAX, 1 << 62, ENTRY_LIMIT + 1, ENTRY_LIMIT] {
            let mut space = Space::new(V3_6, false);
            let dict = space.dict(&[("key", 0x7000)]);
            let keys = space.reader().pointer(dict, 32).unwrap();
            space.put_word(keys, 32, value);
            assert_eq!(space.reader().dict(dict), None);

            let mut space = Space::new(V3_6, false);
            let dict = space.dict(&[("key", 0x7000)]);
            let keys = space.reader().pointer(dict, 32).unwrap();
            space.put_word(keys, 8, value);
            assert_eq!(space.reader().dict(dict), None);

            let mut space = Space::new(V2_7, false);
            let dict = space.dict(&[("key", 0x7000)]);
            space.put_word(dict, 32, value);
            assert_eq!(space.reader().dict(dict), None);
        }
        for log2 in [63, 64, 255] {
            let mut space = Space::new(V3_12, false);
            let dict = space.dict(&[("key", 0x7000)]);
            let keys = space.reader().pointer(dict, 32).unwrap();
            space.put(keys + 9, &[log2]);
            assert_eq!(space.reader().dict(dict), None);
        }
    }

    #[test]
    fn a_dict_that_gets_other_keys_all_the_time_is_none() {
        let mut space = Space::new(V3_12, false);
        let dict = space.dict(&[("key", 0x7000)]);
        let other = space.keys(&[], true);
        let mut memory = space.read_memory();
        let mut reads = 0;
        let mut reader = Objects::new(
            &space.layout,
            &space.objects,
            |address, bytes: &mut [u8]| {
                let is_read = memory(address, bytes);
                if address == dict + 32 {
                    reads += 1;
                    if reads % 2 == 0 {
                        bytes.copy_from_slice(&other.to_le_bytes());
                    }
                }
                is_read
            },
        );
        assert_eq!(reader.dict(dict), None);
    }
}
