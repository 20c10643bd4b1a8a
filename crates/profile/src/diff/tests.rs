use super::*;
use crate::frame_table::FrameHandle;
use crate::made_up::{MadeUp, PERIOD_NS, Random};

/// A program of some functions, run in bursts: each is met `burst` times in a row.
fn recorded(seed: u64, samples: u64, burst: u64, weights: &[(&str, u64)]) -> Profile {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut made = MadeUp::default();
    let thread = made.thread("p", 1, 1);
    let main = made.python("main", "/srv/a.py", 1, 1);
    let frames: Vec<(FrameHandle, u64)> = weights
        .iter()
        .map(|(name, weight)| (made.python(name, "/srv/a.py", 1, 1), *weight))
        .collect();
    let sum = weights.iter().map(|(_, weight)| weight).sum();
    for _ in 0..samples / burst {
        let mut at = random.below(sum);
        let chosen = frames.iter().find(|(_, weight)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        made.samples(thread, &[main, chosen.unwrap().0], burst);
    }
    made.profile.information.duration_ns = samples * PERIOD_NS;
    made.profile
}

fn verdicts(base: &Profile, new: &Profile, normalization: Normalization) -> Vec<(String, Verdict)> {
    let pair = Pair::new(base, new).unwrap();
    let diff = diff(&pair, normalization).unwrap();
    diff.functions
        .iter()
        .map(|row| {
            let name = &diff.grouping.find(row.of).unwrap().name;
            (name.to_string(), row.verdict)
        })
        .collect()
}

const MANY: [(&str, u64); 8] = [
    ("a", 400),
    ("b", 200),
    ("c", 100),
    ("d", 100),
    ("e", 80),
    ("f", 60),
    ("g", 40),
    ("h", 20),
];

/// The same program twice: at most one comparison in twenty may call anything a change.
#[test]
fn noise_is_not_called_a_change() {
    for normalization in [Normalization::Samples, Normalization::Time] {
        for burst in [1, 4, 20] {
            let mut false_alarms = 0;
            for seed in 0..100 {
                let [base, new] =
                    [2 * seed + 1, 2 * seed + 2].map(|seed| recorded(seed, 4_000, burst, &MANY));
                let verdicts = verdicts(&base, &new, normalization);
                false_alarms += u32::from(verdicts.iter().any(|(_, verdict)| verdict.is_change()));
            }
            assert!(
                false_alarms <= 8,
                "{false_alarms} of 100, bursts of {burst}, {normalization:?}"
            );
        }
    }
}

#[test]
fn a_true_change_is_found_and_so_is_what_appears_and_vanishes() {
    let changed: Vec<_> = MANY
        .into_iter()
        .map(|(name, weight)| match name {
            "b" => (name, 320),
            "d" => ("i", weight),
            _ => (name, weight),
        })
        .collect();
    for seed in 1..20 {
        let base = recorded(seed, 10_000, 4, &MANY);
        let new = recorded(seed + 100, 10_000, 4, &changed);
        let verdicts = verdicts(&base, &new, Normalization::Samples);
        let of = |wanted: &str| {
            let found = verdicts.iter().find(|(name, _)| name == wanted);
            found.unwrap().1
        };
        assert_eq!(of("b"), Verdict::Grew, "seed {seed}");
        assert_eq!(of("d"), Verdict::Vanished);
        assert_eq!(of("i"), Verdict::Appeared);
        assert_eq!(of("main"), Verdict::Unchanged);
    }
}

/// A program that does one thing after another has no noise worth the name.
#[test]
fn phases_do_not_hide_a_change() {
    let phases = |first: u64| {
        let mut made = MadeUp::default();
        let thread = made.thread("p", 1, 1);
        let [load, compute] = ["load", "compute"].map(|name| made.python(name, "a.py", 1, 1));
        made.samples(thread, &[load], first);
        made.samples(thread, &[compute], 5_000 - first);
        made.profile
    };
    let verdicts = verdicts(&phases(2_000), &phases(2_600), Normalization::Samples);
    assert_eq!(verdicts[0].1, Verdict::Grew, "{verdicts:?}");
    assert_eq!(verdicts[1].1, Verdict::Shrank);
}

#[test]
fn by_time_the_same_shares_of_more_work_are_more() {
    let base = recorded(1, 4_000, 1, &MANY);
    let mut new = recorded(2, 8_000, 1, &MANY);
    new.information.duration_ns = base.information.duration_ns;
    let by_samples = verdicts(&base, &new, Normalization::Samples);
    assert!(by_samples.iter().all(|(_, verdict)| !verdict.is_change()));
    let pair = Pair::new(&base, &new).unwrap();
    let diff = diff(&pair, Normalization::Time).unwrap();
    let main = &diff.functions[0];
    assert_eq!(main.verdict, Verdict::Grew);
    assert_eq!((main.total.base_value, main.total.new_value), (1.0, 2.0));
}

#[test]
fn few_samples_are_not_judged_and_stacks_are_compared_by_their_functions() {
    let profile = |line: u32, rare: u64| {
        let mut made = MadeUp::default();
        let thread = made.thread("p", 1, 1);
        let main = made.python("main", "a.py", line, line);
        let work = made.python("work", "a.py", line + 10, line + 11);
        made.samples(thread, &[main, work], 100);
        made.samples(thread, &[work, main], rare);
        made.profile
    };
    let (base, new) = (profile(1, 0), profile(7, 4));
    let pair = Pair::new(&base, &new).unwrap();
    let diff = diff(&pair, Normalization::Samples).unwrap();
    let seen: Vec<_> = diff
        .stacks
        .iter()
        .map(|row| {
            let path = diff.tree.path(row.of, 9);
            let names: Vec<_> = path
                .iter()
                .map(|group| diff.grouping.find(*group).unwrap().name.to_string())
                .collect();
            (
                names.join(";"),
                row.own.base.samples,
                row.own.new.samples,
                row.verdict,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("main;work".to_owned(), 100, 100, Verdict::Unchanged),
            ("work;main".to_owned(), 0, 4, Verdict::TooFew)
        ]
    );
}

#[test]
fn empty_profiles_are_compared_without_a_word() {
    let empty = Profile::default();
    let full = recorded(1, 100, 1, &MANY);
    assert!(verdicts(&empty, &empty, Normalization::Samples).is_empty());
    for normalization in [Normalization::Samples, Normalization::Time] {
        let verdicts = verdicts(&empty, &full, normalization);
        assert!(
            verdicts
                .iter()
                .all(|(_, verdict)| *verdict != Verdict::Vanished)
        );
    }
}
