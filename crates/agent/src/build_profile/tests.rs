use std::time::Duration;

use viperf_abi::Reason;
use viperf_profile::SourceRange;

use super::*;
use crate::{named_file::NamedFile, stacks::StackNumber};

fn builder() -> Builder {
    Builder::new(&RecordOptions::default(), Arc::default())
}

fn process(name: &str) -> ProcessDescription {
    let mut description = ProcessDescription::new(7, None);
    description.name = name.to_owned();
    description
}

fn thread(name: &str) -> ThreadDescription {
    ThreadDescription {
        process: 0,
        tid: 8,
        name: name.to_owned(),
    }
}

fn function(name: &str) -> PythonFunction {
    PythonFunction {
        qualname: name.to_owned(),
        filename: "a.py".to_owned(),
        first_line: 1,
    }
}

fn stack(functions: &[u32], incomplete: Option<Reason>) -> RawStack {
    let frame = |function: &u32| RawFrame::Python {
        function: *function,
        source: SourceRange::from_line(2),
    };
    RawStack {
        frames: functions.iter().map(frame).collect(),
        incomplete,
    }
}

fn sample(time_ns: u64, stack: u32) -> RawSample {
    RawSample {
        time_ns,
        cpu: 0,
        thread: 0,
        stack: StackNumber(stack),
        weight_ns: 7,
    }
}

/// One process with one thread, and these samples, all of which have come at `at`.
fn news(at: Instant, samples: Vec<RawSample>) -> News {
    let latest_ns = samples.iter().map(|sample| sample.time_ns).max();
    News {
        processes: vec![(0, process("python"))],
        threads: vec![(0, thread("python"))],
        arrivals: latest_ns
            .map(|latest_ns| Arrival { at, latest_ns })
            .into_iter()
            .collect(),
        samples,
        ..News::default()
    }
}

fn times(profile: &Profile) -> Vec<u64> {
    profile
        .samples
        .iter()
        .map(|sample| sample.time_ns)
        .collect()
}

/// Each sample's time, and the names of its frames, leaf first.
fn shown(profile: &Profile) -> Vec<(u64, Vec<&str>)> {
    let name = |frame| {
        let function = profile.frame(frame).unwrap().function;
        let name = profile.function(function).unwrap().name;
        profile.string(name).unwrap()
    };
    let samples = profile.samples.iter().map(|sample| {
        let frames = profile.stacks.frames_leaf_first(sample.stack);
        (sample.time_ns, frames.map(name).collect())
    });
    samples.collect()
}

fn thread_names(profile: &Profile) -> Vec<&str> {
    let threads = profile.threads.iter();
    threads
        .map(|(_, thread)| profile.string(thread.name).unwrap())
        .collect()
}

#[test]
fn in_steps_comes_what_would_have_come_at_once() {
    let now = Instant::now();
    let batches = || {
        let first = News {
            functions: vec![function("main"), function("f")],
            stacks: vec![stack(&[1, 0], None)],
            ..news(now, vec![sample(10, 0), sample(30, 0)])
        };
        let second = News {
            functions: vec![function("g")],
            stacks: vec![stack(&[2, 0], Some(Reason::NativeNoRow))],
            ..news(now, vec![sample(40, 1), sample(50, 0)])
        };
        [first, second]
    };
    let mut steps = builder();
    for batch in batches() {
        steps.take(batch);
        steps.grow(Some(now), &mut |_, _| {});
    }
    let mut at_once = builder();
    for batch in batches() {
        at_once.take(batch);
    }
    at_once.grow(None, &mut |_, _| {});
    let counts = SampleCounts {
        complete: 3,
        all: 4,
        processes: 1,
    };
    assert_eq!(steps.sample_counts(), counts);
    let profile = steps.into_profile();
    assert_eq!(shown(&profile), shown(&at_once.into_profile()));
    assert_eq!(profile.validate(), Ok(()));
    assert_eq!(times(&profile), [0, 20, 30, 40]);
    assert_eq!(profile.incomplete[Reason::NativeNoRow.text()], 1);
}

