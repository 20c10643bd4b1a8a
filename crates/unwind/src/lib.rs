//! Call frame information to compact unwind rows, and the walk that uses them.
//!
//! A process's native stack is walked in the kernel, where DWARF cannot be interpreted. So user
//! space does it once per file: [`build_rows_of_images`] evaluates every frame description entry of
//! `.eh_frame` and `.debug_frame` and writes the result down as [`Row`]s of eight bytes, sorted by
//! address. The kernel searches them ([`find_rule`]) and applies the [`Rule`] found; [`walk`] is the
//! same walk in Rust, the oracle of the kernel's and the way to finish a stack that the kernel could
//! not. Code of which a file says nothing gets rows from its instructions ([`analyse_code`]).
//!
//! What it asks of you: a [`viperf_elf::Image`] of the file and of its separate debug file, if there
//! is one. The sections that [`is_wanted_for_rows`] names must be there, and for the analysis the
//! parts that [`find_code_to_analyse`] names. For a walk, a `find` and a `read_memory` closure.
//!
//! What it will not do: read processes or files; restore other registers than rip, rsp and rbp;
//! handle files linked at or above 4 GiB ([`RowError::AddressTooLarge`]); overrule a file. Where no
//! rule of eight bytes says what the file says, the row is [`Step::Unsupported`] and the walk ends
//! there with a reason; where nothing is known, it is NONE.
//!
//! Building takes eight bytes of memory for each row, eight for each function, and the file's own
//! bytes: ten million rows in about a second and 180 MB, 52 MB of which are the section.
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

mod analysis;
mod build;
mod dwarf;
mod entries;
mod fill;
mod generated;
mod images;
mod rule;
mod walk;

#[cfg(test)]
mod against_gimli;
#[cfg(test)]
mod scale;

pub use analysis::{analyse_code, find_code_to_analyse};
pub use build::{RowError, RowTable, build_rows, build_rows_of_debug_frame};
pub use generated::{GeneratedFrames, build_rows_of_generated_code};
pub use images::{build_rows_of_image, build_rows_of_images, find_moved_parts, is_wanted_for_rows};
pub use rule::{CallerRbp, Cause, Cfa, Row, Rule, Step, find_rule};
pub use walk::{NativeFrame, Registers, WalkEnd, walk};
