//! What is known of a frame between two instructions, and what an instruction does to it.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::rule::{CallerRbp, Cfa, Rule, Step};

/// A frame as far as its stack is known. Distances in bytes; `CFA` is rsp before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// CFA - rsp.
    sp: Option<i64>,
    /// CFA - rbp, where the function has set rbp to a place in its frame.
    bp: Option<i64>,
    /// CFA - place of the caller's rbp on the stack.
    saved_bp: Option<i64>,
    /// rbp holds what the caller had in it.
    bp_is_callers: bool,
    /// The last register into which rsp has been copied, and CFA - its value. Hand-written kernels align rsp and come back
    /// by it (OpenBLAS's `gemm` and `trsm`).
    copy: Option<(Register, i64)>,
    /// The function has no caller.
    is_root: bool,
}

impl Frame {
    /// At a function's first instruction.
    pub(super) const ENTRY: Self = Self::entry_with(8);

    /// At the first instruction of a stub to which more than the return address has been pushed.
    pub(super) const fn entry_with(bytes: i64) -> Self {
        Self {
            sp: Some(bytes),
            bp: None,
            saved_bp: None,
            bp_is_callers: true,
            copy: None,
            is_root: false,
        }
    }

    /// A frame in which this rule holds; `None` for rules that say nothing of rsp.
    pub(super) fn of_rule(rule: Rule) -> Option<Self> {
        let Step::Caller {
            cfa: Cfa::Rsp { offset },
            rbp,
        } = rule.decode()
        else {
            return None;
        };
        let saved_bp = match rbp {
            CallerRbp::BelowCfa { distance } => Some(distance),
            _ => None,
        };
        Some(Self {
            saved_bp,
            bp_is_callers: rbp == CallerRbp::Unchanged,
            ..Self::entry_with(offset)
        })
    }

    /// The rule that says it; NONE where neither rsp nor rbp leads to the CFA, nor a copy of rsp.
    pub(super) fn rule(&self) -> Rule {
        if self.is_root {
            return Rule::encode(Step::Root);
        }
        let by_rbp = self.bp.map(|offset| Cfa::Rbp { offset });
        let by_rsp = self.sp.map(|offset| Cfa::Rsp { offset });
        // As compilers do: by rbp once it is a frame pointer, which points at the caller's.
        let is_frame_pointer = self.bp == self.saved_bp;
        // In the innermost frame only, and so the last choice.
        let by_copy = self.copy.and_then(|(register, offset)| {
            let number = dwarf_number(register)?;
            Some(Cfa::Register { number, offset })
        });
        let by_frame = by_rbp.filter(|_| is_frame_pointer);
        let Some(cfa) = by_frame.or(by_rsp).or(by_rbp).or(by_copy) else {
            return Rule::NONE;
        };
        let rbp = match self.saved_bp {
            Some(distance) => CallerRbp::BelowCfa { distance },
            None if self.bp_is_callers => CallerRbp::Unchanged,
            None => CallerRbp::Unknown,
        };
        let rule = Rule::encode(Step::Caller { cfa, rbp });
        if rule.is_unsupported() {
            Rule::NONE
        } else {
            rule
        }
    }

    /// Nothing but the return address has been pushed.
    pub(super) fn is_entry(&self) -> bool {
        self.sp == Some(8)
    }

    /// After the instruction, wherever it leads; a call's callee has returned.
    pub(super) fn after(mut self, instruction: &Instruction) -> Self {
        use Mnemonic::{Add, Lea, Leave, Mov, Pop, Push, Sub, Xor};
        let target = written_register(instruction);
        let copy = self.copy_after(instruction);
        match (instruction.mnemonic(), target) {
            (Push, _) => self.push(instruction),
            (Pop, _) => self.pop(instruction),
            (Leave, _) => {
                self.sp = self.bp;
                self.take_bp_from(self.bp);
                self.sp = self.sp.map(|sp| sp - 8);
            }
            (Add, Some(Register::RSP)) => self.add_to_sp(immediate(instruction)),
            (Sub, Some(Register::RSP)) => {
                self.add_to_sp(immediate(instruction).and_then(i64::checked_neg));
            }
            (Mov, Some(Register::RSP)) if instruction.op1_register() == Register::RBP => {
                self.sp = self.bp;
            }
            (Mov, Some(Register::RSP)) if self.is_copy(instruction.op1_register()) => {
                self.sp = self.copy.map(|(_, distance)| distance);
            }
            (Mov, Some(Register::RBP)) if instruction.op1_register() == Register::RSP => {
                self.set_bp(self.sp);
            }
            (Mov, Some(Register::RBP)) => self.take_bp_from(self.memory(instruction)),
            (Lea, Some(Register::RSP)) => self.sp = self.memory(instruction),
            (Lea, Some(Register::RBP)) => self.set_bp(self.memory(instruction)),
            (Xor, Some(Register::RBP)) if self.is_end_of_chain(instruction) => self.is_root = true,
            (Mov, None) if stores_bp(instruction) => self.save_bp_at(self.memory(instruction)),
            (_, Some(Register::RSP)) => self.sp = None,
            (_, Some(Register::RBP)) => self.take_bp_from(None),
            // Calls give back what they push; pushfq, ret and the like do not matter any more.
            _ if instruction.is_stack_instruction() && !is_call(instruction) => {
                self.add_to_sp(Some(i64::from(instruction.stack_pointer_increment())));
            }
            _ => {}
        }
        self.copy = copy;
        self
    }

