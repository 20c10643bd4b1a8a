//! The native file against a reader made from its documents alone, in another language.

use std::path::Path;
use std::process::Command;

use viperf_encode::{Format, Options, encode};

mod synthetic;

/// The code with which `read_viperf.py` says that its packages are not installed.
const PACKAGES_MISSING: i32 = 77;

/// Set `VIPERF_TEST_PYTHON` to an interpreter that has grpcio-tools and zstandard; `python3` is tried otherwise.
#[test]
fn a_reader_made_from_the_documents_sees_the_folded_lines() {
    let synthetic = synthetic::synthetic_profile(3_000);
    assert!(
        synthetic.needle_samples > 0,
        "{} is in the profile",
        synthetic::NEEDLE
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("profile.viperf");
    let options = Options::default();
    std::fs::write(
        &file,
        encode(&synthetic.profile, Format::Viperf, &options).unwrap(),
    )
    .unwrap();

    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var("VIPERF_TEST_PYTHON").unwrap_or("python3".into());
    let output = Command::new(&python)
        .arg(package.join("tests/read_viperf.py"))
        .arg(&file)
        .arg(package.join("../../docs/formats"))
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(PACKAGES_MISSING) => output,
        _ => {
            eprintln!(
                "skipped: {python} with grpcio-tools and zstandard is needed to read the .viperf file independently"
            );
            return;
        }
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let folded = encode(&synthetic.profile, Format::Folded, &options).unwrap();
    assert!(output.stdout == folded, "the lines differ");
}
