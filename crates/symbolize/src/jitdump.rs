//! Jitdumps: files in which a just-in-time compiler writes down every function it makes, moves and draws lines in.
//!
//! ```text
//! file:   magic version header_size machine padding pid (u32 each) timestamp flags (u64 each), then records
//! record: id size (u32 each) timestamp (u64), then size - 16 bytes
//! ```
//! All numbers are in the byte order of the writer, which the magic number shows.
//! <https://github.com/torvalds/linux/blob/v6.12/tools/perf/Documentation/jitdump-specification.txt>
//!
//! The records hold the code itself, which is skipped: only names and lines are kept.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::Arc;

use crate::code_map::{Code, CodeLine, CodeMap, LONGEST_NAME, readable_name};

const MAGIC: u32 = 0x4a69_5444;
const FILE_HEADER: usize = 40;
const RECORD_HEADER: usize = 16;
/// `EM_X86_64`.
const MACHINE: u32 = 62;

const CODE_LOAD: u32 = 0;
const CODE_MOVE: u32 = 1;
const CODE_DEBUG_INFO: u32 = 2;

/// What is looked at of a record: numbers and a name, or lines. A record with more lines has none.
const LARGEST_LOAD: usize = 40 + LONGEST_NAME;
const LARGEST_DEBUG_INFO: usize = 16 << 20;
/// Lines of all functions together; further functions have none.
const MOST_LINES: usize = 4_000_000;
/// Distinct source files; further lines are left out.
const MOST_FILES: usize = 100_000;

/// Why a jitdump is not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JitDumpError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is not a jitdump")]
    NotJitDump,
    #[error("it is a jitdump of version {0}, and only version 1 is known")]
    Version(u32),
    #[error("its code is for machine {0}, not for x86-64 (62)")]
    Machine(u32),
}

/// Numbers in the byte order of the file.
#[derive(Clone, Copy, Debug)]
struct Order {
    is_big: bool,
}

impl Order {
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self.is_big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self.is_big {
            true => u64::from_be_bytes(bytes),
            false => u64::from_le_bytes(bytes),
        })
    }
}

/// The functions of a jitdump at its end. A dump that is cut off, or is still being written, ends with its last whole
/// record.
pub(crate) fn decode_jitdump(mut dump: impl Read) -> Result<CodeMap, JitDumpError> {
    let mut header = [0; FILE_HEADER];
    read_whole(&mut dump, &mut header)?.ok_or(JitDumpError::NotJitDump)?;
    let order = decode_file_header(&header)?;
    let header_size = order.u32(&header, 8).unwrap_or(0) as usize;
    skip(&mut dump, header_size.saturating_sub(FILE_HEADER))?;
    let mut decoder = Decoder {
        order,
        functions: CodeMap::default(),
        lines: HashMap::new(),
        lines_in_all: 0,
        files: HashSet::new(),
    };
    let mut body = Vec::new();
    loop {
        let mut record = [0; RECORD_HEADER];
        let whole = read_whole(&mut dump, &mut record)?;
        let (Some(()), Some(kind), Some(size)) =
            (whole, order.u32(&record, 0), order.u32(&record, 4))
        else {
            break;
        };
        let Some(size) = (size as usize).checked_sub(RECORD_HEADER) else {
            break;
        };
        let wanted = match kind {
            CODE_LOAD | CODE_MOVE => size.min(LARGEST_LOAD),
            CODE_DEBUG_INFO if size <= LARGEST_DEBUG_INFO => size,
            _ => 0,
        };
        body.clear();
        (&mut dump).take(wanted as u64).read_to_end(&mut body)?;
        if body.len() < wanted || skip(&mut dump, size - wanted)? < size - wanted {
            break;
        }
        decoder.add(kind, &body);
    }
    Ok(decoder.functions)
}

fn decode_file_header(header: &[u8]) -> Result<Order, JitDumpError> {
    let orders = [Order { is_big: false }, Order { is_big: true }];
    let order = orders
        .into_iter()
        .find(|order| order.u32(header, 0) == Some(MAGIC))
        .ok_or(JitDumpError::NotJitDump)?;
    let field = |at| order.u32(header, at).ok_or(JitDumpError::NotJitDump);
    match (field(4)?, field(12)?) {
        (1, MACHINE) => Ok(order),
        (1, machine) => Err(JitDumpError::Machine(machine)),
        (version, _) => Err(JitDumpError::Version(version)),
    }
}

