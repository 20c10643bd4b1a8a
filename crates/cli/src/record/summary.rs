//! The figures of a run for people.

use std::fmt::Write as _;

use viperf_agent::{RecordOptions, Statistics, Target};

use crate::quantities::{show_bytes, show_count, show_counted, show_nanoseconds, show_share};

/// A reason that spoils more than this part of the samples is explained.
const NOTABLE_SHARE: f64 = 0.001;

/// Explanations fit a terminal of 100 columns with their indent.
const EXPLANATION_WIDTH: usize = 80;

/// The summary: aligned lines, each reason for an incomplete stack with its count.
pub(super) fn render(statistics: &Statistics, options: &RecordOptions) -> String {
    let mut text = String::new();
    add_samples(&mut text, statistics);
    add_reasons(&mut text, statistics);
    add_rate(&mut text, statistics, options);
    add_cost(&mut text, statistics);
    if let Some(allowed) = options.max_cpu {
        add_row(
            &mut text,
            "budget",
            &describe_budget(statistics.cpu_share, allowed),
        );
    }
    if statistics.samples == 0 {
        add_row(&mut text, "why none", why_no_samples(&options.target));
    }
    text
}

/// `  label          text`.
fn add_row(text: &mut String, label: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {label:<14}{value}");
}

fn add_samples(text: &mut String, statistics: &Statistics) {
    let Statistics {
        samples,
        samples_complete,
        samples_lost,
        processes,
        samples_without_python,
        ..
    } = statistics;
    let of = format!(
        "{} from {}",
        show_count(*samples),
        show_counted(*processes, "process", "processes")
    );
    add_row(text, "samples", &of);
    let complete = format!(
        "{} ({})",
        show_count(*samples_complete),
        show_share(*samples_complete, *samples)
    );
    add_row(text, "complete", &complete);
    if *samples_without_python > 0 {
        let without = format!(
            "{} ({}) of threads that have nothing to do with Python",
            show_count(*samples_without_python),
            show_share(*samples_without_python, *samples)
        );
        add_row(text, "no Python", &without);
    }
    let lost = match samples_lost {
        0 => "0".to_owned(),
        lost => format!(
            "{} ({}): viperf could not keep up; try a lower rate (-F) or fewer targets (-p)",
            show_count(*lost),
            show_share(*lost, lost + samples)
        ),
    };
    add_row(text, "lost", &lost);
}

/// Every reason with its count, the most frequent first, and what to do about the notable ones.
fn add_reasons(text: &mut String, statistics: &Statistics) {
    let mut reasons: Vec<(&str, u64)> = statistics
        .incomplete
        .iter()
        .map(|(reason, count)| (reason.as_str(), *count))
        .collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    if reasons.is_empty() {
        return;
    }
    add_row(text, "incomplete", "by reason:");
    let width = reasons
        .iter()
        .map(|(_, count)| show_count(*count).len())
        .max();
    for (reason, count) in reasons {
        let width = width.unwrap_or_default();
        let share = show_share(count, statistics.samples);
        let _ = writeln!(
            text,
            "    {:>width$}  {share:>8}  {reason}",
            show_count(count)
        );
        let notable = count as f64 > NOTABLE_SHARE * statistics.samples as f64;
        if let Some(explanation) = find_explanation(reason).filter(|_| notable) {
            for line in wrap(explanation) {
                let _ = writeln!(text, "    {:>width$}  {:>8}    {line}", "", "");
            }
        }
    }
}

/// The text in lines of at most [`EXPLANATION_WIDTH`] bytes, broken at spaces.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= EXPLANATION_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn find_explanation(reason: &str) -> Option<&'static str> {
    viperf_agent::reasons()
        .find(|(name, _)| *name == reason)
        .map(|(_, explanation)| explanation)
}

fn add_rate(text: &mut String, statistics: &Statistics, options: &RecordOptions) {
    let rate = format!(
        "{:.1} samples per second over all targets, at {} Hz",
        statistics.rate_achieved, options.rate_hz
    );
    let rate = match statistics.lowest_rate_hz {
        Some(lowest) => format!("{rate}, lowered to {lowest} Hz at times to keep --max-cpu"),
        None => rate,
    };
    add_row(text, "rate", &rate);
    if let Some(first) = statistics.time_to_first_sample_ms {
        add_row(
            text,
            "first sample",
            &format!("after {}", show_nanoseconds(first * 1e6)),
        );
    }
}

