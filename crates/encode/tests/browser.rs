//! The page in a real browser: what Chromium computes from it against what the profile says.
//!
//! Without Chromium these tests say that they were skipped and pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use viperf_encode::{Format, Options, encode};
use viperf_profile::Profile;

mod synthetic;

const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

fn find_chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let candidates =
        std::env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// The document after the page's script has run, opened from a file with `fragment`; `None` without Chromium.
fn open_in_chromium(page: &[u8], fragment: &str) -> Option<String> {
    let Some(chromium) = find_chromium() else {
        eprintln!("skipped: no Chromium in PATH, so the page was not opened in a browser");
        return None;
    };
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("page.html");
    std::fs::write(&file, page).expect("the page is written");
    let document = run_chromium(
        &chromium,
        folder.path(),
        &format!("file://{}{fragment}", file.display()),
    );
    assert!(
        document.contains("data-state="),
        "the page did not finish: {:.2000}",
        document
    );
    Some(document)
}

fn run_chromium(chromium: &Path, folder: &Path, address: &str) -> String {
    let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                 --disable-component-update --disable-sync --window-size=1360,820 --virtual-time-budget=60000 --dump-dom";
    let output = Command::new(chromium)
        .args(flags.split_whitespace())
        .arg(format!(
            "--user-data-dir={}",
            folder.join("browser").display()
        ))
        .arg(address)
        .output()
        .expect("Chromium starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the page has written on its root element.
fn data_attribute<'a>(document: &'a str, name: &str) -> &'a str {
    let (_, rest) = document
        .split_once(&format!("data-{name}=\""))
        .expect("the page has written the attribute");
    rest.split_once('"').expect("the attribute ends").0
}

fn page(profile: &Profile) -> Vec<u8> {
    encode(profile, Format::Html, &Options::default()).expect("a valid profile")
}

#[test]
fn a_page_of_100_000_boxes_draws_and_finds_the_share_that_the_samples_have() {
    let samples = 20_000;
    let synthetic = synthetic::synthetic_profile(samples);
    let Some(document) = open_in_chromium(&page(&synthetic.profile), "#search=Needle.thread")
    else {
        return;
    };
    assert_eq!(data_attribute(&document, "state"), "ready");
    let nodes: usize = data_attribute(&document, "nodes").parse().unwrap();
    assert!(nodes >= 100_000, "{nodes} boxes");
    let boxes: usize = data_attribute(&document, "boxes").parse().unwrap();
    assert!(boxes > 500, "{boxes} drawn");
    let share: f64 = data_attribute(&document, "search-share").parse().unwrap();
    let expected = synthetic.needle_samples as f64 / samples as f64;
    assert!(expected > 0.01, "the pattern is rare but there: {expected}");
    assert!(
        (share - expected).abs() < 1e-5,
        "the page found {share}, the samples say {expected}"
    );
}

#[test]
fn a_search_for_text_takes_every_character_as_itself() {
    let profile = synthetic::synthetic_profile(50).profile;
    let everything_special = "#search=%5E.*%2B%3F%24%7B%7D()%7C%5B%5D%5C%2F-";
    let Some(document) = open_in_chromium(&page(&profile), everything_special) else {
        return;
    };
    assert_eq!(
        data_attribute(&document, "search-share"),
        "0.000000",
        "no match, and no error either"
    );
}

#[test]
fn an_empty_profile_says_so_in_words() {
    let Some(document) = open_in_chromium(&page(&Profile::default()), "") else {
        return;
    };
    assert_eq!(data_attribute(&document, "state"), "empty");
    assert!(document.contains("No samples were taken"));
}

#[test]
fn hostile_names_are_shown_as_text_and_never_run() {
    let mut profile = synthetic::synthetic_profile(50).profile;
    profile.information.target =
        "<img src=x onerror=\"document.documentElement.dataset.owned=1\">".into();
    profile.incomplete.insert("<b>reason</b>".into(), 1);
    let Some(document) = open_in_chromium(&page(&profile), "#search=%3Cimg&tab=table") else {
        return;
    };
    assert_eq!(data_attribute(&document, "state"), "ready");
    assert!(!document.contains("data-owned"));
    assert!(!document.contains("<img"));
    assert!(
        document.contains("&lt;img src=x onerror="),
        "the title shows the markup as text"
    );
}
