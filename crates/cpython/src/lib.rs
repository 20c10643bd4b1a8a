//! What viperf knows of CPython: versions, layouts, detection, line tables, strings.
//!
//! **What it does.** It answers, for one interpreter:
//! is this ELF file a CPython, and which one ([`detect`]);
//! where its structs keep their members ([`Layout`], one TOML file per version, overridden by the interpreter's own
//! table from 3.13 on);
//! which thread states a process has ([`thread_states::find`]);
//! and what a code object and a place in it are called ([`code_object::read`], [`line_table`], [`text`]).
//!
//! **What it asks of you.** Bytes: an [`Image`](viperf_elf::Image), a slice, or a closure
//! `read_memory(address, buffer) -> bool` that fills the buffer from the target's memory, all or nothing.
//! Addresses given to such closures are AVMA.
//!
//! **What it will not do.** No I/O of its own. No guessing: a version without a layout is
//! [`Detection::Unsupported`], never another version's offsets. No trust: every length and every chain read from a
//! process is bounded, and nothing read can panic.
//!
//! Layouts are data: a new CPython needs a file in `layouts/`.

#![forbid(unsafe_code)]

mod accessors;
mod class_names;
pub mod code_object;
mod debug_offsets;
mod detect;
mod eval_function;
mod layout;
pub mod line_table;
mod locals;
mod memory;
mod object_layout;
mod objects;
pub mod text;
mod thread_names;
pub mod thread_states;
mod version;

pub use accessors::code_to_detect;
pub use class_names::{find_class_name, find_qualname};
pub use debug_offsets::{DebugOffsetsError, parse_debug_offsets, parse_debug_offsets_of_newer};
pub use detect::{Detection, Interpreter, detect};
pub use eval_function::{eval_function_code, find_eval_function};
pub use layout::{
    BytesLayout, CframeLayout, CodeLayout, FrameLayout, GilLayout, InterpreterLayout, Layout,
    RuntimeLayout, ThreadStateLayout, TssLayout, TupleLayout, TypeLayout, UnicodeLayout,
    find_layout, find_newest_layout,
};
pub use line_table::LineTableKind;
pub use locals::{FrameLocals, read_locals};
pub use object_layout::{ObjectLayout, find_object_layout};
pub use thread_names::{ThreadName, read_thread_names};
pub use version::Version;
