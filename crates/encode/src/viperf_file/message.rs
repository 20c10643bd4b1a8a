//! The messages inside the blocks, as protocol buffers; `docs/formats/viperf.proto` is the same in that language.
//!
//! A handle is written as the row's number; where there may be none, as the number plus one, and 0 is none.

use prost::Message;

/// Block type 1, the first one: what was profiled.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Information {
    #[prost(string, tag = "1")]
    pub(super) viperf_version: String,
    #[prost(string, tag = "2")]
    pub(super) hostname: String,
    #[prost(string, tag = "3")]
    pub(super) kernel: String,
    #[prost(uint64, tag = "4")]
    pub(super) started_unix_ns: u64,
    #[prost(uint64, tag = "5")]
    pub(super) period_ns: u64,
    #[prost(uint32, tag = "6")]
    pub(super) rate_hz: u32,
    #[prost(string, tag = "7")]
    pub(super) target: String,
}

/// Block type 2: the rows and samples that are new since the block before.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Rows {
    #[prost(string, repeated, tag = "1")]
    pub(super) strings: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) functions: Vec<Function>,
    #[prost(message, optional, tag = "3")]
    pub(super) frames: Option<Frames>,
    #[prost(message, optional, tag = "4")]
    pub(super) stacks: Option<Stacks>,
    #[prost(message, repeated, tag = "5")]
    pub(super) processes: Vec<Process>,
    #[prost(message, repeated, tag = "6")]
    pub(super) threads: Vec<Thread>,
    #[prost(message, optional, tag = "7")]
    pub(super) samples: Option<Samples>,
    #[prost(message, repeated, tag = "8")]
    pub(super) libraries: Vec<Library>,
    /// Rows of earlier blocks of which more is known now.
    #[prost(message, repeated, tag = "9")]
    pub(super) renamed_processes: Vec<RenamedProcess>,
    #[prost(message, repeated, tag = "10")]
    pub(super) renamed_threads: Vec<RenamedThread>,
}

/// Block type 6: the same in a later chapter of the file. The tables of each begin anew.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ChapterRows {
    /// The first chapter, of blocks of type 2, is 0.
    #[prost(uint32, tag = "1")]
    pub(super) chapter: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) rows: Option<Rows>,
}

/// Block type 7: samples that waited for their names when it was written. They come again in blocks of rows.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UnnamedRows {
    /// Blocks of one batch stand together, and share the tables.
    #[prost(uint32, tag = "1")]
    pub(super) batch: u32,
    /// How many samples of the recording come before those of this block.
    #[prost(uint64, tag = "2")]
    pub(super) samples_before: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) rows: Option<Rows>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RenamedProcess {
    #[prost(uint32, tag = "1")]
    pub(super) row: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) process: Option<Process>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RenamedThread {
    #[prost(uint32, tag = "1")]
    pub(super) row: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) thread: Option<Thread>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Library {
    #[prost(uint32, tag = "1")]
    pub(super) name: u32,
    #[prost(uint32, tag = "2")]
    pub(super) path_plus_one: u32,
    #[prost(uint32, tag = "3")]
    pub(super) build_id_plus_one: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Function {
    #[prost(uint32, tag = "1")]
    pub(super) name: u32,
    #[prost(uint32, tag = "2")]
    pub(super) file_plus_one: u32,
    /// The library's name, for readers that know no library table; it says nothing where `library_plus_one` is not 0.
    #[prost(uint32, tag = "3")]
    pub(super) library_name_plus_one: u32,
    #[prost(uint32, tag = "4")]
    pub(super) first_line: u32,
    #[prost(uint32, tag = "5")]
    pub(super) kind: u32,
    #[prost(uint32, tag = "6")]
    pub(super) library_plus_one: u32,
}

/// Columns: the n-th entry of each is the n-th frame's.
///
/// The last four came after the first files were written: one that is 0 or false in every row is left out.
/// Numbers stand as they are, not as differences: `end_line` repeats `line` nearly everywhere, which zstd sees.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Frames {
    #[prost(uint32, repeated, tag = "1")]
    pub(super) function: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) line: Vec<u32>,
    #[prost(uint64, repeated, tag = "3")]
    pub(super) address: Vec<u64>,
    #[prost(uint32, repeated, tag = "4")]
    pub(super) end_line: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    pub(super) column: Vec<u32>,
    #[prost(uint32, repeated, tag = "6")]
    pub(super) end_column: Vec<u32>,
    #[prost(bool, repeated, tag = "7")]
    pub(super) inlined: Vec<bool>,
}

