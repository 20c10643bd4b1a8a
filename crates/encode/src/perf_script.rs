//! The text of `perf script` read: an event's line, its frames with the leaf first, an empty line.
//!
//! ```text
//! python3  4242/4243 [002] 3212.458791:   10101010 cpu-clock:u:
//!         7f3c6a1b2c44 deflate+0x144 (/usr/lib/x86_64-linux-gnu/libz.so.1.2.13)
//!                564a py::Job.run:/srv/app.py (/tmp/perf-4242.map)
//! ```
//!
//! The fields are perf's default ones; those that `-F` takes away are not known.
//! Frames that `python -X perf` has named in `perf-PID.map` are Python.

use std::collections::HashMap;

use viperf_profile::{FrameHandle, FrameKind, ThreadHandle};

use crate::import::{ImportedFrame, ImportedSamples, Importer, Limits, ReadError};
use crate::viperf_file::Decoded;

/// What `python -X perf` puts before a function's name:
/// <https://github.com/python/cpython/blob/v3.13.0/Python/perf_trampoline.c>.
const PYTHON_START: &str = "py::";

/// An event's line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Event<'a> {
    comm: &'a str,
    pid: u32,
    tid: u32,
    cpu: u32,
    time_ns: u64,
    period: u64,
    name: &'a str,
}

/// Whether it is the line of an event with a time.
pub(crate) fn is_event_line(line: &str) -> bool {
    parse_event(line).is_some()
}

/// The profile of what `perf script` has printed.
///
/// Clocks (`cpu-clock`, `task-clock`) count nanoseconds, so their periods are weights; other events have no weight.
///
/// # Errors
///
/// [`ReadError::Line`] when no line is an event.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, ReadError> {
    let text = String::from_utf8_lossy(bytes);
    let events = text.lines().filter_map(parse_event);
    let (first_ns, total) = events.fold((u64::MAX, 0_u64), |(first, total), event| {
        (first.min(event.time_ns), total + 1)
    });
    let mut reader = Reader {
        importer: Importer::new(total, limits),
        first_ns,
        frames: HashMap::new(),
        threads: HashMap::new(),
        event: None,
        stack: Vec::new(),
    };
    let (mut bad_lines, mut first_bad) = (0_usize, 0_usize);
    for (place, line) in text.lines().enumerate() {
        let is_good = reader.read_line(line);
        if !is_good {
            bad_lines += 1;
            first_bad = if bad_lines == 1 { place + 1 } else { first_bad };
        }
    }
    if total == 0 {
        return Err(ReadError::Line {
            line: first_bad.max(1),
            expected: "an event of perf script",
        });
    }
    // An event is whole with the empty line behind it, and that line with its end.
    let is_whole = text.ends_with('\n') && reader.event.is_none();
    reader.finish_event();
    let complaints = &mut reader.importer.complaints;
    if bad_lines > 0 {
        complaints.push(format!(
            "line {first_bad} is neither an event nor a frame, and so are {bad_lines} lines in all: they are left out"
        ));
    }
    if !is_whole {
        complaints.push("its last stack does not end in an empty line: it may be cut off".into());
    }
    let profile = &mut reader.importer.profile;
    let last_ns = profile.samples.iter().map(|sample| sample.time_ns).max();
    profile.information.duration_ns = last_ns.unwrap_or(0);
    Ok(reader.importer.finish())
}

struct Reader<'a> {
    importer: Importer,
    first_ns: u64,
    frames: HashMap<&'a str, FrameHandle>,
    threads: HashMap<(&'a str, u32, u32), ThreadHandle>,
    event: Option<Event<'a>>,
    /// The leaf first, as perf prints it.
    stack: Vec<FrameHandle>,
}

impl<'a> Reader<'a> {
    /// `false` for a line that is nothing that perf prints.
    fn read_line(&mut self, line: &'a str) -> bool {
        if line.trim().is_empty() {
            self.finish_event();
            return true;
        }
        if line.starts_with('#') {
            return true;
        }
        if let Some(event) = parse_event(line) {
            self.finish_event();
            self.event = Some(event);
            return true;
        }
        if !line.starts_with([' ', '\t']) || self.event.is_none() {
            return false;
        }
        match self.frame(line.trim()) {
            Some(frame) => {
                self.stack.push(frame);
                true
            }
            None => false,
        }
    }

    fn finish_event(&mut self) {
        let Some(event) = self.event.take() else {
            return;
        };
        let key = (event.comm, event.pid, event.tid);
        let importer = &mut self.importer;
        let thread = *self.threads.entry(key).or_insert_with(|| {
            let process = importer.process(event.comm, event.pid);
            importer.thread(process, event.comm, event.tid)
        });
        self.stack.reverse();
        let is_clock = event.name.contains("cpu-clock") || event.name.contains("task-clock");
        importer.push(ImportedSamples {
            thread,
            frames: &self.stack,
            count: 1,
            weight_ns: if is_clock { event.period } else { 0 },
            time_ns: event.time_ns.saturating_sub(self.first_ns),
            cpu: event.cpu,
        });
        self.stack.clear();
    }

