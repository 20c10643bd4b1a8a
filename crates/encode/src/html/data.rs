//! The page's data: a JSON head and columns of numbers, compressed.
//!
//! `docs/formats/html.md` describes it; `web/src/data/read.ts` is its reader.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use viperf_profile::{FrameKind, Function, Handle, Profile, ProfileInformation};

use crate::EncodeError;
use crate::html::Options;
use crate::html::call_tree::{CallTree, page_number};

/// The form of the data; page and data travel together, so there is never an old reader.
const FORMAT: u32 = 2;

/// "None" in a column of row numbers.
const NONE: u32 = u32::MAX;

/// Columns begin at multiples of this, since a typed array must.
const ALIGNMENT: usize = 8;

#[derive(Serialize)]
struct Head<'a> {
    format: u32,
    information: Information<'a>,
    samples: u64,
    complete: u64,
    lost: u64,
    incomplete: &'a BTreeMap<String, u64>,
    /// What every sample weighs; 0 when they differ, and then there is a column of weights.
    weight_ns: u64,
    /// What the column of times counts.
    time_unit_ns: u64,
    view: View,
    strings: Vec<&'a str>,
    processes: Vec<Process>,
    threads: Vec<Thread>,
    columns: &'a [(&'static str, &'static str, usize)],
}

#[derive(Serialize)]
struct Information<'a> {
    viperf_version: &'a str,
    hostname: &'a str,
    kernel: &'a str,
    started_unix_ms: u64,
    duration_ns: u64,
    period_ns: u64,
    rate_hz: u32,
    target: &'a str,
}

#[derive(Serialize)]
struct View {
    threads: bool,
    merge_processes: bool,
    interpreter_frames: bool,
}

#[derive(Serialize)]
struct Process {
    pid: u32,
    name: u32,
    command_line: u32,
    python_version: Option<u32>,
}

#[derive(Serialize)]
struct Thread {
    process: u32,
    tid: u32,
    name: u32,
}

/// The head's length as a little-endian `u32`, four bytes of 0, the head, the columns; all as gzip.
pub(super) fn encode(
    profile: &Profile,
    tree: &CallTree<'_>,
    options: &Options,
) -> Result<Vec<u8>, EncodeError> {
    let mut columns = Columns::default();
    append_functions(&mut columns, profile)?;
    append_frames(&mut columns, tree);
    append_nodes(&mut columns, tree);
    let units = append_samples(&mut columns, tree);
    let head = serde_json::to_vec(&head(profile, options, &columns.descriptions, units))?;
    let length = page_number("bytes of names", head.len())?;

    // Level 6 is within 2 % of level 9's size at a third of its time.
    let mut file = GzEncoder::new(Vec::new(), Compression::new(6));
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&[0; 4])?;
    file.write_all(&head)?;
    file.write_all(&vec![
        0;
        head.len().next_multiple_of(ALIGNMENT) - head.len()
    ])?;
    file.write_all(&columns.bytes)?;
    Ok(file.finish()?)
}

fn head<'a>(
    profile: &'a Profile,
    options: &Options,
    columns: &'a [(&'static str, &'static str, usize)],
    units: SampleUnits,
) -> Head<'a> {
    let Options {
        threads,
        merge_processes,
        interpreter_frames,
    } = *options;
    let process = |(_, row): (_, &viperf_profile::Process)| Process {
        pid: row.pid,
        name: row.name.index(),
        command_line: row.command_line.index(),
        python_version: row.python_version.map(Handle::index),
    };
    let thread = |(_, row): (_, &viperf_profile::Thread)| Thread {
        process: row.process.index(),
        tid: row.tid,
        name: row.name.index(),
    };
    Head {
        format: FORMAT,
        information: information(&profile.information),
        samples: profile.samples.len() as u64,
        complete: profile.complete_samples(),
        lost: profile.lost,
        incomplete: &profile.incomplete,
        weight_ns: units.weight_ns,
        time_unit_ns: units.time_ns,
        view: View {
            threads,
            merge_processes,
            interpreter_frames,
        },
        strings: profile.strings.iter().map(|(_, text)| text).collect(),
        processes: profile.processes.iter().map(process).collect(),
        threads: profile.threads.iter().map(thread).collect(),
        columns,
    }
}

fn information(information: &ProfileInformation) -> Information<'_> {
    let ProfileInformation {
        viperf_version,
        hostname,
        kernel,
        started_unix_ns,
        duration_ns,
        period_ns,
        rate_hz,
        target,
    } = information;
    Information {
        viperf_version,
        hostname,
        kernel,
        started_unix_ms: started_unix_ns / 1_000_000,
        duration_ns: *duration_ns,
        period_ns: *period_ns,
        rate_hz: *rate_hz,
        target,
    }
}

/// Columns as bytes, and what the head says of each: name, type, entries.
#[derive(Default)]
struct Columns {
    descriptions: Vec<(&'static str, &'static str, usize)>,
    bytes: Vec<u8>,
}

