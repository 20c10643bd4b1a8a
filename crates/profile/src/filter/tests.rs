use super::*;
use crate::made_up::{MadeUp, PERIOD_NS, placed, random_profile};
use crate::merge::merge;

fn count(profile: &Profile, wanted: Filter) -> usize {
    filter(profile.clone(), &wanted).unwrap().samples.len()
}

fn expression(text: &str) -> Option<Regex> {
    Some(Regex::new(text).unwrap())
}

fn two_processes() -> MadeUp {
    let mut made = MadeUp::default();
    let first = made.thread("python3", 1, 1);
    let second = made.thread("gunicorn", 2, 3);
    let main = made.python("main", "/srv/a.py", 1, 1);
    let work = made.python("work", "/srv/b.py", 1, 1);
    let deflate = made.native("deflate", "libz.so");
    made.samples(first, &[main, work, deflate], 5);
    made.samples(second, &[main], 3);
    made.samples(second, &[deflate], 2);
    made
}

/// The default with one thing changed.
fn only(change: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    change(&mut filter);
    filter
}

fn named(name: &str) -> Vec<Selector> {
    vec![Selector::Name(name.to_owned())]
}

#[test]
fn processes_and_threads_choose_samples_by_number_and_by_name() {
    let profile = two_processes().profile;
    assert_eq!(count(&profile, Filter::default()), 10);
    for (wanted, expected) in [
        (only(|filter| filter.processes = named("gunicorn")), 5),
        (
            only(|filter| filter.processes = vec![Selector::Id(1), Selector::Id(2)]),
            10,
        ),
        (only(|filter| filter.threads = vec![Selector::Id(3)]), 5),
        (only(|filter| filter.threads = named("thread 1")), 5),
    ] {
        let shown = format!("{wanted:?}");
        assert_eq!(count(&profile, wanted), expected, "{shown}");
    }
    let both = only(|filter| {
        filter.threads = named("thread 1");
        filter.processes = named("gunicorn");
    });
    assert_eq!(count(&profile, both), 0);
}

#[test]
fn times_and_expressions_choose_samples() {
    let profile = two_processes().profile;
    let window = only(|filter| {
        filter.from_ns = 2 * PERIOD_NS;
        filter.to_ns = Some(4 * PERIOD_NS);
    });
    assert_eq!(count(&profile, window), 2);
    let work = only(|filter| filter.matching = expression("^work$"));
    assert_eq!(count(&profile, work), 5);
    let file = only(|filter| filter.matching = expression(r"a\.py"));
    assert_eq!(count(&profile, file), 8);
    let both = only(|filter| {
        filter.matching = expression("libz");
        filter.not_matching = expression("main");
    });
    assert_eq!(count(&profile, both), 2);
}

#[test]
fn the_time_of_hidden_frames_is_their_callers() {
    let profile = two_processes().profile;
    let hidden = vec![FrameKind::Native];
    let filtered = filter(
        profile,
        &Filter {
            hidden,
            ..Filter::default()
        },
    )
    .unwrap();
    assert_eq!(filtered.validate(), Ok(()));
    let leaf = |sample: &Sample| {
        let frame = filtered.stacks.find(sample.stack).unwrap().frame;
        let function = filtered.frame(frame).unwrap().function;
        filtered
            .string(filtered.function(function).unwrap().name)
            .unwrap()
    };
    let leaves: Vec<_> = filtered.samples.iter().map(leaf).collect();
    let expected = [vec!["work"; 5], vec!["main"; 3], vec![ALL_HIDDEN; 2]].concat();
    assert_eq!(leaves, expected);
}

#[test]
fn reasons_are_counted_again_for_what_is_left() {
    let mut made = two_processes();
    let thread = made.thread("python3", 1, 1);
    let broken = made.of_kind(FrameKind::Incomplete, "native: too deep", "");
    made.samples(thread, &[broken], 4);
    for sample in made.profile.samples.iter_mut().rev().take(5) {
        sample.complete = false;
    }
    made.profile.incomplete = [("native: too deep".to_owned(), 5)].into();
    let wanted = Filter {
        to_ns: Some(13 * PERIOD_NS),
        ..Filter::default()
    };
    let filtered = filter(made.profile, &wanted).unwrap();
    assert_eq!(
        filtered.incomplete,
        [
            ("native: too deep".to_owned(), 3),
            (REASON_NOT_SHOWN.to_owned(), 1)
        ]
        .into()
    );
}

