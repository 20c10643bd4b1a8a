use prost::Message as _;

use super::*;
use crate::EncodeError;
use crate::folded;
use crate::sample_profile::{
    add_frame, add_process, add_samples, add_thread, hostile_profile, profile_of_one_line,
    small_profile,
};
use viperf_profile::{
    Frame, FrameKind, Function, Library, Placement, Process, Profile, SourceRange,
};

fn decode_all(bytes: &[u8]) -> Decoded {
    decode(bytes, &DecodeLimits::default()).unwrap()
}

/// Several blocks: 40,000 distinct stacks and 80,000 samples, some of them out of order.
fn large_profile() -> Profile {
    let mut profile = Profile::default();
    let process = add_process(&mut profile, "python3", 7);
    let thread = add_thread(&mut profile, process, "python3", 7);
    for number in 0..200 {
        let outer = add_frame(
            &mut profile,
            FrameKind::Python,
            &format!("outer_{number}"),
            "a.py",
            number,
        );
        for line in 0..200 {
            let inner = add_frame(&mut profile, FrameKind::Python, "inner", "b.py", line);
            add_samples(&mut profile, thread, &[outer, inner], 2);
        }
    }
    for (index, sample) in profile.samples.iter_mut().enumerate() {
        sample.complete = index % 7 != 0;
        if index % 1000 == 0 {
            sample.time_ns = u64::MAX - sample.time_ns;
            sample.weight_ns = u64::MAX;
        }
    }
    profile
}

/// Every combination of known, unknown and absurd numbers.
fn profile_of_all_ranges() -> Profile {
    const NUMBERS: [u32; 4] = [0, 1, 300, u32::MAX];
    let mut profile = Profile::default();
    let frame = add_frame(&mut profile, FrameKind::Python, "f", "a.py", 0);
    let function = profile.frame(frame).unwrap().function;
    for combination in 0..256 {
        let number = |field: usize| NUMBERS[combination >> (2 * field) & 3];
        profile.frames.intern(Frame {
            function,
            source: SourceRange {
                line: number(0),
                end_line: number(1),
                column: number(2),
                end_column: number(3),
            },
            address: 0,
            inlined: false,
        });
    }
    assert_eq!(profile.frames.len(), 256);
    profile
}

/// Libraries of one name, told apart by path and build ID, one that no function uses, and frames that are inlined.
fn profile_with_libraries() -> Profile {
    let mut profile = Profile::default();
    let [name, path, build_id] =
        ["libz.so.1", "/usr/lib/libz.so.1", "00ff12"].map(|text| profile.strings.intern(text));
    let unused = Library::named(build_id);
    profile.libraries.intern(unused);
    let process = add_process(&mut profile, "p", 1);
    let thread = add_thread(&mut profile, process, "t", 1);
    for (path, build_id) in [
        (None, None),
        (Some(path), None),
        (None, Some(build_id)),
        (Some(path), Some(build_id)),
    ] {
        let library = profile.libraries.intern(Library {
            name,
            path,
            build_id,
        });
        let function = profile.functions.intern(Function {
            name,
            file: None,
            library: Some(library),
            first_line: 0,
            kind: FrameKind::Native,
        });
        let frames = [false, true].map(|inlined| {
            profile.frames.intern(Frame {
                inlined,
                address: 4096,
                ..Frame::at_line(function, 3)
            })
        });
        add_samples(&mut profile, thread, &frames, 1);
    }
    assert_eq!((profile.libraries.len(), profile.frames.len()), (5, 8));
    profile
}

/// Two processes of one pid, which only what they run and where tells apart.
fn profile_with_placed_processes() -> Profile {
    let mut profile = Profile::default();
    let name = profile.strings.intern("python3");
    let placement = Placement {
        container_id: Some(profile.strings.intern("0123456789ab")),
        pod_namespace: Some(profile.strings.intern("production")),
        ..Placement::default()
    };
    let title = Some(profile.strings.intern("gunicorn: worker [app]"));
    let plain = Process::new(7, name, name);
    for process in [
        plain,
        Process {
            title,
            placement,
            ..plain
        },
    ] {
        let process = profile.processes.intern(process);
        let thread = add_thread(&mut profile, process, "t", 7);
        let frame = add_frame(&mut profile, FrameKind::Python, "f", "a.py", 1);
        add_samples(&mut profile, thread, &[frame], 1);
    }
    profile
}