fn add_cost(text: &mut String, statistics: &Statistics) {
    let cost = format!(
        "{} per sample in the kernel, {} CPU and {} memory in viperf, {} BPF maps",
        show_nanoseconds(statistics.bpf_ns_per_sample),
        show_nanoseconds(statistics.user_cpu_ms * 1e6),
        show_bytes(statistics.peak_rss_bytes),
        show_bytes(statistics.bpf_map_bytes)
    );
    add_row(text, "cost", &cost);
    add_tables(text, statistics);
    add_executables(text, statistics);
}

/// What was used of the CPU time of all CPUs, beside what was allowed.
fn describe_budget(used: f64, allowed: f64) -> String {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let is_over = match used > allowed {
        true => "; unwind tables and names, which no rate makes less, took more",
        false => "",
    };
    format!(
        "{} of all CPUs was used, {} is allowed{is_over}",
        percent(used),
        percent(allowed)
    )
}

/// Files that were let go, where there were many.
fn add_executables(text: &mut String, statistics: &Statistics) {
    let Statistics {
        executables_open,
        executables_evicted,
        ..
    } = statistics;
    if *executables_evicted > 0 {
        let files = format!(
            "{} open; {} that nothing ran any more made room for others",
            show_count(*executables_open),
            show_count(*executables_evicted)
        );
        add_row(text, "executables", &files);
    }
}

/// Unwind tables that came and went, where memory was short.
fn add_tables(text: &mut String, statistics: &Statistics) {
    let Statistics {
        unwind_row_bytes,
        unwind_tables_evicted,
        unwind_tables_reloaded,
        unwind_tables_without_room,
        ..
    } = statistics;
    if *unwind_tables_evicted == 0 && *unwind_tables_without_room == 0 {
        return;
    }
    let mut tables = format!(
        "{}; {} made room for others, {} came back",
        show_bytes(*unwind_row_bytes),
        show_count(*unwind_tables_evicted),
        show_count(*unwind_tables_reloaded)
    );
    if *unwind_tables_without_room > 0 {
        let without = show_count(*unwind_tables_without_room);
        // Writing to a String cannot fail.
        let _ = write!(
            tables,
            ", {without} found no room; allow more with --max-memory"
        );
    }
    add_row(text, "unwind tables", &tables);
}

