//! Tables and trees against what `viperf-profile` says of the same samples.

use std::collections::HashMap;

use viperf_profile::{
    CallTree, Filter, FrameHandle, FrameKind, FunctionHandle, GroupBy, Grouping, Handle as _,
    Profile, Selector, Weight, filter, group_statistics,
};

use crate::history::Window;
use crate::made_up::{MadeUp, shop};
use crate::rows::{Row, RowId, SortBy};
use crate::state::State;
use crate::view::{Key, View};

/// The same numbers on every run (an xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// Random stacks with recursion in two processes of two threads each, one tick a second; and the same as one profile.
fn random(seed: u64) -> (MadeUp, Profile) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut made = MadeUp::default();
    let mut samples = Vec::new();
    let threads: Vec<_> = (0..4)
        .map(|number| made.thread("python3", 10 + number / 2, 10 + number))
        .collect();
    let mut frames: Vec<FrameHandle> = Vec::new();
    for _ in 0..5 {
        // Frames come to be seen while it goes on.
        let number = frames.len() as u32;
        frames.push(made.python(&format!("f{number}"), "/srv/a.py", number + 1));
        frames.push(made.python(&format!("f{number}"), "/srv/a.py", number + 2));
        frames.push(made.of_kind(FrameKind::Native, &format!("n{number}"), "libn.so"));
        frames.push(made.of_kind(FrameKind::Kernel, &format!("k{number}"), ""));
        frames.push(made.of_kind(FrameKind::Interpreter, "eval", "python3"));
        for _ in 0..200 {
            let depth = 1 + random.below(8) as usize;
            let mut stack: Vec<_> = (0..depth)
                .map(|_| frames[random.below(frames.len() as u64) as usize])
                .collect();
            stack.push(frames[random.below(4) as usize]);
            made.samples(threads[random.below(4) as usize], &stack, 1);
        }
        samples.extend(made.second());
    }
    let profile = Profile {
        samples,
        ..made.profile.clone()
    };
    (made, profile)
}

/// Own and total of each row that `viperf-profile` knows, with the interpreter's own frames hidden.
fn expected(profile: &Profile, view: View) -> HashMap<(String, u32), (u64, u64)> {
    let hidden = Filter {
        hidden: vec![FrameKind::Interpreter],
        ..Filter::default()
    };
    let profile = filter(profile.clone(), &hidden).unwrap();
    let by = match view {
        View::Lines => GroupBy::Line,
        View::Modules => GroupBy::Module,
        _ => GroupBy::Function,
    };
    let grouping = Grouping::new(&profile, by).unwrap();
    let tree = CallTree::new(&profile, &grouping).unwrap();
    let weights = tree.weigh(&profile.samples);
    let statistics = group_statistics(&tree, &weights, &grouping);
    let mut rows = HashMap::new();
    for ((_, group), statistics) in grouping.iter().zip(statistics) {
        let is_python = group.kind == FrameKind::Python;
        let is_shown = match view {
            View::Functions | View::Lines => is_python,
            View::Native => !is_python,
            _ => true,
        };
        if is_shown && !statistics.total.is_empty() {
            let own = match view {
                View::Modules => statistics.own,
                _ => statistics.self_weight(),
            };
            let key = (group.name.to_string(), group.line);
            rows.insert(key, (own.samples, statistics.total.samples));
        }
    }
    rows
}

fn found(made: &MadeUp, state: &State) -> HashMap<(String, u32), (u64, u64)> {
    let line = |row: &Row| match row.id {
        RowId::Key(Key::Line(_, line)) => line,
        _ => 0,
    };
    let rows = state.rows(&made.live).unwrap();
    rows.iter()
        .map(|row| {
            let figures = (row.own_time.samples, row.total_time.samples);
            ((row.name.clone(), line(row)), figures)
        })
        .collect()
}

#[test]
fn every_table_says_what_the_report_says() {
    for seed in 1..20 {
        let (made, profile) = random(seed);
        for view in [View::Functions, View::Lines, View::Native, View::Modules] {
            let state = State {
                window: Window::SinceReset,
                ..State::new(view, SortBy::Own)
            };
            assert_eq!(
                found(&made, &state),
                expected(&profile, view),
                "{view:?} {seed}"
            );
            let whole = profile.samples.len() as f64;
            for row in state.rows(&made.live).unwrap() {
                let share = row.total_time.samples as f64 / whole;
                assert!((row.total - share).abs() < 1e-9, "{row:?}");
            }
        }
    }
}

#[test]
fn a_selection_is_what_a_filter_keeps() {
    let (made, profile) = random(7);
    let processes = made.live.profile().processes.iter();
    let (process, _) = { processes }.find(|(_, row)| row.pid == 11).unwrap();
    for (tid, threads) in [(None, vec![]), (Some(13), vec![Selector::Id(13)])] {
        let wanted = Filter {
            processes: vec![Selector::Id(11)],
            threads,
            ..Filter::default()
        };
        let part = filter(profile.clone(), &wanted).unwrap();
        assert!(part.samples.len() < profile.samples.len());
        let mut state = State::new(View::Functions, SortBy::Own);
        state.selection.process = Some(process);
        state.selection.tid = tid;
        assert_eq!(found(&made, &state), expected(&part, View::Functions));
    }
}

