use std::mem::{align_of, size_of};

use crate::{
    CaptureRecord, CodeIdentity, CodeKey, CodeRecord, Configuration, GilPlaces, Mapping, Process,
    ProcessRecord, Reason, RecordHeader, RecordKind, SampleRecord, StackRecord, TextHeader,
    ThreadRecord, UnwindRow, Word, limit,
};

/// A struct of integers without padding, for which any bytes are a value.
///
/// # Safety
/// Implement it only for `repr(C)` structs of integers and arrays of them, without padding.
pub unsafe trait PlainData: Copy {
    /// The value at the start of `bytes`, or `None` when they are too short.
    fn read_from(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..size_of::<Self>())?;
        // SAFETY: the slice has the size of `Self`, the read needs no alignment, and any bytes are a value of `Self`.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }

    /// The bytes of the value, as the kernel wants them.
    fn as_bytes(&self) -> &[u8] {
        const { assert!(align_of::<Self>() <= 8) };
        // SAFETY: `Self` has no padding, so all of its bytes are initialised, and they live as long as the reference.
        unsafe {
            std::slice::from_raw_parts(std::ptr::from_ref(self).cast::<u8>(), size_of::<Self>())
        }
    }
}

macro_rules! plain_data {
    ($($name:ty),*) => {
        $(
            // SAFETY: a `repr(C)` struct of integers; the test that compares it with C through BTF shows that its fields fill it.
            unsafe impl PlainData for $name {}
        )*
    };
}
plain_data!(
    CaptureRecord,
    CodeIdentity,
    CodeKey,
    CodeRecord,
    Configuration,
    GilPlaces,
    Mapping,
    Process,
    ProcessRecord,
    RecordHeader,
    SampleRecord,
    StackRecord,
    ThreadRecord,
    UnwindRow,
    u32,
    u64
);

/// A record as it came out of the ring.
#[derive(Debug)]
pub enum Record<'bytes> {
    /// A sample with a stack that was sent before.
    Sample(SampleRecord),
    /// A sample with its stack, in three sections, each leaf first.
    Stack {
        /// The sample.
        sample: SampleRecord,
        /// Kernel addresses.
        kernel: Vec<u64>,
        /// Words.
        native: Vec<u64>,
        /// Words.
        python: Vec<u64>,
    },
    /// The definition of a code object.
    Code {
        /// Its fixed part.
        code: Box<CodeRecord>,
        /// The captured start of its line table.
        line_table: &'bytes [u8],
    },
    /// A process came into being.
    Fork(ProcessRecord),
    /// A process became another program.
    Exec(ProcessRecord),
    /// A process ended.
    Exit(ProcessRecord),
    /// A process that was no target when it was sampled, and is one now.
    Adopted(ProcessRecord),
    /// Registers and stack of the last sample of its CPU.
    Capture {
        /// Its fixed part.
        capture: Box<CaptureRecord>,
        /// Bytes from `sp` upwards.
        stack: &'bytes [u8],
    },
    /// What a look at a thread found.
    Thread(Box<ThreadRecord>),
}

/// A string of a code object: how it is stored, and the bytes that were captured.
#[derive(Clone, Copy, Debug)]
pub struct CodeText<'record> {
    /// How it is stored.
    pub header: TextHeader,
    /// The captured bytes.
    pub bytes: &'record [u8],
}

impl CodeText<'_> {
    /// All of it was captured.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.header.kind != 0
            && self.bytes.len() as u64
                == u64::from(self.header.length) * u64::from(self.header.kind)
    }
}

impl CodeRecord {
    /// The qualified name.
    #[must_use]
    pub fn qualname(&self) -> CodeText<'_> {
        captured(self.qualname, &self.qualname_bytes)
    }

    /// The file name.
    #[must_use]
    pub fn filename(&self) -> CodeText<'_> {
        captured(self.filename, &self.filename_bytes)
    }
}

fn captured(header: TextHeader, bytes: &[u8]) -> CodeText<'_> {
    CodeText {
        header,
        bytes: bytes.get(..usize::from(header.captured)).unwrap_or(bytes),
    }
}

/// Takes one record of the ring apart; `None` when it is too short or of a kind that this version does not know.
#[must_use]
pub fn decode_record(bytes: &[u8]) -> Option<Record<'_>> {
    let header = RecordHeader::read_from(bytes)?;
    let bytes = bytes.get(..header.size as usize)?;
    Some(match RecordKind::from_number(header.kind)? {
        RecordKind::Sample => Record::Sample(SampleRecord::read_from(bytes)?),
        RecordKind::Stack => decode_stack(bytes)?,
        RecordKind::Code => {
            let code = CodeRecord::read_from(bytes)?;
            let start = size_of::<CodeRecord>();
            let line_table =
                bytes.get(start..start.checked_add(code.line_table_captured as usize)?)?;
            Record::Code {
                code: Box::new(code),
                line_table,
            }
        }
        RecordKind::Fork => Record::Fork(ProcessRecord::read_from(bytes)?),
        RecordKind::Exec => Record::Exec(ProcessRecord::read_from(bytes)?),
        RecordKind::Exit => Record::Exit(ProcessRecord::read_from(bytes)?),
        RecordKind::Adopted => Record::Adopted(ProcessRecord::read_from(bytes)?),
        RecordKind::Thread => Record::Thread(Box::new(ThreadRecord::read_from(bytes)?)),
        RecordKind::Capture => {
            let capture = CaptureRecord::read_from(bytes)?;
            let start = size_of::<CaptureRecord>();
            let stack = bytes.get(start..start.checked_add(capture.captured as usize)?)?;
            Record::Capture {
                capture: Box::new(capture),
                stack,
            }
        }
    })
}

