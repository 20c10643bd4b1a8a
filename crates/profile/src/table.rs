//! A table of distinct rows, each named by a typed handle.

use std::fmt::Debug;
use std::hash::Hash;

use indexmap::IndexSet;

/// The number of a row in its table; the first row is 0.
///
/// A handle is valid only with the profile that gave it, for as long as that profile lives: rows are never taken away.
pub trait Handle: Copy + Debug + Eq + Ord + Hash {
    /// The handle of row `index`. No check that such a row exists: that is [`Table::find`]'s and `validate`'s work.
    fn from_index(index: u32) -> Self;

    /// The row's number.
    fn index(self) -> u32;
}

/// A kind of row: what a [`Table`] may hold.
pub trait Row: Clone + Debug + Eq + Hash {
    /// The handle that names rows of this kind.
    type Handle: Handle;

    /// The table's name in error texts, in the plural: `frames`.
    const TABLE: &'static str;
}

/// Distinct rows in order of arrival.
///
/// Rows are the same when they are equal; the hash only finds the bucket.
#[derive(Clone, Debug)]
pub struct Table<R: Row> {
    rows: IndexSet<R>,
}

impl<R: Row> Table<R> {
    /// The handle of the row equal to `row`, added at the end if there is none.
    pub fn intern(&mut self, row: R) -> R::Handle {
        let (index, _) = self.rows.insert_full(row);
        R::Handle::from_index(row_number(index))
    }

    /// Puts `row` in the place of the row of `handle`, of which more is known now; its handle from now on.
    ///
    /// That is the same handle, except where another row is equal to `row`, which is then the one, and where `handle` is of
    /// another profile: rows stay distinct.
    pub fn replace(&mut self, handle: R::Handle, row: R) -> R::Handle {
        if self.find(handle).is_none() {
            return self.intern(row);
        }
        match self.rows.replace_index(handle.index() as usize, row) {
            Ok(_old) => handle,
            Err((index, _row)) => R::Handle::from_index(row_number(index)),
        }
    }

    /// The row of `handle`; `None` for a handle of another profile or of a corrupt file.
    #[must_use]
    pub fn find(&self, handle: R::Handle) -> Option<&R> {
        self.rows.get_index(handle.index() as usize)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every row with its handle, in order of arrival.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (R::Handle, &R)> + '_ {
        self.rows
            .iter()
            .enumerate()
            .map(|(index, row)| (R::Handle::from_index(row_number(index)), row))
    }
}

impl<R: Row> Default for Table<R> {
    fn default() -> Self {
        Self {
            rows: IndexSet::new(),
        }
    }
}

/// Two tables are equal when they hold the same rows in the same order: the order is what handles mean.
impl<R: Row> PartialEq for Table<R> {
    fn eq(&self, other: &Self) -> bool {
        self.rows.as_slice() == other.rows.as_slice()
    }
}

impl<R: Row> Eq for Table<R> {}

/// The handle's number for a row's place.
pub(crate) fn row_number(index: usize) -> u32 {
    u32::try_from(index).expect("2^32 distinct rows with their buckets take more than 64 GiB")
}

/// Declares a handle type, the same for every table.
macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $crate::table::Handle for $name {
            fn from_index(index: u32) -> Self {
                Self(index)
            }

            fn index(self) -> u32 {
                self.0
            }
        }
    };
}

pub(crate) use handle;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library_table::Library;
    use crate::string_table::StringHandle;

    fn library(name: u32) -> Library {
        Library::named(StringHandle::from_index(name))
    }

    #[test]
    fn a_row_that_is_replaced_keeps_its_place_and_the_others_theirs() {
        let mut table = Table::default();
        let handles = [0, 1, 2].map(|name| table.intern(library(name)));
        assert_eq!(table.replace(handles[1], library(7)), handles[1]);
        assert_eq!(table.find(handles[1]), Some(&library(7)));
        assert_eq!(table.intern(library(7)), handles[1]);
        assert_eq!(table.intern(library(2)), handles[2]);
        // What stood there is a new row when it comes again.
        assert_eq!(table.intern(library(1)).index(), 3);
    }

    #[test]
    fn a_row_that_becomes_equal_to_another_one_is_that_one_from_now_on() {
        let mut table = Table::default();
        let handles = [0, 1].map(|name| table.intern(library(name)));
        assert_eq!(table.replace(handles[1], library(0)), handles[0]);
        assert_eq!(table.find(handles[1]), Some(&library(1)));
        assert_eq!(table.len(), 2);
    }
}
