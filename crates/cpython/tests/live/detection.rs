//! What ELF files are, against what their interpreters say of themselves.

use viperf_cpython::{Detection, Version, find_layout};

use crate::interpreters::{self, Running};

const SCRIPT: &str = "
import sys
sys.stdout.write('%d\\n' % sys.hexversion)
sys.stdout.flush()
sys.stdin.read()
";

#[test]
fn every_interpreter_is_found_in_exactly_one_of_its_files_and_knows_its_version() {
    for program in interpreters::all() {
        let running = Running::start(&program, SCRIPT);
        let version = Version {
            hex: running.first_line.trim().parse().unwrap(),
        };
        let mut detections = running.detections();
        detections.retain(|_, (detection, _)| *detection != Detection::NotPython);
        assert_eq!(detections.len(), 1, "{}: {detections:?}", program.display());
        let (path, (detection, _)) = detections.pop_first().unwrap();
        match detection {
            Detection::Python(interpreter) => {
                assert_eq!(interpreter.version, version);
                assert_eq!(
                    find_layout(version).map(|layout| layout.minor),
                    Some(interpreter.layout.minor)
                );
                println!("{version} in {}: {interpreter:?}", path.display());
            }
            Detection::Unsupported { what } => {
                assert_eq!(find_layout(version), None, "{what}");
                let minor = format!("CPython {}.{}", version.major(), version.minor());
                assert!(what.starts_with(&minor), "{version}: {what}");
                println!("{version} in {}: {what}", path.display());
            }
            Detection::NotPython => unreachable!("left out above"),
        }
    }
}

#[test]
fn the_offsets_that_3_13_gives_of_itself_are_those_of_our_file() {
    for program in interpreters::supported() {
        let (interpreter, _) = Running::start(&program, SCRIPT).interpreter();
        // The tail of `_PyRuntime` moves between micro versions; what we read of it has not, so far.
        assert_eq!(find_layout(interpreter.version), Some(interpreter.layout));
    }
}
