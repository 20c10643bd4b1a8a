//! Threads: their samples in time order, and their markers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use viperf_profile::{FrameKind, Profile, ProfileError, Sample, ThreadHandle};

use crate::EncodeError;
use crate::firefox::meta::{CPU_MARKER, INCOMPLETE_MARKER, category, milliseconds};
use crate::firefox::tables::Tables;
use crate::json_text::{push_field, push_list, push_name};

/// Markers that lie at an instant, and those that have a start and an end.
const INSTANT: u32 = 0;
const INTERVAL: u32 = 1;

/// Appends every thread that has samples, those of a process together, its main thread first.
pub(super) fn push_threads(
    text: &mut Vec<u8>,
    profile: &Profile,
    tables: &mut Tables,
) -> Result<(), EncodeError> {
    let mut threads: BTreeMap<ThreadHandle, Vec<Sample>> = BTreeMap::new();
    for sample in &profile.samples {
        threads.entry(sample.thread).or_default().push(*sample);
    }
    let mut ordered = Vec::with_capacity(threads.len());
    for (handle, samples) in threads {
        let thread = profile.thread(handle)?;
        let is_main = profile.process(thread.process)?.pid == thread.tid;
        ordered.push(((thread.process, !is_main, handle), samples));
    }
    ordered.sort_by_key(|(order, _)| *order);
    for (place, ((.., handle), mut samples)) in ordered.into_iter().enumerate() {
        samples.sort_by_key(|sample| sample.time_ns);
        if place > 0 {
            text.push(b',');
        }
        push_thread(text, profile, tables, handle, &samples)?;
    }
    Ok(())
}

fn push_thread(
    text: &mut Vec<u8>,
    profile: &Profile,
    tables: &mut Tables,
    handle: ThreadHandle,
    samples: &[Sample],
) -> Result<(), EncodeError> {
    let thread = profile.thread(handle)?;
    let process = profile.process(thread.process)?;
    let first = samples.first().map_or(0, |sample| sample.time_ns);
    text.push(b'{');
    push_field(text, "processType", "default")?;
    push_field(text, "processName", profile.string(process.shown_name())?)?;
    push_field(text, "processStartupTime", &0)?;
    push_field(text, "processShutdownTime", &None::<f64>)?;
    push_field(text, "registerTime", &milliseconds(first))?;
    push_field(text, "unregisterTime", &None::<f64>)?;
    push_field(text, "pausedRanges", &[(); 0])?;
    push_field(text, "name", profile.string(thread.name)?)?;
    push_field(text, "isMainThread", &(process.pid == thread.tid))?;
    push_field(text, "showMarkersInTimeline", &false)?;
    // A pid is a text in this format: two processes of one pid, before and after exec, are told apart by it.
    push_field(text, "pid", &process.pid.to_string())?;
    push_field(text, "tid", &thread.tid)?;
    push_samples(text, tables, samples)?;
    push_markers(text, profile, tables, samples)?;
    text.push(b'}');
    Ok(())
}

/// Every sample is one; the CPU time between two is what the later one stands for.
fn push_samples(
    text: &mut Vec<u8>,
    tables: &Tables,
    samples: &[Sample],
) -> Result<(), EncodeError> {
    push_name(text, "samples");
    text.push(b'{');
    push_field(text, "length", &samples.len())?;
    push_field(text, "weightType", "samples")?;
    push_field(text, "weight", &None::<u32>)?;
    let stacks = samples
        .iter()
        .map(|sample| tables.stacks.find(sample.stack));
    push_list(text, "stack", stacks)?;
    let times = samples.iter().map(|sample| milliseconds(sample.time_ns));
    push_list(text, "time", times)?;
    let weights = samples.iter().map(|sample| sample.weight_ns);
    push_list(text, "threadCPUDelta", weights)?;
    text.push(b'}');
    Ok(())
}

struct Marker {
    name: u32,
    category: u32,
    start_ns: u64,
    /// `None` for an instant.
    end_ns: Option<u64>,
    data: Value,
}

fn push_markers(
    text: &mut Vec<u8>,
    profile: &Profile,
    tables: &mut Tables,
    samples: &[Sample],
) -> Result<(), EncodeError> {
    let mut markers = cpu_markers(tables, samples);
    markers.extend(incomplete_markers(profile, tables, samples)?);
    push_name(text, "markers");
    text.push(b'{');
    let markers = || markers.iter();
    push_field(text, "length", &markers().len())?;
    push_list(text, "name", markers().map(|marker| marker.name))?;
    push_list(text, "category", markers().map(|marker| marker.category))?;
    let start = |marker: &Marker| milliseconds(marker.start_ns);
    push_list(text, "startTime", markers().map(start))?;
    let end = |marker: &Marker| marker.end_ns.map(milliseconds);
    push_list(text, "endTime", markers().map(end))?;
    let phase = |marker: &Marker| match marker.end_ns {
        Some(_) => INTERVAL,
        None => INSTANT,
    };
    push_list(text, "phase", markers().map(phase))?;
    push_list(text, "data", markers().map(|marker| &marker.data))?;
    text.push(b'}');
    Ok(())
}

/// Samples in a row on one CPU are one marker, from the first of them to the last.
fn cpu_markers(tables: &mut Tables, samples: &[Sample]) -> Vec<Marker> {
    let name = tables.text("CPU");
    let runs = samples.chunk_by(|left, right| left.cpu == right.cpu);
    runs.filter_map(|run| {
        let (first, last) = (run.first()?, run.last()?);
        Some(Marker {
            name,
            category: category(FrameKind::Native),
            start_ns: first.time_ns,
            end_ns: Some(last.time_ns),
            data: json!({ "type": CPU_MARKER, "cpu": first.cpu, "samples": run.len() }),
        })
    })
    .collect()
}

fn incomplete_markers(
    profile: &Profile,
    tables: &mut Tables,
    samples: &[Sample],
) -> Result<Vec<Marker>, ProfileError> {
    let name = tables.text("incomplete sample");
    let incomplete = samples.iter().filter(|sample| !sample.complete);
    let markers = incomplete.map(|sample| {
        let reason = tables.reason(profile, sample.stack);
        Marker {
            name,
            category: category(FrameKind::Incomplete),
            start_ns: sample.time_ns,
            end_ns: None,
            data: json!({ "type": INCOMPLETE_MARKER, "reason": reason.unwrap_or("not said") }),
        }
    });
    Ok(markers.collect())
}
