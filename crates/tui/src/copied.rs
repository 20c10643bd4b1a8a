//! Rows of one profile that stand in another one, too: only those that somebody needs.

use std::collections::HashMap;

use viperf_profile::{
    Frame, FrameHandle, Function, FunctionHandle, Handle, Library, Process, ProcessHandle, Profile,
    ProfileError, Stack, StackHandle, StringHandle, Thread, ThreadHandle,
};

/// For each row that was copied from one profile, the row of the other.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    functions: HashMap<FunctionHandle, FunctionHandle>,
    frames: HashMap<FrameHandle, FrameHandle>,
    stacks: HashMap<StackHandle, StackHandle>,
    processes: HashMap<ProcessHandle, ProcessHandle>,
    threads: HashMap<ThreadHandle, ThreadHandle>,
}

impl Copied {
    /// What a function has become, if it was needed.
    pub(crate) fn function(&self, function: FunctionHandle) -> Option<FunctionHandle> {
        self.functions.get(&function).copied()
    }

    /// What a process has become, if it was needed.
    pub(crate) fn process(&self, process: ProcessHandle) -> Option<ProcessHandle> {
        self.processes.get(&process).copied()
    }

    /// What a thread and a stack have become, if both were needed.
    pub(crate) fn pair(
        &self,
        (thread, stack): (ThreadHandle, StackHandle),
    ) -> Option<(ThreadHandle, StackHandle)> {
        Some((*self.threads.get(&thread)?, *self.stacks.get(&stack)?))
    }

    /// Copies what is needed of a thread and a stack.
    pub(crate) fn copy_pair(
        &mut self,
        from: &Profile,
        to: &mut Profile,
        (thread, stack): (ThreadHandle, StackHandle),
    ) -> Result<(ThreadHandle, StackHandle), ProfileError> {
        let thread = self.copy_thread(from, to, thread)?;
        Ok((thread, self.copy_stack(from, to, stack)?))
    }

    /// Copies the names of processes and threads again that have got others since.
    pub(crate) fn copy_new_names(
        &mut self,
        from: &Profile,
        to: &mut Profile,
    ) -> Result<(), ProfileError> {
        for (old, new) in &mut self.processes {
            let row = process_in(from, to, *old)?;
            if to.processes.find(*new) != Some(&row) {
                *new = to.processes.replace(*new, row);
            }
        }
        for (old, new) in &mut self.threads {
            let Thread { process, tid, name } = from.thread(*old)?;
            let process = self.processes.get(&process).copied();
            let name = to.strings.intern(from.string(name)?);
            let known = to.thread(*new)?;
            let process = process.unwrap_or(known.process);
            let row = Thread { process, tid, name };
            if known != row {
                *new = to.threads.replace(*new, row);
            }
        }
        Ok(())
    }

    fn copy_thread(
        &mut self,
        from: &Profile,
        to: &mut Profile,
        old: ThreadHandle,
    ) -> Result<ThreadHandle, ProfileError> {
        if let Some(known) = self.threads.get(&old) {
            return Ok(*known);
        }
        let Thread { process, tid, name } = from.thread(old)?;
        let process = match self.processes.get(&process) {
            Some(known) => *known,
            None => {
                let row = process_in(from, to, process)?;
                let new = to.processes.intern(row);
                self.processes.insert(process, new);
                new
            }
        };
        let name = to.strings.intern(from.string(name)?);
        let new = to.threads.intern(Thread { process, tid, name });
        self.threads.insert(old, new);
        Ok(new)
    }

    fn copy_stack(
        &mut self,
        from: &Profile,
        to: &mut Profile,
        old: StackHandle,
    ) -> Result<StackHandle, ProfileError> {
        if let Some(known) = self.stacks.get(&old) {
            return Ok(*known);
        }
        // Its callers, the innermost first, up to one that is known.
        let mut missing = Vec::new();
        let mut parent = None;
        let mut next = Some(old);
        while let Some(handle) = next {
            if let Some(known) = self.stacks.get(&handle) {
                parent = Some(*known);
                break;
            }
            let rows = from.stacks.len();
            let table = "stacks";
            let row = handle.index();
            let stack =
                from.stacks
                    .find(handle)
                    .ok_or(ProfileError::NoSuchRow { table, row, rows })?;
            missing.push((handle, stack.frame));
            next = stack.parent;
        }
        let mut new = old;
        for (handle, frame) in missing.into_iter().rev() {
            let frame = self.copy_frame(from, to, frame)?;
            new = to.stacks.intern(Stack { parent, frame })?;
            self.stacks.insert(handle, new);
            parent = Some(new);
        }
        Ok(new)
    }

    fn copy_frame(
        &mut self,
        from: &Profile,
        to: &mut Profile,
        old: FrameHandle,
    ) -> Result<FrameHandle, ProfileError> {
        if let Some(known) = self.frames.get(&old) {
            return Ok(*known);
        }
        let frame = from.frame(old)?;
        let function = match self.functions.get(&frame.function) {
            Some(known) => *known,
            None => {
                let row = function_in(from, to, frame.function)?;
                let new = to.functions.intern(row);
                self.functions.insert(frame.function, new);
                new
            }
        };
        let new = to.frames.intern(Frame { function, ..frame });
        self.frames.insert(old, new);
        Ok(new)
    }
}

/// A row of `from` as it stands in `to`. Each part destructures its row in full, so that a new handle field cannot be
/// forgotten here.
fn function_in(
    from: &Profile,
    to: &mut Profile,
    old: FunctionHandle,
) -> Result<Function, ProfileError> {
    let Function {
        name,
        file,
        library,
        first_line,
        kind,
    } = from.function(old)?;
    let library = match library {
        None => None,
        Some(library) => {
            let Library {
                name,
                path,
                build_id,
            } = from.library(library)?;
            let row = Library {
                name: text_in(from, to, name)?,
                path: path.map(|path| text_in(from, to, path)).transpose()?,
                build_id: build_id.map(|id| text_in(from, to, id)).transpose()?,
            };
            Some(to.libraries.intern(row))
        }
    };
    Ok(Function {
        name: text_in(from, to, name)?,
        file: file.map(|file| text_in(from, to, file)).transpose()?,
        library,
        first_line,
        kind,
    })
}

fn process_in(
    from: &Profile,
    to: &mut Profile,
    old: ProcessHandle,
) -> Result<Process, ProfileError> {
    let Process {
        pid,
        parent_pid,
        name,
        title,
        command_line,
        python_version,
        start_time_ns,
        placement,
    } = from.process(old)?;
    let version = python_version.map(|version| text_in(from, to, version));
    Ok(Process {
        pid,
        parent_pid,
        name: text_in(from, to, name)?,
        title: title.map(|title| text_in(from, to, title)).transpose()?,
        command_line: text_in(from, to, command_line)?,
        python_version: version.transpose()?,
        start_time_ns,
        placement: placement.try_map(|text| text_in(from, to, text))?,
    })
}

fn text_in(
    from: &Profile,
    to: &mut Profile,
    old: StringHandle,
) -> Result<StringHandle, ProfileError> {
    Ok(to.strings.intern(from.string(old)?))
}
