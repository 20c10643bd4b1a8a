//! The format of the rows, its writer and its reader.

/// A row of the table: from `pc` on, `rule` holds.
///
/// Eight bytes, both fields little-endian; [`Rule`] describes its number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The SVMA of the first byte the rule holds for.
    pub pc: u32,
    /// The rule.
    pub rule: Rule,
}

const _: () = assert!(
    size_of::<Row>() == 8,
    "the kernel reads rows of eight bytes"
);

/// How to get from one frame to its caller, as one number that the kernel decodes too.
///
/// A [`Row`] says from which address on the rule holds; it holds up to the next row's address. The
/// bits of the number are:
///
/// ```text
/// bits  0..4   kind
/// bits  4..12  rbp: how the caller's rbp is found
/// bits 12..32  argument of the kind, 20 bits
/// ```
///
/// With `signed(bits)` read as two's complement, all from the registers of the frame in hand:
///
/// ```text
/// kind  name         CFA
///    0  NONE         no unwind information covers this address
///    1  RSP          rsp + 8 * signed(argument)
///    2  RBP          rbp + 8 * signed(argument)
///    3  DEREF_RSP    *(rsp + 8 * signed(argument bits 0..12)) + 8 * (argument bits 12..20)
///    4  DEREF_RBP    *(rbp + 8 * signed(argument bits 0..12)) + 8 * (argument bits 12..20)
///    5  PLT          rsp + 8 + 8 * ((pc & 15) >= argument)
///    6  SIGNAL       the kernel's signal frame: the interrupted registers are in memory
///    7  END          the root of the thread: there is no caller
///    8  REGISTER     register + 8 * signed(argument bits 4..20)
///    9  UNSUPPORTED  none; the argument is the cause
///   10  DEREF_INDEX  *(rsp + 8 * register + 8 * signed(argument bits 4..16))
///                      + 8 * (argument bits 16..20)
///                    where register = argument bits 0..4, in REGISTER, too
///   11  RETURN_REGISTER  rsp + 8 * signed(argument bits 4..20), and may be rsp itself;
///                    caller's rip = register (argument bits 0..4), not in memory
///
/// rbp field  the caller's rbp
///   0        rbp, unchanged
///   1..=253  *(CFA - 8 * field)
///   254      *(rbp)
///   255      cannot be known
/// ```
///
/// In the kinds with a CFA
///
/// ```text
/// caller's rip = *(CFA - 8)
/// caller's rsp = CFA
/// ```
///
/// and in SIGNAL, where rsp points at the `ucontext` that the kernel wrote (see
/// `restore_rt` in
/// <https://github.com/bminor/glibc/blob/glibc-2.40/sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c>)
///
/// ```text
/// interrupted rbp = *(rsp + 120)
/// interrupted rsp = *(rsp + 160)
/// interrupted rip = *(rsp + 168)
/// ```
///
/// REGISTER, DEREF_INDEX and RETURN_REGISTER number registers as DWARF does (System V AMD64 ABI, figure 3.36). Only
/// rip, rsp and rbp are followed through callers, so the three can be applied to the innermost frame
/// alone. RETURN_REGISTER is glibc's vfork, in which a parent waits for its child to exec. DEREF_INDEX is OpenSSL's Montgomery multiplication, where RSA spends its time: its frame
/// is as long as the number in r9 says, and the caller's rsp lies behind.
///
/// The rbp field 254 is what gcc writes in functions that realign their stack (`DW_CFA_expression:
/// rbp (DW_OP_breg6 0)`; two functions in a hundred of numpy's core, one in ten of its vector code):
/// the distance of the saved rbp from the CFA is not a constant there.
///
/// [`Rule::decode`] gives all this as a [`Step`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule(pub u32);

/// What a [`Rule`] says. All offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// No unwind information covers the address.
    NoInformation,
    /// To the caller: its return address is at `CFA - 8`, its rsp is the CFA.
    Caller {
        /// The canonical frame address.
        cfa: Cfa,
        /// The caller's rbp.
        rbp: CallerRbp,
    },
    /// To the caller, whose return address has been popped into a register: rip = register, rsp = rsp + offset, rbp
    /// unchanged; possible in the innermost frame only.
    ReturnInRegister {
        /// The register's DWARF number, 0 to 15.
        number: u8,
        /// A multiple of 8 within ±256 KiB.
        offset: i64,
    },
    /// To the code that a signal interrupted, through the frame that the kernel wrote.
    Signal,
    /// There is no caller: the thread's first function.
    Root,
    /// The file says something that no rule can say.
    Unsupported(Cause),
}

