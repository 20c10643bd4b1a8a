//! This crate against real interpreters: every CPython 3.11, 3.12 and 3.13 that pyenv or the system has is the
//! judge of what we say about it.

#![allow(clippy::unwrap_used, reason = "the whole file is tests")]

mod detection;
mod dwarf;
mod interpreters;
mod line_tables;
mod stacks;
