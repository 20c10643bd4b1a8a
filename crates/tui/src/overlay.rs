//! What can be shown in the place of the rows.

use viperf_report::{columns, escape_for_terminal, keep_start, show_count};

use crate::draw::Surroundings;
use crate::live::Live;

const HELP: &str = "
 1-7, Tab     processes, threads, functions, lines, native, modules, call tree
 Up Down j k  move; also PgUp PgDn Home End
 Enter        into a process or thread; of a function, the tree below it
 Esc          back: takes away the filter, then the selection
 Left Right   in the tree: close, open;  f  every frame, the interpreter's too
 /            filter rows: text or a regular expression
 s            sort by own, total, time, trend, name;  o t n  own, total, name
 w            shares of the last 5 s, 30 s, 1 s, or since the reset
 Space        freeze; nothing that comes meanwhile is lost
 r            reset: time, loss and reasons count from now
 i  c         why stacks are incomplete;  what the command has printed
 q, Ctrl-C    quit;  Ctrl-Z  to the shell, fg comes back
 own% total%  share of the samples that are looked at; a Python function's own
              has the C and kernel code in it that it calls directly
 CPU%         100 is one CPU, always busy; time is CPU time since the reset
 GIL% wait%   CPU spent on bytecode, which holds the GIL for certain (C code
              may, too), and on taking it without sleeping; sleep takes no CPU
 trend        change against the half minute before, in points, unless chance
";

/// The keys, and what the columns mean.
pub(crate) fn help() -> Vec<String> {
    HELP.lines().skip(1).map(str::to_owned).collect()
}

/// Why samples are not complete.
pub(crate) fn reasons(live: &Live, around: &Surroundings, width: usize) -> Vec<String> {
    let found = live.incomplete();
    if found.is_empty() {
        return vec![
            String::new(),
            "  every stack since the reset is complete".to_owned(),
        ];
    }
    let mut lines = vec!["  stacks that are not complete, since the reset".to_owned()];
    for (reason, count) in found {
        let text = format!("{:>10}  {}", show_count(count), escape_for_terminal(reason));
        lines.push(keep_start(&text, width).into_owned());
        let known = around.reasons.iter().find(|(known, _)| known == reason);
        if let Some((_, explanation)) = known {
            lines.extend(wrap(explanation, width, 12));
        }
    }
    lines
}

/// `text` in lines of at most `width` columns, each after `indent` spaces.
fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let room = width.saturating_sub(indent).max(20);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let indent = " ".repeat(indent);
    lines
        .into_iter()
        .map(|line| format!("{indent}{line}"))
        .collect()
}

/// The last lines that the command has printed.
pub(crate) fn output(around: &Surroundings, width: usize, height: usize) -> Vec<String> {
    let mut lines = vec![
        keep_start(
            &format!("  what the command prints goes to {}", around.output_place),
            width,
        )
        .into_owned(),
    ];
    let room = height.saturating_sub(1);
    let first = around.output.len().saturating_sub(room);
    let last = around.output.iter().skip(first);
    lines.extend(last.map(|line| keep_start(&escape_for_terminal(line), width).into_owned()));
    lines
}

/// What to do with a command that still runs.
pub(crate) fn leave() -> Vec<String> {
    vec![
        String::new(),
        "  the command still runs".to_owned(),
        String::new(),
        "  e    end it (SIGTERM) and quit".to_owned(),
        "  w    leave the screen and wait for its end".to_owned(),
        "  Esc  back".to_owned(),
    ]
}
