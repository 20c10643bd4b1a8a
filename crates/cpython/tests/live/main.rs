//! Detection against real interpreters: every CPython of this machine is the judge of what we say about it.

#![allow(clippy::unwrap_used, reason = "the whole file is tests")]

mod detection;
mod interpreters;
