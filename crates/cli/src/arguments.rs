//! What can be typed. Only parsing: nothing here looks at the machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::diff::DiffArguments;
use crate::dump::{self, DumpArguments};
use crate::exit::{ExitStatus, Failure};
use crate::output_format::OutputFormat;
use crate::quantities::{parse_cpu_share, parse_duration, parse_memory, parse_rate};
use crate::report::ReportArguments;
use crate::shell::{self, CompletionsArguments, ManArguments};
use crate::sources::SourceArguments;
use crate::targets::TargetArguments;
use crate::terminal;
use crate::top::{self, TopArguments};
use crate::view::{VIEW_EXAMPLES, VIEW_NOTES, ViewArguments};

/// Examples first: most readers of a help text want to copy a line from it.
const TEMPLATE: &str = "{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

const EXAMPLES: &str = "\
Examples:
  viperf record -- python3 app.py      run a program and profile it
  viperf top                           watch every Python program of the machine
  viperf dump -p 1234                  where each thread of a program is now
";

const RECORD_EXAMPLES: &str = "\
Examples:
  viperf record -- python3 app.py            run a program, profile it to its end
  viperf record -p 1234                      profile a running program until Ctrl-C
  viperf record -d 30s -o all.html           every Python program of the machine, 30 seconds
  viperf record --container 3f2a -d 1m       what runs in a container, by the beginning of its ID
  viperf record -p 1234,1235 -F 1khz -o cpu.viperf
                                             keep everything; `viperf convert` makes the page later
  viperf record -p 1234 --live               watch it grow in a browser, at the address that is printed
  viperf record -p 1234 -d 10s -o - | sort   folded stacks on standard output
";

const RECORD_NOTES: &str = "\
Files: .html is an interactive page, .viperf holds everything that was seen and can become any other
format, .txt is what `viperf report` prints, .folded (.col) are folded stacks, .svg is a picture;
.pb.gz (.pprof), .speedscope.json, .firefox.json.gz, .pstats and .json are for other programs.
Without -o the page is viperf-NAME-TIME.html in this folder.

Exit codes: 0 done, 1 viperf failed, 2 wrong usage, 3 not permitted, 4 no such process, container or
command, 5 the kernel lacks something. With `-- COMMAND`, the command's own code if viperf itself succeeded
(128 + N if signal N ended it).
";

const REPORT_EXAMPLES: &str = "\
Examples:
  viperf report cpu.viperf                          what takes the time, and who calls it
  viperf report cpu.viperf --callers deflate        who calls this function
  viperf report cpu.viperf --source app.py          the time of each line
  viperf report cpu.viperf --time 10s..20s --match 'django\\.db'
  viperf report all.viperf --group container        what each container takes, and on what
  viperf report *.viperf --markdown                 several recordings as one, for a pull request
";

const REPORT_NOTES: &str = "\
Self is the time of a function itself; for a Python function with the C and kernel code that it
calls directly, which python, native and kernel tell apart. Total is the time with all that it
calls; a recursion counts once. FUNCTION may be a part of the name; file.py:name and
library.so:name choose among functions of one name. In the call tree, code of packages and of the
standard library is folded into the call that enters it, native code into its library; --full
shows every frame.

GIL is the time on the CPU in taking the GIL: asking for it, going to sleep, waking up. The time
asleep is in no profile of CPU time; `viperf dump` shows who waits for it at a moment.
";

const DIFF_EXAMPLES: &str = "\
Examples:
  viperf diff before.viperf after.viperf                    what changed beyond chance
  viperf diff before.viperf after.viperf --fail-above 5%    code 1 if a function grew: for CI
  viperf diff before.viperf after.viperf --normalize time   servers under the same load
  viperf diff before.viperf after.viperf --markdown         for a pull request
  viperf diff before.viperf after.viperf -o diff.html       a page: what grew in red, what shrank in blue
  viperf diff before.viperf after.viperf -o diff.folded     both counts of each stack, for inferno-flamegraph
";

const DIFF_NOTES: &str = "\
A change is shown when its interval excludes 0. The intervals are so wide that 95 of 100
comparisons of a program with itself show nothing. They know how samples scatter within each
recording, not what differs from one run to the next: compare recordings of the same work on the
same machine.

--fail-above 5%: a function's self or total grew by more than 5 points of 100 % of the samples
(with --normalize time: of one CPU), and its interval excludes 0. Exit codes: 0 nothing did,
1 something did.
";

const CONVERT_EXAMPLES: &str = "\
Examples:
  viperf convert cpu.viperf -o cpu.html
  viperf convert cpu.viperf -o cpu.html --source-root . the page shows the source, too
  viperf convert cpu.viperf -o cpu.folded --merge-processes
  viperf convert cpu.viperf -o cpu.pb.gz                for `go tool pprof`
  viperf convert perf.script -o cpu.html                what `perf script` printed
  viperf convert cpu.viperf -o - --threads | less
