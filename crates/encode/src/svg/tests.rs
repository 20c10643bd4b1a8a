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
