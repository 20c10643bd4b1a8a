//! What keys make of the state.

use crate::history::Window;
use crate::made_up::{MadeUp, shop};
use crate::rows::{RowId, SortBy};
use crate::state::{Effect, Mode, Press, State};
use crate::view::{Key, View};

/// Presses keys as they come; what the last one asks for.
fn press(state: &mut State, made: &MadeUp, presses: &[Press]) -> Effect {
    let mut effect = Effect::None;
    for press in presses {
        let rows = state.rows(&made.live).unwrap();
        state.settle(&rows);
        effect = state.press(*press, &rows);
    }
    let rows = state.rows(&made.live).unwrap();
    state.settle(&rows);
    effect
}

fn typed(text: &str) -> Vec<Press> {
    text.chars().map(Press::Character).collect()
}

fn names(state: &State, made: &MadeUp) -> Vec<String> {
    let rows = state.rows(&made.live).unwrap();
    rows.into_iter().map(|row| row.name).collect()
}

#[test]
fn into_a_process_a_thread_its_tree_and_back() {
    let made = shop(3);
    let mut state = State::new(View::Processes, SortBy::Own);
    press(&mut state, &made, &[Press::Enter]);
    assert_eq!(state.view, View::Threads);
    assert_eq!(names(&state, &made), ["thread 4242", "thread 4243"]);
    press(&mut state, &made, &[Press::Down, Press::Enter]);
    assert_eq!((state.view, state.selection.tid), (View::Tree, Some(4243)));
    assert_eq!(names(&state, &made), ["Shop.serve", "do_futex"]);
    press(&mut state, &made, &typed("f"));
    assert_eq!(
        names(&state, &made),
        ["__libc_start_main", "Shop.serve", "take_gil", "do_futex"]
    );
    press(&mut state, &made, &[Press::Escape]);
    assert_eq!(state.selection.tid, None);
    press(&mut state, &made, &[Press::Escape]);
    assert_eq!(state.selection.process, None);
}

#[test]
fn the_tree_of_a_function_begins_with_it() {
    let made = shop(3);
    let mut state = State::new(View::Functions, SortBy::Own);
    press(&mut state, &made, &[Press::Enter]);
    assert_eq!(names(&state, &made), ["price", "price"]);
    let rows = state.rows(&made.live).unwrap();
    assert_eq!(rows[0].total, 1.0);
    assert!((rows[1].total - 1.0 / 7.0).abs() < 1e-9, "the recursion");
}

#[test]
fn branches_open_and_close_and_stay_so() {
    let mut made = shop(2);
    let mut state = State::new(View::Tree, SortBy::Own);
    let open = names(&state, &made);
    assert_eq!(open[0], "Shop.serve");
    press(&mut state, &made, &[Press::Left]);
    assert_eq!(names(&state, &made), ["Shop.serve", "dumps"]);
    made.second();
    assert_eq!(names(&state, &made), ["Shop.serve", "dumps"]);
    press(&mut state, &made, &[Press::Enter]);
    assert_eq!(names(&state, &made), open);
}

#[test]
fn the_cursor_stays_with_its_row_when_the_order_changes() {
    let mut made = shop(2);
    let mut state = State::new(View::Functions, SortBy::Own);
    assert_eq!(names(&state, &made), ["price", "Shop.serve", "dumps"]);
    press(&mut state, &made, &[Press::Down, Press::Down]);
    let row = state.cursor.clone();
    let thread = made.thread("celery", 5000, 5000);
    let frame = made.python("dumps", "/usr/lib/python3.12/json/__init__.py", 231);
    made.samples(thread, &[frame], 10_000);
    made.second();
    press(&mut state, &made, &[]);
    assert_eq!((state.at, &state.cursor), (0, &row));
}

#[test]
fn a_filter_is_typed_kept_changed_and_taken_away() {
    let made = shop(2);
    let mut state = State::new(View::Functions, SortBy::Own);
    press(&mut state, &made, &typed("/pri"));
    assert_eq!(
        (state.mode, names(&state, &made)),
        (Mode::Search, vec!["price".to_owned()])
    );
    press(&mut state, &made, &[Press::Enter]);
    assert_eq!(state.mode, Mode::Table);
    press(&mut state, &made, &typed("/x"));
    assert!(names(&state, &made).is_empty());
    press(
        &mut state,
        &made,
        &[Press::Backspace, Press::Enter, Press::Escape],
    );
    assert_eq!(names(&state, &made).len(), 3);
    // Letters that are keys elsewhere are text here.
    let effect = press(&mut state, &made, &typed("/q"));
    assert_eq!((effect, state.typed.as_str()), (Effect::None, "q"));
}

