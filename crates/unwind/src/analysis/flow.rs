//! From the first instruction of each function along all the ways that can be seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, Register};

use super::frame::Frame;
use crate::build::push_row;
use crate::rule::{Row, Rule};

/// What has not been reached; no rule has this number.
const NOT_REACHED: u32 = u32::MAX;

/// Passes to find functions that only calls tell of; each pass sees the calls in those found before.
const MAX_PASSES: usize = 6;

/// With so many, musl gets the rows that it gets without a limit.
const GUESSES_PER_BYTE: usize = 2;

/// Compilers start functions at multiples of it.
const ALIGNMENT: u64 = 16;

/// A range of code without rows.
pub(super) struct Part<'data> {
    start: u64,
    bytes: &'data [u8],
    decoder: Decoder<'data>,
    /// The rule that holds at each byte.
    rules: Vec<u32>,
    /// The last guess that has looked at each byte.
    guesses: Vec<u32>,
}

impl<'data> Part<'data> {
    pub(super) fn new(start: u64, bytes: &'data [u8]) -> Self {
        Self {
            start,
            bytes,
            decoder: Decoder::with_ip(64, bytes, start, DecoderOptions::NONE),
            rules: vec![NOT_REACHED; bytes.len()],
            guesses: vec![0; bytes.len()],
        }
    }

    /// The instruction at an address, not valid where there is none.
    fn decode(&mut self, pc: u64) -> Instruction {
        let mut instruction = Instruction::default();
        let position = self.index(pc).map(|index| self.decoder.set_position(index));
        if matches!(position, Some(Ok(()))) {
            self.decoder.set_ip(pc);
            self.decoder.decode_out(&mut instruction);
        }
        instruction
    }

    fn index(&self, pc: u64) -> Option<usize> {
        let index = usize::try_from(pc.checked_sub(self.start)?).ok()?;
        (index < self.bytes.len()).then_some(index)
    }

    fn rule_at(&self, pc: u64) -> Option<u32> {
        self.rules.get(self.index(pc)?).copied()
    }

    /// Whether a guess has looked at an address before; it has now.
    fn is_seen_again(&mut self, pc: u64, guess: u32) -> bool {
        let last = self.index(pc).and_then(|index| self.guesses.get_mut(index));
        last.is_none_or(|last| std::mem::replace(last, guess) == guess)
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes.len() as u64)
    }
}

/// All parts, and where their functions start.
pub(super) struct Flow<'data> {
    /// Sorted, apart from each other.
    parts: Vec<Part<'data>>,
    /// Where functions start, with what has been pushed by then, and where they end, if that is known.
    starts: BTreeMap<u64, Start>,
    /// The frame at each jump through a register or memory: that of a `switch` most often.
    indirect_jumps: BTreeMap<u64, Frame>,
    /// Calls to places that are not known to be functions.
    new_starts: Vec<u64>,
    /// How many instructions may still be looked at in this pass to guess a frame: in bytes that are no code at all, each
    /// one could be the start of a long way.
    guesses_left: usize,
    /// The number of the last guess.
    guess: u32,
    /// The functions in which a way back, or one out of sight, has been seen in this pass.
    returning: BTreeSet<u64>,
    /// Those in which the pass before has seen none: `abort` and what ends in it.
    not_returning: BTreeSet<u64>,
}

#[derive(Clone, Copy)]
struct Start {
    frame: Frame,
    end: Option<u64>,
}

impl<'data> Flow<'data> {
    pub(super) fn new(parts: Vec<Part<'data>>) -> Self {
        Self {
            parts,
            starts: BTreeMap::new(),
            indirect_jumps: BTreeMap::new(),
            new_starts: Vec::new(),
            guesses_left: 0,
            guess: 0,
            returning: BTreeSet::new(),
            not_returning: BTreeSet::new(),
        }
    }

    /// Code starts here with this frame; a second start at the same place does not count.
    pub(super) fn add_start(&mut self, range: Range<u64>, frame: Frame) {
        let end = Some(range.end).filter(|&end| end > range.start);
        if self.part_at(range.start).is_some() {
            self.starts
                .entry(range.start)
                .or_insert(Start { frame, end });
        }
    }

