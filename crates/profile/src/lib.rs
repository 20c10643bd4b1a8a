//! The data model: strings, libraries, functions, frames, stacks, threads, processes, samples.
//!
//! A [`Profile`] is a struct of tables.
//! Each row of a table is held once and is named by a typed handle, so a frame costs 32 bytes however long its
//! function's name is, and a stack shares its roots with every other stack (a prefix tree).
//!
//! What it asks of you: intern from the root of things outwards (strings, then libraries, functions, frames, stacks; processes,
//! then threads), and use a handle only with the profile that gave it.
//! A profile that came from a file is checked with [`Profile::validate`] before its handles are believed.
//!
//! What it does not do: no I/O, no formats (`viperf-encode` writes them), no names made for the screen (a frame's kind is a
//! field here, never a suffix), no symbolization.
//!
//! ```
//! use viperf_profile::{Frame, FrameKind, Function, Process, Profile, Sample, Thread};
//!
//! let mut profile = Profile::default();
//! let name = profile.strings.intern("main");
//! let file = profile.strings.intern("/srv/app.py");
//! let function = profile.functions.intern(Function {
//!     name,
//!     file: Some(file),
//!     library: None,
//!     first_line: 3,
//!     kind: FrameKind::Python,
//! });
//! let frame = profile.frames.intern(Frame::at_line(function, 7));
//! let stack = profile.intern_stack_root_first([frame]).expect("one frame is a stack");
//! let command_line = profile.strings.intern("python3 app.py");
//! let comm = profile.strings.intern("python3");
//! let process = profile.processes.intern(Process::new(4242, comm, command_line));
//! let thread = profile.threads.intern(Thread { process, tid: 4242, name: comm });
//! profile.samples.push(Sample { time_ns: 10, weight_ns: 1_000_000, cpu: 0, thread, stack, complete: true });
//!
//! assert_eq!(profile.validate(), Ok(()));
//! assert_eq!(profile.aggregate()[0].count, 1);
//! ```

#![forbid(unsafe_code)]

mod aggregate;
mod call_tree;
mod child_index;
mod diff;
mod division;
mod dump;
mod filter;
mod frame_table;
mod function_statistics;
mod function_table;
mod gil;
mod grouping;
mod information;
mod interval;
mod library_table;
#[cfg(test)]
mod made_up;
mod merge;
mod origin;
mod placement;
mod process_table;
mod profile;
mod sample;
mod source_table;
mod stack_table;
mod string_table;
mod table;
mod thread_table;
mod validate;
mod weight;

pub use aggregate::AggregatedStack;
pub use call_tree::{CallNode, CallTree, NodeHandle, NodeWeights};
pub use child_index::ChildIndex;
pub use diff::{
    CONFIDENCE, Change, Diff, DiffRow, DiffSide, FEWEST_SAMPLES, Normalization, Pair, Verdict, diff,
};
pub use division::{DivideBy, Division, Part};
pub use dump::{
    Activity, Dump, DumpedFrame, DumpedProcess, DumpedStack, DumpedThread, Gil, Local, SystemCall,
};
pub use filter::{ALL_HIDDEN, Filter, PlaceSelector, Selector, count_reasons, filter};
pub use frame_table::{Frame, FrameHandle, FrameTable, SourceRange};
pub use function_statistics::{GroupStatistics, Split, group_statistics};
pub use function_table::{FrameKind, Function, FunctionHandle, FunctionTable};
pub use gil::{TakesGil, is_gil_function};
pub use grouping::{Group, GroupBy, GroupHandle, Grouping};
pub use information::{ProfileInformation, RecordingCost};
pub use interval::Interval;
pub use library_table::{Library, LibraryHandle, LibraryTable};
pub use merge::merge;
pub use origin::{Module, Origin, is_interpreter};
pub use placement::Placement;
pub use process_table::{Process, ProcessHandle, ProcessTable};
pub use profile::Profile;
pub use sample::Sample;
pub use source_table::{ALL_SOURCES, LARGEST_SOURCE, SourceFile, SourceTable};
pub use stack_table::{FramesLeafFirst, Stack, StackHandle, StackTable};
pub use string_table::{StringHandle, StringTable};
pub use table::{Handle, Row, Table};
pub use thread_table::{Thread, ThreadHandle, ThreadTable};
pub use validate::ProfileError;
pub use weight::{Measure, Weight};
