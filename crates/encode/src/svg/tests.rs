use super::*;
use crate::golden;
use crate::sample_profile::{hostile_profile, rich_profile, small_profile};

#[test]
fn the_picture_is_the_expected_one() {
    for (name, profile) in [("small", small_profile()), ("rich", rich_profile())] {
        let picture = encode(&profile, &Options::default()).unwrap();
        golden::check(&format!("{name}.svg"), &picture);
    }
}

#[test]
fn an_empty_profile_is_a_picture_too() {
    let picture = encode(&Profile::default(), &Options::default()).unwrap();
    assert!(picture.contains("0 samples"), "{picture}");
}

#[test]
fn names_are_text_and_nothing_else() {
    let picture = encode(&hostile_profile(), &Options::default()).unwrap();
    assert!(!picture.contains("<script"));
    assert!(!picture.contains("<img"));
    assert!(!picture.contains('\u{1b}') && !picture.contains('\u{202e}'));
    assert!(!picture.contains("http://") || picture.matches("http://").count() == 1);
}

#[test]
fn boxes_that_are_too_narrow_are_counted() {
    let options = Options {
        narrowest: 230.0,
        ..Options::default()
    };
    let picture = encode(&small_profile(), &options).unwrap();
    let all = encode(&small_profile(), &Options::default()).unwrap();
    let boxes = |picture: &str| picture.matches("<g>").count();
    let left_out = boxes(&all) - boxes(&picture);
    assert!(left_out > 0);
    assert!(picture.contains(&format!("{left_out} boxes are too narrow")));
}

#[test]
fn a_process_is_called_by_what_it_runs_and_several_of_one_name_by_that() {
    let mut profile = small_profile();
    let title = profile.strings.intern("manage.py runserver");
    let (_, process) = profile.processes.iter().next().unwrap();
    let (old, name) = (*process, profile.string(process.name).unwrap().to_owned());
    assert_eq!(profile.processes.len(), 1);
    profile.processes = viperf_profile::ProcessTable::default();
    profile.processes.intern(viperf_profile::Process {
        title: Some(title),
        ..old
    });
    let picture = encode(&profile, &Options::default()).unwrap();
    assert!(picture.contains(&format!(">manage.py runserver ({})</text>", old.pid)));
    let options = Options {
        merge_processes: true,
        ..Options::default()
    };
    let picture = encode(&profile, &options).unwrap();
    assert!(picture.contains(&format!(">{name}</text>")));
}