#[test]
fn what_a_later_version_knows_of_a_placement_is_left_out() {
    let profile = profile_with_placed_processes();
    let bytes = encode(&profile, &Options::default()).unwrap();
    let (_, rows) = block_bounds(&bytes)[1].clone();
    let mut message = read_rows(&bytes[rows.clone()]);
    assert!(message.processes[0].placement_plus_one.is_empty());
    let placement = &mut message.processes[1].placement_plus_one;
    assert_eq!(placement.len(), 8);
    placement.resize(14, 1);
    placement[8] = 0;
    placement[9] = 0;
    let mut later = bytes[..rows.start].to_vec();
    later.extend(sealed_block(2, &message.encode_to_vec()));
    later.extend_from_slice(&bytes[rows.end..]);
    let read = decode_all(&later);
    assert_eq!(read.damage, None);
    assert!(read.profile == profile);
}

/// Twelve bytes of head, then the payload, as `docs/formats/viperf.md` has it.
fn block_bounds(bytes: &[u8]) -> Vec<(u32, std::ops::Range<usize>)> {
    let mut bounds = Vec::new();
    let mut start = 12;
    while start < bytes.len() {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let end = start + 12 + number(start + 4) as usize;
        bounds.push((number(start), start..end));
        start = end;
    }
    bounds
}

#[test]
fn what_is_written_is_read_back_whole() {
    for profile in [
        Profile::default(),
        small_profile(),
        hostile_profile(),
        profile_of_one_line(),
        large_profile(),
        profile_of_all_ranges(),
        profile_with_libraries(),
        profile_with_placed_processes(),
    ] {
        let bytes = encode(&profile, &Options::default()).unwrap();
        let Decoded {
            profile: read,
            damage,
        } = decode_all(&bytes);
        assert_eq!(damage, None);
        assert!(
            read == profile,
            "a profile of {} samples came back changed",
            profile.samples.len()
        );
    }
}

#[test]
fn the_first_bytes_and_block_types_are_the_documented_ones() {
    let bytes = encode(&small_profile(), &Options::default()).unwrap();
    assert_eq!(bytes[..12], *b"\x93viperf\n\x01\x00\x00\x00");
    let types: Vec<u32> = block_bounds(&bytes)
        .into_iter()
        .map(|(block_type, _)| block_type)
        .collect();
    assert_eq!(types, [1, 2, 3]);
    assert_eq!(
        bytes[24..28],
        [0x28, 0xb5, 0x2f, 0xfd],
        "a payload begins with zstd's magic"
    );
}

#[test]
fn a_profile_written_as_it_grows_is_the_same_as_one_written_at_once() {
    let whole = large_profile();
    let mut growing = Profile {
        information: whole.information.clone(),
        ..Profile::default()
    };
    let mut writer = Writer::new(Options::default());
    let mut bytes = writer.begin(&growing.information).unwrap();
    let process = add_process(&mut growing, "python3", 7);
    let thread = add_thread(&mut growing, process, "python3", 7);
    for number in 0..200 {
        let outer = add_frame(
            &mut growing,
            FrameKind::Python,
            &format!("outer_{number}"),
            "a.py",
            number,
        );
        for line in 0..200 {
            let inner = add_frame(&mut growing, FrameKind::Python, "inner", "b.py", line);
            add_samples(&mut growing, thread, &[outer, inner], 2);
        }
        if number % 60 == 0 {
            bytes.extend(writer.append(&growing).unwrap());
            assert!(
                writer.append(&growing).unwrap().is_empty(),
                "nothing is written twice"
            );
            let read = decode_all(&bytes);
            assert!(read.profile.samples == growing.samples);
            assert!(read.damage.unwrap().contains("cut off"));
        }
    }
    bytes.extend(writer.finish(&growing).unwrap());
    let read = decode_all(&bytes);
    assert_eq!(read.damage, None);
    assert!(read.profile == growing);
}

#[test]
fn every_truncation_is_read_as_far_as_its_blocks_are_whole() {
    let profile = small_profile();
    let bytes = encode(&profile, &Options::default()).unwrap();
    let bounds = block_bounds(&bytes);
    for length in 0..bytes.len() {
        let answer = decode(&bytes[..length], &DecodeLimits::default());
        if length < 12 {
            assert_eq!(answer, Err(DecodeError::NotViperf));
            continue;
        }
        let Decoded {
            profile: read,
            damage,
        } = answer.unwrap();
        assert_eq!(read.validate(), Ok(()));
        assert!(damage.unwrap().contains("cut off"));
        let whole = bounds
            .iter()
            .filter(|(_, bounds)| bounds.end <= length)
            .count();
        assert_eq!(read.information.target.is_empty(), whole < 1, "{length}");
        assert_eq!(
            read.samples.len(),
            if whole < 2 { 0 } else { profile.samples.len() },
            "{length}"
        );
    }
}

