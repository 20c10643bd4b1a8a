//! Messages of a file put into a profile, each row checked before it is believed.

use viperf_profile::{
    Frame, Function, Handle, Process, Profile, ProfileInformation, Row, Sample, Stack, StackHandle,
    StringHandle, Table, Thread,
};

use crate::viperf_file::{message, rows::find_kind};

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
    let duration_ns = profile.information.duration_ns;
    profile.information = ProfileInformation {
        viperf_version,
        hostname,
        kernel,
        started_unix_ns,
        duration_ns,
        period_ns,
        rate_hz,
        target,
    };
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
    profile.incomplete = incomplete
        .into_iter()
        .map(|entry| (entry.reason, entry.samples))
        .collect();
    let there = profile.samples.len() as u64;
    if there == samples {
        Ok(())
    } else {
        Err(format!(
            "it counts {samples} samples and the file holds {there}"
        ))
    }
}

/// Tables first, samples last and all or none, so a block that turns out wrong leaves at most rows that nothing uses.
pub(super) fn apply_rows(profile: &mut Profile, message: message::Rows) -> Result<(), String> {
    let message::Rows {
        strings,
        functions,
        frames,
        stacks,
        processes,
        threads,
        samples,
    } = message;
    for text in strings {
        let next = profile.strings.len();
        let handle = profile.strings.intern(&text);
        check_new("strings", handle, next)?;
    }
    for message in functions {
        let function = read_function(profile, &message)?;
        add(&mut profile.functions, function)?;
    }
    apply_frames(profile, frames.unwrap_or_default())?;
    apply_stacks(profile, stacks.unwrap_or_default())?;
    for message in processes {
        let process = read_process(profile, &message)?;
        add(&mut profile.processes, process)?;
    }
    for message::Thread { process, tid, name } in threads {
        let process = within("processes", process, profile.processes.len())?;
        let name = within("strings", name, profile.strings.len())?;
        add(&mut profile.threads, Thread { process, tid, name })?;
    }
    apply_samples(profile, samples.unwrap_or_default())
}

fn read_function(profile: &Profile, message: &message::Function) -> Result<Function, String> {
    let message::Function {
        name,
        file_plus_one,
        library_plus_one,
        first_line,
        kind,
    } = *message;
    let strings = profile.strings.len();
    Ok(Function {
        name: within("strings", name, strings)?,
        file: optional("strings", file_plus_one, strings)?,
        library: optional("strings", library_plus_one, strings)?,
        first_line,
        kind: find_kind(kind)
            .ok_or_else(|| format!("it has a frame of the unknown kind {kind}"))?,
    })
}

fn read_process(profile: &Profile, message: &message::Process) -> Result<Process, String> {
    let message::Process {
        pid,
        parent_pid,
        name,
        command_line,
        python_version_plus_one,
        start_time_ns,
    } = *message;
    let strings = profile.strings.len();
    Ok(Process {
        pid,
        parent_pid,
        name: within("strings", name, strings)?,
        command_line: within("strings", command_line, strings)?,
        python_version: optional::<StringHandle>("strings", python_version_plus_one, strings)?,
        start_time_ns,
    })
}

fn apply_frames(profile: &mut Profile, columns: message::Frames) -> Result<(), String> {
    let message::Frames {
        function,
        line,
        address,
    } = columns;
    same_lengths("frames", &[function.len(), line.len(), address.len()])?;
    for ((function, line), address) in function.into_iter().zip(line).zip(address) {
        let function = within("functions", function, profile.functions.len())?;
        add(
            &mut profile.frames,
            Frame {
                function,
                line,
                address,
            },
        )?;
    }
    Ok(())
}

fn apply_stacks(profile: &mut Profile, columns: message::Stacks) -> Result<(), String> {
    let message::Stacks {
        parent_plus_one,
        frame,
    } = columns;
    same_lengths("stacks", &[parent_plus_one.len(), frame.len()])?;
    for (parent, frame) in parent_plus_one.into_iter().zip(frame) {
        let next = profile.stacks.len();
        let parent: Option<StackHandle> = optional("stacks", parent, next)?;
        let frame = within("frames", frame, profile.frames.len())?;
        let handle = profile
            .stacks
            .intern(Stack { parent, frame })
            .map_err(|error| error.to_string())?;
        check_new("stacks", handle, next)?;
    }
    Ok(())
}

fn apply_samples(profile: &mut Profile, columns: message::Samples) -> Result<(), String> {
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
        let thread = within("threads", thread, profile.threads.len())?;
        let stack = within("stacks", stack, profile.stacks.len())?;
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

/// Adds a row that must be new: a row that is there already would shift the numbers of all that follow.
fn add<R: Row>(table: &mut Table<R>, row: R) -> Result<(), String> {
    let next = table.len();
    let handle = table.intern(row);
    check_new(R::TABLE, handle, next)
}

fn check_new(table: &str, handle: impl Handle, next: usize) -> Result<(), String> {
    if handle.index() as usize == next {
        Ok(())
    } else {
        Err(format!(
            "row {next} of its {table} is row {} again",
            handle.index()
        ))
    }
}

fn within<H: Handle>(table: &str, number: u32, rows: usize) -> Result<H, String> {
    if (number as usize) < rows {
        Ok(H::from_index(number))
    } else {
        Err(format!("it names row {number} of {rows} {table}"))
    }
}

fn optional<H: Handle>(table: &str, plus_one: u32, rows: usize) -> Result<Option<H>, String> {
    plus_one
        .checked_sub(1)
        .map(|number| within(table, number, rows))
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
