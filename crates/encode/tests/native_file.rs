//! The native file against a reader made from its documents alone, in another language.

use std::path::Path;
use std::process::Command;

use viperf_encode::{Format, Options, encode};
use viperf_profile::{Profile, SourceRange};

mod synthetic;

/// The code with which `read_viperf.py` says that its packages are not installed.
const PACKAGES_MISSING: i32 = 77;

#[test]
fn a_reader_made_from_the_documents_sees_the_folded_lines() {
    let synthetic = synthetic::synthetic_profile(3_000);
    assert!(
        synthetic.needle_samples > 0,
        "{} is in the profile",
        synthetic::NEEDLE
    );
    let profile = &synthetic.profile;
    let Some(lines) = read_independently(profile, "folded") else {
        return;
    };
    let folded = encode(profile, Format::Folded, &Options::default()).unwrap();
    assert!(lines == folded, "the lines differ");
}

#[test]
fn a_reader_made_from_the_documents_sees_the_source_ranges() {
    let profile = synthetic::synthetic_profile(0).profile;
    let Some(lines) = read_independently(&profile, "ranges") else {
        return;
    };
    let mut expected = String::new();
    for (_, frame) in profile.frames.iter() {
        let function = profile.function(frame.function).unwrap();
        let name = profile.string(function.name).unwrap();
        let SourceRange {
            line,
            end_line,
            column,
            end_column,
        } = frame.source;
        expected += &format!("{name} {line}:{column}-{end_line}:{end_column}\n");
    }
    assert!(expected.contains(" 11:13-11:53\n"), "{expected}");
    assert_eq!(String::from_utf8(lines).unwrap(), expected);
}

/// What `read_viperf.py` prints of the profile's file; `None`, with a message, when it cannot run here.
///
/// Set `VIPERF_TEST_PYTHON` to an interpreter that has grpcio-tools and zstandard; `python3` is tried otherwise.
fn read_independently(profile: &Profile, what: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("profile.viperf");
    let bytes =
        encode(profile, Format::Viperf, &Options::default()).expect("the profile is written");
    std::fs::write(&file, bytes).expect("the file is written");

    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var("VIPERF_TEST_PYTHON").unwrap_or("python3".into());
    let output = Command::new(&python)
        .arg(package.join("tests/read_viperf.py"))
        .arg(&file)
        .arg(package.join("../../docs/formats"))
        .arg(what)
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(PACKAGES_MISSING) => output,
        _ => {
            eprintln!(
                "skipped: {python} with grpcio-tools and zstandard is needed to read the .viperf file independently"
            );
            return None;
        }
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(output.stdout)
}