#[test]
fn names_that_are_learnt_late_are_those_of_the_file_and_samples_may_go_meanwhile() {
    let mut growing = Profile::default();
    let mut writer = Writer::new(Options::default());
    let mut bytes = writer.begin(&growing.information).unwrap();
    let process = add_process(&mut growing, "python3", 7);
    let thread = add_thread(&mut growing, process, "python3", 7);
    let frame = add_frame(&mut growing, FrameKind::Python, "f", "a.py", 1);
    add_samples(&mut growing, thread, &[frame], 3);
    bytes.extend(writer.append(&growing).unwrap());
    let mut samples = std::mem::take(&mut growing.samples);
    writer.samples_were_taken_out();
    let [title, name] = ["gunicorn: worker", "MainThread"].map(|text| growing.strings.intern(text));
    let row = *growing.processes.find(process).unwrap();
    growing
        .processes
        .replace(process, Process { name: title, ..row });
    let row = *growing.threads.find(thread).unwrap();
    growing
        .threads
        .replace(thread, viperf_profile::Thread { name, ..row });
    growing.information.cost.cpu_time_ns = 5;
    growing.lost = 2;
    add_samples(&mut growing, thread, &[frame], 2);
    bytes.extend(writer.append(&growing).unwrap());
    assert!(writer.append(&growing).unwrap().is_empty());
    let cut = decode_all(&bytes);
    assert!(cut.damage.unwrap().contains("5 samples of "));
    bytes.extend(writer.finish(&growing).unwrap());
    let read = decode_all(&bytes);
    assert_eq!(read.damage, None);
    samples.append(&mut growing.samples);
    growing.samples = samples;
    assert!(read.profile == growing);
    assert!(cut.profile.processes == growing.processes && cut.profile.lost == 2);
}

/// `profile` with only these samples.
fn part(profile: &Profile, samples: std::ops::Range<usize>) -> Profile {
    Profile {
        samples: profile.samples[samples].to_vec(),
        ..profile.clone()
    }
}

#[test]
fn samples_that_wait_for_names_are_there_until_they_come_with_them() {
    let named = large_profile();
    let names = |profile: &Profile, samples: std::ops::Range<usize>| {
        folded::encode(&part(profile, samples), &folded::Options::default()).unwrap()
    };
    let mut unnamed = Profile::default();
    let process = add_process(&mut unnamed, "python3", 7);
    let thread = add_thread(&mut unnamed, process, "python3", 7);
    let frame = add_frame(&mut unnamed, FrameKind::Incomplete, "[address]", "", 0);
    add_samples(&mut unnamed, thread, &[frame], 50_000);
    unnamed
        .samples
        .iter_mut()
        .for_each(|sample| sample.complete = false);

    let mut writer = Writer::new(Options::default());
    let mut bytes = writer.begin(&named.information).unwrap();
    bytes.extend(writer.append(&part(&named, 0..10)).unwrap());
    // 10..50,010 in two batches; more than one block.
    bytes.extend(
        writer
            .append_unnamed(10, &part(&unnamed, 0..40_000))
            .unwrap(),
    );
    bytes.extend(
        writer
            .append_unnamed(40_010, &part(&unnamed, 40_000..50_000))
            .unwrap(),
    );
    let Decoded { profile, damage } = decode_all(&bytes);
    assert!(
        damage
            .unwrap()
            .contains("the last 50000 samples waited for names")
    );
    assert_eq!(profile.samples.len(), 50_010);
    assert_eq!(names(&profile, 0..10), names(&named, 0..10));
    assert_eq!(names(&profile, 10..50_010), names(&unnamed, 0..50_000));
    assert_eq!(profile.incomplete["[address]"], 50_000);

    // All of the first batch and some of the second have names now.
    bytes.extend(writer.append(&part(&named, 0..40_510)).unwrap());
    let Decoded { profile, damage } = decode_all(&bytes);
    assert!(damage.unwrap().contains("the last 9500 samples"));
    assert_eq!(profile.samples.len(), 50_010);
    assert_eq!(names(&profile, 0..40_510), names(&named, 0..40_510));
    assert_eq!(names(&profile, 40_510..50_010), names(&unnamed, 0..9_500));

    for length in (12..bytes.len()).step_by(bytes.len() / 500) {
        let read = decode_all(&bytes[..length]).profile;
        assert_eq!(read.validate(), Ok(()));
    }
    bytes.extend(writer.finish(&named).unwrap());
    let whole = decode_all(&bytes);
    assert_eq!(whole.damage, None);
    assert!(whole.profile == named);
}

