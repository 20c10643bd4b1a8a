//! Layout files, against the compilers that laid the structs out: the debug information of every interpreter of this
//! machine, its headers, and what it says of itself in `_Py_DebugOffsets`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole file is tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use layout_derivation::{
    DebugInformation, Derived, HEADER_PROGRAM, Origin, Version, compiler_arguments,
    debug_file_candidates, differences,
};
use viperf_cpython::{find_layout, parse_debug_offsets};
use viperf_e2e::Interpreter;
use viperf_elf::Image;

/// The file that holds the interpreter: its libpython, or itself.
fn elf_of(interpreter: &Interpreter) -> &Path {
    interpreter.library.as_ref().unwrap_or(&interpreter.binary)
}

fn version_of(interpreter: &Interpreter) -> Version {
    let (major, minor, micro) = interpreter.version;
    Version::parse(&format!("{major}.{minor}.{micro}")).unwrap()
}

/// Every interpreter of a version that has a layout.
static INTERPRETERS: LazyLock<Vec<Interpreter>> = LazyLock::new(|| {
    let mut found = Interpreter::find_all();
    found.retain(Interpreter::is_supported);
    if found.is_empty() {
        println!("skipped: layouts: no Python interpreter on this machine to compare with");
    }
    found
});

/// The types of an interpreter, or why there are none.
fn read_debug_information(interpreter: &Interpreter) -> Result<DebugInformation, String> {
    let elf = elf_of(interpreter).canonicalize().unwrap();
    let candidates = debug_file_candidates(&elf, &fs::read(&elf).unwrap());
    let debug_file = candidates.into_iter().find(|file| file.exists());
    let debug_file = debug_file.ok_or("no debug information")?;
    let information = DebugInformation::parse(&fs::read(debug_file).unwrap()).unwrap();
    match information.has_structure("PyCodeObject") {
        true => Ok(information),
        false => Err("its debug information has no types".to_owned()),
    }
}

/// How many numbers a layout file has, all of which agree; or what does not.
fn compare(derived: &Derived) -> Result<usize, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("layouts");
    let file = folder.join(derived.file_name());
    let ours = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut wrong = differences(&ours, &derived.write()).unwrap();
    wrong.extend(
        derived
            .missing
            .iter()
            .map(|name| format!("not found: {name}")),
    );
    match wrong.is_empty() {
        true => Ok(derived.tables.iter().map(|table| table.lines.len()).sum()),
        false => Err(wrong.join(", ")),
    }
}

/// Prints what came of each comparison and fails if one does not agree.
fn report(results: Vec<(String, Result<usize, String>)>) {
    for (what, result) in &results {
        match result {
            Ok(count) => println!("{what}: {count} of {count} numbers agree"),
            Err(wrong) => println!("{what}: {wrong}"),
        }
    }
    assert!(
        results.iter().all(|(_, result)| result.is_ok()),
        "see above"
    );
}

#[test]
fn every_number_is_what_the_debug_information_says() {
    let mut results = Vec::new();
    for interpreter in &*INTERPRETERS {
        let name = interpreter.name();
        match read_debug_information(interpreter) {
            Err(why) => println!("skipped: layouts/{name}: {why}"),
            Ok(information) => {
                let version = version_of(interpreter);
                let origin = Origin::Interpreter;
                let derived = Derived::from_debug_information(&information, version, origin);
                assert_eq!(derived.free_threaded, interpreter.free_threaded, "{name}");
                results.push((format!("{name}, debug information"), compare(&derived)));
            }
        }
    }
    report(results);
}

/// What members of objects are called in C where that is not their key.
const OBJECT_MEMBERS: [(&str, &str); 3] = [
    ("modules", "imports.modules"),
    ("lv_tag", "long_value.lv_tag"),
    ("ob_digit", "long_value.ob_digit"),
];

