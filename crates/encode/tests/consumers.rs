//! Every format opened by what other people have written to open it, and its numbers compared with the profile's.
//!
//! A consumer that is not installed is skipped with a word. They are found so:
//!
//! - `VIPERF_TEST_PYTHON`, else `python3`: with gprof2dot, snakeviz and jsonschema from PyPI;
//! - `VIPERF_TEST_NODE_MODULES`, a folder with speedscope, pprof-format, @firefox-devtools/profiler-cli and playwright-core
//!   from npm, for `node`;
//! - `go` and `chromium` in `PATH`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use viperf_encode::{Format, Limits, Options, decode, encode};
use viperf_profile::Profile;

#[path = "consumers/page_exports.rs"]
mod page_exports;
mod synthetic;

use synthetic::{NEEDLE, SyntheticProfile};

/// The code with which the scripts say that a package is not there.
const PACKAGE_MISSING: i32 = 77;

const SAMPLES: usize = 3_000;

fn synthetic() -> &'static SyntheticProfile {
    static PROFILE: OnceLock<SyntheticProfile> = OnceLock::new();
    PROFILE.get_or_init(|| synthetic::synthetic_profile(SAMPLES))
}

/// What all samples weigh together, in nanoseconds.
fn total(profile: &Profile) -> u64 {
    profile.samples.iter().map(|sample| sample.weight_ns).sum()
}

/// The profile in a format, in a file of the usual name.
fn write(format: Format) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder
        .path()
        .join(format!("profile{}", format.suffixes()[0]));
    let bytes = encode(&synthetic().profile, format, &Options::default()).expect("a sound profile");
    std::fs::write(&file, bytes).expect("the file is written");
    (folder, file)
}

fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/consumers")
        .join(name)
}