#[test]
fn a_file_cut_or_damaged_at_any_of_1000_places_gives_a_prefix_of_the_profile() {
    let profile = large_profile();
    let bytes = encode(&profile, &Options::default()).unwrap();
    let mut random = 7_u64;
    let mut next = move |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize % below
    };
    for number in 0..1000 {
        let place = 12 + next(bytes.len() - 12);
        let mut broken = bytes.clone();
        if number % 2 == 0 {
            broken.truncate(place);
        } else {
            let end = (place + 1 + next(64)).min(bytes.len());
            broken[place..end]
                .iter_mut()
                .for_each(|byte| *byte = !*byte);
        }
        let read = decode_all(&broken);
        assert!(read.damage.is_some(), "{place}");
        let kept = read.profile.samples.len();
        assert!(read.profile.samples == profile.samples[..kept], "{place}");
        assert_eq!(read.profile.validate(), Ok(()));
    }
}

#[test]
fn a_truncated_large_file_keeps_the_samples_of_its_whole_blocks() {
    let profile = large_profile();
    let bytes = encode(&profile, &Options::default()).unwrap();
    let bounds = block_bounds(&bytes);
    let (_, last_rows) = &bounds[bounds.len() - 2];
    let read = decode_all(&bytes[..last_rows.end - 1]);
    let kept = read.profile.samples.len();
    assert!(kept > 30_000 && kept < 80_000, "{kept}");
    assert!(read.profile.samples == profile.samples[..kept]);
}

#[test]
fn any_flipped_bit_is_noticed_and_harms_nothing() {
    let bytes = encode(&small_profile(), &Options::default()).unwrap();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << bit;
            match decode(&flipped, &DecodeLimits::default()) {
                Err(_) => assert!(position < 12),
                Ok(Decoded { profile, damage }) => {
                    assert!(damage.is_some(), "bit {bit} of byte {position}");
                    assert_eq!(profile.validate(), Ok(()));
                }
            }
        }
    }
}

/// A checksum is no defence against a file made to harm: here the messages are changed and sealed again.
#[test]
fn hostile_messages_with_right_checksums_give_a_valid_profile() {
    let bytes = encode(&small_profile(), &Options::default()).unwrap();
    let (_, bounds) = block_bounds(&bytes)[1].clone();
    let message = zstd::stream::decode_all(&bytes[bounds.start + 12..bounds.end]).unwrap();
    let mut random = 1_u64;
    let mut next = move |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize % below
    };
    let mut damaged = 0;
    for _ in 0..20_000 {
        let mut changed = message.clone();
        for _ in 0..=next(3) {
            let position = next(changed.len());
            changed[position] = next(256) as u8;
        }
        changed.truncate(if next(4) == 0 {
            next(changed.len())
        } else {
            changed.len()
        });
        let mut file = bytes[..bounds.start].to_vec();
        file.extend(sealed_block(2, &changed));
        file.extend(&bytes[bounds.end..]);
        let read = decode_all(&file);
        assert_eq!(read.profile.validate(), Ok(()));
        damaged += usize::from(read.damage.is_some());
    }
    assert!(
        damaged > 10_000,
        "{damaged} of 20,000 changes were found out"
    );
}

/// A block as the document says, by other code than the encoder's.
fn sealed_block(block_type: u32, message: &[u8]) -> Vec<u8> {
    let payload = zstd::stream::encode_all(message, 1).unwrap();
    let mut head = block_type.to_le_bytes().to_vec();
    head.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    let sum = crc32fast::hash(&[head.as_slice(), &payload].concat());
    [head.as_slice(), &sum.to_le_bytes(), &payload].concat()
}

/// A reader of before them has no such type, and skips what it does not know.
#[test]
fn texts_of_source_files_stand_in_blocks_of_their_own() {
    let mut profile = small_profile();
    for (path, text) in [
        ("/srv/b.py", "x = 1\n"),
        ("/srv/a.py", "\u{202e}\0<script>"),
    ] {
        let file = viperf_profile::SourceFile {
            text: text.to_owned(),
            changed_since: path == "/srv/a.py",
        };
        assert!(profile.sources.insert(path, file));
    }
    let bytes = encode(&profile, &Options::default()).unwrap();
    let types: Vec<u32> = block_bounds(&bytes).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(types, [1, 2, 4, 4, 3]);
    let read = decode_all(&bytes);
    assert_eq!(read.damage, None);
    assert!(read.profile == profile);
}