    /// The rows of everything that can be reached, NONE between.
    pub(super) fn into_rows(mut self) -> Vec<Row> {
        for _ in 0..MAX_PASSES {
            self.run();
            let returning = std::mem::take(&mut self.returning);
            let starts = self.starts.keys().copied();
            let not_returning = starts.filter(|start| !returning.contains(start)).collect();
            let known = self.starts.len();
            for start in std::mem::take(&mut self.new_starts) {
                self.add_start(start..start, Frame::ENTRY);
            }
            let is_settled = self.starts.len() == known && not_returning == self.not_returning;
            self.not_returning = not_returning;
            if is_settled {
                break;
            }
        }
        let mut rows = Vec::new();
        for part in &self.parts {
            for (pc, &rule) in (part.start..).zip(&part.rules) {
                let rule = Rule(if rule == NOT_REACHED { 0 } else { rule });
                push_change(&mut rows, pc, rule);
            }
            push_change(&mut rows, part.end(), Rule::NONE);
        }
        rows
    }

    /// Forgets what has been reached and starts again at all starts.
    fn run(&mut self) {
        for part in &mut self.parts {
            part.rules.fill(NOT_REACHED);
        }
        self.indirect_jumps.clear();
        let code = self.parts.iter().map(|part| part.bytes.len());
        self.guesses_left = code.sum::<usize>().saturating_mul(GUESSES_PER_BYTE);
        let starts: Vec<(u64, Start)> = self
            .starts
            .iter()
            .map(|(&pc, &start)| (pc, start))
            .collect();
        for (pc, start) in starts {
            self.follow(pc, pc, start.frame);
        }
        for index in 0..self.parts.len() {
            self.sweep(index);
        }
    }

    /// Everything that can be reached from `pc` and has not been; that is code of the function at `start`.
    fn follow(&mut self, start: u64, pc: u64, frame: Frame) {
        let mut branches = vec![(pc, frame)];
        // The stretches reached from here, by their starts.
        let mut own = BTreeMap::new();
        while let Some((mut pc, mut frame)) = branches.pop() {
            let from = pc;
            loop {
                let Some(instruction) = self.reach(pc, &frame) else {
                    // Code of another function too, or code that is not looked at.
                    let before = own.range(..=pc).next_back();
                    if before.is_none_or(|(_, &end)| pc >= end) {
                        self.returning.insert(start);
                    }
                    break;
                };
                let before = frame;
                frame = frame.after(&instruction);
                pc = instruction.next_ip();
                let target = instruction.near_branch_target();
                let goes_on = match instruction.flow_control() {
                    FlowControl::ConditionalBranch => {
                        branches.push((target, frame));
                        true
                    }
                    FlowControl::UnconditionalBranch => {
                        if !self.not_returning.contains(&target) {
                            branches.push((target, frame));
                        }
                        false
                    }
                    FlowControl::Call | FlowControl::IndirectCall => {
                        if instruction.is_call_near() {
                            self.note_call(target);
                        }
                        // The instruction before another function is a call that does not return.
                        !self.not_returning.contains(&target)
                            && !self.starts.contains_key(&pc)
                            && !self.is_end_of_function(pc)
                    }
                    FlowControl::IndirectBranch => {
                        self.indirect_jumps.insert(instruction.ip(), before);
                        self.returning.insert(start);
                        false
                    }
                    FlowControl::Return => {
                        self.returning.insert(start);
                        false
                    }
                    FlowControl::Exception | FlowControl::Interrupt => false,
                    _ => instruction.mnemonic() != Mnemonic::Hlt,
                };
                // Padding before another function, behind a call that does not return.
                if !goes_on || (pc.is_multiple_of(ALIGNMENT) && self.starts.contains_key(&pc)) {
                    break;
                }
            }
            if from < pc {
                own.insert(from, pc);
            }
        }
    }

