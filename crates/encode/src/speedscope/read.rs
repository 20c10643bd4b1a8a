//! speedscope's files read: sampled and evented profiles, by whichever tool they were written.

use serde::Deserialize;
use viperf_profile::{FrameHandle, FrameKind, ThreadHandle};

use crate::import::{
    ImportedFrame, ImportedSamples, Importer, Limits, ReadError, guess_kind, split_number,
};
use crate::speedscope::{KERNEL, MODULE_START};
use crate::viperf_file::Decoded;

#[derive(Deserialize)]
struct File {
    shared: Shared,
    profiles: Vec<Profile>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    exporter: Option<String>,
}

#[derive(Deserialize)]
struct Shared {
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    name: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<f64>,
    #[serde(default)]
    col: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    start_value: f64,
    #[serde(flatten)]
    contents: Contents,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Contents {
    Sampled {
        samples: Vec<Vec<usize>>,
        weights: Vec<f64>,
    },
    Evented {
        events: Vec<Event>,
    },
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event_type: String,
    frame: usize,
    at: f64,
}

/// What our own files call the profile that holds all the others.
const MERGED: &str = "all threads, merged";

/// The profile in a speedscope file; each of the file's profiles is a thread.
///
/// # Errors
///
/// [`ReadError::Json`] for what is no such file, with line and column, and [`ReadError::NoSamples`] for one that counts
/// bytes.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, ReadError> {
    let file: File = serde_json::from_slice(bytes)?;
    let exporter = file.exporter.as_deref().unwrap_or_default();
    let is_ours = exporter.starts_with("viperf");
    let is_merged =
        |profile: &&Profile| is_ours && profile.name == MERGED && file.profiles.len() > 1;
    let profiles = || file.profiles.iter().filter(|profile| !is_merged(profile));
    let total = profiles().map(count).fold(0, u64::saturating_add);
    let mut importer = Importer::new(total, limits);
    importer.profile.information.target = file.name.clone().unwrap_or_default();
    let frames = file.shared.frames.iter();
    let frames: Vec<FrameHandle> = frames
        .map(|frame| read_frame(&mut importer, frame, is_ours))
        .collect();
    let mut has_bytes = None;
    for (number, profile) in (1..).zip(profiles()) {
        let Some(scale) = Scale::of(&profile.unit) else {
            has_bytes = Some(profile.unit.clone());
            continue;
        };
        let thread = read_thread(&mut importer, &profile.name, number);
        let mut reader = Reader {
            importer: &mut importer,
            frames: &frames,
            thread,
            scale,
            stack: Vec::new(),
        };
        reader.read(profile);
    }
    match has_bytes {
        Some(unit) if importer.profile.samples.is_empty() => Err(ReadError::NoSamples {
            what: format!("its unit is {unit}"),
        }),
        _ => Ok(importer.finish()),
    }
}

/// How many samples a profile gives.
fn count(profile: &Profile) -> u64 {
    match (&profile.contents, Scale::of(&profile.unit)) {
        (Contents::Sampled { weights, .. }, Some(Scale::Counts)) => {
            let weights = weights.iter().map(|&weight| whole(weight));
            weights.fold(0, u64::saturating_add)
        }
        (Contents::Sampled { samples, .. }, _) => samples.len() as u64,
        (Contents::Evented { events }, _) => events.len() as u64,
    }
}

/// What the numbers of a profile are.
#[derive(Clone, Copy)]
enum Scale {
    /// Samples.
    Counts,
    /// Time; the factor gives nanoseconds.
    Time(f64),
}

impl Scale {
    fn of(unit: &str) -> Option<Self> {
        Some(match unit {
            "nanoseconds" => Self::Time(1.0),
            "microseconds" => Self::Time(1e3),
            "milliseconds" => Self::Time(1e6),
            "seconds" => Self::Time(1e9),
            "none" | "" => Self::Counts,
            _ => return None,
        })
    }
}

/// The nearest whole number that is not negative. A conversion of floats stops at the ends of the range.
fn whole(number: f64) -> u64 {
    number.round() as u64
}

