//! Whether every handle of a profile points at a row.

use thiserror::Error;

use crate::frame_table::Frame;
use crate::function_table::Function;
use crate::library_table::Library;
use crate::process_table::Process;
use crate::profile::Profile;
use crate::sample::Sample;
use crate::stack_table::Stack;
use crate::string_table::StringHandle;
use crate::table::{Handle, Row, Table};
use crate::thread_table::Thread;

/// What is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// A handle points past the end of its table.
    #[error("row {row} of the {table} is not there (they are {rows}): the profile is damaged")]
    NoSuchRow {
        /// The table, in the plural: `frames`.
        table: &'static str,
        /// The row that was asked for.
        row: u32,
        /// How many rows the table has.
        rows: usize,
    },
}

impl ProfileError {
    pub(crate) fn no_such_row(table: &'static str, handle: impl Handle, rows: usize) -> Self {
        Self::NoSuchRow {
            table,
            row: handle.index(),
            rows,
        }
    }
}

/// Each part destructures its rows in full, so that a new handle field cannot be forgotten here.
pub(crate) fn validate(profile: &Profile) -> Result<(), ProfileError> {
    validate_libraries(profile)?;
    validate_functions(profile)?;
    validate_stacks(profile)?;
    validate_processes(profile)?;
    validate_samples(profile)
}

fn validate_libraries(profile: &Profile) -> Result<(), ProfileError> {
    for (_, library) in profile.libraries.iter() {
        let &Library {
            name,
            path,
            build_id,
        } = library;
        strings(profile, [Some(name), path, build_id])?;
    }
    Ok(())
}

fn validate_functions(profile: &Profile) -> Result<(), ProfileError> {
    for (_, function) in profile.functions.iter() {
        let &Function {
            name,
            file,
            library,
            first_line: _,
            kind: _,
        } = function;
        strings(profile, [Some(name), file, None])?;
        if let Some(library) = library {
            within(&profile.libraries, library)?;
        }
    }
    Ok(())
}

fn validate_stacks(profile: &Profile) -> Result<(), ProfileError> {
    for (_, frame) in profile.frames.iter() {
        let &Frame {
            function,
            source: _,
            address: _,
            inlined: _,
        } = frame;
        within(&profile.functions, function)?;
    }
    for (handle, Stack { parent, frame }) in profile.stacks.iter() {
        within(&profile.frames, frame)?;
        if let Some(parent) = parent
            && parent >= handle
        {
            let earlier = handle.index() as usize;
            return Err(ProfileError::no_such_row("stacks", parent, earlier));
        }
    }
    Ok(())
}

fn validate_processes(profile: &Profile) -> Result<(), ProfileError> {
    for (_, process) in profile.processes.iter() {
        let &Process {
            pid: _,
            parent_pid: _,
            name,
            title,
            command_line,
            python_version,
            start_time_ns: _,
            placement,
        } = process;
        strings(profile, [Some(name), Some(command_line), python_version])?;
        strings(profile, [title, None, None])?;
        placement.try_map(|text| profile.string(text).map(|_| text))?;
    }
    for (_, thread) in profile.threads.iter() {
        let &Thread {
            process,
            tid: _,
            name,
        } = thread;
        within(&profile.processes, process)?;
        strings(profile, [Some(name), None, None])?;
    }
    Ok(())
}

fn validate_samples(profile: &Profile) -> Result<(), ProfileError> {
    for sample in &profile.samples {
        let &Sample {
            time_ns: _,
            weight_ns: _,
            cpu: _,
            thread,
            stack,
            complete: _,
        } = sample;
        within(&profile.threads, thread)?;
        if profile.stacks.find(stack).is_none() {
            let rows = profile.stacks.len();
            return Err(ProfileError::no_such_row("stacks", stack, rows));
        }
    }
    Ok(())
}

fn strings(profile: &Profile, handles: [Option<StringHandle>; 3]) -> Result<(), ProfileError> {
    for handle in handles.into_iter().flatten() {
        profile.string(handle)?;
    }
    Ok(())
}

fn within<R: Row>(table: &Table<R>, handle: R::Handle) -> Result<(), ProfileError> {
    match table.find(handle) {
        Some(_) => Ok(()),
        None => Err(ProfileError::no_such_row(R::TABLE, handle, table.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame_table::FrameHandle;
    use crate::function_table::{FrameKind, FunctionHandle};
    use crate::library_table::LibraryHandle;
    use crate::placement::Placement;
    use crate::process_table::ProcessHandle;
    use crate::stack_table::StackHandle;
    use crate::thread_table::ThreadHandle;

    /// What puts a row in that holds one handle which points nowhere; it is given the handle of a text that is not there.
    type Breakage = fn(&mut Profile, StringHandle);

    /// By the table that is named in the error; all else is right.
    const BREAKAGES: [(&str, Breakage); 10] = [
        ("strings", |profile, name| {
            profile.libraries.intern(Library::named(name));
        }),
        ("libraries", |profile, _| {
            let name = profile.strings.intern("");
            profile.functions.intern(Function {
                name,
                file: None,
                library: Some(LibraryHandle::from_index(0)),
                first_line: 0,
                kind: FrameKind::Native,
            });
        }),
        ("strings", |profile, name| {
            profile.functions.intern(Function {
                name,
                file: None,
                library: None,
                first_line: 0,
                kind: FrameKind::Kernel,
            });
        }),
        ("functions", |profile, _| {
            let function = FunctionHandle::from_index(0);
            profile.frames.intern(Frame::at_line(function, 0));
        }),
        ("frames", |profile, _| {
            profile.intern_stack_root_first([FrameHandle::from_index(0)]);
        }),
        ("strings", |profile, name| {
            profile.processes.intern(Process::new(1, name, name));
        }),
        ("strings", |profile, name| {
            let known = profile.strings.intern("");
            profile.processes.intern(Process {
                title: Some(name),
                ..Process::new(1, known, known)
            });
        }),
        ("strings", |profile, name| {
            let known = profile.strings.intern("");
            let placement = Placement {
                pod_qos: Some(name),
                ..Placement::default()
            };
            profile.processes.intern(Process {
                placement,
                ..Process::new(1, known, known)
            });
        }),
        ("processes", |profile, _| {
            let name = profile.strings.intern("");
            let process = ProcessHandle::from_index(0);
            profile.threads.intern(Thread {
                process,
                tid: 1,
                name,
            });
        }),
        ("threads", |profile, _| {
            profile.samples.push(Sample {
                time_ns: 0,
                weight_ns: 0,
                cpu: 0,
                thread: ThreadHandle::from_index(0),
                stack: StackHandle::from_index(0),
                complete: true,
            });
        }),
    ];

    #[test]
    fn a_dangling_handle_in_any_table_is_found() {
        let dangling_string = StringHandle::from_index(9);
        for (named, breakage) in BREAKAGES {
            let mut profile = Profile::default();
            breakage(&mut profile, dangling_string);
            let ProfileError::NoSuchRow { table, .. } = profile.validate().unwrap_err();
            assert_eq!(table, named);
        }
    }
}
