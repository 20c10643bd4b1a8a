//! A dump as text for people.

use std::collections::BTreeMap;

use viperf_profile::{
    Activity, Dump, DumpedFrame, DumpedProcess, DumpedThread, FrameKind, Gil, SourceRange,
};

use crate::safe_text::{columns, escape_for_terminal, keep_start};
use crate::style::{Paint, Style};

/// Names of threads that share a stack, at most.
const NAMED_THREADS: usize = 6;
/// So many native frames below the oldest Python frame are no worth folding.
const FEW_FRAMES: usize = 2;
/// Columns before the line of a source file.
const INDENT: usize = 9;

/// What the text shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpTextOptions {
    /// Every frame of the kernel and of the start of a thread, each thread on its own. Default is `false`.
    pub full: bool,
    /// Leave the lines of source files out. Default is `false`.
    pub no_source: bool,
}

/// The dump as text: each process, its threads, the frames innermost first.
#[must_use]
pub fn dump_text(dump: &Dump, options: &DumpTextOptions, style: &Style) -> String {
    let writer = Writer { options, style };
    let mut text = String::new();
    for process in &dump.processes {
        if !text.is_empty() {
            text.push('\n');
        }
        writer.process(process, &mut text);
    }
    text
}

struct Writer<'options> {
    options: &'options DumpTextOptions,
    style: &'options Style,
}

impl Writer<'_> {
    fn process(&self, process: &DumpedProcess, text: &mut String) {
        let name = match process.command_line.is_empty() {
            true => &process.name,
            false => &process.command_line,
        };
        let python = match &process.python_version {
            Some(version) => format!("CPython {version}"),
            None => "no Python".to_owned(),
        };
        let count = match process.threads.len() {
            1 => "1 thread".to_owned(),
            count => format!("{count} threads"),
        };
        let heading = format!(
            "{} (pid {}, {python}, {count})",
            escape_for_terminal(name),
            process.pid
        );
        self.line(&heading, Paint::Heading, text);
        for threads in self.groups(process) {
            text.push('\n');
            self.threads(&threads, text);
        }
    }

    /// Threads that do the same in the same place, in the order of the first of each.
    fn groups<'dump>(&self, process: &'dump DumpedProcess) -> Vec<Vec<&'dump DumpedThread>> {
        let mut groups: Vec<Vec<&DumpedThread>> = Vec::new();
        let mut by_state: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for thread in &process.threads {
            let number = thread.system_call.as_ref().map(|call| call.number);
            let depth = thread.stack.as_ref().map_or(0, |stack| stack.frames.len());
            let candidates = by_state
                .entry((thread.activity, thread.gil, number, depth))
                .or_default();
            let same = candidates.iter().copied().find(|index| {
                let first = groups.get(*index).and_then(|group| group.first());
                first.is_some_and(|first| first.stack == thread.stack)
            });
            match same.filter(|_| !self.options.full) {
                Some(index) => groups
                    .get_mut(index)
                    .into_iter()
                    .for_each(|group| group.push(thread)),
                None => {
                    candidates.push(groups.len());
                    groups.push(vec![thread]);
                }
            }
        }
        groups
    }

    fn threads(&self, threads: &[&DumpedThread], text: &mut String) {
        let Some(first) = threads.first() else {
            return;
        };
        let shown = threads.iter().take(NAMED_THREADS);
        let mut names: Vec<String> = shown
            .map(|thread| format!("{} {:?}", thread.tid, escape_for_terminal(&thread.name)))
            .collect();
        if threads.len() > NAMED_THREADS {
            names.push(format!("{} more", threads.len() - NAMED_THREADS));
        }
        let word = match threads.len() {
            1 => "Thread",
            _ => "Threads",
        };
        let paint = match (first.gil, first.activity) {
            (Gil::Holds, _) | (_, Activity::OnCpu) => Paint::Good,
            (Gil::Waits, _) => Paint::Warm,
            _ => Paint::Plain,
        };
        let names = self.style.paint(&names.join(", "), Paint::Heading);
        let state = self.style.paint(&state(first), paint);
        text.push_str(&format!("{word} {names}: {state}\n"));
        match &first.stack {
            Err(why) => self.line(
                &format!("  !  no stack: {}", escape_for_terminal(why)),
                Paint::Alarm,
                text,
            ),
            Ok(stack) => self.frames(&stack.frames, text),
        }
    }

    fn frames(&self, frames: &[DumpedFrame], text: &mut String) {
        let is = |kind| move |frame: &DumpedFrame| frame.kind == kind;
        let kernel = frames
            .iter()
            .take_while(|frame| frame.kind == FrameKind::Kernel)
            .count();
        let oldest_python = frames.iter().rposition(is(FrameKind::Python));
        let start = oldest_python.map_or(frames.len(), |index| index + 1);
        for (index, frame) in frames.iter().enumerate() {
            let left = frames.len() - index;
            if !self.options.full && kernel > 1 && index < kernel {
                if index == 0 {
                    self.folded('k', frame, kernel - 1, "kernel", text);
                }
            } else if !self.options.full
                && index >= start
                && frames.len() - start > FEW_FRAMES
                && frames.iter().skip(index).all(is(FrameKind::Native))
            {
                self.folded('c', frame, left - 1, "native", text);
                return;
            } else {
                self.frame(frame, text);
            }
        }
    }

    fn folded(&self, mark: char, frame: &DumpedFrame, more: usize, kind: &str, text: &mut String) {
        let line = format!(
            "  {mark}  {} and {more} more {kind} frame{} (--full)",
            escape_for_terminal(&frame.function),
            if more == 1 { "" } else { "s" }
        );
        self.line(&line, Paint::Dim, text);
    }

    fn frame(&self, frame: &DumpedFrame, text: &mut String) {
        let (mark, paint) = match frame.kind {
            FrameKind::Python => (' ', Paint::Project),
            FrameKind::Native | FrameKind::Interpreter => ('c', Paint::Native),
            FrameKind::Kernel => ('k', Paint::Kernel),
            FrameKind::Incomplete => ('!', Paint::Alarm),
        };
        let place = match (&frame.library, &frame.file) {
            (Some(library), _) => format!(" ({})", escape_for_terminal(library)),
            (None, Some(file)) => format!(" ({})", place(file, frame.source.line)),
            (None, None) => String::new(),
        };
        let name = escape_for_terminal(&frame.function);
        let fits = self
            .style
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(5));
        let whole = format!("{name}{place}");
        let whole = match columns(&whole) > fits && frame.kind != FrameKind::Python {
            true => keep_start(&whole, fits).into_owned(),
            false => whole,
        };
        text.push_str(&format!("  {mark}  {}\n", self.style.paint(&whole, paint)));
        if !self.options.no_source
            && let Some(line) = &frame.text
        {
            self.source(line, frame.source, text);
        }
        for local in frame.locals.iter().flatten() {
            let line = format!(
                "{}{} = {}",
                " ".repeat(INDENT + 4),
                escape_for_terminal(&local.name),
                escape_for_terminal(&local.value)
            );
            self.line(&self.cut(&line), Paint::Dim, text);
        }
    }

    /// The line without its indentation, and a second one that marks the expression.
    fn source(&self, line: &str, range: SourceRange, text: &mut String) {
        let trimmed = line.trim_start();
        let indented = line.len() - trimmed.len();
        let shown = escape_for_terminal(trimmed.trim_end());
        let pad = " ".repeat(INDENT);
        self.line(&self.cut(&format!("{pad}{shown}")), Paint::Dim, text);
        if let Some((before, marked)) = mark(trimmed, indented, range) {
            let room = self
                .style
                .width
                .map_or(usize::MAX, |width| width.saturating_sub(INDENT + before));
            if room > 0 {
                let marks = "^".repeat(marked.min(room));
                self.line(
                    &format!("{pad}{}{marks}", " ".repeat(before)),
                    Paint::Warm,
                    text,
                );
            }
        }
    }

    fn cut(&self, line: &str) -> String {
        match self.style.width {
            Some(width) => keep_start(line, width).into_owned(),
            None => line.to_owned(),
        }
    }

    fn line(&self, line: &str, paint: Paint, text: &mut String) {
        text.push_str(&self.style.paint(line, paint));
        text.push('\n');
    }
}

