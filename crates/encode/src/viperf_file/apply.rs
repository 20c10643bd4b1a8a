//! Messages of a file put into a profile, each row checked before it is believed.

use std::collections::BTreeMap;

use viperf_profile::{
    Frame, FrameHandle, Function, FunctionHandle, Library, LibraryHandle, Placement, Process,
    ProcessHandle, Profile, ProfileInformation, RecordingCost, Sample, SourceRange, Stack,
    StackHandle, StringHandle, Thread, ThreadHandle,
};

use crate::viperf_file::{message, rows::find_kind};

/// The handle of each row of the file, by the row's number there.
///
/// The handle's own number may be less: rows that differ only in a field that a later version added are one row to this
/// version, and so are the stacks of such frames.
#[derive(Debug, Default)]
pub(super) struct FileRows {
    /// Whose rows these are.
    chapter: u32,
    strings: Vec<StringHandle>,
    libraries: Vec<LibraryHandle>,
    functions: Vec<FunctionHandle>,
    frames: Vec<FrameHandle>,
    stacks: Vec<StackHandle>,
    processes: Vec<ProcessHandle>,
    threads: Vec<ThreadHandle>,
}

pub(super) fn apply_information(profile: &mut Profile, message: message::Information) {
    let message::Information {
        viperf_version,
        hostname,
        kernel,
        started_unix_ns,
        period_ns,
        rate_hz,
        target,
    } = message;
    let ProfileInformation {
        duration_ns, cost, ..
    } = profile.information;
    profile.information = ProfileInformation {
        viperf_version,
        hostname,
        kernel,
        started_unix_ns,
        duration_ns,
        period_ns,
        rate_hz,
        target,
        cost,
    };
}

pub(super) fn apply_standing(profile: &mut Profile, message: message::Standing) {
    let message::Standing {
        duration_ns,
        lost,
        incomplete,
        bpf_time_ns,
        cpu_time_ns,
        peak_memory_bytes,
        bpf_map_bytes,
        first_sample_ns,
        samples_without_python,
        lowest_rate_hz,
    } = message;
    profile.information.duration_ns = duration_ns;
    profile.information.cost = RecordingCost {
        bpf_time_ns,
        cpu_time_ns,
        peak_memory_bytes,
        bpf_map_bytes,
        first_sample_ns,
        samples_without_python,
        lowest_rate_hz,
    };
    profile.lost = lost;
    profile.incomplete = read_incomplete(incomplete);
}

fn read_incomplete(incomplete: Vec<message::IncompleteReason>) -> BTreeMap<String, u64> {
    let reasons = incomplete.into_iter();
    reasons.map(|entry| (entry.reason, entry.samples)).collect()
}

pub(super) fn apply_end(profile: &mut Profile, message: message::End) -> Result<(), String> {
    let message::End {
        duration_ns,
        lost,
        incomplete,
        samples,
    } = message;
    profile.information.duration_ns = duration_ns;
    profile.lost = lost;
    profile.incomplete = read_incomplete(incomplete);
    let there = profile.samples.len() as u64;
    if there == samples {
        Ok(())
    } else {
        Err(format!(
            "it counts {samples} samples and the file holds {there}"
        ))
    }
}

/// The rows of a later chapter: the one that is read now, or the next, whose tables begin anew.
pub(super) fn apply_chapter_rows(
    profile: &mut Profile,
    rows: &mut FileRows,
    message: message::ChapterRows,
) -> Result<(), String> {
    let message::ChapterRows {
        chapter,
        rows: message,
    } = message;
    if Some(chapter) == rows.chapter.checked_add(1) {
        *rows = FileRows {
            chapter,
            ..FileRows::default()
        };
    }
    if chapter == 0 || chapter != rows.chapter {
        let current = rows.chapter;
        return Err(format!(
            "it is of chapter {chapter}, after chapter {current}"
        ));
    }
    apply_rows_of_chapter(profile, rows, message.unwrap_or_default())
}

/// The rows of the first chapter.
pub(super) fn apply_rows(
    profile: &mut Profile,
    rows: &mut FileRows,
    message: message::Rows,
) -> Result<(), String> {
    if rows.chapter != 0 {
        let current = rows.chapter;
        return Err(format!("it is of chapter 0, after chapter {current}"));
    }
    apply_rows_of_chapter(profile, rows, message)
}

