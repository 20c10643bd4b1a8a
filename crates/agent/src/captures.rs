//! Captures: the top of a sample's stack, as the kernel copied it. A deep one comes in several records.

use std::collections::HashMap;

use viperf_abi::CaptureRecord;

/// What there is of a stack: pieces that do not touch, lowest first.
#[derive(Debug, Default)]
pub(crate) struct StackCopy {
    pieces: Vec<(u64, Vec<u8>)>,
}

impl StackCopy {
    fn of(mut parts: Vec<(u64, Vec<u8>)>) -> Self {
        parts.sort_by_key(|(start, _)| *start);
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::with_capacity(1);
        for (start, bytes) in parts {
            match pieces.last_mut() {
                // A word can lie across the border.
                Some((first, before)) if first.checked_add(before.len() as u64) == Some(start) => {
                    before.extend_from_slice(&bytes);
                }
                _ => pieces.push((start, bytes)),
            }
        }
        Self { pieces }
    }

    /// Bytes that it takes.
    pub(crate) fn size(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The word at an address of the process.
    pub(crate) fn read(&self, address: u64) -> Option<u64> {
        let above = self.pieces.partition_point(|(start, _)| *start <= address);
        let (start, bytes) = self.pieces.get(above.checked_sub(1)?)?;
        let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
        Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
    }
}

/// The parts of captures that are not whole yet, by CPU.
#[derive(Debug, Default)]
pub(crate) struct Captures {
    parts: HashMap<u32, Vec<(u64, Vec<u8>)>>,
}

impl Captures {
    /// A new sample of a CPU: what there is of the one before has lost its last record.
    pub(crate) fn begin(&mut self, cpu: u32) {
        self.parts.remove(&cpu);
    }

    /// Takes a record; the last one of a capture gives the stack.
    pub(crate) fn take(&mut self, capture: &CaptureRecord, stack: &[u8]) -> Option<StackCopy> {
        let beginning = capture.sp.saturating_sub(capture.below.into());
        let part = (
            beginning.saturating_add(capture.offset.into()),
            stack.to_vec(),
        );
        if capture.offset > 0 {
            self.parts.entry(capture.cpu).or_default().push(part);
            return None;
        }
        let mut parts = self.parts.remove(&capture.cpu).unwrap_or_default();
        parts.push(part);
        Some(StackCopy::of(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGINNING: u64 = 0x7000_0f88;

    /// Every eight bytes of the stack hold their own address.
    fn record(cpu: u32, offset: u32, bytes: u32) -> (CaptureRecord, Vec<u8>) {
        let capture = CaptureRecord {
            cpu,
            sp: BEGINNING + 128,
            below: 128,
            offset,
            captured: bytes,
            ..CaptureRecord::default()
        };
        let first = BEGINNING + u64::from(offset);
        let words = (first..first + u64::from(bytes)).step_by(8);
        (capture, words.flat_map(u64::to_le_bytes).collect())
    }

    fn take(captures: &mut Captures, cpu: u32, offset: u32, bytes: u32) -> Option<StackCopy> {
        let (capture, stack) = record(cpu, offset, bytes);
        captures.take(&capture, &stack)
    }

    #[test]
    fn parts_become_one_stack_with_the_record_of_its_top() {
        let mut captures = Captures::default();
        assert!(take(&mut captures, 0, 120, 4096).is_none());
        assert!(take(&mut captures, 1, 120, 64).is_none());
        assert!(take(&mut captures, 0, 4216, 800).is_none());
        let copy = take(&mut captures, 0, 0, 120).unwrap();
        assert_eq!((copy.size(), copy.pieces.len()), (5016, 1));
        for offset in [0, 112, 120, 4208, 4216, 5008] {
            assert_eq!(copy.read(BEGINNING + offset), Some(BEGINNING + offset));
        }
        // Across the border of two parts; before, behind and at the ends.
        let word = copy.read(BEGINNING + 116).unwrap().to_le_bytes();
        assert_eq!(word[..4], (BEGINNING + 112).to_le_bytes()[4..]);
        assert_eq!(word[4..], (BEGINNING + 120).to_le_bytes()[..4]);
        for offset in [-8_i64, 5009, 5016, 1 << 40] {
            assert_eq!(copy.read(BEGINNING.wrapping_add_signed(offset)), None);
        }
        assert_eq!(take(&mut captures, 1, 0, 120).unwrap().size(), 184);
    }

    #[test]
    fn what_is_beside_a_lost_part_can_be_read_and_what_was_in_it_cannot() {
        let mut captures = Captures::default();
        take(&mut captures, 0, 4216, 800);
        let copy = take(&mut captures, 0, 0, 120).unwrap();
        let read = |offset| copy.read(BEGINNING + offset).map(|word| word - BEGINNING);
        assert_eq!(
            [0, 112, 116, 120, 4208, 4216, 5008].map(read),
            [Some(0), Some(112), None, None, None, Some(4216), Some(5008)]
        );
    }

    #[test]
    fn parts_without_their_last_record_are_not_taken_for_those_of_the_next_sample() {
        let mut captures = Captures::default();
        take(&mut captures, 0, 120, 4096);
        captures.begin(0);
        assert_eq!(take(&mut captures, 0, 0, 120).unwrap().size(), 120);
    }

    #[test]
    fn made_up_addresses_are_no_reason_to_panic() {
        let mut captures = Captures::default();
        for (sp, below, offset) in [
            (0, u32::MAX, u32::MAX),
            (u64::MAX, 0, u32::MAX),
            (u64::MAX, 0, 0),
        ] {
            let capture = CaptureRecord {
                sp,
                below,
                offset,
                ..CaptureRecord::default()
            };
            if let Some(copy) = captures.take(&capture, &[7; 24]) {
                assert_eq!(copy.size(), 72);
                assert_eq!(copy.read(u64::MAX), Some(0x0707_0707_0707_0707));
                assert_eq!(copy.read(1 << 63), None);
            }
        }
    }
}
