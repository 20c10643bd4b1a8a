//! pprof read, by whichever tool it was written.

use std::collections::HashMap;

use prost::Message as _;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use viperf_profile::{FrameHandle, FrameKind, ThreadHandle};

use crate::import::{
    DEEPEST_STACK, ImportedFrame, ImportedSamples, Importer, Limits, ReadError, guess_kind,
};
use crate::pprof::{KERNEL, MODULE_START, message};
use crate::viperf_file::Decoded;

/// Whether the bytes begin as a pprof message: with a whole field that such a message has.
pub(crate) fn is_pprof(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let Ok((tag, wire_type)) = decode_key(&mut rest) else {
        return false;
    };
    (1..=15).contains(&tag)
        && skip_field(wire_type, tag, &mut rest, DecodeContext::default()).is_ok()
}

/// The profile in a pprof message that is not compressed.
///
/// # Errors
///
/// [`ReadError::Message`] where it is broken, and [`ReadError::NoSamples`] for one that counts neither samples nor time.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, ReadError> {
    let message = message::Profile::decode(bytes).map_err(|error| ReadError::Message {
        offset: find_broken_field(bytes),
        length: bytes.len(),
        reason: error.to_string(),
    })?;
    let values = Values::of(&message)?;
    let samples = message.sample.iter();
    let total = samples.map(|sample| values.read(sample).0);
    let total = total.fold(0, u64::saturating_add);
    let mut reader = Reader::new(&message, Importer::new(total, limits));
    reader.read_information();
    for sample in &message.sample {
        let (count, weight_ns) = values.read(sample);
        let thread = reader.thread(sample);
        let frames = reader.frames(sample);
        reader.importer.push(ImportedSamples {
            thread,
            frames: &frames,
            count,
            weight_ns,
            time_ns: 0,
            cpu: 0,
        });
    }
    if reader.missing_locations > 0 {
        let missing = reader.missing_locations;
        let complaint = format!("{missing} frames name a location that is not there: left out");
        reader.importer.complaints.push(complaint);
    }
    Ok(reader.importer.finish())
}

/// Where the first field begins that ends too late or cannot be read.
fn find_broken_field(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        let offset = bytes.len() - rest.remaining();
        let Ok((tag, wire_type)) = decode_key(&mut rest) else {
            return offset;
        };
        if skip_field(wire_type, tag, &mut rest, DecodeContext::default()).is_err()
            || rest.is_empty()
        {
            return offset;
        }
    }
}

/// Which of a sample's values count samples and time.
struct Values {
    count: Option<usize>,
    /// The factor gives nanoseconds.
    time: Option<(usize, u64)>,
    /// Of one sample; 0 when not known.
    period_ns: u64,
}

impl Values {
    fn of(message: &message::Profile) -> Result<Self, ReadError> {
        let text = |number: i64| text(message, number);
        let types = message.sample_type.iter();
        let units: Vec<_> = types.map(|value_type| text(value_type.unit)).collect();
        let count = units.iter().position(|&unit| unit == "count");
        let time = units
            .iter()
            .enumerate()
            .find_map(|(place, unit)| Some((place, nanoseconds_in(unit)?)));
        if count.is_none() && time.is_none() {
            return Err(ReadError::NoSamples {
                what: format!("its values are in {}", units.join(", ")),
            });
        }
        let period_unit = message
            .period_type
            .and_then(|of| nanoseconds_in(text(of.unit)));
        let period = u64::try_from(message.period).unwrap_or(0);
        Ok(Self {
            count,
            time,
            period_ns: period_unit.map_or(0, |factor| period.saturating_mul(factor)),
        })
    }

    /// How many samples, and the time they stand for together.
    fn read(&self, sample: &message::Sample) -> (u64, u64) {
        let value = |place: usize| {
            let value = sample.value.get(place).copied().unwrap_or(0);
            u64::try_from(value).unwrap_or(0)
        };
        let time = self
            .time
            .map_or(0, |(place, factor)| value(place).saturating_mul(factor));
        let count = match self.count {
            Some(place) => value(place),
            None if self.period_ns > 0 => time / self.period_ns,
            None => 0,
        };
        (count.max(u64::from(time > 0)), time)
    }
}

