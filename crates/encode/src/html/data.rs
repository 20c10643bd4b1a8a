//! The page's data: a JSON head and columns of numbers, compressed.
//!
//! `docs/formats/html.md` describes it; `web/data.js` is its reader.

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
const FORMAT: u32 = 1;

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
    tree: &CallTree,
    options: &Options,
) -> Result<Vec<u8>, EncodeError> {
    let mut columns = Columns::default();
    append_functions(&mut columns, profile)?;
    append_frames(&mut columns, tree);
    let weight_ns = append_nodes(&mut columns, profile, tree)?;
    let head = serde_json::to_vec(&head(profile, options, &columns.descriptions, weight_ns))?;
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
    weight_ns: u64,
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
        weight_ns,
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

    fn append_u32(&mut self, name: &'static str, entries: impl Iterator<Item = u32>) {
        self.append(name, "u32", entries.map(u32::to_le_bytes));
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
        functions().map(|function| optional(function.library)),
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

/// `web/names.js` has the same numbers; 0, 6 and 7 are its whole, process and thread.
fn kind_number(kind: FrameKind) -> u8 {
    match kind {
        FrameKind::Python => 1,
        FrameKind::Native => 2,
        FrameKind::Kernel => 3,
        FrameKind::Incomplete => 4,
        FrameKind::Interpreter => 5,
    }
}

fn append_frames(columns: &mut Columns, tree: &CallTree) {
    columns.append_u32(
        "frame_function",
        tree.frames.iter().map(|frame| frame.function.index()),
    );
    columns.append_u32("frame_line", tree.frames.iter().map(|frame| frame.line));
}

/// Appends the tree; returns what every sample weighs, or 0 when there is a column of weights instead.
fn append_nodes(
    columns: &mut Columns,
    profile: &Profile,
    tree: &CallTree,
) -> Result<u64, EncodeError> {
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
    let first = profile.samples.first().map_or(0, |sample| sample.weight_ns);
    if profile
        .samples
        .iter()
        .all(|sample| sample.weight_ns == first)
    {
        page_number("samples", profile.samples.len())?;
        let count = |count: u64| u32::try_from(count).unwrap_or(NONE);
        columns.append_u32(
            "node_count",
            tree.nodes.iter().map(|node| count(node.count)),
        );
        Ok(first)
    } else {
        let weights = tree
            .nodes
            .iter()
            .map(|node| (node.weight_ns as f64).to_le_bytes());
        columns.append("node_weight", "f64", weights);
        Ok(0)
    }
}