#[test]
fn a_filter_in_the_tree_keeps_the_way_to_what_it_finds() {
    let made = shop(2);
    let mut state = State::new(View::Tree, SortBy::Own);
    press(&mut state, &made, &typed("/deflate"));
    assert_eq!(names(&state, &made), ["Shop.serve", "deflate"]);
}

#[test]
fn keys_switch_view_order_and_window() {
    let made = shop(2);
    let mut state = State::new(View::Processes, SortBy::Own);
    for (key, view) in ('1'..='7').zip(View::ALL) {
        press(&mut state, &made, &[Press::Character(key)]);
        assert_eq!(state.view, view);
    }
    press(&mut state, &made, &[Press::Tab]);
    assert_eq!(state.view, View::Processes);
    press(&mut state, &made, &[Press::BackTab]);
    assert_eq!(state.view, View::Tree);
    press(&mut state, &made, &typed("3t"));
    assert_eq!(names(&state, &made), ["Shop.serve", "price", "dumps"]);
    press(&mut state, &made, &typed("n"));
    assert_eq!(names(&state, &made), ["Shop.serve", "dumps", "price"]);
    press(&mut state, &made, &typed("ww"));
    assert_eq!(state.window, Window::SinceReset);
}

#[test]
fn freezing_resetting_and_leaving_are_asked_for() {
    let made = shop(1);
    let mut state = State::new(View::Functions, SortBy::Own);
    assert_eq!(press(&mut state, &made, &typed(" ")), Effect::Freeze(true));
    assert_eq!(press(&mut state, &made, &typed(" ")), Effect::Freeze(false));
    assert_eq!(press(&mut state, &made, &typed("r")), Effect::Reset);
    assert_eq!(press(&mut state, &made, &[Press::Suspend]), Effect::Suspend);
    assert_eq!(press(&mut state, &made, &[Press::Interrupt]), Effect::Quit);
    assert_eq!(press(&mut state, &made, &typed("q")), Effect::Quit);
}

#[test]
fn leaving_a_command_that_runs_is_a_question() {
    let made = shop(1);
    let mut state = State::new(View::Functions, SortBy::Own);
    state.command_runs = true;
    assert_eq!(press(&mut state, &made, &typed("q")), Effect::None);
    assert_eq!(state.mode, Mode::Leave);
    press(&mut state, &made, &[Press::Escape]);
    assert_eq!(state.mode, Mode::Table);
    assert_eq!(
        press(&mut state, &made, &typed("qe")),
        Effect::QuitAndEndCommand
    );
    state.mode = Mode::Table;
    assert_eq!(press(&mut state, &made, &typed("qw")), Effect::Quit);
}

#[test]
fn no_key_harms_an_empty_table() {
    let made = MadeUp::default();
    let keys = [
        Press::Up,
        Press::Down,
        Press::PageUp,
        Press::PageDown,
        Press::Home,
        Press::End,
        Press::Left,
        Press::Right,
        Press::Enter,
        Press::Escape,
        Press::Backspace,
    ];
    for view in View::ALL {
        let mut state = State::new(view, SortBy::Own);
        press(&mut state, &made, &keys);
        assert_eq!((state.at, state.top), (0, 0));
    }
}

#[test]
fn the_screen_follows_the_cursor() {
    let mut made = MadeUp::default();
    let thread = made.thread("python3", 1, 1);
    for number in 0..50 {
        let frame = made.python(&format!("f{number:02}"), "/a.py", 1);
        made.samples(thread, &[frame], 100 - number);
    }
    made.second();
    let mut state = State::new(View::Functions, SortBy::Own);
    state.page = 10;
    press(&mut state, &made, &[Press::PageDown, Press::PageDown]);
    assert_eq!((state.at, state.top), (20, 11));
    press(&mut state, &made, &[Press::End]);
    assert_eq!((state.at, state.top), (49, 40));
    press(&mut state, &made, &[Press::Home]);
    assert_eq!((state.at, state.top), (0, 0));
    assert!(matches!(state.cursor, Some(RowId::Key(Key::Function(_)))));
}