fn place(file: &str, line: u32) -> String {
    match line {
        0 => escape_for_terminal(file).into_owned(),
        line => format!("{}:{line}", escape_for_terminal(file)),
    }
}

/// The columns before the expression and those that it takes, on a line that had `indented` bytes before it. `None` when it
/// is not known, is the whole line, or the file is not the one that runs.
fn mark(line: &str, indented: usize, range: SourceRange) -> Option<(usize, usize)> {
    if range.column == 0 {
        return None;
    }
    let start = (range.column as usize).checked_sub(indented + 1)?;
    let whole = line.trim_end().len();
    let end = match range.end_line {
        last if last == range.line && range.end_column > 0 => {
            (range.end_column as usize).checked_sub(indented + 1)?
        }
        // It goes on in the lines that follow.
        last if last > range.line => whole,
        _ => return None,
    };
    if end <= start || end > whole || (start == 0 && end == whole) {
        return None;
    }
    let before = escape_for_terminal(line.get(..start)?).into_owned();
    let marked = escape_for_terminal(line.get(start..end)?).into_owned();
    Some((columns(&before), columns(&marked)))
}

/// `blocked in futex, waits for the GIL`.
fn state(thread: &DumpedThread) -> String {
    let call = thread.system_call.as_ref().map(|call| match call.name {
        Some(name) => name.to_owned(),
        None => format!("system call {}", call.number),
    });
    let mut words = match (thread.activity, call) {
        (Activity::OnCpu, _) => "on CPU".to_owned(),
        (Activity::Runnable, Some(call)) => format!("waits for a CPU, in {call}"),
        (Activity::Runnable, None) => "waits for a CPU".to_owned(),
        (Activity::Blocked, Some(call)) => format!("blocked in {call}"),
        (Activity::Blocked, None) => "blocked".to_owned(),
        (Activity::Uninterruptible, Some(call)) => format!("blocked in {call}, uninterruptible"),
        (Activity::Uninterruptible, None) => "blocked by a page that is not there".to_owned(),
        (Activity::Stopped, _) => "stopped by a signal or a debugger".to_owned(),
        (Activity::Ending, _) => "ending".to_owned(),
        (Activity::Unknown, _) => "state unknown".to_owned(),
    };
    words.push_str(match thread.gil {
        Gil::Holds => ", holds the GIL",
        Gil::Waits => ", waits for the GIL",
        Gil::Attached => ", attached",
        Gil::Released | Gil::Detached | Gil::Unknown => "",
    });
    if !thread.is_python {
        words.push_str(", no Python");
    }
    words
}