/// Cutting a profile in two by any condition and merging the parts gives the samples of the whole.
#[test]
fn the_parts_merged_are_the_whole() {
    for seed in 1..30 {
        let profile = random_profile(seed, 200);
        let halves = |left: Filter, right: Filter| {
            let parts = [left, right].map(|part| filter(profile.clone(), &part).unwrap());
            assert_eq!(
                parts[0].samples.len() + parts[1].samples.len(),
                profile.samples.len()
            );
            let merged = merge(&parts).unwrap();
            assert_eq!(readable(&merged), readable(&profile), "seed {seed}");
        };
        let middle = 77 * PERIOD_NS;
        halves(
            Filter {
                to_ns: Some(middle),
                ..Filter::default()
            },
            Filter {
                from_ns: middle,
                ..Filter::default()
            },
        );
        halves(
            Filter {
                matching: expression("f[0-2]"),
                ..Filter::default()
            },
            Filter {
                not_matching: expression("f[0-2]"),
                ..Filter::default()
            },
        );
        halves(
            Filter {
                processes: vec![Selector::Id(10)],
                ..Filter::default()
            },
            Filter {
                processes: vec![Selector::Id(11)],
                ..Filter::default()
            },
        );
    }
}

/// Every sample with its thread and its frames, by name and not by handle, sorted.
fn readable(profile: &Profile) -> Vec<String> {
    let frame_text = |handle: FrameHandle| {
        let frame = profile.frame(handle).unwrap();
        let function = profile.function(frame.function).unwrap();
        let name = profile.string(function.name).unwrap();
        format!(
            "{name}:{}:{:?}:{:?}",
            frame.source.line,
            function.kind,
            profile.library_name(&function).unwrap()
        )
    };
    let mut lines: Vec<String> = profile
        .samples
        .iter()
        .map(|sample| {
            let thread = profile.thread(sample.thread).unwrap();
            let frames: Vec<_> = profile
                .stacks
                .frames_leaf_first(sample.stack)
                .map(frame_text)
                .collect();
            format!("{} {} {}", thread.tid, sample.weight_ns, frames.join(";"))
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_process_is_found_by_what_it_runs_as_well() {
    let mut made = MadeUp::default();
    let frame = made.python("f", "/srv/a.py", 1, 2);
    let thread = made.thread("python3", 10, 10);
    made.samples(thread, &[frame], 2);
    let name = made.profile.strings.intern("python3");
    let title = Some(made.profile.strings.intern("gunicorn app:wsgi"));
    let process = made.profile.processes.intern(crate::Process {
        title,
        ..crate::Process::new(11, name, name)
    });
    let thread = made.profile.threads.intern(crate::Thread {
        process,
        tid: 11,
        name,
    });
    made.samples(thread, &[frame], 3);
    for (wanted, count) in [
        ("gunicorn app:wsgi", 3),
        ("python3", 5),
        ("gunicorn", 3),
        ("gunicorn a", 0),
        ("app", 0),
        ("", 0),
    ] {
        let wanted = Filter {
            processes: vec![Selector::Name(wanted.to_owned())],
            ..Filter::default()
        };
        let part = filter(made.profile.clone(), &wanted).unwrap();
        assert_eq!(part.samples.len(), count);
    }
}

#[test]
fn places_choose_samples_by_all_the_names_that_people_have_for_them() {
    let profile = placed();
    let place = |by, text: &str| PlaceSelector {
        by,
        text: text.to_owned(),
    };
    use DivideBy::{Container, ControlGroup, Pod, Process, Unit};
    for (by, text, expected) in [
        (Container, "web", 8),
        (Container, "0123", 8),
        (Container, "fedcba9876543210", 4),
        (Container, "we", 0),
        (Container, "", 0),
        (Pod, "queue-7f", 4),
        (Pod, "shop/queue-7f", 4),
        (Pod, "77-88", 4),
        (Pod, "other/queue-7f", 0),
        (Unit, "ssh.service", 2),
        (Unit, "ssh", 2),
        (Unit, "ss", 0),
        (ControlGroup, "/system.slice", 2),
        (ControlGroup, "/system.slice/", 2),
        (ControlGroup, "/system", 0),
        (ControlGroup, "/", 14),
        (Process, "python3", 0),
    ] {
        let wanted = only(|filter| filter.places = vec![place(by, text)]);
        assert_eq!(count(&profile, wanted), expected, "{by:?} {text:?}");
    }
    let any = vec![place(Container, "web"), place(Container, "fedc")];
    assert_eq!(
        count(&profile, only(|filter| filter.places = any.clone())),
        12
    );
    let both = [any, vec![place(Pod, "queue-7f")]].concat();
    assert_eq!(count(&profile, only(|filter| filter.places = both)), 4);
}
