//! Native stacks in circles, torn memory, registers of garbage, and rows that lie: the walk ends, within bounds, and says why
//! where it has not come to a root.

use fastrand::Rng;
use viperf_abi::{
    Mapping, PROCESS_NEVER_DEFER, PROCESS_READ, Process, Reason, RowTable, UnwindRow, Word, limit,
};
use viperf_host_walk::{Files, Registers, Sample, Walker};

const CODE: u64 = 0x5555_0000_0000;
const CODE_SIZE: u64 = 0x10_000;
const STACK: u64 = 0x7ffc_0000_0000;
const STACK_WORDS: u64 = 1 << 13;

/// Places in struct pt_regs.
const BP: usize = 4;
const IP: usize = 16;
const SP: usize = 19;

/// Kinds of rule.
const RSP: u32 = 1;
const RBP: u32 = 2;
const SIGNAL: u32 = 6;
const END: u32 = 7;
const REGISTER: u32 = 8;

/// One frame reads at most its return address, the rbp in another place, a word for its CFA, and what a guess looks at.
const MOST_READS_OF_A_FRAME: u32 = 8;

/// For a register, 2,048 words are tried in all frames together, each with a return address and the instruction before it.
const MOST_READS_OF_TRIES: u32 = 2048 * 3;

/// The most words: with a mark for those left out, and a reason at the end.
const MOST_WORDS: usize = limit::LEAFMOST_NATIVE + limit::ROOTMOST + 2;

fn rsp(words: u32) -> u32 {
    RSP | words << 12
}

/// One mapping with these rows, by offset from its start.
fn files(rows: &[(u32, u32)]) -> Files {
    let rows: Vec<_> = rows
        .iter()
        .map(|&(pc, rule)| UnwindRow { pc, rule })
        .collect();
    let mapping = Mapping {
        start: CODE,
        end: CODE + CODE_SIZE,
        load_bias: CODE,
        row_table: 1,
        executable: 1,
    };
    let table = RowTable {
        place: (rows.len() as u64) << 32,
        placement: 1 << limit::ROWS_PLACEMENT_SHIFT,
        ..RowTable::default()
    };
    Files {
        mappings: vec![mapping],
        row_tables: vec![RowTable::default(), table],
        rows,
    }
}

fn registers(ip: u64, sp: u64, bp: u64) -> Registers {
    let mut registers = Registers::default();
    registers.saved[IP] = ip;
    registers.saved[SP] = sp;
    registers.saved[BP] = bp;
    registers
}

fn process(files: &Files) -> Process {
    Process {
        epoch: 1,
        flags: PROCESS_READ | PROCESS_NEVER_DEFER,
        mapping_count: files.mappings.len() as u32,
        ..Process::default()
    }
}

fn walk(
    files: &mut Files,
    registers: &Registers,
    read: impl FnMut(u64, &mut [u8]) -> bool,
) -> Sample {
    let mut process = process(files);
    let sample = Walker::new().sample(&mut process, files, registers, read);
    assert!(sample.native.len() <= MOST_WORDS, "{}", sample.native.len());
    assert!(
        sample.reads
            <= MOST_READS_OF_A_FRAME * limit::MAX_NATIVE_FRAMES as u32 + MOST_READS_OF_TRIES,
        "{} reads",
        sample.reads
    );
    assert!(sample.python.is_empty());
    sample
}

fn reason(sample: &Sample) -> Option<Reason> {
    match sample.native.last() {
        Some(Word::Reason(Ok(reason))) => Some(*reason),
        _ => None,
    }
}

/// A stack of these words; what lies outside is not there.
fn read_stack(words: &[u64], address: u64, bytes: &mut [u8]) -> bool {
    let all: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let Some(place) = address.checked_sub(STACK) else {
        return false;
    };
    let place = usize::try_from(place).unwrap();
    match all.get(place..place.saturating_add(bytes.len())) {
        Some(found) => {
            bytes.copy_from_slice(found);
            true
        }
        None => false,
    }
}

#[test]
fn rules_of_rows_that_were_replaced_are_not_remembered() {
    let mut files = files(&[(0, rsp(2)), (0x100, END), (0x200, 0)]);
    let words = [0, CODE + 0x11, 0, CODE + 0x101, CODE + 0x101, 0];
    let mut walker = Walker::new();
    // The frame of the caller has two words, then, in the same place, three.
    for (words_of_frame, placement, cfa) in
        [(2, 1, STACK + 32), (2, 1, STACK + 32), (3, 2, STACK + 40)]
    {
        files.rows[0].rule = rsp(words_of_frame);
        files.row_tables[1].placement = placement << limit::ROWS_PLACEMENT_SHIFT;
        let mut process = process(&files);
        let start = registers(CODE, STACK + 16 - 8 * u64::from(words_of_frame), 0);
        let sample = walker.sample(&mut process, &mut files, &start, |address, bytes| {
            read_stack(&words, address, bytes)
        });
        assert_eq!(sample.cfas.get(1), Some(&cfa), "{placement}");
    }
}

