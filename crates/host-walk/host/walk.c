/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * The walks for the host: the very headers that the kernel runs, over helper functions that ask Rust.
 */
#include "maps.h"

/* What user space writes into the programs before it loads them. */
static const struct configuration with_native_frames = { .native = 1 };
#define configuration with_native_frames
#include "native_walk.h"
#include "python_walk.h"

enum {
	MAP_CODES,
	MAP_THREAD_STATES,
};

/* `struct Host` of border.rs. */
struct host {
	void *context;
	struct scratch *scratch;
	struct code_record *code_record;
	int (*read)(void *context, void *to, u32 size, u64 address);
	void *(*find)(void *context, u32 map, const void *key, u32 key_size);
	void (*insert)(void *context, u32 map, const void *key, u32 key_size, const void *value, u32 value_size);
	int (*output)(void *context, const void *record, u64 size);
};

/* `struct Sampled` of border.rs: what the kernel knows of the thread before it walks its Python stack. */
struct sampled {
	const struct process *process;
	const u64 *cfas;
	u64 fsbase;
	u64 sp;
	u64 time_ns;
	u32 cfa_count;
	u32 tid;
	u32 deferred;
	u32 reserved;
};

/* `struct Stopped` of border.rs: what the kernel knows of the thread before it walks any of its stacks, and the maps that user
 * space fills for that. */
struct stopped {
	struct process *process;
	struct mapping *mappings;
	struct row_table *row_tables;
	struct unwind_row *rows;
	u64 row_count;
	u32 mapping_count;
	u32 row_table_count;
	u64 fsbase;
	u64 time_ns;
	u32 tid;
	/* The sample is taken in a system call or an interrupt. */
	u32 in_kernel;
	struct saved_registers registers;
};

/* `struct Section` of border.rs. */
struct section {
	const u64 *words;
	u32 count;
	/* Words left out before the last ROOTMOST ones. */
	u32 skipped;
};

/* `struct Outcome` of border.rs. */
struct outcome {
	struct section native;
	struct section python;
	/* Of the native frames, by frame_place. */
	const u64 *cfas;
	u32 flags;
	u32 list_steps;
	/* Calls of the helpers that read the process's memory. */
	u32 reads;
	/* Words outside the sections have changed. */
	u32 strayed;
};

static _Thread_local struct host *host;
static _Thread_local struct stopped *stopped;
static _Thread_local u32 reads;

/* As the kernel's arrays do it. */
static void *element(void *elements, u64 count, u64 size, u32 index)
{
	return index < count ? (char *)elements + index * size : 0;
}

/* The maps that only the native walk needs. A shard of rows is the place where it begins. */
static void *look_up_of_stopped(const void *map, const void *key)
{
	u32 number = *(const u32 *)key;
	struct unwind_row *shard = (struct unwind_row *)map;
	u64 left;

	if (!stopped)
		return 0;
	if (map == &mappings)
		return element(stopped->mappings, stopped->mapping_count, sizeof(struct mapping), number);
	if (map == &row_tables)
		return element(stopped->row_tables, stopped->row_table_count, sizeof(struct row_table), number);
	if (map == &unwind_rows)
		return element(stopped->rows, stopped->row_count / ROWS_PER_SHARD + !!(stopped->row_count % ROWS_PER_SHARD),
			       sizeof(struct unwind_row) * ROWS_PER_SHARD, number);
	if (map == &processes)
		return number == stopped->tid ? stopped->process : 0;
	if (shard < stopped->rows || shard >= stopped->rows + stopped->row_count)
		return 0;
	left = stopped->rows + stopped->row_count - shard;
	return element(shard, left < ROWS_PER_SHARD ? left : ROWS_PER_SHARD, sizeof(struct unwind_row), number);
}

void *bpf_map_lookup_elem(void *map, const void *key)
{
	if (map == &scratches)
		return host->scratch;
	if (map == &code_records)
		return host->code_record;
	if (map == &codes)
		return host->find(host->context, MAP_CODES, key, sizeof(struct code_key));
	if (map == &thread_states)
		return host->find(host->context, MAP_THREAD_STATES, key, sizeof(u32));
	return look_up_of_stopped(map, key);
}

long bpf_map_update_elem(void *map, const void *key, const void *value, u64 flags)
{
	(void)flags;
	if (map == &codes)
		host->insert(host->context, MAP_CODES, key, sizeof(struct code_key), value, sizeof(struct code_identity));
	else if (map == &thread_states)
		host->insert(host->context, MAP_THREAD_STATES, key, sizeof(u32), value, sizeof(struct known_thread_state));
	else
		return -1;
	return 0;
}

/* The upper half of the addresses is the kernel's. */
static long read_or_zero(void *to, u32 size, u64 address)
{
	const u64 end = 0x7ffffffff000ull;

	__builtin_memset(to, 0, size);
	if (address > end || size > end - address)
		return -14;
	if (!host->read(host->context, to, size, address))
		return 0;
	__builtin_memset(to, 0, size);
	return -14;
}

/* All or nothing, and zeros for nothing (kernel/trace/bpf_trace.c, bpf_probe_read_user_common). */
long bpf_probe_read_user(void *to, u32 size, const void *address)
{
	reads++;
	return read_or_zero(to, size, (u64)address);
}