#[cfg(test)]
mod tests {
    use viperf_profile::{DumpedStack, SystemCall};

    use super::*;

    fn frame(kind: FrameKind, function: &str) -> DumpedFrame {
        DumpedFrame {
            kind,
            function: function.to_owned(),
            file: (kind == FrameKind::Python).then(|| "app.py".to_owned()),
            library: (kind == FrameKind::Native).then(|| "libc.so.6".to_owned()),
            source: SourceRange::default(),
            first_line: 0,
            address: 0,
            inlined: false,
            text: None,
            locals: None,
        }
    }

    fn thread(tid: u32, frames: Vec<DumpedFrame>) -> DumpedThread {
        DumpedThread {
            tid,
            name: format!("worker-{tid}"),
            activity: Activity::Blocked,
            system_call: Some(SystemCall {
                number: 202,
                name: Some("futex"),
            }),
            gil: Gil::Waits,
            is_python: true,
            stack: Ok(DumpedStack {
                frames,
                complete: true,
            }),
        }
    }

    fn text(threads: Vec<DumpedThread>, full: bool) -> String {
        let process = DumpedProcess {
            pid: 7,
            name: "python3".to_owned(),
            command_line: "python3 app.py".to_owned(),
            python_version: Some("3.12.1".to_owned()),
            threads,
            ..DumpedProcess::default()
        };
        let dump = Dump {
            processes: vec![process],
            ..Dump::default()
        };
        let options = DumpTextOptions {
            full,
            no_source: false,
        };
        dump_text(&dump, &options, &Style::default())
    }

    fn deep() -> Vec<DumpedFrame> {
        let mut run = frame(FrameKind::Python, "Worker.run");
        run.source = SourceRange {
            line: 3,
            end_line: 3,
            column: 12,
            end_column: 19,
        };
        run.text = Some("    return f(é, x)".to_owned());
        let mut frames = vec![
            frame(FrameKind::Kernel, "futex_wait"),
            frame(FrameKind::Kernel, "do_futex"),
        ];
        frames.extend([frame(FrameKind::Native, "take_gil"), run]);
        frames.extend(["main", "libc_main", "_start"].map(|name| frame(FrameKind::Native, name)));
        frames
    }

    #[test]
    fn kernel_and_start_are_folded_and_the_expression_is_marked() {
        let expected = "python3 app.py (pid 7, CPython 3.12.1, 1 thread)\n\n\
             Thread 8 \"worker-8\": blocked in futex, waits for the GIL\n  \
             k  futex_wait and 1 more kernel frame (--full)\n  \
             c  take_gil (libc.so.6)\n     \
             Worker.run (app.py:3)\n         \
             return f(é, x)\n                \
             ^^^^^^\n  \
             c  main and 2 more native frames (--full)\n";
        assert_eq!(text(vec![thread(8, deep())], false), expected);
        let full = text(vec![thread(8, deep())], true);
        assert!(
            full.contains("k  do_futex\n") && full.contains("c  _start (libc.so.6)\n"),
            "{full}"
        );
    }

    #[test]
    fn threads_that_do_the_same_are_one_until_all_are_asked_for() {
        let threads = || (8..28).map(|tid| thread(tid, deep())).collect::<Vec<_>>();
        let folded = text(threads(), false);
        assert_eq!(folded.matches("Worker.run").count(), 1);
        assert!(
            folded.contains("13 \"worker-13\", 14 more: blocked"),
            "{folded}"
        );
        assert_eq!(text(threads(), true).matches("Worker.run").count(), 20);
    }

    #[test]
    fn columns_of_another_file_mark_nothing() {
        let range = |column, end_column| SourceRange {
            line: 1,
            end_line: 1,
            column,
            end_column,
        };
        assert_eq!(mark("x = f()", 0, range(5, 8)), Some((4, 3)));
        assert_eq!(mark("x = f()", 0, range(5, 80)), None);
        assert_eq!(mark("x = f()", 0, range(1, 8)), None);
        assert_eq!(mark("é = f()", 0, range(2, 4)), None);
        assert_eq!(mark("f()", 4, range(2, 4)), None);
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let hostile = frame(FrameKind::Python, "a\u{1b}[2J\nb");
        let shown = text(vec![thread(8, vec![hostile])], true);
        assert!(
            !shown.contains('\u{1b}') && shown.contains("a\\u{1b}[2J\\nb"),
            "{shown}"
        );
    }
}
