//! A code object, read from the live process: for what the kernel could not copy whole.

use crate::{Layout, memory, memory::Memory, text};

/// Longest string read, in bytes; longer ones are cut. Linux paths have at most 4,096.
const TEXT_LIMIT: u64 = 16 * 1024;

/// Longest line table read, in bytes; longer ones are cut, and the code after the cut has no lines.
/// The standard library's longest has 30 KiB.
const LINE_TABLE_LIMIT: u64 = 4 * 1024 * 1024;

/// What a code object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeObject {
    /// `co_qualname`, such as `Decoder.decode` or `f.<locals>.<lambda>`; up to 3.10 `co_name`.
    pub qualname: String,
    /// `co_filename`, such as `/usr/lib/python3.11/json/decoder.py` or `<string>`.
    pub filename: String,
    /// `co_firstlineno`; 0 in code that CPython made up itself.
    pub first_line: i32,
    /// `co_linetable` or `co_lnotab`, for [`line_table`](crate::line_table).
    pub line_table: Vec<u8>,
}

impl CodeObject {
    /// Whether this is the shim that a specialised call of a class pushes between caller and `__init__` from 3.13
    /// on ([`_Py_InitCleanup`]). It comes from no source and is not to be shown.
    ///
    /// [`_Py_InitCleanup`]: https://github.com/python/cpython/blob/v3.13.0/Python/specialize.c
    #[must_use]
    pub fn is_shim(&self) -> bool {
        self.first_line == 0 && self.filename == self.qualname
    }
}

/// Why a code object could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The memory is not to be read (any more).
    #[error("no readable memory at {address:#x}, where {what} should be")]
    Unreadable {
        /// What was to be read.
        what: &'static str,
        /// Where (AVMA).
        address: u64,
    },
    /// A value that no code object has: the memory holds something else by now.
    #[error("{what} has the impossible value {value:#x}; the code object was freed meanwhile")]
    Implausible {
        /// Which value.
        what: &'static str,
        /// The value.
        value: u64,
    },
}

