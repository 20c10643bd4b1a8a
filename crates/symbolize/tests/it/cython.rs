//! Extensions that Cython writes, if it is installed: `python3 -m pip install cython`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use viperf_symbolize::Symbolizer;

use crate::compiled::path_text;
use crate::oracle;

const SOURCE: &str = "\
def plain(n):
    total = 0
    for i in range(n):
        total += i * i
    return total

def n3_abc_de(n):
    return n

cpdef both(x):
    return x

def häßlich(x):
    return x

class Python:
    def method(self, x):
        return [y for y in range(x)]

cdef class Native:
    cdef double v
    def __init__(self, v):
        self.v = v
    def method_of(self, x):
        return x + self.v
    def _4under(self):
        return 1
";

/// Every function of the module by the name that Python gives it.
const ASK: &str = "
import sys; sys.path.insert(0, sys.argv[1])
import sample
for owner in (sample, sample.Python, sample.Native):
    for name, value in vars(owner).items():
        if callable(value) and not isinstance(value, type) and not name.startswith('__'):
            print('sample.' + getattr(value, '__qualname__', name))
";

/// The module's file, or `None` without Cython or a compiler for it.
fn build() -> Option<TempDir> {
    let folder = TempDir::new().unwrap();
    let text = |name: &str| path_text(&folder.path().join(name)).to_owned();
    fs::write(folder.path().join("sample.pyx"), SOURCE).unwrap();
    let (from, to) = (text("sample.pyx"), text("sample.c"));
    let ask = "import sysconfig; print(sysconfig.get_path('include'))";
    let done = oracle::try_run("cython", &["-3", "--line-directives", "-o", &to, &from])
        && oracle::try_run("python3", &["-c", ask]);
    if !done {
        eprintln!("skipped: Cython: there is no cython, or no python3");
        return None;
    }
    let headers = oracle::run("python3", &["-c", ask]).trim().to_owned();
    if !Path::new(&headers).join("Python.h").exists() {
        eprintln!("skipped: Cython: {headers} has no Python.h");
        return None;
    }
    let library = text("sample.so");
    let mut arguments = vec!["-shared", "-fPIC", "-g", "-O1", "-I", &headers];
    arguments.extend(["-o", &library, &to]);
    oracle::run("gcc", &arguments);
    Some(folder)
}

#[test]
fn functions_of_cython_have_the_names_that_python_gives_them_and_lines_of_the_pyx_file() {
    let Some(folder) = build() else {
        return;
    };
    let library = folder.path().join("sample.so");
    let functions = oracle::functions(&library, &[]);
    let wrappers: Vec<_> = functions
        .iter()
        .filter(|f| {
            ["__pyx_pw_", "__pyx_Upw_"]
                .iter()
                .any(|prefix| f.name.starts_with(prefix))
        })
        .collect();
    let addresses: Vec<u64> = wrappers.iter().map(|f| f.address + f.size / 2).collect();
    let found = Symbolizer::default().symbolize_file(&library, &addresses);
    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
    let names: BTreeSet<&str> = found.iter().map(|symbol| symbol.name.as_str()).collect();

    let asked = Command::new("python3")
        .args(["-c", ASK, path_text(folder.path())])
        .output()
        .unwrap();
    let asked = String::from_utf8(asked.stdout).unwrap();
    assert!(asked.lines().count() >= 7, "{asked}");
    for qualname in asked.lines() {
        assert!(names.contains(qualname), "{qualname} is not in {names:?}");
    }

    let expected = oracle::lines(&library, &addresses);
    for ((symbol, expected), wrapper) in found.iter().zip(expected).zip(&wrappers) {
        let line = symbol.line.map_or("?".to_owned(), |line| line.to_string());
        let place = format!("{}:{line}", symbol.file.as_deref().unwrap_or_default());
        assert_eq!(place, expected, "{}", wrapper.name);
    }
    let plain = wrappers
        .iter()
        .find(|f| f.name.ends_with("_1plain"))
        .unwrap();
    let addresses: Vec<u64> = (plain.address..plain.address + plain.size).collect();
    let found = Symbolizer::default().symbolize_file(&library, &addresses);
    let lines: BTreeSet<u32> = found
        .into_iter()
        .map(Result::unwrap)
        .filter(|symbol| {
            symbol
                .file
                .as_deref()
                .is_some_and(|file| file.ends_with("sample.pyx"))
        })
        .filter_map(|symbol| symbol.line)
        .collect();
    assert!(lines.is_superset(&BTreeSet::from([1, 2, 4])), "{lines:?}");
}
