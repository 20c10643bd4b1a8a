//! What a recording may cost, kept by taking fewer samples.

use std::time::{Duration, Instant};

/// Costs come in bursts; what is over the budget for so long is.
const WINDOW: Duration = Duration::from_secs(1);

/// After a step down, what is asked for is a little less than what would do.
const MARGIN: f64 = 0.9;

/// Only if less than this part of the budget is used, the rate goes up again.
const SLACK: f64 = 0.6;

/// At most so many times more, or less, in a step.
const UP: f64 = 1.5;
const DOWN: f64 = 8.0;

/// What a sample costs on a machine of which nothing is known yet: twice what an ordinary one does.
const FIRST_GUESS_SECONDS: f64 = 60e-6;

/// Decides the rate by what has been used so far.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Of the CPU time of all CPUs, 0 to 1.
    share: f64,
    cpus: f64,
    wanted_hz: u32,
    rate_hz: u32,
    lowest_hz: u32,
    last: Option<(Instant, Duration)>,
}

impl Budget {
    /// `share` of `cpus` together, for a recording that wants `wanted_hz`.
    pub(crate) fn new(share: f64, cpus: usize, wanted_hz: u32) -> Self {
        let guess = (share / FIRST_GUESS_SECONDS) as u32;
        let first = guess.clamp(1, wanted_hz.max(1));
        Self {
            share,
            cpus: cpus.max(1) as f64,
            wanted_hz,
            rate_hz: first,
            lowest_hz: first,
            last: None,
        }
    }

    /// The rate as it is now: at the beginning one that should do.
    pub(crate) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// The rate from now on, if it is another one; `used` is all CPU time that viperf has cost so far.
    pub(crate) fn decide(&mut self, now: Instant, used: Duration) -> Option<u32> {
        let Some((then, before)) = self.last else {
            self.last = Some((now, used));
            return None;
        };
        let passed = now.saturating_duration_since(then);
        if passed < WINDOW {
            return None;
        }
        self.last = Some((now, used));
        let spent = used.saturating_sub(before).as_secs_f64();
        let of_budget = spent / (passed.as_secs_f64() * self.cpus * self.share);
        let factor = if of_budget > 1.0 {
            (MARGIN / of_budget).max(1.0 / DOWN)
        } else if of_budget < SLACK {
            (MARGIN / of_budget.max(f64::EPSILON)).min(UP)
        } else {
            return None;
        };
        let rate = (f64::from(self.rate_hz) * factor) as u32;
        // From 1 Hz up there is no step of half a hertz.
        let rate = if factor > 1.0 {
            rate.max(self.rate_hz + 1)
        } else {
            rate
        };
        let rate = rate.clamp(1, self.wanted_hz);
        if rate == self.rate_hz {
            return None;
        }
        self.rate_hz = rate;
        self.lowest_hz = self.lowest_hz.min(rate);
        Some(rate)
    }

    /// The lowest rate so far, if it has been lowered.
    pub(crate) fn lowered_to(&self) -> Option<u32> {
        (self.lowest_hz < self.wanted_hz).then_some(self.lowest_hz)
    }
}

/// Which period samples were taken with: each one stands for the time of its own.
#[derive(Debug)]
pub(crate) struct Periods(Vec<(u64, u32)>);

/// Samples that wait for unwind rows are seconds old, not minutes.
const REMEMBERED: usize = 64;

impl Default for Periods {
    fn default() -> Self {
        Self(vec![(0, 0)])
    }
}

impl Periods {
    /// From this time of the kernel's clock on samples are so many nanoseconds apart.
    pub(crate) fn change(&mut self, from_ns: u64, period_ns: u64) {
        let period_ns = u32::try_from(period_ns).unwrap_or(u32::MAX);
        if self.0.len() >= REMEMBERED {
            self.0.remove(0);
        }
        self.0.push((from_ns, period_ns));
    }

    /// What a sample of this time stands for.
    pub(crate) fn at(&self, time_ns: u64) -> u32 {
        let in_force = self.0.iter().rev().find(|(from_ns, _)| *from_ns <= time_ns);
        let in_force = in_force.or(self.0.first());
        in_force.map_or(0, |(_, period_ns)| *period_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which each sample costs so much, and everything else so much a second: the rates, second by second.
    fn rates(budget: &mut Budget, per_sample: Duration, fixed: Duration, seconds: u32) -> Vec<u32> {
        let start = Instant::now();
        let mut rate = budget.rate_hz;
        let mut used = Duration::ZERO;
        (0..seconds)
            .map(|second| {
                let now = start + Duration::from_secs(second.into());
                rate = budget.decide(now, used).unwrap_or(rate);
                used += fixed + per_sample * rate;
                rate
            })
            .collect()
    }

    #[test]
    fn a_recording_within_its_budget_keeps_its_rate() {
        let mut budget = Budget::new(0.01, 2, 99);
        let rates = rates(&mut budget, Duration::from_micros(50), Duration::ZERO, 10);
        assert_eq!(rates, [99; 10]);
        assert_eq!(budget.lowered_to(), None);
    }

    #[test]
    fn one_that_costs_too_much_comes_down_to_its_budget_and_stays_there() {
        // 999 samples of 100 us are a tenth of a CPU; a hundredth of two is allowed.
        let mut budget = Budget::new(0.01, 2, 999);
        assert_eq!(budget.rate_hz(), 166);
        let rates = rates(&mut budget, Duration::from_micros(100), Duration::ZERO, 30);
        let settled = &rates[5..];
        assert!(
            settled.iter().all(|rate| (100..=200).contains(rate)),
            "{rates:?}"
        );
        assert!(budget.lowered_to().is_some_and(|lowest| lowest < 200));
    }

    #[test]
    fn when_there_is_less_to_do_the_rate_comes_back() {
        let mut budget = Budget::new(0.01, 1, 99);
        rates(&mut budget, Duration::from_millis(1), Duration::ZERO, 10);
        assert!(budget.rate_hz <= 10, "{}", budget.rate_hz);
        budget.last = None;
        let rates = rates(&mut budget, Duration::from_micros(1), Duration::ZERO, 20);
        assert_eq!(rates.last(), Some(&99));
    }

    #[test]
    fn what_does_not_depend_on_the_rate_ends_at_one_sample_a_second() {
        let mut budget = Budget::new(0.001, 1, 99);
        let rates = rates(&mut budget, Duration::ZERO, Duration::from_millis(500), 10);
        assert_eq!(rates.last(), Some(&1));
    }

    #[test]
    fn a_sample_stands_for_the_period_of_its_own_time() {
        let mut periods = Periods::default();
        periods.change(100, 10);
        periods.change(200, 40);
        assert_eq!(
            [150, 199, 200, 900].map(|time| periods.at(time)),
            [10, 10, 40, 40]
        );
        for step in 0..1000 {
            periods.change(1000 + step, 7);
        }
        assert_eq!((periods.at(5), periods.at(3000)), (7, 7));
        assert!(periods.0.len() <= REMEMBERED);
    }
}
