//! `viperf dump`: where every thread is now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use viperf_agent::{DumpOptions, Dumper, Target};
use viperf_profile::Dump;
use viperf_report::{DumpTextOptions, dump_json, dump_text};

use crate::exit::{ExitStatus, Failure};
use crate::quantities::{parse_duration, show_counted, show_nanoseconds};
use crate::record::StopSignals;
use crate::report::Color;
use crate::targets::TargetArguments;
use crate::terminal;

pub(crate) const EXAMPLES: &str = "\
Examples:
  viperf dump -p 1234                      every thread of a process and its children, now
  viperf dump                              every Python process of the machine
  viperf dump -p 1234 --full               also every kernel frame, and each thread on its own
  viperf dump -p 1234 --locals             with local variables
  viperf dump -p 1234 --repeat 5 --interval 2s
  viperf dump -p 1234 --json | jq '.processes[].threads[] | select(.gil == \"holds\")'
";

pub(crate) const NOTES: &str = "\
Nothing is stopped: the kernel reads the stacks of threads that wait, and the clock takes those that
run. Frames are innermost first; c marks native code, k the kernel, ! a gap and why. \"waits for the
GIL\" is said only where it is proved. --json is documented in docs/formats/dump.md. Core files are not
read: there is no kernel to ask about them; gdb with CPython's own python-gdb.py reads those.

Exit codes: 0 done, 1 viperf failed, 2 wrong usage, 3 not permitted, 4 no such process, 5 the kernel
lacks something (Linux 6.2 or newer is needed).
";

/// `viperf dump`.
#[derive(Debug, Args)]
#[command(mut_arg("command", |argument| argument.hide(true)))]
pub(crate) struct DumpArguments {
    #[command(flatten)]
    targets: TargetArguments,

    /// Show every frame of the kernel and of the start of a thread, and each thread on its own
    #[arg(long)]
    full: bool,

    /// Show the local variables of Python frames of threads that do not run: numbers and texts; of other objects their type
    #[arg(long)]
    locals: bool,

    /// Leave the lines of source files out
    #[arg(long, conflicts_with = "json")]
    no_source: bool,

    /// Leave kernel frames out
    #[arg(long)]
    no_kernel: bool,

    /// Show functions that the compiler put into others, where the debug information tells
    #[arg(long)]
    inlines: bool,

    /// Print JSON, one object for each dump
    #[arg(long)]
    json: bool,

    /// Take so many dumps
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// From the start of one dump to that of the next: `1s`, `200ms`
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,

    /// Use colours [default: on a terminal, unless NO_COLOR is set]
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    color: Color,
}

/// Takes and prints the dumps.
pub(crate) fn run(arguments: &DumpArguments) -> Result<ExitStatus, Failure> {
    let target = arguments.targets.target();
    if matches!(target, Target::Command(_)) {
        return Err(Failure::wrong_usage(
            "dump looks at programs that run; start it first, then: viperf dump -p PID",
        ));
    }
    let options = DumpOptions {
        target,
        name: arguments.targets.comm.clone(),
        follow_children: !arguments.targets.no_children,
        kernel: !arguments.no_kernel,
        inlined_functions: arguments.inlines,
        locals: arguments.locals,
        ..DumpOptions::default()
    };
    let signals = StopSignals::install(false)
        .map_err(|error| Failure::failed(format!("signals cannot be caught: {error}")))?;
    let mut dumper = Dumper::start(&options)?;
    let mut next = Instant::now();
    for shot in 0..arguments.repeat {
        if shot > 0 && !wait_until(next, signals.stop()) {
            break;
        }
        next = Instant::now() + arguments.interval;
        let dump = dumper.take(signals.stop())?;
        for note in dumper.take_notes() {
            terminal::say(&note);
        }
        show(&dump, shot, arguments)?;
        if !dumper.has_targets() {
            break;
        }
    }
    Ok(ExitStatus::DONE)
}

fn show(dump: &Dump, shot: u32, arguments: &DumpArguments) -> Result<(), Failure> {
    if arguments.json {
        terminal::print(dump_json(dump).as_bytes())?;
    } else {
        let style = arguments.color.choose_style();
        let options = DumpTextOptions {
            full: arguments.full,
            no_source: arguments.no_source,
        };
        let mut text = dump_text(dump, &options, &style);
        if arguments.repeat > 1 {
            let heading = format!("dump {} of {}\n\n", shot + 1, arguments.repeat);
            let before = if shot > 0 { "\n" } else { "" };
            text = format!("{before}{heading}{text}");
        }
        terminal::print_text(&text)?;
    }
    sum_up(dump, arguments);
    Ok(())
}

/// What it was, and what may be of interest next.
fn sum_up(dump: &Dump, arguments: &DumpArguments) {
    let threads = dump.processes.iter().flat_map(|process| &process.threads);
    let (mut count, mut incomplete, mut unread) = (0, 0, 0);
    for thread in threads {
        count += 1;
        match &thread.stack {
            Ok(stack) => incomplete += u64::from(!stack.complete),
            Err(_) => unread += 1,
        }
    }
    if count == 0 {
        terminal::say(match arguments.targets.pids.is_empty() {
            true => "no Python process was found; -p PID dumps any process",
            false => "the process has ended",
        });
        return;
    }
    let mut text = format!(
        "{} of {} in {}",
        show_counted(count, "thread", "threads"),
        show_counted(dump.processes.len() as u64, "process", "processes"),
        show_nanoseconds(dump.took_ns as f64),
    );
    if unread > 0 {
        text += &format!(", {unread} could not be read");
    }
    if incomplete > 0 {
        text += &format!(", {incomplete} with a gap (`viperf doctor --reasons`)");
    }
    terminal::tell(&text);
    if let Some(process) = dump.processes.first().filter(|_| arguments.repeat == 1) {
        terminal::suggest_below_text(&format!("viperf record -p {} -d 10s", process.pid));
    }
}

/// False when told to stop before.
fn wait_until(time: Instant, stop: &AtomicBool) -> bool {
    /// A signal is noticed so soon.
    const STEP: Duration = Duration::from_millis(50);
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = time.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(STEP));
    }
}
