//! Which CPython it is.

use std::fmt;

/// A CPython version as CPython itself encodes it, such as `0x030b07f0` for 3.11.7. All zero behind the minor: not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// [`PY_VERSION_HEX`](https://docs.python.org/3/c-api/apiabiversion.html#c.PY_VERSION_HEX): a byte each for
    /// major, minor and micro, then four bits for the release level (`a`, `b`, `c`, `f`) and four for its serial.
    pub hex: u32,
}

impl Version {
    /// A version of which only major and minor are known.
    #[must_use]
    pub const fn of_minor(major: u8, minor: u8) -> Self {
        Self {
            hex: u32::from_be_bytes([major, minor, 0, 0]),
        }
    }

    /// The same minor version, released with this micro version.
    #[must_use]
    pub const fn with_micro(self, micro: u8) -> Self {
        Self {
            hex: u32::from_be_bytes([self.major(), self.minor(), micro, 0xf0]),
        }
    }

    /// Whether more than major and minor are known.
    #[must_use]
    pub const fn has_micro(self) -> bool {
        self.hex & 0xffff != 0
    }

    /// 3 of 3.13.0rc1.
    #[must_use]
    pub const fn major(self) -> u8 {
        self.hex.to_be_bytes()[0]
    }

    /// 13 of 3.13.0rc1.
    #[must_use]
    pub const fn minor(self) -> u8 {
        self.hex.to_be_bytes()[1]
    }

    /// 0 of 3.13.0rc1.
    #[must_use]
    pub const fn micro(self) -> u8 {
        self.hex.to_be_bytes()[2]
    }

    /// Whether it is a final version or a release candidate.
    /// Structs still change between alphas and betas: `_Py_DebugOffsets` did, several times, before 3.13.0rc1.
    #[must_use]
    pub const fn has_settled_layout(self) -> bool {
        !self.has_micro() || matches!(self.hex >> 4 & 0xf, 0xc | 0xf)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_micro() {
            return write!(formatter, "{}.{}", self.major(), self.minor());
        }
        write!(
            formatter,
            "{}.{}.{}",
            self.major(),
            self.minor(),
            self.micro()
        )?;
        let serial = self.hex & 0xf;
        match self.hex >> 4 & 0xf {
            0xa => write!(formatter, "a{serial}"),
            0xb => write!(formatter, "b{serial}"),
            0xc => write!(formatter, "rc{serial}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Version({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_people_write_them() {
        let shown = |hex| Version { hex }.to_string();
        assert_eq!(shown(0x030b_07f0), "3.11.7");
        assert_eq!(shown(0x030d_00c1), "3.13.0rc1");
        assert_eq!(shown(0x030e_00a6), "3.14.0a6");
        assert_eq!(shown(0x030e_00b2), "3.14.0b2");
    }

    #[test]
    fn only_candidates_and_final_versions_have_settled() {
        assert!(Version { hex: 0x030d_00c1 }.has_settled_layout());
        assert!(Version { hex: 0x030d_00f0 }.has_settled_layout());
        assert!(!Version { hex: 0x030d_00b4 }.has_settled_layout());
        assert!(Version::of_minor(3, 9).has_settled_layout());
    }

    #[test]
    fn a_version_without_its_micro_is_shown_without() {
        let minor = Version::of_minor(3, 9);
        assert_eq!(minor.to_string(), "3.9");
        assert_eq!(minor.with_micro(18).to_string(), "3.9.18");
        assert!(!minor.has_micro() && minor.with_micro(0).has_micro());
    }
}
