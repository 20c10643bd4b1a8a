//! One evaluated row of call frame information as a [`Step`].

use gimli::{
    CfaRule, Encoding, EndianSlice, LittleEndian, Operation, Register, RegisterRule,
    UnwindExpression, UnwindSection, UnwindTableRow, X86_64,
};

use crate::rule::{CallerRbp, Cause, Cfa, Step};

pub(crate) type Bytes<'data> = EndianSlice<'data, LittleEndian>;

/// Offsets in the ucontext that the kernel pushes: `uc_mcontext` is at 40, and rbp, rsp and rip are
/// its eleventh, sixteenth and seventeenth words
/// (<https://github.com/torvalds/linux/blob/v6.12/arch/x86/include/uapi/asm/sigcontext.h>).
pub(crate) const SIGNAL_RBP: i64 = 120;
pub(crate) const SIGNAL_RSP: i64 = 160;
pub(crate) const SIGNAL_RIP: i64 = 168;

/// The longest expression with a meaning here, that of the PLT, has nine; one more tells it from a
/// longer one.
const MAX_OPERATIONS: usize = 10;

/// What the rows of one frame description entry have in common.
pub(crate) struct Function<'a, S> {
    pub(crate) section: &'a S,
    pub(crate) encoding: Encoding,
    pub(crate) return_address_register: Register,
    pub(crate) is_signal_trampoline: bool,
}

impl<'data, S: UnwindSection<Bytes<'data>>> Function<'_, S> {
    /// What `row` says, as far as a rule can say it.
    pub(crate) fn translate(&self, row: &UnwindTableRow<usize>) -> Step {
        if self.is_signal_trampoline {
            return self.translate_signal(row);
        }
        match row.register(self.return_address_register) {
            Some(RegisterRule::Offset(-8)) => {}
            Some(RegisterRule::Undefined) => return Step::Root,
            Some(RegisterRule::Register(place)) => return translate_return(row, place),
            _ => return Step::Unsupported(Cause::ReturnAddress),
        }
        match self.translate_cfa(row.cfa()) {
            Ok(cfa) => Step::Caller {
                cfa,
                rbp: self.translate_rbp(row),
            },
            Err(cause) => Step::Unsupported(cause),
        }
    }

    fn translate_cfa(&self, rule: &CfaRule<usize>) -> Result<Cfa, Cause> {
        match rule {
            &CfaRule::RegisterAndOffset { register, offset } => match register {
                X86_64::RSP => Ok(Cfa::Rsp { offset }),
                X86_64::RBP => Ok(Cfa::Rbp { offset }),
                Register(number) => u8::try_from(number)
                    .ok()
                    .filter(|&number| number < 16)
                    .map(|number| Cfa::Register { number, offset })
                    .ok_or(Cause::CfaRegister),
            },
            CfaRule::Expression(expression) => self
                .parse_operations(expression)
                .and_then(|operations| translate_cfa_operations(&operations))
                .ok_or(Cause::CfaExpression),
        }
    }

    fn translate_rbp(&self, row: &UnwindTableRow<usize>) -> CallerRbp {
        match row.register(X86_64::RBP) {
            // The System V ABI has callees preserve rbp.
            None | Some(RegisterRule::SameValue) => CallerRbp::Unchanged,
            Some(RegisterRule::Offset(offset)) => offset
                .checked_neg()
                .map_or(CallerRbp::Unknown, |distance| CallerRbp::BelowCfa {
                    distance,
                }),
            Some(RegisterRule::Expression(expression))
                if self.register_plus(&expression) == Some((X86_64::RBP, 0)) =>
            {
                CallerRbp::AtRbp
            }
            _ => CallerRbp::Unknown,
        }
    }

    /// The kernel's signal frame is laid out one way; a file that says another is not believed.
    fn translate_signal(&self, row: &UnwindTableRow<usize>) -> Step {
        let is_saved_at = |register, place| match row.register(register) {
            Some(RegisterRule::Expression(expression)) => {
                self.register_plus(&expression) == Some((X86_64::RSP, place))
            }
            _ => false,
        };
        let cfa_is_interrupted_rsp = self.translate_cfa(row.cfa())
            == Ok(Cfa::DerefRsp {
                pre: SIGNAL_RSP,
                post: 0,
            });
        if cfa_is_interrupted_rsp
            && is_saved_at(X86_64::RBP, SIGNAL_RBP)
            && is_saved_at(self.return_address_register, SIGNAL_RIP)
        {
            Step::Signal
        } else {
            Step::Unsupported(Cause::SignalFrame)
        }
    }

    /// An expression that is a register plus a constant, nothing else.
    fn register_plus(&self, expression: &UnwindExpression<usize>) -> Option<(Register, i64)> {
        match self.parse_operations(expression)?.as_slice() {
            &[
                Operation::RegisterOffset {
                    register, offset, ..
                },
            ] => Some((register, offset)),
            _ => None,
        }
    }

    /// The first operations; `None` if they cannot be parsed.
    fn parse_operations(
        &self,
        expression: &UnwindExpression<usize>,
    ) -> Option<Vec<Operation<Bytes<'data>>>> {
        expression
            .get(self.section)
            .ok()?
            .operations(self.encoding)
            .take(MAX_OPERATIONS)
            .collect::<Result<_, _>>()
            .ok()
    }
}

