use viperf_profile::FrameKind;

use super::*;

const TEXT: &[u8] = include_bytes!("../../tests/data/perf_script.txt");

fn read() -> Decoded {
    decode(TEXT, &Limits::default()).unwrap()
}

#[test]
fn events_have_their_threads_times_cpus_and_weights() {
    let Decoded { profile, damage } = read();
    assert_eq!(damage, None);
    let rows: Vec<_> = profile
        .samples
        .iter()
        .map(|sample| {
            let thread = profile.thread(sample.thread).unwrap();
            let name = profile.string(thread.name).unwrap();
            (
                name,
                thread.tid,
                sample.cpu,
                sample.time_ns,
                sample.weight_ns,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("python3", 4242, 2, 0, 10_101_010),
            ("my worker 7", 4243, 0, 10_101_000, 10_101_010),
            ("python3", 4242, 0, 20_199_000, 0),
        ]
    );
}

#[test]
fn frames_have_their_kinds_and_libraries() {
    let profile = read().profile;
    let frames = |sample: usize| {
        let frames = profile
            .stacks
            .frames_root_first(profile.samples[sample].stack);
        let frames = frames.into_iter().map(|handle| {
            let frame = profile.frame(handle).unwrap();
            let function = profile.function(frame.function).unwrap();
            let library = profile.library_name(&function).unwrap().unwrap_or("");
            let name = profile.string(function.name).unwrap();
            (
                function.kind,
                name.to_owned(),
                library.to_owned(),
                frame.inlined,
            )
        });
        frames.collect::<Vec<_>>()
    };
    use FrameKind::{Kernel, Native, Python};
    let row = |kind, name: &str, library: &str, inlined| {
        (kind, name.to_owned(), library.to_owned(), inlined)
    };
    assert_eq!(
        frames(0),
        [
            row(Native, "_start", "python3.12", false),
            row(Python, "<module>", "", false),
            row(Python, "Job.run", "", false),
            row(Native, "zlib_compress", "zlib.cpython-312.so", false),
            row(Native, "inlined_copy", "", true),
            row(Native, "deflate", "libz.so.1.2.13", false),
        ]
    );
    assert_eq!(
        frames(1),
        [
            row(Native, "[unknown]", "", false),
            row(Kernel, "nft_do_chain", "nf_tables", false),
            row(Kernel, "do_syscall_64", "", false),
        ]
    );
    assert_eq!(
        frames(2),
        [row(
            Native,
            "operator new(unsigned long)",
            "python3.12",
            false
        )]
    );
}

#[test]
fn a_line_that_is_neither_event_nor_frame_is_named() {
    let mut text = TEXT.to_vec();
    text.extend(b"\nwhat is this\n\n");
    let damage = decode(&text, &Limits::default()).unwrap().damage.unwrap();
    assert!(
        damage.starts_with("line 22 is neither an event nor a frame"),
        "{damage}"
    );
    let error = decode(b"nothing\n", &Limits::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("line 1 is not an event of perf script"),
        "{error}"
    );
}
