//! Loads and attaches the BPF programs, feeds their maps, polls their rings.
//!
//! The only caller of `bpf(2)` and `perf_event_open(2)`. Nothing is pinned: when the process ends, however it ends, the
//! kernel takes programs, maps and events away with its file descriptors.
//!
//! ```text
//! Sampler::load ─► add_row_table, fill_rows, write_mappings, add_process … ─► attach ─► poll, poll, … (drop detaches)
//! ```
//!
//! What it asks of you: CAP_BPF and CAP_PERFMON (or root), kernel 5.10 or newer with BTF.
//! What it will not do: know what a process, an ELF file or Python is. It takes numbers and gives records.

mod capacity;
mod error;
mod kernel_log;
mod kernel_names;
mod load;
mod mapping_records;
mod mapping_table;
mod memory_map;
mod perf_event;
mod program_statistics;
mod row_space;
mod row_store;
mod sampler;
mod thread_looker;
mod tick;
mod verifier_figures;

pub use error::SampleError;
pub use kernel_names::{KernelFunction, KernelNames};
pub use mapping_records::{MappingRecord, RecordedChange, RecordedMapping};
pub use perf_event::now_ns;
pub use row_store::RowSearch;
pub use sampler::{MappingChange, Polled, RowMemory, Sampler};
pub use thread_looker::{Look, ThreadLooker};
pub use tick::Clock;
pub use verifier_figures::{ProgramFigures, measure_programs};