";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  sudo viperf doctor         what this machine allows, and what is missing
  viperf doctor --reasons    why a stack can be incomplete, and what to do
  viperf doctor --json       the same for programs
";

const DOCTOR_NOTES: &str = "\
Exit codes: those that `viperf record` would end with here: 0 ready, 3 not permitted, 5 the kernel
lacks something.
";

#[derive(Debug, Parser)]
#[command(
    name = "viperf",
    version,
    about = "A sampling profiler for Python that shows Python, native and kernel frames in one stack.",
    before_help = EXAMPLES,
    help_template = "{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// Say nothing but what went wrong: no progress, no summary, no hints
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Sample for a while, write a profile.
    #[command(before_help = RECORD_EXAMPLES, after_help = RECORD_NOTES, help_template = TEMPLATE)]
    Record(Box<RecordArguments>),
    /// Show where every thread is now, running or blocked.
    #[command(before_help = dump::EXAMPLES, after_help = dump::NOTES, help_template = TEMPLATE)]
    Dump(DumpArguments),
    /// Watch programs live in the terminal: processes, threads, functions, lines, the call tree.
    #[command(before_help = top::EXAMPLES, after_help = top::NOTES, help_template = TEMPLATE)]
    Top(Box<TopArguments>),
    /// Show a profile as text: what takes the time, and who calls it.
    #[command(before_help = REPORT_EXAMPLES, after_help = REPORT_NOTES, help_template = TEMPLATE)]
    Report(Box<ReportArguments>),
    /// Show a profile as a web page, served to this machine only.
    #[command(before_help = VIEW_EXAMPLES, after_help = VIEW_NOTES, help_template = TEMPLATE)]
    View(ViewArguments),
    /// Show what changed between two profiles.
    #[command(before_help = DIFF_EXAMPLES, after_help = DIFF_NOTES, help_template = TEMPLATE)]
    Diff(Box<DiffArguments>),
    /// Make another format of a profile: viperf's own, or one of another profiler.
    #[command(before_help = CONVERT_EXAMPLES, help_template = TEMPLATE)]
    Convert(ConvertArguments),
    /// Show what this machine allows and what is missing, with the remedy.
    #[command(before_help = DOCTOR_EXAMPLES, after_help = DOCTOR_NOTES, help_template = TEMPLATE)]
    Doctor(DoctorArguments),
    /// Print completions for a shell.
    #[command(before_help = shell::COMPLETIONS_EXAMPLES, help_template = TEMPLATE)]
    Completions(CompletionsArguments),
    /// Print a manual page, or write all of them into a folder.
    #[command(before_help = shell::MAN_EXAMPLES, help_template = TEMPLATE)]
    Man(ManArguments),
}

/// What makes samples be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClockArgument {
    /// A timer of viperf's own on each CPU
    Timer,
    /// The kernel's timer tick
    Tick,
}

impl From<ClockArgument> for viperf_agent::Clock {
    fn from(clock: ClockArgument) -> Self {
        match clock {
            ClockArgument::Timer => Self::Event,
            ClockArgument::Tick => Self::Tick,
        }
    }
}

/// `viperf record`.
#[derive(Debug, Args)]
pub(crate) struct RecordArguments {
    #[command(flatten)]
    pub(crate) targets: TargetArguments,

    /// Show functions that the compiler put into others, where the debug information tells
    #[arg(long)]
    pub(crate) inlines: bool,

    /// Samples per second of CPU time: `99`, `1khz`, `10k`
    #[arg(short = 'F', long, value_name = "RATE", default_value = "99", value_parser = parse_rate)]
    pub(crate) rate: u32,

    /// What samples are taken by. `tick` is the kernel's own timer tick: for rates of 250 Hz (or as often as the kernel ticks)
    /// and less, with no interrupt of its own; work that ends before each tick is not seen
    #[arg(long, value_enum, default_value_t = ClockArgument::Timer)]
    pub(crate) clock: ClockArgument,

    /// Stop after this time: `30s`, `5m`, `500ms` [default: until Ctrl-C or the target's end]
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,

    #[command(flatten)]
    pub(crate) output: OutputArguments,

    /// Leave native frames out
    #[arg(long)]
    pub(crate) no_native: bool,

    /// Leave kernel frames out
    #[arg(long)]
    pub(crate) no_kernel: bool,

    #[command(flatten)]
    pub(crate) shape: ShapeArguments,

    /// Put the text of every source file with samples into the page or .viperf file, read where the program has it at the
    /// end. Mind who gets the file: keys and passwords that stand in the sources stand in it, too
    #[arg(long)]
    pub(crate) embed_source: bool,