/// Where the canonical frame address is: the value of rsp before the caller's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cfa {
    /// rsp + offset.
    Rsp {
        /// A multiple of 8 within ±4 MiB.
        offset: i64,
    },
    /// rbp + offset.
    Rbp {
        /// A multiple of 8 within ±4 MiB.
        offset: i64,
    },
    /// *(rsp + pre) + post: assembly that saved the rsp of its caller on a stack it realigned.
    DerefRsp {
        /// A multiple of 8 within ±16 KiB.
        pre: i64,
        /// A multiple of 8, at most 2040.
        post: i64,
    },
    /// *(rbp + pre) + post: what gcc writes for a stack it realigned.
    DerefRbp {
        /// A multiple of 8 within ±16 KiB.
        pre: i64,
        /// A multiple of 8, at most 2040.
        post: i64,
    },
    /// rsp + 8, and 8 more from the `threshold`-th byte of each 16-byte entry on: the linkers'
    /// procedure linkage tables, where one row serves all entries.
    Plt {
        /// The offset in the entry of the first byte after its push.
        threshold: u32,
    },
    /// *(rsp + 8 * register + pre) + post; possible in the innermost frame only.
    DerefIndex {
        /// The register's DWARF number, 0 to 15.
        number: u8,
        /// A multiple of 8 within ±16 KiB.
        pre: i64,
        /// A multiple of 8, at most 120.
        post: i64,
    },
    /// Another register + offset; possible in the innermost frame only.
    Register {
        /// The register's DWARF number, 0 to 15.
        number: u8,
        /// A multiple of 8 within ±256 KiB.
        offset: i64,
    },
}

/// Where the caller's rbp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerRbp {
    /// Still in rbp.
    Unchanged,
    /// *(CFA - distance).
    BelowCfa {
        /// A multiple of 8 from 8 to 2024.
        distance: i64,
    },
    /// *(rbp): pushed before rbp was set to rsp.
    AtRbp,
    /// Nothing says where.
    Unknown,
}

/// Why no rule can say what the file says: the argument of an UNSUPPORTED rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The rule is not one that this crate writes.
    Malformed = 0,
    /// The CFA is an expression of another shape than those with a kind.
    CfaExpression = 1,
    /// The CFA starts from a register that is not a general one.
    CfaRegister = 2,
    /// An offset of the CFA is not a multiple of 8 or too large.
    CfaOffset = 3,
    /// The return address is not at CFA - 8.
    ReturnAddress = 4,
    /// A signal frame with its registers in other places than the kernel's.
    SignalFrame = 5,
}

const KIND_NONE: u32 = 0;
const KIND_RSP: u32 = 1;
const KIND_RBP: u32 = 2;
const KIND_DEREF_RSP: u32 = 3;
const KIND_DEREF_RBP: u32 = 4;
const KIND_PLT: u32 = 5;
const KIND_SIGNAL: u32 = 6;
const KIND_END: u32 = 7;
const KIND_REGISTER: u32 = 8;
const KIND_UNSUPPORTED: u32 = 9;
const KIND_DEREF_INDEX: u32 = 10;
const KIND_RETURN_REGISTER: u32 = 11;

const RBP_UNCHANGED: u32 = 0;
const RBP_AT_RBP: u32 = 254;
const RBP_UNKNOWN: u32 = 255;

/// The largest distance of a saved rbp from the CFA that the eight bits can say, in words.
const MAX_RBP_WORDS: u32 = RBP_AT_RBP - 1;

impl Rule {
    /// No unwind information covers the address.
    pub const NONE: Self = Self(KIND_NONE);

    /// Writes a step down; one that does not fit becomes UNSUPPORTED, and a saved rbp that is too
    /// far from the CFA one that cannot be known.
    pub fn encode(step: Step) -> Self {
        match step {
            Step::NoInformation => Self::NONE,
            Step::Signal => Self(KIND_SIGNAL),
            Step::Root => Self(KIND_END),
            Step::Unsupported(cause) => Self::new(KIND_UNSUPPORTED, RBP_UNCHANGED, cause as u32),
            Step::ReturnInRegister { number, offset } => match encode_register(number, offset) {
                Some(argument) => Self::new(KIND_RETURN_REGISTER, RBP_UNCHANGED, argument),
                None => Self::encode(Step::Unsupported(Cause::CfaOffset)),
            },
            Step::Caller { cfa, rbp } => match encode_cfa(cfa) {
                Some((kind, argument)) => Self::new(kind, encode_rbp(rbp), argument),
                None => Self::encode(Step::Unsupported(Cause::CfaOffset)),
            },
        }
    }

