//! A profile of any size, the same on every run: random walks over a made-up program.

use viperf_profile::{
    Frame, FrameHandle, FrameKind, Function, FunctionHandle, Library, Process, Profile,
    ProfileInformation, Sample, SourceRange, StringHandle, Thread, ThreadHandle,
};

/// A name that [`SyntheticProfile::needle_samples`] samples hold, once or more each.
pub(crate) const NEEDLE: &str = "Needle.thread_through";

const FUNCTIONS: usize = 400;
const DEEPEST: usize = 34;
const PERIOD_NS: u64 = 1_001_001;

/// A profile and what is known about it.
#[derive(Debug)]
pub(crate) struct SyntheticProfile {
    /// The profile.
    pub(crate) profile: Profile,
    /// How many samples have [`NEEDLE`] in their stack.
    pub(crate) needle_samples: u64,
}

/// A profile of `samples` samples; about every second one has a stack of its own.
pub(crate) fn synthetic_profile(samples: usize) -> SyntheticProfile {
    let mut profile = Profile {
        information: information(samples),
        ..Profile::default()
    };
    let threads = add_threads(&mut profile);
    let program = Program::new(&mut profile);
    let (mut random, mut expressions) = (Random(7), Random(11));
    let mut needle_samples = 0;
    for number in 0..samples {
        let thread = threads[random.below(threads.len() * 2).min(threads.len() - 1)];
        let frames = program.walk(&mut random, &mut expressions);
        needle_samples += u64::from(frames.iter().any(|frame| program.needles.contains(frame)));
        let complete = !frames.contains(&program.broken);
        if !complete {
            *profile
                .incomplete
                .entry("stack page not present".into())
                .or_default() += 1;
        }
        let stack = profile
            .intern_stack_root_first(frames)
            .expect("a walk has frames");
        let time_ns = number as u64 * PERIOD_NS / 4;
        profile.samples.push(Sample {
            time_ns,
            weight_ns: PERIOD_NS,
            cpu: number as u32 % 4,
            thread,
            stack,
            complete,
        });
    }
    SyntheticProfile {
        profile,
        needle_samples,
    }
}

fn information(samples: usize) -> ProfileInformation {
    ProfileInformation {
        viperf_version: "0.1.0".into(),
        hostname: "build-7".into(),
        kernel: "6.1.0-28-amd64".into(),
        started_unix_ns: 1_795_350_000_000_000_000,
        duration_ns: samples as u64 * PERIOD_NS / 4,
        period_ns: PERIOD_NS,
        rate_hz: 999,
        target: "gunicorn shop.wsgi --workers 2".into(),
        ..ProfileInformation::default()
    }
}

fn add_threads(profile: &mut Profile) -> Vec<ThreadHandle> {
    let name = profile.strings.intern("gunicorn");
    let command_line = profile
        .strings
        .intern("/usr/bin/python3.12 /srv/shop/.venv/bin/gunicorn shop.wsgi --workers 2");
    let python_version = Some(profile.strings.intern("3.12.4"));
    let mut threads = Vec::new();
    for pid in [4242, 4251] {
        let process = profile.processes.intern(Process {
            parent_pid: Some(1),
            python_version,
            ..Process::new(pid, name, command_line)
        });
        for (offset, name) in ["gunicorn", "ThreadPoolExecu", "ThreadPoolExecu", "asyncio"]
            .into_iter()
            .enumerate()
        {
            let name = profile.strings.intern(name);
            threads.push(profile.threads.intern(Thread {
                process,
                tid: pid + offset as u32,
                name,
            }));
        }
    }
    threads.reverse();
    threads
}

/// Two expressions of one line, as frames.
type Line = [FrameHandle; 2];

type LinesAndCalls = (Vec<Line>, Vec<usize>);

const NATIVE: [(&str, &str); 12] = [
    ("deflate", "libz.so.1.2.13"),
    ("inflate_fast", "libz.so.1.2.13"),
    ("dict_getitem", "python3.12"),
    ("_PyObject_Malloc", "python3.12"),
    ("list_sort_impl", "python3.12"),
    ("sre_ucs1_match", "python3.12"),
    ("_int_malloc", "libc.so.6"),
    ("__memmove_avx_unaligned_erms", "libc.so.6"),
    ("SHA256_Update", "libcrypto.so.3"),
    ("DOUBLE_add_AVX512F", "_multiarray_umath.so"),
    ("[libpq.so.5+0x1f3a0]", "libpq.so.5"),
    (
        "std::vector<int, std::allocator<int>>::push_back",
        "_core.so",
    ),
];

const KERNEL: [&str; 5] = [
    "entry_SYSCALL_64_after_hwframe",
    "do_syscall_64",
    "ksys_read",
    "vfs_read",
    "copy_user_generic",
];

fn add_functions(profile: &mut Profile) -> Vec<LinesAndCalls> {
    let mut random = Random(3);
    let mut functions = Vec::new();
    for number in 0..FUNCTIONS {
        let (name, file) = function_name(number);
        let first_line = (number as u32 * 37) % 900 + 1;
        let lines = [0, 3, 6].map(|line| add_line(profile, &name, &file, first_line + line));
        let calls = (0..2 + random.below(3)).map(|_| (number + 1 + random.below(60)) % FUNCTIONS);
        functions.push((lines.to_vec(), calls.collect()));
    }
    functions
}

