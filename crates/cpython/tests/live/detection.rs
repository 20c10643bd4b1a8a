//! What ELF files are, against what their interpreters say of themselves.

use viperf_cpython::{Detection, Version, find_layout};

use crate::interpreters::{self, Running};

const SCRIPT: &str = "
import sys
try:
    import sysconfig
    free = bool(sysconfig.get_config_var('Py_GIL_DISABLED'))
except ImportError:
    free = False
sys.stdout.write('%d %d\\n' % (sys.hexversion, free))
sys.stdout.flush()
sys.stdin.read()
";

/// Version, and whether it runs without a GIL.
fn parse(said: &str) -> (Version, bool) {
    let (hex, free_threaded) = said.trim().split_once(' ').unwrap();
    let hex = hex.parse().unwrap();
    (Version { hex }, free_threaded == "1")
}

#[test]
fn every_interpreter_is_found_in_exactly_one_of_its_files_and_knows_its_version() {
    for program in interpreters::all() {
        let name = program.name();
        let running = Running::start(&program.path, SCRIPT);
        let (version, free_threaded) = parse(&running.first_line);
        let layout = find_layout(version, free_threaded);
        let mut detections = running.detections();
        detections.retain(|_, (detection, _)| *detection != Detection::NotPython);
        assert_eq!(detections.len(), 1, "{name}: {detections:?}");
        let (path, (detection, _)) = detections.pop_first().unwrap();
        match detection {
            Detection::Python(interpreter) => {
                assert_eq!(
                    interpreter.version.to_string(),
                    version.to_string(),
                    "{name}"
                );
                assert_eq!(interpreter.layout.free_threaded, free_threaded, "{name}");
                let shape = |layout: viperf_cpython::Layout| (layout.major, layout.minor);
                assert_eq!(layout.map(shape), Some(shape(interpreter.layout)), "{name}");
                println!("{name}: CPython {version} in {}", path.display());
            }
            Detection::Unsupported { what } => {
                assert_eq!(layout, None, "{name}: {what}");
                let minor = format!("CPython {}.{}", version.major(), version.minor());
                assert!(what.starts_with(&minor), "{name}: {what}");
                println!("{name}: {what}");
            }
            Detection::NotPython => unreachable!("left out above"),
        }
    }
}

#[test]
fn the_offsets_that_an_interpreter_gives_of_itself_are_those_of_our_file() {
    for program in interpreters::all() {
        // The objects of a Py_DEBUG build are longer in places.
        if program.debug || !program.is_supported() {
            continue;
        }
        let (interpreter, _) = Running::start(&program.path, SCRIPT).interpreter();
        let mut layout = find_layout(interpreter.version, program.free_threaded).unwrap();
        // The tail of `_PyRuntime` moves between micro versions, and the interpreter itself says where to.
        layout.runtime = interpreter.layout.runtime;
        assert_eq!(interpreter.layout, layout, "{}", program.name());
    }
}