    /// Reads the step; total: a number that [`Rule::encode`] never gives is UNSUPPORTED.
    pub fn decode(self) -> Step {
        let argument = self.0 >> 12;
        let pre = words_to_bytes(sign_extended(argument, 12));
        let post = i64::from(argument >> 12) * 8;
        let number = (argument & 15) as u8;
        let offset = words_to_bytes(sign_extended(argument >> 4, 16));
        let cfa = match self.0 & 15 {
            KIND_NONE => return Step::NoInformation,
            KIND_SIGNAL => return Step::Signal,
            KIND_END => return Step::Root,
            KIND_RSP => Cfa::Rsp {
                offset: words_to_bytes(sign_extended(argument, 20)),
            },
            KIND_RBP => Cfa::Rbp {
                offset: words_to_bytes(sign_extended(argument, 20)),
            },
            KIND_DEREF_RSP => Cfa::DerefRsp { pre, post },
            KIND_DEREF_RBP => Cfa::DerefRbp { pre, post },
            KIND_PLT => Cfa::Plt {
                threshold: argument,
            },
            KIND_REGISTER => Cfa::Register { number, offset },
            KIND_RETURN_REGISTER => return Step::ReturnInRegister { number, offset },
            KIND_DEREF_INDEX => Cfa::DerefIndex {
                number,
                pre: words_to_bytes(sign_extended(argument >> 4, 12)),
                post: i64::from(argument >> 16) * 8,
            },
            KIND_UNSUPPORTED => return Step::Unsupported(decode_cause(argument)),
            _ => return Step::Unsupported(Cause::Malformed),
        };
        let rbp = match (self.0 >> 4) & 255 {
            RBP_UNCHANGED => CallerRbp::Unchanged,
            RBP_AT_RBP => CallerRbp::AtRbp,
            RBP_UNKNOWN => CallerRbp::Unknown,
            words => CallerRbp::BelowCfa {
                distance: i64::from(words) * 8,
            },
        };
        Step::Caller { cfa, rbp }
    }

    /// Whether the rule is UNSUPPORTED.
    pub fn is_unsupported(self) -> bool {
        matches!(self.decode(), Step::Unsupported(_))
    }

    /// rule = kind | rbp << 4 | argument << 12.
    fn new(kind: u32, rbp: u32, argument: u32) -> Self {
        Self(kind | rbp << 4 | argument << 12)
    }
}

/// Kind and argument; `None` if an offset does not fit.
fn encode_cfa(cfa: Cfa) -> Option<(u32, u32)> {
    Some(match cfa {
        Cfa::Rsp { offset } => (KIND_RSP, encode_signed(offset, 20)?),
        Cfa::Rbp { offset } => (KIND_RBP, encode_signed(offset, 20)?),
        Cfa::DerefRsp { pre, post } => (
            KIND_DEREF_RSP,
            encode_signed(pre, 12)? | encode_unsigned(post, 8)? << 12,
        ),
        Cfa::DerefRbp { pre, post } => (
            KIND_DEREF_RBP,
            encode_signed(pre, 12)? | encode_unsigned(post, 8)? << 12,
        ),
        Cfa::Plt { threshold } => (KIND_PLT, Some(threshold).filter(|&at| at < 1 << 20)?),
        Cfa::DerefIndex { number, pre, post } => (
            KIND_DEREF_INDEX,
            u32::from(number & 15) | encode_signed(pre, 12)? << 4 | encode_unsigned(post, 4)? << 16,
        ),
        Cfa::Register { number, offset } => (KIND_REGISTER, encode_register(number, offset)?),
    })
}

/// A register and an offset of sixteen bits; `None` if that does not fit.
fn encode_register(number: u8, offset: i64) -> Option<u32> {
    Some(u32::from(number & 15) | encode_signed(offset, 16)? << 4)
}

fn encode_rbp(rbp: CallerRbp) -> u32 {
    match rbp {
        CallerRbp::Unchanged => RBP_UNCHANGED,
        CallerRbp::AtRbp => RBP_AT_RBP,
        CallerRbp::Unknown => RBP_UNKNOWN,
        CallerRbp::BelowCfa { distance } => encode_unsigned(distance, 8)
            .filter(|words| (1..=MAX_RBP_WORDS).contains(words))
            .unwrap_or(RBP_UNKNOWN),
    }
}