    /// `ADDRESS SYMBOL+0xOFFSET (LIBRARY)`, and with `(inlined)` for the library.
    fn frame(&mut self, text: &'a str) -> Option<FrameHandle> {
        if let Some(&handle) = self.frames.get(text) {
            return Some(handle);
        }
        let (address, rest) = text.split_once(' ')?;
        let address = u64::from_str_radix(address, 16).ok()?;
        let (symbol, library) = rest.strip_suffix(')')?.rsplit_once(" (")?;
        let symbol = strip_offset(symbol.trim());
        let inlined = library == "inlined";
        let library = if inlined { "" } else { library };
        let handle = self.importer.frame(ImportedFrame {
            inlined,
            ..symbol_frame(symbol, library, address)
        });
        self.frames.insert(text, handle);
        Some(handle)
    }
}

fn symbol_frame<'a>(symbol: &'a str, library: &'a str, address: u64) -> ImportedFrame<'a> {
    if let Some(python) = symbol.strip_prefix(PYTHON_START) {
        let (name, file) = python.rsplit_once(':').unwrap_or((python, ""));
        return ImportedFrame {
            file,
            ..ImportedFrame::named(FrameKind::Python, name)
        };
    }
    // Addresses of processes are not those of their files, so they are not kept.
    let module = library
        .strip_prefix('[')
        .and_then(|module| module.strip_suffix(']'));
    let is_high = address >> 63 == 1;
    match module {
        Some(module) if module.starts_with("kernel.") || is_high => ImportedFrame {
            library: if module.starts_with("kernel.") {
                ""
            } else {
                module
            },
            ..ImportedFrame::named(FrameKind::Kernel, symbol)
        },
        // A module with its path: `/lib/modules/6.1.0/kernel/net/nf_tables.ko`.
        _ if is_high => ImportedFrame {
            library,
            ..ImportedFrame::named(FrameKind::Kernel, symbol)
        },
        _ => ImportedFrame {
            library: if library == "[unknown]" { "" } else { library },
            ..ImportedFrame::named(FrameKind::Native, symbol)
        },
    }
}

fn strip_offset(symbol: &str) -> &str {
    let split = symbol.rsplit_once("+0x");
    let offset = split.filter(|(_, digits)| u64::from_str_radix(digits, 16).is_ok());
    offset.map_or(symbol, |(symbol, _)| symbol)
}

/// `COMM PID[/TID] [[CPU]] TIME: [PERIOD] EVENT:`; a comm may hold spaces, so it ends at the last number before the time.
fn parse_event(line: &str) -> Option<Event<'_>> {
    if line.starts_with(['\t', '#']) {
        return None;
    }
    let mut time = None;
    let mut from = 0;
    // The time is the first word that is a number with a point and ends in a colon.
    for (place, _) in line.match_indices(':') {
        let before = line.get(..place)?;
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        if start >= from
            && let Some(time_ns) = parse_seconds(before.get(start..)?)
        {
            time = Some((start, place, time_ns));
            break;
        }
        from = place + 1;
    }
    let (start, colon, time_ns) = time?;
    let (before, after) = (line.get(..start)?.trim_end(), line.get(colon + 1..)?);
    let (before, cpu) = match before
        .strip_suffix(']')
        .and_then(|rest| rest.rsplit_once('['))
    {
        Some((rest, cpu)) => (rest.trim_end(), cpu.parse().ok()?),
        None => (before, 0),
    };
    let (comm, numbers) = before.rsplit_once(char::is_whitespace)?;
    let (pid, tid) = match numbers.split_once('/') {
        Some((pid, tid)) => (pid.parse().ok()?, tid.parse().ok()?),
        // Without `/` it is perf's tid, and the process is not known; most have one thread.
        None => (numbers.parse().ok()?, numbers.parse().ok()?),
    };
    let mut words = after.split_whitespace();
    let first = words.next().unwrap_or_default();
    let (period, name) = match first.parse() {
        Ok(period) => (period, words.next().unwrap_or_default()),
        Err(_) => (0, first),
    };
    Some(Event {
        comm: comm.trim(),
        pid,
        tid,
        cpu,
        time_ns,
        period,
        name: name.trim_end_matches(':'),
    })
}

/// `SECONDS.FRACTION` in nanoseconds.
fn parse_seconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    let digits: u64 = fraction.parse().ok()?;
    let scale = 10_u64.pow(9 - fraction.len() as u32);
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(digits * scale)
}

#[cfg(test)]
mod tests;
