//! Names made to harm whoever looks at them.

use viperf_profile::{FrameKind, Profile};
use viperf_report::{
    Calls, DiffOptions, DiffReport, Direction, Report, ReportOptions, Source, Style,
    escape_for_terminal,
};

use crate::made_up::MadeUp;

const HOSTILE: [&str; 8] = [
    "\u{1b}]0;owned\u{7}\u{1b}[2J",
    "two\nlines\r\u{85}\u{2028}",
    "\u{202e}gnp.exe\u{2066}\u{200f}",
    "\u{9b}31m\u{90}\u{9d}",
    "```\n# heading\n| a | b |",
    "</code><script>alert(1)</script>",
    "\u{0}\u{7f}\u{e0041}\u{feff}",
    "",
];

fn hostile() -> Profile {
    let mut made = MadeUp::default();
    for (number, name) in (1..).zip(HOSTILE) {
        let thread = made.thread(name, number, number, name);
        let frames = [
            made.python(name, &format!("/srv/{name}.py"), 1, 2),
            made.other(FrameKind::Native, name, name),
            made.other(FrameKind::Kernel, name, ""),
            made.other(FrameKind::Incomplete, name, ""),
        ];
        for end in 1..=frames.len() {
            made.samples(thread, &frames[..end], 20);
        }
        made.profile.incomplete.insert(name.to_owned(), 1);
        made.profile.information.target += name;
    }
    made.profile
}

fn assert_harmless(what: &str, text: &str) {
    let harmless = |line: &str| escape_for_terminal(line) == line;
    assert!(text.lines().all(harmless), "{what}: {text:?}");
    // `lines` ends a line at more than a newline.
    assert!(!text.contains('\r'), "{what}");
}

#[test]
fn no_name_reaches_the_output_raw() {
    let profile = hostile();
    let style = Style {
        color: false,
        width: Some(100),
    };
    let report = Report::new(&profile, &ReportOptions::default()).unwrap();
    assert_harmless("text", &report.text(&style));
    assert_harmless("markdown", &report.markdown());
    assert_harmless("json", &report.json());
    let empty = Profile::default();
    let options = DiffOptions {
        fail_above: Some(0.0),
        ..DiffOptions::default()
    };
    let diff = DiffReport::new(&empty, &profile, &options).unwrap();
    assert_harmless("diff", &diff.text(&style));
    assert_harmless("diff as markdown", &diff.markdown());
    assert_harmless("diff as json", &diff.json());
    assert_harmless("failure", &diff.failure().unwrap_or_default());
    for name in HOSTILE {
        for direction in [Direction::Callers, Direction::Callees] {
            match Calls::new(&profile, direction, name, &ReportOptions::default()) {
                Ok(calls) => {
                    assert_harmless("calls", &calls.text(&style));
                    assert_harmless("calls as markdown", &calls.markdown());
                }
                Err(error) => assert_harmless("error", &error.to_string()),
            }
        }
        match Source::new(&profile, name) {
            Ok(source) => {
                let source = source.with_text(&HOSTILE.join("\n"));
                assert_harmless("source", &source.text(&style));
                assert_harmless("source as markdown", &source.markdown());
            }
            Err(error) => assert_harmless("error", &error.to_string()),
        }
    }
}

/// Every line of a block of code begins with a figure, so none can end the block.
#[test]
fn a_name_cannot_end_a_block_of_code() {
    let report = Report::new(&hostile(), &ReportOptions::default()).unwrap();
    let fences = report
        .markdown()
        .lines()
        .filter(|line| line.trim_start().starts_with("```"))
        .count();
    assert_eq!(fences, 2);
}
