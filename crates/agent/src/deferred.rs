//! Samples that the kernel could not walk to the end, because a mapping was new: user space walks on, from the registers
//! and the stack as they were, once it has read the mappings. So the first sample after an exec or a `dlopen` is kept.

use std::{cell::Cell, rc::Rc};

use viperf_abi::{CaptureRecord, Mapping, Reason, SAMPLE_PYTHON, SampleRecord, Word, limit};
use viperf_sample::RowSearch;
use viperf_unwind::{NativeFrame, Registers, Rule, WalkEnd, walk};

use crate::{captures::StackCopy, stacks::Sections};

/// A sample that waits for its mappings.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) sample: SampleRecord,
    pub(crate) sections: Sections,
    pub(crate) registers: Registers,
    pub(crate) stack: StackCopy,
    /// What it waits for.
    pub(crate) awaits: Option<Awaited>,
}

/// Of all samples that waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deferrals {
    pub(crate) samples: u64,
    /// From the sample to its end.
    pub(crate) longest_ns: u64,
}

impl Deferrals {
    /// A sample of that time has been walked to its end.
    pub(crate) fn note(&mut self, sample_ns: u64, now_ns: u64) {
        self.samples += 1;
        self.longest_ns = self.longest_ns.max(now_ns.saturating_sub(sample_ns));
    }
}

/// Rows that a sample waits for. Its process may be gone before they come.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// The executable whose rows they are.
    pub(crate) executable: u32,
    pub(crate) mappings: Rc<[Mapping]>,
    pub(crate) python: Option<u32>,
}

/// The registers of a capture.
pub(crate) fn registers(capture: &CaptureRecord) -> Registers {
    Registers {
        ip: capture.ip,
        sp: capture.sp,
        bp: capture.bp,
        general: Some(capture.registers),
    }
}

/// How far a walk came.
pub(crate) struct Finished {
    /// As the kernel would have sent them.
    pub(crate) sections: Sections,
    /// To its root.
    pub(crate) is_whole: bool,
    /// It ended at an address outside of all mappings.
    pub(crate) lacks_mapping: bool,
    /// It ended in this executable, whose rows are not here.
    pub(crate) awaits: Option<u32>,
    /// Or whose rows are, but none for the place.
    pub(crate) lacks_row: Option<u32>,
}

/// Walks again, with the mappings as they are known now and `find_rule`, which is given a mapping and a pc (SVMA) in it.
/// `python` is the executable that holds the interpreter, of which the kernel may not have known, and `is_without_eval` says
/// whether no frame of a native stack is a call of its evaluation loop.
pub(crate) fn finish(
    deferred: &Deferred,
    mappings: &[Mapping],
    python: Option<u32>,
    find_rule: impl Fn(&Mapping, u32) -> RowSearch,
    is_without_eval: impl Fn(u32, &[u64]) -> bool,
) -> Finished {
    let awaits = Cell::new(None);
    let find = |address: u64| {
        let mapping = find_mapping(mappings, address)?;
        let pc = u32::try_from(address.wrapping_sub(mapping.load_bias)).ok()?;
        match find_rule(mapping, pc) {
            RowSearch::Rule(rule) => Some(Rule(rule)),
            RowSearch::Nothing => None,
            RowSearch::Awaited => {
                awaits.set(Some(mapping.executable));
                None
            }
        }
    };
    let read = |address: u64| deferred.stack.read(address);
    let (frames, end) = walk(deferred.registers, find, read, limit::MAX_NATIVE_FRAMES);
    let mut native: Vec<u64> = frames
        .iter()
        .map(|frame| native_word(mappings, frame).encode())
        .collect();
    native.extend(reason(end, mappings).map(|reason| Word::Reason(Ok(reason)).encode()));
    let mut words = find_owners(&deferred.sections.python, &frames, deferred.registers.sp);
    // Where the kernel did not know the interpreter and that was running, its frames are missing; while it starts, before it
    // runs any Python, there are none.
    let was_known = deferred.sample.flags & SAMPLE_PYTHON != 0;
    let in_python = |word: &u64| matches!(Word::decode(*word), Word::Native { executable, .. } if Some(executable) == python);
    let has_none = |python| end == WalkEnd::Root && is_without_eval(python, &native);
    if !was_known && native.iter().any(in_python) && !python.is_some_and(has_none) {
        words.push(Word::Reason(Ok(Reason::ProcessNotRead)).encode());
    }
    Finished {
        sections: Sections {
            kernel: deferred.sections.kernel.clone(),
            native,
            python: words,
        },
        is_whole: end == WalkEnd::Root,
        lacks_mapping: reason(end, mappings) == Some(Reason::NativeNoMapping),
        awaits: awaits.get(),
        lacks_row: match end {
            WalkEnd::NoUnwindInformation { address } => {
                find_mapping(mappings, address).map(|mapping| mapping.executable)
            }
            _ => None,
        },
    }
}

fn find_mapping(mappings: &[Mapping], address: u64) -> Option<&Mapping> {
    let index = mappings
        .partition_point(|mapping| mapping.start <= address)
        .checked_sub(1)?;
    mappings.get(index).filter(|mapping| address < mapping.end)
}