#[test]
fn blocks_of_unknown_types_are_skipped() {
    let profile = small_profile();
    let bytes = encode(&profile, &Options::default()).unwrap();
    let mut file = bytes[..12].to_vec();
    for (_, bounds) in block_bounds(&bytes) {
        file.extend(sealed_block(77, b"news"));
        file.extend(sealed_block(u32::MAX, &[0; 3000]));
        file.extend(&bytes[bounds]);
    }
    assert_eq!(
        decode_all(&file),
        Decoded {
            profile,
            damage: None
        }
    );
}

/// `lines_only.viperf` was written before frames had more than a line.
#[test]
fn a_file_without_columns_is_read_and_is_what_is_still_written_for_such_a_profile() {
    let bytes = include_bytes!("../../tests/data/lines_only.viperf");
    let read = decode_all(bytes);
    assert_eq!(read.damage, None);
    assert_eq!(read.profile, small_profile());
    let (_, rows) = block_bounds(bytes)[1].clone();
    let rows = read_rows(&bytes[rows]);
    let written = encode(&small_profile(), &Options::default()).unwrap();
    let (_, written_rows) = block_bounds(&written)[1].clone();
    // But for the libraries: their names stand where they stood, for readers that know no more.
    let mut written_rows = read_rows(&written[written_rows]);
    assert_eq!(written_rows.libraries.len(), 2);
    written_rows.libraries.clear();
    for function in &mut written_rows.functions {
        function.library_plus_one = 0;
    }
    assert_eq!(written_rows, rows);
    let frames = rows.frames.unwrap();
    assert_eq!(frames.end_line.len() + frames.column.len(), 0);
    assert!(frames.inlined.is_empty());
}

/// To a reader that leaves fields out, rows that differ only there are the same row.
#[test]
fn rows_that_a_file_holds_twice_are_one_row_and_keep_their_samples() {
    let profile = profile_of_one_line();
    let mut bytes = encode(&profile, &Options::default()).unwrap();
    let (_, bounds) = block_bounds(&bytes)[1].clone();
    let mut rows = read_rows(&bytes[bounds.clone()]);
    let frames = rows.frames.as_mut().unwrap();
    assert_eq!(frames.column, [0, 0, 9, 14]);
    frames.end_line.clear();
    frames.column.clear();
    frames.end_column.clear();
    bytes.splice(bounds, sealed_block(2, &rows.encode_to_vec()));
    let read = decode_all(&bytes);
    assert_eq!(read.damage, None);
    let sizes = |profile: &Profile| (profile.frames.len(), profile.stacks.len());
    assert_eq!(
        (sizes(&profile), sizes(&read.profile)),
        ((4, 6), (2, 2)),
        "frames and stacks"
    );
    let folded = |profile| folded::encode(profile, &folded::Options::default()).unwrap();
    assert_eq!(folded(&read.profile), folded(&profile));
}

#[test]
fn a_column_of_another_length_is_damage() {
    let bytes = encode(&profile_of_one_line(), &Options::default()).unwrap();
    let (_, bounds) = block_bounds(&bytes)[1].clone();
    let mut rows = read_rows(&bytes[bounds.clone()]);
    rows.frames.as_mut().unwrap().end_column.pop();
    let mut file = bytes.clone();
    file.splice(bounds, sealed_block(2, &rows.encode_to_vec()));
    let damage = decode_all(&file).damage.unwrap();
    assert!(damage.contains("[4, 4, 4, 4, 4, 3, 4]"), "{damage}");
}

/// The message of a block of rows.
fn read_rows(block: &[u8]) -> message::Rows {
    let message = zstd::stream::decode_all(&block[12..]).unwrap();
    message::Rows::decode(message.as_slice()).unwrap()
}

#[test]
fn bytes_after_the_end_are_damage_and_the_profile_is_kept() {
    let profile = small_profile();
    let mut bytes = encode(&profile, &Options::default()).unwrap();
    bytes.extend([0; 5]);
    let read = decode_all(&bytes);
    assert_eq!(read.profile, profile);
    assert!(
        read.damage
            .unwrap()
            .contains("5 bytes follow the last block")
    );
}

