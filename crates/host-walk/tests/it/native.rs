//! The native walk over the registers and the memory of programs that gdb has stopped, against gdb's frames.
//!
//! gdb reads the files' call frame information itself, follows all registers, and looks at the instructions where there is
//! none. Stops are at breakpoints and at each instruction behind them, so that they are the same in every run.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use viperf_abi::{PROCESS_READ, Process, Word};
use viperf_host_walk::{Sample, Walker};

use crate::recording::{
    Frame, Opened, Recording, Stop, Tables, addresses, cfas, gdb_runs_programs, lookup_addresses,
};

/// How compilers are asked to build the places.
const BUILDS: [&[&str]; 5] = [
    &["-O0"],
    &["-O2"],
    // Lazily linked, with an entry of the linkage table that is split in two.
    &[
        "-O2",
        "-fno-omit-frame-pointer",
        "-fcf-protection",
        "-Wl,-z,lazy",
    ],
    &["-Os", "-no-pie", "-fcf-protection=none", "-Wl,-z,lazy"],
    &["-O3", "-static"],
];

/// Where one stack is exchanged for another: the file's table speaks of the one to come, the return address on the stack of
/// the one that goes.
const EXCHANGING: [&str; 3] = ["setcontext", "swapcontext", "__start_context"];

/// lea -8(%r10),%rsp, and ret: what comes behind `leave` in functions that realign their stack after an alloca.
const END_OF_REALIGNED: [&[u8]; 2] = [&[0x49, 0x8d, 0x62, 0xf8], &[0xc3]];

/// What may be otherwise than gdb says at a stop.
enum Allowed {
    Nothing,
    /// An end with a reason: glibc's older tables do not say that a context's stack begins in `__start_context`.
    Reason,
    /// All but an endless walk.
    Anything,
}

/// Behind `leave` in a function that has realigned its stack, gcc still says that the caller's rbp is where rbp points to, and
/// gdb believes it: the callers are those that it has seen one instruction before.
fn is_behind_leave(stop: &Stop, opened: &Opened<'_>) -> bool {
    let leaf = &stop.frames[0];
    let mut code = [0; 4];
    opened.read(leaf.1, &mut code);
    leaf.3.starts_with("is_realigned") && END_OF_REALIGNED.iter().any(|end| code.starts_with(end))
}

fn allowed(stop: &Stop) -> Allowed {
    let leaf = &stop.frames[0];
    if EXCHANGING.iter().any(|name| leaf.3.contains(name)) {
        return Allowed::Anything;
    }
    match stop.frames.iter().any(|frame| frame.3 == "in_context") {
        true => Allowed::Reason,
        false => Allowed::Nothing,
    }
}

/// What became of the stops of one recording.
#[derive(Default)]
struct Tally {
    stops: usize,
    frames: usize,
    /// To the root, frame by frame.
    whole: usize,
    /// Otherwise than gdb says, by function.
    otherwise: BTreeMap<String, usize>,
    behind_leave: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn compare(
        &mut self,
        stop: &Stop,
        of_gdb: &[Frame],
        walked: &[Result<u64, Word>],
        sample: &Sample,
    ) {
        self.stops += 1;
        let expected = lookup_addresses(of_gdb);
        let frames: Vec<u64> = walked.iter().map_while(|word| word.ok()).collect();
        let reason = walked.get(frames.len());
        // The CFA of a frame is its caller's rsp; that of a signal's frame is elsewhere, for the stack can be another one.
        let cfas_agree = of_gdb
            .windows(2)
            .zip(&sample.cfas)
            .take(frames.len().saturating_sub(1))
            .all(|(pair, cfa)| pair[0].is_signal() || pair[1].2 == *cfa);
        if cfas_agree && reason.is_none() && frames == expected {
            self.whole += 1;
            self.frames += frames.len();
            return;
        }
        let leaf = of_gdb[0].3.clone();
        *self.otherwise.entry(leaf).or_default() += 1;
        let is_allowed = match allowed(stop) {
            Allowed::Nothing => false,
            Allowed::Reason => cfas_agree && reason.is_some() && expected.starts_with(&frames),
            Allowed::Anything => true,
        };
        if !is_allowed {
            self.wrong.push(format!(
                "{} instructions behind, in {}: {} frames, then {reason:?}\n  gdb    {expected:x?}\n  walked {frames:x?}",
                stop.step,
                stop.frames[0].3,
                frames.len(),
            ));
        }
    }
}

fn compare_all(recording: &Recording, tables: &mut Tables) -> Tally {
    let mut tally = Tally::default();
    // One that has seen all stops before, and remembers the rules of their calls.
    let mut knowing = Walker::new();
    let mut before: &[Frame] = &[];
    for stop in &recording.stops {
        let opened = recording.open(stop);
        let mut expected = stop.frames.clone();
        if is_behind_leave(stop, &opened) {
            assert_eq!(before[0].3, expected[0].3, "another function's end");
            expected.splice(1.., before[1..].iter().cloned());
            tally.behind_leave += 1;
        } else {
            before = &stop.frames;
        }
        let files = tables.files_of(&opened);
        let mut process = Process {
            epoch: 1,
            flags: PROCESS_READ,
            mapping_count: files.mappings.len() as u32,
            ..Process::default()
        };
        let registers = stop.registers();
        let mut sample = |walker: &mut Walker| {
            walker.sample(&mut process, files, &registers, |address, bytes| {
                opened.read(address, bytes)
            })
        };
        let first = sample(&mut Walker::new());
        let again = sample(&mut knowing);
        assert_eq!(first.native, again.native, "{}", stop.step);
        assert_eq!(cfas(&first), cfas(&again), "{}", stop.step);
        tally.compare(stop, &expected, &addresses(files, &first.native), &first);
    }
    tally
}

/// The program of `stopped/places.c`, or `None` where it cannot be built so.
fn build_places(folder: &tempfile::TempDir, options: &[&str]) -> Option<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/stopped/places.c");
    let program = folder.path().join("places");
    let status = Command::new("gcc")
        .args(options)
        .args(["-pthread", "-o"])
        .arg(&program)
        .arg(source)
        .status();
    status
        .is_ok_and(|status| status.success())
        .then_some(program)
}

#[test]
fn at_every_instruction_of_hard_places_the_frames_are_those_of_gdb() {
    if !gdb_runs_programs() {
        return println!("skipped: there is no gdb with Python that can run a program");
    }
    for options in BUILDS {
        let folder = tempfile::tempdir().unwrap();
        let Some(program) = build_places(&folder, options) else {
            println!("skipped: gcc cannot build with {options:?}");
            continue;
        };
        // Files of other builds have the same path.
        let mut tables = Tables::default();
        let recording = Recording::of(&[program.to_str().unwrap()], "*here", 40);
        fs::remove_file(&program).unwrap();
        let tally = compare_all(&recording, &mut tables);
        println!(
            "{options:?}: {} of {} stops to the root as gdb, {} frames, {} behind leave; otherwise: {:?}",
            tally.whole, tally.stops, tally.frames, tally.behind_leave, tally.otherwise
        );
        assert!(
            tally.wrong.is_empty(),
            "{options:?}: {} are wrong\n{}",
            tally.wrong.len(),
            tally.wrong.join("\n")
        );
        assert!(
            tally.whole * 10 > tally.stops * 8,
            "{options:?}: {}",
            tally.whole
        );
    }
}
