//! Folded lines: ours, those of Brendan Gregg's `stackcollapse-*.pl`, and py-spy's `raw`.

use std::collections::HashMap;

use viperf_profile::{FrameHandle, FrameKind, ThreadHandle};

use crate::folded::{INCOMPLETE_SUFFIX, KERNEL_SUFFIX, NATIVE_SUFFIX, PYTHON_SUFFIX};
use crate::import::{
    ImportedFrame, ImportedSamples, Importer, Limits, ReadError, guess_kind, split_number,
};
use crate::viperf_file::Decoded;

/// How a frame says its kind; the last two are those of `stackcollapse-perf.pl --all`.
const SUFFIXES: [(&str, FrameKind); 6] = [
    (PYTHON_SUFFIX, FrameKind::Python),
    (NATIVE_SUFFIX, FrameKind::Native),
    (KERNEL_SUFFIX, FrameKind::Kernel),
    (INCOMPLETE_SUFFIX, FrameKind::Incomplete),
    ("_[j]", FrameKind::Native),
    ("_[i]", FrameKind::Native),
];

/// What `stackcollapse-perf.pl --inline` ends inlined frames in.
const INLINED_SUFFIX: &str = "_[i]";

/// Whether it is a stack with a count.
pub(crate) fn is_folded_line(line: &str) -> bool {
    let line = line.strip_suffix('\r').unwrap_or(line);
    split_count(line).is_some_and(|(stack, _)| !stack.is_empty())
}

fn split_count(line: &str) -> Option<(&str, u64)> {
    let (stack, count) = line.rsplit_once(' ')?;
    Some((stack.trim_end(), count.parse().ok()?))
}

/// Some milliseconds' work.
const LINES_BETWEEN_PROGRESS: usize = 4096;

/// The profile of folded lines; it has neither times nor weights.
///
/// The last line of a file that was cut off cannot be told from a whole one but by the newline that is missing, which
/// [`Decoded::damage`] tells.
///
/// # Errors
///
/// [`ReadError::Line`] when no line is a stack with a count.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, ReadError> {
    decode_observed(bytes, limits, &mut |_| {})
}

/// The same; `progress` hears now and then how many bytes are read.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_observed(
    bytes: &[u8],
    limits: &Limits,
    progress: &mut dyn FnMut(usize),
) -> Result<Decoded, ReadError> {
    let text = String::from_utf8_lossy(bytes);
    let lines = || text.lines().enumerate();
    let counts = lines().filter_map(|(_, line)| split_count(line));
    let total = counts.fold(0_u64, |sum, (_, count)| sum.saturating_add(count));
    let mut reader = Reader {
        importer: Importer::new(total, limits),
        is_ours: is_ours(&text),
        frames: HashMap::new(),
        threads: HashMap::new(),
    };
    let (mut bad_lines, mut first_bad) = (0_usize, 0_usize);
    let mut read = 0;
    for (place, line) in lines() {
        if place.is_multiple_of(LINES_BETWEEN_PROGRESS) {
            progress(read);
        }
        read += line.len() + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match split_count(line) {
            Some((stack, count)) => reader.read_stack(stack, count),
            None => {
                bad_lines += 1;
                first_bad = if bad_lines == 1 { place + 1 } else { first_bad };
            }
        }
    }
    if reader.importer.profile.samples.is_empty() && bad_lines > 0 {
        return Err(ReadError::Line {
            line: first_bad,
            expected: "a stack and its count",
        });
    }
    let complaints = &mut reader.importer.complaints;
    if bad_lines > 0 {
        complaints.push(format!(
            "line {first_bad} has no count, and so have {bad_lines} lines in all: they are left out"
        ));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        complaints.push("its last line does not end: it may be cut off".to_owned());
    }
    Ok(reader.importer.finish())
}

/// Ours end in a kind and have escapes; elsewhere a backslash is one.
fn is_ours(text: &str) -> bool {
    let ours = [PYTHON_SUFFIX, NATIVE_SUFFIX, INCOMPLETE_SUFFIX];
    text.lines()
        .any(|line| ours.iter().any(|suffix| line.contains(suffix)))
}

struct Reader<'text> {
    importer: Importer,
    is_ours: bool,
    frames: HashMap<&'text str, FrameHandle>,
    threads: HashMap<(&'text str, Option<&'text str>), ThreadHandle>,
}

impl<'text> Reader<'text> {
    fn read_stack(&mut self, stack: &'text str, count: u64) {
        let mut parts = stack.split(';').peekable();
        let process = parts.next_if(|part| self.is_process(part));
        let thread = parts.next_if(|part| self.is_thread(part, process.is_some()));
        let thread = self.thread(process.unwrap_or_default(), thread);
        let frames: Vec<FrameHandle> = parts.map(|part| self.frame(part)).collect();
        self.importer.push(ImportedSamples {
            thread,
            frames: &frames,
            count,
            weight_ns: 0,
            time_ns: 0,
            cpu: 0,
        });
    }

    /// The first part: ours always, elsewhere unless it looks like one of py-spy's frames.
    fn is_process(&self, part: &str) -> bool {
        self.is_ours || !(split_place(part).is_some() || split_thread(part).is_some())
    }

    /// Ours is behind a process and has no suffix.
    fn is_thread(&self, part: &str, has_process: bool) -> bool {
        let is_ours = self.is_ours && has_process && split_suffix(part).is_none();
        split_thread(part).is_some() || is_ours && split_number(part).is_some()
    }

