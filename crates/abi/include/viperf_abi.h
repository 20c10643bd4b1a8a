/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Everything that crosses the border between viperf's BPF programs and user space.
 *
 * `crates/abi/src/lib.rs` is the same in Rust, by hand; the test `abi_is_the_same_in_c_and_rust` compares the two
 * through BTF: size, field names, offsets, enum values.
 * Limits are enumerators because `#define` never reaches BTF.
 *
 * Words used below: SVMA is an address as written in an ELF file, AVMA one in the running process.
 */
#ifndef VIPERF_ABI_H
#define VIPERF_ABI_H

enum limit {
	/* What bpf_get_stack gives at most (kernel.perf_event_max_stack). */
	MAX_KERNEL_FRAMES = 127,
	/* So many frames are walked at most; of more than LEAFMOST_NATIVE and ROOTMOST together, those between are left out. */
	MAX_NATIVE_FRAMES = 2048,
	LEAFMOST_NATIVE = 1024,
	/* Python frames and entry marks together, likewise. */
	MAX_PYTHON_WORDS = 4096,
	LEAFMOST_PYTHON = 1536,
	ROOTMOST = 512,
	/* Power of two above all sections and their reason words, so that an index can be masked. */
	MAX_STACK_WORDS = 4096,
	/* A string of a code object, in bytes as CPython stores it. */
	MAX_TEXT_BYTES = 1024,
	MAX_LINE_TABLE_BYTES = 8192,
	/* Rows in one inner map of `unwind_rows`. */
	ROWS_PER_SHARD = 65536,
	MAX_ROW_SHARDS = 4096,
	/* Entries of `row_tables`. */
	MAX_ROW_TABLES = 131072,
	/* `row_table.last_used` counts units of 2^26 ns. */
	ROW_TABLE_TICK_SHIFT = 26,
	/* Instead of a number of rows: there are some, but not here yet. */
	ROWS_AWAITED = 2147483647,
	/* A bit of `row_table.placement`: user space has not looked at the file's instructions yet, which can tell rows where there
	 * are none. */
	ROWS_CAN_BE_MORE = 1,
	ROWS_PLACEMENT_SHIFT = 1,
	/* Entries of the `mappings` array, shared by all processes. */
	MAX_MAPPINGS = 262144,
	MAX_PROCESSES = 16384,
	MAX_THREAD_STATES = 16384,
	MAX_CODE_OBJECTS = 65536,
	STACK_CACHE_SLOTS = 4096,
	STACK_CACHE_WORDS = 65536,
	THREAD_NAME_BYTES = 16,
	/* The part of an interpreter frame that is read at once. */
	FRAME_BLOCK_BYTES = 128,
	/* The part of a code object that is read at once. */
	CODE_BLOCK_BYTES = 256,
	/* The top of the user stack is copied in so many parts of so many bytes at most; a per-CPU value of the kernel has 32 KiB
	 * at most. */
	CAPTURE_BYTES = 24576,
	CAPTURE_PARTS = 8,
	RED_ZONE_BYTES = 128,
	NO_OWNER = 65535,
	CODE_IDENTITY_NAME_BYTES = 64,
	CODE_IDENTITY_WORDS = 16,
	CLASS_NAME_BYTES = 128,
	/* Thread states of one thread: one for each interpreter that it has entered. */
	MAX_OWN_THREAD_STATES = 4,
	/* A hostile process could invent a code object for every frame of every sample. */
	MAX_DEFINITIONS_PER_SAMPLE = 256,
	/* Of the kernel's functions so many are named at once, in so many bytes each. */
	KERNEL_NAMES = 64,
	KERNEL_NAME_BYTES = 512,
};

enum record_kind {
	RECORD_SAMPLE = 1,
	RECORD_STACK = 2,
	RECORD_CODE = 3,
	RECORD_FORK = 4,
	RECORD_EXEC = 5,
	RECORD_EXIT = 6,
	RECORD_CAPTURE = 7,
	RECORD_THREAD = 8,
	/* A process that was no target when it was sampled, and is one now. */
	RECORD_ADOPTED = 9,
};

