//! Code that a process generates: trampolines of `python -X perf` and a jitdump.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use viperf_symbolize::{GeneratedCode, NoSymbol};

/// Maps a file that a just-in-time compiler could have written, says so, and waits.
const DUMPING: &str = r#"
import ctypes, mmap, os, struct, sys
path = os.path.join(sys.argv[1], f"jit-{os.getpid()}.dump")
load = struct.pack("<IIQQQQ", 1, 1, 0x1000, 0x1000, 0x20, 0) + b"jitted\0" + b"\x90" * 0x2000
record = lambda kind, body: struct.pack("<IIQ", kind, 16 + len(body), 1) + body
with open(path, "w+b") as file:
    file.write(struct.pack("<IIIIIIQQ", 0x4A695444, 1, 40, 62, 0, os.getpid(), 1, 0) + record(0, load))
    file.flush()
    marker = mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
    print("ready", flush=True)
    sys.stdin.readline()
    later = struct.pack("<IIQQQQ", 1, 1, 0x3000, 0x3000, 0x20, 1) + b"later\0" + b"\x90" * 0x20
    file.write(record(0, later)); file.flush()
    print("more", flush=True)
    sys.stdin.readline()
"#;

const TRAMPOLINES: &str = r#"
import sys
def work(): return sum(range(10))
class Account:
    def total(self): return work()
Account().total()
print("ready", flush=True)
sys.stdin.readline()
"#;

/// A Python 3 whose minor version is `wanted`.
fn find_python(wanted: impl Fn(u32) -> bool) -> Option<&'static str> {
    let minor = |python: &str| {
        let ask = "import sys; print(sys.version_info[1])";
        let output = Command::new(python).args(["-c", ask]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let names = ["python3", "python3.14", "python3.13", "python3.12"];
    names
        .into_iter()
        .find(|python| minor(python).is_some_and(&wanted))
}

struct Program {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Program {
    /// Starts it, and waits for its first line.
    fn start(python: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { child, output };
        assert_eq!(program.line(), "ready");
        program
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn tell(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_jitdump_is_found_by_its_mapping_read_again_when_it_grows_and_kept_after_the_end() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let Some(python) = find_python(|_| true) else {
        eprintln!("skipped: jitdump: there is no python3");
        return;
    };
    let mut program = Program::start(python, &["-c", DUMPING, path]);
    let mut code = GeneratedCode::of_process(program.child.id());
    code.refresh();
    assert_eq!(code.find(0x101f).unwrap().name, "jitted");
    assert_eq!(code.find(0x1020), Err(NoSymbol::NoSymbolAtAddress));
    program.tell();
    assert_eq!(program.line(), "more");
    drop(program);
    fs::remove_dir_all(folder.path()).unwrap();
    // The process and its file are gone; what it wrote last is read through the file that was opened before.
    code.refresh();
    assert_eq!(code.find(0x3000).unwrap().name, "later");
    assert_eq!(code.find(0x1000).unwrap().name, "jitted");
}

#[test]
fn trampolines_of_python_have_the_names_of_their_functions() {
    let Some(python) = find_python(|minor| minor >= 12) else {
        eprintln!("skipped: -X perf: there is no python3.12 or later");
        return;
    };
    let program = Program::start(python, &["-X", "perf", "-c", TRAMPOLINES]);
    let pid = program.child.id();
    let map = format!("/tmp/perf-{pid}.map");
    let mut code = GeneratedCode::of_process(pid);
    code.refresh();
    let text = fs::read_to_string(&map).unwrap();
    drop(program);
    fs::remove_file(&map).unwrap();
    // The lines of the map itself, taken apart in the plainest way.
    let (mut names, mut compared) = (Vec::new(), 0);
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let start = u64::from_str_radix(words[0].trim_start_matches("0x"), 16).unwrap();
        let found = code.find(start).unwrap();
        assert_eq!(
            format!("{}:{}", found.name, found.file.as_deref().unwrap()),
            words[2]
        );
        names.push(found.name);
        compared += 1;
    }
    assert!(compared > 3, "{text}");
    for expected in ["py::work", "py::Account.total"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
}