/// glibc's `vfork` pops its return address into rdi, for the child shares the stack and would overwrite it
/// (<https://github.com/bminor/glibc/blob/glibc-2.40/sysdeps/unix/sysv/linux/x86_64/vfork.S>).
fn translate_return(row: &UnwindTableRow<usize>, place: Register) -> Step {
    let is_unchanged = matches!(
        row.register(X86_64::RBP),
        None | Some(RegisterRule::SameValue)
    );
    match (row.cfa(), u8::try_from(place.0)) {
        (
            &CfaRule::RegisterAndOffset {
                register: X86_64::RSP,
                offset,
            },
            Ok(number @ 0..=15),
        ) if is_unchanged => Step::ReturnInRegister { number, offset },
        _ => Step::Unsupported(Cause::ReturnAddress),
    }
}

/// The shapes that assembly, compilers and linkers write.
fn translate_cfa_operations(operations: &[Operation<Bytes<'_>>]) -> Option<Cfa> {
    translate_dereference(operations)
        .or_else(|| translate_indexed(operations))
        .or_else(|| translate_linkage_table(operations))
}

/// *(rsp or rbp + pre) + post; gcc leaves the last sum out.
fn translate_dereference(operations: &[Operation<Bytes<'_>>]) -> Option<Cfa> {
    use Operation::{Deref, PlusConstant, RegisterOffset};
    let (register, pre, post) = match *operations {
        [
            RegisterOffset {
                register, offset, ..
            },
            Deref {
                size: 8,
                space: false,
                ..
            },
            ref rest @ ..,
        ] => match *rest {
            [] => (register, offset, 0),
            [PlusConstant { value }] => (register, offset, i64::try_from(value).ok()?),
            _ => return None,
        },
        _ => return None,
    };
    match register {
        X86_64::RSP => Some(Cfa::DerefRsp { pre, post }),
        X86_64::RBP => Some(Cfa::DerefRbp { pre, post }),
        _ => None,
    }
}

/// *(rsp + pre + 8 * register) + post.
fn translate_indexed(operations: &[Operation<Bytes<'_>>]) -> Option<Cfa> {
    use Operation::{Deref, Mul, Plus, PlusConstant, RegisterOffset, UnsignedConstant};
    match *operations {
        [
            RegisterOffset {
                register: X86_64::RSP,
                offset: pre,
                ..
            },
            RegisterOffset {
                register: Register(number @ 0..=15),
                offset: 0,
                ..
            },
            UnsignedConstant { value: 8 },
            Mul,
            Plus,
            Deref {
                size: 8,
                space: false,
                ..
            },
            PlusConstant { value: post },
        ] => Some(Cfa::DerefIndex {
            number: u8::try_from(number).ok()?,
            pre,
            post: i64::try_from(post).ok()?,
        }),
        _ => None,
    }
}

/// rsp + 8 + (((rip & 15) >= threshold) << 3).
fn translate_linkage_table(operations: &[Operation<Bytes<'_>>]) -> Option<Cfa> {
    use Operation::{And, Ge, Plus, RegisterOffset, Shl, UnsignedConstant};
    match *operations {
        [
            RegisterOffset {
                register: X86_64::RSP,
                offset: 8,
                ..
            },
            RegisterOffset {
                register: X86_64::RA,
                offset: 0,
                ..
            },
            UnsignedConstant { value: 15 },
            And,
            UnsignedConstant { value: threshold },
            Ge,
            UnsignedConstant { value: 3 },
            Shl,
            Plus,
        ] => u32::try_from(threshold)
            .ok()
            .map(|threshold| Cfa::Plt { threshold }),
        _ => None,
    }
}