#[test]
fn a_stack_is_walked_to_its_root_and_a_deep_one_keeps_both_ends() {
    for frames in [1, 100, 1000, 1500, 1700, 2040] {
        let mut files = files(&[(0, rsp(2)), (0x100, END), (0x200, 0)]);
        // Each return address is different, so that the order shows.
        let mut words: Vec<u64> = (0..frames)
            .flat_map(|frame| [0, CODE + 1 + frame % 0xff])
            .collect();
        words.extend([0, CODE + 0x101]);
        let sample = walk(&mut files, &registers(CODE, STACK, 0), |address, bytes| {
            read_stack(&words, address, bytes)
        });
        let svmas: Vec<Option<u64>> = sample
            .native
            .iter()
            .map(|word| match word {
                Word::Native { svma, .. } => Some(*svma),
                _ => None,
            })
            .collect();
        let mut expected: Vec<Option<u64>> = [0]
            .into_iter()
            .chain((0..frames).map(|frame| frame % 0xff))
            .chain([0x100])
            .map(Some)
            .collect();
        let (kept, all) = (limit::LEAFMOST_NATIVE + limit::ROOTMOST, expected.len());
        if all > kept {
            expected.splice(limit::LEAFMOST_NATIVE..all - limit::ROOTMOST, [None]);
        }
        assert_eq!(svmas, expected, "{frames}");
        assert_eq!(reason(&sample), None, "{frames}");
    }
}

#[test]
fn stacks_that_do_not_end_are_too_deep() {
    // Every word is a return address to a function without a root.
    let mut files = files(&[(0, rsp(1))]);
    let endless = |_: u64, bytes: &mut [u8]| {
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&(CODE + 5).to_le_bytes()[..word.len()]);
        }
        true
    };
    let sample = walk(&mut files, &registers(CODE, STACK, 0), endless);
    assert_eq!(reason(&sample), Some(Reason::NativeTooDeep));
}

#[test]
fn frame_pointers_in_a_circle_do_not_ascend() {
    let mut files = files(&[(0, RBP | 2 << 4 | 2 << 12)]);
    // Two frames whose rbp point to each other.
    let words = [STACK + 16, CODE + 9, STACK, CODE + 5, 0, 0];
    let sample = walk(
        &mut files,
        &registers(CODE, STACK, STACK),
        |address, bytes| read_stack(&words, address, bytes),
    );
    assert_eq!(reason(&sample), Some(Reason::NativeNotAscending));
    assert_eq!(sample.native.len(), 4, "{:?}", sample.native);
}

#[test]
fn a_saved_rbp_that_cannot_be_read_is_missed_only_where_it_is_needed() {
    const AT_RBP: u32 = 254;
    // The words of the stack begin with the return address: what lies below cannot be read.
    let words = [CODE + 0x11, 0, CODE + 0x101, 0];
    for (place, size) in [(2, 2), (3, 3), (AT_RBP, 2)] {
        for (caller, expected) in [
            (rsp(2), None),
            (RBP | 2 << 12, Some(Reason::NativeRegisterLost)),
        ] {
            let mut files = files(&[(0, rsp(size) | place << 4), (0x10, caller), (0x100, END)]);
            let sp = STACK + 8 - 8 * u64::from(size);
            let sample = walk(&mut files, &registers(CODE, sp, sp), |address, bytes| {
                read_stack(&words, address, bytes)
            });
            assert_eq!(reason(&sample), expected, "{place}");
            assert_eq!(sample.native.len(), 3, "{place}: {:?}", sample.native);
            assert_eq!(sample.cfas[0], STACK + 8, "{place}");
        }
    }
}

#[test]
fn signal_frames_in_a_circle_are_too_deep() {
    // A signal's frame may lead to another stack, so that nothing ascends.
    let mut files = files(&[(0, SIGNAL)]);
    let mut words = [0; 64];
    words[20] = STACK;
    words[21] = CODE;
    let sample = walk(&mut files, &registers(CODE, STACK, 0), |address, bytes| {
        read_stack(&words, address, bytes)
    });
    assert_eq!(reason(&sample), Some(Reason::NativeTooDeep));
}

