//! The attributes of instances.

use super::{Entry, Objects};
use crate::object_layout::ManagedDict;

/// Bits of `tp_flags`, from 3.11 and 3.13 on.
/// <https://github.com/python/cpython/blob/v3.13.0/Include/object.h#L517>
const HAS_MANAGED_DICT: u32 = 4;
const HAS_INLINE_VALUES: u32 = 2;

impl<F: FnMut(u64, &mut [u8]) -> bool> Objects<'_, F> {
    /// Reads the attributes that the instance at `address` has of its own, other than those in slots.
    ///
    /// `None` also for instances that keep their dict after a part of variable size, as those of classes derived from
    /// `int` and `tuple` do up to 3.10.
    pub(crate) fn attributes(&mut self, address: u64) -> Option<Vec<Entry>> {
        let type_address = self.type_of(address)?;
        let objects = self.objects;
        if let Some(place) = &objects.managed_dict
            && self.type_has_flag(type_address, HAS_MANAGED_DICT)?
        {
            return self.managed(address, type_address, place);
        }
        let offset = self.word(type_address, self.objects.type_object.dict_offset)?;
        let offset = u16::try_from(offset).ok().filter(|&offset| offset != 0)?;
        let dict = self.pointer(address, offset)?;
        self.dict(dict)
    }

    /// <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_object.h#L260>
    /// <https://github.com/python/cpython/blob/v3.12.1/Include/internal/pycore_object.h#L358>
    /// <https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_object.h#L780>
    fn managed(
        &mut self,
        address: u64,
        type_address: u64,
        place: &ManagedDict,
    ) -> Option<Vec<Entry>> {
        let before = |offset: i16| address.checked_add_signed(i64::from(offset));
        let cached_keys = self.objects.heap_type.as_ref()?.cached_keys;
        let (dict, values) = match *place {
            ManagedDict::TwoPointers { dict, values } => {
                (self.word(before(dict)?, 0)?, self.word(before(values)?, 0)?)
            }
            ManagedDict::Tagged { dict_or_values } => {
                match self.word(before(dict_or_values)?, 0)? {
                    values if values & 1 == 1 => (0, values.checked_add(1)?),
                    dict => (dict, 0),
                }
            }
            ManagedDict::Inline { dict, valid } => {
                let dict = self.word(before(dict)?, 0)?;
                let values = match dict {
                    0 => self.inline_values(address, type_address, valid)?,
                    _ => 0,
                };
                (dict, values)
            }
        };
        match values {
            0 => self.dict(dict),
            values => {
                let keys = self.pointer(type_address, cached_keys)?;
                self.keys_with_values(keys, values)
            }
        }
    }

    fn inline_values(&mut self, address: u64, type_address: u64, valid: u16) -> Option<u64> {
        if !self.type_has_flag(type_address, HAS_INLINE_VALUES)? {
            return None;
        }
        let size = self.word(type_address, self.objects.type_object.basic_size)?;
        let values = address.checked_add(size)?;
        let [is_valid] = self.memory.read_bytes(values, valid)?;
        (is_valid != 0).then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Space, *};

    const SIZE: u64 = 48;

    /// A class with one key of which `instance` has the value.
    fn class_and_instance(space: &mut Space, flags: u64) -> (u64, u64, u64) {
        let class = space.type_object("Thread", flags);
        let key = space.ascii("_name");
        let keys = space.keys(&[(key, 0)], true);
        let cached_keys = space.objects.heap_type.as_ref().unwrap().cached_keys;
        space.put_word(class, cached_keys, keys);
        space.put_word(class, space.objects.type_object.basic_size, SIZE);
        let instance = space.object(class, 128);
        (class, instance, key)
    }

    fn expect(space: &Space, instance: u64, expected: Option<(u64, u64)>) {
        let expected = expected.map(|(key, value)| vec![Entry { key, value }]);
        assert_eq!(space.reader().attributes(instance), expected);
    }

    #[test]
    fn up_to_3_10_the_type_says_where_the_dict_is() {
        for hex in [0x0207_00f0, 0x0306_00f0, 0x030a_00f0] {
            let mut space = Space::new(hex, false);
            let class = space.type_object("Thread", 0);
            let instance = space.object(class, 64);
            expect(&space, instance, None);
            space.put_word(class, space.objects.type_object.dict_offset, 16);
            expect(&space, instance, None);
            let key = space.ascii("_name");
            let dict = space.dict_of(&[(key, 0x7000)], true);
            space.put_word(instance, 16, dict);
            expect(&space, instance, Some((key, 0x7000)));
            // Below 0: from the instance's end, which is not looked for.
            space.put_word(
                class,
                space.objects.type_object.dict_offset,
                (-8_i64).cast_unsigned(),
            );
            expect(&space, instance, None);
        }
    }

    #[test]
    fn in_3_11_values_or_a_dict_are_pointed_to() {
        let mut space = Space::new(0x030b_00f0, false);
        let (_, instance, key) = class_and_instance(&mut space, 1 << 4);
        expect(&space, instance, None);
        let values = space.allocate(16);
        space.put_word(values, 0, 0x7000);
        space.put_word(instance - 32, 0, values);
        expect(&space, instance, Some((key, 0x7000)));
        let dict = space.dict_of(&[(key, 0x8000)], true);
        space.put_word(instance - 32, 0, 0);
        space.put_word(instance - 24, 0, dict);
        expect(&space, instance, Some((key, 0x8000)));
    }

    #[test]
    fn in_3_12_the_tag_tells_values_from_a_dict() {
        let mut space = Space::new(0x030c_00f0, false);
        let (_, instance, key) = class_and_instance(&mut space, 1 << 4);
        expect(&space, instance, None);
        let values = space.allocate(16);
        space.put_word(values, 0, 0x7000);
        space.put_word(instance - 24, 0, values - 1);
        expect(&space, instance, Some((key, 0x7000)));
        let dict = space.dict_of(&[(key, 0x8000)], true);
        space.put_word(instance - 24, 0, dict);
        expect(&space, instance, Some((key, 0x8000)));
    }

    #[test]
    fn from_3_13_on_values_are_inside_the_instance_unless_there_is_a_dict() {
        for (free_threaded, before) in [(false, 24), (true, 8)] {
            let mut space = Space::new(0x030e_00f0, free_threaded);
            let (class, instance, key) = class_and_instance(&mut space, 1 << 4 | 1 << 2);
            space.put_word(instance + SIZE, 8, 0x7000);
            // The values are not valid.
            expect(&space, instance, None);
            space.put(instance + SIZE + 3, &[1]);
            expect(&space, instance, Some((key, 0x7000)));
            // The class has none.
            space.put_word(class, space.layout.type_object.flags, 1 << 4);
            expect(&space, instance, None);
            let dict = space.dict_of(&[(key, 0x8000)], true);
            space.put_word(instance - before, 0, dict);
            expect(&space, instance, Some((key, 0x8000)));
        }
    }
}
