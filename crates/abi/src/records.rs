use crate::PythonLayout;

/// Sizes that both sides agree on (`enum limit`).
pub mod limit {
    macro_rules! limits {
        ($($name:ident = $value:literal;)*) => {
            $(#[doc = concat!("`", stringify!($name), "`, explained in the C header.")] pub const $name: usize = $value;)*
            /// Every limit by its enumerator's name in C.
            pub const ALL: &[(&str, usize)] = &[$((stringify!($name), $name),)*];
        };
    }
    limits! {
        MAX_KERNEL_FRAMES = 127;
        MAX_NATIVE_FRAMES = 2048;
        LEAFMOST_NATIVE = 1024;
        MAX_PYTHON_WORDS = 4096;
        LEAFMOST_PYTHON = 1536;
        ROOTMOST = 512;
        MAX_STACK_WORDS = 4096;
        MAX_TEXT_BYTES = 1024;
        MAX_LINE_TABLE_BYTES = 8192;
        ROWS_PER_SHARD = 65536;
        MAX_ROW_SHARDS = 4096;
        MAX_ROW_TABLES = 131_072;
        ROW_TABLE_TICK_SHIFT = 26;
        ROWS_AWAITED = 2_147_483_647;
        ROWS_CAN_BE_MORE = 1;
        ROWS_PLACEMENT_SHIFT = 1;
        MAX_MAPPINGS = 262_144;
        MAX_PROCESSES = 16384;
        MAX_THREAD_STATES = 16384;
        MAX_CODE_OBJECTS = 65536;
        STACK_CACHE_SLOTS = 4096;
        STACK_CACHE_WORDS = 65536;
        THREAD_NAME_BYTES = 16;
        FRAME_BLOCK_BYTES = 128;
        CODE_BLOCK_BYTES = 256;
        CAPTURE_BYTES = 24576;
        CAPTURE_PARTS = 8;
        RED_ZONE_BYTES = 128;
        NO_OWNER = 65535;
        CODE_IDENTITY_NAME_BYTES = 64;
        CODE_IDENTITY_WORDS = 16;
        CLASS_NAME_BYTES = 128;
        MAX_OWN_THREAD_STATES = 4;
        MAX_DEFINITIONS_PER_SAMPLE = 256;
        KERNEL_NAMES = 64;
        KERNEL_NAME_BYTES = 512;
    }
    pub(crate) const NO_OWNER_U16: u16 = NO_OWNER as u16;
}

/// Which record follows a header (`enum record_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "each is told at the struct of the same name")]
pub enum RecordKind {
    Sample = 1,
    Stack = 2,
    Code = 3,
    Fork = 4,
    Exec = 5,
    Exit = 6,
    Capture = 7,
    Thread = 8,
    Adopted = 9,
}

impl RecordKind {
    /// Every kind, with its enumerator's name in C.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Sample, "RECORD_SAMPLE"),
        (Self::Stack, "RECORD_STACK"),
        (Self::Code, "RECORD_CODE"),
        (Self::Fork, "RECORD_FORK"),
        (Self::Exec, "RECORD_EXEC"),
        (Self::Exit, "RECORD_EXIT"),
        (Self::Capture, "RECORD_CAPTURE"),
        (Self::Thread, "RECORD_THREAD"),
        (Self::Adopted, "RECORD_ADOPTED"),
    ];

    /// The kind of a number that came from the kernel.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .map(|(kind, _)| *kind)
            .find(|kind| *kind as u32 == number)
    }
}

/// What was lost because the ring was full (`enum lost`): the index into the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Lost {
    /// Samples that are gone.
    Samples = 0,
    /// Definitions of code objects; they are sent again at the next sight.
    Codes = 1,
    /// Forks, execs and exits.
    ProcessEvents = 2,
}

impl Lost {
    /// How many counters there are.
    pub const KINDS: usize = 3;
}

/// `struct unwind_row`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnwindRow {
    /// SVMA of the first byte that the rule holds for.
    pub pc: u32,
    /// The rule, packed as `viperf_unwind::Rule` says.
    pub rule: u32,
}

/// `struct row_table`: the rows of one file, or of one mapping of generated code.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowTable {
    /// Index of the first row over all shards, and the number of rows in the upper half.
    pub place: u64,
    /// When a walk last looked here, in units of 2^26 ns of the monotonic clock; the kernel writes it.
    pub last_used: u32,
    /// [`limit::ROWS_CAN_BE_MORE`] or 0, and from [`limit::ROWS_PLACEMENT_SHIFT`] on the number of these rows among all that
    /// were ever placed.
    pub placement: u32,
}

/// `struct mapping`: one executable mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// First AVMA.
    pub start: u64,
    /// First AVMA behind it.
    pub end: u64,
    /// AVMA minus SVMA.
    pub load_bias: u64,
    /// Index into `row_tables`; 0 when there is no table.
    pub row_table: u32,
    /// The number user space gave the executable.
    pub executable: u32,
}

