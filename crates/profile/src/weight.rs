//! What samples stand for together.

use std::ops::{Add, AddAssign};

use crate::sample::Sample;

/// A number of samples and the time they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many samples.
    pub samples: u64,
    /// The time they stand for together, in nanoseconds; stops at the greatest `u64`.
    pub ns: u64,
}

impl Weight {
    /// The weight of all of `samples`.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Self {
        samples.iter().map(Self::from).sum()
    }

    /// The part that `measure` looks at.
    #[must_use]
    pub fn by(self, measure: Measure) -> u64 {
        match measure {
            Measure::Samples => self.samples,
            Measure::Time => self.ns,
        }
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.samples == 0
    }
}

impl From<&Sample> for Weight {
    fn from(sample: &Sample) -> Self {
        Self {
            samples: 1,
            ns: sample.weight_ns,
        }
    }
}

impl Add for Weight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            samples: self.samples.saturating_add(other.samples),
            ns: self.ns.saturating_add(other.ns),
        }
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Weight {
    fn sum<I: Iterator<Item = Self>>(weights: I) -> Self {
        weights.fold(Self::default(), Add::add)
    }
}

/// Which part of a [`Weight`] shares are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Every sample counts once.
    Samples,
    /// Every sample counts as the time it stands for.
    Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_and_stop_at_the_greatest_number() {
        let one = Weight { samples: 1, ns: 7 };
        let huge = Weight {
            samples: 2,
            ns: u64::MAX,
        };
        let sum: Weight = [one, huge].into_iter().sum();
        assert_eq!(sum.by(Measure::Samples), 3);
        assert_eq!(sum.by(Measure::Time), u64::MAX);
        assert!(Weight::default().is_empty());
    }
}
