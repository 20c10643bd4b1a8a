//! What viperf knows of CPython: versions, layouts, detection, frames, line tables, strings.
//!
//! **What it does.** It answers, for one interpreter:
//! is this ELF file a CPython, and which one ([`detect`]);
//! where its structs keep their members ([`Layout`], one TOML file per version, overridden by the interpreter's own
//! table from 3.13 on);
//! which thread states and Python frames a process has ([`thread_states::find`], [`frames::walk`]: the reference for
//! the walk in the kernel);
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
//! Layouts are data: a new CPython needs a file in `layouts/` and a line in the table of `layout.rs`.

#![forbid(unsafe_code)]

pub mod code_object;
mod debug_offsets;
mod detect;
pub mod frames;
mod layout;
pub mod line_table;
mod memory;
pub mod text;
pub mod thread_states;
mod version;

pub use debug_offsets::{DebugOffsetsError, parse_debug_offsets};
pub use detect::{Detection, Interpreter, code_to_detect, detect};
pub use layout::{
    BytesLayout, CframeLayout, CodeLayout, FrameLayout, InterpreterLayout, Layout, RuntimeLayout,
    ThreadStateLayout, TssLayout, UnicodeLayout, find_layout,
};
pub use version::Version;