/// Samples of this process are wanted.
pub const PROCESS_TARGET: u32 = 1;
/// Its mappings are in place.
pub const PROCESS_READ: u32 = 2;
/// It runs a CPython with a layout.
pub const PROCESS_PYTHON: u32 = 4;
/// Its deferred samples have led nowhere: the kernel sends them as they are.
pub const PROCESS_NEVER_DEFER: u32 = 16;
/// viperf itself while it starts a command, and its child until that has become the command: not sampled.
pub const PROCESS_STARTS_TARGET: u32 = 8;

/// `struct process`: what the kernel knows of one process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// One number per address space.
    pub epoch: u32,
    /// `PROCESS_*`.
    pub flags: u32,
    /// Index of its first mapping.
    pub first_mapping: u32,
    /// How many mappings follow.
    pub mapping_count: u32,
    /// AVMA of `_PyRuntime`.
    pub runtime: u64,
    /// AVMA of `PyCode_Type`.
    pub code_type: u64,
    /// The number of the executable that holds the interpreter.
    pub interpreter: u32,
    /// Learnt by the kernel: how far the CFA of an eval call lies above its entry; 0: not yet.
    pub eval_above_entry: u32,
    /// Learnt by the kernel: the rule that leads from an eval call to its caller.
    pub eval_rule: u32,
    /// The process has ended, and this thread of it was the last: what it still does is sampled, in the kernel only. 0: it
    /// lives.
    pub last_thread: u32,
    /// Learnt by the kernel: the word of a native frame that is an eval call.
    pub eval_word: u64,
    /// Offsets of its CPython.
    pub layout: PythonLayout,
}

/// `struct record_header`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordHeader {
    /// A `RecordKind`.
    pub kind: u32,
    /// Bytes, this header included.
    pub size: u32,
}

/// The native walk met an address in no known mapping: a capture of the same CPU follows.
pub const SAMPLE_DEFERRED: u32 = 1;
/// The interpreter was known, so that all Python frames are there.
pub const SAMPLE_PYTHON: u32 = 2;
/// Every Python frame is one native eval call, and only user space knows which native frames these are.
pub const SAMPLE_CALL_PER_FRAME: u32 = 4;
/// The thread has no thread state: it has never been in Python, or has left it for good.
pub const SAMPLE_NO_THREAD_STATE: u32 = 8;
/// A child of vfork that has not run exec yet: its Python frames are its parent's.
pub const SAMPLE_BORROWED_MEMORY: u32 = 16;
/// Not of the clock: the thread was looked at while it did not run. Its [`ThreadRecord`] comes before it.
pub const SAMPLE_LOOKED_AT: u32 = 32;
/// With [`Configuration::gil`]: whether the thread holds the GIL is known.
pub const SAMPLE_GIL_KNOWN: u32 = 64;
/// It holds the GIL.
pub const SAMPLE_HOLDS_GIL: u32 = 128;
/// Of a free-threaded build: whether the thread is attached to its interpreter is known.
pub const SAMPLE_ATTACHMENT_KNOWN: u32 = 256;
/// It is attached.
pub const SAMPLE_IS_ATTACHED: u32 = 512;

/// `struct sample_record`: a sample whose stack is known by (cpu, slot).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SampleRecord {
    /// The header.
    pub header: RecordHeader,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time_ns: u64,
    /// Pid.
    pub tgid: u32,
    /// Tid.
    pub tid: u32,
    /// CPU it was taken on.
    pub cpu: u32,
    /// Slot of that CPU's stack cache.
    pub slot: u32,
    /// The process's epoch.
    pub epoch: u32,
    /// `SAMPLE_*`.
    pub flags: u32,
    /// `pthread_self()`, by which Python knows its threads: the fs base.
    pub thread_pointer: u64,
    /// The kernel's name of the thread, NUL-terminated.
    pub thread_name: [u8; limit::THREAD_NAME_BYTES],
}

/// `struct stack_record` as far as its size is fixed; the words follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct StackRecord {
    /// The sample that brought it.
    pub sample: SampleRecord,
    /// Addresses in the kernel section.
    pub kernel_count: u16,
    /// Words in the native section.
    pub native_count: u16,
    /// Words in the Python section.
    pub python_count: u16,
    /// Native frames left out before the last `ROOTMOST`, which are a ring then.
    pub native_skipped: u16,
    /// Python words left out likewise.
    pub python_skipped: u16,
    /// Padding.
    pub reserved: [u16; 3],
}

/// `struct text_header`: a string as CPython stores it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TextHeader {
    /// AVMA of the string object.
    pub address: u64,
    /// Characters.
    pub length: u32,
    /// Bytes that were captured.
    pub captured: u16,
    /// Bytes per character: 1, 2 or 4; 0 when it could not be read.
    pub kind: u8,
    /// 1 when all characters are ASCII.
    pub ascii: u8,
}

/// The line table is `co_lnotab` of 2.7.
pub const LINE_TABLE_LNOTAB_UNSIGNED: u16 = 1;
/// The line table is `co_lnotab` of 3.6 to 3.9.
pub const LINE_TABLE_LNOTAB: u16 = 2;
/// The line table is `co_linetable` of 3.10.
pub const LINE_TABLE_RANGES: u16 = 3;
/// The line table is `co_linetable` of 3.11 and later.
pub const LINE_TABLE_LOCATIONS: u16 = 4;