    /// Decodes the instruction at `pc` and writes its rule down; `None` if that has been done, if there is no code to
    /// look at, or no instruction.
    fn reach(&mut self, pc: u64, frame: &Frame) -> Option<Instruction> {
        let part = self.part_at(pc)?;
        let index = part.index(pc)?;
        if part.rules.get(index) != Some(&NOT_REACHED) {
            return None;
        }
        let instruction = part.decode(pc);
        let end = index + instruction.len();
        if instruction.is_invalid() || end > part.bytes.len() {
            return None;
        }
        let rule = frame.rule().0;
        part.rules.get_mut(index..end)?.fill(rule);
        Some(instruction)
    }

    fn decode(&mut self, pc: u64) -> Instruction {
        self.part_at(pc)
            .map_or_else(Instruction::default, |part| part.decode(pc))
    }

    /// How much of what linkers and assemblers put between functions is at `pc` (zeros, `int3`, and the many forms of
    /// `nop`), and the instruction there.
    fn padding_at(&mut self, pc: u64) -> (usize, Instruction) {
        const INT3: u8 = 0xcc;
        let Some(part) = self.part_at(pc) else {
            return (0, Instruction::default());
        };
        let first = part.index(pc).and_then(|index| part.bytes.get(index));
        let is_filler = matches!(first.copied(), Some(0 | INT3));
        let instruction = part.decode(pc);
        let is_nop = instruction.mnemonic() == Mnemonic::Nop;
        match (is_filler, is_nop) {
            (true, _) => (1, instruction),
            (_, true) => (instruction.len(), instruction),
            _ => (0, instruction),
        }
    }

    fn note_call(&mut self, target: u64) {
        if !self.starts.contains_key(&target) && self.part_at(target).is_some() {
            self.new_starts.push(target);
        }
    }

