//! Profiles for the tests of every format.

use viperf_profile::{
    Frame, FrameHandle, FrameKind, Function, Library, Process, ProcessHandle, Profile,
    ProfileInformation, RecordingCost, Sample, SourceRange, Thread, ThreadHandle,
};

/// Names that have broken somebody's format before.
pub(crate) const HOSTILE_NAMES: [&str; 10] = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "a;b\nc\td\r\u{1b}[31m\u{0}",
    "back\\slash \\n",
    "ends in a count 17",
    "\u{202e}gnp.exe\u{2066}",
    "\u{2028}separator\u{2029}\u{85}",
    "",
    "Ünïcødé 日本語 🐍 e\u{301}",
    "`${document.title='owned'}` --> ]]> ' \" & %s {0}",
];

/// Adds a process called `name`.
pub(crate) fn add_process(profile: &mut Profile, name: &str, pid: u32) -> ProcessHandle {
    let name = profile.strings.intern(name);
    let command_line = profile.strings.intern("python3 app.py --port 8000");
    let python_version = Some(profile.strings.intern("3.12.4"));
    let parent_pid = Some(1);
    profile.processes.intern(Process {
        parent_pid,
        python_version,
        start_time_ns: 5,
        ..Process::new(pid, name, command_line)
    })
}

/// Adds a thread called `name`.
pub(crate) fn add_thread(
    profile: &mut Profile,
    process: ProcessHandle,
    name: &str,
    tid: u32,
) -> ThreadHandle {
    let name = profile.strings.intern(name);
    profile.threads.intern(Thread { process, tid, name })
}

/// Adds a frame; `place` is the file of a Python frame, the library of any other.
pub(crate) fn add_frame(
    profile: &mut Profile,
    kind: FrameKind,
    name: &str,
    place: &str,
    line: u32,
) -> FrameHandle {
    let name = profile.strings.intern(name);
    let place = (!place.is_empty()).then(|| profile.strings.intern(place));
    let (file, library) = if kind == FrameKind::Python {
        (place, None)
    } else {
        let library = place.map(|name| profile.libraries.intern(Library::named(name)));
        (None, library)
    };
    let function = profile.functions.intern(Function {
        name,
        file,
        library,
        first_line: 1,
        kind,
    });
    profile.frames.intern(Frame::at_line(function, line))
}

/// Adds `count` samples of one stack, the root first, a millisecond each.
pub(crate) fn add_samples(
    profile: &mut Profile,
    thread: ThreadHandle,
    frames: &[FrameHandle],
    count: u64,
) {
    let stack = profile
        .intern_stack_root_first(frames.iter().copied())
        .expect("tests give frames");
    for _ in 0..count {
        let time_ns = profile.samples.len() as u64 * 1_000_000;
        let cpu = (time_ns % 3) as u32;
        profile.samples.push(Sample {
            time_ns,
            weight_ns: 1_000_000,
            cpu,
            thread,
            stack,
            complete: true,
        });
    }
}

/// Every kind of frame, two lines of one function, an interpreter frame in between.
pub(crate) fn small_profile() -> Profile {
    let mut profile = Profile {
        information: information(),
        ..Profile::default()
    };
    let process = add_process(&mut profile, "python3", 4242);
    let main = add_thread(&mut profile, process, "python3", 4242);
    let worker = add_thread(&mut profile, process, "worker 1", 4243);
    use FrameKind::{Incomplete, Interpreter, Kernel, Native, Python};
    let eval = "_PyEval_EvalFrameDefault";
    let [
        start,
        eval,
        module,
        line_7,
        line_8,
        deflate,
        bare,
        system_call,
        broken,
    ] = [
        (Native, "_start", "python3.12", 0),
        (Interpreter, eval, "python3.12", 0),
        (Python, "<module>", "/srv/app.py", 40),
        (Python, "Job.run", "/srv/app.py", 7),
        (Python, "Job.run", "/srv/app.py", 8),
        (Native, "deflate", "libz.so.1.2.13", 0),
        (Native, "[libz.so.1.2.13+0x1a2b]", "libz.so.1.2.13", 0),
        (Kernel, "do_syscall_64", "", 0),
        (Incomplete, "stack page not present", "", 0),
    ]
    .map(|(kind, name, place, line)| add_frame(&mut profile, kind, name, place, line));
    add_samples(
        &mut profile,
        main,
        &[start, eval, module, line_7, deflate],
        5,
    );
    add_samples(
        &mut profile,
        main,
        &[start, eval, module, line_8, bare, system_call],
        3,
    );
    add_samples(&mut profile, main, &[start, eval, module], 1);
    add_samples(&mut profile, worker, &[broken, line_7], 2);
    for sample in profile.samples.iter_mut().rev().take(2) {
        sample.complete = false;
    }
    profile
        .incomplete
        .insert("stack page not present".into(), 2);
    profile.lost = 4;
    profile
}

