//! Addresses in the file, and the distance to where the file was mapped.

use std::fmt;

/// An address as written in the ELF file ("stated virtual memory address").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Svma(pub u64);

impl fmt::Display for Svma {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

/// The distance between where a file's bytes are in a process and where the file states them:
/// `load bias = AVMA - SVMA`, modulo 2⁶⁴.
///
/// Zero for an executable that is not position independent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadBias(pub u64);

impl LoadBias {
    /// Turns an address of the process into the file's; wraps.
    pub fn svma(self, avma: u64) -> Svma {
        Svma(avma.wrapping_sub(self.0))
    }

    /// Turns an address of the file into the process's; wraps.
    pub fn avma(self, svma: Svma) -> u64 {
        svma.0.wrapping_add(self.0)
    }
}

impl fmt::Display for LoadBias {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_goes_there_and_back_even_when_it_is_negative() {
        // A prelinked library that could not be mapped where it wished has a "negative" bias.
        let bias = LoadBias(0x1000_u64.wrapping_sub(0x40_0000));
        assert_eq!(bias.svma(0x1234), Svma(0x40_0234));
        assert_eq!(bias.avma(Svma(0x40_0234)), 0x1234);
        assert_eq!(Svma(0x40_0234).to_string(), "0x400234");
    }
}