/// Functions that call each other with fixed preferences.
struct Program {
    start: Vec<FrameHandle>,
    /// The lines of each function as frames, and the functions it calls.
    functions: Vec<LinesAndCalls>,
    native: Vec<FrameHandle>,
    kernel: Vec<FrameHandle>,
    broken: FrameHandle,
    needles: Vec<FrameHandle>,
}

impl Program {
    fn new(profile: &mut Profile) -> Self {
        let python = "python3.12";
        let start = vec![
            add_frame(profile, FrameKind::Native, "_start", python, 0),
            add_frame(profile, FrameKind::Native, "Py_BytesMain", python, 0),
            add_frame(
                profile,
                FrameKind::Interpreter,
                "_PyEval_EvalFrameDefault",
                python,
                0,
            ),
            add_frame(
                profile,
                FrameKind::Python,
                "<module>",
                "/srv/shop/.venv/bin/gunicorn",
                8,
            ),
        ];
        let mut functions = add_functions(profile);
        let needles = [11, 14].map(|line| add_line(profile, NEEDLE, "/srv/shop/needle.py", line));
        // One that is called often, and one below it: a path that holds the name twice must count once.
        let outer = functions[0].1[1];
        let inner = functions[outer].1[0];
        for place in [outer, inner] {
            functions[place].0 = needles.to_vec();
        }
        let native =
            NATIVE.map(|(name, library)| add_frame(profile, FrameKind::Native, name, library, 0));
        let kernel = KERNEL.map(|name| add_frame(profile, FrameKind::Kernel, name, "", 0));
        let broken = add_frame(
            profile,
            FrameKind::Incomplete,
            "stack page not present",
            "",
            0,
        );
        Self {
            start,
            functions,
            native: native.to_vec(),
            kernel: kernel.to_vec(),
            broken,
            needles: needles.concat(),
        }
    }

    /// The lines are `random`'s choice, which of a line's expressions is that of `expressions`.
    fn walk(&self, random: &mut Random, expressions: &mut Random) -> Vec<FrameHandle> {
        let mut frames = if random.below(50) == 0 {
            vec![self.broken]
        } else {
            self.start.clone()
        };
        let mut function = 0;
        while frames.len() < DEEPEST {
            let (lines, calls) = &self.functions[function];
            let line = lines[random.below(lines.len() * 2).min(lines.len() - 1)];
            frames.push(line[expressions.below(line.len())]);
            if random.below(14) == 0 {
                break;
            }
            // The first call is the likeliest.
            function = calls[random
                .below(calls.len() * 3)
                .saturating_sub(calls.len() * 2)];
        }
        if random.below(3) > 0 {
            frames.push(self.native[(function + random.below(4)) % self.native.len()]);
            if random.below(5) == 0 {
                frames.extend(&self.kernel[..2 + random.below(self.kernel.len() - 1)]);
            }
        }
        frames
    }
}

fn function_name(number: usize) -> (String, String) {
    const NOUNS: [&str; 10] = [
        "Order", "Basket", "Invoice", "Session", "Query", "Template", "Response", "Image", "Price",
        "Stock",
    ];
    const VERBS: [&str; 10] = [
        "load",
        "render",
        "resolve",
        "validate",
        "to_json",
        "execute",
        "compress",
        "__init__",
        "get",
        "<listcomp>",
    ];
    const FILES: [&str; 5] = [
        "/srv/shop/.venv/lib/python3.12/site-packages/django/core/handlers/base.py",
        "/srv/shop/.venv/lib/python3.12/site-packages/django/db/models/query.py",
        "/srv/shop/views/checkout.py",
        "/usr/lib/python3.12/json/encoder.py",
        "/srv/shop/pricing/rules.py",
    ];
    let noun = NOUNS[number / 10 % 10];
    let verb = VERBS[number % 10];
    let name = if number < 100 {
        format!("{noun}.{verb}")
    } else {
        format!("{noun}{}.{verb}", number / 100)
    };
    (name, FILES[number % 5].to_owned())
}

fn add_frame(
    profile: &mut Profile,
    kind: FrameKind,
    name: &str,
    place: &str,
    line: u32,
) -> FrameHandle {
    let function = add_function(profile, kind, name, place, line.min(1));
    profile.frames.intern(Frame::at_line(function, line))
}

/// The same function and line twice: a call that may end on the line below, and another among its arguments.
fn add_line(profile: &mut Profile, name: &str, file: &str, line: u32) -> Line {
    let function = add_function(profile, FrameKind::Python, name, file, 1);
    let indent = 5 + 4 * (line % 3);
    let end_line = line + u32::from(line.is_multiple_of(10));
    [
        (end_line, indent, indent + 40),
        (line, indent + 16, indent + 39),
    ]
    .map(|(end_line, column, end_column)| {
        let source = SourceRange {
            line,
            end_line,
            column,
            end_column,
        };
        profile.frames.intern(Frame {
            function,
            source,
            address: 0,
            inlined: false,
        })
    })
}

fn add_function(
    profile: &mut Profile,
    kind: FrameKind,
    name: &str,
    place: &str,
    first_line: u32,
) -> FunctionHandle {
    let name = profile.strings.intern(name);
    let place: Option<StringHandle> = (!place.is_empty()).then(|| profile.strings.intern(place));
    let (file, library) = if kind == FrameKind::Python {
        (place, None)
    } else {
        let library = place.map(|name| profile.libraries.intern(Library::named(name)));
        (None, library)
    };
    profile.functions.intern(Function {
        name,
        file,
        library,
        first_line,
        kind,
    })
}

/// Knuth's linear congruential generator; the high bits are good enough for made-up programs.
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