fn read_thread(importer: &mut Importer, name: &str, number: u32) -> ThreadHandle {
    // Ours: `comm (pid) thread (tid)`.
    let ours = split_number(name).and_then(|(rest, tid)| {
        let (process, thread) = rest.split_once(") ")?;
        let (process, pid) = process.rsplit_once(" (")?;
        Some((process, pid.parse().ok()?, thread, tid))
    });
    // py-spy's: `Thread 4243 "worker"`.
    let py_spy = name.strip_prefix("Thread ").and_then(|rest| {
        let (tid, thread) = rest.split_once(' ')?;
        Some(("", 0, thread.trim_matches('"'), tid.parse().ok()?))
    });
    let found = ours.or(py_spy);
    let (process, pid, thread, tid) = found.unwrap_or(("", 0, name, number));
    let process = importer.process(process, pid);
    importer.thread(process, thread, tid)
}

fn read_frame(importer: &mut Importer, frame: &Frame, is_ours: bool) -> FrameHandle {
    let file = frame.file.as_deref().unwrap_or_default();
    let line = frame.line.map_or(0, |line| line as u32);
    let name = frame.name.as_str();
    let reason = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let module = file
        .strip_prefix(MODULE_START)
        .and_then(|file| file.strip_suffix(']'));
    // Only Python has lines in ours.
    let kind = match is_ours && line != 0 {
        true => FrameKind::Python,
        false => guess_kind(file),
    };
    let imported = match (reason, module) {
        (Some(reason), _) if file.is_empty() => ImportedFrame::named(FrameKind::Incomplete, reason),
        (_, Some(module)) => ImportedFrame {
            library: module,
            ..ImportedFrame::named(FrameKind::Kernel, name)
        },
        _ if file == KERNEL => ImportedFrame::named(FrameKind::Kernel, name),
        _ if line == 0 && kind == FrameKind::Native => ImportedFrame {
            library: file,
            ..ImportedFrame::named(FrameKind::Native, name)
        },
        _ => ImportedFrame {
            file,
            line,
            column: frame.col.map_or(0, |column| column as u32),
            ..ImportedFrame::named(kind, name)
        },
    };
    importer.frame(imported)
}

struct Reader<'a> {
    importer: &'a mut Importer,
    frames: &'a [FrameHandle],
    thread: ThreadHandle,
    scale: Scale,
    stack: Vec<FrameHandle>,
}

impl Reader<'_> {
    fn read(&mut self, profile: &Profile) {
        match &profile.contents {
            Contents::Sampled { samples, weights } => {
                if samples.len() != weights.len() {
                    let (samples, weights) = (samples.len(), weights.len());
                    self.importer.complaints.push(format!(
                        "the profile `{}` has {samples} samples and {weights} weights: what has both is read",
                        profile.name
                    ));
                }
                let mut at = profile.start_value;
                for (sample, &weight) in samples.iter().zip(weights) {
                    self.stack.clear();
                    let frames = sample.iter().filter_map(|&frame| self.frames.get(frame));
                    self.stack.extend(frames);
                    self.push(at, weight);
                    at += weight;
                }
            }
            Contents::Evented { events } => self.read_events(profile, events),
        }
    }

    /// Between two events the stack stays as it is.
    fn read_events(&mut self, profile: &Profile, events: &[Event]) {
        let mut last = profile.start_value;
        for event in events {
            if event.at > last && !self.stack.is_empty() {
                self.push(last, event.at - last);
            }
            last = event.at;
            if event.event_type == "C" {
                self.stack.pop();
            } else if let Some(&frame) = self.frames.get(event.frame) {
                self.stack.push(frame);
            }
        }
    }

    fn push(&mut self, at: f64, weight: f64) {
        let (count, weight_ns, time_ns) = match self.scale {
            Scale::Counts => (whole(weight), 0, 0),
            Scale::Time(factor) => (1, whole(weight * factor), whole(at * factor)),
        };
        self.importer.push(ImportedSamples {
            thread: self.thread,
            frames: &self.stack,
            count,
            weight_ns,
            time_ns,
            cpu: 0,
        });
    }
}
