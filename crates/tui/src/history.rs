//! The last minute in ticks, and everything since the last reset as one sum.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use viperf_profile::{StackHandle, ThreadHandle, Weight};

use crate::tick::Tick;

/// Ticks older than this are only in the sum.
const KEPT: Duration = Duration::from_secs(60);

/// What counts as "now" when a trend is looked for.
const RECENT: Duration = Duration::from_secs(2);

/// After so long, what was before "now" counts half.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// Over which time shares are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last moments, at least this long.
    Last(Duration),
    /// Everything since the last reset.
    SinceReset,
}

impl Window {
    /// Those that a key switches through, the first is the default.
    pub const ALL: [Self; 4] = [
        Self::Last(Duration::from_secs(5)),
        Self::Last(Duration::from_secs(30)),
        Self::SinceReset,
        Self::Last(Duration::from_secs(1)),
    ];

    /// `last 5 s`, `since reset`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Last(time) => format!("last {} s", time.as_secs()),
            Self::SinceReset => "since reset".to_owned(),
        }
    }

    /// The next one of [`Self::ALL`].
    #[must_use]
    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|window| *window == self);
        let next = at.map_or(0, |at| (at + 1) % Self::ALL.len());
        Self::ALL.get(next).copied().unwrap_or(self)
    }
}

/// What one thread was seen with, over several stretches of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Parts {
    /// In the window.
    pub(crate) window: Weight,
    /// Since the reset.
    pub(crate) since_reset: Weight,
    /// Samples of the last two seconds.
    pub(crate) recent: f64,
    /// Samples before that, the older the less they count.
    pub(crate) before: f64,
}

impl std::ops::AddAssign for Parts {
    fn add_assign(&mut self, other: Self) {
        self.window += other.window;
        self.since_reset += other.since_reset;
        self.recent += other.recent;
        self.before += other.before;
    }
}

/// Figures that are always in view.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// The time they are of.
    pub duration: Duration,
    /// Samples.
    pub samples: u64,
    /// Those whose stack is whole.
    pub complete: u64,
    /// Samples that the kernel took and that never arrived, since the reset.
    pub lost: u64,
}

/// The last minute, and the sum since the last reset.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The newest last.
    ticks: VecDeque<Tick>,
    sum: Tick,
}

impl History {
    /// Adds what has come.
    pub(crate) fn push(&mut self, tick: Tick) {
        self.sum.add(&tick);
        self.ticks.push_back(tick);
        let mut kept: Duration = self.ticks.iter().map(|tick| tick.duration).sum();
        while kept > KEPT && self.ticks.len() > 1 {
            kept -= self.ticks.pop_front().unwrap_or_default().duration;
        }
    }

    /// What each thread was seen with in the last minute.
    pub(crate) fn recent_pairs(&self) -> impl Iterator<Item = &(ThreadHandle, StackHandle)> {
        self.ticks.iter().flat_map(|tick| tick.seen.keys())
    }

    /// What each thread was seen with since the last reset.
    pub(crate) fn since_reset(
        &self,
    ) -> impl Iterator<Item = (&(ThreadHandle, StackHandle), &Weight)> {
        self.sum.seen.iter()
    }