/* What a word of a stack means: its upper four bits. The kernel section holds bare addresses instead. */
enum word_kind {
	/* 20 bits executable, 40 bits SVMA. */
	WORD_NATIVE = 1,
	/* 60 bits AVMA: the mapping is not known or has no file. */
	WORD_ADDRESS = 2,
	/* 32 bits code id, 28 bits instruction offset in units of two bytes, plus one. */
	WORD_PYTHON = 3,
	/* 16 bits index of the native frame (leaf is 0) that owns the Python frames before this word, or NO_OWNER. */
	WORD_ENTRY = 4,
	/* 16 bits reason: the section's walk ended here too early. */
	WORD_REASON = 5,
	/* As WORD_ENTRY in a deferred sample: 60 bits, the C-stack address whose owner is still to be found. */
	WORD_ENTRY_ADDRESS = 6,
	/* The Python frame before this word has a value stack to go on with, so that it may be one that no eval call runs: a
	 * generator that passes an exception on to another one (3.9, 3.10). */
	WORD_SUSPENDED = 7,
};

/* Why a stack is incomplete. Thousands: 1 native walk, 2 Python walk, 3 merge, 4 process. Never renumbered. */
enum reason {
	REASON_NATIVE_NO_MAPPING = 1001,
	REASON_NATIVE_NO_TABLE = 1002,
	REASON_NATIVE_NO_ROW = 1003,
	REASON_NATIVE_UNSUPPORTED_RULE = 1004,
	REASON_NATIVE_UNREADABLE = 1005,
	REASON_NATIVE_NOT_ASCENDING = 1006,
	REASON_NATIVE_REGISTER_LOST = 1007,
	REASON_NATIVE_TOO_DEEP = 1008,
	REASON_PYTHON_UNREADABLE = 2001,
	REASON_PYTHON_NOT_CODE = 2002,
	REASON_PYTHON_TOO_DEEP = 2003,
	REASON_PYTHON_NO_THREAD_STATE = 2004,
	REASON_PYTHON_CODE_LOST = 2005,
	REASON_PYTHON_CUT_OFF = 2006,
	REASON_MERGE_NO_OWNER = 3001,
	REASON_PROCESS_NOT_READ = 4001,
};

/* One unwind row; `crates/unwind` gives its meaning. */
struct unwind_row {
	unsigned int pc;
	unsigned int rule;
};

/* The rows of one file, or of one mapping of generated code. */
struct row_table {
	/* Index of the first row over all shards, and their number in the upper half: 0 when nothing is known, ROWS_AWAITED when
	 * user space will bring them. One word, so that user space can change both at once. */
	unsigned long long place;
	/* When a walk last looked here; the kernel writes it. */
	unsigned int last_used;
	/* ROWS_CAN_BE_MORE, or 0; and, from ROWS_PLACEMENT_SHIFT on, a number that no other rows have had, written after `place`. */
	unsigned int placement;
};


/* Kinds of rule, bits 0 to 3 of `unwind_row.rule`. */
enum rule_kind {
	RULE_NONE = 0,
	RULE_RSP = 1,
	RULE_RBP = 2,
	RULE_DEREF_RSP = 3,
	RULE_DEREF_RBP = 4,
	RULE_PLT = 5,
	RULE_SIGNAL = 6,
	RULE_END = 7,
	RULE_REGISTER = 8,
	RULE_UNSUPPORTED = 9,
	RULE_DEREF_INDEX = 10,
	RULE_RETURN_REGISTER = 11,
};

/* Where the caller's rbp is, bits 4 to 11 of `unwind_row.rule`; 0 unchanged, else so many words below the CFA. */
enum rbp_rule {
	/* In the word that rbp points to. */
	RBP_AT_RBP = 254,
	RBP_UNKNOWN = 255,
};

