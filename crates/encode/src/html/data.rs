//! The page's data: a JSON head and columns of numbers, compressed.
//!
//! `docs/formats/html.md` describes it; `web/src/data/read.ts` is its reader.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use viperf_profile::{FrameKind, Function, Handle, Profile, ProfileInformation, RecordingCost};

use crate::EncodeError;
use crate::html::call_tree::{CallTree, Node, PageFrame, page_number};
use crate::html::comparison::{self, Comparison};
use crate::html::{Options, Served};
use crate::html::{gil, groups, ranges, sources};

/// The form of the data; page and data travel together, so there is never an old reader.
const FORMAT: u32 = 2;

/// "None" in a column of row numbers.
pub(super) const NONE: u32 = u32::MAX;

/// Columns begin at multiples of this, since a typed array must.
const ALIGNMENT: usize = 8;

#[derive(Serialize)]
pub(super) struct Head<'a> {
    format: u32,
    information: Information<'a>,
    pub(super) samples: u64,
    pub(super) complete: u64,
    lost: u64,
    incomplete: &'a BTreeMap<String, u64>,
    /// What every sample weighs; 0 when they differ, and then there is a column of weights.
    weight_ns: u64,
    /// What the column of times counts.
    time_unit_ns: u64,
    view: View,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<comparison::Head<'a>>,
    pub(super) strings: Vec<&'a str>,
    processes: Vec<Process>,
    threads: Vec<Thread>,
    columns: &'a [(&'static str, &'static str, usize)],
    /// Texts of source files, when the page does not carry them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<sources::Source<'a>>,
    /// Where the data comes from, when the page does not carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) served: Option<&'a Served>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

/// What the recording has cost; each is 0 when not known.
#[derive(Serialize)]
struct Cost {
    bpf_time_ns: u64,
    cpu_time_ns: u64,
    peak_memory_bytes: u64,
    bpf_map_bytes: u64,
    first_sample_ns: Option<u64>,
    lowest_rate_hz: u32,
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
    parent: Option<u32>,
    /// What it runs, where that is more than its name says.
    title: Option<u32>,
    /// Where it runs, by the names of `Placement::FIELDS`; only what is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    placement: BTreeMap<&'static str, u32>,
}

#[derive(Serialize)]
struct Thread {
    process: u32,
    tid: u32,
    name: u32,
}

/// What the data is for; by default a page that carries one profile.
#[derive(Clone, Copy, Default)]
pub(super) struct Origin<'a> {
    /// The page has two profiles.
    pub(super) comparison: Option<&'a Comparison<'a>>,
    /// The page asks a server.
    pub(super) served: Option<&'a Served>,
}

/// The data of a whole profile.
pub(super) fn encode(
    profile: &Profile,
    tree: &CallTree<'_>,
    options: &Options,
    origin: Origin<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let mut columns = Columns::default();
    append_functions(&mut columns, profile, 0)?;
    append_frames(&mut columns, &tree.frames);
    append_nodes(&mut columns, tree.nodes.iter().enumerate());
    let units = append_samples(&mut columns, tree);
    groups::append_groups(&mut columns, profile)?;
    ranges::append_ranges(&mut columns, profile, tree)?;
    if let Some(comparison) = origin.comparison {
        let sides = comparison.sides(profile);
        columns.append("sample_side", "u8", sides.into_iter().map(|side| [side]));
    }
    let mut head = head(profile, options, &columns.descriptions, units);
    head.comparison = origin.comparison.map(Comparison::head);
    if let Some(served) = origin.served {
        head.served = Some(served);
        head.sources = sources::list(profile);
    }
    pack(&head, &columns)
}

/// The head's length as a little-endian `u32`, four bytes of 0, the head, the columns; all as gzip.
pub(super) fn pack(head: &Head<'_>, columns: &Columns) -> Result<Vec<u8>, EncodeError> {
    let head = serde_json::to_vec(head)?;
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

pub(super) fn head<'a>(
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
        parent: row.parent_pid,
        title: row.title.map(Handle::index),
        placement: row
            .placement
            .known()
            .map(|(field, text)| (field, text.index()))
            .collect(),
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
        comparison: None,
        strings: profile.strings.iter().map(|(_, text)| text).collect(),
        processes: profile.processes.iter().map(process).collect(),
        threads: profile.threads.iter().map(thread).collect(),
        columns,
        served: None,
        sources: Vec::new(),
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
        cost,
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
        cost: (*cost != RecordingCost::default()).then(|| cost_of(cost)),
    }
}

fn cost_of(cost: &RecordingCost) -> Cost {
    let &RecordingCost {
        bpf_time_ns,
        cpu_time_ns,
        peak_memory_bytes,
        bpf_map_bytes,
        first_sample_ns,
        samples_without_python: _, // frames tell it
        lowest_rate_hz,
    } = cost;
    Cost {
        bpf_time_ns,
        cpu_time_ns,
        peak_memory_bytes,
        bpf_map_bytes,
        first_sample_ns,
        lowest_rate_hz,
    }
}

/// Columns as bytes, and what the head says of each: name, type, entries.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) descriptions: Vec<(&'static str, &'static str, usize)>,
    bytes: Vec<u8>,
}

impl Columns {
    pub(super) fn append<const N: usize>(
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
    pub(super) fn append_u32(&mut self, name: &'static str, entries: impl Iterator<Item = u32>) {
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

/// The functions from row `from` on.
pub(super) fn append_functions(
    columns: &mut Columns,
    profile: &Profile,
    from: usize,
) -> Result<(), EncodeError> {
    page_number("names", profile.strings.len())?;
    let functions = || {
        profile
            .functions
            .iter()
            .skip(from)
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
    gil::append_gil(columns, profile, from)?;
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

pub(super) fn append_frames(columns: &mut Columns, frames: &[PageFrame]) {
    columns.append_u32(
        "frame_function",
        frames.iter().map(|frame| frame.function.index()),
    );
    columns.append_u32("frame_line", frames.iter().map(|frame| frame.line));
}

/// Nodes, each with its place in the whole tree.
pub(super) fn append_nodes<'a>(
    columns: &mut Columns,
    nodes: impl Iterator<Item = (usize, &'a Node)> + Clone,
) {
    let back = nodes.clone().map(|(place, node)| place - node.parent);
    // Every node's number fits in 32 bits (`call_tree` has checked), so every distance does.
    columns.append_u32(
        "node_back",
        back.map(|distance| u32::try_from(distance).unwrap_or(NONE)),
    );
    columns.append_u32("node_row", nodes.map(|(_, node)| node.row));
}

/// What the columns of samples count in.
#[derive(Clone, Copy)]
pub(super) struct SampleUnits {
    /// What every sample weighs; 0 when there is a column of weights.
    pub(super) weight_ns: u64,
    /// The unit of the column of times.
    pub(super) time_ns: u64,
}

/// A microsecond tells any two samples of one CPU apart.
pub(super) const FINEST_TIME_NS: u64 = 1_000;

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
