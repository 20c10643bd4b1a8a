//! One target for some time.

use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

use crate::{Mutator, Target};

/// A read that takes longer has hung. A busy machine is no reason: what took long is read again before it counts.
const LONGEST_READ: Duration = Duration::from_secs(1);

/// A read that is not back by then never will be.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Why a target failed.
#[derive(Debug)]
pub enum Failure {
    /// The reader panicked.
    Panic {
        /// The input.
        input: Vec<u8>,
    },
    /// The reader was too slow, three times over.
    Slow {
        /// The input.
        input: Vec<u8>,
        /// How long the fastest took.
        took: Duration,
    },
    /// The reader allocated too much.
    Allocation {
        /// The input.
        input: Vec<u8>,
        /// Bytes allocated at once.
        bytes: usize,
    },
    /// The reader never came back.
    Hang {
        /// How many inputs before it were read.
        after: u64,
    },
}

impl Failure {
    fn input(&self) -> Option<&[u8]> {
        match self {
            Self::Panic { input } | Self::Slow { input, .. } | Self::Allocation { input, .. } => {
                Some(input)
            }
            Self::Hang { .. } => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { .. } => write!(formatter, "the reader panicked"),
            Self::Slow { took, .. } => write!(formatter, "the reader took {took:?}"),
            Self::Allocation { bytes, .. } => {
                write!(formatter, "the reader allocated {bytes} bytes")
            }
            Self::Hang { after } => write!(formatter, "the reader hangs at input {after}"),
        }
    }
}

/// What a run without a failure has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// How many inputs were read.
    pub inputs: u64,
    /// The longest read.
    pub slowest: Duration,
    /// The most that was allocated at once for one input, in bytes.
    pub most_allocated: usize,
}

/// Reads damaged inputs for so long. `allocator` must be the program's.
///
/// # Errors
///
/// [`Failure`], with the input, which is written to `failures` if it can be.
pub fn run(
    target: &Target,
    time: Duration,
    seed: u64,
    allocator: &'static PeakAlloc,
    failures: &Path,
) -> Result<Summary, Failure> {
    let (progress, seen) = channel();
    let moved = target.clone();
    let worker = thread::spawn(move || {
        let result = read_damaged(&moved, time, seed, allocator, &|count| {
            // The receiver is gone only after a hang.
            let _ = progress.send(count);
        });
        drop(progress);
        result
    });
    let mut last = 0;
    loop {
        match seen.recv_timeout(GIVE_UP) {
            Ok(count) => last = count,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err(Failure::Hang { after: last }),
        }
    }
    // The readers' panics are caught inside.
    let result = worker.join().unwrap_or(Err(Failure::Hang { after: last }));
    if let Err(failure) = &result {
        keep(target, failure, failures);
    }
    result
}

/// The inputs that have failed once.
fn known_inputs(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("inputs")
        .join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .collect()
}

fn read_damaged(
    target: &Target,
    time: Duration,
    seed: u64,
    allocator: &PeakAlloc,
    progress: &dyn Fn(u64),
) -> Result<Summary, Failure> {
    let mut inputs = (target.seeds)();
    inputs.extend(known_inputs(target.name));
    let mut summary = Summary::default();
    let mut mutator = Mutator::new(seed);
    let started = Instant::now();
    for input in &inputs {
        read_once(target, input, allocator, &mut summary)?;
        progress(summary.inputs);
    }
    while started.elapsed() < time {
        let input = mutator.mutate(&inputs);
        read_once(target, &input, allocator, &mut summary)?;
        progress(summary.inputs);
    }
    Ok(summary)
}

fn read_once(
    target: &Target,
    input: &[u8],
    allocator: &PeakAlloc,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let before = allocator.current_usage();
    allocator.reset_peak_usage();
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        // What a panic leaves half done is not looked at again.
        catch_unwind(AssertUnwindSafe(|| (target.read)(input))).map_err(|_panic| {
            Failure::Panic {
                input: input.to_vec(),
            }
        })?;
        fastest = fastest.min(started.elapsed());
        if fastest <= LONGEST_READ {
            break;
        }
    }
    if fastest > LONGEST_READ {
        let (input, took) = (input.to_vec(), fastest);
        return Err(Failure::Slow { input, took });
    }
    let bytes = allocator.peak_usage().saturating_sub(before);
    if bytes > (target.allocation_limit)(input.len()) {
        let input = input.to_vec();
        return Err(Failure::Allocation { input, bytes });
    }
    summary.inputs += 1;
    summary.slowest = summary.slowest.max(fastest);
    summary.most_allocated = summary.most_allocated.max(bytes);
    Ok(())
}

/// Writes the input down, to be looked at.
fn keep(target: &Target, failure: &Failure, folder: &Path) {
    if let Some(input) = failure.input() {
        let name = format!("{}-{:08x}", target.name, crc32fast::hash(input));
        // Without the file the seed still gives the input.
        let _ = fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(name), input));
    }
}