/* One executable mapping of a process; each process has a sorted run of them in the array `mappings`. */
struct mapping {
	unsigned long long start;
	unsigned long long end;
	/* AVMA minus SVMA. */
	unsigned long long load_bias;
	/* Index into `row_tables`; 0: no table, the walk ends here. */
	unsigned int row_table;
	unsigned int executable;
};

/* Offsets in bytes; named as in `crates/cpython/layouts`. */
struct python_layout {
	unsigned short runtime_interpreters_head;
	/* 0: the interpreter keeps no pthread key. */
	unsigned short runtime_auto_tss_key;
	unsigned short interpreter_next;
	unsigned short interpreter_threads_head;
	/* Back link of the list of threads, with LAYOUT_BACK_LINKS. */
	unsigned short thread_previous;
	unsigned short thread_next;
	unsigned short thread_interpreter;
	unsigned short thread_id;
	/* The innermost frame, where no cframe leads to it. */
	unsigned short thread_frame;
	/* With LAYOUT_CFRAME. */
	unsigned short thread_cframe;
	/* The cframe that is part of the thread state: the end of the chain of cframes. */
	unsigned short thread_root_cframe;
	/* Pointer to the outermost frame, which runs nothing; 0: there is none (before 3.15). */
	unsigned short thread_base_frame;
	unsigned short cframe_current_frame;
	unsigned short cframe_previous;
	/* The part of a frame that holds all that is read of it; at most FRAME_BLOCK_BYTES. */
	unsigned short frame_size;
	unsigned short frame_code;
	unsigned short frame_previous;
	/* Pointer to the instruction, or its 32-bit index with LAYOUT_CALL_PER_FRAME. */
	unsigned short frame_instruction;
	unsigned short frame_owner;
	/* With LAYOUT_CFRAME_PER_RUN. */
	unsigned short frame_is_entry;
	/* What tells whether an eval call runs the frame: f_stacktop, or f_stackdepth with LAYOUT_CFRAME; 0: not needed. */
	unsigned short frame_stack_top;
	unsigned short entry_owner;
	/* Which copy of the bytecode the frame runs; 0: there are none. */
	unsigned short frame_copy;
	unsigned short frame_locals;
	/* At most CODE_BLOCK_BYTES. */
	unsigned short code_size;
	unsigned short code_first_line;
	unsigned short code_filename;
	/* co_name where there is no co_qualname. */
	unsigned short code_qualname;
	unsigned short code_name;
	unsigned short code_line_table;
	unsigned short code_instructions;
	/* Pointer to the copies of the bytecode; 0: there are none. */
	unsigned short code_copies;
	/* co_version, different for every code object; 0 where there is none (to 3.11). */
	unsigned short code_version;
	/* The next four up to 3.10, where the first argument tells the class. */
	unsigned short code_argument_count;
	unsigned short code_local_count;
	unsigned short code_variable_names;
	unsigned short code_cell_names;
	/* With frame_stack_top. */
	unsigned short code_flags;
	unsigned short text_length;
	/* 0 with LAYOUT_BYTE_STRINGS. */
	unsigned short text_state;
	/* Lowest of the kind's three bits; the bits for compact and ASCII follow. */
	unsigned short text_kind_shift;
	unsigned short text_ascii_data;
	unsigned short text_compact_data;
	unsigned short bytes_size;
	unsigned short bytes_data;
	/* Of every object. */
	unsigned short object_type;
	unsigned short type_name;
	unsigned short type_flags;
	unsigned short tuple_items;
	/* An enum line_table_kind: the kernel only passes it on. */
	unsigned short line_table_kind;
	unsigned int flags;
	/* fs-relative offset of _Py_tss_tstate, 0 where it is not known. */
	int thread_state_tls;
};

