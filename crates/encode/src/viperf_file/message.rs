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