/// Compares the offsets of an object layout; tables that are no struct of this version do not count.
fn compare_objects(information: &DebugInformation, name: &str) -> Result<usize, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("object-layouts");
    let text = fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())?;
    let tables: toml::Table = toml::from_str(&text).unwrap();
    let (mut agree, mut wrong) = (0, Vec::new());
    for (structure, keys) in &tables {
        let keys = keys
            .as_table()
            .filter(|_| information.has_structure(structure));
        for (key, ours) in keys.into_iter().flatten() {
            let names = OBJECT_MEMBERS.iter().filter(|(of, _)| of == key);
            let mut names = names.map(|(_, name)| *name).chain([key.as_str()]);
            let field = names.find_map(|name| information.find_field(structure, name));
            let theirs = field.and_then(|field| i64::try_from(field.offset()).ok());
            match theirs == ours.as_integer() {
                true => agree += 1,
                false => wrong.push(format!("{structure}.{key}: {ours}, not {theirs:?}")),
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(agree),
        false => Err(wrong.join(", ")),
    }
}

#[test]
fn every_member_of_an_object_is_where_the_debug_information_says() {
    let mut results = Vec::new();
    for interpreter in &*INTERPRETERS {
        let name = interpreter.name();
        let Ok(information) = read_debug_information(interpreter) else {
            println!("skipped: object-layouts/{name}: no debug information with types");
            continue;
        };
        let (major, minor, _) = interpreter.version;
        let threads = if interpreter.free_threaded { "t" } else { "" };
        let result = compare_objects(&information, &format!("{major}.{minor}{threads}.toml"));
        results.push((format!("{name}, objects"), result));
    }
    report(results);
}

/// Layouts of free-threaded builds, which this machine may not have, from the headers of those with a GIL as well.
#[test]
fn every_number_is_what_a_compiler_makes_of_the_headers() {
    let folder = tempfile::tempdir().unwrap();
    let mut results = Vec::new();
    for interpreter in &*INTERPRETERS {
        let name = interpreter.name();
        if interpreter.include.is_empty() {
            println!("skipped: layouts/{name}: no headers");
            continue;
        }
        let builds: &[bool] = match (interpreter.version >= (3, 13, 0), interpreter.free_threaded) {
            (true, false) => &[false, true],
            (_, free_threaded) => &[free_threaded],
        };
        for &free_threaded in builds {
            let Some(elf) = compile(folder.path(), &interpreter.include, free_threaded) else {
                println!(
                    "skipped: layouts/{name}: no C compiler, or one that cannot read the headers"
                );
                break;
            };
            let information = DebugInformation::parse(&elf).unwrap();
            let version = version_of(interpreter);
            let derived = Derived::from_debug_information(&information, version, Origin::Headers);
            assert_eq!(derived.free_threaded, free_threaded, "{name}");
            let build = if free_threaded {
                "free-threaded"
            } else {
                "GIL"
            };
            results.push((format!("{name}, headers, {build}"), compare(&derived)));
            let objects = compare_objects(&information, &derived.file_name());
            results.push((format!("{name}, headers, {build}, objects"), objects));
        }
    }
    report(results);
}

fn compile(folder: &Path, include: &[PathBuf], free_threaded: bool) -> Option<Vec<u8>> {
    let (source, object) = (folder.join("headers.c"), folder.join("headers.so"));
    fs::write(&source, HEADER_PROGRAM).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(compiler_arguments(include, free_threaded));
    let compiled = compiler.arg("-o").arg(&object).arg(&source).output().ok()?;
    if !compiled.status.success() {
        println!("{}", String::from_utf8_lossy(&compiled.stderr));
        return None;
    }
    Some(fs::read(&object).unwrap())
}

#[test]
fn what_the_interpreter_says_of_itself_agrees_with_the_layout_file() {
    let mut results = Vec::new();
    for interpreter in &*INTERPRETERS {
        let version = version_of(interpreter);
        if (version.major, version.minor) < (3, 13) {
            continue;
        }
        let bytes = fs::read(elf_of(interpreter)).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let runtime = image.section(".PyRuntime").unwrap();
        let table = image.bytes_at(runtime.svma, 1024).unwrap();
        let hex = u32::from_be_bytes([version.major, version.minor, version.micro, 0xf0]);
        let hex = viperf_cpython::Version { hex };
        let layout = find_layout(hex, interpreter.free_threaded).unwrap();
        let found = parse_debug_offsets(table, &layout);
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", interpreter.name()));
        assert_eq!(found, layout, "{}", interpreter.name());
        println!(
            "{}, debug offsets: the layout file agrees",
            interpreter.name()
        );
        results.push(found);
    }
    if results.is_empty() {
        println!("skipped: layouts/debug-offsets: no CPython 3.13 or later on this machine");
    }
}
