use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::sample_profile::{
    HOSTILE_NAMES, add_frame, add_process, add_samples, add_thread, hostile_profile,
    profile_of_one_line, small_profile,
};
use viperf_profile::{FrameKind, Handle as _, StackHandle};

fn page(profile: &Profile) -> String {
    encode(profile, &Options::default()).unwrap()
}

/// The text between two others that stand in the page once.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

/// The data as `docs/formats/html.md` has it: head, and columns of numbers.
struct Data {
    head: Value,
    columns: Vec<u8>,
}

impl Data {
    fn of(page: &str) -> Self {
        let packed = STANDARD
            .decode(between(page, "id=\"profile\">", "</script>"))
            .unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut bytes)
            .unwrap();
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        let head = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let columns = bytes[(8 + length).next_multiple_of(8)..].to_vec();
        Self { head, columns }
    }

    fn column(&self, wanted: &str) -> Vec<f64> {
        let mut offset = 0_usize;
        for column in self.head["columns"].as_array().unwrap() {
            offset = offset.next_multiple_of(8);
            let width = match column[1].as_str().unwrap() {
                "u8" => 1,
                "u32" => 4,
                _ => 8,
            };
            let length = width * column[2].as_u64().unwrap() as usize;
            let bytes = &self.columns[offset..offset + length];
            offset += length;
            if column[0] == wanted {
                let plane = length / 4;
                let from_planes = |at| {
                    (0..4).map(move |byte| {
                        f64::from(bytes[byte * plane + at]) * [1., 256., 65_536., 16_777_216.][byte]
                    })
                };
                return match width {
                    1 => bytes.iter().map(|&byte| f64::from(byte)).collect(),
                    4 => (0..plane).map(|at| from_planes(at).sum()).collect(),
                    _ => {
                        let number = |entry: &[u8]| f64::from_le_bytes(entry.try_into().unwrap());
                        bytes.chunks(width).map(number).collect()
                    }
                };
            }
        }
        panic!("there is no column {wanted}")
    }

    /// How many samples end at each node.
    fn samples_per_node(&self) -> Vec<f64> {
        let mut counts = vec![0.; self.column("node_back").len()];
        for node in self.column("sample_node") {
            counts[node as usize] += 1.;
        }
        counts
    }
}

#[test]
fn the_tree_has_every_path_once_and_counts_samples_at_their_leaves() {
    let data = Data::of(&page(&small_profile()));
    assert_eq!(data.head["samples"], 11);
    assert_eq!(data.head["complete"], 9);
    assert_eq!(data.head["lost"], 4);
    assert_eq!(
        data.head["incomplete"],
        json!({"stack page not present": 2})
    );
    assert_eq!(data.head["weight_ns"], 1_000_000);
    // root, process, main, _start, eval, <module>, run:7, deflate, run:8, [libz+…], syscall, worker, broken, run:7
    assert_eq!(
        data.column("node_back"),
        [0., 1., 1., 1., 1., 1., 1., 1., 3., 1., 1., 10., 1., 1.]
    );
    assert_eq!(
        data.samples_per_node(),
        [0., 0., 0., 0., 0., 1., 0., 5., 0., 0., 3., 0., 0., 2.]
    );
}

#[test]
fn samples_that_weigh_differently_have_a_column_of_weights() {
    let mut profile = small_profile();
    profile.samples[0].weight_ns = 7;
    let data = Data::of(&page(&profile));
    assert_eq!(data.head["weight_ns"], 0);
    assert_eq!(
        data.column("sample_weight").iter().sum::<f64>(),
        10_000_007.0
    );
}

#[test]
fn samples_stand_in_the_order_of_time_whatever_the_order_of_the_file() {
    let mut profile = small_profile();
    let count = profile.samples.len() as u64;
    for (sample, place) in profile.samples.iter_mut().zip(0..) {
        sample.time_ns = (count - place) * 2_000_000;
        sample.cpu = place as u32;
        sample.complete = place != 3;
    }
    let data = Data::of(&page(&profile));
    assert_eq!(data.head["time_unit_ns"], 1_000);
    assert_eq!(data.column("sample_step"), vec![2_000.; count as usize]);
    let backwards: Vec<f64> = (0..count as u32).rev().map(f64::from).collect();
    assert_eq!(data.column("sample_cpu"), backwards);
    assert_eq!(data.column("sample_complete")[count as usize - 4], 0.);
    assert_eq!(
        data.column("sample_complete").iter().sum::<f64>(),
        count as f64 - 1.
    );
}

#[test]
fn a_recording_of_days_is_told_in_a_coarser_unit() {
    let mut profile = small_profile();
    let last = profile.samples.len() - 1;
    profile.samples[last].time_ns = 40_000_000_000_000_000;
    let data = Data::of(&page(&profile));
    assert_eq!(data.head["time_unit_ns"], 10_000_000);
    assert_eq!(
        data.column("sample_step").iter().sum::<f64>(),
        4_000_000_000.
    );
}