/// The line of JSON that a script prints; `None`, with a message, when its package is not there.
fn answer(consumer: &str, output: Output) -> Option<Value> {
    if output.status.code() == Some(PACKAGE_MISSING) {
        let why = String::from_utf8_lossy(&output.stderr);
        eprintln!("skipped: {consumer}: {}", why.trim());
        return None;
    }
    assert!(
        output.status.success(),
        "{consumer}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(serde_json::from_slice(&output.stdout).expect("a line of JSON"))
}

fn by_python(consumer: &str, file: &Path, rest: &[&Path]) -> Option<Value> {
    let python = std::env::var("VIPERF_TEST_PYTHON").unwrap_or("python3".into());
    let output = Command::new(&python)
        .arg(script("read_python.py"))
        .arg(consumer)
        .args([file, Path::new(NEEDLE)])
        .args(rest)
        .output();
    match output {
        Ok(output) => answer(consumer, output),
        Err(error) => {
            eprintln!("skipped: {consumer}: {python}: {error}");
            None
        }
    }
}

fn node_modules() -> Option<PathBuf> {
    std::env::var_os("VIPERF_TEST_NODE_MODULES").map(PathBuf::from)
}

fn by_node(consumer: &str, file: &Path) -> Option<Value> {
    let Some(modules) = node_modules() else {
        eprintln!("skipped: {consumer}: VIPERF_TEST_NODE_MODULES names no folder");
        return None;
    };
    let Some(chromium) = find_program(&["chromium", "chromium-browser", "google-chrome"]) else {
        eprintln!("skipped: {consumer}: no Chromium in PATH");
        return None;
    };
    let output = Command::new("node")
        .arg(script("read_node.mjs"))
        .arg(consumer)
        .args([&modules, file, Path::new(NEEDLE), &chromium])
        .output();
    match output {
        Ok(output) => answer(consumer, output),
        Err(error) => {
            eprintln!("skipped: {consumer}: node: {error}");
            None
        }
    }
}

/// A time in some unit as samples: all of the profile's weigh the same.
fn as_samples(value: &Value, units_per_second: f64) -> f64 {
    let profile = &synthetic().profile;
    let each = profile.samples[0].weight_ns as f64;
    value.as_f64().expect("a number") / units_per_second * 1e9 / each
}

#[track_caller]
fn assert_samples(found: f64, expected: u64) {
    assert!(
        (found - expected as f64).abs() < 1e-3,
        "{found} instead of {expected}"
    );
}

/// What `go tool pprof` says of a file, which lies in `folder`; `None`, with a message, where there is no go.
fn by_go(folder: &Path, file: &Path, words: &[&str]) -> Option<String> {
    if find_program(&["go"]).is_none() {
        eprintln!("skipped: go tool pprof: no go in PATH");
        return None;
    }
    let output = Command::new("go")
        .args(["tool", "pprof"])
        .args(words)
        .arg(file)
        .env("HOME", folder)
        .env("GOFLAGS", "-mod=mod")
        .output()
        .expect("go starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    Some(text)
}

/// Its list of functions counts every sample, and those of [`NEEDLE`].
fn assert_go_counts_every_sample(folder: &Path, file: &Path) {
    let options = [
        "-top",
        "-sample_index=samples",
        "-nodecount=0",
        "-nodefraction=0",
        "-edgefraction=0",
    ];
    let Some(top) = by_go(folder, file, &options) else {
        return;
    };
    assert!(
        top.contains(&format!("Total samples = {SAMPLES}")),
        "{top:.500}"
    );
    let needle = top.lines().find(|line| line.ends_with(NEEDLE));
    let cumulative = needle.and_then(|line| line.split_whitespace().nth(3));
    let expected = synthetic().needle_samples.to_string();
    assert_eq!(cumulative, Some(expected.as_str()), "{top:.500}");
}

#[test]
fn go_tool_pprof_counts_every_sample() {
    let (folder, file) = write(Format::Pprof);
    assert_go_counts_every_sample(folder.path(), &file);
    let Some(comments) = by_go(folder.path(), &file, &["-comments"]) else {
        return;
    };
    assert!(
        comments.contains(&format!("samples: {SAMPLES}")),
        "{comments}"
    );
    let tags = by_go(folder.path(), &file, &["-tags", "-sample_index=samples"]).unwrap_or_default();
    for tag in ["pid", "process", "thread", "tid"] {
        assert!(tags.contains(&format!("{tag}: Total {SAMPLES}")), "{tags}");
    }
}

#[test]
fn pprof_format_counts_every_sample() {
    let (_folder, file) = write(Format::Pprof);
    let Some(found) = by_node("pprof-format", &file) else {
        return;
    };
    assert_eq!(found["samples"], SAMPLES);
    assert_eq!(found["total"], total(&synthetic().profile));
    assert_eq!(found["needle_samples"], synthetic().needle_samples);
    assert_eq!(found["types"], "samples/count cpu/nanoseconds");
}

#[test]
fn speedscopes_page_weighs_its_own_format_pprof_and_folded_lines_alike() {
    for format in [Format::Speedscope, Format::Pprof, Format::Folded] {
        let (_folder, file) = write(format);
        let Some(found) = by_node("speedscope", &file) else {
            return;
        };
        assert_eq!(found["errors"], 0);
        let profiles = found["profiles"].as_array().expect("profiles");
        let samples = |row: &Value, what: &str| match format {
            Format::Folded => row[what].as_f64().expect("a number"),
            _ => as_samples(&row[what], 1e9),
        };
        assert_samples(samples(&profiles[0], "total"), SAMPLES as u64);
        assert_samples(samples(&profiles[0], "needle"), synthetic().needle_samples);
        if format == Format::Speedscope {
            let threads = profiles[1..].iter();
            let sum = |what| threads.clone().map(|row| samples(row, what)).sum();
            assert!(profiles.len() > 2);
            assert_samples(sum("total"), SAMPLES as u64);
            assert_samples(sum("needle"), synthetic().needle_samples);
        }
    }
}

#[test]
fn speedscopes_schema_holds() {
    let Some(modules) = node_modules() else {
        eprintln!("skipped: speedscope's schema: VIPERF_TEST_NODE_MODULES names no folder");
        return;
    };
    let schema = modules.join("speedscope/dist/release/file-format-schema.json");
    if !schema.exists() {
        eprintln!(
            "skipped: speedscope's schema: {} is not there",
            schema.display()
        );
        return;
    }
    let (_folder, file) = write(Format::Speedscope);
    if let Some(found) = by_python("speedscope-schema", &file, &[&schema]) {
        assert_eq!(found["valid"], true);
    }
}

#[test]
fn the_firefox_profiler_has_every_sample_and_its_cpu_time() {
    let (_folder, file) = write(Format::Firefox);
    let Some(found) = by_node("firefox", &file) else {
        return;
    };
    assert_eq!(found["samples"], SAMPLES);
    assert_eq!(found["needle_samples"], synthetic().needle_samples);
    let profile = &synthetic().profile;
    let threads: std::collections::BTreeSet<_> =
        profile.samples.iter().map(|sample| sample.thread).collect();
    assert_eq!(found["threads"], threads.len());
    assert!(found["markers"].as_u64().is_some_and(|markers| markers > 0));
}

#[test]
fn pythons_pstats_has_the_time_of_every_sample_and_counts_recursion_once() {
    let (_folder, file) = write(Format::Pstats);
    let Some(found) = by_python("pstats", &file, &[]) else {
        return;
    };
    assert_samples(as_samples(&found["total"], 1.0), SAMPLES as u64);
    // The needle stands below itself in some stacks.
    assert_samples(
        as_samples(&found["needle"], 1.0),
        synthetic().needle_samples,
    );
    assert_eq!(found["needle_samples"], synthetic().needle_samples);
    assert!(as_samples(&found["deepest"], 1.0) <= SAMPLES as f64 + 1e-3);
}

#[test]
fn gprof2dot_and_snakeviz_show_the_functions() {
    for (consumer, format) in [
        ("gprof2dot", Format::Pstats),
        ("gprof2dot-folded", Format::Folded),
        ("snakeviz", Format::Pstats),
    ] {
        let (_folder, file) = write(format);
        if let Some(found) = by_python(consumer, &file, &[]) {
            assert!(
                found["needle"].as_u64().is_some_and(|needle| needle > 0),
                "{consumer}: {found}"
            );
        }
    }
}

/// gprof2dot shows hundredths of a percent.
#[track_caller]
fn assert_share(found: &Value, part: u64, whole: u64) {
    let expected = 100.0 * part as f64 / whole as f64;
    let share = found["share"].as_f64().expect("a share");
    assert!((share - expected).abs() < 0.011, "{share} not {expected}");
}

#[test]
fn gprof2dot_reads_perf_script_and_what_is_made_of_it_as_viperf_does() {
    // No recursion: gprof2dot puts functions that call each other together.
    let text: String = (0..400)
        .map(|number| {
            let leaf = if number % 4 == 0 { NEEDLE } else { "inflate" };
            format!(
                "python3  4242/4242  [002]  3212.{:06}:   10101010 cpu-clock:u: \n\
                 \t    7f3c6a1b2c44 {leaf}+0x144 (/usr/lib/libz.so.1)\n\
                 \t    55d0a1b2c010 main+0x20 (/usr/bin/python3.12)\n\n",
                number * 1_010
            )
        })
        .collect();
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("perf.script");
    std::fs::write(&file, &text).expect("the file is written");
    let read = decode(text.as_bytes(), &Limits::default()).expect("it is read");
    assert_eq!((read.damage, read.profile.samples.len()), (None, 400));
    let folded = encode(&read.profile, Format::Folded, &Options::default()).expect("folded lines");
    let folded = String::from_utf8(folded).expect("text");
    let needle = folded.lines().find(|line| line.contains(NEEDLE));
    assert!(
        needle.is_some_and(|line| line.ends_with(" 100")),
        "{folded}"
    );
    let made = folder.path().join("perf.folded");
    std::fs::write(&made, &folded).expect("the file is written");
    for (consumer, file) in [("gprof2dot-perf", &file), ("gprof2dot-folded", &made)] {
        if let Some(found) = by_python(consumer, file, &[]) {
            assert_share(&found, 100, 400);
        }
    }
}

/// The table in the documents names what is tested, by the names that the tests have.
#[test]
fn the_table_of_consumers_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = std::fs::read_to_string(root.join("docs/formats/README.md")).expect("the table");
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(".rs`"));
    let mut count = 0;
    for row in rows {
        let words: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let (file, test) = (words[words.len() - 2], words[words.len() - 1]);
        let source = std::fs::read_to_string(root.join(file));
        let source = source.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            source.contains(&format!("fn {test}(")),
            "{file} has no {test}"
        );
        count += 1;
    }
    assert!(count > 15, "{count} rows");
}

