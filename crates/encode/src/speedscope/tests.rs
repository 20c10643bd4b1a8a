use super::*;
use crate::folded;
use crate::golden;
use crate::import::{Limits, ReadError};
use crate::sample_profile::{hostile_profile, profile_of_one_line, rich_profile, small_profile};
use viperf_profile::Profile;

fn read(profile: &Profile) -> Profile {
    let bytes = encode(profile, &Options::default()).unwrap();
    let decoded = crate::decode(&bytes, &Limits::default()).unwrap();
    assert_eq!(decoded.damage, None);
    decoded.profile
}

#[test]
fn the_file_is_the_expected_one() {
    for (name, profile) in [("small", small_profile()), ("rich", rich_profile())] {
        let bytes = encode(&profile, &Options::default()).unwrap();
        golden::check(&format!("{name}.speedscope.json"), &golden::pretty(&bytes));
    }
}

#[test]
fn what_is_written_is_read_back_in_time_order() {
    for mut profile in [small_profile(), profile_of_one_line()] {
        let read = read(&profile);
        let options = folded::Options {
            threads: true,
            ..folded::Options::default()
        };
        let lines = |profile| folded::encode(profile, &options).unwrap();
        assert_eq!(lines(&read), lines(&profile));
        profile.sort_samples();
        let weight = |profile: &Profile| -> u64 {
            profile.samples.iter().map(|sample| sample.weight_ns).sum()
        };
        assert_eq!(weight(&read), weight(&profile));
    }
    assert_eq!(read(&hostile_profile()).samples.len(), 10);
}

#[test]
fn every_profile_weighs_what_its_samples_weigh() {
    let profile = rich_profile();
    let bytes = encode(&profile, &Options::default()).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let totals: Vec<u64> = file["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|profile| {
            let weights = profile["weights"].as_array().unwrap();
            let sum = weights.iter().map(|weight| weight.as_u64().unwrap()).sum();
            assert_eq!(profile["endValue"], sum);
            assert_eq!(profile["samples"].as_array().unwrap().len(), weights.len());
            sum
        })
        .collect();
    assert_eq!(totals[0], totals[1..].iter().sum::<u64>());
    let expected: u64 = profile.samples.iter().map(|sample| sample.weight_ns).sum();
    assert_eq!(totals[0], expected);
}

#[test]
fn events_of_other_tools_become_samples_between_them() {
    let file = br#"{"$schema":"https://www.speedscope.app/file-format-schema.json",
        "shared":{"frames":[{"name":"a","file":"x.py","line":1},{"name":"b"}]},
        "profiles":[{"type":"evented","name":"main","unit":"milliseconds","startValue":10,"endValue":20,"events":[
            {"type":"O","frame":0,"at":10},{"type":"O","frame":1,"at":13},{"type":"C","frame":1,"at":14},
            {"type":"C","frame":0,"at":20}]}]}"#;
    let read = crate::decode(file, &Limits::default()).unwrap().profile;
    let rows: Vec<_> = read
        .samples
        .iter()
        .map(|sample| {
            let depth = read.stacks.frames_leaf_first(sample.stack).count();
            (sample.time_ns, sample.weight_ns, depth)
        })
        .collect();
    let milliseconds = |from: u64, long: u64, depth| (from * 1_000_000, long * 1_000_000, depth);
    assert_eq!(
        rows,
        [
            milliseconds(10, 3, 1),
            milliseconds(13, 1, 2),
            milliseconds(14, 6, 1)
        ]
    );
}

#[test]
fn a_profile_of_bytes_and_a_broken_file_are_errors_that_say_so() {
    let file = br#"{"shared":{"frames":[]},"profiles":[{"type":"sampled","unit":"bytes","samples":[[]],"weights":[7]}]}"#;
    let error = decode(file, &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the file holds no samples: its unit is bytes"
    );
    let error = decode(&file[..50], &Limits::default()).unwrap_err();
    assert!(matches!(error, ReadError::Json(_)));
    assert!(error.to_string().contains("line 1 column 50"), "{error}");
}
