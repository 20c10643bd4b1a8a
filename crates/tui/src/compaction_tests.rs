//! A day of short-lived processes and functions that come once: memory stays as it is, and so does what is shown.

use std::time::Duration;

use viperf_profile::{FrameKind, Profile};

use crate::compaction::OTHERS;
use crate::history::Window;
use crate::made_up::MadeUp;
use crate::rows::SortBy;
use crate::state::{Press, State};
use crate::view::View;

const MOST_ROWS: usize = 400;

/// Like whoever records: the next profile begins empty.
fn begin_anew(made: &mut MadeUp) {
    made.live.begin_anew(MOST_ROWS).unwrap();
    let information = made.profile.information.clone();
    made.profile = Profile {
        information,
        ..Profile::default()
    };
}

/// Ten processes that come once and one that stays, in functions of their own.
fn second_of_day(made: &mut MadeUp, number: u32) {
    for short in 0..10 {
        let pid = 1000 + number * 10 + short;
        let thread = made.thread(&format!("job {pid}"), pid, pid);
        let run = made.python(&format!("run_{pid}"), &format!("/tmp/{pid}/job.py"), 3);
        made.samples(thread, &[run], 1);
    }
    let stays = made.thread("server", 7, 7);
    let serve = made.python("serve", "/srv/app.py", 12);
    let wait = made.of_kind(FrameKind::Kernel, "do_wait", "");
    made.samples(stays, &[serve, wait], 30);
    made.second();
}

fn names(state: &mut State, made: &MadeUp) -> Vec<String> {
    state.follow(&made.live);
    let rows = state.rows(&made.live).unwrap();
    rows.into_iter().map(|row| row.name).collect()
}

fn tables(made: &MadeUp) -> usize {
    let profile = made.live.profile();
    profile.row_count() + profile.processes.len() + profile.threads.len()
}

#[test]
fn tables_stay_as_large_as_a_minute_needs_and_no_sample_is_lost_or_named_wrong() {
    let mut made = MadeUp::default();
    let mut largest_of_first_hours = 0;
    let mut largest = 0;
    for number in 0..2000 {
        second_of_day(&mut made, number);
        if number % 50 == 49 {
            begin_anew(&mut made);
        }
        let size = tables(&made);
        largest = largest.max(size);
        if number < 500 {
            largest_of_first_hours = largest;
        }
    }
    assert_eq!(largest, largest_of_first_hours, "it does not grow");
    assert!(largest < 12_000, "20,000 processes have {largest} rows");
    assert_eq!(made.live.whole().samples, 2000 * 40);

    let mut state = State::new(View::Processes, SortBy::Own);
    state.window = Window::SinceReset;
    state.follow(&made.live);
    let rows = state.rows(&made.live).unwrap();
    let samples: u64 = rows.iter().map(|row| row.own_time.samples).sum();
    assert_eq!(samples, 2000 * 40);
    let of = |name: &str| rows.iter().find(|row| row.name == name);
    assert_eq!(of("server").unwrap().own_time.samples, 2000 * 30);
    let others = of(OTHERS).unwrap().own_time.samples;
    let named: u64 = rows
        .iter()
        .filter(|row| row.name.starts_with("job "))
        .map(|row| {
            assert_eq!(row.name, format!("job {}", row.number), "no wrong name");
            row.own_time.samples
        })
        .sum();
    assert_eq!(named + others, 2000 * 10);
    // The last minute is whole.
    assert!(named >= 60 * 10, "{named}");

    state.view = View::Functions;
    for row in state.rows(&made.live).unwrap() {
        if let Some(pid) = row.name.strip_prefix("run_") {
            assert!(row.place.contains("job.py"), "{pid} in {}", row.place);
            assert_eq!(row.own_time.samples, 1);
        }
    }
}

#[test]
fn what_is_chosen_open_and_under_the_cursor_stays_when_rows_are_let_go() {
    let mut made = MadeUp::default();
    for number in 0..5 {
        second_of_day(&mut made, number);
    }
    let mut state = State::new(View::Processes, SortBy::Own);
    assert_eq!(names(&mut state, &made)[0], "server");
    let rows = state.rows(&made.live).unwrap();
    state.press(Press::Enter, &rows);
    let rows = state.rows(&made.live).unwrap();
    state.press(Press::Enter, &rows);
    assert_eq!((state.view, state.selection.tid), (View::Tree, Some(7)));
    let rows = state.rows(&made.live).unwrap();
    state.press(Press::Left, &rows);
    assert_eq!(names(&mut state, &made), ["serve"]);
    for number in 5..90 {
        second_of_day(&mut made, number);
    }
    let before = (names(&mut state, &made), state.selection);
    begin_anew(&mut made);
    assert_eq!(names(&mut state, &made), before.0);
    assert_ne!(state.selection.process, before.1.process, "another number");
    let rows = state.rows(&made.live).unwrap();
    assert_eq!(state.cursor.as_ref(), Some(&rows[0].id));
    second_of_day(&mut made, 90);
    assert_eq!(names(&mut state, &made), before.0);
}

#[test]
fn a_process_that_is_renamed_after_rows_were_let_go_is_one_row() {
    let mut made = MadeUp::default();
    second_of_day(&mut made, 0);
    begin_anew(&mut made);
    second_of_day(&mut made, 1);
    let (handle, server) = made
        .profile
        .processes
        .iter()
        .find(|(_, process)| process.pid == 7)
        .map(|(handle, process)| (handle, *process))
        .unwrap();
    let title = Some(made.profile.strings.intern("server: ready"));
    let renamed = viperf_profile::Process { title, ..server };
    made.profile.processes.replace(handle, renamed);
    made.live
        .grow(&made.profile, &[], Duration::from_secs(3))
        .unwrap();
    let mut state = State::new(View::Processes, SortBy::Own);
    let names = names(&mut state, &made);
    assert_eq!(names[0], "server: ready");
    assert!(!names.contains(&"server".to_owned()));
}

#[test]
fn what_came_while_frozen_is_there_after_rows_were_let_go() {
    let mut made = MadeUp::default();
    second_of_day(&mut made, 0);
    made.live.freeze(true);
    second_of_day(&mut made, 1);
    begin_anew(&mut made);
    second_of_day(&mut made, 2);
    let mut state = State::new(View::Functions, SortBy::Own);
    assert_eq!(names(&mut state, &made).len(), 11);
    made.live.freeze(false);
    assert_eq!(names(&mut state, &made).len(), 31);
}
