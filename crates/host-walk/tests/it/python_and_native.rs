//! Both walks over interpreters that gdb has stopped in a function of C that Python calls, from callbacks of other functions of
//! C: native frames as gdb sees them, the Python frames of the script, and each run of these with the call that runs it.

use viperf_abi::{PROCESS_PYTHON, PROCESS_READ, Process, Word};
use viperf_cpython::{Detection, detect};
use viperf_elf::Image;
use viperf_host_walk::{Files, Sample, Walker};

use crate::{
    interpreters,
    layout::{CLibrary, for_kernel},
    recording::{
        Opened, Recording, Stop, Tables, addresses, cfas, gdb_runs_programs, lookup_addresses,
    },
    session::decode,
};

const SCRIPT: &str = "
import functools, os, re
def leaf():
    return os.getppid()
def key(x):
    leaf()
    return x
class Shown(object):
    def __repr__(self):
        leaf()
        return ''
def main():
    sorted([1], key=key)
    functools.reduce(lambda a, b: leaf(), [1, 2])
    repr([Shown()])
    re.sub('x', lambda match: str(leaf()), 'x')
main()
";

/// What is on the Python stack at each call of getppid(2), by the last parts of the names.
const STACKS: [&str; 4] = [
    "leaf key main <module>",
    "leaf <lambda> main <module>",
    "leaf __repr__ main <module>",
    "leaf <lambda> sub main <module>",
];

/// The process as user space would describe it to the kernel.
fn process(opened: &Opened<'_>, files: &Files) -> Option<Process> {
    let mapped = opened.mappings.iter().filter(|mapping| mapping.executable);
    mapped
        .filter_map(|mapping| Some((mapping, opened.file(mapping)?)))
        .find_map(|(mapping, bytes)| {
            let image = Image::parse(&bytes).unwrap();
            let Detection::Python(interpreter) = detect(&image) else {
                return None;
            };
            let bias = image.load_bias(mapping.start, mapping.file_offset).unwrap();
            let offset = interpreter.static_thread_state_offset;
            let of_mapping = |one: &&viperf_abi::Mapping| one.start == mapping.start;
            Some(Process {
                epoch: 1,
                flags: PROCESS_READ | PROCESS_PYTHON,
                mapping_count: files.mappings.len() as u32,
                runtime: bias.avma(interpreter.runtime),
                code_type: bias.avma(interpreter.code_type),
                interpreter: files.mappings.iter().find(of_mapping)?.executable,
                layout: for_kernel(&interpreter.layout, offset, CLibrary::Glibc).unwrap(),
                ..Process::default()
            })
        })
}

/// The last parts of the names of the Python frames, leaf first.
fn names(sample: &Sample) -> String {
    let names = sample.python.iter().filter_map(|word| match word {
        Word::Python { code, .. } => {
            let mut definitions = sample.definitions.iter();
            let definition = definitions.find(|one| one.code.id == *code)?;
            let name = decode(definition.code.qualname());
            let is_shim = definition.code.flags & viperf_abi::CODE_SHIM != 0;
            (!is_shim).then(|| name.rsplit('.').next().unwrap_or_default().to_owned())
        }
        _ => None,
    });
    names.collect::<Vec<_>>().join(" ")
}

fn owners_of_runs(sample: &Sample) -> Vec<usize> {
    let owner = |word: &Word| match word {
        Word::Entry { owner } => Some(usize::from(owner.expect("each run has an owner"))),
        _ => None,
    };
    sample.python.iter().filter_map(owner).collect()
}

/// The native frames that run Python frames are calls of eval: the same number of them, each once. As from 3.11 on a function of
/// Python that calls another one needs none: each of the stacks has two, that of the script and that of the callback. Before,
/// each Python frame has one, and before 3.10 the kernel leaves it to user space to say which.
fn check_owners(stop: &Stop, sample: &Sample, program: &viperf_e2e::Interpreter) -> usize {
    let name = program.name();
    let owners = owners_of_runs(sample);
    let python_frames = names(sample).split(' ').count();
    let calls = match program.version >= (3, 11, 0) {
        true => 2,
        false => python_frames,
    };
    let has_owners = program.version >= (3, 10, 0);
    let expected = if has_owners { calls } else { 0 };
    assert_eq!(owners.len(), expected, "{name}: {:?}", sample.python);
    // Without symbols, or with a function for each instruction, gdb has no such name.
    let eval = match program.version >= (3, 6, 0) {
        true => "_PyEval_EvalFrameDefault",
        false => "PyEval_EvalFrameEx",
    };
    let is_eval = |index: &usize| stop.frames[*index].3.contains(eval);
    let evals: Vec<usize> = (0..stop.frames.len()).filter(is_eval).collect();
    if !evals.is_empty() {
        assert_eq!(evals.len(), calls, "{name}: {:?}", sample.native);
        assert!(
            !has_owners || owners == evals,
            "{name}: {:?}",
            sample.python
        );
    }
    evals.len()
}

#[test]
fn native_and_python_frames_of_stopped_interpreters_are_those_of_gdb_and_of_the_script() {
    if !gdb_runs_programs() {
        return println!("skipped: there is no gdb with Python that can run a program");
    }
    let mut versions = Vec::new();
    for program in interpreters::all() {
        let version = (program.version.0, program.version.1, program.free_threaded);
        let is_new = !versions.contains(&version);
        if !is_new || !program.is_supported() || program.musl || program.in_container() {
            continue;
        }
        versions.push(version);
        let name = program.name();
        let binary = program.path.to_str().unwrap();
        let recording = Recording::of(&[binary, "-S", "-E", "-c", SCRIPT], "getppid", 3);
        let mut tables = Tables::default();
        // One that has seen all stops before, and remembers the rules of their calls, and the functions.
        let mut knowing = Walker::new();
        let mut begun = 0;
        let (mut frames, mut evals) = (0, 0);
        for stop in &recording.stops {
            begun += usize::from(stop.step == 0);
            let opened = recording.open(stop);
            let files = tables.files_of(&opened);
            let process = process(&opened, files).unwrap();
            let mut sample = |walker: &mut Walker| {
                let read = |address: u64, bytes: &mut [u8]| opened.read(address, bytes);
                let mut process = process;
                walker.sample(&mut process, files, &stop.registers(), read)
            };
            let again = sample(&mut knowing);
            let sample = sample(&mut Walker::new());
            let walked: Vec<u64> = addresses(files, &sample.native)
                .into_iter()
                .map(|word| word.unwrap_or(0))
                .collect();
            let expected = lookup_addresses(&stop.frames);
            assert_eq!(walked, expected, "{name}: {:x?}", sample.native);
            assert_eq!(names(&sample), STACKS[begun - 1], "{name}");
            evals += check_owners(stop, &sample, program);
            assert_eq!(again.native, sample.native, "{name}");
            assert_eq!(cfas(&again), cfas(&sample), "{name}");
            assert_eq!(owners_of_runs(&again), owners_of_runs(&sample), "{name}");
            frames += walked.len();
        }
        assert_eq!(begun, STACKS.len(), "{name}");
        println!(
            "{name}: {} stops, {frames} native frames as gdb, {evals} calls of eval as gdb",
            recording.stops.len()
        );
    }
}
