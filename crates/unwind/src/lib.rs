//! `.eh_frame` to compact unwind rows, and the walk that uses them.
//!
//! A process's native stack is walked in the kernel, where DWARF cannot be interpreted. So user
//! space does it once per file: [`build_rows`] evaluates every frame description entry and writes
//! the result down as [`Row`]s of eight bytes, sorted by address. The kernel searches them
//! ([`find_rule`]) and applies the [`Rule`] found; [`walk`] is the same walk in Rust, the oracle of
//! the kernel's and the way to finish a stack that the kernel could not.
//!
//! What it asks of you: the bytes of `.eh_frame` and where they are, or a
//! [`viperf_elf::Image`]; for a walk, a `find` and a `read_memory` closure.
//!
//! What it will not do: read processes or files; restore other registers than rip, rsp and rbp;
//! handle files linked at or above 4 GiB ([`RowError::AddressTooLarge`]); guess. Where no rule of
//! eight bytes says what the file says, the row is [`Step::Unsupported`] and the walk ends there
//! with a reason.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = std::fs::read("/lib/x86_64-linux-gnu/libc.so.6")?;
//! let image = viperf_elf::Image::parse(&bytes)?;
//! let table = viperf_unwind::build_rows_of_image(&image)?;
//! println!("{} rows of {} functions", table.rows.len(), table.fdes);
//! println!("{:?}", viperf_unwind::find_rule(&table.rows, 0x2_7000).decode());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod build;
mod dwarf;
mod rule;
mod walk;

#[cfg(test)]
mod against_gimli;

pub use build::{RowError, RowTable, build_rows, build_rows_of_image, find_moved_parts};
pub use rule::{CallerRbp, Cause, Cfa, Row, Rule, Step, find_rule};
pub use walk::{NativeFrame, Registers, WalkEnd, walk};