#[test]
fn frames_that_differ_only_in_their_address_are_one_box() {
    let mut profile = Profile::default();
    let process = add_process(&mut profile, "p", 1);
    let thread = add_thread(&mut profile, process, "t", 1);
    let frame = add_frame(&mut profile, FrameKind::Native, "f", "lib.so", 0);
    let mut elsewhere = profile.frame(frame).unwrap();
    elsewhere.address = 0x1234;
    let elsewhere = profile.frames.intern(elsewhere);
    add_samples(&mut profile, thread, &[frame], 2);
    add_samples(&mut profile, thread, &[elsewhere], 3);
    let data = Data::of(&page(&profile));
    assert_eq!(data.samples_per_node(), [0., 0., 0., 5.]);
}

#[test]
fn expressions_of_one_line_are_one_box_and_one_line_of_it() {
    let data = Data::of(&page(&profile_of_one_line()));
    // root, process, thread, f, g
    assert_eq!(data.samples_per_node(), [0., 0., 0., 0., 6.]);
    assert_eq!(data.column("frame_line"), [7., 0.]);
}

#[test]
fn options_are_what_the_page_opens_with() {
    let options = Options {
        threads: false,
        merge_processes: true,
        interpreter_frames: true,
    };
    let data = Data::of(&encode(&small_profile(), &options).unwrap());
    assert_eq!(
        data.head["view"],
        json!({"threads": false, "merge_processes": true, "interpreter_frames": true})
    );
}

#[test]
fn the_page_loads_nothing_from_anywhere() {
    let page = page(&small_profile());
    let outside = [
        "http://", "https://", "//cdn", "@import", "url(", "src=\"", "import ",
    ];
    // What looks like addresses: names of SVG, of stripes inside a picture, and of speedscope's format in saved files.
    let names = [
        "xmlns='http://www.w3.org/2000/svg'",
        "xmlns=\"http://www.w3.org/2000/svg\"",
        "fill=\"url(#$",
        "$schema:`https://www.speedscope.app/file-format-schema.json`",
    ];
    for word in outside {
        for (at, _) in page.match_indices(word) {
            let context = &page[at.saturating_sub(60)..(at + 60).min(page.len())];
            let is_name = names.iter().any(|name| context.contains(name));
            assert!(is_name, "{word}: {context}");
        }
    }
    // A served page asks for data and source text beside itself; the policy of a file forbids even that.
    for (at, _) in page.match_indices("fetch(") {
        let asked = ["fetch(`data?", "fetch(`source?path="];
        let context = &page[at..(at + 60).min(page.len())];
        assert!(
            asked.iter().any(|asked| context.starts_with(asked)),
            "{context}"
        );
    }
    assert!(page.contains("content=\"default-src 'none'; script-src 'sha256-"));
    assert!(!page.contains("connect-src"));
    let served = encode_served_page();
    assert!(served.contains("; img-src data:; connect-src 'self'; base-uri 'none'"));
    assert!(served.contains("<html lang=\"en\" data-served>"));
}

#[test]
fn the_policy_names_the_script_and_style_that_are_in_the_page() {
    use sha2::{Digest as _, Sha256};
    let page = page(&small_profile());
    for (before, after, directive) in [
        ("<script type=\"module\">", "</script>", "script-src"),
        ("<style>", "</style>", "style-src"),
    ] {
        let hash = STANDARD.encode(Sha256::digest(between(&page, before, after)));
        assert!(
            page.contains(&format!("{directive} 'sha256-{hash}';")),
            "{directive}"
        );
    }
}

#[test]
fn no_name_of_the_profile_is_in_the_html() {
    let profile = hostile_profile();
    let hostile = page(&profile);
    let harmless = page(&Profile::default());
    let without_data = |page: &str| {
        let data = between(page, "id=\"profile\">", "</script>");
        assert!(
            data.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
        );
        page.replace(data, "")
    };
    assert_eq!(without_data(&hostile), without_data(&harmless));
    let data = Data::of(&hostile);
    let strings: Vec<&str> = data.head["strings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    for name in HOSTILE_NAMES {
        assert!(strings.contains(&name), "{name:?}");
    }
}

#[test]
fn the_same_profile_gives_the_same_page() {
    assert_eq!(page(&hostile_profile()), page(&hostile_profile()));
}

#[test]
fn a_dangling_handle_is_an_error() {
    let mut profile = small_profile();
    profile.samples[0].stack = StackHandle::from_index(999);
    assert!(matches!(
        encode(&profile, &Options::default()),
        Err(EncodeError::Profile(_))
    ));
}

#[test]
fn source_texts_are_a_block_that_ends_no_element() {
    assert_eq!(
        between(&page(&small_profile()), "id=\"sources\">", "</script>"),
        ""
    );
    let mut profile = small_profile();
    let file = viperf_profile::SourceFile {
        text: "</script><script>alert(1)</script>".to_owned(),
        changed_since: true,
    };
    assert!(profile.sources.insert("/srv/a.py", file));
    let page = page(&profile);
    assert!(!page.contains("alert(1)"));
    let packed = STANDARD
        .decode(between(&page, "id=\"sources\">", "</script>"))
        .unwrap();
    let sources: Value =
        serde_json::from_reader(flate2::read::GzDecoder::new(packed.as_slice())).unwrap();
    assert_eq!(
        sources,
        json!([{
            "path": "/srv/a.py",
            "text": "</script><script>alert(1)</script>",
            "changed_since": true
        }])
    );
}