/// Not a function of the program: CPython's own trampoline (`_Py_InitCleanup`).
pub const CODE_SHIM: u32 = 1;
/// The first argument is called `self` or `cls`: its class follows (to 3.10).
pub const CODE_CLASS: u32 = 2;
/// The class is an old-style one (2.7).
pub const CODE_OLD_CLASS: u32 = 4;

/// `struct code_record` as far as its size is fixed; the captured line table follows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CodeRecord {
    /// The header.
    pub header: RecordHeader,
    /// The number the kernel gave it; never zero.
    pub id: u32,
    /// The process's epoch.
    pub epoch: u32,
    /// Pid.
    pub tgid: u32,
    /// `co_firstlineno`.
    pub first_line: i32,
    /// AVMA of the code object.
    pub address: u64,
    /// `CODE_*`.
    pub flags: u32,
    /// Bytes of the line table in the process.
    pub line_table_size: u32,
    /// Bytes of it that follow this record.
    pub line_table_captured: u32,
    /// A `LINE_TABLE_*`.
    pub line_table_kind: u32,
    /// AVMA of the bytes object that holds it.
    pub line_table_address: u64,
    /// `co_qualname`.
    pub qualname: TextHeader,
    /// `co_filename`.
    pub filename: TextHeader,
    /// With `CODE_CLASS`: AVMA of the class of the first argument.
    pub class_address: u64,
    /// Its name, NUL-terminated; empty if it could not be read.
    pub class_name: [u8; limit::CLASS_NAME_BYTES],
    /// Characters of the qualname.
    pub qualname_bytes: [u8; limit::MAX_TEXT_BYTES],
    /// Characters of the file name.
    pub filename_bytes: [u8; limit::MAX_TEXT_BYTES],
}

impl std::fmt::Debug for CodeRecord {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CodeRecord")
            .field("id", &self.id)
            .field("address", &self.address)
            .field("first_line", &self.first_line)
            .finish_non_exhaustive()
    }
}

/// `struct process_record`: fork, exec or exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessRecord {
    /// The header.
    pub header: RecordHeader,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time_ns: u64,
    /// Pid; the child's for a fork.
    pub tgid: u32,
    /// The parent's pid for a fork.
    pub parent_tgid: u32,
    /// The epoch after the event.
    pub epoch: u32,
    /// Zero.
    pub reserved: u32,
}

/// `struct capture_record` as far as its size is fixed; the captured stack follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CaptureRecord {
    /// The header.
    pub header: RecordHeader,
    /// Pid.
    pub tgid: u32,
    /// It belongs to the last sample of this CPU.
    pub cpu: u32,
    /// Bytes of stack that follow, upwards from `offset` bytes above the beginning of the copy.
    pub captured: u32,
    /// The copy begins so far below `sp`: what leaf functions keep there, if it could be read.
    pub below: u32,
    /// 0 in the last record of a capture, which has the top of the stack.
    pub offset: u32,
    /// Zero.
    pub reserved: u32,
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub bp: u64,
    /// By DWARF number.
    pub registers: [u64; 16],
}

/// `struct code_key`: key of the map `codes`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CodeKey {
    /// AVMA of the code object.
    pub address: u64,
    /// The process's epoch.
    pub epoch: u32,
    /// Zero.
    pub reserved: u32,
}

/// `struct code_identity`: what must be equal for the address to mean the same code object.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CodeIdentity {
    /// Where there is no `co_version`: length and hash of the name, and its end; size, hash and start of the line table.
    pub contents: [u64; limit::CODE_IDENTITY_WORDS],
    /// AVMA of `co_qualname`.
    pub qualname: u64,
    /// AVMA of `co_filename`.
    pub filename: u64,
    /// AVMA of `co_linetable`.
    pub line_table: u64,
    /// `co_firstlineno`.
    pub first_line: i32,
    /// The number the kernel gave it.
    pub id: u32,
    /// `co_version`, or 0.
    pub version: u32,
    /// Zero.
    pub reserved: u32,
}

/// `struct configuration`: set before the programs are loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Configuration {
    /// 1: walk the native stack.
    pub native: u32,
    /// 1: take the kernel stack.
    pub kernel: u32,
    /// 1: children of targets are targets.
    pub follow_children: u32,
    /// 1: send a capture with every sample (tests).
    pub capture: u32,
    /// 1: report every exec of the machine.
    pub report_every_exec: u32,
    /// Say of each thread whether it holds the GIL, where the map `gils` says how to tell.
    pub gil: u32,
    /// 1: whatever is sampled becomes a target.
    pub adopt: u32,
    /// 1: only processes in the control group that the map holds.
    pub in_control_group: u32,
    /// 1: only processes of the name below.
    pub has_name: u32,
    /// viperf itself, which does not adopt itself.
    pub own_tgid: u32,
    /// The name that processes must have, filled up with NUL.
    pub name: [u8; limit::THREAD_NAME_BYTES],
}
