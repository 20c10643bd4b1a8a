use std::io::Read as _;

use serde_json::Value;

use super::*;
use crate::html::ServedState;
use crate::sample_profile::{add_frame, add_process, add_samples, add_thread};
use viperf_profile::{FrameKind, ThreadHandle};

/// A program that runs `f`, then `g`, then `f` again, as it is known after each of the three.
struct Program {
    profile: Profile,
    thread: ThreadHandle,
}

impl Program {
    fn new() -> Self {
        let mut profile = Profile::default();
        let process = add_process(&mut profile, "python3", 7);
        let thread = add_thread(&mut profile, process, "main", 7);
        Self { profile, thread }
    }

    fn run(&mut self, name: &str, count: u64) {
        let frames = ["main", name]
            .map(|name| add_frame(&mut self.profile, FrameKind::Python, name, "app.py", 1));
        add_samples(&mut self.profile, self.thread, &frames, count);
    }
}

fn head(data: &[u8]) -> Value {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(data)
        .read_to_end(&mut bytes)
        .unwrap();
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    serde_json::from_slice(&bytes[8..8 + length]).unwrap()
}

fn after(growing: &Growing, position: &str) -> Value {
    let served = Served {
        state: ServedState::Recording,
        ..Served::default()
    };
    head(&growing.encode_after(position, &served).unwrap())
}

fn rows(head: &Value, column: &str) -> u64 {
    let columns = head["columns"].as_array().unwrap();
    let found = columns.iter().find(|row| row[0] == column);
    found.map_or(0, |row| row[2].as_u64().unwrap())
}

fn position(head: &Value) -> &str {
    head["served"]["position"].as_str().unwrap()
}

#[test]
fn a_page_gets_only_what_it_lacks() {
    let mut program = Program::new();
    let mut growing = Growing::new(Options::default());
    program.run("f", 3);
    growing.take_in(&program.profile).unwrap();
    let first = after(&growing, "");
    assert_eq!(first["served"]["append"], false);
    assert_eq!(rows(&first, "sample_node"), 3);
    assert_eq!(
        rows(&first, "node_row"),
        5,
        "the whole, process, thread, main, f"
    );
    assert!(!growing.is_newer_than(position(&first)));

    program.run("g", 2);
    growing.take_in(&program.profile).unwrap();
    assert!(growing.is_newer_than(position(&first)));
    let second = after(&growing, position(&first));
    assert_eq!(second["served"]["append"], true);
    assert_eq!(rows(&second, "sample_node"), 2);
    assert_eq!(rows(&second, "node_row"), 1, "g alone is new");
    assert_eq!(second["strings"], serde_json::json!(["g"]));
    assert_eq!(second["samples"], 5);

    program.run("f", 1);
    growing.take_in(&program.profile).unwrap();
    let third = after(&growing, position(&second));
    assert_eq!(rows(&third, "node_row"), 0, "all was there before");
    assert_eq!(rows(&third, "sample_node"), 1);
    // A page that comes late gets everything.
    assert_eq!(rows(&after(&growing, ""), "sample_node"), 6);
}

#[test]
fn rows_that_are_not_those_of_before_begin_anew() {
    let mut growing = Growing::new(Options::default());
    let mut program = Program::new();
    program.run("f", 3);
    growing.take_in(&program.profile).unwrap();
    let known = after(&growing, "");
    let mut other = Program::new();
    other.run("renamed", 4);
    growing.take_in(&other.profile).unwrap();
    let next = after(&growing, position(&known));
    assert_eq!(next["served"]["append"], false);
    assert_eq!(rows(&next, "sample_node"), 4);
}

#[test]
fn samples_that_weigh_differently_give_every_page_a_column_of_weights() {
    let mut growing = Growing::new(Options::default());
    let mut program = Program::new();
    program.run("f", 3);
    growing.take_in(&program.profile).unwrap();
    let known = after(&growing, "");
    assert_eq!(rows(&known, "sample_weight"), 0);
    program.run("g", 1);
    program.profile.samples.last_mut().unwrap().weight_ns += 1;
    growing.take_in(&program.profile).unwrap();
    let next = after(&growing, position(&known));
    assert_eq!(rows(&next, "sample_weight"), 4);
    assert_eq!(next["served"]["append"], false);
}

#[test]
fn a_full_page_counts_on_and_grows_no_more() {
    let mut growing = Growing::new(Options::default());
    growing.most = (4, 100);
    let mut program = Program::new();
    program.run("f", 3);
    growing.take_in(&program.profile).unwrap();
    assert!(!growing.is_full());
    program.run("f", 9);
    growing.take_in(&program.profile).unwrap();
    assert!(growing.is_full());
    let head = after(&growing, "");
    assert_eq!(rows(&head, "sample_node"), 4);
    assert_eq!(head["samples"], 12);
}

#[test]
fn a_position_that_nobody_gave_out_gets_everything() {
    let mut growing = Growing::new(Options::default());
    let mut program = Program::new();
    program.run("f", 3);
    growing.take_in(&program.profile).unwrap();
    for hostile in [
        "",
        "x",
        "0.1",
        "0.1.9.9.9.9.9999",
        "0.1.99999999999999999999999.0.0.0.0",
        "-1.0.0.0.0.0.0",
        "1.1.0.0.0.0.0",
    ] {
        assert!(growing.is_newer_than(hostile), "{hostile}");
        let head = after(&growing, hostile);
        assert_eq!(rows(&head, "sample_node"), 3, "{hostile}");
        assert_eq!(head["served"]["append"], false, "{hostile}");
    }
}