    #[command(flatten)]
    pub(crate) sources: SourceArguments,

    /// What recording may cost, in the kernel and in viperf, of the CPU time of all CPUs together: `1%`, `0.2%`. The rate is
    /// lowered to keep it, to 1 Hz at the least, and comes back when there is room; each sample stands for the time of its own
    /// rate. What it cost in the end, and how low the rate was, stands in the summary
    #[arg(long, value_name = "PERCENT", value_parser = parse_cpu_share)]
    pub(crate) max_cpu: Option<f64>,

    /// Memory for all that grows with what runs, each kind a part of it: unwind tables, which take the most, tables of symbols,
    /// files that are held open (1,024 at 256M), names, samples that wait; what was not needed for the longest time makes
    /// room for others. What viperf needs beside them is bounded by what runs at a time, about 100M, and with a .viperf file
    /// does not grow with time; other formats are made at the end and keep all samples and stacks until then
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_memory)]
    pub(crate) max_memory: usize,

    /// Serve a page that shows the profile as it grows, to this machine only; its address is printed
    #[arg(long)]
    pub(crate) live: bool,

    /// Serve the live page on this port [default: one that is free]
    #[arg(long, value_name = "PORT", requires = "live", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,

    /// Open the live page in a browser, too
    #[arg(long, requires = "live")]
    pub(crate) open: bool,

    /// Write the figures of the summary to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,
}

/// Where the profile goes.
#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// Write to FILE, in the format of its name; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write this format, whatever FILE is called: `html`, `viperf`, `folded`, `svg`, `pprof`, `speedscope`, `firefox`,
    /// `pstats`, `json`, `txt`
    #[arg(long, value_name = "FORMAT", value_parser = OutputFormat::from_name)]
    pub(crate) format: Option<OutputFormat>,
}

/// What the written stacks show.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ShapeArguments {
    /// Show each thread on its own in folded stacks (the page always can)
    #[arg(long)]
    pub(crate) threads: bool,

    /// Show processes of one name as one
    #[arg(long)]
    pub(crate) merge_processes: bool,

    /// Show the interpreter's own frames too
    #[arg(long)]
    pub(crate) interpreter_frames: bool,

    /// Whether folded frames end in their kind: _[p] Python, _[pn] native, _[k] kernel
    #[arg(long, value_name = "WHEN", default_value = "on")]
    pub(crate) frame_kinds: Switch,
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// `viperf convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    /// The profile to read: .viperf, folded stacks, pprof, speedscope, or what `perf script` printed
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,

    /// Write to FILE, in the format of its name; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Write this format, whatever FILE is called: `html`, `viperf`, `folded`, `svg`, `pprof`, `speedscope`, `firefox`,
    /// `pstats`, `json`, `txt`
    #[arg(long, value_name = "FORMAT", value_parser = OutputFormat::from_name)]
    pub(crate) format: Option<OutputFormat>,

    #[command(flatten)]
    pub(crate) shape: ShapeArguments,

    #[command(flatten)]
    pub(crate) sources: SourceArguments,
}

/// `viperf doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// List the reasons why a stack can be incomplete
    #[arg(long)]
    pub(crate) reasons: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The verb and its arguments, `None` for `viperf` alone.
///
/// Help and version are answered here and end the process.
pub(crate) fn parse() -> Result<Option<Verb>, Failure> {
    match Arguments::try_parse() {
        Ok(arguments) => {
            if arguments.quiet {
                terminal::be_quiet();
            }
            Ok(arguments.verb)
        }
        Err(error) if error.use_stderr() => Err(Failure::wrong_usage(explain(&error))),
        Err(help_or_version) => help_or_version.exit(),
    }
}

/// Everything that can be typed, for those who describe it.
pub(crate) fn definition() -> clap::Command {
    use clap::CommandFactory as _;
    Arguments::command()
}

/// clap's error as one line: what is wrong, its first tip if it has one, and where to read more.
fn explain(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n");
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let what = words(paragraphs.next().unwrap_or_default());
    let what = what.strip_prefix("error: ").unwrap_or(&what).to_owned();
    let tip = paragraphs
        .flat_map(str::lines)
        .find_map(|line| line.trim_start().strip_prefix("tip: ").map(str::to_owned));
    let unexpected = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    let forgot_dashes =
        error.kind() == ErrorKind::UnknownArgument && text.contains("viperf record");
    let tip = match unexpected {
        Some(word) if forgot_dashes && !word.starts_with('-') => Some(format!(
            "to run a command, put -- before it: viperf record -- {word} …"
        )),
        _ => tip,
    };
    let more = "`viperf --help` and `viperf VERB --help` show examples".to_owned();
    format!("{what}; {}", tip.unwrap_or(more))
}

