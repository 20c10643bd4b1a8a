//! The readers, with what they begin from.

mod cpython;
mod elf;
mod generated;
mod viperf;

pub use cpython::{debug_offsets, line_tables, text};
pub use elf::{code, debug_frame, eh_frame, elf, partial_elf, rows_of_file};
pub use generated::{debug_link, generated_frames, jit_object, jitdump, perf_map};
pub use viperf::{viperf_file, viperf_message};

use crate::Target;

/// All of them.
#[must_use]
pub fn all() -> Vec<Target> {
    vec![
        elf(),
        partial_elf(),
        eh_frame(),
        debug_frame(),
        rows_of_file(),
        code(),
        perf_map(),
        jitdump(),
        jit_object(),
        generated_frames(),
        debug_link(),
        line_tables(),
        debug_offsets(),
        text(),
        viperf_file(),
        viperf_message(),
    ]
}
