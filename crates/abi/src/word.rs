use crate::Reason;

/// What a word of a stack means: its upper four bits (`enum word_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "each is told at the variant of `Word` of the same name"
)]
pub enum WordKind {
    Native = 1,
    Address = 2,
    Python = 3,
    Entry = 4,
    Reason = 5,
    EntryAddress = 6,
    Suspended = 7,
}

impl WordKind {
    /// Every kind, with its enumerator's name in C.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Native, "WORD_NATIVE"),
        (Self::Address, "WORD_ADDRESS"),
        (Self::Python, "WORD_PYTHON"),
        (Self::Entry, "WORD_ENTRY"),
        (Self::Reason, "WORD_REASON"),
        (Self::EntryAddress, "WORD_ENTRY_ADDRESS"),
        (Self::Suspended, "WORD_SUSPENDED"),
    ];
}

/// One word of a stack's native or Python section.
///
/// ```
/// # use viperf_abi::Word;
/// assert_eq!(Word::decode(0x1_0000a_0000001234), Word::Native { executable: 10, svma: 0x1234 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A native frame: the address in the executable's own terms.
    Native {
        /// The number that user space gave the executable; 20 bits.
        executable: u32,
        /// 40 bits.
        svma: u64,
    },
    /// A native frame in a mapping that is not known or has no file; an AVMA of 60 bits.
    Address(u64),
    /// A Python frame.
    Python {
        /// The number that the kernel gave the code object.
        code: u32,
        /// Instruction offset in units of two bytes; -1 before the first instruction.
        unit: i32,
    },
    /// The end of the run of Python frames before it: the index of the native frame that owns them.
    Entry {
        /// Leaf is 0; `None` when no native frame was found for it.
        owner: Option<u16>,
    },
    /// The same in a deferred sample: the C-stack address whose owner is still to be found.
    EntryAddress(u64),
    /// The Python frame before it may be one that no eval call runs (3.9, 3.10).
    Suspended,
    /// The way was lost here: the section's walk ended too early, or native frames are missing before the next word.
    Reason(Result<Reason, u16>),
    /// A word of a kind that this version does not know.
    Unknown(u64),
}

impl Word {
    /// Takes a word of the native or the Python section apart.
    #[must_use]
    pub fn decode(word: u64) -> Self {
        let payload = word & 0x0fff_ffff_ffff_ffff;
        match word >> 60 {
            1 => Self::Native {
                executable: (payload >> 40) as u32,
                svma: payload & 0xff_ffff_ffff,
            },
            2 => Self::Address(payload),
            3 => Self::Python {
                code: (payload >> 28) as u32,
                unit: (payload & 0x0fff_ffff) as i32 - 1,
            },
            4 => match payload as u16 {
                crate::limit::NO_OWNER_U16 => Self::Entry { owner: None },
                owner => Self::Entry { owner: Some(owner) },
            },
            5 => Self::Reason(Reason::from_code(payload as u16).ok_or(payload as u16)),
            6 => Self::EntryAddress(payload),
            7 if payload == 0 => Self::Suspended,
            _ => Self::Unknown(word),
        }
    }

    /// Puts a word together: the reverse of [`Word::decode`]. What does not fit its bits is cut off.
    #[must_use]
    pub fn encode(self) -> u64 {
        let word = |kind: WordKind, payload: u64| (kind as u64) << 60 | payload & (u64::MAX >> 4);
        match self {
            Self::Native { executable, svma } => word(
                WordKind::Native,
                u64::from(executable) << 40 | svma & 0xff_ffff_ffff,
            ),
            Self::Address(address) => word(WordKind::Address, address),
            Self::Python { code, unit } => word(
                WordKind::Python,
                u64::from(code) << 28 | (unit + 1) as u64 & 0x0fff_ffff,
            ),
            Self::Entry { owner } => word(
                WordKind::Entry,
                owner.unwrap_or(crate::limit::NO_OWNER_U16).into(),
            ),
            Self::EntryAddress(address) => word(WordKind::EntryAddress, address),
            Self::Suspended => word(WordKind::Suspended, 0),
            Self::Reason(Ok(reason)) => word(WordKind::Reason, reason as u64),
            Self::Reason(Err(code)) => word(WordKind::Reason, code.into()),
            Self::Unknown(word) => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_whole_at_their_limits() {
        let all = u64::MAX >> 4;
        assert_eq!(
            Word::decode(1 << 60 | all),
            Word::Native {
                executable: 0xf_ffff,
                svma: 0xff_ffff_ffff
            }
        );
        assert_eq!(
            Word::decode(3 << 60 | all),
            Word::Python {
                code: u32::MAX,
                unit: 0x0fff_fffe
            }
        );
        assert_eq!(Word::decode(3 << 60), Word::Python { code: 0, unit: -1 });
        assert_eq!(Word::decode(4 << 60 | 65535), Word::Entry { owner: None });
        assert_eq!(
            Word::decode(5 << 60 | 1003),
            Word::Reason(Ok(Reason::NativeNoRow))
        );
        assert_eq!(Word::decode(5 << 60 | 9), Word::Reason(Err(9)));
        assert_eq!(Word::decode(0), Word::Unknown(0));
    }

    #[test]
    fn every_word_comes_back_as_it_was() {
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..100_000 {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let decoded = Word::decode(word);
            assert_eq!(Word::decode(decoded.encode()), decoded, "{word:#x}");
        }
    }
}
