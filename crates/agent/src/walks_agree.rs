//! The kernel's native walk against the walk in Rust, of the same registers and the same memory, on live programs.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use viperf_abi::{CaptureRecord, Configuration, Record, SAMPLE_DEFERRED, Word, decode_record};
use viperf_sample::Sampler;
use viperf_unwind::{NativeFrame, Registers, Row, Rule, WalkEnd, find_rule, walk};

use crate::{
    captures::{Captures, StackCopy},
    executables::Executables,
    found::Readers,
    generated_rows::GeneratedRows,
    live_targets::{Target, interpreters, start},
    processes::Processes,
};

/// Callbacks from C, compression, hashing, signals and system calls, so that every kind of rule is met.
const PROGRAM: &str = r"
import functools, hashlib, os, re, signal, zlib
signal.signal(signal.SIGALRM, lambda *_: sum(range(20000)))
signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
data = os.urandom(200000)
def key(x): return functools.reduce(lambda a, b: a ^ b, range(x % 50), x)
while True:
    sorted(range(400), key=key)
    re.sub('a(b)', lambda m: str(key(len(m.group(1)))), 'abab' * 50)
    zlib.compress(data[:50000]); hashlib.sha512(data).digest(); hashlib.md5(data).digest()
    os.listdir('/usr/bin'); '%s %r' % (data[:50], [1.5] * 20)
    os.write(1, b'.')
";

#[test]
fn kernel_and_user_space_walk_the_same_frames() {
    let configuration = Configuration {
        native: 1,
        capture: 1,
        ..Configuration::default()
    };
    let mut sampler = match Sampler::load(configuration, crate::DEFAULT_MAX_MEMORY) {
        Ok(sampler) => sampler,
        Err(error) => {
            return println!("skipped: kernel_and_user_space_walk_the_same_frames: {error}");
        }
    };
    let mut processes = Processes::default();
    let mut executables = Executables::default();
    let targets: Vec<Target> = interpreters()
        .iter()
        .filter_map(|path| start(path, PROGRAM))
        .collect();
    if targets.is_empty() {
        return println!("skipped: kernel_and_user_space_walk_the_same_frames: no python3");
    }
    for target in &targets {
        let mut readers = Readers {
            sampler: &mut sampler,
            executables: &mut executables,
            generated: &mut GeneratedRows::default(),
        };
        processes.track(target.0.id(), &mut readers).unwrap();
    }
    wait_for_all_rows(&mut executables, &mut sampler);
    sampler.attach(Duration::from_millis(1)).unwrap();
    let captures = collect(&mut sampler, Duration::from_secs(4));
    drop(sampler);
    let mut checker = Checker {
        processes,
        executables,
        rows: HashMap::new(),
    };
    let (mut whole, mut copied) = (0, 0);
    for (capture, stack, native) in &captures {
        match checker.check(capture, stack, native) {
            Compared::Prefix => {}
            Compared::Broken => copied += 1,
            Compared::Whole => {
                copied += 1;
                whole += 1;
            }
        }
    }
    println!(
        "{} samples of {} interpreters; of {copied} whose stack was copied far enough, {whole} walked to the root by both",
        captures.len(),
        targets.len()
    );
    assert!(copied > 500, "only {copied} of {} samples", captures.len());
    assert!(
        whole * 100 >= copied * 98,
        "only {whole} of {copied} walked to the root"
    );
}