    fn part_at(&mut self, pc: u64) -> Option<&mut Part<'data>> {
        let after = self.parts.partition_point(|part| part.start <= pc);
        let part = self.parts.get_mut(after.checked_sub(1)?)?;
        (pc < part.end()).then_some(part)
    }

    /// Code that no visible way leads to: the cases of a `switch`, and functions known by their address only.
    fn sweep(&mut self, index: usize) {
        let mut offset = 0;
        // Behind an instruction of which nothing is known; what follows is no function's start.
        let mut inside = None;
        while let Some(pc) = self.next_not_reached(index, offset) {
            let (padding, instruction) = self.padding_at(pc);
            // A zero byte alone is half an instruction, of which the other half may be a function's first byte.
            let length = match padding {
                0 => instruction.len().max(1),
                padding => padding,
            };
            let is_inside = inside == Some(pc);
            if padding == 0 {
                match self.frame_of_unknown_origin(pc, is_inside) {
                    Some((start, frame)) => self.follow(start, pc, frame),
                    None => inside = Some(pc.saturating_add(length as u64)),
                }
            }
            let start = self.parts.get(index).map_or(pc, |part| part.start);
            let skipped = usize::try_from(pc - start).unwrap_or(usize::MAX);
            offset = skipped.saturating_add(length);
        }
    }

    /// The first byte from `offset` on that has not been reached.
    fn next_not_reached(&self, index: usize, offset: usize) -> Option<u64> {
        let part = self.parts.get(index)?;
        let rest = part.rules.get(offset..)?;
        let skipped = rest.iter().position(|&rule| rule == NOT_REACHED)?;
        Some(part.start + (offset + skipped) as u64)
    }

    /// The function and the frame at a place that no visible way leads to: the frame of the last jump with an unknown
    /// target in the same function, of the first behind the place (LLVM puts cases before the `switch`, too), or that of a
    /// function's start, whichever can return.
    fn frame_of_unknown_origin(&mut self, pc: u64, is_inside: bool) -> Option<(u64, Frame)> {
        let function = self.starts.range(..=pc).next_back();
        let function = function.filter(|(_, start)| start.end.is_none_or(|end| pc < end));
        let function = function.map(|(&from, &start)| (from, start));
        let has_end = function.is_some_and(|(_, start)| start.end.is_some());
        let from = function.map_or(0, |(from, _)| from);
        let jump = self.indirect_jumps.range(from..pc).next_back();
        let jump = jump.map(|(_, &frame)| frame);
        let fits_jump = jump.and_then(|frame| self.fits(pc, frame));
        if fits_jump == Some(true) {
            return jump.map(|frame| (from, frame));
        }
        let end = function.and_then(|(_, start)| start.end);
        let next = self.starts.range(pc.saturating_add(1)..).next();
        let until = end.or(next.map(|(&next, _)| next)).unwrap_or(u64::MAX);
        let behind = self.indirect_jumps.range(pc..until).next();
        if let Some(frame) = behind.map(|(_, &frame)| frame)
            && !frame.is_entry()
            && self.fits(pc, frame) == Some(true)
        {
            return Some((from, frame));
        }
        if !is_inside && !has_end {
            let fits_start = self.fits(pc, Frame::ENTRY);
            let is_aligned = pc.is_multiple_of(ALIGNMENT);
            let is_likely = is_aligned && (jump.is_none() || self.begins_as_function(pc));
            if fits_start == Some(true) || (is_likely && fits_start.is_none()) {
                self.new_starts.push(pc);
                return Some((pc, Frame::ENTRY));
            }
        }
        jump.filter(|_| fits_jump.is_none() && has_end)
            .map(|frame| (from, frame))
    }

    /// Whether padding follows, and then another function: the call before it does not return.
    fn is_end_of_function(&mut self, pc: u64) -> bool {
        let next = pc.next_multiple_of(ALIGNMENT);
        let mut at = pc;
        while at < next {
            let (padding, _) = self.padding_at(at);
            if padding == 0 {
                return false;
            }
            at += padding as u64;
        }
        at == next && self.begins_as_function(next)
    }

    /// Whether the first instruction saves a register for the caller or is where indirect jumps may land.
    fn begins_as_function(&mut self, pc: u64) -> bool {
        let first = self.decode(pc);
        let register = first.op0_register();
        let is_preserved = register == Register::RBX
            || register == Register::RBP
            || (Register::R12..=Register::R15).contains(&register);
        first.mnemonic() == Mnemonic::Endbr64
            || (first.mnemonic() == Mnemonic::Push && is_preserved)
    }

    /// Whether the first end that is seen from `pc` on is a return with nothing but the return address on the stack, or
    /// a place where the frame is known to be so. `None` if no end is seen.
    fn fits(&mut self, pc: u64, frame: Frame) -> Option<bool> {
        const MOST_INSTRUCTIONS: usize = 512;
        let mut branches = VecDeque::from([(pc, frame)]);
        self.guess = self.guess.wrapping_add(1);
        let guess = self.guess;
        for _ in 0..MOST_INSTRUCTIONS.min(self.guesses_left) {
            let (pc, frame) = branches.pop_front()?;
            self.guesses_left -= 1;
            let Some(part) = self.part_at(pc) else {
                return Some(frame.is_entry());
            };
            if part.is_seen_again(pc, guess) {
                continue;
            }
            let rule = part.rule_at(pc)?;
            if rule != NOT_REACHED {
                return Some(rule == frame.rule().0);
            }
            let instruction = part.decode(pc);
            let after = frame.after(&instruction);
            match instruction.flow_control() {
                FlowControl::Return => return Some(frame.is_entry()),
                FlowControl::UnconditionalBranch => {
                    branches.push_front((instruction.near_branch_target(), after));
                }
                FlowControl::ConditionalBranch => {
                    branches.push_front((instruction.next_ip(), after));
                    branches.push_back((instruction.near_branch_target(), after));
                }
                FlowControl::IndirectBranch | FlowControl::Exception | FlowControl::Interrupt => {}
                FlowControl::Call
                    if self
                        .not_returning
                        .contains(&instruction.near_branch_target()) => {}
                _ if instruction.is_invalid() => return Some(false),
                _ if instruction.mnemonic() == Mnemonic::Hlt => {}
                _ => branches.push_front((instruction.next_ip(), after)),
            }
        }
        None
    }
}

fn push_change(rows: &mut Vec<Row>, pc: u64, rule: Rule) {
    let before = rows.last().map_or(Rule::NONE, |row: &Row| row.rule);
    if let Ok(pc) = u32::try_from(pc)
        && before != rule
    {
        push_row(rows, Row { pc, rule });
    }
}