/// Columns: the n-th entry of each is the n-th stack's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Stacks {
    #[prost(uint32, repeated, tag = "1")]
    pub(super) parent_plus_one: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) frame: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Process {
    #[prost(uint32, tag = "1")]
    pub(super) pid: u32,
    #[prost(uint32, optional, tag = "2")]
    pub(super) parent_pid: Option<u32>,
    #[prost(uint32, tag = "3")]
    pub(super) name: u32,
    #[prost(uint32, tag = "4")]
    pub(super) command_line: u32,
    #[prost(uint32, tag = "5")]
    pub(super) python_version_plus_one: u32,
    #[prost(uint64, tag = "6")]
    pub(super) start_time_ns: u64,
    #[prost(uint32, tag = "7")]
    pub(super) title_plus_one: u32,
    /// In the order of `Placement::FIELDS`, up to the last that is known.
    #[prost(uint32, repeated, tag = "8")]
    pub(super) placement_plus_one: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Thread {
    #[prost(uint32, tag = "1")]
    pub(super) process: u32,
    #[prost(uint32, tag = "2")]
    pub(super) tid: u32,
    #[prost(uint32, tag = "3")]
    pub(super) name: u32,
}

/// Columns: the n-th entry of each is the n-th sample's. Times are differences from the sample before in this block,
/// the first from 0; zigzag, since CPUs deliver out of order.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Samples {
    #[prost(sint64, repeated, tag = "1")]
    pub(super) time_difference_ns: Vec<i64>,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) weight_ns: Vec<u64>,
    #[prost(uint32, repeated, tag = "3")]
    pub(super) cpu: Vec<u32>,
    #[prost(uint32, repeated, tag = "4")]
    pub(super) thread: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    pub(super) stack: Vec<u32>,
    #[prost(bool, repeated, tag = "6")]
    pub(super) complete: Vec<bool>,
}

/// Block type 4, before the last one: the text of a source file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Source {
    /// The path by which functions name the file.
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(string, tag = "2")]
    pub(super) text: String,
    /// The file was written after the recording.
    #[prost(bool, tag = "3")]
    pub(super) changed_since: bool,
}

/// Block type 5: how the recording stood when the block was written; the last one of a file counts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Standing {
    #[prost(uint64, tag = "1")]
    pub(super) duration_ns: u64,
    #[prost(uint64, tag = "2")]
    pub(super) lost: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) incomplete: Vec<IncompleteReason>,
    #[prost(uint64, tag = "4")]
    pub(super) bpf_time_ns: u64,
    #[prost(uint64, tag = "5")]
    pub(super) cpu_time_ns: u64,
    #[prost(uint64, tag = "6")]
    pub(super) peak_memory_bytes: u64,
    #[prost(uint64, tag = "7")]
    pub(super) bpf_map_bytes: u64,
    #[prost(uint64, optional, tag = "8")]
    pub(super) first_sample_ns: Option<u64>,
    #[prost(uint64, tag = "9")]
    pub(super) samples_without_python: u64,
    #[prost(uint32, tag = "10")]
    pub(super) lowest_rate_hz: u32,
}

/// Block type 3, the last one: what is known only when the recording is over.
#[derive(Clone, PartialEq, Message)]
pub(super) struct End {
    #[prost(uint64, tag = "1")]
    pub(super) duration_ns: u64,
    #[prost(uint64, tag = "2")]
    pub(super) lost: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) incomplete: Vec<IncompleteReason>,
    /// How many samples the blocks before hold together.
    #[prost(uint64, tag = "4")]
    pub(super) samples: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IncompleteReason {
    #[prost(string, tag = "1")]
    pub(super) reason: String,
    #[prost(uint64, tag = "2")]
    pub(super) samples: u64,
}