impl Columns {
    fn append<const N: usize>(
        &mut self,
        name: &'static str,
        entry_type: &'static str,
        entries: impl Iterator<Item = [u8; N]>,
    ) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let start = self.bytes.len();
        self.bytes.extend(entries.flatten());
        let length = (self.bytes.len() - start) / N;
        self.descriptions.push((name, entry_type, length));
    }

    /// The lowest bytes of all entries, then the next, and so on: bytes of one meaning beside each other compress better.
    fn append_u32(&mut self, name: &'static str, entries: impl Iterator<Item = u32>) {
        let entries: Vec<[u8; 4]> = entries.map(u32::to_le_bytes).collect();
        let planes =
            (0..4).flat_map(|plane| entries.iter().filter_map(move |entry| entry.get(plane)));
        let planes: Vec<u8> = planes.copied().collect();
        self.append(name, "u8", planes.into_iter().map(|byte| [byte]));
        if let Some(description) = self.descriptions.last_mut() {
            *description = (name, "u32", entries.len());
        }
    }
}

fn append_functions(columns: &mut Columns, profile: &Profile) -> Result<(), EncodeError> {
    page_number("names", profile.strings.len())?;
    let functions = || {
        profile
            .functions
            .iter()
            .map(|(_, function): (_, &Function)| *function)
    };
    let optional =
        |handle: Option<viperf_profile::StringHandle>| handle.map_or(NONE, Handle::index);
    columns.append_u32(
        "function_name",
        functions().map(|function| function.name.index()),
    );
    columns.append_u32(
        "function_file",
        functions().map(|function| optional(function.file)),
    );
    columns.append_u32(
        "function_library",
        functions().map(|function| {
            let library = function.library.and_then(|row| profile.libraries.find(row));
            optional(library.map(|library| library.name))
        }),
    );
    columns.append_u32(
        "function_line",
        functions().map(|function| function.first_line),
    );
    columns.append(
        "function_kind",
        "u8",
        functions().map(|function| [kind_number(function.kind)]),
    );
    Ok(())
}

/// `web/src/model/names.ts` has the same numbers; 0, 6 and 7 are its whole, process and thread.
fn kind_number(kind: FrameKind) -> u8 {
    match kind {
        FrameKind::Python => 1,
        FrameKind::Native => 2,
        FrameKind::Kernel => 3,
        FrameKind::Incomplete => 4,
        FrameKind::Interpreter => 5,
    }
}

fn append_frames(columns: &mut Columns, tree: &CallTree<'_>) {
    columns.append_u32(
        "frame_function",
        tree.frames.iter().map(|frame| frame.function.index()),
    );
    columns.append_u32("frame_line", tree.frames.iter().map(|frame| frame.line));
}

fn append_nodes(columns: &mut Columns, tree: &CallTree<'_>) {
    let back = tree
        .nodes
        .iter()
        .enumerate()
        .map(|(place, node)| place - node.parent);
    // Every node's number fits in 32 bits (`call_tree` has checked), so every distance does.
    columns.append_u32(
        "node_back",
        back.map(|distance| u32::try_from(distance).unwrap_or(NONE)),
    );
    columns.append_u32("node_row", tree.nodes.iter().map(|node| node.row));
}

/// What the columns of samples count in.
#[derive(Clone, Copy)]
struct SampleUnits {
    /// What every sample weighs; 0 when there is a column of weights.
    weight_ns: u64,
    /// The unit of the column of times.
    time_ns: u64,
}

/// A microsecond tells any two samples of one CPU apart.
const FINEST_TIME_NS: u64 = 1_000;

fn append_samples(columns: &mut Columns, tree: &CallTree<'_>) -> SampleUnits {
    let samples = || tree.samples.iter().map(|(sample, _)| *sample);
    let last = samples().next_back().map_or(0, |sample| sample.time_ns);
    let mut time_ns = FINEST_TIME_NS;
    while last / time_ns > u64::from(NONE) {
        time_ns *= 10;
    }
    let mut before = 0;
    let steps = samples().map(|sample| {
        let now = sample.time_ns / time_ns;
        // The unit was chosen so that even the last instant fits.
        let step = u32::try_from(now - before).unwrap_or(NONE);
        before = now;
        step
    });
    columns.append_u32("sample_step", steps);
    columns.append_u32("sample_node", tree.samples.iter().map(|&(_, node)| node));
    columns.append_u32("sample_cpu", samples().map(|sample| sample.cpu));
    columns.append(
        "sample_complete",
        "u8",
        samples().map(|sample| [u8::from(sample.complete)]),
    );
    let mut weights = samples().map(|sample| sample.weight_ns);
    let first = weights.next().unwrap_or_default();
    if weights.all(|weight| weight == first) {
        return SampleUnits {
            weight_ns: first,
            time_ns,
        };
    }
    let weights = samples().map(|sample| (sample.weight_ns as f64).to_le_bytes());
    columns.append("sample_weight", "f64", weights);
    SampleUnits {
        weight_ns: 0,
        time_ns,
    }
}
