//! Thread states, frames and code objects of running processes, against what the interpreter says of itself.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;
use viperf_cpython::{
    Interpreter, Layout, code_object,
    frames::{self, End, Walk},
    line_table, thread_states,
};
use viperf_process::{Mapping, Tid, list_threads, read_mappings, read_memory, read_namespaced_tid};

use crate::interpreters::{self, Running};

/// Threads that block in places of every kind, then one line of JSON with their stacks as Python sees them.
const SCRIPT: &str = r#"
import functools, json, re, sys, threading, time

blocked = threading.Event()
def block():
    blocked.set()
    time.sleep(1000)

class Made:
    def __init__(self, call):
        call()
class Lazy:
    def __init__(self, call):
        self.call = call
    @property
    def value(self):
        return self.call()
    def __getattr__(self, name):
        return self.value

def generator(call):
    yield 1
    yield from (call() for _ in range(1))

def through_c(call):
    def key(x):
        return functools.reduce(lambda a, b: re.sub('x', lambda match: [
            str(a),
            Lazy(lambda: list(generator(call))).missing,
        ], 'x'), [1, 2])
    sorted([1], key=key)

def through_class(call):
    for one in [lambda: None] * 500 + [call]:
        Made(one)

def through_class_and_c(call):
    through_class(lambda: max([1], key=lambda x: through_class(call)))

def through_names(call):
    exec(compile('''def größe(call):
    def файл():
        def 蛇():
            class Ω:
                name = (lambda:
                    call())()
        蛇()
    файл()
größe(call)
''', 'naïve-€-🐍.py', 'exec'), {'call': call})

def through_bad_file_name(call):
    exec(compile('\n\n\ncall()', 'caf\udcc3\udca9-\udcff.py', 'exec'), {'call': call})

def through_coroutine(call):
    async def inner():
        call()
    async def outer():
        await inner()
    outer().send(None)

def through_depth(call, depth=400):
    if depth:
        through_depth(call, depth - 1)
    else:
        call()

for start in (block, through_c, through_class, through_class_and_c, through_names, through_bad_file_name,
              through_coroutine, through_depth):
    blocked.clear()
    arguments = () if start is block else (block,)
    threading.Thread(target=start, args=arguments, daemon=True).start()
    blocked.wait()

def show(frame):
    while frame:
        code = frame.f_code
        name = code.co_filename.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
        yield code.co_qualname, name, frame.f_lineno, frame.f_lasti // 2
        frame = frame.f_back

main = threading.get_ident()
def capture():
    frames = sys._current_frames()
    return [
        {'native_id': thread.native_id, 'ident': thread.ident, 'frames': list(show(frames[thread.ident]))}
        for thread in threading.enumerate() if thread.ident != main
    ]

# Until every thread sleeps: in the right line, and nowhere else after a while.
before, now = None, capture()
while now != before or any(stack['frames'][0][2] != block.__code__.co_firstlineno + 2 for stack in now):
    time.sleep(0.1)
    before, now = now, capture()
print(json.dumps(now), flush=True)
sys.stdin.read()
"#;

#[derive(Deserialize)]
struct Thread {
    native_id: u64,
    ident: u64,
    /// Leaf first: qualname, file name, line, instruction units.
    frames: Vec<(String, String, u32, i32)>,
}

struct Target {
    running: Running,
    interpreter: Interpreter,
    runtime: u64,
    code_type: u64,
}

impl Target {
    fn start(program: &std::path::Path, script: &str) -> Self {
        let running = Running::start(program, script);
        let (interpreter, bias) = running.interpreter();
        Self {
            runtime: bias.avma(interpreter.runtime),
            code_type: bias.avma(interpreter.code_type),
            running,
            interpreter,
        }
    }

    fn layout(&self) -> &Layout {
        &self.interpreter.layout
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        read_memory(self.running.pid, address, bytes).is_ok()
    }