/// Reads the code object at `address` (AVMA). Lengths are bounded: strings to 16 KiB, the line table to 4 MiB.
///
/// Whether it is a code object at all is for the caller to know; [`has_type`] tells.
///
/// # Errors
///
/// [`ReadError`] if any part cannot be read or cannot be right.
pub fn read(
    layout: &Layout,
    address: u64,
    read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> Result<CodeObject, ReadError> {
    let mut memory = Memory(read_memory);
    let code = &layout.code;
    let first_line = memory
        .read_bytes(address, code.first_line)
        .map(i32::from_le_bytes);
    let member = |memory: &mut Memory<_>, offset, what| {
        let pointer = memory
            .read_word(address, offset)
            .ok_or(ReadError::Unreadable { what, address })?;
        match memory::is_plausible_pointer(pointer) {
            true => Ok(pointer),
            false => Err(ReadError::Implausible {
                what,
                value: pointer,
            }),
        }
    };
    let qualname = member(
        &mut memory,
        code.qualname.unwrap_or(code.name),
        "co_qualname",
    )?;
    let filename = member(&mut memory, code.filename, "co_filename")?;
    let line_table = member(&mut memory, code.line_table, "co_linetable")?;
    Ok(CodeObject {
        qualname: read_text(layout, qualname, "co_qualname", &mut memory)?,
        filename: read_text(layout, filename, "co_filename", &mut memory)?,
        first_line: first_line.ok_or(ReadError::Unreadable {
            what: "co_firstlineno",
            address,
        })?,
        line_table: read_bytes(
            layout,
            line_table,
            "co_linetable",
            LINE_TABLE_LIMIT,
            &mut memory,
        )?,
    })
}

/// Whether the object at `address` (AVMA) is of the type at `code_type` (AVMA of `PyCode_Type`).
pub fn has_type(
    layout: &Layout,
    address: u64,
    code_type: u64,
    read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> bool {
    Memory(read_memory).read_word(address, layout.code.ob_type) == Some(code_type)
}

pub(crate) fn read_text<F: FnMut(u64, &mut [u8]) -> bool>(
    layout: &Layout,
    address: u64,
    what: &'static str,
    memory: &mut Memory<F>,
) -> Result<String, ReadError> {
    let Some(unicode) = &layout.unicode else {
        let bytes = read_bytes(layout, address, what, TEXT_LIMIT, memory)?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    };
    let unreadable = ReadError::Unreadable { what, address };
    let length = memory
        .read_word(address, unicode.length)
        .ok_or(unreadable)?;
    let state = memory
        .read_bytes(address, unicode.state)
        .map(u32::from_le_bytes)
        .ok_or(unreadable)?;
    let bit = |number: u8| state.checked_shr(u32::from(number)).unwrap_or(0) & 1 == 1;
    let shifted = state
        .checked_shr(u32::from(unicode.kind_shift))
        .unwrap_or(0);
    let kind = shifted.to_le_bytes()[0] & unicode.kind_mask;
    let ascii = bit(unicode.ascii_bit);
    if !bit(unicode.compact_bit) || !matches!((kind, ascii), (1, _) | (2 | 4, false)) {
        return Err(ReadError::Implausible {
            what,
            value: u64::from(state),
        });
    }
    let size = length
        .checked_mul(u64::from(kind))
        .filter(|&size| i64::try_from(size).is_ok())
        .ok_or(ReadError::Implausible {
            what,
            value: length,
        })?;
    let data = match ascii {
        true => unicode.ascii_data,
        false => unicode.compact_data,
    };
    let bytes = memory
        .read_vec(address, data, bounded(size, TEXT_LIMIT))
        .ok_or(unreadable)?;
    Ok(text::decode(kind, ascii, &bytes))
}

fn read_bytes<F: FnMut(u64, &mut [u8]) -> bool>(
    layout: &Layout,
    address: u64,
    what: &'static str,
    limit: u64,
    memory: &mut Memory<F>,
) -> Result<Vec<u8>, ReadError> {
    let unreadable = ReadError::Unreadable { what, address };
    let size = memory
        .read_word(address, layout.bytes.size)
        .ok_or(unreadable)?;
    if i64::try_from(size).is_err() {
        return Err(ReadError::Implausible { what, value: size });
    }
    memory
        .read_vec(address, layout.bytes.data, bounded(size, limit))
        .ok_or(unreadable)
}

fn bounded(size: u64, limit: u64) -> usize {
    usize::try_from(size.min(limit)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Version, find_layout};

    const CODE: u64 = 0x10000;
    const QUALNAME: u64 = 0x11000;
    const FILENAME: u64 = 0x12000;
    const LINE_TABLE: u64 = 0x13000;
    const END: u64 = 0x14000;

    /// Four pages from [`CODE`] to [`END`], each with one object in the layout of 3.12.
    struct Target(Vec<u8>, Layout);

    impl Target {
        fn new() -> Self {
            let layout = find_layout(Version { hex: 0x030c_01f0 }, false).unwrap();
            let mut target = Self(vec![0; usize::try_from(END - CODE).unwrap()], layout);
            target.put(CODE + 68, &7_i32.to_le_bytes());
            target.put(CODE + 128, &QUALNAME.to_le_bytes());
            target.put(CODE + 112, &FILENAME.to_le_bytes());
            target.put(CODE + 136, &LINE_TABLE.to_le_bytes());
            target.put_text(QUALNAME, 1, true, 1, b"C.f");
            target.put_text(FILENAME, 2, false, 2, &[0xac, 0x20, 0x41, 0]);
            target.put(LINE_TABLE + 16, &3_u64.to_le_bytes());
            target.put(LINE_TABLE + 32, &[0x80, 1, 2]);
            target
        }

        fn put(&mut self, address: u64, bytes: &[u8]) {
            let start = usize::try_from(address - CODE).unwrap();
            self.0[start..start + bytes.len()].copy_from_slice(bytes);
        }

        fn put_text(&mut self, address: u64, kind: u32, ascii: bool, width: usize, data: &[u8]) {
            let length = data.len() / width;
            self.put(address + 16, &u64::try_from(length).unwrap().to_le_bytes());
            let state = kind << 2 | 1 << 5 | u32::from(ascii) << 6;
            self.put(address + 32, &state.to_le_bytes());
            self.put(address + if ascii { 40 } else { 56 }, data);
        }

        fn read(&self) -> Result<CodeObject, ReadError> {
            read(&self.1, CODE, |address, bytes| {
                let found = address
                    .checked_sub(CODE)
                    .and_then(|start| self.0.get(usize::try_from(start).ok()?..))
                    .and_then(|rest| rest.get(..bytes.len()));
                found.is_some_and(|found| {
                    bytes.copy_from_slice(found);
                    true
                })
            })
        }
    }

    #[test]
    fn every_member_is_read() {
        let expected = CodeObject {
            qualname: "C.f".to_owned(),
            filename: "€A".to_owned(),
            first_line: 7,
            line_table: vec![0x80, 1, 2],
        };
        assert_eq!(Target::new().read(), Ok(expected));
    }

    #[test]
    fn lengths_are_bounded_and_negative_ones_refused() {
        let mut target = Target::new();
        target.put(QUALNAME + 16, &(u64::MAX >> 2).to_le_bytes());
        // 16 KiB from there on is more than the memory there is: unreadable, not out of memory.
        assert!(matches!(
            target.read(),
            Err(ReadError::Unreadable {
                what: "co_qualname",
                ..
            })
        ));
        target.put(QUALNAME + 16, &(-1_i64).to_le_bytes());
        assert!(matches!(
            target.read(),
            Err(ReadError::Implausible {
                what: "co_qualname",
                ..
            })
        ));
        let mut target = Target::new();
        target.put(LINE_TABLE + 16, &(-1_i64).to_le_bytes());
        assert!(matches!(
            target.read(),
            Err(ReadError::Implausible {
                what: "co_linetable",
                ..
            })
        ));
    }

    #[test]
    fn what_is_no_compact_string_is_refused() {
        for state in [0_u32, 1 << 2, 3 << 2 | 1 << 5, 2 << 2 | 1 << 5 | 1 << 6] {
            let mut target = Target::new();
            target.put(FILENAME + 32, &state.to_le_bytes());
            assert!(
                matches!(target.read(), Err(ReadError::Implausible { .. })),
                "{state:#x}"
            );
        }
    }

    #[test]
    fn pointers_out_of_user_space_are_refused_and_unmapped_ones_unreadable() {
        for pointer in [0, 8, u64::MAX, 1 << 47, QUALNAME + 1] {
            let mut target = Target::new();
            target.put(CODE + 128, &pointer.to_le_bytes());
            assert!(matches!(target.read(), Err(ReadError::Implausible { .. })));
        }
        let mut target = Target::new();
        target.put(CODE + 128, &END.to_le_bytes());
        assert!(matches!(target.read(), Err(ReadError::Unreadable { .. })));
    }

    #[test]
    fn the_constructor_shim_is_told_apart_from_code_of_a_file() {
        let mut shim = Target::new().read().unwrap();
        assert!(!shim.is_shim());
        shim.first_line = 0;
        shim.filename = "__init__".to_owned();
        shim.qualname = "__init__".to_owned();
        assert!(shim.is_shim());
    }
}