#[test]
fn a_block_that_swells_without_end_is_refused() {
    let mut file = encode(&Profile::default(), &Options::default()).unwrap()[..12].to_vec();
    file.extend(sealed_block(2, &vec![0; MAXIMUM_BLOCK_BYTES + 1]));
    assert!(file.len() < 100_000);
    assert!(
        decode_all(&file)
            .damage
            .unwrap()
            .contains("larger than 16777216 bytes")
    );
}

#[test]
fn all_blocks_together_stay_within_the_limit() {
    let bytes = encode(&large_profile(), &Options::default()).unwrap();
    let read = decode(
        &bytes,
        &DecodeLimits {
            maximum_bytes: 1 << 20,
        },
    )
    .unwrap();
    assert!(read.damage.unwrap().contains("larger than"));
    assert_eq!(read.profile.validate(), Ok(()));
}

#[test]
fn other_files_and_later_versions_are_told_apart() {
    let limits = DecodeLimits::default();
    assert_eq!(decode(b"", &limits), Err(DecodeError::NotViperf));
    assert_eq!(
        decode(b"<!doctype html>", &limits),
        Err(DecodeError::NotViperf)
    );
    let later = decode(b"\x93viperf\n\x02\x00\x00\x00", &limits).unwrap_err();
    assert_eq!(
        later.to_string(),
        "the file has version 2 of the .viperf format, this viperf reads version 1: use a newer viperf"
    );
}

#[test]
fn a_row_that_no_block_can_hold_is_an_error() {
    let mut profile = Profile::default();
    profile.strings.intern(&"x".repeat(MAXIMUM_BLOCK_BYTES + 1));
    assert!(matches!(
        encode(&profile, &Options::default()),
        Err(EncodeError::RowTooLarge { .. })
    ));
}

/// A recording of three chapters, the first two with samples taken out as they were written.
fn file_of_chapters(profiles: &[Profile; 3]) -> Vec<u8> {
    let mut writer = Writer::new(Options::default());
    let mut file = writer.begin(&profiles[0].information).unwrap();
    for profile in &profiles[..2] {
        file.extend(writer.append(profile).unwrap());
        let mut without_samples = profile.clone();
        writer.samples_were_taken_out();
        without_samples.samples.clear();
        file.extend(writer.append(&without_samples).unwrap());
        writer.profile_begins_anew();
    }
    file.extend(writer.finish(&profiles[2]).unwrap());
    file
}

#[test]
fn chapters_with_rows_of_their_own_are_one_profile() {
    let chapters = || [small_profile(), profile_with_libraries(), small_profile()];
    let decoded = decode_all(&file_of_chapters(&chapters()));
    assert_eq!(decoded.damage, None);
    let [first, second, third] = chapters();
    let samples = first.samples.len() + second.samples.len() + third.samples.len();
    assert_eq!(decoded.profile.samples.len(), samples);
    assert_eq!(decoded.profile.validate(), Ok(()));
    let lines = |profile: &Profile| folded::encode(profile, &folded::Options::default()).unwrap();
    let mut together = viperf_profile::merge([&first, &second, &third]).unwrap();
    together.sort_samples();
    assert_eq!(lines(&decoded.profile), lines(&together));
    // What two chapters have in common is there once.
    let distinct = viperf_profile::merge([&first, &second]).unwrap();
    assert_eq!(decoded.profile.processes.len(), distinct.processes.len());
    assert_eq!(decoded.profile.stacks.len(), distinct.stacks.len());
}

#[test]
fn a_chapter_that_is_cut_off_leaves_those_before_it() {
    let chapters = [small_profile(), profile_with_libraries(), small_profile()];
    let whole = file_of_chapters(&chapters);
    let decoded = decode_all(&whole[..whole.len() - 40]);
    assert!(decoded.damage.is_some());
    assert!(decoded.profile.samples.len() >= chapters[0].samples.len() + chapters[1].samples.len());
    assert_eq!(decoded.profile.validate(), Ok(()));
}

#[test]
fn a_chapter_out_of_order_is_damage() {
    for chapters in [&[2][..], &[0], &[1, 3], &[1, 2, 1]] {
        let writer = Writer::new(Options::default());
        let mut file = writer.begin(&small_profile().information).unwrap();
        for chapter in chapters {
            let message = message::ChapterRows {
                chapter: *chapter,
                rows: None,
            };
            block::write_block(&mut file, block::CHAPTER_ROWS, &message, 3).unwrap();
        }
        let damage = decode_all(&file).damage.unwrap();
        assert!(
            damage.contains("it is of chapter"),
            "{chapters:?}: {damage}"
        );
    }
}
