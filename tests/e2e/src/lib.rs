//! End-to-end tests: the real binary on live interpreters.
//!
//! The library holds what the tests stand on: the interpreters of this machine ([`Interpreter`]), the programs to
//! profile ([`Fixture`], from `fixtures/python`), a record of one of them ([`Recorder`], [`Recording`]), and a parser
//! of folded stacks ([`Folded`]) that shares nothing with the product's encoder.
//!
//! The tests themselves are in `tests/it`, one file per thing that must hold.
//! What a test needs is told to its [`Plan`] beforehand; a test whose needs are not met is skipped loudly:
//! one line `skipped: NAME: why`, and `ignored` in the count.
//!
//! The binary under test is `$VIPERF_BIN`, or `viperf` of the same build profile.
//! It will not build the product, install anything, or guess: a missing binary is an error.

#![forbid(unsafe_code)]

mod coverage;
mod fixture;
mod folded;
mod interpreter;
mod interpreter_set;
mod plan;
mod recorder;
mod scenario;

pub use coverage::{Cell, Table, clear_cells, note_cell, write_coverage, writes_coverage};
pub use fixture::{Fixture, Measured, cpu_seconds};
pub use folded::{Folded, FoldedError, Frame, Stack};
pub use interpreter::{EXPECTED_VERSIONS, IMPORTABLE, Interpreter, Package, environments};
pub use interpreter_set::{About, interpreter_set};
pub use plan::{Need, Plan, is_root, note_figure};
pub use recorder::{Recorder, Recording, STATS_KEYS, output_folder, viperf_binary, wait_at_most};
pub use scenario::{Scenario, Wanted, WantedFrame, WantedStacks, parse_report};

use std::path::{Path, PathBuf};

/// The folder of the programs to profile.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/python")
}