fn nanoseconds_in(unit: &str) -> Option<u64> {
    Some(match unit {
        "nanoseconds" | "nanosecond" | "ns" => 1,
        "microseconds" | "microsecond" | "us" => 1_000,
        "milliseconds" | "millisecond" | "ms" => 1_000_000,
        "seconds" | "second" | "s" => 1_000_000_000,
        _ => return None,
    })
}

fn text(message: &message::Profile, number: i64) -> &str {
    let place = usize::try_from(number).ok();
    let text = place.and_then(|place| message.string_table.get(place));
    text.map_or("", String::as_str)
}

struct Reader<'a> {
    message: &'a message::Profile,
    importer: Importer,
    mappings: HashMap<u64, &'a message::Mapping>,
    functions: HashMap<u64, &'a message::Function>,
    locations: HashMap<u64, &'a message::Location>,
    /// The frames of a location, the root first.
    frames: HashMap<u64, Vec<FrameHandle>>,
    threads: HashMap<(&'a str, &'a str, u32, u32), ThreadHandle>,
    missing_locations: u64,
    /// viperf wrote it: what has a file and no mapping is Python, whatever the file is called.
    is_ours: bool,
}

impl<'a> Reader<'a> {
    fn new(message: &'a message::Profile, importer: Importer) -> Self {
        let mappings = message.mapping.iter();
        let functions = message.function.iter();
        let locations = message.location.iter();
        Self {
            message,
            importer,
            mappings: mappings.map(|mapping| (mapping.id, mapping)).collect(),
            functions: functions.map(|function| (function.id, function)).collect(),
            locations: locations.map(|location| (location.id, location)).collect(),
            frames: HashMap::new(),
            threads: HashMap::new(),
            missing_locations: 0,
            is_ours: false,
        }
    }