/// What [`small_profile`] has not: two processes of one name, recursion, inlined calls, columns, addresses, paths and build
/// IDs, a kernel module, a sample with nothing but an interpreter frame, different weights.
pub(crate) fn rich_profile() -> Profile {
    use FrameKind::{Interpreter, Kernel, Python};
    let mut profile = Profile {
        information: information(),
        ..Profile::default()
    };
    let [outer, first, second] = add_inlined_frames(&mut profile);
    let module = add_frame(&mut profile, Python, "<module>", "/srv/a b.py", 3);
    let fib = add_frame(&mut profile, Python, "fib", "/srv/a b.py", 8);
    let other_line = add_frame(&mut profile, Python, "fib", "/srv/a b.py", 9);
    let columns = profile.frame(fib).expect("it was just added");
    let source = SourceRange {
        column: 12,
        end_line: 8,
        end_column: 22,
        ..columns.source
    };
    let fib_column = profile.frames.intern(Frame { source, ..columns });
    let system_call = add_frame(&mut profile, Kernel, "do_syscall_64", "", 0);
    let in_module = add_frame(&mut profile, Kernel, "nft_do_chain", "nf_tables", 0);
    let eval = add_frame(
        &mut profile,
        Interpreter,
        "_PyEval_EvalFrameDefault",
        "python3",
        0,
    );
    for pid in [70, 71] {
        let process = add_process(&mut profile, "gunicorn", pid);
        let thread = add_thread(&mut profile, process, "MainThread", pid);
        let count = u64::from(pid);
        let recursion = [eval, module, fib, eval, fib_column, other_line, fib];
        add_samples(&mut profile, thread, &recursion, count);
        add_samples(
            &mut profile,
            thread,
            &[module, fib, outer, first, second],
            3,
        );
        add_samples(&mut profile, thread, &[module, system_call, in_module], 2);
        add_samples(&mut profile, thread, &[eval], 1);
    }
    for (number, sample) in (0..).zip(&mut profile.samples) {
        sample.weight_ns += number;
    }
    profile
}

/// A function and what was inlined into it, the caller first, in a library with path and build ID.
fn add_inlined_frames(profile: &mut Profile) -> [FrameHandle; 3] {
    let strings = [
        "libm.so.6",
        "/usr/lib/libm.so.6",
        "00112233445566778899aabbccddeeff01020304",
    ];
    let [name, path, build_id] = strings.map(|text| profile.strings.intern(text));
    let library = profile.libraries.intern(Library {
        name,
        path: Some(path),
        build_id: Some(build_id),
    });
    let [outer, first, second] = ["exp", "scale", "step<int (*)(char)>"].map(|name| {
        let name = profile.strings.intern(name);
        let file = Some(profile.strings.intern("/src/exp.c"));
        let function = profile.functions.intern(Function {
            name,
            file,
            library: Some(library),
            first_line: 0,
            kind: FrameKind::Native,
        });
        Frame {
            address: 0x4321,
            ..Frame::at_line(function, 30)
        }
    });
    let inlined = [first, second].map(|frame| Frame {
        inlined: true,
        ..frame
    });
    [outer, inlined[0], inlined[1]].map(|frame| profile.frames.intern(frame))
}

/// Three expressions of line 7 of one function, one of them two lines long and one of which only the line is known; each
/// is the caller of the same leaf.
pub(crate) fn profile_of_one_line() -> Profile {
    let mut profile = Profile::default();
    let process = add_process(&mut profile, "p", 1);
    let thread = add_thread(&mut profile, process, "t", 1);
    let line = add_frame(&mut profile, FrameKind::Python, "f", "a.py", 7);
    let line = profile.frame(line).expect("it was just added");
    let leaf = add_frame(&mut profile, FrameKind::Native, "g", "lib.so", 0);
    let ends = [(0, 0, 0), (9, 8, 22), (14, 7, 21)];
    for (count, (column, end_line, end_column)) in (1..).zip(ends) {
        let source = SourceRange {
            column,
            end_line,
            end_column,
            ..line.source
        };
        let caller = profile.frames.intern(Frame { source, ..line });
        add_samples(&mut profile, thread, &[caller, leaf], count);
    }
    profile
}

/// Every hostile name as process, thread, function, file, library, reason and in the information.
pub(crate) fn hostile_profile() -> Profile {
    let mut profile = Profile::default();
    for (index, name) in (0..).zip(HOSTILE_NAMES) {
        let process = add_process(&mut profile, name, index);
        let thread = add_thread(&mut profile, process, name, index);
        let frames = FrameKind::ALL.map(|kind| add_frame(&mut profile, kind, name, name, index));
        add_samples(&mut profile, thread, &frames, 1);
        profile.incomplete.insert(name.into(), 1);
        profile.information.target += name;
    }
    profile
}

fn information() -> ProfileInformation {
    ProfileInformation {
        viperf_version: "0.1.0".into(),
        hostname: "build-7".into(),
        kernel: "6.1.0-28-amd64".into(),
        started_unix_ns: 1_700_000_000_000_000_000,
        duration_ns: 10_000_000_000,
        period_ns: 1_000_000,
        rate_hz: 999,
        target: "python3 app.py".into(),
        cost: RecordingCost::default(),
    }
}