/// `None` at the end of the file.
fn read_whole(dump: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<()>> {
    match dump.read_exact(buffer) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// How much there was to skip.
fn skip(dump: &mut impl Read, length: usize) -> io::Result<usize> {
    let skipped = io::copy(&mut dump.take(length as u64), &mut io::sink())?;
    Ok(usize::try_from(skipped).unwrap_or(usize::MAX))
}

struct Decoder {
    order: Order,
    functions: CodeMap,
    /// Of functions that are still to come: lines stand before the code they belong to.
    lines: HashMap<u64, Box<[CodeLine]>>,
    lines_in_all: usize,
    files: HashSet<Arc<str>>,
}

impl Decoder {
    /// Takes in the body of one record; `None` if it is malformed.
    fn add(&mut self, kind: u32, body: &[u8]) -> Option<()> {
        match kind {
            CODE_LOAD => self.add_code(body),
            CODE_MOVE => self.move_code(body),
            CODE_DEBUG_INFO => self.add_lines(body),
            _ => None,
        }
    }

    /// `pid tid (u32) vma address size index (u64) name NUL code`.
    fn add_code(&mut self, body: &[u8]) -> Option<()> {
        let start = self.order.u64(body, 16)?;
        let size = self.order.u64(body, 24)?;
        let name = body.get(40..)?.split(|&byte| byte == 0).next()?;
        let lines = self.lines.remove(&start).unwrap_or_default();
        let code = Code {
            end: start.checked_add(size)?,
            name: readable_name(name).into(),
            lines,
        };
        self.functions.insert(start, code);
        Some(())
    }

    /// `pid tid (u32) vma old_address new_address size index (u64)`.
    fn move_code(&mut self, body: &[u8]) -> Option<()> {
        let old = self.order.u64(body, 16)?;
        let new = self.order.u64(body, 24)?;
        let size = self.order.u64(body, 32)?;
        let code = self.functions.take(old)?;
        let end = new.checked_add(size)?;
        self.functions.insert(new, Code { end, ..code });
        Some(())
    }

    /// `address count (u64)`, then for each line `address (u64) line discriminator (u32) file NUL`; the file `\xff` is
    /// that of the line before.
    fn add_lines(&mut self, body: &[u8]) -> Option<()> {
        const ENTRY: usize = 16;
        let start = self.order.u64(body, 0)?;
        let count = self.order.u64(body, 8)?;
        let mut rest = body.get(16..)?;
        let mut lines: Vec<CodeLine> = Vec::new();
        for _ in 0..count {
            let (Some(address), Some(line)) = (self.order.u64(rest, 0), self.order.u32(rest, 8))
            else {
                break;
            };
            let text = rest.get(ENTRY..)?;
            let length = text.iter().position(|&byte| byte == 0)?;
            let (file, behind) = text.split_at_checked(length)?;
            rest = behind.get(1..)?;
            let file = match (file, lines.last()) {
                (b"\xff", Some(before)) => Some(Arc::clone(&before.file)),
                _ => self.intern_file(file),
            };
            if let (Some(file), Some(offset)) = (file, address.checked_sub(start)) {
                lines.push(CodeLine { offset, line, file });
            }
            if self.lines_in_all + lines.len() >= MOST_LINES {
                break;
            }
        }
        self.lines_in_all += lines.len();
        lines.sort_by_key(|line| line.offset);
        match lines.is_empty() {
            true => self.lines.remove(&start),
            false => self.lines.insert(start, lines.into()),
        };
        Some(())
    }

    fn intern_file(&mut self, file: &[u8]) -> Option<Arc<str>> {
        let file = readable_name(file);
        if let Some(known) = self.files.get(file.as_str()) {
            return Some(Arc::clone(known));
        }
        let file: Arc<str> = file.into();
        (self.files.len() < MOST_FILES).then(|| {
            self.files.insert(Arc::clone(&file));
            file
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    struct Writer {
        bytes: Vec<u8>,
        is_big: bool,
    }

    impl Writer {
        fn u32(&mut self, value: u32) {
            let bytes = if self.is_big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            };
            self.bytes.extend(bytes);
        }

        fn u64(&mut self, value: u64) {
            let bytes = if self.is_big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            };
            self.bytes.extend(bytes);
        }

        fn record(&mut self, kind: u32, write: impl FnOnce(&mut Self)) {
            let mut body = Self {
                bytes: Vec::new(),
                is_big: self.is_big,
            };
            write(&mut body);
            self.u32(kind);
            self.u32(u32::try_from(body.bytes.len() + RECORD_HEADER).unwrap());
            self.u64(1);
            self.bytes.extend(body.bytes);
        }

        fn load(&mut self, start: u64, size: u64, name: &str) {
            self.record(CODE_LOAD, |body| {
                body.u64(0x0000_0007_0000_0007);
                for value in [start, start, size, 0] {
                    body.u64(value);
                }
                body.bytes.extend(name.as_bytes());
                body.bytes.push(0);
                body.bytes
                    .extend(vec![0x90; usize::try_from(size).unwrap()]);
            });
        }
    }

    /// Two functions, the first with lines, then moved; the second's memory is used again in part.
    pub(crate) fn example(is_big: bool) -> Vec<u8> {
        let mut dump = Writer {
            bytes: Vec::new(),
            is_big,
        };
        for value in [MAGIC, 1, FILE_HEADER as u32, MACHINE, 0, 7] {
            dump.u32(value);
        }
        dump.u64(1);
        dump.u64(0);
        dump.record(CODE_DEBUG_INFO, |body| {
            body.u64(0x1000);
            body.u64(3);
            for (address, line, file) in [
                (0x1000, 10, "kernel.py"),
                (0x1008, 12, "\u{0}"),
                (0x1010, 0, "other.py"),
            ] {
                body.u64(address);
                body.u32(line);
                body.u32(0);
                match file {
                    "\u{0}" => body.bytes.push(0xff),
                    file => body.bytes.extend(file.as_bytes()),
                }
                body.bytes.push(0);
            }
        });
        dump.load(0x1000, 0x20, "jitted");
        dump.record(99, |body| body.u64(0));
        dump.record(CODE_MOVE, |body| {
            body.u64(0x0000_0007_0000_0007);
            for value in [0x5000, 0x1000, 0x5000, 0x20, 0] {
                body.u64(value);
            }
        });
        dump.load(0x2000, 0x40, "freed");
        dump.load(0x2020, 0x40, "in its place");
        dump.bytes
    }

    #[test]
    fn functions_are_found_with_their_lines_where_they_were_moved_to_in_either_byte_order() {
        for is_big in [false, true] {
            let functions = decode_jitdump(&*example(is_big)).unwrap();
            let place = |address| {
                let found = functions.find(address)?;
                Some((found.name, found.file?, found.line))
            };
            let jitted = |file: &str, line| Some(("jitted".to_owned(), file.to_owned(), line));
            assert_eq!(place(0x5000), jitted("kernel.py", Some(10)));
            assert_eq!(place(0x500f), jitted("kernel.py", Some(12)));
            assert_eq!(place(0x5010), jitted("other.py", None));
            assert_eq!(functions.find(0x1000), None);
            assert_eq!(functions.find(0x2000), None);
            assert_eq!(functions.find(0x2020).unwrap().name, "in its place");
        }
    }

    #[test]
    fn a_dump_cut_off_anywhere_keeps_its_whole_records() {
        let whole = example(false);
        let mut before = 0;
        for length in FILE_HEADER..whole.len() {
            let found = decode_jitdump(&whole[..length]).unwrap().len();
            assert!(found >= before || found + 1 == before);
            before = found;
        }
        assert_eq!(decode_jitdump(&*whole).unwrap().len(), 2);
        assert!(matches!(
            decode_jitdump(&whole[..20]),
            Err(JitDumpError::NotJitDump)
        ));
    }

    #[test]
    fn what_is_no_jitdump_of_this_machine_is_refused() {
        let mut other = example(false);
        other[4] = 2;
        assert!(matches!(
            decode_jitdump(&*other),
            Err(JitDumpError::Version(2))
        ));
        other[4] = 1;
        other[12] = 183;
        assert!(matches!(
            decode_jitdump(&*other),
            Err(JitDumpError::Machine(183))
        ));
        assert!(matches!(
            decode_jitdump(&b"perf map, not a dump, of some forty bytes."[..]),
            Err(JitDumpError::NotJitDump)
        ));
    }

    #[test]
    fn thousands_of_mutated_dumps_are_read_as_far_as_they_make_sense() {
        let mut state = 7_u64;
        let mut random = |limit: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % limit
        };
        for round in 0..20_000 {
            let mut dump = example(round % 2 == 0);
            for _ in 0..=random(4) {
                let at = random(dump.len());
                dump[at] = [0, 1, 0x7f, 0x80, 0xff, 0xfe][random(6)];
            }
            if let Ok(functions) = decode_jitdump(&*dump) {
                assert!(functions.len() <= 4);
            }
        }
    }
}