fn decode_stack(bytes: &[u8]) -> Option<Record<'_>> {
    let record = StackRecord::read_from(bytes)?;
    let mut words = bytes
        .get(size_of::<StackRecord>()..)?
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let mut section = |count: u16| -> Option<Vec<u64>> {
        let section: Vec<u64> = words.by_ref().take(count.into()).collect();
        (section.len() == usize::from(count)).then_some(section)
    };
    Some(Record::Stack {
        sample: record.sample,
        kernel: section(record.kernel_count)?,
        native: unroll_section(
            section(record.native_count)?,
            limit::LEAFMOST_NATIVE,
            record.native_skipped,
            Reason::NativeTooDeep,
        )?,
        python: unroll_section(
            section(record.python_count)?,
            limit::LEAFMOST_PYTHON,
            record.python_skipped,
            Reason::PythonTooDeep,
        )?,
    })
}

/// Puts the last words of a section that was too deep in order, behind a reason that stands for those left out: of the
/// `leafmost` first words and the ring that follows, before which `skipped` words were left out. `None` when the section is
/// too short for that.
#[must_use]
pub fn unroll_section(
    mut words: Vec<u64>,
    leafmost: usize,
    skipped: u16,
    reason: Reason,
) -> Option<Vec<u64>> {
    if skipped > 0 {
        let ring = words.get_mut(leafmost..leafmost + limit::ROOTMOST)?;
        ring.rotate_left(usize::from(skipped) % limit::ROOTMOST);
        words.insert(leafmost, Word::Reason(Ok(reason)).encode());
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack_record(kernel: u16, native: u16, python: u16, words: &[u64]) -> Vec<u8> {
        let size = size_of::<StackRecord>() + words.len() * 8;
        let header = RecordHeader {
            kind: RecordKind::Stack as u32,
            size: size as u32,
        };
        let sample = SampleRecord {
            header,
            tid: 7,
            ..SampleRecord::default()
        };
        let record = StackRecord {
            sample,
            kernel_count: kernel,
            native_count: native,
            python_count: python,
            native_skipped: 0,
            python_skipped: 0,
            reserved: [0; 3],
        };
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    #[test]
    fn sections_follow_each_other() {
        let bytes = stack_record(1, 2, 1, &[10, 20, 21, 30]);
        let Some(Record::Stack {
            sample,
            kernel,
            native,
            python,
        }) = decode_record(&bytes)
        else {
            panic!("no stack")
        };
        assert_eq!(
            (sample.tid, kernel, native, python),
            (7, vec![10], vec![20, 21], vec![30])
        );
    }

    #[test]
    fn what_was_left_out_of_a_deep_section_is_marked_and_the_rest_is_in_order() {
        let kept = limit::LEAFMOST_NATIVE + limit::ROOTMOST;
        // 700 frames too many, written as the kernel does: the last ones over and over into the ring.
        let mut words = vec![0; kept];
        for frame in 0..kept + 700 {
            let place = match frame.checked_sub(limit::LEAFMOST_NATIVE) {
                Some(behind) => limit::LEAFMOST_NATIVE + behind % limit::ROOTMOST,
                None => frame,
            };
            words[place] = frame as u64;
        }
        let words =
            unroll_section(words, limit::LEAFMOST_NATIVE, 700, Reason::NativeTooDeep).unwrap();
        let leafmost = 0..limit::LEAFMOST_NATIVE as u64;
        let rootmost = (limit::LEAFMOST_NATIVE + 700) as u64..(kept + 700) as u64;
        let expected: Vec<u64> = leafmost.chain([5 << 60 | 1008]).chain(rootmost).collect();
        assert_eq!(words, expected);
        assert_eq!(
            unroll_section(vec![1], limit::LEAFMOST_NATIVE, 1, Reason::NativeTooDeep),
            None
        );
    }

    #[test]
    fn every_truncation_and_every_wrong_count_is_refused() {
        let bytes = stack_record(1, 2, 1, &[10, 20, 21, 30]);
        for length in 0..bytes.len() {
            assert!(decode_record(&bytes[..length]).is_none(), "{length}");
        }
        assert!(decode_record(&stack_record(1, 2, 2, &[10, 20, 21, 30])).is_none());
    }
}