    fn read_word(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        assert!(self.read(address, &mut bytes), "{address:#x}");
        u64::from_le_bytes(bytes)
    }

    fn thread_states(&self) -> Vec<thread_states::ThreadState> {
        let states = thread_states::find(self.layout(), self.runtime, |address, bytes| {
            self.read(address, bytes)
        });
        assert!(states.complete);
        states.found
    }

    fn walk(&self, thread_state: u64) -> Walk {
        let read = |address: u64, bytes: &mut [u8]| self.read(address, bytes);
        frames::walk(self.layout(), thread_state, self.code_type, read)
    }

    /// The frames of a walk as the interpreter shows them, and how many constructor shims it hides.
    fn name(&self, walk: &Walk) -> (Vec<(String, String, u32, i32)>, usize) {
        let mut shims = 0;
        let mut named = Vec::new();
        for frame in walk.frames() {
            let read = |address: u64, bytes: &mut [u8]| self.read(address, bytes);
            assert!(code_object::has_type(
                self.layout(),
                frame.code,
                self.code_type,
                read
            ));
            let code = code_object::read(self.layout(), frame.code, read).unwrap();
            if code.is_shim() {
                shims += 1;
                continue;
            }
            let units = frame.instruction_units;
            let line = line_table::find_line(&code.line_table, code.first_line, units);
            named.push((code.qualname, code.filename, line.unwrap(), units));
        }
        (named, shims)
    }

    fn mappings(&self) -> Vec<Mapping> {
        read_mappings(self.running.pid).unwrap()
    }
}

#[test]
fn frames_lines_and_names_of_blocked_threads_are_those_the_interpreter_shows() {
    for program in interpreters::supported() {
        let target = Target::start(&program, SCRIPT);
        let threads: Vec<Thread> = serde_json::from_str(&target.running.first_line).unwrap();
        assert_eq!(threads.len(), 8);
        let states: BTreeMap<u64, _> = target
            .thread_states()
            .into_iter()
            .map(|state| (state.native_thread_id, state))
            .collect();
        let mappings = target.mappings();
        let (mut frame_count, mut group_count, mut shim_count) = (0, 0, 0);
        for thread in &threads {
            let state = states[&thread.native_id];
            assert_eq!(state.thread_id, thread.ident);
            let walk = target.walk(state.address);
            assert_eq!(walk.end, End::Root, "{}", program.display());
            let (named, shims) = target.name(&walk);
            assert_eq!(named, thread.frames, "{}", program.display());
            check_entries(&walk, state.thread_id, &mappings);
            frame_count += named.len();
            group_count += walk.groups.len();
            shim_count += shims;
        }
        println!(
            "{}: {} threads, {frame_count} frames, {group_count} groups, {shim_count} shims agree",
            program.display(),
            threads.len()
        );
    }
}

/// Every group's address lies on the stack of its thread, and they ascend.
fn check_entries(walk: &Walk, thread_id: u64, mappings: &[Mapping]) {
    let entries: Vec<u64> = walk
        .groups
        .iter()
        .map(|group| group.entry.unwrap())
        .collect();
    assert!(entries.is_sorted_by(|below, above| below < above));
    // glibc puts a thread's control block, which `thread_id` is the address of, at the top of its stack.
    let stack = mappings
        .iter()
        .find(|mapping| mapping.contains(thread_id))
        .unwrap();
    assert!(entries.iter().all(|&entry| stack.contains(entry)));
}