enum layout_flag {
	/* A chain of cframes on the C stack accompanies the chain of frames (3.10 to 3.12). */
	LAYOUT_CFRAME = 1,
	/* The cframe is the address of a run of frames, which ends before the frame that the previous cframe is at (3.11);
	 * otherwise a frame whose owner is entry_owner ends it, and is the address itself. */
	LAYOUT_CFRAME_PER_RUN = 2,
	/* pthread keys are where glibc has them. */
	LAYOUT_GLIBC_KEYS = 4,
	/* pthread keys are where musl has them. */
	LAYOUT_MUSL_KEYS = 8,
	/* Every frame is run by an eval call of its own (to 3.10); with LAYOUT_CFRAME each has a cframe, else nothing ties
	 * it to the C stack. */
	LAYOUT_CALL_PER_FRAME = 16,
	/* Names are byte strings (2.7). */
	LAYOUT_BYTE_STRINGS = 32,
	/* The list of threads is linked both ways (3.6 and later). */
	LAYOUT_BACK_LINKS = 64,
};

/* How the code objects of a version keep their lines. */
enum line_table_kind {
	/* co_lnotab of 2.7. */
	LINE_TABLE_LNOTAB_UNSIGNED = 1,
	/* co_lnotab of 3.6 to 3.9. */
	LINE_TABLE_LNOTAB = 2,
	/* co_linetable of 3.10. */
	LINE_TABLE_RANGES = 3,
	/* co_linetable of 3.11 and later. */
	LINE_TABLE_LOCATIONS = 4,
};

enum process_flag {
	PROCESS_TARGET = 1,
	/* Mappings have been read; without it samples carry REASON_PROCESS_NOT_READ. */
	PROCESS_READ = 2,
	PROCESS_PYTHON = 4,
	/* Its deferred samples have led nowhere: send them as they are. */
	PROCESS_NEVER_DEFER = 16,
	/* viperf itself while it starts a command, and its child until that has become the command: not sampled. */
	PROCESS_STARTS_TARGET = 8,
};

/* What the kernel knows of one process; value of the map `processes`, by tgid. */
struct process {
	/* One number per address space: code ids are looked up under it, so a reused pid or a fork cannot meet another's. */
	unsigned int epoch;
	unsigned int flags;
	unsigned int first_mapping;
	unsigned int mapping_count;
	/* AVMA of _PyRuntime and of PyCode_Type. */
	unsigned long long runtime;
	unsigned long long code_type;
	/* The number of the executable that holds the interpreter. */
	unsigned int interpreter;
	/* What the kernel has learnt of the interpreter's eval calls, from 3.10 on; user space leaves it 0. Their CFA is so far
	 * above what Python's frames know of the call (0: not learnt), by this rule it leads to the caller, and the word of a
	 * native frame that is such a call. */
	unsigned int eval_above_entry;
	unsigned int eval_rule;
	/* The process has ended, and this thread of it was the last: what it still does (its memory is given back) is sampled,
	 * in the kernel only. 0: it lives. */
	unsigned int last_thread;
	unsigned long long eval_word;
	struct python_layout layout;
};

struct record_header {
	unsigned int kind;
	/* Bytes, this header included. */
	unsigned int size;
};

/* One sample whose stack user space knows: it is the last RECORD_STACK with the same cpu and slot. */
struct sample_record {
	struct record_header header;
	/* CLOCK_MONOTONIC. */
	unsigned long long time_ns;
	unsigned int tgid;
	unsigned int tid;
	unsigned int cpu;
	unsigned int slot;
	unsigned int epoch;
	unsigned int flags;
	/* pthread_self(), by which Python knows its threads: the fs base. */
	unsigned long long thread_pointer;
	unsigned char thread_name[THREAD_NAME_BYTES];
};