fn why_no_samples(target: &Target) -> &'static str {
    match target {
        Target::Command(_) => "the command used too little CPU; try a higher rate (-F 999)",
        Target::Pids(_) => "the target did not use the CPU; a sleeping thread is not sampled",
        Target::EveryProcess => "nothing used the CPU",
        Target::ControlGroup(_) | Target::Container(_) => {
            "nothing in it used the CPU; a sleeping thread is not sampled"
        }
        Target::EveryPython => {
            "no Python process used the CPU; `viperf doctor` lists those it sees"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> RecordOptions {
        RecordOptions {
            target: Target::Pids(vec![1]),
            name: None,
            rate_hz: 99,
            clock: viperf_agent::Clock::Event,
            duration: None,
            native: true,
            kernel: true,
            follow_children: true,
            inlined_functions: false,
            grow_every: None,
            max_memory: 256 << 20,
            max_cpu: None,
            command_output: None,
        }
    }

    fn statistics() -> Statistics {
        Statistics {
            samples: 12_345,
            samples_complete: 12_300,
            samples_lost: 0,
            incomplete: [
                ("native: unreadable stack".to_owned(), 5),
                ("native: unknown mapping".to_owned(), 40),
            ]
            .into(),
            processes: 1,
            samples_without_python: 0,
            rate_achieved: 98.7,
            bpf_ns_per_sample: 5_123.0,
            user_cpu_ms: 34.0,
            peak_rss_bytes: 45_000_000,
            bpf_map_bytes: 12_000_000,
            unwind_row_bytes: 4_200_000,
            unwind_tables_evicted: 0,
            unwind_tables_reloaded: 0,
            unwind_tables_without_room: 0,
            executables_open: 80,
            executables_evicted: 0,
            samples_deferred: 0,
            longest_deferral_ms: 0.0,
            lowest_rate_hz: None,
            cpu_share: 0.004,
            time_to_first_sample_ms: Some(12.0),
        }
    }

    #[test]
    fn threads_without_python_are_counted_and_no_error() {
        let mut statistics = statistics();
        assert!(!render(&statistics, &options()).contains("no Python"));
        statistics.samples_without_python = 1_234;
        let text = render(&statistics, &options());
        let expected =
            "no Python     1,234 (10.0 %) of threads that have nothing to do with Python";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_good_run_reads_well() {
        let text = render(&statistics(), &options());
        let expected = "  samples       12,345 from 1 process
  complete      12,300 (99.6 %)
  lost          0
  incomplete    by reason:
    40     0.3 %  native: unknown mapping
";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("     5   < 0.1 %  native: unreadable stack\n"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "  rate          98.7 samples per second over all targets, at 99 Hz
  first sample  after 12 ms
  cost          5.1 µs per sample in the kernel, 34 ms CPU and 45 MB memory in viperf, 12 MB BPF maps
"
            ),
            "{text}"
        );
    }

    #[test]
    fn tables_that_made_room_are_counted() {
        let mut statistics = statistics();
        statistics.unwind_tables_evicted = 1_200;
        statistics.unwind_tables_reloaded = 3;
        let text = render(&statistics, &options());
        let expected = "  unwind tables 4.2 MB; 1,200 made room for others, 3 came back\n";
        assert!(text.ends_with(expected), "{text}");
        statistics.unwind_tables_without_room = 2;
        let text = render(&statistics, &options());
        assert!(
            text.contains("2 found no room; allow more with --max-memory"),
            "{text}"
        );
    }

    #[test]
    fn files_that_were_let_go_are_counted() {
        let mut statistics = statistics();
        assert!(!render(&statistics, &options()).contains("executables"));
        statistics.executables_evicted = 4_000;
        let text = render(&statistics, &options());
        let expected =
            "  executables   80 open; 4,000 that nothing ran any more made room for others\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_notable_reason_is_explained_and_a_rare_one_only_counted() {
        let text = render(&statistics(), &options());
        let start = |reason| wrap(find_explanation(reason).unwrap()).remove(0);
        assert!(text.contains(&start("native: unknown mapping")), "{text}");
        assert!(!text.contains(&start("native: unreadable stack")), "{text}");
    }

    #[test]
    fn long_explanations_are_broken_at_spaces() {
        let text = "word ".repeat(40);
        let lines = wrap(&text);
        assert!(lines.iter().all(|line| line.len() <= EXPLANATION_WIDTH));
        assert_eq!(lines.join(" "), text.trim());
    }

    #[test]
    fn lost_samples_come_with_a_remedy() {
        let mut statistics = statistics();
        statistics.samples_lost = 655;
        let text = render(&statistics, &options());
        assert!(
            text.contains("655 (5.0 %): viperf could not keep up; try a lower rate"),
            "{text}"
        );
    }

    #[test]
    fn without_samples_the_likely_cause_is_named() {
        let text = render(&Statistics::default(), &options());
        assert!(text.contains("did not use the CPU"), "{text}");
        assert!(text.contains("complete      0 (-)"), "{text}");
    }

    #[test]
    fn a_budget_and_what_was_done_to_keep_it_are_said() {
        let budget = RecordOptions {
            max_cpu: Some(0.01),
            ..options()
        };
        let text = render(&statistics(), &budget);
        assert!(!text.contains("lowered"), "{text}");
        assert!(
            text.contains("0.40 % of all CPUs was used, 1.00 % is allowed\n"),
            "{text}"
        );
        let over = Statistics {
            lowest_rate_hz: Some(3),
            cpu_share: 0.02,
            ..statistics()
        };
        let text = render(&over, &budget);
        assert!(
            text.contains("at 99 Hz, lowered to 3 Hz at times"),
            "{text}"
        );
        assert!(text.contains("which no rate makes less"), "{text}");
        assert!(!render(&over, &options()).contains("allowed"));
    }
}