#[test]
fn pythons_json_counts_every_sample() {
    let (_folder, file) = write(Format::Json);
    let Some(found) = by_python("json", &file, &[]) else {
        return;
    };
    assert_eq!(found["samples"], SAMPLES);
    assert_eq!(found["total"], total(&synthetic().profile));
    assert_eq!(found["needle_samples"], synthetic().needle_samples);
}

#[test]
fn chromium_draws_every_box_of_the_picture() {
    let Some(chromium) = find_program(&["chromium", "chromium-browser", "google-chrome"]) else {
        eprintln!("skipped: the picture: no Chromium in PATH");
        return;
    };
    let (folder, file) = write(Format::Svg);
    let written = std::fs::read_to_string(&file).expect("the picture");
    // A page around it measures what is drawn.
    let page = folder.path().join("page.html");
    let probe = format!(
        "<!doctype html><meta charset=utf-8>{}<script>\
         const boxes = [...document.querySelectorAll('g>rect')].map(box => box.getBoundingClientRect());\
         document.documentElement.dataset.drawn = boxes.filter(box => box.width > 0 && box.height > 0).length;\
         document.documentElement.dataset.scripts = document.querySelectorAll('svg script').length;\
         </script>",
        written.split_once("?>").expect("a declaration").1
    );
    std::fs::write(&page, probe).expect("the page is written");
    let open = |address: &Path| {
        let output = Command::new(&chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("browser").display()
            ))
            .arg(format!("file://{}", address.display()))
            .output()
            .expect("Chromium starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let boxes = written.matches("<g>").count();
    assert!(boxes > 100, "{boxes}");
    let measured = open(&page);
    assert!(
        measured.contains(&format!("data-drawn=\"{boxes}\"")),
        "{measured:.300}"
    );
    assert!(measured.contains("data-scripts=\"0\""));
    // By itself it is XML, of which a browser shows nothing behind the first error.
    let alone = open(&file);
    assert!(!alone.contains("parsererror"), "{alone:.300}");
    assert_eq!(alone.matches("<g>").count(), boxes);
    assert!(written.contains(&format!("all ({SAMPLES} samples, 100.00 %")));
}

/// What is written is what is read, whatever the way: the counts stay to the sample.
#[test]
fn every_format_that_is_read_gives_every_sample_back() {
    let expected = &synthetic().profile;
    for format in [
        Format::Viperf,
        Format::Folded,
        Format::Pprof,
        Format::Speedscope,
    ] {
        let bytes = encode(expected, format, &Options::default()).expect("a sound profile");
        let read = decode(&bytes, &Limits::default()).expect("it is read");
        assert_eq!(read.damage, None);
        let read = read.profile;
        assert_eq!(read.samples.len(), SAMPLES, "{format:?}");
        if format != Format::Folded {
            assert_eq!(total(&read), total(expected), "{format:?}");
        }
        let lines = |profile| {
            let bytes = encode(profile, Format::Folded, &Options::default());
            String::from_utf8(bytes.expect("folded lines")).expect("text")
        };
        assert!(lines(&read) == lines(expected), "{format:?}");
    }
}
