//! How inputs are damaged.

/// Numbers at which readers go wrong.
const INTERESTING: [u64; 16] = [
    0,
    1,
    7,
    8,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// No input grows larger than its seed by more than this, in bytes.
const MOST_GROWTH: usize = 4096;

/// Damages inputs; the same seed, the same damage.
#[derive(Clone, Debug)]
pub struct Mutator {
    /// Of xorshift64*, which needs no more than not to be zero.
    state: u64,
}

impl Mutator {
    /// A mutator that begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// A number below `limit`; zero for a limit of zero.
    pub fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let high = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(high)
            .unwrap_or_default()
            .checked_rem(limit)
            .unwrap_or_default()
    }

    /// One of the inputs, damaged in one to eight places.
    pub fn mutate(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.choose(inputs);
        let limit = bytes.len() + MOST_GROWTH;
        for _ in 0..=self.below(8) {
            self.damage(&mut bytes, inputs);
        }
        bytes.truncate(limit);
        bytes
    }

    fn choose(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let index = self.below(inputs.len());
        inputs.get(index).cloned().unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    /// A place in the bytes; half the time near the start, where headers are.
    fn place(&mut self, bytes: &[u8]) -> usize {
        if self.below(2) == 0 {
            self.below(bytes.len().min(512))
        } else {
            self.below(bytes.len())
        }
    }

    /// A range in the bytes, mostly short.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(bytes);
        let longest = if self.below(4) == 0 { 1024 } else { 16 };
        let end = start.saturating_add(1 + self.below(longest));
        start..end.min(bytes.len())
    }

    fn damage(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.place(bytes);
        match self.below(10) {
            0 | 1 => {
                let bit = self.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            2 => {
                let new = self.byte();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = new;
                }
            }
            3 | 4 => self.write_number(bytes, at),
            5 => {
                let range = self.range(bytes);
                bytes.drain(range);
            }
            6 => {
                let range = self.range(bytes);
                let copy = bytes.get(range).unwrap_or_default().to_vec();
                bytes.splice(at..at, copy);
            }
            7 => {
                let other = self.choose(inputs);
                let range = self.range(&other);
                let part = other.get(range).unwrap_or_default().to_vec();
                let end = at.saturating_add(part.len()).min(bytes.len());
                bytes.splice(at..end, part);
            }
            8 => {
                let range = self.range(bytes);
                let value = self.byte();
                if let Some(part) = bytes.get_mut(range) {
                    part.fill(value);
                }
            }
            _ if self.below(4) == 0 => bytes.truncate(at),
            _ => {
                let new: Vec<u8> = (0..=self.below(16)).map(|_| self.byte()).collect();
                bytes.splice(at..at, new);
            }
        }
    }

    /// One of the numbers above, or one near the one that is there, in one to eight bytes.
    fn write_number(&mut self, bytes: &mut [u8], at: usize) {
        let width = 1_usize << self.below(4);
        let index = self.below(INTERESTING.len());
        let delta = self.below(33) as u64;
        let near = self.below(2) == 0;
        let Some(place) = bytes.get_mut(at..at.saturating_add(width)) else {
            return;
        };
        let mut old = [0; 8];
        old.iter_mut()
            .zip(&*place)
            .for_each(|(to, from)| *to = *from);
        let new = if near {
            u64::from_le_bytes(old).wrapping_add(delta).wrapping_sub(16)
        } else {
            INTERESTING.get(index).copied().unwrap_or_default()
        };
        place
            .iter_mut()
            .zip(new.to_le_bytes())
            .for_each(|(to, from)| *to = from);
    }
}