    /// Which register has a copy of rsp behind the instruction.
    fn copy_after(&self, instruction: &Instruction) -> Option<(Register, i64)> {
        let target = instruction.op0_register();
        let copied = match instruction.mnemonic() {
            Mnemonic::Mov if instruction.op1_register() == Register::RSP => self.sp,
            Mnemonic::Lea if instruction.memory_base() == Register::RSP => self.memory(instruction),
            _ => None,
        };
        match copied {
            Some(distance) if can_keep_a_copy(target) => Some((target, distance)),
            _ => self
                .copy
                .filter(|(register, _)| !may_write(instruction, *register)),
        }
    }

    fn is_copy(&self, register: Register) -> bool {
        self.copy.is_some_and(|(copy, _)| copy == register)
    }

    fn push(&mut self, instruction: &Instruction) {
        self.add_to_sp(Some(i64::from(instruction.stack_pointer_increment())));
        if instruction.op0_register() == Register::RBP {
            self.save_bp_at(self.sp);
        }
    }

    fn pop(&mut self, instruction: &Instruction) {
        let place = self.sp;
        self.add_to_sp(Some(i64::from(instruction.stack_pointer_increment())));
        match instruction.op0_register().full_register() {
            Register::RBP => self.take_bp_from(place),
            Register::RSP => self.sp = None,
            _ => {}
        }
    }

    fn add_to_sp(&mut self, bytes: Option<i64>) {
        self.sp = self
            .sp
            .zip(bytes)
            .and_then(|(sp, bytes)| sp.checked_sub(bytes));
    }

    fn save_bp_at(&mut self, place: Option<i64>) {
        if self.bp_is_callers && self.saved_bp.is_none() {
            self.saved_bp = place.filter(|&place| place > 8);
        }
    }

    /// rbp is to be a frame pointer.
    fn set_bp(&mut self, bp: Option<i64>) {
        self.bp = bp;
        self.bp_is_callers = false;
    }

    /// rbp is read from the stack; from anywhere else if `place` is not known.
    fn take_bp_from(&mut self, place: Option<i64>) {
        self.bp = None;
        self.bp_is_callers = place.is_some() && place == self.saved_bp;
        if self.bp_is_callers {
            self.saved_bp = None;
        }
    }

    /// CFA - the place of a memory operand, if it is in the frame.
    fn memory(&self, instruction: &Instruction) -> Option<i64> {
        let base = match instruction.memory_base() {
            Register::RSP => self.sp,
            Register::RBP => self.bp,
            base if self.is_copy(base) => self.copy.map(|(_, distance)| distance),
            _ => None,
        };
        let displacement = instruction.memory_displacement64().cast_signed();
        let has_index = instruction.memory_index() != Register::None;
        base.filter(|_| !has_index)?.checked_sub(displacement)
    }

    /// The deepest frame is marked by a zero in rbp (System V ABI, AMD64 supplement, 3.4.1). A function that uses rbp for
    /// something else has saved it before.
    fn is_end_of_chain(&self, instruction: &Instruction) -> bool {
        let registers = [instruction.op0_register(), instruction.op1_register()];
        registers.map(Register::full_register) == [Register::RBP; 2]
            && self.bp_is_callers
            && self.saved_bp.is_none()
    }
}

pub(super) fn is_call(instruction: &Instruction) -> bool {
    instruction.is_call_near() || instruction.is_call_near_indirect()
}

/// rsp or rbp, where the instruction's first operand is a part of it and is written.
fn written_register(instruction: &Instruction) -> Option<Register> {
    use Mnemonic::{Bt, Call, Cmp, Div, Idiv, Imul, Jmp, Mul, Nop, Push, Test};
    if instruction.op_count() == 0 || instruction.op0_kind() != OpKind::Register {
        return None;
    }
    let is_only_read = matches!(
        instruction.mnemonic(),
        Cmp | Test | Bt | Push | Call | Jmp | Nop | Mul | Div | Idiv
    ) || (instruction.mnemonic() == Imul && instruction.op_count() == 1);
    let register = instruction.op0_register().full_register();
    let matters = matches!(register, Register::RSP | Register::RBP);
    (matters && !is_only_read).then_some(register)
}

/// Registers that no instruction but `cpuid`, no call and no system call writes without naming them. r10, to which gcc copies
/// rsp where it aligns it, is none: it is kept on the stack from then on, and what is in it does not matter any more.
const KEEPERS: [(Register, u8); 5] = [
    (Register::RBX, 3),
    (Register::R12, 12),
    (Register::R13, 13),
    (Register::R14, 14),
    (Register::R15, 15),
];

fn can_keep_a_copy(register: Register) -> bool {
    dwarf_number(register).is_some()
}

/// The number of a keeper (System V ABI, AMD64 supplement, figure 3.36).
fn dwarf_number(register: Register) -> Option<u8> {
    let found = KEEPERS.iter().find(|(keeper, _)| *keeper == register);
    found.map(|(_, number)| *number)
}

/// Whether an instruction can leave something else in a keeper.
fn may_write(instruction: &Instruction, keeper: Register) -> bool {
    use Mnemonic::{Bt, Cmp, Cpuid, Nop, Push, Test, Xadd, Xchg};
    let names = |operand| {
        instruction.op_kind(operand) == OpKind::Register
            && instruction.op_register(operand).full_register() == keeper
    };
    match instruction.mnemonic() {
        Cpuid => keeper == Register::RBX,
        Cmp | Test | Bt | Push | Nop => false,
        Xchg | Xadd => (0..instruction.op_count()).any(names),
        _ => !is_call(instruction) && instruction.op_count() > 0 && names(0),
    }
}

fn stores_bp(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Memory && instruction.op1_register() == Register::RBP
}

fn immediate(instruction: &Instruction) -> Option<i64> {
    match instruction.op1_kind() {
        OpKind::Immediate8to64 | OpKind::Immediate32to64 => {
            Some(instruction.immediate(1).cast_signed())
        }
        _ => None,
    }
}
