//! What people see, as text; `VIPERF_BLESS=1 cargo test -p viperf-report` writes it anew.

use std::fs;
use std::path::Path;

use viperf_profile::{DivideBy, Filter, FrameKind, Normalization, Profile, filter};
use viperf_report::{
    Calls, DiffOptions, DiffReport, Direction, Report, ReportOptions, Section, Source, Style,
};

use crate::made_up::{shop, shop_after, shop_in_container, ten_times};

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens")
        .join(name);
    if std::env::var_os("VIPERF_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{name} is not what it was; if that is right, VIPERF_BLESS=1 writes it anew:\n{text}"
    );
}

fn narrow() -> Style {
    Style {
        color: false,
        width: Some(80),
    }
}

fn report(profile: &Profile, options: &ReportOptions) -> Report {
    Report::new(profile, options).unwrap()
}

#[test]
fn a_report_is_plain_in_a_pipe_narrow_on_a_terminal_and_markdown_for_a_pull_request() {
    let report = report(&shop(), &ReportOptions::default());
    check("report.txt", &report.text(&Style::default()));
    let narrow = report.text(&narrow());
    check("report-80.txt", &narrow);
    assert!(
        narrow.lines().all(|line| line.chars().count() <= 80),
        "{narrow}"
    );
    check("report.md", &report.markdown());
    check("report.json", &report.json());
}

#[test]
fn what_each_thread_and_container_takes_and_on_what() {
    for (name, by) in [
        ("groups-thread", DivideBy::Thread),
        ("groups-container", DivideBy::Container),
    ] {
        let options = ReportOptions {
            sections: Vec::new(),
            divide_by: Some(by),
            ..ReportOptions::default()
        };
        let report = report(&shop_in_container(), &options);
        let text = report.text(&narrow());
        check(&format!("{name}.txt"), &text);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        check(&format!("{name}.md"), &report.markdown());
        let groups = report.groups.unwrap();
        let total: u64 = groups.parts.iter().map(|part| part.total.samples).sum();
        assert_eq!(total, 110, "every sample belongs to one part");
    }
    let options = ReportOptions {
        limit: 1,
        divide_by: Some(DivideBy::Program),
        ..ReportOptions::default()
    };
    let report = report(&shop_in_container(), &options);
    let groups = report.groups.unwrap();
    assert_eq!((groups.parts.len(), groups.parts_in_all), (1, 2));
    assert_eq!(groups.others.samples, 10);
}

#[test]
fn colours_change_nothing_but_colours() {
    let report = report(&shop(), &ReportOptions::default());
    let painted = report.text(&Style {
        color: true,
        width: Some(80),
    });
    let mut plain = String::new();
    let mut rest = painted.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    let trimmed = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    };
    assert_eq!(trimmed(&plain), trimmed(&report.text(&narrow())));
}

#[test]
fn a_tree_without_folding_shows_every_frame() {
    let options = ReportOptions {
        sections: vec![Section::Tree],
        full_tree: true,
        ..ReportOptions::default()
    };
    check(
        "tree-full.txt",
        &report(&shop(), &options).text(&Style::default()),
    );
}

#[test]
fn without_native_frames_their_time_is_pythons() {
    let hidden = Filter {
        hidden: vec![FrameKind::Native, FrameKind::Kernel, FrameKind::Interpreter],
        ..Filter::default()
    };
    let profile = filter(shop(), &hidden).unwrap();
    let options = ReportOptions {
        sections: vec![Section::Functions],
        ..ReportOptions::default()
    };
    let report = report(&profile, &options);
    check("report-hidden.txt", &report.text(&Style::default()));
}

#[test]
fn callers_and_callees_of_one_function() {
    for (name, direction, function) in [
        ("callers.txt", Direction::Callers, "deflate_slow"),
        ("callees.txt", Direction::Callees, "views.py:basket"),
    ] {
        let calls = Calls::new(&shop(), direction, function, &ReportOptions::default());
        check(name, &calls.unwrap().text(&narrow()));
    }
    let unknown = Calls::new(
        &shop(),
        Direction::Callers,
        "Basket.prize",
        &ReportOptions::default(),
    );
    assert_eq!(
        unknown.unwrap_err().to_string(),
        "no function of the profile is called `Basket.prize` (there is Basket.price, basket); \
         `--show functions --limit 1000` lists what there is"
    );
}

#[test]
fn source_lines_have_their_time_beside_them() {
    let text: String = (1..=120)
        .map(|line| match line {
            80 => "    def price(self):\n".to_owned(),
            81..=89 => format!("        step_{line}()\n"),
            90 => "    def next(self):\n".to_owned(),
            line => format!("        other_{line}()\n"),
        })
        .collect();
    for (name, asked) in [
        ("source-function.txt", "Basket.price"),
        ("source-file.txt", "models.py"),
    ] {
        let source = Source::new(&shop(), asked).unwrap();
        assert_eq!(source.file, "/srv/shop/shop/models.py");
        check(name, &source.with_text(&text).text(&narrow()));
    }
    let source = Source::new(&shop(), "shop/views.py").unwrap();
    check("source-without-text.txt", &source.text(&narrow()));
}

#[test]
fn what_changed_is_shown_by_function_and_by_stack() {
    for (name, normalization) in [
        ("diff-samples", Normalization::Samples),
        ("diff-time", Normalization::Time),
    ] {
        let options = DiffOptions {
            normalization,
            fail_above: Some(0.05),
            ..DiffOptions::default()
        };
        let diff = DiffReport::new(&ten_times(shop()), &ten_times(shop_after()), &options).unwrap();
        check(&format!("{name}.txt"), &diff.text(&narrow()));
        check(&format!("{name}.md"), &diff.markdown());
        check(&format!("{name}.json"), &diff.json());
        let failure = diff.failure().unwrap();
        assert!(
            failure.starts_with("grew by more than 5 % of "),
            "{failure}"
        );
        assert!(failure.contains("check_stock"), "{failure}");
    }
    let same = DiffReport::new(&shop(), &shop(), &DiffOptions::default()).unwrap();
    assert!(
        same.text(&narrow())
            .contains("nothing changed beyond what chance explains")
    );
    assert!(!same.fails());
}

#[test]
fn an_empty_profile_says_that_it_is_empty() {
    let report = report(&Profile::default(), &ReportOptions::default());
    let text = report.text(&narrow());
    assert!(text.contains("no samples"), "{text}");
    assert!(!report.markdown().is_empty() && report.json().contains("\"functions\": []"));
}

#[test]
fn samples_that_say_no_time_are_counted() {
    let mut profile = shop();
    for sample in &mut profile.samples {
        sample.weight_ns = 0;
        sample.time_ns = 0;
    }
    profile.information = viperf_profile::ProfileInformation::default();
    let report = report(&profile, &ReportOptions::default());
    check("report-samples.txt", &report.text(&narrow()));
    assert_eq!(report.summary.measure, "samples");
    let diff = DiffReport::new(&profile, &profile, &DiffOptions::default()).unwrap();
    assert!(!diff.fails() && diff.functions_changed == 0);
}