/// What `viperf` alone says.
pub(crate) fn print_short_help() -> Result<ExitStatus, Failure> {
    let text = format!(
        "viperf shows where a Python program spends its time, down to C and the kernel.\n\n\
         {EXAMPLES}\n\
         `viperf --help` lists the verbs, `viperf VERB --help` explains one.\n"
    );
    terminal::print(text.as_bytes())?;
    Ok(ExitStatus::DONE)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn record(arguments: &[&str]) -> Result<RecordArguments, clap::Error> {
        let all = ["viperf", "record"].iter().chain(arguments);
        match Arguments::try_parse_from(all)?.verb {
            Some(Verb::Record(arguments)) => Ok(*arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn pids_come_repeated_or_as_a_list() {
        let arguments = record(&["-p", "1,2", "--pid", "3"]).unwrap();
        assert_eq!(arguments.targets.pids, [1, 2, 3]);
        for wrong in ["0", "-1", "x", "1,,2", "99999999999"] {
            assert!(record(&["-p", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_keeps_its_own_flags() {
        let arguments = record(&["-F", "1khz", "--", "python3", "-c", "pass", "-p", "1"]).unwrap();
        assert_eq!(
            arguments.targets.command,
            ["python3", "-c", "pass", "-p", "1"]
        );
        assert_eq!(arguments.rate, 1000);
        assert!(arguments.targets.pids.is_empty());
    }

    #[test]
    fn control_groups_and_containers_are_targets_of_their_own() {
        use viperf_agent::Target;
        let target = |arguments: &[&str]| record(arguments).unwrap().targets.target();
        let path = std::path::PathBuf::from("system.slice/a.service");
        assert_eq!(
            target(&["--cgroup", "system.slice/a.service"]),
            Target::ControlGroup(path)
        );
        let container = Target::Container("3f2a".to_owned());
        assert_eq!(target(&["--container", "3f2a"]), container);
        assert_eq!(target(&["-a", "--no-python-only"]), Target::EveryProcess);
        for wrong in [
            &["--no-python-only"][..],
            &["--container", ""],
            &["--container", "a", "--cgroup", "b"],
            &["--cgroup", "b", "-p", "1"],
            &["--container", "a", "-a"],
            &["--container", "a", "--", "b"],
        ] {
            assert!(record(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn processes_and_a_command_exclude_each_other() {
        let error = record(&["-p", "1", "--", "python3"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn the_whole_machine_and_one_target_exclude_each_other() {
        assert!(record(&["-a"]).unwrap().targets.all);
        for target in [["-p", "1"], ["--", "python3"]] {
            let arguments = [&["--all"], target.as_slice()].concat();
            let error = record(&arguments).unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
        }
    }

    #[test]
    fn without_flags_the_documented_defaults_hold() {
        let arguments = record(&[]).unwrap();
        assert_eq!(arguments.rate, 99);
        assert_eq!(arguments.duration, None);
        assert_eq!(arguments.shape.frame_kinds, Switch::On);
        assert!(!arguments.targets.no_children && !arguments.no_native && !arguments.no_kernel);
    }

    #[test]
    fn a_format_that_does_not_exist_is_wrong_usage_and_lists_those_that_do() {
        let error = record(&["--format", "png"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("html, viperf, folded"),
            "{error}"
        );
    }

    fn explained(arguments: &[&str]) -> String {
        explain(&Arguments::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn wrong_usage_is_one_line_that_says_what_to_do() {
        for (arguments, expected) in [
            (
                &["viperf", "record", "python3", "a.py"][..],
                "unexpected argument 'python3' found; to run a command, put -- before it: viperf record -- python3 …",
            ),
            (
                &["viperf", "record", "--outptu", "x"],
                "unexpected argument '--outptu' found; a similar argument exists: '--output'",
            ),
            (
                &["viperf", "convert", "a.viperf", "b", "-o", "c.html"],
                "unexpected argument 'b' found; `viperf --help` and `viperf VERB --help` show examples",
            ),
            (
                &["viperf", "convert", "a.viperf"],
                "the following required arguments were not provided: --output <FILE>; \
                 `viperf --help` and `viperf VERB --help` show examples",
            ),
        ] {
            assert_eq!(explained(arguments), expected);
        }
    }

    #[test]
    fn every_help_shows_examples_before_usage() {
        let mut root = Arguments::command();
        root.build();
        let mut commands = vec![root.clone()];
        commands.extend(root.get_subcommands().cloned());
        for mut command in commands {
            let help = command.render_long_help().to_string();
            let examples = help.find("Examples:");
            assert!(
                examples.is_some() && examples < help.find("Usage:"),
                "{help}"
            );
        }
    }
}
