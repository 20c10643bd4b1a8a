//! The binary itself, as far as it goes without privileges: help, usage, exit codes, conversion.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod report;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use viperf_encode::viperf_file;
use viperf_profile::{Frame, FrameKind, Function, Process, Profile, Sample, Thread};

fn viperf(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_viperf"))
        .args(arguments)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn write_profile(path: &Path) {
    let mut profile = Profile::default();
    let name = profile.strings.intern("main");
    let file = profile.strings.intern("/srv/app.py");
    let comm = profile.strings.intern("python3");
    let function = profile.functions.intern(Function {
        name,
        file: Some(file),
        library: None,
        first_line: 3,
        kind: FrameKind::Python,
    });
    let frame = profile.frames.intern(Frame::at_line(function, 7));
    let stack = profile.intern_stack_root_first([frame]).unwrap();
    let process = profile.processes.intern(Process::new(42, comm, comm));
    let thread = profile.threads.intern(Thread {
        process,
        tid: 42,
        name: comm,
    });
    profile.samples.push(Sample {
        time_ns: 10,
        weight_ns: 1_000_000,
        cpu: 0,
        thread,
        stack,
        complete: true,
    });
    let bytes = viperf_file::encode(&profile, &viperf_file::Options::default()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn alone_it_prints_a_short_help_with_three_examples() {
    let output = viperf(&[]);
    assert_eq!(code(&output), 0);
    assert_eq!(stdout(&output).matches("\n  viperf ").count(), 3);
    assert!(stdout(&output).lines().count() <= 10);
}

#[test]
fn wrong_usage_ends_with_two_and_one_line() {
    for arguments in [
        &["record", "python3", "app.py"][..],
        &["record", "-F", "0"],
        &["record", "-o", "a.png"],
        &["top"],
        &["convert", "a.viperf"],
    ] {
        let output = viperf(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        let text = stderr(&output);
        assert!(
            text.starts_with("viperf: ") && text.lines().count() == 1,
            "{text}"
        );
    }
}

#[test]
fn a_place_that_cannot_be_written_is_found_out_before_the_command_starts() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("started");
    let output = viperf(&[
        "record",
        "-o",
        folder.path().join("missing/a.html").to_str().unwrap(),
        "--",
        "touch",
        witness.to_str().unwrap(),
    ]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("missing/a.html cannot be written"),
        "{output:?}"
    );
    assert!(!witness.exists());
}

#[test]
fn convert_makes_folded_lines_and_a_page_of_the_native_file() {
    let folder = tempfile::tempdir().unwrap();
    let native = folder.path().join("a.viperf");
    write_profile(&native);
    let native = native.to_str().unwrap();
    let folded = viperf(&["convert", native, "-o", "-"]);
    assert_eq!(code(&folded), 0, "{folded:?}");
    assert_eq!(stdout(&folded), "python3 (42);main (/srv/app.py:7)_[p] 1\n");
    let shaped = ["--merge-processes", "--threads", "--frame-kinds", "off"];
    let shaped = viperf(&[&["convert", native, "-o", "-"], &shaped[..]].concat());
    assert_eq!(
        stdout(&shaped),
        "python3;python3 (42);main (/srv/app.py:7) 1\n"
    );
    let page = folder.path().join("a.html");
    let output = viperf(&["convert", native, "-o", page.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(fs::read_to_string(page).unwrap().contains("<html"));
}

#[test]
fn what_is_no_viperf_file_is_said_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("a.viperf");
    fs::write(&input, "text").unwrap();
    let page = folder.path().join("a.html");
    let output = viperf(&[
        "convert",
        input.to_str().unwrap(),
        "-o",
        page.to_str().unwrap(),
    ]);
    assert_eq!(code(&output), 1);
    assert_eq!(stderr(&output).lines().count(), 1);
    assert!(!page.exists());
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_viperf"))
        .args(["doctor", "--reasons"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn doctor_tells_programs_name_state_found_and_remedy() {
    let output = viperf(&["doctor", "--json"]);
    assert!([0, 1, 3, 5].contains(&code(&output)), "{output:?}");
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for check in checks.as_array().unwrap() {
        let state = check["state"].as_str().unwrap();
        assert!(["ok", "limited", "missing"].contains(&state));
        assert_eq!(check["remedy"].is_null(), state == "ok", "{check}");
    }
}