/// Tables first, samples last and all or none, so a block that turns out wrong leaves at most rows that nothing uses.
pub(super) fn apply_rows_of_chapter(
    profile: &mut Profile,
    rows: &mut FileRows,
    message: message::Rows,
) -> Result<(), String> {
    let message::Rows {
        strings,
        functions,
        frames,
        stacks,
        processes,
        threads,
        samples,
        libraries,
        renamed_processes,
        renamed_threads,
    } = message;
    for text in strings {
        rows.strings.push(profile.strings.intern(&text));
    }
    for message in libraries {
        let library = read_library(rows, &message)?;
        rows.libraries.push(profile.libraries.intern(library));
    }
    for message in functions {
        let function = read_function(profile, rows, &message)?;
        rows.functions.push(profile.functions.intern(function));
    }
    apply_frames(profile, rows, frames.unwrap_or_default())?;
    apply_stacks(profile, rows, stacks.unwrap_or_default())?;
    for message in processes {
        let process = read_process(rows, &message)?;
        rows.processes.push(profile.processes.intern(process));
    }
    for message::Thread { process, tid, name } in threads {
        let thread = read_thread(rows, process, tid, name)?;
        rows.threads.push(profile.threads.intern(thread));
    }
    apply_renamed(profile, rows, renamed_processes, renamed_threads)?;
    apply_samples(profile, rows, samples.unwrap_or_default())
}

/// Rows of which more is known now.
fn apply_renamed(
    profile: &mut Profile,
    rows: &mut FileRows,
    processes: Vec<message::RenamedProcess>,
    threads: Vec<message::RenamedThread>,
) -> Result<(), String> {
    for message::RenamedProcess {
        row: number,
        process,
    } in processes
    {
        let handle = row("processes", number, &rows.processes)?;
        let process = read_process(rows, &process.unwrap_or_default())?;
        let handle = profile.processes.replace(handle, process);
        if let Some(place) = rows.processes.get_mut(number as usize) {
            *place = handle;
        }
    }
    for message::RenamedThread {
        row: number,
        thread,
    } in threads
    {
        let handle = row("threads", number, &rows.threads)?;
        let message::Thread { process, tid, name } = thread.unwrap_or_default();
        let thread = read_thread(rows, process, tid, name)?;
        let handle = profile.threads.replace(handle, thread);
        if let Some(place) = rows.threads.get_mut(number as usize) {
            *place = handle;
        }
    }
    Ok(())
}

fn read_thread(rows: &FileRows, process: u32, tid: u32, name: u32) -> Result<Thread, String> {
    Ok(Thread {
        process: row("processes", process, &rows.processes)?,
        tid,
        name: row("strings", name, &rows.strings)?,
    })
}

fn read_library(rows: &FileRows, message: &message::Library) -> Result<Library, String> {
    let message::Library {
        name,
        path_plus_one,
        build_id_plus_one,
    } = *message;
    Ok(Library {
        name: row("strings", name, &rows.strings)?,
        path: optional("strings", path_plus_one, &rows.strings)?,
        build_id: optional("strings", build_id_plus_one, &rows.strings)?,
    })
}

fn read_function(
    profile: &mut Profile,
    rows: &FileRows,
    message: &message::Function,
) -> Result<Function, String> {
    let message::Function {
        name,
        file_plus_one,
        library_name_plus_one,
        first_line,
        kind,
        library_plus_one,
    } = *message;
    // A file from before there was a library table has the name alone.
    let named = optional("strings", library_name_plus_one, &rows.strings)?;
    let library = match optional("libraries", library_plus_one, &rows.libraries)? {
        Some(library) => Some(library),
        None => named.map(|name| profile.libraries.intern(Library::named(name))),
    };
    Ok(Function {
        name: row("strings", name, &rows.strings)?,
        file: optional("strings", file_plus_one, &rows.strings)?,
        library,
        first_line,
        kind: find_kind(kind)
            .ok_or_else(|| format!("it has a frame of the unknown kind {kind}"))?,
    })
}

fn read_process(rows: &FileRows, message: &message::Process) -> Result<Process, String> {
    let message::Process {
        pid,
        parent_pid,
        name,
        command_line,
        python_version_plus_one,
        start_time_ns,
        title_plus_one,
        ref placement_plus_one,
    } = *message;
    let mut placement = Placement::default().to_array();
    // What a later version knows besides comes after these.
    for (field, row) in placement.iter_mut().zip(placement_plus_one) {
        *field = optional("strings", *row, &rows.strings)?;
    }
    Ok(Process {
        pid,
        parent_pid,
        name: row("strings", name, &rows.strings)?,
        title: optional("strings", title_plus_one, &rows.strings)?,
        command_line: row("strings", command_line, &rows.strings)?,
        python_version: optional("strings", python_version_plus_one, &rows.strings)?,
        start_time_ns,
        placement: Placement::from_array(placement),
    })
}

