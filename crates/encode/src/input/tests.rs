use super::*;
use crate::sample_profile::{hostile_profile, rich_profile, small_profile};
use crate::{Format, Options, encode};

/// Knuth's linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

const PERF_SCRIPT: &[u8] = include_bytes!("../../tests/data/perf_script.txt");

fn files() -> Vec<(InputFormat, Vec<u8>)> {
    let mut files = vec![(InputFormat::PerfScript, PERF_SCRIPT.to_vec())];
    for profile in [small_profile(), rich_profile(), hostile_profile()] {
        for (input, format) in [
            (InputFormat::Viperf, Format::Viperf),
            (InputFormat::Folded, Format::Folded),
            (InputFormat::Pprof, Format::Pprof),
            (InputFormat::Speedscope, Format::Speedscope),
        ] {
            let bytes = encode(&profile, format, &Options::default()).unwrap();
            files.push((input, bytes));
        }
    }
    files
}

#[test]
fn formats_are_known_by_their_contents() {
    for (format, bytes) in files() {
        let bytes = decompress(&bytes, &Limits::default()).unwrap();
        assert_eq!(InputFormat::detect(&bytes), Some(format));
    }
    for other in [
        "",
        "{\"traceEvents\":[]}",
        "just some text\nand more\n",
        "\u{7f}ELF\0\0",
        "<!doctype html>",
    ] {
        assert_eq!(InputFormat::detect(other.as_bytes()), None, "{other}");
        let error = decode(other.as_bytes(), &Limits::default()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the file is none that can be read")
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_read_as_far_as_it_is_whole_or_is_a_clear_error() {
    let mut random = Random(1);
    for (format, bytes) in files() {
        let whole = decode(&bytes, &Limits::default()).unwrap().profile;
        let inner = decompress(&bytes, &Limits::default()).unwrap().into_owned();
        for bytes in [bytes, inner] {
            for _ in 0..1_000 {
                let cut = random.below(bytes.len());
                match decode(&bytes[..cut], &Limits::default()) {
                    Ok(decoded) => {
                        decoded.profile.validate().unwrap();
                        // What a line is cut down to can end in a number that was no count; damage tells.
                        let is_less = decoded.profile.samples.len() <= whole.samples.len();
                        assert!(is_less || decoded.damage.is_some(), "{format:?} {cut}");
                        // Text that is cut between two lines is text like any other.
                        let is_text =
                            [InputFormat::Folded, InputFormat::PerfScript].contains(&format);
                        let is_whole = decoded.profile.samples.len() == whole.samples.len()
                            || is_text && bytes[..cut].ends_with(b"\n");
                        assert!(is_whole || decoded.damage.is_some(), "{format:?} {cut}");
                    }
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        }
    }
}

#[test]
fn changed_bytes_never_harm_a_reader() {
    let mut random = Random(2);
    let limits = Limits {
        maximum_bytes: 1 << 20,
        maximum_samples: 10_000,
    };
    for (_, bytes) in files() {
        let inner = decompress(&bytes, &limits).unwrap().into_owned();
        for _ in 0..1_000 {
            let mut changed = inner.clone();
            for _ in 0..=random.below(4) {
                let place = random.below(changed.len());
                changed[place] = random.below(256) as u8;
            }
            if let Ok(decoded) = decode(&changed, &limits) {
                decoded.profile.validate().unwrap();
                assert!(decoded.profile.samples.len() <= 10_000 + changed.len());
            }
        }
    }
}

#[test]
fn counts_beyond_the_limit_become_weights() {
    let limits = Limits {
        maximum_samples: 100,
        ..Limits::default()
    };
    let decoded = decode(b"a;b 18446744073709551615\na;c 5\n", &limits).unwrap();
    let weights: Vec<u64> = decoded
        .profile
        .samples
        .iter()
        .map(|sample| sample.weight_ns)
        .collect();
    assert_eq!(weights, [u64::MAX, 5]);
    assert!(decoded.damage.unwrap().contains("more than 100 samples"));
}

#[test]
fn a_file_that_swells_without_end_is_refused() {
    use std::io::Write as _;
    let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    file.write_all(&vec![b'a'; 4 << 20]).unwrap();
    let limits = Limits {
        maximum_bytes: 1 << 20,
        ..Limits::default()
    };
    let error = decode(&file.finish().unwrap(), &limits).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
}

mod folded_lines {
    use super::*;
    use crate::folded;

    /// Brendan Gregg's `stackcollapse-perf.pl --all --pid`, py-spy's `raw`, and what neither writes.
    #[test]
    fn lines_of_other_tools_have_their_processes_kinds_and_places() {
        let lines = b"python3-4242/4243;main;do_syscall_64_[k] 3\n\
            perf script;[unknown];foo(int, char) 2\n\
            <module> (app.py:3);run (/srv/app.py:17);deflate (deflate.c:40) 4\n\
            process 12:\"python x.py\";thread (13): main;f (x.py:1) 1\n\
            thread (0x7F00): worker 1;0x7fcc1824524a (libc.so.6);f (x.py:2) 1\n";
        let read = decode(lines, &Limits::default()).unwrap();
        assert_eq!(read.damage, None);
        let options = folded::Options {
            threads: true,
            ..folded::Options::default()
        };
        let text = folded::encode(&read.profile, &options).unwrap();
        assert_eq!(
            text,
            " (0); (0);<module> (app.py:3)_[p];run (/srv/app.py:17)_[p];deflate_[pn] 4\n\
             \x20(0);worker 1 (0);0x7fcc1824524a (libc.so.6)_[pn];f (x.py:2)_[p] 1\n\
             perf script (0);perf script (0);[unknown]_[pn];foo(int, char)_[pn] 2\n\
             python x.py (12);main (13);f (x.py:1)_[p] 1\n\
             python3 (4242);python3 (4242);main_[pn];do_syscall_64_[k] 3\n"
        );
    }

    #[test]
    fn ours_are_read_back_line_by_line() {
        for profile in [small_profile(), rich_profile(), hostile_profile()] {
            for threads in [false, true] {
                let options = folded::Options {
                    threads,
                    ..folded::Options::default()
                };
                let text = folded::encode(&profile, &options).unwrap();
                let read = decode(text.as_bytes(), &Limits::default()).unwrap();
                let again = folded::encode(&read.profile, &options).unwrap();
                let expected = text.replace("(70) 1\n", "(70);[no frames]_[e] 1\n");
                let expected = expected.replace("(71) 1\n", "(71);[no frames]_[e] 1\n");
                let sorted = |text: &str| {
                    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                    lines.sort();
                    lines
                };
                assert_eq!(sorted(&again), sorted(&expected));
            }
        }
    }

    #[test]
    fn a_line_without_a_count_is_named_and_left_out() {
        let read = decode(b"a;b 3\nbroken\n\na;c 1\n", &Limits::default()).unwrap();
        assert_eq!(read.profile.samples.len(), 4);
        assert!(read.damage.unwrap().starts_with("line 2 has no count"));
        let error = folded::decode(b"# nothing\nbroken\n", &Limits::default()).unwrap_err();
        assert!(
            error.to_string().starts_with("line 2 is not a stack"),
            "{error}"
        );
    }
}
