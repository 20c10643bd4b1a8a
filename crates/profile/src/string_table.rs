//! Every string of a profile, once.

use indexmap::IndexSet;

use crate::table::{Handle as _, handle, row_number};

handle! {
    /// Names a string of a [`StringTable`].
    StringHandle
}

/// Distinct strings in order of arrival: names, files, libraries, command lines.
///
/// What is not UTF-8 in the target (a comm, a file name) is made so by whoever read it.
/// Strings are kept as they were seen: control characters, `;` and markup included.
/// Escaping belongs to the format that is written.
#[derive(Clone, Debug, Default)]
pub struct StringTable {
    rows: IndexSet<Box<str>>,
}

impl StringTable {
    /// The handle of `text`, added at the end if it is new.
    pub fn intern(&mut self, text: &str) -> StringHandle {
        if let Some(index) = self.rows.get_index_of(text) {
            return StringHandle::from_index(row_number(index));
        }
        let (index, _) = self.rows.insert_full(Box::from(text));
        StringHandle::from_index(row_number(index))
    }

    /// The text of `handle`; `None` for a handle of another profile or of a corrupt file.
    #[must_use]
    pub fn find(&self, handle: StringHandle) -> Option<&str> {
        self.rows
            .get_index(handle.index() as usize)
            .map(AsRef::as_ref)
    }

    /// How many strings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no strings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every string with its handle, in order of arrival.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (StringHandle, &str)> + '_ {
        self.rows
            .iter()
            .enumerate()
            .map(|(index, text)| (StringHandle::from_index(row_number(index)), text.as_ref()))
    }
}

impl PartialEq for StringTable {
    fn eq(&self, other: &Self) -> bool {
        self.rows.as_slice() == other.rows.as_slice()
    }
}

impl Eq for StringTable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_have_one_handle_and_order_of_arrival_is_kept() {
        let mut strings = StringTable::default();
        let first = strings.intern("a");
        let second = strings.intern("b");
        assert_eq!(strings.intern("a"), first);
        assert_eq!(
            strings.iter().collect::<Vec<_>>(),
            [(first, "a"), (second, "b")]
        );
    }

    #[test]
    fn a_foreign_handle_finds_nothing() {
        assert_eq!(
            StringTable::default().find(StringHandle::from_index(7)),
            None
        );
    }

    #[test]
    fn tables_with_the_same_strings_in_another_order_differ() {
        let mut left = StringTable::default();
        left.intern("a");
        left.intern("b");
        let mut right = StringTable::default();
        right.intern("b");
        right.intern("a");
        assert_ne!(left, right);
    }
}