/// However long that takes on a busy machine.
fn wait_for_all_rows(executables: &mut Executables, sampler: &mut Sampler) {
    while executables.is_building() {
        executables.load_built(sampler);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How far two walks could be compared; where they could be, they were equal.
enum Compared {
    /// The copy of the stack ended, or had a page that was not resident, before the walk did.
    Prefix,
    /// The rows came to an end, at the same frame.
    Broken,
    /// Both came to the root.
    Whole,
}

type Captured = (CaptureRecord, StackCopy, Vec<u64>);

const ENOUGH: usize = 1000;
const LONGEST: Duration = Duration::from_secs(60);

/// Samples with registers and stack, each beside what the kernel made of it.
fn collect(sampler: &mut Sampler, time: Duration) -> Vec<Captured> {
    let mut slots: HashMap<(u32, u32), Vec<u64>> = HashMap::new();
    let mut last: HashMap<u32, Vec<u64>> = HashMap::new();
    let mut parts = Captures::default();
    let mut captures = Vec::new();
    let start = Instant::now();
    // The programs may hardly run on a busy machine.
    while start.elapsed() < time || (captures.len() < ENOUGH && start.elapsed() < LONGEST) {
        for record in sampler
            .poll(Duration::from_millis(50), Vec::new())
            .records()
            .filter_map(decode_record)
        {
            match record {
                Record::Stack { sample, native, .. } => {
                    // A deferred one has no slot.
                    if sample.flags & SAMPLE_DEFERRED == 0 {
                        slots.insert((sample.cpu, sample.slot), native.clone());
                    }
                    last.insert(sample.cpu, native);
                    parts.begin(sample.cpu);
                }
                Record::Sample(sample) => {
                    parts.begin(sample.cpu);
                    last.insert(sample.cpu, slots[&(sample.cpu, sample.slot)].clone());
                }
                Record::Capture { capture, stack } => {
                    if let Some(stack) = parts.take(&capture, stack) {
                        let native = last.remove(&capture.cpu);
                        captures.extend(native.map(|native| (*capture, stack, native)));
                    }
                }
                _ => {}
            }
        }
    }
    captures
}

struct Checker {
    processes: Processes,
    executables: Executables,
    rows: HashMap<u32, Vec<Row>>,
}

impl Checker {
    /// Walks again and compares.
    fn check(&mut self, capture: &CaptureRecord, stack: &StackCopy, native: &[u64]) -> Compared {
        let mappings = self.processes.mappings(capture.tgid).to_vec();
        let read = |address: u64| stack.read(address);
        let find = |address: u64| -> Option<Rule> {
            let mapping = mappings
                .iter()
                .find(|mapping| (mapping.start..mapping.end).contains(&address))?;
            let rows = self.rows.entry(mapping.executable).or_insert_with(|| {
                let built = self
                    .executables
                    .find_mut(mapping.executable)
                    .map(|found| found.build_rows());
                built
                    .unwrap_or_default()
                    .iter()
                    .map(|row| Row {
                        pc: row.pc,
                        rule: Rule(row.rule),
                    })
                    .collect()
            });
            Some(find_rule(
                rows,
                address.wrapping_sub(mapping.load_bias) as u32,
            ))
        };
        let registers = Registers {
            ip: capture.ip,
            sp: capture.sp,
            bp: capture.bp,
            general: Some(capture.registers),
        };
        let (frames, end) = walk(registers, find, read, 512);
        self.compare(&mappings, native, &frames, end)
    }

    fn compare(
        &self,
        mappings: &[viperf_abi::Mapping],
        native: &[u64],
        frames: &[NativeFrame],
        end: WalkEnd,
    ) -> Compared {
        let words: Vec<Word> = native.iter().copied().map(Word::decode).collect();
        let kernel: Vec<u64> = words
            .iter()
            .filter_map(|word| self.lookup_address(mappings, *word))
            .collect();
        let ours: Vec<u64> = frames
            .iter()
            .map(viperf_unwind::NativeFrame::lookup_address)
            .collect();
        if matches!(end, WalkEnd::UnreadableMemory { .. }) {
            assert_eq!(
                kernel.get(..ours.len()),
                Some(ours.as_slice()),
                "kernel {words:?}"
            );
            return Compared::Prefix;
        }
        if end == WalkEnd::Root {
            assert_eq!(kernel, ours, "kernel {words:?}");
            assert!(!words.iter().any(|word| matches!(word, Word::Reason(_))));
            return Compared::Whole;
        }
        // Where rows end, the kernel may still find a way.
        assert_eq!(
            kernel.get(..ours.len()),
            Some(ours.as_slice()),
            "{end:?}, kernel {words:?}"
        );
        Compared::Broken
    }

    fn lookup_address(&self, mappings: &[viperf_abi::Mapping], word: Word) -> Option<u64> {
        match word {
            Word::Native { executable, svma } => {
                let mapping = mappings.iter().find(|mapping| {
                    mapping.executable == executable
                        && (mapping.start..mapping.end)
                            .contains(&svma.wrapping_add(mapping.load_bias))
                });
                mapping.map(|mapping| svma.wrapping_add(mapping.load_bias))
            }
            Word::Address(address) => Some(address),
            _ => None,
        }
    }
}
