use std::io::Read as _;

use super::*;
use crate::golden;
use crate::sample_profile::{hostile_profile, rich_profile, small_profile};

fn json(profile: &Profile) -> Vec<u8> {
    let bytes = encode(profile, &Options::default()).unwrap();
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_end(&mut json)
        .unwrap();
    json
}

#[test]
fn the_file_is_the_expected_one() {
    golden::check(
        "small.firefox.json",
        &golden::pretty(&json(&small_profile())),
    );
    golden::check("rich.firefox.json", &golden::pretty(&json(&rich_profile())));
}

/// A column that is shorter than its table makes the Profiler show nonsense, without an error.
#[test]
fn every_column_is_as_long_as_its_table_says() {
    for profile in [
        small_profile(),
        rich_profile(),
        hostile_profile(),
        Profile::default(),
    ] {
        let value: serde_json::Value = serde_json::from_slice(&json(&profile)).unwrap();
        let mut pending = vec![&value];
        let mut tables = 0;
        while let Some(value) = pending.pop() {
            let Some(object) = value.as_object() else {
                pending.extend(value.as_array().into_iter().flatten());
                continue;
            };
            if let Some(length) = object.get("length") {
                tables += 1;
                for (name, column) in object {
                    if let Some(column) = column.as_array() {
                        assert_eq!(column.len() as u64, length.as_u64().unwrap(), "{name}");
                    }
                }
            }
            pending.extend(object.values());
        }
        assert!(tables >= 6, "{tables}");
    }
}

#[test]
fn threads_hold_every_sample_in_time_order() {
    for profile in [small_profile(), rich_profile()] {
        let value: serde_json::Value = serde_json::from_slice(&json(&profile)).unwrap();
        let threads = value["threads"].as_array().unwrap();
        let mut samples = 0;
        for thread in threads {
            let times = thread["samples"]["time"].as_array().unwrap();
            assert!(times.is_sorted_by_key(|time| time.as_f64().unwrap()));
            samples += times.len();
        }
        assert_eq!(samples, profile.samples.len());
    }
}
