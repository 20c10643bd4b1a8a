//! Rows of the profile as messages, a block's worth at a time.

use std::collections::BTreeMap;

use viperf_profile::{
    Frame, FrameKind, Function, Handle, Library, Process, Profile, ProfileInformation,
    RecordingCost, Sample, SourceRange, Stack, Thread,
};

use crate::viperf_file::message;
use crate::viperf_file::write::Written;

/// A block is closed at the row that takes it past this: small enough that little is lost with a torn last block, large
/// enough to compress well.
const BLOCK_BYTES: usize = 1 << 20;

/// What a row without its texts is reckoned at. The largest can take 48, so no block comes near the greatest size.
const ROW_BYTES: usize = 32;

/// The next block of what is not written yet, tables before samples; `None` when all is.
pub(super) fn next_rows(profile: &Profile, written: &mut Written) -> Option<message::Rows> {
    let mut room = BLOCK_BYTES;
    let before = *written;
    let message = message::Rows {
        strings: take(
            profile.strings.iter(),
            &mut written.strings,
            &mut room,
            |(_, text)| (text.to_owned(), text.len() + ROW_BYTES),
        ),
        libraries: take_rows(
            profile.libraries.iter(),
            &mut written.libraries,
            &mut room,
            library_message,
        ),
        functions: take_rows(
            profile.functions.iter(),
            &mut written.functions,
            &mut room,
            |function| function_message(profile, function),
        ),
        frames: frames_message(profile, written, &mut room),
        stacks: stacks_message(profile, written, &mut room),
        processes: take_rows(
            profile.processes.iter(),
            &mut written.processes,
            &mut room,
            process_message,
        ),
        threads: take_rows(
            profile.threads.iter(),
            &mut written.threads,
            &mut room,
            thread_message,
        ),
        samples: samples_message(profile, written, &mut room),
        renamed_processes: Vec::new(),
        renamed_threads: Vec::new(),
    };
    (*written != before).then_some(message)
}

/// Takes rows from place `written` on, as long as there is room.
fn take<R, M>(
    rows: impl Iterator<Item = R>,
    written: &mut usize,
    room: &mut usize,
    convert: impl Fn(R) -> (M, usize),
) -> Vec<M> {
    let mut messages = Vec::new();
    for row in rows.skip(*written) {
        if *room == 0 {
            break;
        }
        let (message, bytes) = convert(row);
        *room = room.saturating_sub(bytes);
        *written += 1;
        messages.push(message);
    }
    messages
}