#[test]
fn the_full_tree_is_the_call_tree() {
    let (made, profile) = random(3);
    let hidden = Filter {
        hidden: vec![FrameKind::Interpreter],
        ..Filter::default()
    };
    let profile = filter(profile, &hidden).unwrap();
    let grouping = Grouping::new(&profile, GroupBy::Function).unwrap();
    let tree = CallTree::new(&profile, &grouping).unwrap();
    let weights = tree.weigh(&profile.samples);
    let mut state = State::new(View::Tree, SortBy::Own);
    state.window = Window::SinceReset;
    state.is_full = true;
    let total: Weight = Weight::of(&profile.samples);
    // Each function of these profiles is one group, so a path of functions is a path of names.
    let mut all = HashMap::new();
    for (node, _) in tree.iter() {
        if weights.total(node).is_empty() {
            continue;
        }
        let name = |group| grouping.find(group).unwrap().name.to_string();
        let path: Vec<String> = tree.path(node, 99).into_iter().map(name).collect();
        all.insert(
            path,
            (weights.own(node).samples, weights.total(node).samples),
        );
    }
    let text = |function: &FunctionHandle| {
        let live = made.live.profile();
        let name = live.function(*function).unwrap().name;
        live.string(name).unwrap().to_owned()
    };
    let mut seen = 0;
    for row in state.rows(&made.live).unwrap() {
        let RowId::Path(path) = &row.id else {
            panic!("no branch: {row:?}");
        };
        let path: Vec<String> = path.iter().map(text).collect();
        let figures = (row.own_time.samples, row.total_time.samples);
        assert_eq!(all.get(&path), Some(&figures), "{path:?}");
        assert!((row.total - figures.1 as f64 / total.samples as f64).abs() < 1e-9);
        seen += 1;
    }
    assert!(seen > 30, "{seen} branches are open");
}

#[test]
fn processes_and_threads_show_cpus_and_what_is_known_of_the_gil() {
    let made = shop(10);
    let rows = State::new(View::Processes, SortBy::Own)
        .rows(&made.live)
        .unwrap();
    let figures: Vec<_> = rows.iter().map(|row| (row.number, row.own)).collect();
    assert_eq!(figures, [(4242, 1.05), (5000, 0.25)]);
    let rows = State::new(View::Threads, SortBy::Own)
        .rows(&made.live)
        .unwrap();
    let figures: Vec<_> = rows
        .iter()
        .map(|row| (row.number, row.own, row.gil, row.gil_wait))
        .collect();
    assert_eq!(
        figures,
        [
            (4242, 1.0, Some(0.7), Some(0.0)),
            (5000, 0.25, Some(0.25), Some(0.0)),
            (4243, 0.05, Some(0.0), Some(0.05)),
        ]
    );
}

#[test]
fn a_python_without_a_gil_uses_none() {
    let mut made = MadeUp::default();
    let thread = made.thread_of_version("python3", 1, 1, "3.14.0t (untested)");
    let frame = made.python("f", "/a.py", 1);
    made.samples(thread, &[frame], 5);
    made.second();
    let rows = State::new(View::Threads, SortBy::Own)
        .rows(&made.live)
        .unwrap();
    assert_eq!((rows[0].gil, rows[0].gil_wait), (None, None));
}

#[test]
fn a_thread_that_was_renamed_is_one_row_with_its_newest_name() {
    let mut made = shop(1);
    let first = made.profile.threads.iter().next().unwrap().1;
    let renamed = viperf_profile::Thread {
        name: made.profile.strings.intern("pool-1"),
        ..*first
    };
    let renamed = made.profile.threads.intern(renamed);
    let frame = FrameHandle::from_index(3);
    made.samples(renamed, &[frame], 100);
    made.second();
    let rows = State::new(View::Threads, SortBy::Own)
        .rows(&made.live)
        .unwrap();
    assert_eq!((rows[0].number, rows[0].name.as_str()), (4242, "pool-1"));
    assert_eq!(rows[0].own_time.samples, 200);
}

#[test]
fn what_comes_while_frozen_is_there_afterwards() {
    let mut made = shop(2);
    let state = State::new(View::Functions, SortBy::Own);
    let before = state.rows(&made.live).unwrap();
    made.live.freeze(true);
    let thread = made.thread("python3", 1, 1);
    let frame = made.python("new", "/srv/new.py", 1);
    made.samples(thread, &[frame], 1000);
    made.second();
    assert_eq!(state.rows(&made.live).unwrap(), before);
    made.live.freeze(false);
    let after = state.rows(&made.live).unwrap();
    assert_eq!(after[0].name, "new");
    assert_eq!(after[0].own_time.samples, 1000);
}

#[test]
fn a_reset_counts_reasons_and_times_anew() {
    let mut made = shop(1);
    made.profile.incomplete.insert("native: x".to_owned(), 3);
    made.profile.lost = 5;
    made.second();
    assert_eq!(made.live.incomplete(), [("native: x", 3)]);
    assert_eq!(made.live.quality(Window::SinceReset).lost, 5);
    made.live.reset();
    assert!(made.live.incomplete().is_empty());
    made.profile.incomplete.insert("native: x".to_owned(), 4);
    made.second();
    assert_eq!(made.live.incomplete(), [("native: x", 1)]);
    assert_eq!(made.live.quality(Window::SinceReset).lost, 0);
    assert!(
        State::new(View::Functions, SortBy::Own)
            .rows(&made.live)
            .unwrap()
            .is_empty()
    );
}
