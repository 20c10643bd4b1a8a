//! Names of methods and threads, against the interpreters that gave them.
//!
//! Each interpreter of this machine runs `names/methods.py` and `names/threads.py`, says what it calls its own methods
//! and threads, and where they are; each answer is compared with what we read of its memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole file is tests")]

use std::{
    cell::Cell,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde::{Deserialize, de::DeserializeOwned};
use viperf_cpython::{
    Layout, ObjectLayout, ThreadName, Version, find_class_name, find_layout, find_object_layout,
    find_qualname, read_thread_names,
};
use viperf_e2e::Interpreter;
use viperf_process::Pid;

const METHODS: &str = include_str!("names/methods.py");
const THREADS: &str = include_str!("names/threads.py");

/// How often names are read while threads come and go.
const READS: u32 = 500;

/// What `methods.py` prints; there its fields are described.
#[derive(Deserialize)]
struct Methods {
    hex: u32,
    pid: u32,
    free_threaded: bool,
    examples: Vec<(u64, u64, String, Vec<String>)>,
    library: Vec<(u64, u64, String, Vec<String>)>,
    classes: Vec<(u64, String)>,
}

/// What `threads.py` prints; there its fields are described.
#[derive(Deserialize)]
struct Threads {
    hex: u32,
    pid: u32,
    free_threaded: bool,
    interpreter: u64,
    runtime: u64,
    threads: Vec<(u64, String)>,
}

/// A script that has printed its line and waits.
struct Running<T> {
    said: T,
    child: Child,
}

impl<T: DeserializeOwned> Running<T> {
    fn start(program: &Path, script: &str, argument: &str) -> Self {
        let mut child = Command::new(program)
            .args(["-c", script, argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let said = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { said, child }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn layouts(hex: u32, free_threaded: bool) -> Option<(Layout, ObjectLayout)> {
    let layout = find_layout(Version { hex }, free_threaded)?;
    let objects = find_object_layout(&layout)?;
    Some((layout, objects))
}

/// Reads a process's memory and counts how often.
fn read_memory(pid: u32, reads: &Cell<u32>) -> impl FnMut(u64, &mut [u8]) -> bool {
    move |address, bytes| {
        reads.set(reads.get() + 1);
        viperf_process::read_memory(Pid(pid), address, bytes).is_ok()
    }
}

/// Runs `check` with every interpreter; it says what it did, or `None` for a version that nothing is known of.
fn with_each_interpreter(check: impl Fn(&Path) -> Option<String>) {
    let programs = find_interpreters();
    if programs.is_empty() {
        println!("skipped: no Python interpreter on this machine to compare names with");
    }
    for program in programs {
        match check(&program) {
            Some(said) => println!("{said} ({})", program.display()),
            None => println!("skipped: no layout for {}", program.display()),
        }
    }
}

#[test]
fn methods_have_the_names_that_their_interpreters_give_them() {
    with_each_interpreter(|program| {
        let running = Running::<Methods>::start(program, METHODS, "");
        let said = &running.said;
        let (layout, objects) = layouts(said.hex, said.free_threaded)?;
        let version = Version { hex: said.hex };
        for (class, name) in &said.classes {
            let reads = Cell::new(0);
            let found = find_class_name(&layout, &objects, *class, read_memory(said.pid, &reads));
            assert_eq!(found.as_ref(), Some(name), "{version}");
        }
        if layout.code.qualname.is_some() {
            return Some(format!("{version}: {} classes", said.classes.len()));
        }
        let mut most_reads = 0;
        let mut wrong = Vec::new();
        let mut named = 0;
        for (class, code, co_name, right) in said.examples.iter().chain(&said.library) {
            let reads = Cell::new(0);
            let read_memory = read_memory(said.pid, &reads);
            let found = find_qualname(&layout, &objects, *class, *code, co_name, read_memory);
            let is_right = match &found {
                Some(found) => right.contains(found),
                None => right.is_empty(),
            };
            if !is_right {
                wrong.push(format!("{co_name}: {found:?} instead of {right:?}"));
            }
            named += usize::from(found.is_some());
            if !co_name.contains("last") {
                most_reads = most_reads.max(reads.get());
            }
        }
        let count = said.examples.len() + said.library.len();
        assert!(
            wrong.is_empty(),
            "{version}: {} of {count} wrong: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(20)]
        );
        assert!(
            said.examples.len() > 40 && said.library.len() > 5_000,
            "{version}: {count}"
        );
        Some(format!(
            "{version}: {count} methods, {named} with a name, at most {most_reads} reads"
        ))
    });
}

fn read_names(said: &Threads, layout: &Layout, objects: &ObjectLayout) -> (Vec<ThreadName>, u32) {
    let reads = Cell::new(0);
    let look = || read_memory(said.pid, &reads);
    let names = read_thread_names(layout, objects, said.interpreter, look);
    (names, reads.get())
}

#[test]
fn threads_have_the_names_that_their_interpreters_give_them() {
    with_each_interpreter(|program| {
        let running = Running::<Threads>::start(program, THREADS, "");
        let said = &running.said;
        let (layout, objects) = layouts(said.hex, said.free_threaded)?;
        let version = Version { hex: said.hex };
        let mut table = vec![0; 1024];
        let mut all = vec![objects.clone()];
        if viperf_process::read_memory(Pid(said.pid), said.runtime, &mut table).is_ok() {
            all.push(objects.with_debug_offsets(&table));
        }
        assert_eq!(all.len(), if said.runtime == 0 { 1 } else { 2 });
        let mut most_reads = 0;
        for objects in &all {
            let (names, reads) = read_names(said, &layout, objects);
            let mut found: Vec<_> = names
                .into_iter()
                .map(|name| (name.thread_id, name.name))
                .collect();
            found.sort();
            assert!(said.threads.len() > 1_100, "{version}");
            assert_eq!(found, said.threads, "{version}");
            most_reads = reads;
        }
        Some(format!(
            "{version}: {} threads, {most_reads} reads",
            said.threads.len()
        ))
    });
}

#[test]
fn a_name_read_while_threads_come_and_go_is_never_that_of_another_thread() {
    with_each_interpreter(|program| {
        let running = Running::<Threads>::start(program, THREADS, "flutter");
        let said = &running.said;
        let (layout, objects) = layouts(said.hex, said.free_threaded)?;
        let mut named = 0;
        let mut empty = 0;
        // Where there are many threads, few of them may have come as far as to name themselves.
        let mut reads = 0;
        while reads < READS || named == 0 && reads < 10 * READS {
            reads += 1;
            let (names, _) = read_names(said, &layout, &objects);
            empty += u32::from(names.is_empty());
            for ThreadName { thread_id, name } in names {
                let known = ["MainThread", "flutter", "new"].contains(&name.as_str());
                assert!(
                    known || name == thread_id.to_string(),
                    "{thread_id} {name:?}"
                );
                named += u32::from(!known);
            }
        }
        let version = Version { hex: said.hex };
        assert!(named > 0 && empty < reads / 2, "{version}: {named} {empty}");
        Some(format!(
            "{version}: {named} short-lived threads named, {empty} of {reads} reads without any"
        ))
    });
}

#[test]
fn an_interpreter_without_threading_has_no_thread_names() {
    const SCRIPT: &str = "import ctypes, sys, os\n\
        head = ctypes.pythonapi.PyInterpreterState_Head\n\
        head.restype = ctypes.c_void_p\n\
        sys.modules.pop('threading', None)\n\
        flag = 'true' if 't' in getattr(sys, 'abiflags', '') else 'false'\n\
        print('{\"hex\": %d, \"pid\": %d, \"free_threaded\": %s, \"interpreter\": %d, \"runtime\": 0, \"threads\": []}'\n\
        % (sys.hexversion, os.getpid(), flag, head()))\n\
        sys.stdout.flush()\n\
        sys.stdin.readline()";
    with_each_interpreter(|program| {
        let running = Running::<Threads>::start(program, SCRIPT, "");
        let said = &running.said;
        let (layout, objects) = layouts(said.hex, said.free_threaded)?;
        assert_eq!(read_names(said, &layout, &objects).0, []);
        Some(format!("{}: no names", Version { hex: said.hex }))
    });
}

/// One of each version, by path.
fn find_interpreters() -> Vec<PathBuf> {
    let found = Interpreter::find_one_of_each();
    found
        .into_iter()
        .map(|interpreter| interpreter.path)
        .collect()
}