/* Up to and with the NUL, or as much as there is room for, and a NUL at the end: the number of bytes. */
long bpf_probe_read_user_str(void *to, u32 size, const void *address)
{
	char *bytes = to;

	reads++;
	for (u32 i = 0; i < size; i++) {
		if (read_or_zero(bytes + i, 1, (u64)address + i)) {
			__builtin_memset(to, 0, size);
			return -14;
		}
		if (!bytes[i])
			return i + 1;
	}
	if (size)
		bytes[size - 1] = 0;
	return size;
}

/* There is one CPU. */
u32 bpf_get_smp_processor_id(void)
{
	return 0;
}

long bpf_ringbuf_output(void *ring, void *record, u64 size, u64 flags)
{
	(void)ring;
	(void)flags;
	return host->output(host->context, record, size);
}

u64 bpf_ringbuf_query(void *ring, u64 what)
{
	(void)ring;
	(void)what;
	return 0;
}

u64 viperf_host_scratch_size(void)
{
	return sizeof(struct scratch);
}

u64 viperf_host_code_record_size(void)
{
	return sizeof(struct code_record);
}

/* Nobody may write outside the sections: every word has a value by which that shows. */
static void mark_words(struct scratch *s)
{
	for (u32 i = 0; i < MAX_STACK_WORDS; i++)
		s->stack.words[i] = ~(u64)i;
}

static u32 has_strayed(struct scratch *s, u32 start, u32 end)
{
	u32 strayed = end > MAX_STACK_WORDS;

	for (u32 i = 0; i < MAX_STACK_WORDS; i++)
		if (i < start || i >= end)
			strayed |= s->stack.words[i] != ~(u64)i;
	return strayed;
}

static void begin(struct host *of_walker, struct scratch *s)
{
	host = of_walker;
	reads = 0;
	s->stack.sample.flags = 0;
	s->stack.kernel_count = MAX_KERNEL_FRAMES;
	s->definitions = 0;
	__builtin_memset(&s->native, 0, sizeof(s->native));
	__builtin_memset(&s->python, 0, sizeof(s->python));
	__builtin_memset(&s->list, 0, sizeof(s->list));
	mark_words(s);
}

static void end(struct scratch *s, struct outcome *outcome)
{
	close_python(s);
	outcome->python.words = &s->stack.words[s->stack.kernel_count + s->native.words];
	outcome->python.count = s->stack.python_count;
	outcome->python.skipped = s->stack.python_skipped;
	outcome->flags = s->stack.sample.flags;
	outcome->list_steps = s->list.steps;
	outcome->reads = reads;
	host = 0;
}

/* The second half of on_cpu_sample, with the sections of kernel and native words as long as they can be. */
void viperf_host_walk(struct host *of_walker, const struct sampled *sampled, struct outcome *outcome)
{
	struct scratch *s = of_walker->scratch;
	const u32 before = MAX_KERNEL_FRAMES + LEAFMOST_NATIVE + ROOTMOST + 1;

	begin(of_walker, s);
	s->process = *sampled->process;
	s->stack.sample.time_ns = sampled->time_ns;
	s->stack.sample.tid = sampled->tid;
	s->fsbase = sampled->fsbase;
	s->deferred = sampled->deferred;
	s->registers.by_position[SAVED_SP] = sampled->sp;
	s->native.words = LEAFMOST_NATIVE + ROOTMOST + 1;
	s->native.frames = sampled->cfa_count > LEAFMOST_NATIVE + ROOTMOST ? LEAFMOST_NATIVE + ROOTMOST : sampled->cfa_count;
	__builtin_memcpy(s->cfas, sampled->cfas, s->native.frames * sizeof(u64));
	prepare_python(s);
	walk_python(s);
	end(s, outcome);
	outcome->strayed = has_strayed(s, before, before + LEAFMOST_PYTHON + ROOTMOST);
}

/* As on_cpu_sample: both walks, from the registers. */
void viperf_host_sample(struct host *of_walker, struct stopped *of_thread, struct outcome *outcome)
{
	struct scratch *s = of_walker->scratch;

	begin(of_walker, s);
	stopped = of_thread;
	s->process = *stopped->process;
	s->stack.sample.time_ns = stopped->time_ns;
	s->stack.sample.tid = stopped->tid;
	s->stack.sample.tgid = stopped->tid;
	s->fsbase = stopped->fsbase;
	s->deferred = 0;
	s->borrowed = 0;
	s->registers = stopped->registers;
	if (!stopped->in_kernel)
		s->stack.kernel_count = 0;
	prepare_python(s);
	walk_native(s);
	close_native(s);
	walk_python(s);
	outcome->native.words = &s->stack.words[s->stack.kernel_count];
	outcome->native.count = s->native.words;
	outcome->native.skipped = s->native.skipped;
	outcome->cfas = s->cfas;
	end(s, outcome);
	/* Guesses that were taken back leave words behind the native ones, where those of Python come. */
	outcome->strayed = has_strayed(s, s->stack.kernel_count,
				       s->stack.kernel_count + LEAFMOST_NATIVE + ROOTMOST + 1 + LEAFMOST_PYTHON + ROOTMOST);
	stopped = 0;
}
