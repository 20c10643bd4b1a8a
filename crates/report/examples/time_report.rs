//! How long a report and a comparison take: `cargo run --release -p viperf-report --example time_report -- 1000000 200000`.

use std::time::Instant;

use viperf_profile::{
    Filter, Frame, FrameHandle, FrameKind, Function, Library, Normalization, Process, Profile,
    Sample, StackHandle, Thread, ThreadHandle, filter, merge,
};
use viperf_report::{
    Calls, DiffOptions, DiffReport, Direction, Report, ReportError, ReportOptions, Source, Style,
};

const FUNCTIONS: u32 = 20_000;
const THREADS: u32 = 16;
const DEEPEST: u64 = 40;

fn main() -> Result<(), ReportError> {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok());
    let samples = numbers.next().unwrap_or(1_000_000);
    let stacks = numbers.next().unwrap_or(200_000);
    let base = timed("make", || made_up(samples, stacks, 1));
    println!(
        "{} samples, {stacks} stacks ({} with their callers), {} functions",
        base.samples.len(),
        base.stacks.len(),
        base.functions.len()
    );
    let hidden = Filter {
        hidden: vec![FrameKind::Interpreter],
        ..Filter::default()
    };
    let base = timed("hide", || filter(base, &hidden))?;
    let options = ReportOptions::default();
    let report = timed("report", || Report::new(&base, &options))?;
    let text = timed("text", || report.text(&Style::default()));
    println!("  {} bytes", text.len());
    timed("callers", || {
        Calls::new(&base, Direction::Callers, "function_7", &options)
    })?;
    timed("source", || Source::new(&base, "module_7.py"))?;
    let new = filter(made_up(samples, stacks, 2), &hidden)?;
    timed("merge", || merge([&base, &new]))?;
    for normalization in [Normalization::Samples, Normalization::Time] {
        let options = DiffOptions {
            normalization,
            ..DiffOptions::default()
        };
        let diff = timed("diff", || DiffReport::new(&base, &new, &options))?;
        println!(
            "  {} of {} functions, {} of {} stacks changed",
            diff.functions_changed,
            diff.functions_compared,
            diff.stacks_changed,
            diff.stacks_compared
        );
    }
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let done = work();
    println!(
        "{what:<8} {:>8.3} s, {:>8.3} s of CPU",
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu
    );
    done
}

/// What this process's one thread has used; 0 when the kernel does not tell.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}

/// Random stacks over a made-up program; the samples prefer some of them.
fn made_up(samples: u64, stacks: u64, seed: u64) -> Profile {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut profile = Profile::default();
    let threads = add_threads(&mut profile);
    let frames = add_frames(&mut profile);
    let stacks = add_stacks(&mut profile, &frames, stacks, &mut random);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let pick = |random: &mut Random| {
        // The smaller of two numbers: some stacks are met often, most of them rarely.
        let least = random.below(stacks.len() as u64);
        least.min(random.below(stacks.len() as u64)) as usize
    };
    for number in 0..samples {
        let thread = threads.get(random.below(u64::from(THREADS)) as usize);
        let (Some(stack), Some(thread)) = (stacks.get(pick(&mut random)), thread) else {
            continue;
        };
        profile.samples.push(Sample {
            time_ns: number * 62_500,
            weight_ns: 1_000_000,
            cpu: 0,
            thread: *thread,
            stack: *stack,
            complete: true,
        });
    }
    profile.information.duration_ns = samples * 62_500;
    profile
}

fn add_threads(profile: &mut Profile) -> Vec<ThreadHandle> {
    let name = profile.strings.intern("python3");
    let process = profile.processes.intern(Process::new(1, name, name));
    (1..=THREADS)
        .map(|tid| profile.threads.intern(Thread { process, tid, name }))
        .collect()
}

fn add_frames(profile: &mut Profile) -> Vec<FrameHandle> {
    let mut frames = Vec::new();
    for number in 0..FUNCTIONS {
        let name = profile.strings.intern(&format!("function_{number}"));
        let folder = match number % 3 {
            0 => "/srv/app",
            1 => "/usr/lib/python3.12/site-packages/framework",
            _ => "/usr/lib/python3.12",
        };
        let file = profile
            .strings
            .intern(&format!("{folder}/module_{}.py", number % 500));
        let library = profile
            .strings
            .intern(&format!("library_{}.so", number % 40));
        let library = profile.libraries.intern(Library::named(library));
        let (kind, file, library) = match number % 5 {
            0 => (FrameKind::Native, None, Some(library)),
            1 => (FrameKind::Interpreter, None, Some(library)),
            _ => (FrameKind::Python, Some(file), None),
        };
        let function = profile.functions.intern(Function {
            name,
            file,
            library,
            first_line: number,
            kind,
        });
        for line in 0..3 {
            frames.push(
                profile
                    .frames
                    .intern(Frame::at_line(function, number + line)),
            );
        }
    }
    frames
}

/// Each stack goes on from somewhere on an earlier one.
fn add_stacks(
    profile: &mut Profile,
    frames: &[FrameHandle],
    count: u64,
    random: &mut Random,
) -> Vec<StackHandle> {
    let mut stacks: Vec<StackHandle> = Vec::new();
    for _ in 0..count {
        let mut path = match stacks.get(random.below(stacks.len().max(1) as u64) as usize) {
            Some(earlier) => profile.stacks.frames_root_first(*earlier),
            None => Vec::new(),
        };
        path.truncate(random.below(DEEPEST) as usize);
        for _ in 0..=random.below(12) {
            path.extend(frames.get(random.below(frames.len() as u64) as usize));
        }
        stacks.extend(profile.intern_stack_root_first(path));
    }
    stacks
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
