//! The profile: every table together.

use std::collections::BTreeMap;

use crate::aggregate::{AggregatedStack, aggregate};
use crate::frame_table::{Frame, FrameHandle, FrameTable};
use crate::function_table::{Function, FunctionHandle, FunctionTable};
use crate::information::ProfileInformation;
use crate::library_table::{Library, LibraryHandle, LibraryTable};
use crate::process_table::{Process, ProcessHandle, ProcessTable};
use crate::sample::Sample;
use crate::source_table::SourceTable;
use crate::stack_table::{StackHandle, StackTable};
use crate::string_table::{StringHandle, StringTable};
use crate::table::{Row, Table};
use crate::thread_table::{Thread, ThreadHandle, ThreadTable};
use crate::validate::{ProfileError, validate};

/// What was seen, in full: every sample in time order, and the tables its handles point into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What was profiled, where, how and for how long.
    pub information: ProfileInformation,
    /// Every text.
    pub strings: StringTable,
    /// Every executable and library.
    pub libraries: LibraryTable,
    /// Every function.
    pub functions: FunctionTable,
    /// Every frame.
    pub frames: FrameTable,
    /// Every stack.
    pub stacks: StackTable,
    /// Every process.
    pub processes: ProcessTable,
    /// Every thread.
    pub threads: ThreadTable,
    /// Every sample; [`Profile::sort_samples`] puts them in time order.
    pub samples: Vec<Sample>,
    /// Why samples are not complete: reason to number of samples.
    pub incomplete: BTreeMap<String, u64>,
    /// Samples that the kernel took and that never arrived.
    pub lost: u64,
    /// Texts of source files, as far as they were allowed to be read.
    pub sources: SourceTable,
}

impl Profile {
    /// The handle of the stack of these frames, the root first; `None` when there are no frames.
    pub fn intern_stack_root_first(
        &mut self,
        frames: impl IntoIterator<Item = FrameHandle>,
    ) -> Option<StackHandle> {
        self.stacks.intern_root_first(frames)
    }

    /// The handle of the stack of these frames, the leaf first; `None` when there are no frames.
    pub fn intern_stack_leaf_first(
        &mut self,
        frames: impl IntoIterator<Item = FrameHandle, IntoIter: DoubleEndedIterator>,
    ) -> Option<StackHandle> {
        self.stacks.intern_root_first(frames.into_iter().rev())
    }

    /// Puts the samples in time order; samples of one instant stay in their order.
    ///
    /// They arrive per CPU, so they are nearly in order but not quite.
    pub fn sort_samples(&mut self) {
        self.samples.sort_by_key(|sample| sample.time_ns);
    }

    /// One row per distinct (thread, stack) with its count and weight, in order of thread, then stack.
    #[must_use]
    pub fn aggregate(&self) -> Vec<AggregatedStack> {
        aggregate(&self.samples)
    }

    /// How many rows there are for stacks and their names: what its memory beside samples, processes and threads goes with.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.strings.len() + self.functions.len() + self.frames.len() + self.stacks.len()
    }

    /// Counts one sample that is not complete, and why.
    pub fn count_incomplete(&mut self, reason: &str) {
        // Reasons are few, samples are many.
        match self.incomplete.get_mut(reason) {
            Some(count) => *count += 1,
            None => {
                self.incomplete.insert(reason.to_owned(), 1);
            }
        }
    }

    /// How many samples are complete.
    #[must_use]
    pub fn complete_samples(&self) -> u64 {
        self.samples.iter().filter(|sample| sample.complete).count() as u64
    }

    /// Checks that every handle in every table points at a row.
    ///
    /// A profile built through one set of `intern` methods always passes; one from a file may not.
    ///
    /// # Errors
    ///
    /// The first [`ProfileError`] found.
    pub fn validate(&self) -> Result<(), ProfileError> {
        validate(self)
    }

    /// The text of `handle`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoSuchRow`] when it is not of this profile.
    pub fn string(&self, handle: StringHandle) -> Result<&str, ProfileError> {
        self.strings
            .find(handle)
            .ok_or_else(|| ProfileError::no_such_row("strings", handle, self.strings.len()))
    }

    /// The library of `handle`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoSuchRow`] when it is not of this profile.
    pub fn library(&self, handle: LibraryHandle) -> Result<Library, ProfileError> {
        row(&self.libraries, handle)
    }

    /// The name of the library that holds `function`; `None` when it has none.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoSuchRow`] when a handle is not of this profile.
    pub fn library_name(&self, function: &Function) -> Result<Option<&str>, ProfileError> {
        match function.library {
            Some(library) => self.string(self.library(library)?.name).map(Some),
            None => Ok(None),
        }
    }

    /// The function of `handle`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoSuchRow`] when it is not of this profile.
    pub fn function(&self, handle: FunctionHandle) -> Result<Function, ProfileError> {
        row(&self.functions, handle)
    }

    /// The frame of `handle`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoSuchRow`] when it is not of this profile.
    pub fn frame(&self, handle: FrameHandle) -> Result<Frame, ProfileError> {
        row(&self.frames, handle)
    }

    /// The process of `handle`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoSuchRow`] when it is not of this profile.
    pub fn process(&self, handle: ProcessHandle) -> Result<Process, ProfileError> {
        row(&self.processes, handle)
    }

    /// The thread of `handle`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoSuchRow`] when it is not of this profile.
    pub fn thread(&self, handle: ThreadHandle) -> Result<Thread, ProfileError> {
        row(&self.threads, handle)
    }
}

fn row<R: Row + Copy>(table: &Table<R>, handle: R::Handle) -> Result<R, ProfileError> {
    table
        .find(handle)
        .copied()
        .ok_or_else(|| ProfileError::no_such_row(R::TABLE, handle, table.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function_table::FrameKind;
    use crate::table::Handle as _;

    #[test]
    fn leaf_first_and_root_first_name_the_same_stack() {
        let mut profile = Profile::default();
        let name = profile.strings.intern("f");
        let function = profile.functions.intern(Function {
            name,
            file: None,
            library: None,
            first_line: 0,
            kind: FrameKind::Native,
        });
        let frames = [1, 2, 3].map(|line| profile.frames.intern(Frame::at_line(function, line)));
        let root_first = profile.intern_stack_root_first(frames);
        let leaf_first = profile.intern_stack_leaf_first(frames.into_iter().rev());
        assert_eq!(root_first, leaf_first);
        assert!(root_first.is_some());
    }

    #[test]
    fn lookups_of_foreign_handles_are_errors_that_name_table_and_number() {
        let error = Profile::default()
            .frame(FrameHandle::from_index(3))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "row 3 of the frames is not there (they are 0): the profile is damaged"
        );
    }

    #[test]
    fn sorting_is_by_time_and_keeps_the_order_of_one_instant() {
        let sample = |time_ns, cpu| Sample {
            time_ns,
            weight_ns: 1,
            cpu,
            thread: ThreadHandle::from_index(0),
            stack: StackHandle::from_index(0),
            complete: false,
        };
        let mut profile = Profile {
            samples: vec![sample(2, 0), sample(1, 1), sample(2, 2)],
            ..Profile::default()
        };
        profile.sort_samples();
        let cpus: Vec<_> = profile.samples.iter().map(|sample| sample.cpu).collect();
        assert_eq!(cpus, [1, 0, 2]);
    }
}