    fn text(&self, number: i64) -> &'a str {
        text(self.message, number)
    }

    /// Times and period stand in fields; what else we know is in our comments.
    fn read_information(&mut self) {
        let message = self.message;
        let comments: Vec<&str> = message
            .comment
            .iter()
            .map(|&text| self.text(text))
            .collect();
        let comment = |name: &str| {
            let found = comments.iter().find_map(|text| {
                let (before, after) = text.split_once(": ")?;
                (before == name).then(|| after.to_owned())
            });
            found.unwrap_or_default()
        };
        let positive = |number: i64| u64::try_from(number).unwrap_or(0);
        let period_type = message.period_type;
        let factor = period_type.and_then(|of| nanoseconds_in(text(message, of.unit)));
        let information = &mut self.importer.profile.information;
        information.started_unix_ns = positive(message.time_nanos);
        information.duration_ns = positive(message.duration_nanos);
        information.period_ns = positive(message.period).saturating_mul(factor.unwrap_or(0));
        information.viperf_version = comment("viperf");
        self.is_ours = !information.viperf_version.is_empty();
        information.target = comment("target");
        information.hostname = comment("host");
        information.kernel = comment("kernel");
        let rate = comment("rate");
        information.rate_hz = rate.trim_end_matches(" Hz").parse().unwrap_or(0);
        self.importer.profile.lost = comment("samples lost").parse().unwrap_or(0);
    }

    /// By our labels, and by those of others: `thread`, `thread_name`, `thread id`.
    fn thread(&mut self, sample: &message::Sample) -> ThreadHandle {
        let (mut process, mut thread, mut pid, mut tid) = ("", "", 0, 0);
        for label in &sample.label {
            let number = u32::try_from(label.number).unwrap_or(0);
            match self.text(label.key) {
                "process" | "process_name" | "process name" => process = self.text(label.text),
                "thread" | "thread_name" | "thread name" => thread = self.text(label.text),
                "pid" | "process_id" | "process id" => pid = number,
                "tid" | "thread_id" | "thread id" => tid = number,
                _ => {}
            }
        }
        let key = (process, thread, pid, tid);
        if let Some(&handle) = self.threads.get(&key) {
            return handle;
        }
        let process = self.importer.process(process, pid);
        let handle = self.importer.thread(process, thread, tid);
        self.threads.insert(key, handle);
        handle
    }

    /// The root first.
    fn frames(&mut self, sample: &message::Sample) -> Vec<FrameHandle> {
        let mut frames = Vec::with_capacity(sample.location_id.len());
        for &id in sample.location_id.iter().rev() {
            if !self.frames.contains_key(&id) {
                let location = self.locations.get(&id).copied();
                let found = location.map(|location| self.location(location));
                self.frames.insert(id, found.unwrap_or_default());
            }
            match self.frames.get(&id) {
                Some(found) if !found.is_empty() => {
                    let room = DEEPEST_STACK.saturating_sub(frames.len());
                    frames.extend(found.iter().take(room));
                }
                _ => self.missing_locations += 1,
            }
        }
        frames
    }

    /// All lines but the last are inlined into the one after.
    fn location(&mut self, location: &'a message::Location) -> Vec<FrameHandle> {
        let mapping = self.mappings.get(&location.mapping_id).copied();
        let library = mapping.map_or("", |mapping| self.text(mapping.filename));
        let build_id = mapping.map_or("", |mapping| self.text(mapping.build_id));
        if location.line.is_empty() {
            let base = library.rsplit('/').next().unwrap_or(library);
            let name = format!("[{base}+{:#x}]", location.address);
            let frame = ImportedFrame {
                library,
                build_id,
                address: location.address,
                ..ImportedFrame::named(FrameKind::Native, &name)
            };
            return vec![self.importer.frame(frame)];
        }
        let mut frames = Vec::with_capacity(location.line.len());
        for (place, line) in location.line.iter().enumerate().rev() {
            let function = self.functions.get(&line.function_id).copied();
            let name = function.map_or("", |function| self.text(function.name));
            let file = function.map_or("", |function| self.text(function.filename));
            let first_line = function.map_or(0, |function| function.start_line);
            let frame = ImportedFrame {
                build_id,
                first_line: u32::try_from(first_line).unwrap_or(0),
                line: u32::try_from(line.line).unwrap_or(0),
                column: u32::try_from(line.column).unwrap_or(0),
                address: location.address,
                inlined: place + 1 < location.line.len(),
                ..named_frame(name, file, library, self.is_ours)
            };
            frames.push(self.importer.frame(frame));
        }
        frames
    }
}

/// The kind by what the writer has given.
fn named_frame<'a>(
    name: &'a str,
    file: &'a str,
    library: &'a str,
    is_ours: bool,
) -> ImportedFrame<'a> {
    let module = library.strip_prefix(MODULE_START);
    let reason = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match (module.and_then(|module| module.strip_suffix(']')), reason) {
        (Some(module), _) => ImportedFrame {
            library: module,
            file,
            ..ImportedFrame::named(FrameKind::Kernel, name)
        },
        // perf's name for it is `[kernel.kallsyms]`.
        _ if library == KERNEL || library.starts_with("[kernel.") => ImportedFrame {
            file,
            ..ImportedFrame::named(FrameKind::Kernel, name)
        },
        (_, Some(reason)) if library.is_empty() && file.is_empty() => {
            ImportedFrame::named(FrameKind::Incomplete, reason)
        }
        _ if is_ours => {
            let kind = match library.is_empty() && !file.is_empty() {
                true => FrameKind::Python,
                false => FrameKind::Native,
            };
            ImportedFrame {
                file,
                library,
                ..ImportedFrame::named(kind, name)
            }
        }
        _ => ImportedFrame {
            file,
            library,
            ..ImportedFrame::named(guess_kind(file), name)
        },
    }
}
