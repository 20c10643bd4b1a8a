//! The rows of code that was made at run time: of what its compiler says of it, and of its instructions.

use std::ops::Range;

use crate::analysis::analyse_generated_code;
use crate::build::build_rows_of_generated;
use crate::fill::fill_gaps;
use crate::rule::Row;

/// An `.eh_frame` in a process's memory, as a compiler at run time has given it to the C runtime (`__register_frame`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GeneratedFrames {
    /// Where it is, to which its addresses are relative (AVMA).
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Rows for code that was made at run time and is at `start` (AVMA); addresses of rows count from there.
///
/// What `frames` say holds; where they say nothing, the instructions tell what they can.
/// The code may have been replaced since, so that the rows are guesses, to be checked by who walks by them.
#[must_use]
pub fn build_rows_of_generated_code(
    code: &[u8],
    start: u64,
    frames: &[GeneratedFrames],
) -> Vec<Row> {
    let range = start..start.saturating_add(code.len() as u64);
    let told = rows_of_frames(frames, &range);
    let analysed = analyse_generated_code(code);
    match told.is_empty() {
        true => analysed,
        false => fill_gaps(&told, &analysed),
    }
}

/// Of two sections that speak of one function, the first holds. Halves are joined, so that each row is looked at a few times
/// only.
fn rows_of_frames(frames: &[GeneratedFrames], code: &Range<u64>) -> Vec<Row> {
    match frames {
        [] => Vec::new(),
        [one] => build_rows_of_generated(&one.bytes, one.address, code)
            .map_or_else(|_too_many| Vec::new(), |table| table.rows),
        many => {
            let (first, second) = many.split_at(many.len() / 2);
            fill_gaps(&rows_of_frames(first, code), &rows_of_frames(second, code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{CallerRbp, Cfa, Rule, Step, find_rule};

    /// An `.eh_frame` as LLVM writes it for its large code model: pointers relative to their place, in eight bytes. One
    /// function, which pushes something in its first instruction, of two bytes.
    fn frames_of(address: u64, function: u64, length: u64, cfa_after: u8) -> GeneratedFrames {
        let mut bytes = vec![0x14, 0, 0, 0, 0, 0, 0, 0, 1];
        bytes.extend(b"zR\0\x01\x78\x10\x01\x1c\x0c\x07\x08\x90\x01\0\0");
        assert_eq!(bytes.len(), 24);
        bytes.extend([0x1c, 0, 0, 0, 28, 0, 0, 0]);
        let place = address + bytes.len() as u64;
        bytes.extend(function.wrapping_sub(place).to_le_bytes());
        bytes.extend(length.to_le_bytes());
        // No augmentation; advance 2; CFA offset.
        bytes.extend([0, 0x42, 0x0e, cfa_after, 0, 0, 0, 0]);
        bytes.extend([0; 4]);
        GeneratedFrames { address, bytes }
    }

    fn cfa_at(rows: &[Row], pc: u32) -> Option<Cfa> {
        match find_rule(rows, pc).decode() {
            Step::Caller { cfa, .. } => Some(cfa),
            _ => None,
        }
    }

    const START: u64 = 0x7f50_0000_1000;

    /// `push %rbx`, `nop`, a jump by a register, and instructions behind it.
    fn code_with_a_jump() -> Vec<u8> {
        let mut code = vec![0x53, 0x90, 0xff, 0xe0];
        code.extend([0x48, 0xff, 0xc3, 0x48, 0xff, 0xc7, 0x5b, 0xc3]);
        code.resize(32, 0);
        code
    }

    #[test]
    fn what_a_compiler_says_holds_wherever_its_section_lies() {
        let code = code_with_a_jump();
        for section in [START + 0x2000, START - 0x3000, START + (1 << 36)] {
            let frames = [frames_of(section, START, 12, 16)];
            let rows = build_rows_of_generated_code(&code, START, &frames);
            assert_eq!(cfa_at(&rows, 1), Some(Cfa::Rsp { offset: 8 }));
            for pc in [2, 4, 11] {
                assert_eq!(cfa_at(&rows, pc), Some(Cfa::Rsp { offset: 16 }), "{pc}");
            }
            assert_eq!(find_rule(&rows, 12), Rule::NONE);
        }
    }

    #[test]
    fn where_it_says_nothing_the_instructions_tell() {
        let mut code = code_with_a_jump();
        // push %rbx; nop; pop %rbx; ret
        code[16..20].copy_from_slice(&[0x53, 0x90, 0x5b, 0xc3]);
        let frames = [frames_of(START + 0x2000, START, 12, 16)];
        let rows = build_rows_of_generated_code(&code, START, &frames);
        assert_eq!(cfa_at(&rows, 4), Some(Cfa::Rsp { offset: 16 }));
        let caller = Step::Caller {
            cfa: Cfa::Rsp { offset: 16 },
            rbp: CallerRbp::Unchanged,
        };
        assert_eq!(find_rule(&rows, 17).decode(), caller);
    }

    #[test]
    fn functions_outside_the_code_have_no_rows_and_sections_are_joined() {
        let code = vec![0xcc; 64];
        let frames = [
            frames_of(START + 0x2000, START - 16, 32, 24),
            frames_of(START + 0x3000, START + 32, 16, 32),
            frames_of(START + 0x4000, START + 56, 16, 24),
            frames_of(START + 0x5000, START, 16, 40),
            frames_of(START + 0x6000, START + 32, 32, 48),
        ];
        let rows = build_rows_of_generated_code(&code, START, &frames);
        assert_eq!(cfa_at(&rows, 8), Some(Cfa::Rsp { offset: 40 }));
        assert_eq!(cfa_at(&rows, 20), None);
        assert_eq!(cfa_at(&rows, 40), Some(Cfa::Rsp { offset: 32 }));
        assert_eq!(cfa_at(&rows, 60), Some(Cfa::Rsp { offset: 48 }));
    }

    #[test]
    fn damaged_sections_are_survived() {
        let code = code_with_a_jump();
        let whole = frames_of(START + 0x2000, START, 12, 16);
        for at in 0..whole.bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged.bytes[at] = value;
                let rows = build_rows_of_generated_code(&code, START, &[damaged]);
                assert!(rows.windows(2).all(|pair| pair[0].pc < pair[1].pc));
            }
            let mut short = whole.clone();
            short.bytes.truncate(at);
            let rows = build_rows_of_generated_code(&code, START, &[short]);
            assert!(rows.windows(2).all(|pair| pair[0].pc < pair[1].pc));
        }
    }
}
