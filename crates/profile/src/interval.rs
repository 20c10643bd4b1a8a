//! How far a figure that was sampled can be from the truth.
//!
//! A count of independent samples scatters as a binomial (a share) or a Poisson variable (a rate); Wilson's score interval
//! and its Poisson twin hold for few samples and for none, too.
//! Samples of a program are not independent: what runs for 50 ms is met 50 times in a row at 1 kHz.
//! So a count is divided by its design effect first, which is how much more it scatters than independent samples would;
//! `diff` measures it.
//! The interval of a difference is made of those of its two sides (Newcombe's method, also called MOVER).
//!
//! ```text
//! share:  (k + z²/2 ± z √(k (n - k) / n + z²/4)) / (n + z²)
//! count:   k + z²/2 ± z √(k + z²/4)
//! low  = d - √((new - new.low)² + (base.high - base)²)      d = new - base
//! high = d + √((new.high - new)² + (base - base.low)²)
//! ```
//!
//! Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17 (1998).

/// From `low` to `high`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether it lies wholly above or wholly below 0.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }

    fn scale(self, factor: f64) -> Self {
        Self {
            low: self.low * factor,
            high: self.high * factor,
        }
    }
}

/// The interval of the share `count / of`, `z` standard errors wide to each side.
pub(crate) fn share_interval(count: f64, of: f64, z: f64) -> Interval {
    if of <= 0.0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let middle = count + z * z / 2.0;
    let spread = z * (count * (of - count).max(0.0) / of + z * z / 4.0).sqrt();
    Interval {
        low: (middle - spread).max(0.0),
        high: middle + spread,
    }
    .scale(1.0 / (of + z * z))
}

/// The interval of the number of which `count` was seen.
pub(crate) fn count_interval(count: f64, z: f64) -> Interval {
    let middle = count + z * z / 2.0;
    let spread = z * (count + z * z / 4.0).sqrt();
    Interval {
        low: (middle - spread).max(0.0),
        high: middle + spread,
    }
}

/// A figure and its interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) interval: Interval,
}

impl Estimate {
    pub(crate) fn scale(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            interval: self.interval.scale(factor),
        }
    }
}

/// The interval of `new - base`.
pub(crate) fn difference(base: Estimate, new: Estimate) -> Interval {
    let change = new.value - base.value;
    let distance = |one: f64, other: f64| (one * one + other * other).sqrt();
    Interval {
        low: change
            - distance(
                new.value - new.interval.low,
                base.interval.high - base.value,
            ),
        high: change
            + distance(
                new.interval.high - new.value,
                base.value - base.interval.low,
            ),
    }
}

/// How many standard errors to each side leave `outside` (from 0 to 1) outside, when the standard error itself was
/// estimated with `degrees` of freedom; `None` when it is exact.
pub(crate) fn width(outside: f64, degrees: Option<f64>) -> f64 {
    let z = upper_quantile(outside / 2.0);
    let Some(degrees) = degrees else { return z };
    // Cornish and Fisher's expansion of Student's quantile.
    let (z3, z5) = (z.powi(3), z.powi(5));
    z + (z3 + z) / (4.0 * degrees) + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * degrees * degrees)
}

/// The z of which a standard normal variable is above with probability `tail`, at most 1/2; right to 0.0005.
///
/// Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.23.
fn upper_quantile(tail: f64) -> f64 {
    let t = (-2.0 * tail.clamp(1e-300, 0.5).ln()).sqrt();
    t - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
        / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(seen: f64, expected: f64, tolerance: f64) {
        assert!((seen - expected).abs() < tolerance, "{seen}, {expected}");
    }

    /// Tables of the normal and of Student's distribution.
    #[test]
    fn widths_are_those_of_the_tables() {
        for (outside, degrees, expected, tolerance) in [
            (0.05, None, 1.959_96, 5e-4),
            (0.01, None, 2.575_83, 5e-4),
            (1e-6, None, 4.891_64, 5e-4),
            (0.05, Some(30.0), 2.042_27, 2e-3),
            (0.001, Some(60.0), 3.460_2, 5e-3),
            (0.01, Some(10.0), 3.169_27, 5e-2),
        ] {
            near(width(outside, degrees), expected, tolerance);
        }
    }

    /// Newcombe's own example: 56 of 70 against 48 of 80, 95 %.
    #[test]
    fn the_published_example_comes_out() {
        let estimate = |count: f64, of: f64| Estimate {
            value: count / of,
            interval: share_interval(count, of, 1.959_96),
        };
        let interval = difference(estimate(48.0, 80.0), estimate(56.0, 70.0));
        near(interval.low, 0.0524, 1e-4);
        near(interval.high, 0.3339, 1e-4);
        assert!(interval.excludes_zero());
    }

    #[test]
    fn nothing_seen_is_no_proof_that_there_is_nothing() {
        let share = share_interval(0.0, 100.0, 1.96);
        near(share.low, 0.0, 1e-12);
        near(share.high, 0.037, 1e-3);
        let count = count_interval(0.0, 1.96);
        near(count.low, 0.0, 1e-12);
        near(count.high, 3.84, 0.01);
        assert_eq!(share_interval(0.0, 0.0, 2.0).high, 1.0);
    }
}