    fn thread(&mut self, process: &'text str, thread: Option<&'text str>) -> ThreadHandle {
        if let Some(&handle) = self.threads.get(&(process, thread)) {
            return handle;
        }
        let (process_name, pid) = split_process(process);
        let process_name = self.unescape(process_name);
        let handle = self.importer.process(&process_name, pid);
        let (thread_name, tid) = match thread {
            None => (process_name, pid),
            Some(thread) => match split_thread(thread).or_else(|| split_number(thread)) {
                Some((name, tid)) => (self.unescape(name), tid),
                None => (thread.to_owned(), 0),
            },
        };
        let handle = self.importer.thread(handle, &thread_name, tid);
        self.threads.insert((process, thread), handle);
        handle
    }

    fn frame(&mut self, part: &'text str) -> FrameHandle {
        if let Some(&handle) = self.frames.get(part) {
            return handle;
        }
        let (text, kind) = split_suffix(part).unwrap_or((part, None));
        let inlined = part.ends_with(INLINED_SUFFIX);
        let (name, place, line) = split_place(text).unwrap_or((text, "", 0));
        let kind = kind.unwrap_or_else(|| match line {
            0 => FrameKind::Native,
            _ => guess_kind(place),
        });
        let name = self.unescape(name);
        let place = self.unescape(place);
        let whole = self.unescape(text);
        let frame = match kind {
            FrameKind::Python => ImportedFrame {
                file: &place,
                line,
                ..ImportedFrame::named(kind, &name)
            },
            FrameKind::Native | FrameKind::Interpreter if line == 0 && !place.is_empty() => {
                ImportedFrame {
                    library: &place,
                    ..ImportedFrame::named(kind, &name)
                }
            }
            FrameKind::Native | FrameKind::Interpreter if line == 0 => ImportedFrame {
                library: library_of_address(&whole),
                ..ImportedFrame::named(kind, &whole)
            },
            // py-spy's native frames have the source in their place.
            FrameKind::Native | FrameKind::Interpreter => ImportedFrame {
                file: &place,
                line,
                ..ImportedFrame::named(kind, &name)
            },
            FrameKind::Kernel => ImportedFrame::named(kind, &whole),
            FrameKind::Incomplete => {
                let reason = whole
                    .strip_prefix('[')
                    .and_then(|text| text.strip_suffix(']'));
                ImportedFrame::named(kind, reason.unwrap_or(&whole))
            }
        };
        let handle = self.importer.frame(ImportedFrame { inlined, ..frame });
        self.frames.insert(part, handle);
        handle
    }

    fn unescape(&self, text: &str) -> String {
        match self.is_ours {
            true => unescape(text),
            false => text.to_owned(),
        }
    }
}

/// py-spy's `thread (NUMBER)` and `thread (NUMBER): NAME`: name and number, which is 0 where it is one of pthread's.
fn split_thread(part: &str) -> Option<(&str, u32)> {
    let (number, rest) = part.strip_prefix("thread (")?.split_once(')')?;
    let name = rest.strip_prefix(": ").unwrap_or("thread");
    let digits = number.strip_prefix("0x");
    match digits {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|_| (name, 0)),
        None => Some((name, number.parse().ok()?)),
    }
}

/// Ours `comm (pid)`, that of `stackcollapse-perf.pl --pid` or `--tid` `comm-pid` or `comm-pid/tid`, py-spy's
/// `process pid:"command line"`.
fn split_process(part: &str) -> (&str, u32) {
    if let Some(found) = split_number(part) {
        return found;
    }
    if let Some((pid, command)) = part
        .strip_prefix("process ")
        .and_then(|rest| rest.split_once(':'))
        && let Ok(pid) = pid.parse()
    {
        return (command.trim_matches('"'), pid);
    }
    let numbers = part.rsplit_once('-').and_then(|(name, numbers)| {
        let pid = numbers.split('/').next().unwrap_or(numbers);
        Some((name, pid.parse().ok()?))
    });
    numbers.unwrap_or((part, 0))
}

fn split_suffix(part: &str) -> Option<(&str, Option<FrameKind>)> {
    SUFFIXES
        .iter()
        .find_map(|(suffix, kind)| Some((part.strip_suffix(suffix)?, Some(*kind))))
}

/// `NAME (PLACE)` or `NAME (PLACE:LINE)`: the name, the place, the line.
fn split_place(text: &str) -> Option<(&str, &str, u32)> {
    let (name, place) = text.strip_suffix(')')?.rsplit_once(" (")?;
    let with_line = place.rsplit_once(':').and_then(|(file, line)| {
        let line: u32 = line.parse().ok()?;
        Some((name, file, line))
    });
    Some(with_line.unwrap_or((name, place, 0)))
}

/// The library in `[library+0xoffset]`.
fn library_of_address(name: &str) -> &str {
    let inner = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let split = inner.and_then(|inner| inner.rsplit_once("+0x"));
    split.map_or("", |(library, _)| library)
}

/// The other way of the escapes; what is no escape stays.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let (character, length) = read_escape(after).unwrap_or(('\\', 0));
        plain.push(character);
        rest = after.get(length..).unwrap_or_default();
    }
    plain + rest
}

/// The character that is meant after a backslash, and how many bytes say so.
fn read_escape(after: &str) -> Option<(char, usize)> {
    match after.chars().next()? {
        '\\' => Some(('\\', 1)),
        'n' => Some(('\n', 1)),
        'r' => Some(('\r', 1)),
        't' => Some(('\t', 1)),
        'u' => {
            let (digits, _) = after.strip_prefix("u{")?.split_once('}')?;
            let number = u32::from_str_radix(digits, 16).ok()?;
            Some((char::from_u32(number)?, digits.len() + 3))
        }
        _ => None,
    }
}
