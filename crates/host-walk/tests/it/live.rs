//! Threads of real interpreters that stand still, against what the interpreters show of them.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;
use viperf_abi::{PROCESS_PYTHON, Process, Word};
use viperf_cpython::{Interpreter, thread_states};
use viperf_host_walk::{Thread, Walk, Walker};
use viperf_process::read_memory;

use crate::{
    interpreters::{self, Running},
    layout::{CLibrary, for_kernel},
    session::decode,
};

const STANDING_STILL: &str = include_str!("standing_still.py");

/// What the script prints of a thread.
#[derive(Deserialize)]
struct Shown {
    /// `pthread_self()`.
    ident: u64,
    /// Leaf first: name, file name, line.
    frames: Vec<(String, String, u32)>,
}

struct Target {
    running: Running,
    interpreter: Interpreter,
    process: Process,
}

impl Target {
    fn start(program: &Path, script: &str, library: CLibrary) -> Self {
        let running = Running::start(program, script);
        let (interpreter, bias) = running.interpreter();
        let offset = interpreter.static_thread_state_offset;
        let process = Process {
            epoch: 1,
            flags: PROCESS_PYTHON,
            runtime: bias.avma(interpreter.runtime),
            code_type: bias.avma(interpreter.code_type),
            layout: for_kernel(&interpreter.layout, offset, library).unwrap(),
            ..Process::default()
        };
        Self {
            running,
            interpreter,
            process,
        }
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        read_memory(self.running.pid, address, bytes).is_ok()
    }

    fn walk(&self, walker: &mut Walker, fsbase: u64) -> Walk {
        let thread = Thread {
            fsbase,
            // One number for each thread, as the kernel has.
            tid: (fsbase >> 8) as u32,
            ..Thread::default()
        };
        walker.walk(&self.process, &thread, |address, bytes| {
            self.read(address, bytes)
        })
    }

    fn thread_ids(&self) -> Vec<u64> {
        let layout = &self.interpreter.layout;
        let read = |address: u64, bytes: &mut [u8]| self.read(address, bytes);
        let states = thread_states::find(layout, self.process.runtime, read);
        states.found.iter().map(|state| state.thread_id).collect()
    }

    /// The frames of a walk by a walker that knew nothing before, without those that CPython hides, and their number.
    fn name(&self, walk: &Walk) -> (Vec<(String, String, u32)>, usize) {
        let mut hidden = 0;
        let mut named = Vec::new();
        for word in &walk.words {
            let Word::Python { code, unit } = word else {
                continue;
            };
            let mut definitions = walk.definitions.iter();
            // What a thread that still runs is about to do has no name or no line: none that a test expects.
            let Some(definition) = definitions.find(|one| one.code.id == *code) else {
                named.push(Default::default());
                continue;
            };
            let record = &definition.code;
            if record.flags & viperf_abi::CODE_SHIM != 0 {
                hidden += 1;
                continue;
            }
            let kind = self.interpreter.layout.line_table;
            let line = kind.find_line(&definition.line_table, record.first_line, *unit);
            named.push((
                decode(record.qualname()),
                decode(record.filename()),
                line.unwrap_or_default(),
            ));
        }
        (named, hidden)
    }
}

/// Runs `check` with every interpreter of the machine that is supported.
fn with_each_interpreter(check: impl Fn(&viperf_e2e::Interpreter, CLibrary)) {
    for program in interpreters::all() {
        if !program.is_supported() {
            println!("skipped: {} is not supported", program.name());
            continue;
        }
        let library = match program.musl {
            true => CLibrary::Musl,
            false => CLibrary::Glibc,
        };
        check(program, library);
    }
}