fn native_word(mappings: &[Mapping], frame: &NativeFrame) -> Word {
    let address = frame.lookup_address();
    match find_mapping(mappings, address) {
        Some(mapping) if mapping.row_table != 0 && mapping.executable != 0 => Word::Native {
            executable: mapping.executable,
            svma: address.wrapping_sub(mapping.load_bias),
        },
        _ => Word::Address(address),
    }
}

fn reason(end: WalkEnd, mappings: &[Mapping]) -> Option<Reason> {
    Some(match end {
        WalkEnd::Root => return None,
        WalkEnd::NoMapping { address } if find_mapping(mappings, address).is_some() => {
            Reason::NativeNoTable
        }
        WalkEnd::NoMapping { .. } => Reason::NativeNoMapping,
        WalkEnd::NoUnwindInformation { .. } => Reason::NativeNoRow,
        WalkEnd::UnsupportedRule { .. } => Reason::NativeUnsupportedRule,
        WalkEnd::UnreadableMemory { .. } => Reason::NativeUnreadable,
        WalkEnd::StackNotAscending => Reason::NativeNotAscending,
        WalkEnd::RegisterLost => Reason::NativeRegisterLost,
        WalkEnd::TooManyFrames => Reason::NativeTooDeep,
    })
}

/// Replaces the addresses of entries by the frames that own them: the first whose CFA lies above, for an entry that is not
/// below the stack pointer. The entries of each thread state ascend, those of several do not.
fn find_owners(python: &[u64], frames: &[NativeFrame], sp: u64) -> Vec<u64> {
    let owner = |entry: u64| {
        let owner = frames.iter().position(|frame| frame.cfa > entry)?;
        let frame = frames.get(owner)?;
        (entry >= sp && frame.cfa != u64::MAX).then_some(owner as u16)
    };
    let words = python.iter().map(|word| match Word::decode(*word) {
        Word::EntryAddress(entry) => Word::Entry {
            owner: owner(entry),
        }
        .encode(),
        _ => *word,
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use viperf_unwind::Step;

    use super::*;

    fn frame(cfa: u64) -> NativeFrame {
        NativeFrame {
            address: 0,
            cfa,
            is_return_address: true,
        }
    }

    #[test]
    fn owners_are_the_first_frames_whose_cfa_lies_above() {
        let frames = [100, 200, 300, 400, u64::MAX].map(frame);
        let words = [
            Word::EntryAddress(150),
            Word::EntryAddress(350),
            Word::EntryAddress(500),
            // Of another thread state; and one below the stack pointer.
            Word::EntryAddress(120),
            Word::EntryAddress(90),
        ]
        .map(Word::encode);
        let found: Vec<Word> = find_owners(&words, &frames, 100)
            .into_iter()
            .map(Word::decode)
            .collect();
        assert_eq!(
            found,
            [Some(1), Some(3), None, Some(1), None].map(|owner| Word::Entry { owner })
        );
    }

    /// One frame at `ip`, in the interpreter, which is executable 3, and which the kernel did not know; the root, as its rule says.
    fn finish_in_interpreter(ip: u64, is_without_eval: bool) -> Finished {
        let deferred = Deferred {
            sample: SampleRecord::default(),
            sections: Sections {
                kernel: Vec::new(),
                native: Vec::new(),
                python: Vec::new(),
            },
            registers: Registers {
                ip,
                sp: 8,
                bp: 0,
                general: None,
            },
            stack: StackCopy::default(),
            awaits: None,
        };
        let interpreter = Mapping {
            start: 0x1000,
            end: 0x2000,
            row_table: 1,
            executable: 3,
            ..Mapping::default()
        };
        let root = |_: &Mapping, _| RowSearch::Rule(Rule::encode(Step::Root).0);
        let without_eval = |python: u32, native: &[u64]| {
            assert_eq!((python, native.len()), (3, 1));
            is_without_eval
        };
        finish(&deferred, &[interpreter], Some(3), root, without_eval)
    }

    #[test]
    fn python_frames_are_missing_unless_the_whole_stack_is_without_eval() {
        let not_read = Word::Reason(Ok(Reason::ProcessNotRead)).encode();
        let running = finish_in_interpreter(0x1100, false);
        assert!(running.is_whole && !running.lacks_mapping);
        assert_eq!(running.sections.python, [not_read]);
        let starting = finish_in_interpreter(0x1100, true);
        assert!(starting.is_whole && starting.sections.python.is_empty());
        // Outside of all that is mapped.
        assert!(finish_in_interpreter(0x3000, true).lacks_mapping);
    }

    #[test]
    fn the_longest_wait_is_kept() {
        let mut deferrals = Deferrals::default();
        for (sample, now) in [(100, 150), (110, 190), (200, 199)] {
            deferrals.note(sample, now);
        }
        assert_eq!((deferrals.samples, deferrals.longest_ns), (3, 80));
    }

    #[test]
    fn mappings_are_found_by_their_range() {
        let mappings = [(10, 20), (30, 40)].map(|(start, end)| Mapping {
            start,
            end,
            ..Mapping::default()
        });
        let found = [9, 10, 19, 20, 30, 39, 40]
            .map(|address| find_mapping(&mappings, address).map(|found| found.start));
        assert_eq!(
            found,
            [None, Some(10), Some(10), None, Some(30), Some(30), None]
        );
    }
}
