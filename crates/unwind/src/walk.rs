//! From the innermost frame to the thread's root, rule by rule.
//!
//! The kernel's walk is the same loop; each line here has its counterpart there:
//!
//! ```text
//! loop
//!   lookup = the innermost frame or behind a signal ? rip : rip - 1
//!   mapping of lookup; rule of lookup
//!   CFA by the rule, which must be above rsp
//!   rip = *(CFA - 8), rbp by the rule, rsp = CFA
//! ```
//!
//! A return address may be the first byte behind a function that never returns, so callers are
//! looked up by the last byte of their call.

use crate::dwarf::{SIGNAL_RBP, SIGNAL_RIP, SIGNAL_RSP};
use crate::rule::{CallerRbp, Cfa, Rule, Step};

/// The registers of a thread, all AVMAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// rip: the instruction that runs next.
    pub ip: u64,
    /// rsp.
    pub sp: u64,
    /// rbp.
    pub bp: u64,
    /// All sixteen general registers by DWARF number (rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to
    /// r15), if known; some rules of the innermost frame need one.
    pub general: Option<[u64; 16]>,
}

/// One frame of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NativeFrame {
    /// AVMA: where the frame is executing. For a caller, the return address.
    pub address: u64,
    /// The canonical frame address: everything the frame has on the stack is below it.
    ///
    /// `u64::MAX` where it is not known: the thread's root, and the frame at which a walk broke. In
    /// a signal's frame, the word above the return address of the handler.
    pub cfa: u64,
    /// `address` is where a call returns to; the call is the instruction before it.
    pub is_return_address: bool,
}

impl NativeFrame {
    /// The address that lies in the instruction being executed: what to look names and lines up by.
    pub fn lookup_address(&self) -> u64 {
        self.address.wrapping_sub(u64::from(self.is_return_address))
    }
}

/// Why a walk ended; all but [`WalkEnd::Root`] too early, at the last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WalkEnd {
    /// The thread's first function, or a return address of zero.
    Root,
    /// `find` knew nothing of this address.
    NoMapping {
        /// The address looked up.
        address: u64,
    },
    /// The file has no unwind information for this address.
    NoUnwindInformation {
        /// The address looked up.
        address: u64,
    },
    /// The file says something that rules cannot say.
    UnsupportedRule {
        /// The rule, with its cause.
        rule: Rule,
    },
    /// A word of the stack could not be read.
    UnreadableMemory {
        /// Of the word.
        address: u64,
    },
    /// The CFA is not above rsp.
    StackNotAscending,
    /// The rule needs a register that is not known: rbp behind a frame that lost it, or another
    /// one elsewhere than in the innermost frame.
    RegisterLost,
    /// There are more frames than asked for.
    TooManyFrames,
}

/// A frame on the way: what is known of its registers.
pub(crate) struct Frame {
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    /// `None` behind a frame that lost it.
    pub(crate) bp: Option<u64>,
    /// Of the innermost frame.
    pub(crate) general: Option<[u64; 16]>,
    pub(crate) is_return_address: bool,
}

/// Walks from `registers` to the root.
///
/// `find` gives the rule for an AVMA, or `None` if there is no mapping with a table there;
/// `read_memory` the eight bytes at an AVMA. At most `max_frames` frames are returned, leaf first.
pub fn walk(
    registers: Registers,
    mut find: impl FnMut(u64) -> Option<Rule>,
    mut read_memory: impl FnMut(u64) -> Option<u64>,
    max_frames: usize,
) -> (Vec<NativeFrame>, WalkEnd) {
    let Registers {
        ip,
        sp,
        bp,
        general,
    } = registers;
    let mut frame = Frame {
        ip,
        sp,
        bp: Some(bp),
        general,
        is_return_address: false,
    };
    let mut frames: Vec<NativeFrame> = Vec::new();
    loop {
        if frames.len() >= max_frames {
            return (frames, WalkEnd::TooManyFrames);
        }
        let mut native = NativeFrame {
            address: frame.ip,
            cfa: u64::MAX,
            is_return_address: frame.is_return_address,
        };
        let lookup = native.lookup_address();
        let end = match find(lookup) {
            Some(rule) => frame.step(rule, lookup, &mut native.cfa, &mut read_memory),
            None => Err(WalkEnd::NoMapping { address: lookup }),
        };
        frames.push(native);
        match end {
            Ok(caller) => frame = caller,
            Err(end) => return (frames, end),
        }
    }
}

