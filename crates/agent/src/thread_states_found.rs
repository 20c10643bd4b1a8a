//! Every way to the thread state leads to the same Python frames: the ways are blocked one by one on live programs.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use viperf_abi::{Configuration, LAYOUT_GLIBC_KEYS, PROCESS_PYTHON, Record, Word, decode_record};
use viperf_sample::Sampler;

use crate::{
    executables::Executables,
    found::Readers,
    generated_rows::GeneratedRows,
    live_targets::{Target, interpreters, start},
    processes::Processes,
};

/// One thread that holds the GIL, one that has released it nearly always, one without any Python frame of its own.
const PROGRAM: &str = r"
import hashlib, os, threading
def hashing():
    data = bytes(4000000)
    while True: hashlib.sha256(data).digest()
threading.Thread(target=hashing, daemon=True).start()
os.write(1, b'.')
while True: sum(range(100))
";

#[test]
fn thread_states_are_found_by_key_and_by_the_interpreters_lists() {
    let configuration = Configuration {
        native: 1,
        ..Configuration::default()
    };
    let mut sampler = match Sampler::load(configuration, crate::DEFAULT_MAX_MEMORY) {
        Ok(sampler) => sampler,
        Err(error) => {
            return println!(
                "skipped: thread_states_are_found_by_key_and_by_the_interpreters_lists: {error}"
            );
        }
    };
    sampler.attach(Duration::from_millis(2)).unwrap();
    for python in interpreters() {
        for way in [LAYOUT_GLIBC_KEYS, 0] {
            let Some(target) = start(&python, PROGRAM) else {
                continue;
            };
            let Some(threads) = sample_threads(&mut sampler, &target, way) else {
                println!("{}: no layout", python.display());
                continue;
            };
            let found = threads
                .values()
                .filter(|found| found.with_python * 100 >= found.samples * 98);
            assert_eq!(
                found.count(),
                2,
                "{} by way {way}: {threads:?}",
                python.display()
            );
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    samples: usize,
    with_python: usize,
}

/// Samples per thread, and how many of them have Python frames. `None` when it is no Python that can be read.
fn sample_threads(sampler: &mut Sampler, target: &Target, way: u32) -> Option<HashMap<u32, Found>> {
    let pid = target.0.id();
    let (mut processes, mut executables) = (Processes::default(), Executables::default());
    let mut readers = Readers {
        sampler: &mut *sampler,
        executables: &mut executables,
        generated: &mut GeneratedRows::default(),
    };
    processes.track(pid, &mut readers).unwrap();
    let mut kernel = processes.kernel(pid)?;
    if kernel.flags & PROCESS_PYTHON == 0 {
        return None;
    }
    kernel.layout.flags = kernel.layout.flags & !LAYOUT_GLIBC_KEYS | way;
    kernel.layout.thread_state_tls = 0;
    // Of its own, so that no stack is taken for one that was sent before.
    kernel.epoch = pid;
    sampler.add_process(pid, &kernel).unwrap();
    let mut threads: HashMap<u32, Found> = HashMap::new();
    let mut python_slots: HashSet<(u32, u32)> = HashSet::new();
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        let polled = sampler.poll(Duration::from_millis(50), Vec::new());
        for record in polled.records().filter_map(decode_record) {
            let sample = match record {
                Record::Stack { sample, python, .. } => {
                    let has_python = python
                        .iter()
                        .any(|word| matches!(Word::decode(*word), Word::Python { .. }));
                    python_slots.remove(&(sample.cpu, sample.slot));
                    if has_python {
                        python_slots.insert((sample.cpu, sample.slot));
                    }
                    sample
                }
                Record::Sample(sample) => sample,
                _ => continue,
            };
            if sample.epoch == pid {
                let found = threads.entry(sample.tid).or_default();
                found.samples += 1;
                found.with_python += usize::from(python_slots.contains(&(sample.cpu, sample.slot)));
            }
        }
    }
    sampler.remove_process(pid);
    Some(threads)
}
