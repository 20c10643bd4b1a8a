//! The kernel's walks, over made-up memory and over that of real programs and interpreters.
//!
//! Made-up memory shows each shape that a version can have, torn and hostile ones included; what the versions really do
//! is for the interpreters to show (`live.rs`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole file is tests")]

mod cost;
mod definitions;
mod first_arguments;
mod hostile;
mod image;
// The one place that knows which offsets the kernel gets; it belongs to a crate that needs a kernel to be of use.
#[path = "../../../agent/src/layout.rs"]
mod layout;
// The interpreters of the machine, as the tests of viperf-cpython find and run them.
#[path = "../../../cpython/tests/live/interpreters.rs"]
mod interpreters;
mod live;
mod native;
mod native_hostile;
mod python_and_native;
mod recording;
mod session;
mod stacks;
mod thread_states;