fn decode_cause(code: u32) -> Cause {
    use Cause::{CfaExpression, CfaOffset, CfaRegister, Malformed, ReturnAddress, SignalFrame};
    [
        CfaExpression,
        CfaRegister,
        CfaOffset,
        ReturnAddress,
        SignalFrame,
    ]
    .into_iter()
    .find(|&cause| cause as u32 == code)
    .unwrap_or(Malformed)
}

fn exact_words(bytes: i64) -> Option<i64> {
    (bytes % 8 == 0).then_some(bytes / 8)
}

fn words_to_bytes(words: i32) -> i64 {
    i64::from(words) * 8
}

/// The low `bits` of the number of words in `offset`; `None` if it has more or is not whole.
fn encode_signed(offset: i64, bits: u32) -> Option<u32> {
    let words = i32::try_from(exact_words(offset)?).ok()?;
    let limit = 1_i32 << (bits - 1);
    (-limit..limit)
        .contains(&words)
        .then(|| words.cast_unsigned() & ((1 << bits) - 1))
}

/// The number of words in `offset`; `None` if it needs more than `bits` or is not whole.
fn encode_unsigned(offset: i64, bits: u32) -> Option<u32> {
    let words = u32::try_from(exact_words(offset)?).ok()?;
    (words < 1 << bits).then_some(words)
}

/// The low `bits` of `value`, read as two's complement.
fn sign_extended(value: u32, bits: u32) -> i32 {
    (value << (32 - bits)).cast_signed() >> (32 - bits)
}

