//! The records that cross the border between the kernel's BPF programs and user space.
//!
//! `include/viperf_abi.h` is the same in C and explains every field; this mirror is written by hand so that Rust reads as
//! Rust, and the test `abi_is_the_same_in_c_and_rust` of `viperf-sample` compares both through BTF.
//!
//! What it asks of you: bytes as the kernel sent them. What it will not do: trust them; a number it does not know comes
//! back as a number, a record that is too short comes back as `None`.

mod decode;
mod python_layout;
mod reason;
mod records;
mod threads;
mod word;

pub use decode::{CodeText, PlainData, Record, decode_record, unroll_section};
pub use python_layout::{
    LAYOUT_BACK_LINKS, LAYOUT_BYTE_STRINGS, LAYOUT_CALL_PER_FRAME, LAYOUT_CFRAME,
    LAYOUT_CFRAME_PER_RUN, LAYOUT_GLIBC_KEYS, LAYOUT_MUSL_KEYS, PythonLayout,
};
pub use reason::Reason;
pub use records::{
    CODE_CLASS, CODE_OLD_CLASS, CODE_SHIM, CaptureRecord, CodeIdentity, CodeKey, CodeRecord,
    Configuration, LINE_TABLE_LNOTAB, LINE_TABLE_LNOTAB_UNSIGNED, LINE_TABLE_LOCATIONS,
    LINE_TABLE_RANGES, Lost, Mapping, PROCESS_NEVER_DEFER, PROCESS_PYTHON, PROCESS_READ,
    PROCESS_STARTS_TARGET, PROCESS_TARGET, Process, ProcessRecord, RecordHeader, RecordKind,
    RowTable, SAMPLE_ATTACHMENT_KNOWN, SAMPLE_BORROWED_MEMORY, SAMPLE_CALL_PER_FRAME,
    SAMPLE_DEFERRED, SAMPLE_GIL_KNOWN, SAMPLE_HOLDS_GIL, SAMPLE_IS_ATTACHED, SAMPLE_LOOKED_AT,
    SAMPLE_NO_THREAD_STATE, SAMPLE_PYTHON, SampleRecord, StackRecord, TextHeader, UnwindRow, limit,
};
pub use threads::{GilPlaces, THREAD_ENDS, THREAD_HAS_MOVED, THREAD_RUNS, ThreadRecord};
pub use word::{Word, WordKind};