enum sample_flag {
	/* The native walk met an address in no known mapping: a capture of this CPU follows, from which user space walks
	 * on once it has read the mappings. The slot means nothing. */
	SAMPLE_DEFERRED = 1,
	/* The interpreter was known, so that all Python frames are there. */
	SAMPLE_PYTHON = 2,
	/* Every Python frame is one native eval call, and only user space knows which native frames these are. */
	SAMPLE_CALL_PER_FRAME = 4,
	/* The thread has no thread state: it has never been in Python, or has left it for good. */
	SAMPLE_NO_THREAD_STATE = 8,
	/* A child of vfork that has not run exec yet: memory, thread state and Python frames are its parent's, and its stack may
	 * be one of its own. */
	SAMPLE_BORROWED_MEMORY = 16,
	/* Not of the clock: the thread was looked at while it did not run. A RECORD_THREAD comes before it. */
	SAMPLE_LOOKED_AT = 32,
	/* With configuration.gil: whether the thread holds the GIL is known; and it does. */
	SAMPLE_GIL_KNOWN = 64,
	SAMPLE_HOLDS_GIL = 128,
	/* Of a free-threaded build: whether the thread is attached to its interpreter is known; and it is. */
	SAMPLE_ATTACHMENT_KNOWN = 256,
	SAMPLE_IS_ATTACHED = 512,
};

/* A sample with its stack: three sections of words, each leaf first. */
struct stack_record {
	struct sample_record sample;
	unsigned short kernel_count;
	unsigned short native_count;
	unsigned short python_count;
	/* Words left out before the last ROOTMOST of the section's frames, which are a ring then: its first one is the number of
	 * words left out, modulo ROOTMOST. */
	unsigned short native_skipped;
	unsigned short python_skipped;
	unsigned short reserved[3];
	unsigned long long words[MAX_STACK_WORDS];
};

/* A string as CPython stores it: `length` characters of `kind` bytes, of which `captured` bytes follow. */
struct text_header {
	unsigned long long address;
	unsigned int length;
	unsigned short captured;
	unsigned char kind;
	unsigned char ascii;
};

enum code_flag {
	/* Not a function of the program: CPython's own trampoline (_Py_InitCleanup). */
	CODE_SHIM = 1,
	/* The first argument is called self or cls: its class follows (to 3.10). */
	CODE_CLASS = 2,
	/* The class is an old-style one (2.7). */
	CODE_OLD_CLASS = 4,
};

struct code_record {
	struct record_header header;
	unsigned int id;
	unsigned int epoch;
	unsigned int tgid;
	int first_line;
	unsigned long long address;
	unsigned int flags;
	/* Bytes of the line table in the process and in this record. */
	unsigned int line_table_size;
	unsigned int line_table_captured;
	/* An enum line_table_kind. */
	unsigned int line_table_kind;
	unsigned long long line_table_address;
	struct text_header qualname;
	struct text_header filename;
	/* With CODE_CLASS: the class of the first argument, and its name, NUL-terminated; empty if it could not be read. */
	unsigned long long class_address;
	unsigned char class_name[CLASS_NAME_BYTES];
	unsigned char qualname_bytes[MAX_TEXT_BYTES];
	unsigned char filename_bytes[MAX_TEXT_BYTES];
	/* Sent only as far as it was captured. */
	unsigned char line_table[MAX_LINE_TABLE_BYTES];
};

/* FORK, EXEC, EXIT, ADOPTED. Samples of the process can follow its EXIT. */
struct process_record {
	struct record_header header;
	unsigned long long time_ns;
	unsigned int tgid;
	unsigned int parent_tgid;
	/* FORK: the child's; else the process's. */
	unsigned int epoch;
	unsigned int reserved;
};

/* The registers and the top of the stack of a sample, for a walk in user space: the rest of a deferred one, or the test
 * that compares both walks. A stack that does not fit in one comes in several, of which the one with the top is the last;
 * of the others some may be missing. */
struct capture_record {
	struct record_header header;
	unsigned int tgid;
	/* It belongs to the last sample of this CPU. */
	unsigned int cpu;
	unsigned int captured;
	/* The copy of the stack begins so far below the stack pointer: what leaf functions keep there they need (System V AMD64 ABI,
	 * 3.2.2). */
	unsigned int below;
	/* What was captured begins so far above the beginning; 0 in the last record. */
	unsigned int offset;
	unsigned int reserved;
	unsigned long long ip;
	unsigned long long sp;
	unsigned long long bp;
	unsigned long long registers[16];
	unsigned char stack[CAPTURE_BYTES];
};