fn take_rows<'a, H, R: Copy + 'a, M>(
    rows: impl Iterator<Item = (H, &'a R)>,
    written: &mut usize,
    room: &mut usize,
    convert: impl Fn(R) -> M,
) -> Vec<M> {
    take(rows, written, room, |(_, row)| (convert(*row), ROW_BYTES))
}

fn frames_message(
    profile: &Profile,
    written: &mut Written,
    room: &mut usize,
) -> Option<message::Frames> {
    let rows = take_rows(profile.frames.iter(), &mut written.frames, room, |frame| {
        frame
    });
    let mut columns = message::Frames::default();
    for Frame {
        function,
        source,
        address,
        inlined,
    } in rows
    {
        let SourceRange {
            line,
            end_line,
            column,
            end_column,
        } = source;
        columns.function.push(function.index());
        columns.line.push(line);
        columns.end_line.push(end_line);
        columns.column.push(column);
        columns.end_column.push(end_column);
        columns.address.push(address);
        columns.inlined.push(inlined);
    }
    for column in [
        &mut columns.end_line,
        &mut columns.column,
        &mut columns.end_column,
    ] {
        leave_out_if_unknown(column);
    }
    if !columns.inlined.contains(&true) {
        columns.inlined.clear();
    }
    (!columns.function.is_empty()).then_some(columns)
}

/// A profile without such numbers is written as it was before there was a column for them.
fn leave_out_if_unknown(column: &mut Vec<u32>) {
    if column.iter().all(|&number| number == 0) {
        column.clear();
    }
}

fn stacks_message(
    profile: &Profile,
    written: &mut Written,
    room: &mut usize,
) -> Option<message::Stacks> {
    let rows = take(
        profile.stacks.iter(),
        &mut written.stacks,
        room,
        |(_, stack)| (stack, ROW_BYTES),
    );
    let mut columns = message::Stacks::default();
    for Stack { parent, frame } in rows {
        columns.parent_plus_one.push(plus_one(parent));
        columns.frame.push(frame.index());
    }
    (!columns.frame.is_empty()).then_some(columns)
}

fn samples_message(
    profile: &Profile,
    written: &mut Written,
    room: &mut usize,
) -> Option<message::Samples> {
    let rows = take(
        profile.samples.iter(),
        &mut written.samples,
        room,
        |sample| (*sample, ROW_BYTES),
    );
    let mut columns = message::Samples::default();
    let mut previous_ns = 0_u64;
    for Sample {
        time_ns,
        weight_ns,
        cpu,
        thread,
        stack,
        complete,
    } in rows
    {
        // Differences wrap, here and in the reader alike, so any two times have one.
        columns
            .time_difference_ns
            .push(time_ns.wrapping_sub(previous_ns).cast_signed());
        previous_ns = time_ns;
        columns.weight_ns.push(weight_ns);
        columns.cpu.push(cpu);
        columns.thread.push(thread.index());
        columns.stack.push(stack.index());
        columns.complete.push(complete);
    }
    (!columns.stack.is_empty()).then_some(columns)
}

fn library_message(library: Library) -> message::Library {
    let Library {
        name,
        path,
        build_id,
    } = library;
    message::Library {
        name: name.index(),
        path_plus_one: plus_one(path),
        build_id_plus_one: plus_one(build_id),
    }
}

fn function_message(profile: &Profile, function: Function) -> message::Function {
    let Function {
        name,
        file,
        library,
        first_line,
        kind,
    } = function;
    let library_row = library.and_then(|library| profile.libraries.find(library));
    message::Function {
        name: name.index(),
        file_plus_one: plus_one(file),
        library_name_plus_one: plus_one(library_row.map(|library| library.name)),
        first_line,
        kind: kind_number(kind),
        library_plus_one: plus_one(library),
    }
}

/// Numbers that stay: a new kind takes the next one.
fn kind_number(kind: FrameKind) -> u32 {
    match kind {
        FrameKind::Python => 1,
        FrameKind::Native => 2,
        FrameKind::Kernel => 3,
        FrameKind::Incomplete => 4,
        FrameKind::Interpreter => 5,
    }
}

/// The kind of a number; `None` for one that this version does not know.
pub(super) fn find_kind(number: u32) -> Option<FrameKind> {
    FrameKind::ALL
        .into_iter()
        .find(|&kind| kind_number(kind) == number)
}

fn process_message(process: Process) -> message::Process {
    let Process {
        pid,
        parent_pid,
        name,
        title,
        command_line,
        python_version,
        start_time_ns,
        placement,
    } = process;
    let mut placement = placement.to_array().map(plus_one).to_vec();
    placement.truncate(
        placement
            .iter()
            .rposition(|&row| row != 0)
            .map_or(0, |last| last + 1),
    );
    message::Process {
        pid,
        parent_pid,
        name: name.index(),
        command_line: command_line.index(),
        python_version_plus_one: plus_one(python_version),
        start_time_ns,
        title_plus_one: plus_one(title),
        placement_plus_one: placement,
    }
}

fn thread_message(thread: Thread) -> message::Thread {
    let Thread { process, tid, name } = thread;
    message::Thread {
        process: process.index(),
        tid,
        name: name.index(),
    }
}

pub(super) fn information_message(information: &ProfileInformation) -> message::Information {
    let ProfileInformation {
        viperf_version,
        hostname,
        kernel,
        started_unix_ns,
        duration_ns: _, // stands in the last block
        period_ns,
        rate_hz,
        target,
        cost: _, // stands in the blocks of how it stood
    } = information.clone();
    message::Information {
        viperf_version,
        hostname,
        kernel,
        started_unix_ns,
        period_ns,
        rate_hz,
        target,
    }
}

/// The rows as they were written, to find those of which more is known now.
#[derive(Debug, Default)]
pub(super) struct Named {
    processes: Vec<Process>,
    threads: Vec<Thread>,
}

/// The block of rows that say something else than they did when they were written; `None` when there are none. Every text and
/// every row that they name must be written already.
pub(super) fn renamed_rows(profile: &Profile, named: &mut Named) -> Option<message::Rows> {
    let processes = profile.processes.iter();
    let renamed_processes = changes(processes, &mut named.processes, |row, process| {
        message::RenamedProcess {
            row,
            process: Some(process_message(process)),
        }
    });
    let threads = profile.threads.iter();
    let renamed_threads = changes(threads, &mut named.threads, |row, thread| {
        message::RenamedThread {
            row,
            thread: Some(thread_message(thread)),
        }
    });
    let is_empty = renamed_processes.is_empty() && renamed_threads.is_empty();
    (!is_empty).then(|| message::Rows {
        renamed_processes,
        renamed_threads,
        ..message::Rows::default()
    })
}

/// The rows that are not what they were; `before` is brought up to date.
fn changes<'a, H: Handle, R: Copy + PartialEq + 'a, M>(
    rows: impl Iterator<Item = (H, &'a R)>,
    before: &mut Vec<R>,
    convert: impl Fn(u32, R) -> M,
) -> Vec<M> {
    let mut messages = Vec::new();
    for (handle, row) in rows {
        match before.get_mut(handle.index() as usize) {
            Some(known) if known == row => {}
            Some(known) => {
                *known = *row;
                messages.push(convert(handle.index(), *row));
            }
            None => before.push(*row),
        }
    }
    messages
}

pub(super) fn standing_message(profile: &Profile) -> message::Standing {
    let RecordingCost {
        bpf_time_ns,
        cpu_time_ns,
        peak_memory_bytes,
        bpf_map_bytes,
        first_sample_ns,
        samples_without_python,
        lowest_rate_hz,
    } = profile.information.cost;
    message::Standing {
        duration_ns: profile.information.duration_ns,
        lost: profile.lost,
        incomplete: incomplete_messages(&profile.incomplete),
        bpf_time_ns,
        cpu_time_ns,
        peak_memory_bytes,
        bpf_map_bytes,
        first_sample_ns,
        samples_without_python,
        lowest_rate_hz,
    }
}

pub(super) fn incomplete_messages(
    incomplete: &BTreeMap<String, u64>,
) -> Vec<message::IncompleteReason> {
    incomplete
        .iter()
        .map(|(reason, &samples)| message::IncompleteReason {
            reason: reason.clone(),
            samples,
        })
        .collect()
}

/// A table of 2^32 rows does not exist (`Table` says why), so the sum fits.
fn plus_one(handle: Option<impl Handle>) -> u32 {
    handle.map_or(0, |handle| handle.index().saturating_add(1))
}
