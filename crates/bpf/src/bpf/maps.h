/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Every map, the configuration and the counters, with who writes and who reads them.
 */
#ifndef VIPERF_MAPS_H
#define VIPERF_MAPS_H

#include "older_kernels.h"
#include "viperf_abi.h"

/* Written by user space before loading; a section of its own, so that its place is known. */
const volatile struct configuration configuration SEC(".rodata.configuration") = {};

/* Counters that user space reads, in a section of their own likewise. */
u64 lost[LOST_KINDS] SEC(".data.lost") = {};
/* Where user space knows better how many entries are needed, it says so before loading (crates/sample/src/capacity.rs). */

/* The kernel to user space: every record. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} records SEC(".maps");

/* User space writes; fork, exec, exit and what follows it change it here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCESSES);
	__type(key, u32);
	__type(value, struct process);
} processes SEC(".maps");

/* User space writes: the control group whose processes are the targets. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} control_groups SEC(".maps");

/* User space writes through mmap; `process.first_mapping` points into it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_MAPPINGS);
	__type(key, u32);
	__type(value, struct mapping);
} mappings SEC(".maps");

/* One shard of unwind rows. Key and value sizes instead of types: from 5.15 to 6.1 an inner map made by user space,
 * which has no BTF, is refused where the prototype has it. */
struct row_shard {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, ROWS_PER_SHARD);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(struct unwind_row));
};

/* User space adds shards while the programs run. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_ROW_SHARDS);
	__uint(key_size, sizeof(u32));
	__array(values, struct row_shard);
} unwind_rows SEC(".maps");

/* Where the rows of each file are; user space writes `place` through mmap, the walk `last_used`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_ROW_TABLES);
	__type(key, u32);
	__type(value, struct row_table);
} row_tables SEC(".maps");

/* Thread states that only the walk of the interpreter's lists could find, by tid; or that there is none. */
struct known_thread_state {
	u64 thread_state;
	u64 absent_until_ns;
	u32 epoch;
	u32 reserved;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_THREAD_STATES);
	__type(key, u32);
	__type(value, struct known_thread_state);
} thread_states SEC(".maps");

/* Code objects that user space has the definition of. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CODE_OBJECTS);
	__type(key, struct code_key);
	__type(value, struct code_identity);
} codes SEC(".maps");

/* Stacks that user space knows, with their words, so that equality decides. One for each CPU, written only there:
 * no locks, and what is evicted is merely sent again. An ordinary array, for the value of a per-CPU one is limited
 * to 32 KiB. */
struct known_stack {
	u64 hash;
	/* Chunks of words ever written to `words` before this stack's. */
	u64 position;
	u64 sections;
	u32 chunks;
	/* The same words can mean other things in another process: an address without a file does. */
	u32 epoch;
};
struct stack_cache {
	u64 head;
	struct known_stack slots[STACK_CACHE_SLOTS];
	u64 words[STACK_CACHE_WORDS];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct stack_cache);
} stack_caches SEC(".maps");

enum {
	/* Powers of two. */
	MET_CODES = 64,
	CALLS_WITH_RULES = 1024,
	FRAME_WINDOW_BYTES = 2048,
};

/* Everything about the sample in hand. One sample at a time: the event's interrupt does not nest on its CPU. */
struct native_walk {
	u64 ip;
	u64 sp;
	u64 bp;
	/* Where the code of the frame before is mapped, or MAX_MAPPINGS. */
	u32 last_mapping;
	/* The innermost frame: all registers can be used, and its address is not a return address. */
	u32 innermost;
	u32 exact_ip;
	u32 bp_known;
	/* Frames, reasons between them included, and words so far; they differ by the reason word at the end. */
	u32 frames;
	u32 words;
	/* The code of the frame in hand has no file. */
	u32 generated;
	/* Where its rows are: row_table.place. */
	u64 rows;
	/* The walk ended in code whose rows user space will bring. */
	u32 awaits_rows;
	/* Of the frame in hand's rows: row_table.placement. */
	u32 placement;
	/* The walk met a place without a row in such a file. */
	u32 awaits_more;
	/* It went on at an eval call, with a reason in the gap. */
	u32 has_gap;
	/* Once the way is lost: the CFA of the next eval call, which the walk must meet; and how it was lost, after how many
	 * frames. */
	u64 expected_cfa;
	u32 lost_frames;
	u32 lost_reason;
	u32 lost_in_generated;
	u32 guessed_leaf;
	/* Frames before the way was lost first; 0: it was not. */
	u32 certain_frames;
	/* Words of the stack that were tried for a register, in all frames. */
	u32 tried_words;
	/* Why the walk ended too early, or 0. */
	u32 end_reason;
	/* Frames that were overwritten, and the CFA of the last of them. */
	u32 skipped;
	u32 has_leapt;
	u64 skipped_cfa;
};
struct python_walk {
	u64 thread_state;
	u64 frame;
	/* The outermost frame, which runs nothing (3.15). */
	u64 base_frame;
	/* 3.11: the frame before which the run in hand ends. */
	u64 boundary;
	/* Where there are cframes: the one of the frames in hand, and the one at which the walk began. */
	u64 cframe;
	u64 first_cframe;
	/* What the eval call of the frames in hand keeps on the C stack lies above: the stack pointer, then the cframe of the run
	 * before. */
	u64 lowest_entry;
	/* The C-stack address whose owner among the native frames is being looked for; 0: none. */
	u64 entry;
	/* The native frame that the search has reached; both lists ascend. */
	u32 cursor;
	u32 words;
	/* Of the walk of this thread state. */
	u32 first_word;
	u32 restarted;
	/* Which of the thread's states is walked. */
	u32 state;
	/* Where in scratch.frames the frame in hand is. */
	u32 frame_place;
	/* The address of what scratch.frames holds, if it is more than one frame. */
	u64 window;
	u64 frame_before;
	/* Frames so far that lay below the one before, and close to it. */
	u32 frames_in_row;
	u32 reserved;
};
struct thread_list_walk {
	u64 interpreter;
	u64 thread;
	u32 steps;
	/* All of the thread's states are wanted, not only the first. */
	u32 all;
	u32 broken;
	u32 reserved;
};
struct entry_search {
	u64 at;
	/* The cframe that is part of the thread state. */
	u64 root;
	u64 above;
	u64 found;
	/* Where the search in each of the thread's states has come to: both what is searched and what for only ascend. */
	u64 places[MAX_OWN_THREAD_STATES];
	/* The last entry of the chain is wanted, not the first one above the address. */
	u32 oldest;
	u32 is_started;
	/* Of this sample. */
	u32 steps;
	/* The chain could not be followed to its end. */
	u32 is_broken;
};
/* The sampled thread's states, the innermost first where that is known. */
struct own_thread_states {
	u64 found[MAX_OWN_THREAD_STATES];
	u32 count;
	/* There may be more. */
	u32 missing;
	/* Why it could not be found out, or 0. */
	u64 reason;
};
/* A code object that this sample has met, and what is needed of it once its id is known. While the thread stands in a call of
 * it, it cannot go away; so within one sample it is read once. */