/// The dearest stack that there can be: of each frame the CFA is in rbx, and the word that had it is the last one that is
/// tried. The others are as good at first sight: addresses of the stack, below one of code that follows no call. When no more
/// are tried, what rbx has is not taken for it either, though a frame begins there.
#[test]
fn a_register_that_is_far_to_seek_in_every_frame_is_given_up_after_some_frames() {
    const HOP: usize = 260;
    const FRAMES: usize = 1100;
    const NO_CALL: u64 = CODE + 0x5000;
    const OF_RBX: u32 = REGISTER | 3 << 12;
    let mut files = files(&[(0, OF_RBX), (0x20, rsp(HOP as u32))]);
    let place = |frame: usize| STACK + 8 * (HOP * (frame + 1)) as u64;
    let mut words = Vec::new();
    for frame in 0..FRAMES {
        // One that leads to the last word of this part.
        words.resize(HOP * (frame + 1), place(frame + 1) - 8);
        let [.., last_but_one, return_address] = words.as_mut_slice() else {
            return;
        };
        (*last_but_one, *return_address) = (NO_CALL, CODE + 0x10);
        // The 256th word below the frame's beginning, as the walk counts.
        let farthest = HOP * (frame + 1) - 2 - 255;
        words[farthest] = place(frame + 1);
    }
    let mut registers = registers(CODE + 0x20, STACK, 0);
    registers.saved[5] = place(100);
    let bytes_of_stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let sample = walk(&mut files, &registers, |address, bytes| {
        if (CODE..CODE + CODE_SIZE).contains(&address) {
            // call *%rax before the return addresses, nothing before the other place.
            bytes.fill(0x90);
            if let (true, [.., code, operand]) = (address < CODE + 0x10, bytes) {
                (*code, *operand) = (0xff, 0xd0);
            }
            return true;
        }
        let place = address.wrapping_sub(STACK) as usize;
        match bytes_of_stack.get(place..place.saturating_add(bytes.len())) {
            Some(found) => {
                bytes.copy_from_slice(found);
                true
            }
            None => false,
        }
    });
    println!(
        "{} words, {} reads, {:?}",
        sample.native.len(),
        sample.reads,
        reason(&sample)
    );
    assert_eq!(reason(&sample), Some(Reason::NativeRegisterLost));
    // 256 words for each frame but the first, whose CFA is known.
    assert_eq!(sample.native.len(), 1 + 2048 / 256 + 1 + 1);
    assert!(sample.reads < 2 * MOST_READS_OF_TRIES);
}

/// Rows that may say anything, also what no table says.
fn lying_rows(rng: &mut Rng) -> Vec<(u32, u32)> {
    let mut pc = 0;
    (0..rng.usize(0..200))
        .map(|_| {
            // Not even in order.
            pc = match rng.u8(0..20) {
                0 => rng.u32(..),
                _ => pc + rng.u32(0..0x200),
            };
            let rule = match rng.u8(0..4) {
                0 => rng.u32(..),
                1 => rng.u32(0..12) | rng.u32(0..4) << 4 | rng.u32(0..16) << 12,
                _ => rsp(rng.u32(1..20)) | rng.u32(0..4) << 4,
            };
            (pc, rule)
        })
        .collect()
}

fn nonsense(rng: &mut Rng) -> u64 {
    match rng.u8(0..8) {
        0 => rng.u64(..),
        1 => 0,
        2 => u64::MAX - rng.u64(0..32),
        3 | 4 => CODE + rng.u64(0..CODE_SIZE + 16),
        _ => STACK + 8 * rng.u64(0..STACK_WORDS) + u64::from(rng.u8(0..20) == 0),
    }
}

/// Mappings and tables that user space is in the middle of changing, or that a bug of it has damaged.
fn damage(files: &mut Files, rng: &mut Rng) {
    match rng.u8(0..6) {
        0 => files.row_tables[1].place = rng.u64(..),
        1 => files.row_tables[1].place = (limit::ROWS_AWAITED as u64) << 32,
        2 => files.mappings[0].row_table = rng.u32(..),
        3 => files.mappings[0].load_bias = rng.u64(..),
        4 => files.mappings[0].end = rng.u64(..),
        _ => files.mappings.extend_from_within(..),
    }
}

#[test]
fn nonsense_ends_within_bounds_and_memory_that_changes_does_too() {
    const WALKS: u64 = 4000;
    let mut reasons = std::collections::BTreeMap::<String, u32>::new();
    let (mut most_reads, mut most_words) = (0, 0);
    for seed in 0..WALKS {
        let mut rng = Rng::with_seed(seed);
        let mut files = files(&lying_rows(&mut rng));
        if rng.u8(0..4) == 0 {
            damage(&mut files, &mut rng);
        }
        let mut registers = Registers::default();
        for register in &mut registers.saved {
            *register = nonsense(&mut rng);
        }
        if rng.bool() {
            registers.saved[IP] = CODE + rng.u64(0..CODE_SIZE);
            registers.saved[SP] = STACK + 8 * rng.u64(0..100);
        }
        registers.in_kernel = rng.bool();
        // Every read sees other words, and one in so many fails.
        let fails = rng.u8(2..100);
        let sample = walk(&mut files, &registers, |_, bytes| {
            for word in bytes.chunks_mut(8) {
                word.copy_from_slice(&nonsense(&mut rng).to_le_bytes()[..word.len()]);
            }
            rng.u8(0..fails) != 0
        });
        most_reads = most_reads.max(sample.reads);
        most_words = most_words.max(sample.native.len());
        let end = match reason(&sample) {
            Some(reason) => format!("{reason:?}"),
            None => "Root".to_owned(),
        };
        *reasons.entry(end).or_default() += 1;
    }
    println!("{WALKS} walks: {most_reads} reads, {most_words} words at most; {reasons:?}");
    assert!(reasons.len() >= 6, "{reasons:?}");
}