#[test]
fn samples_wait_until_nothing_earlier_can_come_and_are_in_order_then() {
    let mut builder = builder();
    let now = Instant::now();
    let later = now + Duration::from_millis(60);
    builder.take(News {
        functions: vec![function("main")],
        stacks: vec![stack(&[0], None)],
        ..news(now, vec![sample(10, 0), sample(30, 0)])
    });
    // Another CPU's, which was put into the ring later.
    builder.take(news(later, vec![sample(20, 0), sample(40, 0)]));
    builder.grow(Some(now), &mut |_, _| {});
    assert_eq!(times(builder.profile()), [0, 10, 20]);
    builder.grow(Some(now), &mut |_, _| {});
    assert_eq!(times(builder.profile()).len(), 3);
    builder.grow(None, &mut |_, _| {});
    assert_eq!(times(builder.profile()), [0, 10, 20, 30]);
}

#[test]
fn samples_that_were_let_go_still_count_and_tables_stay() {
    let mut builder = builder();
    let now = Instant::now();
    builder.take(News {
        functions: vec![function("main")],
        stacks: vec![stack(&[0], None)],
        ..news(now, vec![sample(10, 0), sample(30, 0)])
    });
    builder.grow(Some(now), &mut |_, _| {});
    let stack = builder.profile().samples[0].stack;
    builder.let_samples_go();
    builder.take(news(now, vec![sample(35, 0)]));
    builder.grow(None, &mut |_, _| {});
    assert_eq!(builder.sample_counts().all, 3);
    let profile = builder.into_profile();
    assert_eq!(times(&profile), [25]);
    assert_eq!(profile.samples[0].stack, stack);
}

#[test]
fn a_name_that_is_learnt_late_takes_the_place_of_the_first_one() {
    let mut builder = builder();
    let now = Instant::now();
    builder.take(News {
        functions: vec![function("main")],
        stacks: vec![stack(&[0], None)],
        ..news(now, vec![sample(10, 0)])
    });
    builder.grow(Some(now), &mut |_, _| {});
    assert_eq!(thread_names(builder.profile()), ["python"]);
    builder.take(News {
        processes: vec![(0, process("gunicorn: worker"))],
        threads: vec![(0, thread("MainThread"))],
        ..News::default()
    });
    builder.take(news(now, vec![sample(20, 0)]));
    builder.take(News {
        processes: vec![(0, process("gunicorn: worker"))],
        threads: vec![(0, thread("MainThread"))],
        ..News::default()
    });
    builder.grow(None, &mut |_, _| {});
    let profile = builder.into_profile();
    assert_eq!(thread_names(&profile), ["MainThread"]);
    assert_eq!(profile.processes.len(), 1);
    let (_, row) = profile.processes.iter().next().unwrap();
    assert_eq!(profile.string(row.name), Ok("gunicorn: worker"));
    assert_eq!(profile.samples[0].thread, profile.samples[1].thread);
}

#[test]
fn what_names_nothing_is_no_sample_and_no_panic() {
    let mut builder = builder();
    let now = Instant::now();
    builder.take(News {
        stacks: vec![stack(&[5], None)],
        ..news(now, vec![sample(10, 9), sample(20, 0)])
    });
    builder.take(News {
        threads: vec![(
            0,
            ThreadDescription {
                process: 3,
                ..thread("python")
            },
        )],
        ..News::default()
    });
    builder.grow(None, &mut |_, _| {});
    assert!(builder.profile().samples.is_empty());
    assert_eq!(builder.into_profile().validate(), Ok(()));
}

#[test]
fn a_process_that_is_gone_leaves_its_rows_and_nothing_else() {
    let mut builder = builder();
    let now = Instant::now();
    builder.take(News {
        functions: vec![function("main")],
        stacks: vec![stack(&[0], None)],
        ended: vec![Ended {
            at: now,
            process: 0,
        }],
        ..news(now, vec![sample(10, 0), sample(20, 0)])
    });
    let before = now.checked_sub(Duration::from_secs(1)).unwrap();
    builder.grow(Some(before), &mut |_, _| {});
    assert!(times(builder.profile()).is_empty());
    assert_eq!(builder.threads.len(), 1);
    builder.grow(Some(now), &mut |_, _| {});
    assert_eq!(times(builder.profile()), [0, 10]);
    assert_eq!(thread_names(builder.profile()), ["python"]);
    assert!(builder.processes.is_empty() && builder.threads.is_empty());
    assert!(builder.threads_of.is_empty() && builder.ended.is_empty());
}