    /// Rows have other numbers now, and some may have become one.
    pub(crate) fn renumber(
        &mut self,
        find: &mut impl FnMut((ThreadHandle, StackHandle)) -> (ThreadHandle, StackHandle),
    ) {
        self.sum.renumber(find);
        for tick in &mut self.ticks {
            tick.renumber(find);
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The newest ticks that make up at least `time`; of a history that is shorter, all.
    fn newest(&self, time: Duration) -> usize {
        let mut gathered = Duration::ZERO;
        // A tick is about a second and never exactly one: half of one more or less is as near as it gets.
        let enough = time.saturating_sub(Duration::from_millis(500));
        let wanted = self.ticks.iter().rev().take_while(|tick| {
            let is_wanted = gathered < enough || gathered.is_zero();
            gathered += tick.duration;
            is_wanted
        });
        wanted.count()
    }

    /// Rate, completeness and loss in `window`.
    pub(crate) fn quality(&self, window: Window) -> Quality {
        let mut sum = Quality {
            lost: self.sum.lost,
            ..Quality::default()
        };
        let mut add = |tick: &Tick| {
            sum.duration += tick.duration;
            sum.samples += tick.samples;
            sum.complete += tick.complete;
        };
        match window {
            Window::SinceReset => add(&self.sum),
            Window::Last(time) => {
                let count = self.newest(time);
                self.ticks.iter().rev().take(count).for_each(add);
            }
        }
        sum
    }

    /// The seconds that the recent samples and those before stand for, the latter weighed as the samples are.
    pub(crate) fn spans(&self) -> (f64, f64) {
        let recent = self.newest(RECENT);
        let (mut now, mut before) = (0.0, 0.0);
        let mut age = Duration::ZERO;
        for (index, tick) in self.ticks.iter().rev().enumerate() {
            match index < recent {
                true => now += tick.duration.as_secs_f64(),
                false => before += tick.duration.as_secs_f64() * worth(age),
            }
            age += tick.duration;
        }
        (now, before)
    }

    /// What each thread was seen with.
    pub(crate) fn parts(&self, window: Window) -> HashMap<(ThreadHandle, StackHandle), Parts> {
        let sum = self.sum.seen.iter().map(|(pair, weight)| {
            let parts = Parts {
                since_reset: *weight,
                ..Parts::default()
            };
            (*pair, parts)
        });
        let mut all: HashMap<_, Parts> = sum.collect();
        let in_window = match window {
            Window::Last(time) => self.newest(time),
            Window::SinceReset => {
                for parts in all.values_mut() {
                    parts.window = parts.since_reset;
                }
                0
            }
        };
        let recent = self.newest(RECENT);
        let mut age = Duration::ZERO;
        for (index, tick) in self.ticks.iter().rev().enumerate() {
            for (pair, weight) in &tick.seen {
                let parts = all.entry(*pair).or_default();
                if index < in_window {
                    parts.window += *weight;
                }
                match index < recent {
                    true => parts.recent += weight.samples as f64,
                    false => parts.before += weight.samples as f64 * worth(age),
                }
            }
            age += tick.duration;
        }
        all
    }
}

/// What a sample of this age counts.
fn worth(age: Duration) -> f64 {
    (-(age.as_secs_f64() / HALF_LIFE.as_secs_f64())).exp2()
}

#[cfg(test)]
mod tests {
    use viperf_profile::{Handle as _, Sample};

    use super::*;

    fn tick(stack: u32, samples: u64) -> Tick {
        let sample = Sample {
            time_ns: 0,
            weight_ns: 10,
            cpu: 0,
            thread: ThreadHandle::from_index(0),
            stack: StackHandle::from_index(stack),
            complete: stack == 0,
        };
        Tick::new(
            &vec![sample; samples as usize],
            Duration::from_millis(1003),
            1,
            Ok,
        )
        .unwrap()
    }

    fn pair(stack: u32) -> (ThreadHandle, StackHandle) {
        (ThreadHandle::from_index(0), StackHandle::from_index(stack))
    }

    #[test]
    fn a_window_holds_the_newest_ticks_and_the_sum_holds_all() {
        let mut history = History::default();
        for number in 0..90 {
            history.push(tick(u32::from(number >= 85), 10));
        }
        let parts = history.parts(Window::ALL[0]);
        assert_eq!(parts[&pair(0)].window.samples, 0);
        assert_eq!(parts[&pair(0)].since_reset.samples, 850);
        assert_eq!(
            parts[&pair(1)].window,
            Weight {
                samples: 50,
                ns: 500
            }
        );
        assert_eq!(history.quality(Window::ALL[0]).samples, 50);
        let whole = history.quality(Window::SinceReset);
        assert_eq!((whole.samples, whole.complete, whole.lost), (900, 850, 90));
        let parts = history.parts(Window::SinceReset);
        assert_eq!(parts[&pair(0)].window.samples, 850);
        assert!(history.ticks.len() <= 60, "memory is bounded");
    }

    #[test]
    fn a_reset_forgets_window_sum_and_loss() {
        let mut history = History::default();
        history.push(tick(0, 3));
        history.reset();
        assert!(history.parts(Window::SinceReset).is_empty());
        assert_eq!(history.quality(Window::SinceReset), Quality::default());
    }

    #[test]
    fn what_was_before_counts_less_with_age() {
        let mut history = History::default();
        history.push(tick(0, 100));
        for _ in 0..12 {
            history.push(tick(1, 100));
        }
        let parts = history.parts(Window::ALL[0]);
        let old = parts[&pair(0)].before;
        // Twelve seconds old at a half-life of ten: 100 / 2^1.2.
        assert!((old - 43.5).abs() < 0.5, "{old}");
        assert_eq!(parts[&pair(1)].recent, 200.0);
    }

    #[test]
    fn the_windows_come_round() {
        let mut window = Window::ALL[0];
        for _ in Window::ALL {
            window = window.next();
        }
        assert_eq!(window, Window::ALL[0]);
    }
}