fn apply_frames(
    profile: &mut Profile,
    rows: &mut FileRows,
    columns: message::Frames,
) -> Result<(), String> {
    let message::Frames {
        function,
        line,
        address,
        end_line,
        column,
        end_column,
        inlined,
    } = columns;
    let [end_line, column, end_column] =
        [end_line, column, end_column].map(|numbers| or_unknown(numbers, function.len()));
    let inlined = or_unknown(inlined, function.len());
    let lengths = [
        function.len(),
        line.len(),
        address.len(),
        end_line.len(),
        column.len(),
        end_column.len(),
        inlined.len(),
    ];
    same_lengths("frames", &lengths)?;
    let starts = line.into_iter().zip(column);
    let ends = end_line.into_iter().zip(end_column);
    let places = address.into_iter().zip(inlined);
    for (((function, (address, inlined)), (line, column)), (end_line, end_column)) in
        function.into_iter().zip(places).zip(starts).zip(ends)
    {
        let frame = Frame {
            function: row("functions", function, &rows.functions)?,
            source: SourceRange {
                line,
                end_line,
                column,
                end_column,
            },
            address,
            inlined,
        };
        rows.frames.push(profile.frames.intern(frame));
    }
    Ok(())
}

/// A column that is left out is 0 or false in every row.
fn or_unknown<N: Clone + Default>(column: Vec<N>, rows: usize) -> Vec<N> {
    if column.is_empty() {
        vec![N::default(); rows]
    } else {
        column
    }
}

fn apply_stacks(
    profile: &mut Profile,
    rows: &mut FileRows,
    columns: message::Stacks,
) -> Result<(), String> {
    let message::Stacks {
        parent_plus_one,
        frame,
    } = columns;
    same_lengths("stacks", &[parent_plus_one.len(), frame.len()])?;
    for (parent, frame) in parent_plus_one.into_iter().zip(frame) {
        let parent = optional("stacks", parent, &rows.stacks)?;
        let frame = row("frames", frame, &rows.frames)?;
        let handle = profile
            .stacks
            .intern(Stack { parent, frame })
            .map_err(|error| error.to_string())?;
        rows.stacks.push(handle);
    }
    Ok(())
}

fn apply_samples(
    profile: &mut Profile,
    rows: &FileRows,
    columns: message::Samples,
) -> Result<(), String> {
    let message::Samples {
        time_difference_ns,
        weight_ns,
        cpu,
        thread,
        stack,
        complete,
    } = columns;
    let lengths = [
        time_difference_ns.len(),
        weight_ns.len(),
        cpu.len(),
        thread.len(),
        stack.len(),
        complete.len(),
    ];
    same_lengths("samples", &lengths)?;
    let mut samples = Vec::with_capacity(stack.len());
    let mut time_ns = 0_u64;
    let rest = weight_ns
        .into_iter()
        .zip(cpu)
        .zip(thread)
        .zip(stack)
        .zip(complete);
    for (difference, ((((weight_ns, cpu), thread), stack), complete)) in
        time_difference_ns.into_iter().zip(rest)
    {
        time_ns = time_ns.wrapping_add_signed(difference);
        let thread = row("threads", thread, &rows.threads)?;
        let stack = row("stacks", stack, &rows.stacks)?;
        samples.push(Sample {
            time_ns,
            weight_ns,
            cpu,
            thread,
            stack,
            complete,
        });
    }
    profile.samples.append(&mut samples);
    Ok(())
}

fn row<H: Copy>(table: &str, number: u32, rows: &[H]) -> Result<H, String> {
    rows.get(number as usize)
        .copied()
        .ok_or_else(|| format!("it names row {number} of {} {table}", rows.len()))
}

fn optional<H: Copy>(table: &str, plus_one: u32, rows: &[H]) -> Result<Option<H>, String> {
    plus_one
        .checked_sub(1)
        .map(|number| row(table, number, rows))
        .transpose()
}

fn same_lengths(table: &str, lengths: &[usize]) -> Result<(), String> {
    if lengths.windows(2).all(|pair| pair.first() == pair.last()) {
        Ok(())
    } else {
        Err(format!(
            "the columns of its {table} have different lengths: {lengths:?}"
        ))
    }
}
