//! Libraries: the files that native code is in.

use crate::string_table::StringHandle;
use crate::table::{Row, Table, handle};

handle! {
    /// Names a library of a [`LibraryTable`].
    LibraryHandle
}

/// One executable, shared library or kernel module.
///
/// Rows are the same when all their fields are: two files of one name, in two containers, are two rows as long as their
/// paths or build IDs are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Library {
    /// The last part of its path: `libz.so.1.2.13`; a module's name: `nf_tables`.
    pub name: StringHandle,
    /// The whole path, as the process that had it mapped saw it; `None` when not known.
    pub path: Option<StringHandle>,
    /// The ELF build ID in lower-case hexadecimal digits; `None` when it has none or it is not known.
    pub build_id: Option<StringHandle>,
}

impl Library {
    /// A library of which only the name is known.
    #[must_use]
    pub const fn named(name: StringHandle) -> Self {
        Self {
            name,
            path: None,
            build_id: None,
        }
    }
}

impl Row for Library {
    type Handle = LibraryHandle;
    const TABLE: &'static str = "libraries";
}

/// Distinct libraries in order of arrival.
pub type LibraryTable = Table<Library>;