impl Frame {
    /// The caller's registers; sets `cfa` as soon as it is known to be one.
    pub(crate) fn step(
        &self,
        rule: Rule,
        lookup: u64,
        cfa: &mut u64,
        read_memory: &mut impl FnMut(u64) -> Option<u64>,
    ) -> Result<Self, WalkEnd> {
        let mut read =
            |address: u64| read_memory(address).ok_or(WalkEnd::UnreadableMemory { address });
        match rule.decode() {
            Step::NoInformation => Err(WalkEnd::NoUnwindInformation { address: lookup }),
            Step::Unsupported(_) => Err(WalkEnd::UnsupportedRule { rule }),
            Step::Root => Err(WalkEnd::Root),
            Step::Signal => {
                let interrupted = Self {
                    bp: Some(read(self.sp.wrapping_add_signed(SIGNAL_RBP))?),
                    sp: read(self.sp.wrapping_add_signed(SIGNAL_RSP))?,
                    ip: read(self.sp.wrapping_add_signed(SIGNAL_RIP))?,
                    general: None,
                    is_return_address: false,
                };
                // The interrupted stack may be another one (sigaltstack), above or below, so the
                // interrupted rsp, which is the CFA by the file, would not ascend.
                *cfa = self.sp.wrapping_add(8);
                Ok(interrupted)
            }
            Step::ReturnInRegister { number, offset } => {
                let ip = self.find_general(number)?;
                let found = self.sp.wrapping_add_signed(offset);
                if found < self.sp {
                    return Err(WalkEnd::StackNotAscending);
                }
                *cfa = found;
                if ip == 0 {
                    return Err(WalkEnd::Root);
                }
                Ok(Self {
                    ip,
                    sp: found,
                    bp: self.bp,
                    general: None,
                    is_return_address: true,
                })
            }
            Step::Caller { cfa: place, rbp } => {
                let found = self.find_cfa(place, lookup, &mut read)?;
                if found <= self.sp {
                    return Err(WalkEnd::StackNotAscending);
                }
                let ip = read(found.wrapping_sub(8))?;
                let bp = self.find_caller_bp(rbp, found, &mut read);
                *cfa = found;
                if ip == 0 {
                    return Err(WalkEnd::Root);
                }
                Ok(Self {
                    ip,
                    sp: found,
                    bp,
                    general: None,
                    is_return_address: true,
                })
            }
        }
    }

    fn find_cfa(
        &self,
        place: Cfa,
        lookup: u64,
        read: &mut impl FnMut(u64) -> Result<u64, WalkEnd>,
    ) -> Result<u64, WalkEnd> {
        let bp = self.bp.ok_or(WalkEnd::RegisterLost);
        Ok(match place {
            Cfa::Rsp { offset } => self.sp.wrapping_add_signed(offset),
            Cfa::Rbp { offset } => bp?.wrapping_add_signed(offset),
            Cfa::DerefRsp { pre, post } => {
                read(self.sp.wrapping_add_signed(pre))?.wrapping_add_signed(post)
            }
            Cfa::DerefRbp { pre, post } => {
                read(bp?.wrapping_add_signed(pre))?.wrapping_add_signed(post)
            }
            // Files are mapped at whole pages, so the low bits are those of the SVMA.
            Cfa::Plt { threshold } => {
                let is_pushed = lookup & 15 >= u64::from(threshold);
                self.sp.wrapping_add(if is_pushed { 16 } else { 8 })
            }
            Cfa::DerefIndex { number, pre, post } => {
                let index = self.find_general(number)?.wrapping_mul(8);
                let place = self.sp.wrapping_add(index).wrapping_add_signed(pre);
                read(place)?.wrapping_add_signed(post)
            }
            Cfa::Register { number, offset } => {
                self.find_general(number)?.wrapping_add_signed(offset)
            }
        })
    }

    fn find_general(&self, number: u8) -> Result<u64, WalkEnd> {
        self.general
            .and_then(|general| general.get(usize::from(number)).copied())
            .ok_or(WalkEnd::RegisterLost)
    }

    /// `None` is not known, or not readable, which ends the walk only if a caller needs it.
    fn find_caller_bp(
        &self,
        place: CallerRbp,
        cfa: u64,
        read: &mut impl FnMut(u64) -> Result<u64, WalkEnd>,
    ) -> Option<u64> {
        match place {
            CallerRbp::Unchanged => self.bp,
            CallerRbp::Unknown => None,
            CallerRbp::BelowCfa { distance } => read(cfa.wrapping_add_signed(-distance)).ok(),
            // gcc says so behind `leave` as well, where rbp is the caller's again: no place in this
            // frame.
            CallerRbp::AtRbp => match self.bp {
                Some(bp) if (self.sp..cfa).contains(&bp) => read(bp).ok(),
                bp => bp,
            },
        }
    }
}

#[cfg(test)]
mod tests;