#[test]
fn the_pthread_key_leads_to_the_same_thread_states_as_the_lists() {
    for program in interpreters::supported() {
        let target = Target::start(&program, SCRIPT);
        let (layout, pid) = (target.layout(), target.running.pid);
        let key_address = target.runtime + u64::from(layout.runtime.auto_tss_key);
        let word = |offset: u16| target.read_word(key_address + u64::from(offset)) & 0xffff_ffff;
        assert_eq!(word(layout.tss.is_initialized), 1);
        let key = word(layout.tss.key);
        assert!(
            key < 32,
            "the first keys have their values in the control block itself"
        );
        let states = target.thread_states();
        for state in &states {
            // `struct pthread` of glibc: 16 bytes per key from 784 on, the value after a sequence number.
            let value = target.read_word(state.thread_id + 784 + 16 * key + 8);
            assert_eq!(value, state.address, "{}", program.display());
        }
        let mut ids: Vec<_> = states.iter().map(|state| state.native_thread_id).collect();
        ids.sort_unstable();
        let threads = list_threads(pid).unwrap();
        let own_ids: Vec<_> = threads
            .iter()
            .map(|&tid| read_namespaced_tid(pid, tid).unwrap())
            .map(|Tid(number)| u64::from(number))
            .collect();
        assert_eq!(ids, own_ids);
    }
}

/// A thread that runs a sub-interpreter has two thread states, each with its own frames.
const SUB_INTERPRETER: &str = r#"
import sys, threading, time
try:
    import _interpreters as interpreters
    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    run = interpreters.run_string

def outside():
    run(interpreters.create(), 'def inside():\n    import time\n    time.sleep(1000)\ninside()')
thread = threading.Thread(target=outside, daemon=True)
thread.start()
print(thread.native_id, flush=True)
sys.stdin.read()
"#;

#[test]
fn a_sub_interpreter_on_the_same_thread_has_a_thread_state_of_its_own() {
    for program in interpreters::supported() {
        let target = Target::start(&program, SUB_INTERPRETER);
        let native_id: u64 = target.running.first_line.trim().parse().unwrap();
        let expected = [
            vec!["inside", "<module>"],
            vec![
                "outside",
                "Thread.run",
                "Thread._bootstrap_inner",
                "Thread._bootstrap",
            ],
        ];
        // The thread gets there in its own time, and tells nobody.
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut stacks = stacks_of_thread(&target, native_id);
        while stacks != expected && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
            stacks = stacks_of_thread(&target, native_id);
        }
        assert_eq!(stacks, expected, "{}", program.display());
    }
}

/// The qualnames, leaf first, of each thread state of a thread, sorted. Broken walks are left out.
fn stacks_of_thread(target: &Target, native_id: u64) -> Vec<Vec<String>> {
    let read = |address: u64, bytes: &mut [u8]| target.read(address, bytes);
    let states = thread_states::find(target.layout(), target.runtime, read).found;
    let own = states
        .iter()
        .filter(|state| state.native_thread_id == native_id);
    let walks = own.map(|state| target.walk(state.address));
    let mut stacks: Vec<Vec<String>> = walks
        .filter(|walk| walk.end == End::Root)
        .map(|walk| {
            walk.frames()
                .filter_map(|frame| code_object::read(target.layout(), frame.code, read).ok())
                .map(|code| code.qualname)
                .collect()
        })
        .collect();
    stacks.sort();
    stacks
}

/// A program that never stops, and calls in and out of C all the time.
const BUSY: &str = r#"
import functools, re, sys, threading
class Made:
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
threading.Thread(target=work, daemon=True).start()
print('started', flush=True)
sys.stdin.read()
"#;

#[test]
fn walks_of_a_running_thread_end_and_mostly_reach_its_root() {
    const WALKS: usize = 20_000;
    for program in interpreters::supported() {
        let target = Target::start(&program, BUSY);
        let states = target.thread_states();
        let worker = states
            .iter()
            .find(|state| state.native_thread_id != u64::from(target.running.pid.0))
            .unwrap();
        let complete = (0..WALKS)
            .filter(|_| target.walk(worker.address).end == End::Root)
            .count();
        println!(
            "{}: {complete} of {WALKS} walks reached the root",
            program.display()
        );
        // Nothing stops the thread while we read, so frames do vanish under us.
        assert!(complete > WALKS / 4, "{}", program.display());
    }
}