#[test]
fn threads_that_stand_still_have_the_frames_and_lines_that_the_interpreter_shows() {
    with_each_interpreter(|program, library| {
        let name = program.name();
        let (mut frames, mut hidden) = (0, 0);
        // With and without pthread keys.
        for library in [library, CLibrary::Unknown] {
            let target = Target::start(&program.path, STANDING_STILL, library);
            let threads: Vec<Shown> = serde_json::from_str(&target.running.first_line).unwrap();
            assert!(threads.len() >= 8, "{name}");
            let ids = target.thread_ids();
            for thread in &threads {
                assert!(ids.contains(&thread.ident), "{name}");
                let walk = target.walk(&mut Walker::new(), thread.ident);
                let (named, hidden_here) = target.name(&walk);
                assert_eq!(named, thread.frames, "{name}");
                let reasons = walk
                    .words
                    .iter()
                    .filter(|word| matches!(word, Word::Reason(_)));
                assert_eq!(reasons.count(), 0, "{name}: {:?}", walk.words.last());
                let has_key = target.process.layout.runtime_auto_tss_key != 0;
                if library != CLibrary::Unknown && has_key {
                    assert_eq!(walk.list_steps, 0, "{name}");
                }
                frames += named.len();
                hidden += hidden_here;
            }
        }
        println!("{name}: {frames} frames agree, {hidden} are hidden");
    });
}

/// A thread that runs a sub-interpreter has two thread states, each with its own frames.
const SUB_INTERPRETER: &str = "
import sys, threading, time
try:
    import _interpreters as interpreters
    run = getattr(interpreters, 'exec')
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
        run = interpreters.run_string
    except ImportError:
        run = None

def outside():
    run(interpreters.create(), '''
def inside():
    import time
    time.sleep(1000)
inside()
''')
if run:
    thread = threading.Thread(target=outside, daemon=True)
    thread.start()
    print(thread.ident)
else:
    print(0)
sys.stdout.flush()
sys.stdin.read()
";

#[test]
fn a_thread_in_a_sub_interpreter_shows_the_frames_of_both() {
    const INSIDE: &[&str] = &["inside", "<module>"];
    const OUTSIDE: &[&str] = &["outside", "run", "_bootstrap_inner", "_bootstrap"];
    with_each_interpreter(|program, library| {
        let target = Target::start(&program.path, SUB_INTERPRETER, library);
        let ident: u64 = target.running.first_line.trim().parse().unwrap();
        if ident == 0 {
            println!(
                "skipped: {} has no module for sub-interpreters",
                program.name()
            );
            return;
        }
        let mut expected = vec![[INSIDE, OUTSIDE].concat()];
        // Runs that have an address on the C stack are put in order in user space.
        let layout = &target.interpreter.layout;
        if layout.cframe.is_some() || !layout.has_call_per_frame() {
            expected.push([OUTSIDE, INSIDE].concat());
        }
        let names = || {
            let walk = target.walk(&mut Walker::new(), ident);
            let (named, _) = target.name(&walk);
            let names = named
                .into_iter()
                .map(|(name, ..)| name.replace("Thread.", ""));
            names.collect::<Vec<_>>()
        };
        // The thread gets there in its own time, and tells nobody.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut found = names();
        while !expected.iter().any(|expected| *expected == found) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
            found = names();
        }
        assert!(
            expected.iter().any(|expected| *expected == found),
            "{}: {found:?}",
            program.name()
        );
    });
}

/// A program that never stops, and calls in and out of C all the time.
const BUSY: &str = "
import functools, re, sys, threading
class Made(object):
    def __init__(self, x):
        self.x = x
    @property
    def value(self):
        return self.x
def generator(n):
    for i in range(n):
        yield Made(i).value
def work():
    while True:
        sorted(range(20), key=lambda x: functools.reduce(lambda a, b: a + b, generator(x), 0))
        re.sub('x', lambda match: str(len(list(generator(5)))), 'xxx')
thread = threading.Thread(target=work)
thread.daemon = True
thread.start()
print(thread.ident)
sys.stdout.flush()
sys.stdin.read()
";

#[test]
fn walks_of_a_running_thread_end_and_mostly_reach_its_root() {
    const WALKS: usize = 5_000;
    with_each_interpreter(|program, library| {
        let name = program.name();
        let target = Target::start(&program.path, BUSY, library);
        let ident: u64 = target.running.first_line.trim().parse().unwrap();
        let mut walker = Walker::new();
        let complete = (0..WALKS).filter(|_| {
            let walk = target.walk(&mut walker, ident);
            assert!(walk.reads < crate::session::MOST_READS, "{name}");
            !walk.words.is_empty() && !matches!(walk.words.last(), Some(Word::Reason(_)))
        });
        let complete = complete.count();
        println!("{name}: {complete} of {WALKS} walks reached the root");
        // Nothing stops the thread while we read, so frames do vanish under us.
        assert!(complete > WALKS / 5, "{name}: {complete}");
    });
}
