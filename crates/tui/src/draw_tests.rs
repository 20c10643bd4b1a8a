//! What is on the screen: goldens as text, `VIPERF_BLESS=1 cargo test -p viperf-tui` writes them anew.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use viperf_profile::FrameKind;

use crate::draw::{Surroundings, draw};
use crate::made_up::{MadeUp, shop};
use crate::plain::plain_text;
use crate::rows::SortBy;
use crate::state::{Mode, State};
use crate::view::View;

fn around() -> Surroundings {
    Surroundings {
        rate_hz: 100,
        reasons: vec![(
            "native: unknown mapping".to_owned(),
            "An address that is in no file that the process has mapped: code that was made while \
             the program ran, and of which nothing is known."
                .to_owned(),
        )],
        ..Surroundings::default()
    }
}

fn terminal(
    made: &MadeUp,
    state: &mut State,
    around: &Surroundings,
    (width, height): (u16, u16),
) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let rows = state.rows(&made.live).unwrap();
    terminal
        .draw(|frame| draw(frame, state, &made.live, &rows, around))
        .unwrap();
    terminal
}

fn screen(made: &MadeUp, state: &mut State, around: &Surroundings, size: (u16, u16)) -> String {
    let terminal = terminal(made, state, around, size);
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..size.1 {
        let line: String = (0..size.0)
            .map(|x| buffer[(x, y)].symbol().to_owned())
            .collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn check(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens")
        .join(name);
    if std::env::var_os("VIPERF_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        expected == text,
        "tests/goldens/{name} differs; VIPERF_BLESS=1 writes it anew. It is now:\n{text}"
    );
}

#[test]
fn a_terminal_of_ascii_is_sent_nothing_else() {
    let made = shop(20);
    let ascii = Surroundings {
        is_ascii: true,
        ..around()
    };
    for view in View::ALL {
        let mut state = State::new(view, SortBy::Own);
        let text = screen(&made, &mut state, &ascii, (80, 24));
        assert!(text.is_ascii(), "{text}");
        let full = screen(&made, &mut state, &around(), (80, 24));
        let same = |text: &str| text.lines().map(str::len).collect::<Vec<_>>();
        let columns: Vec<_> = full.lines().map(viperf_report::columns).collect();
        assert_eq!(same(&text), columns, "{text}\n{full}");
        assert!(
            plain_text(&state, &made.live, &ascii, 10)
                .unwrap()
                .is_ascii()
        );
    }
    let mut state = State::new(View::Tree, SortBy::Own);
    check("ascii.txt", &screen(&made, &mut state, &ascii, (80, 24)));
}

#[test]
fn every_view_reads_well_at_80_columns() {
    let made = shop(20);
    for view in View::ALL {
        let mut state = State::new(view, SortBy::Own);
        let text = screen(&made, &mut state, &around(), (80, 24));
        check(&format!("{}.txt", view.name()), &text);
    }
}

#[test]
fn a_wide_terminal_has_room_for_names() {
    let made = shop(20);
    let mut state = State::new(View::Processes, SortBy::Own);
    check("wide.txt", &screen(&made, &mut state, &around(), (120, 12)));
}

#[test]
fn help_reasons_output_and_question_fit_80_by_24() {
    let mut made = shop(3);
    let reason = "native: unknown mapping".to_owned();
    made.profile.incomplete.insert(reason, 12_345);
    made.second();
    let around = Surroundings {
        output: vec!["listening on :80".to_owned(), "\u{1b}[31mred".to_owned()],
        output_place: "/tmp/app.output".to_owned(),
        ..around()
    };
    for (mode, name) in [
        (Mode::Help, "help.txt"),
        (Mode::Reasons, "reasons.txt"),
        (Mode::Output, "output.txt"),
        (Mode::Leave, "leave.txt"),
    ] {
        let mut state = State::new(View::Functions, SortBy::Own);
        state.mode = mode;
        check(name, &screen(&made, &mut state, &around, (80, 24)));
    }
}

#[test]
fn no_size_is_too_small() {
    let made = shop(2);
    for size in [(1, 1), (10, 3), (20, 6), (40, 7), (300, 100)] {
        for view in View::ALL {
            for mode in [Mode::Table, Mode::Search, Mode::Help, Mode::Output] {
                let mut state = State::new(view, SortBy::Own);
                state.mode = mode;
                screen(&made, &mut state, &around(), size);
            }
        }
    }
}

#[test]
fn hostile_names_are_shown_and_not_obeyed() {
    let hostile = "\u{1b}[2Jevil\u{202e}gnp\n\u{9b}31m\u{200b}";
    let mut made = MadeUp::default();
    let thread = made.thread(hostile, 1, 1);
    let frame = made.python(hostile, hostile, 1);
    let native = made.of_kind(FrameKind::Native, hostile, hostile);
    made.samples(thread, &[frame, native], 10);
    made.profile.information.target = hostile.to_owned();
    made.profile.incomplete.insert(hostile.to_owned(), 3);
    made.second();
    let around = Surroundings {
        note: hostile.to_owned(),
        output: vec![hostile.to_owned()],
        output_place: hostile.to_owned(),
        ..around()
    };
    let is_harmful =
        |character: char| character.is_control() || matches!(character, '\u{202e}' | '\u{200b}');
    for view in View::ALL {
        for mode in [
            Mode::Table,
            Mode::Search,
            Mode::Reasons,
            Mode::Output,
            Mode::Leave,
        ] {
            let mut state = State::new(view, SortBy::Own);
            state.mode = mode;
            state.typed = hostile.to_owned();
            state.selection.process = made
                .profile
                .processes
                .iter()
                .next()
                .map(|(handle, _)| handle);
            let text = screen(&made, &mut state, &around, (160, 30));
            let text = text.replace('\n', "");
            assert!(!text.chars().any(is_harmful), "{view:?} {mode:?} {text:?}");
            assert!(text.contains("\\u{1b}[2Jevil"), "{view:?} {mode:?} {text}");
        }
        let state = State::new(view, SortBy::Own);
        let text = plain_text(&state, &made.live, &around, 10).unwrap();
        assert!(!text.replace('\n', "").chars().any(is_harmful), "{text:?}");
    }
}

#[test]
fn without_colours_there_are_none_and_the_cursor_is_seen_all_the_same() {
    let made = shop(2);
    for has_color in [false, true] {
        let around = Surroundings {
            has_color,
            ..around()
        };
        let mut state = State::new(View::Functions, SortBy::Own);
        let terminal = terminal(&made, &mut state, &around, (80, 24));
        let cells = terminal.backend().buffer().content();
        let colored = cells
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(colored, has_color);
        assert!(screen(&made, &mut state, &around, (80, 24)).contains("\n>"));
    }
}

#[test]
fn plain_tables_have_the_same_rows() {
    let made = shop(20);
    let mut text = String::new();
    for view in [View::Functions, View::Threads, View::Tree] {
        let state = State::new(view, SortBy::Own);
        text += &plain_text(&state, &made.live, &around(), 5).unwrap();
    }
    check("plain.txt", &text);
}