struct met_code {
	/* scratch.serial of the sample. */
	u64 serial;
	u64 address;
	/* The pointer to the copies of its bytecode, where there are any. */
	u64 copies;
	u32 id;
	u32 flags;
};
/* The rule at a call that was met in an earlier sample: most of a stack is as it was, and rows that nobody has looked at since
 * the last sample are cold. */
struct rule_at_call {
	/* Where in its file, and above it row_table.placement: what is replaced has another one. */
	u64 key;
	u32 rule;
	u32 reserved;
};
struct scratch {
	struct stack_record stack;
	struct process process;
	struct saved_registers registers;
	struct native_walk native;
	struct python_walk python;
	struct thread_list_walk list;
	struct own_thread_states thread_states;
	struct entry_search entries;
	u64 fsbase;
	/* User space finishes the native walk and finds the owners. */
	u32 deferred;
	/* SAMPLE_BORROWED_MEMORY, or 0. */
	u32 borrowed;
	/* Code objects that this sample has defined. */
	u32 definitions;
	u32 reserved;
	/* Of the frames that are kept; the last ROOTMOST places are a ring (kept_place), for masking twice as many. */
	u64 cfas[2 * LEAFMOST_NATIVE];
	u32 rules[2 * LEAFMOST_NATIVE];
	/* Eight bytes more than an offset can name. */
	u8 frame_block[FRAME_BLOCK_BYTES + 8];
	/* One frame, or several. */
	u8 frames[FRAME_WINDOW_BYTES + FRAME_BLOCK_BYTES + 8];
	u8 code_block[CODE_BLOCK_BYTES + 8];
	/* The code object of the frame in hand. */
	struct met_code code;
	/* By address. */
	struct met_code met_codes[MET_CODES];
	/* Different for each walk of a Python stack. */
	u64 serial;
	/* The GIL of the interpreter of the thread's first state, or 0. */
	u64 gil;
	/* Of the code object in hand; on the stack it would leave too little to the calls (512 bytes for all, until 6.6). */
	struct code_identity identity;
	/* By a hash of the key. */
	struct rule_at_call rules_at_calls[CALLS_WITH_RULES];
};
/* One for each CPU. An ordinary array, as stack_caches. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct code_record);
} code_records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct capture_record);
} captures SEC(".maps");

static __always_inline struct scratch *find_scratch(void)
{
	u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&scratches, &cpu);
}

/* Where a section keeps its word of this index: the leaf-most ones in order, then those that come last, over and over. */
static __always_inline u32 kept_place(u32 index, u32 leafmost)
{
	return index < leafmost ? index : leafmost + ((index - leafmost) & (ROOTMOST - 1));
}

/* The same for what is kept beside the words of native frames. */
static __always_inline u32 frame_place(u32 index)
{
	return MASKED(kept_place(index, LEAFMOST_NATIVE), 2 * LEAFMOST_NATIVE - 1);
}

/* Where a read is a function, too, one chain of calls would be longer than the eight that the verifier allows. */
#ifdef VIPERF_OTHER_THREADS
#define FUNCTION_OF_ITS_OWN static __always_inline
#include "other_thread.h"
#else
#define FUNCTION_OF_ITS_OWN __noinline

static __always_inline int read_user(void *to, u32 size, u64 address)
{
	return bpf_probe_read_user(to, size, (const void *)address);
}

static __always_inline int read_user_string(char *to, u32 size, u64 address)
{
	return bpf_probe_read_user_str(to, size, (const void *)address) < 0;
}
#endif

static __always_inline u64 reason_word(u64 reason)
{
	return (u64)WORD_REASON << 60 | reason;
}

/* Wakes user space early when the ring is a quarter full; otherwise it polls, which costs the sampled CPU nothing. */
static __always_inline u64 ring_flags(void)
{
	u64 available = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA);

	return available > bpf_ringbuf_query(&records, BPF_RB_RING_SIZE) / 4 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

#endif
