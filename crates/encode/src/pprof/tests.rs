use prost::Message as _;
use viperf_profile::Profile;

use super::*;
use crate::folded;
use crate::golden;
use crate::import::Limits;
use crate::input::decompress;
use crate::sample_profile::{hostile_profile, profile_of_one_line, rich_profile, small_profile};

fn message(profile: &Profile) -> message::Profile {
    let bytes = encode(profile, &Options::default()).unwrap();
    let bytes = decompress(&bytes, &Limits::default()).unwrap();
    message::Profile::decode(&*bytes).unwrap()
}

fn read(profile: &Profile) -> Profile {
    let bytes = encode(profile, &Options::default()).unwrap();
    let decoded = crate::decode(&bytes, &Limits::default()).unwrap();
    assert_eq!(decoded.damage, None);
    decoded.profile.validate().unwrap();
    decoded.profile
}

#[test]
fn the_message_is_the_expected_one() {
    golden::check(
        "small.pprof.txt",
        &format!("{:#?}\n", message(&small_profile())),
    );
    golden::check(
        "rich.pprof.txt",
        &format!("{:#?}\n", message(&rich_profile())),
    );
}

#[test]
fn inlined_calls_are_lines_of_one_location() {
    let message = message(&rich_profile());
    let inlined = message
        .location
        .iter()
        .filter(|location| location.line.len() > 1);
    let names: Vec<Vec<&str>> = inlined
        .map(|location| {
            assert_eq!(location.address, 0x4321);
            let name = |line: &message::Line| {
                let function = &message.function[line.function_id as usize - 1];
                message.string_table[function.name as usize].as_str()
            };
            location.line.iter().map(name).collect()
        })
        .collect();
    assert_eq!(names, [["step<int (*)(char)>", "scale", "exp"]]);
}

#[test]
fn what_is_written_is_read_back_with_its_kinds_and_counts() {
    for profile in [small_profile(), rich_profile(), profile_of_one_line()] {
        let read = read(&profile);
        let options = folded::Options {
            threads: true,
            ..folded::Options::default()
        };
        let lines = |profile| folded::encode(profile, &options).unwrap();
        let expected = lines(&profile);
        // A stack of hidden frames alone is none in pprof.
        let expected = expected.replace("(70) 1\n", "(70);[no frames]_[e] 1\n");
        let expected = expected.replace("(71) 1\n", "(71);[no frames]_[e] 1\n");
        let sorted = |lines: &str| {
            let mut lines: Vec<_> = lines.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&lines(&read)), sorted(&expected));
        let weight = |profile: &Profile| -> u64 {
            profile.samples.iter().map(|sample| sample.weight_ns).sum()
        };
        assert_eq!(weight(&read), weight(&profile));
        assert_eq!(read.information, profile.information);
        assert_eq!(read.lost, profile.lost);
    }
}

#[test]
fn inlined_frames_libraries_and_columns_come_back() {
    let profile = rich_profile();
    let read = read(&profile);
    let inlined = |profile: &Profile| {
        let frames = profile.frames.iter();
        frames.filter(|(_, frame)| frame.inlined).count()
    };
    assert_eq!(inlined(&read), 2);
    let frame = |frame: &viperf_profile::Frame| frame.source.column == 12;
    assert!(read.frames.iter().any(|(_, row)| frame(row)));
    let library = read.libraries.iter().find_map(|(_, library)| {
        let build_id = read.string(library.build_id?).ok()?;
        Some((
            read.string(library.name).ok()?,
            read.string(library.path?).ok()?,
            build_id,
        ))
    });
    let expected = (
        "libm.so.6",
        "/usr/lib/libm.so.6",
        "00112233445566778899aabbccddeeff01020304",
    );
    assert_eq!(library, Some(expected));
}

#[test]
fn hostile_names_come_back_as_they_were() {
    let profile = hostile_profile();
    let read = read(&profile);
    for name in crate::sample_profile::HOSTILE_NAMES {
        assert!(
            read.strings.iter().any(|(_, text)| text == name),
            "{name:?}"
        );
    }
}

#[test]
fn a_profile_without_weights_counts_samples_alone() {
    let mut profile = small_profile();
    for sample in &mut profile.samples {
        sample.weight_ns = 0;
    }
    let message = message(&profile);
    assert_eq!(message.sample_type.len(), 1);
    assert_eq!(message.period_type, None);
}

#[test]
fn a_profile_of_bytes_is_refused() {
    let mut message = message(&small_profile());
    for value_type in &mut message.sample_type {
        value_type.unit = message.string_table.len() as i64;
    }
    message.string_table.push("bytes".to_owned());
    let error = decode(&message.encode_to_vec(), &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the file holds no samples: its values are in bytes, bytes"
    );
}