/// The rule that holds at `pc`: that of the last row at or below it, NONE before the first.
///
/// `rows` must be sorted by address, as [`crate::build_rows`] returns them.
pub fn find_rule(rows: &[Row], pc: u32) -> Rule {
    rows.partition_point(|row| row.pc <= pc)
        .checked_sub(1)
        .and_then(|index| rows.get(index))
        .map_or(Rule::NONE, |row| row.rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_RBP: [CallerRbp; 5] = [
        CallerRbp::Unchanged,
        CallerRbp::BelowCfa { distance: 8 },
        CallerRbp::BelowCfa { distance: 2024 },
        CallerRbp::AtRbp,
        CallerRbp::Unknown,
    ];

    fn round_trips(cfa: Cfa) -> bool {
        ALL_RBP
            .into_iter()
            .map(|rbp| Step::Caller { cfa, rbp })
            .all(|step| Rule::encode(step).decode() == step)
    }

    #[test]
    fn every_step_at_its_limits_survives_the_thirty_two_bits() {
        let words = |count: i64| count * 8;
        for offset in [-(1 << 19), -1, 0, 1, (1 << 19) - 1].map(words) {
            assert!(round_trips(Cfa::Rsp { offset }));
            assert!(round_trips(Cfa::Rbp { offset }));
        }
        for pre in [-2048, -1, 0, 5, 2047].map(words) {
            for post in [0, 1, 255].map(words) {
                assert!(round_trips(Cfa::DerefRsp { pre, post }));
                assert!(round_trips(Cfa::DerefRbp { pre, post }));
            }
        }
        for number in 0..16 {
            for offset in [-(1 << 15), -1, 0, (1 << 15) - 1].map(words) {
                assert!(round_trips(Cfa::Register { number, offset }));
            }
        }
        for pre in [-2048, -1, 0, 1, 2047].map(words) {
            for post in [0, 1, 15].map(words) {
                let number = 9;
                assert!(round_trips(Cfa::DerefIndex { number, pre, post }));
            }
        }
        assert!(round_trips(Cfa::Plt { threshold: 11 }));
        for (number, offset) in [(5, 0), (0, 8), (15, -8)] {
            let step = Step::ReturnInRegister { number, offset };
            assert_eq!(Rule::encode(step).decode(), step);
        }
        for step in [Step::NoInformation, Step::Signal, Step::Root] {
            assert_eq!(Rule::encode(step).decode(), step);
        }
        for code in 0..6 {
            let step = Step::Unsupported(decode_cause(code));
            assert_eq!(Rule::encode(step).decode(), step);
        }
    }

    #[test]
    fn the_bits_are_where_the_kernel_looks_for_them() {
        let rule = |cfa, rbp| Rule::encode(Step::Caller { cfa, rbp }).0;
        // push %rbp; mov %rsp,%rbp: CFA = rbp + 16, rbp at CFA - 16.
        assert_eq!(
            rule(
                Cfa::Rbp { offset: 16 },
                CallerRbp::BelowCfa { distance: 16 }
            ),
            0x0000_2022
        );
        assert_eq!(
            rule(Cfa::Rsp { offset: -8 }, CallerRbp::Unchanged),
            0xffff_f001
        );
        // OpenSSL: DW_OP_breg7 -8; DW_OP_deref; DW_OP_plus_uconst 8.
        assert_eq!(
            rule(Cfa::DerefRsp { pre: -8, post: 8 }, CallerRbp::Unknown),
            0x01ff_fff3
        );
        // gcc: DW_OP_breg6 -40; DW_OP_deref, rbp at DW_OP_breg6 0.
        assert_eq!(
            rule(Cfa::DerefRbp { pre: -40, post: 0 }, CallerRbp::AtRbp),
            0x00ff_bfe4
        );
        assert_eq!(
            rule(Cfa::Plt { threshold: 11 }, CallerRbp::Unchanged),
            0x0000_b005
        );
        // OpenSSL: DW_OP_breg7 8; DW_OP_breg9 0; DW_OP_lit8; DW_OP_mul; DW_OP_plus; DW_OP_deref;
        // DW_OP_plus_uconst 8.
        assert_eq!(
            rule(
                Cfa::DerefIndex {
                    number: 9,
                    pre: 8,
                    post: 8
                },
                CallerRbp::BelowCfa { distance: 16 }
            ),
            0x1001_902a
        );
        // glibc's vfork behind its first instruction: return address in rdi, CFA = rsp.
        let vfork = Step::ReturnInRegister {
            number: 5,
            offset: 0,
        };
        assert_eq!(Rule::encode(vfork).0, 0x0000_500b);
        // CFA = r10 - 16.
        assert_eq!(
            rule(
                Cfa::Register {
                    number: 10,
                    offset: -16
                },
                CallerRbp::Unchanged
            ),
            0xfffe_a008
        );
    }

    #[test]
    fn what_does_not_fit_is_unsupported_and_a_far_rbp_is_unknown() {
        let encoded = |cfa, rbp| Rule::encode(Step::Caller { cfa, rbp }).decode();
        let too_large = Step::Unsupported(Cause::CfaOffset);
        for cfa in [
            Cfa::Rsp { offset: 12 },
            Cfa::Rsp { offset: 8 << 19 },
            Cfa::Rbp { offset: i64::MIN },
            Cfa::DerefRsp {
                pre: 8 * 2048,
                post: 0,
            },
            Cfa::DerefRbp { pre: 0, post: -8 },
            Cfa::DerefRbp {
                pre: 0,
                post: 8 * 256,
            },
            Cfa::DerefIndex {
                number: 9,
                pre: 8,
                post: 128,
            },
            Cfa::Plt { threshold: 1 << 20 },
            Cfa::Register {
                number: 3,
                offset: 8 << 15,
            },
        ] {
            assert_eq!(encoded(cfa, CallerRbp::Unchanged), too_large);
        }
        let cfa = Cfa::Rsp { offset: 4096 };
        for distance in [-8, 0, 12, 2032, i64::MAX] {
            assert_eq!(
                encoded(cfa, CallerRbp::BelowCfa { distance }),
                Step::Caller {
                    cfa,
                    rbp: CallerRbp::Unknown
                }
            );
        }
    }

    #[test]
    fn any_number_decodes() {
        for number in (0..u32::MAX).step_by(65_521) {
            for kind in 0..16 {
                let rule = Rule((number & !15) | kind);
                assert_eq!(
                    Rule::encode(rule.decode()).decode(),
                    rule.decode(),
                    "{rule:x?}"
                );
            }
        }
    }

    #[test]
    fn the_last_row_at_or_below_the_address_holds() {
        let row = |pc, rule| Row {
            pc,
            rule: Rule(rule),
        };
        let rows = [row(16, 1), row(32, 2), row(48, 0)];
        let found = |pc| find_rule(&rows, pc).0;
        assert_eq!(
            [0, 15, 16, 31, 32, 47, 48, u32::MAX].map(found),
            [0, 0, 1, 1, 2, 2, 0, 0]
        );
        assert_eq!(find_rule(&[], 5), Rule::NONE);
    }
}