#[test]
fn a_profile_that_begins_anew_has_what_comes_and_all_names_of_it() {
    let mut builder = builder();
    let now = Instant::now();
    let kept = stack(&[0], None);
    builder.take(News {
        functions: vec![function("main"), function("f")],
        stacks: vec![kept.clone(), stack(&[1, 0], Some(Reason::NativeNoRow))],
        ..news(now, vec![sample(10, 0), sample(20, 1)])
    });
    builder.grow(Some(now), &mut |_, _| {});
    builder.begin_anew();
    assert!(builder.profile().samples.is_empty() && builder.profile().stacks.is_empty());
    assert!(builder.profile().processes.is_empty());
    builder.take(news(now, vec![sample(30, 0), sample(40, 1)]));
    builder.grow(None, &mut |_, _| {});
    assert_eq!(builder.sample_counts().all, 3);
    assert_eq!(builder.sample_counts().processes, 1);
    let profile = builder.into_profile();
    // The second stack was known to nobody else any more.
    assert_eq!(shown(&profile), [(20, vec!["main"])]);
    assert_eq!(thread_names(&profile), ["python"]);
    assert_eq!(profile.incomplete.values().sum::<u64>(), 1);
    assert_eq!(profile.validate(), Ok(()));
    drop(kept);
}

#[test]
fn samples_that_wait_for_names_are_given_out_once_and_come_in_their_order() {
    let mut builder = builder();
    let now = Instant::now();
    // Naming has just taken long.
    builder.naming.rest_until(now + Duration::from_secs(3600));
    let kernel = RawStack {
        frames: [RawFrame::Kernel(1)].into(),
        incomplete: None,
    };
    builder.take(News {
        functions: vec![function("main")],
        stacks: vec![stack(&[0], None), kernel],
        ..news(now, vec![sample(10, 0), sample(30, 1)])
    });
    builder.grow(Some(now), &mut |_, _| {});
    assert!(builder.profile().samples.is_empty());
    let (before, given) = builder.give_unnamed().unwrap();
    assert_eq!(before, 0);
    assert_eq!(shown(&given), [(0, vec!["main"]), (20, vec!["[kernel]"])]);
    assert_eq!(given.validate(), Ok(()));
    assert_eq!(thread_names(&given), ["python"]);
    assert!(builder.give_unnamed().is_none());

    let later = now + Duration::from_secs(1);
    builder.take(news(later, vec![sample(40, 0)]));
    builder.begin_anew();
    builder.grow(Some(later), &mut |_, _| {});
    let (before, given) = builder.give_unnamed().unwrap();
    assert_eq!((before, times(&given)), (2, vec![30]));

    builder.grow(None, &mut |_, _| {});
    assert_eq!(times(builder.profile()), [0, 20, 30]);
    assert_eq!(thread_names(builder.profile()), ["python"]);
    assert!(builder.give_unnamed().is_none());
}

/// A file without a name for any address.
fn file(name: &str) -> NamedFile {
    NamedFile {
        file: Arc::new(std::fs::File::open("Cargo.toml").unwrap()),
        name: name.to_owned(),
        original_path: format!("/usr/lib/{name}").into(),
        root: None,
        build_id: None,
        has_tail_calls: false,
    }
}

#[test]
fn files_that_are_gone_are_held_until_they_have_given_their_names_and_no_longer() {
    let mut builder = builder();
    let (mut time_ns, mut held) = (0, Vec::new());
    for number in 0..300 {
        let file = file(&format!("lib{number}.so"));
        held.push(Arc::downgrade(&file.file));
        let native = RawFrame::Native {
            executable: number,
            svma: 16,
        };
        let now = Instant::now();
        time_ns += 10;
        builder.take(News {
            files: vec![(number, file)],
            stacks: vec![RawStack {
                frames: [native].into(),
                incomplete: None,
            }],
            gone_files: vec![GoneFile { at: now, number }],
            ..news(now, vec![sample(time_ns, number)])
        });
        assert!(builder.holds_gone_files());
        // Names come from another thread, and naming rests when it has taken long.
        builder.naming.rest_until(now);
        while builder.holds_gone_files() {
            builder.grow(Some(now), &mut |_, _| {});
            builder.naming.rest_until(now);
        }
        assert!(builder.names.files.is_empty() && builder.frames.is_empty());
    }
    // The clerk may still have the last question in hand.
    let before = held.iter().rev().skip(1);
    assert!({ before }.all(|file| file.strong_count() == 0));
    let profile = builder.into_profile();
    assert_eq!(profile.samples.len(), 300);
    for (number, (_, names)) in shown(&profile).into_iter().enumerate() {
        assert_eq!(names, [format!("[lib{number}.so+0x10]")]);
    }
}