/* What a look at a thread found, before the RECORD_STACK of the same thread if there is one. */
struct thread_record {
	struct record_header header;
	unsigned int tgid;
	unsigned int tid;
	unsigned int epoch;
	/* task_struct.__state: 0 it could run, else what it waits for. */
	unsigned int state;
	unsigned int flags;
	/* The number of the system call that it is in, or -1. */
	int system_call;
	/* Its arguments. */
	unsigned long long arguments[6];
	unsigned long long thread_pointer;
	/* The innermost thread state, or 0. */
	unsigned long long thread_state;
	/* The GIL of its interpreter, or 0. */
	unsigned long long gil;
	/* How often it has left a CPU. */
	unsigned long long switches;
	unsigned char thread_name[THREAD_NAME_BYTES];
};

enum thread_flag {
	/* It ran: what it keeps in memory changes, and its registers are on the CPU. No stack follows. */
	THREAD_RUNS = 1,
	/* It has begun to run while it was looked at. No stack follows. */
	THREAD_HAS_MOVED = 2,
	/* It is ending and has no memory any longer. No stack follows. */
	THREAD_ENDS = 4,
};

/* Where a process keeps its GIL; value of the map `gils`, by tgid. Offsets are 0 where there is no such member. */
struct gil_places {
	/* The variable that points to the thread state that holds the GIL (to 3.6). */
	unsigned long long current_thread_state;
	/* The GIL itself, where there is one for the whole process (3.7 to 3.11). */
	unsigned long long gil;
	/* In the interpreter's state: the pointer to its GIL (3.12 and later). */
	unsigned int interpreter_gil;
	/* In the GIL. */
	unsigned int gil_holder;
	unsigned int gil_locked;
	/* In the thread state: 1 is attached (free-threaded builds). */
	unsigned int thread_attached;
	/* The process's. */
	unsigned int epoch;
	unsigned int reserved;
};

/* Key and value of `codes`. Two code objects are the same when all of these are equal. */
struct code_key {
	unsigned long long address;
	unsigned int epoch;
	unsigned int reserved;
};

struct code_identity {
	/* Where there is no co_version: length and hash of the name, and its end; size, hash and start of the line table.
	 * CPython reuses the memory of a freed code object and of its parts in the same order. */
	unsigned long long contents[CODE_IDENTITY_WORDS];
	unsigned long long qualname;
	unsigned long long filename;
	unsigned long long line_table;
	int first_line;
	unsigned int id;
	unsigned int version;
	unsigned int reserved;
};

enum lost {
	/* The ring was full: samples that are gone. */
	LOST_SAMPLES = 0,
	/* Definitions that are gone; the samples are not, and the definition is sent again at the next sight. */
	LOST_CODES = 1,
	/* Forks, execs and exits that user space does not hear of, and children for which there was no room. */
	LOST_PROCESS_EVENTS = 2,
	LOST_KINDS = 3,
};

/* Set before the programs are loaded. */
struct configuration {
	unsigned int native;
	unsigned int kernel;
	/* Children of targets are targets. */
	unsigned int follow_children;
	unsigned int capture;
	/* Report every exec of the machine, not only the targets'. */
	unsigned int report_every_exec;
	/* Say of each thread whether it holds the GIL, where `gils` says how to tell. */
	unsigned int gil;
	/* Whatever is sampled becomes a target. */
	unsigned int adopt;
	/* Only processes in the control group of the map `control_groups`, or below it. */
	unsigned int in_control_group;
	/* Only processes of this name. */
	unsigned int has_name;
	/* viperf itself, which does not adopt itself. */
	unsigned int own_tgid;
	/* NUL after its end, and behind that, too. */
	char name[THREAD_NAME_BYTES];
};

#endif
