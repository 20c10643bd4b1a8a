use std::time::Duration;

use viperf_abi::Reason;
use viperf_profile::SourceRange;

use super::*;
use crate::{MemoryShares, named_file::NamedFile, stacks::StackNumber};

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
    assert_eq!(builder.sample_counts().all, 4);
    assert_eq!(builder.sample_counts().processes, 1);
    // The second stack was known to nobody else any more, but a sample of it was on its way.
    let of_both = [(20, vec!["main"]), (30, vec!["f", "main"])];
    assert_eq!(shown(builder.profile()), of_both);
    assert_eq!(thread_names(builder.profile()), ["python"]);
    assert_eq!(builder.profile().incomplete.values().sum::<u64>(), 2);
    assert_eq!(builder.profile().validate(), Ok(()));
    builder.begin_anew();
    assert_eq!(builder.stacks.keys().collect::<Vec<_>>(), [&0]);
    drop(kept);
}

#[test]
fn stacks_that_only_the_profile_knows_are_let_go_at_the_second_look() {
    let mut builder = builder();
    let now = Instant::now();
    let kept = stack(&[0], None);
    builder.take(News {
        functions: vec![function("main"), function("f")],
        stacks: vec![kept.clone(), stack(&[1, 0], None)],
        ..news(now, vec![sample(10, 0), sample(20, 1)])
    });
    builder.grow(Some(now), &mut |_, _| {});
    builder.forget_stacks();
    // It was on its way.
    builder.take(news(now, vec![sample(30, 1)]));
    builder.forget_stacks();
    assert_eq!(builder.stacks.len(), 2, "its sample waits");
    builder.grow(None, &mut |_, _| {});
    builder.forget_stacks();
    builder.forget_stacks();
    assert_eq!(builder.stacks.keys().collect::<Vec<_>>(), [&0]);
    let f = || vec!["f", "main"];
    let all = [(0, vec!["main"]), (10, f()), (20, f())];
    assert_eq!(shown(builder.profile()), all);
    drop(kept);
}

#[test]
fn functions_that_no_process_has_are_let_go_with_their_stacks_and_come_again_in_the_same_row() {
    let mut builder = builder();
    let now = Instant::now();
    let kept = stack(&[0], None);
    builder.take(News {
        functions: vec![function("main"), function("f")],
        gone_functions: vec![0, 1],
        stacks: vec![kept.clone(), stack(&[1, 0], None)],
        ..news(now, vec![sample(10, 0), sample(20, 1)])
    });
    builder.forget_stacks();
    assert_eq!(builder.functions.len(), 2, "its sample waits");
    builder.grow(Some(now), &mut |_, _| {});
    builder.forget_stacks();
    builder.forget_stacks();
    // The kernel may still tell of the first one's stack.
    assert_eq!(builder.functions.keys().collect::<Vec<_>>(), [&0]);
    builder.take(News {
        functions: vec![function("f")],
        stacks: vec![stack(&[2, 0], None)],
        ..news(now, vec![sample(30, 2), sample(40, 0)])
    });
    builder.grow(None, &mut |_, _| {});
    let f = || vec!["f", "main"];
    let all = [(0, vec!["main"]), (10, f()), (20, f()), (30, vec!["main"])];
    assert_eq!(shown(builder.profile()), all);
    assert_eq!(builder.profile().functions.len(), 2);
    drop(kept);
}

#[test]
fn names_that_are_many_are_let_go_with_the_rows_and_asked_for_again() {
    let options = RecordOptions {
        max_memory: 0,
        ..RecordOptions::default()
    };
    let mut builder = Builder::new(&options, Arc::default());
    let now = Instant::now();
    let native = RawFrame::Native {
        executable: 1,
        svma: 16,
    };
    let native = RawStack {
        frames: [native].into(),
        incomplete: None,
    };
    builder.take(News {
        files: vec![(1, file("lib.so"))],
        stacks: vec![native.clone()],
        ..news(now, vec![sample(10, 0)])
    });
    builder.grow(None, &mut |_, _| {});
    assert_eq!(
        (builder.naming.named(), builder.names.are_many()),
        (1, true)
    );
    builder.begin_anew();
    assert_eq!(
        (builder.naming.named(), builder.names.are_many()),
        (0, false)
    );
    builder.take(news(now, vec![sample(20, 0)]));
    builder.grow(None, &mut |_, _| {});
    assert_eq!(
        (builder.naming.named(), builder.names.are_many()),
        (1, true)
    );
    assert_eq!(shown(builder.profile()), [(10, vec!["[lib.so+0x10]"])]);
    drop(native);
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
        assert!(builder.holds_what_is_gone());
        // Names come from another thread, and naming rests when it has taken long.
        builder.naming.rest_until(now);
        while builder.holds_what_is_gone() {
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

#[test]
fn however_many_processes_come_and_go_what_is_held_of_them_is_bounded() {
    const LIVES: u32 = 20_000;
    /// What two looks for stacks need not find, and what a profile holds before another one begins.
    const MOST: usize = 9_000;
    let shares = MemoryShares::of(0);
    let mut builder = builder();
    let now = Instant::now();
    // What whoever takes samples remembers: the newest.
    let mut remembered = VecDeque::new();
    let (mut most, mut chapters, mut samples) = (0, 0, 0);
    for life in 0..LIVES {
        let mut own = stack(&[life], None);
        own.frames = own.frames.iter().copied().cycle().take(5).collect();
        remembered.push_back(own.clone());
        if remembered.len() > 100 {
            remembered.pop_front();
        }
        let of_process = ThreadDescription {
            process: life,
            ..thread("python")
        };
        let sample = RawSample {
            thread: life,
            ..sample(u64::from(life) + 1, life)
        };
        builder.take(News {
            functions: vec![function(&format!("only_in_{life}"))],
            gone_functions: vec![life],
            stacks: vec![own],
            processes: vec![(life, process(&format!("python {life}")))],
            threads: vec![(life, of_process)],
            ended: vec![Ended {
                at: now,
                process: life,
            }],
            ..news(now, vec![sample])
        });
        builder.grow(Some(now), &mut |_, _| {});
        for given in shown(builder.profile()) {
            assert_eq!(given.1, [format!("only_in_{life}").as_str(); 5]);
            samples += 1;
        }
        builder.let_samples_go();
        if shares.are_taken_by(builder.profile()) {
            builder.begin_anew();
            chapters += 1;
        }
        let held = [
            builder.functions.len() + builder.gone_functions.len() + builder.made_functions.len(),
            builder.stacks.len(),
            builder.frames.len(),
            builder.processes.len() + builder.threads.len() + builder.sampled.len(),
            builder.threads_of.len() + builder.ended.len() + builder.arrivals.len(),
            builder.profile().row_count() + builder.profile().processes.len(),
        ];
        most = held.into_iter().fold(most, usize::max);
    }
    assert!(most <= MOST, "{most}");
    assert_eq!(samples, LIVES);
    assert!(chapters > 1, "{chapters}");
}
