/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * From the thread to its thread states: nearly always one, and one for each interpreter that the thread has entered.
 */
#ifndef VIPERF_THREAD_STATES_H
#define VIPERF_THREAD_STATES_H

#include "maps.h"

enum {
	THREAD_LIST_STEPS = 4096,
	THREAD_LIST_STEPS_AT_ONCE = 64,
	/* A thread that was in no list is believed to be in none for so long, where the lists are long. */
	ABSENCE_NS = 100 * 1000 * 1000,
};

/* Whether the thread state at `address` is this thread's: its thread_id is pthread_self(), which is the thread
 * pointer on x86-64. Both are 0 before they are set. */
static __always_inline int is_own_thread_state(struct scratch *s, u64 address)
{
	u64 thread_id = 0;

	return s->fsbase && address && !(address & 7) &&
	       !read_user(&thread_id, sizeof(thread_id), address + s->process.layout.thread_id) && thread_id == s->fsbase;
}

/* Whether the interpreter's list of threads still holds the thread state. One that has been freed keeps its thread_id for a
 * while, and so do its frames. */
static __always_inline int is_listed(struct scratch *s, u64 address)
{
	const struct python_layout *layout = &s->process.layout;
	u64 previous = 0, forward = 0, interpreter = 0;

	/* 2.7: free() writes over its first words. */
	if (!(layout->flags & LAYOUT_BACK_LINKS))
		return !read_user(&interpreter, sizeof(interpreter), address + layout->thread_interpreter) &&
		       !read_user(&forward, sizeof(forward), s->process.runtime + layout->runtime_interpreters_head) &&
		       forward == interpreter;
	if (read_user(&previous, sizeof(previous), address + layout->thread_previous))
		return 0;
	if (previous)
		return !read_user(&forward, sizeof(forward), previous + layout->thread_next) && forward == address;
	return !read_user(&interpreter, sizeof(interpreter), address + layout->thread_interpreter) &&
	       !read_user(&forward, sizeof(forward), interpreter + layout->interpreter_threads_head) && forward == address;
}

/* The thread-local _Py_tss_tstate (3.12): set only while the thread is attached. */
static __always_inline u64 thread_state_by_thread_local(struct scratch *s)
{
	u64 address = 0;

	if (s->process.layout.thread_state_tls)
		read_user(&address, sizeof(address), s->fsbase + (s64)s->process.layout.thread_state_tls);
	return is_own_thread_state(s, address) ? address : 0;
}

/* Where glibc keeps the value of a pthread key: struct pthread has 32 of them at 784, then pointers to blocks of 32 at 1296;
 * each is a sequence number and the value. 0: it has none. */
static __always_inline int read_glibc_key(struct scratch *s, u32 key, u64 *value)
{
	u64 at = s->fsbase + 784 + 16 * (u64)key;

	*value = 0;
	if (key >= 1024)
		return -1;
	if (key >= 32) {
		u64 block = 0;

		if (read_user(&block, sizeof(block), s->fsbase + 1296 + 8 * (u64)(key / 32)))
			return -1;
		if (!block)
			return 0;
		at = block + 16 * (u64)(key % 32);
	}
	return read_user(value, sizeof(*value), at + 8);
}

/* musl has a table of values, at 128 of its struct pthread. */
static __always_inline int read_musl_key(struct scratch *s, u32 key, u64 *value)
{
	u64 table = 0;

	*value = 0;
	if (key >= 128 || read_user(&table, sizeof(table), s->fsbase + 128))
		return -1;
	return read_user(value, sizeof(*value), table + 8 * (u64)key);
}

/* The pthread key of the GIL state: also while the thread waits or has released the GIL.
 * `*certain` is set when the answer "none" can be believed. */
static __always_inline u64 thread_state_by_key(struct scratch *s, int *certain)
{
	const struct python_layout *layout = &s->process.layout;
	/* Py_tss_t: is_initialized, key. */
	u32 key[2] = {};
	u64 value = 0;

	if (!layout->runtime_auto_tss_key ||
	    read_user(key, sizeof(key), s->process.runtime + layout->runtime_auto_tss_key) || key[0] != 1)
		return 0;
	if (layout->flags & LAYOUT_GLIBC_KEYS) {
		if (read_glibc_key(s, key[1], &value))
			return 0;
	} else if (layout->flags & LAYOUT_MUSL_KEYS) {
		if (read_musl_key(s, key[1], &value))
			return 0;
	} else {
		return 0;
	}
	if (!value) {
		*certain = 1;
		return 0;
	}
	return is_own_thread_state(s, value) ? value : 0;
}

static __always_inline void add_thread_state(struct scratch *s, u64 address)
{
	u32 count = s->thread_states.count;

	if (count && s->thread_states.found[0] == address)
		return;
	if (count >= MAX_OWN_THREAD_STATES) {
		s->thread_states.missing = 1;
		return;
	}
	s->thread_states.found[count & (MAX_OWN_THREAD_STATES - 1)] = address;
	s->thread_states.count = count + 1;
}

/* One thread of one interpreter, or on to the next interpreter: 0 go on, 1 at the end, or enough is found. */
__noinline int thread_list_step(void)
{
	struct scratch *s = find_scratch();
	u64 next = 0;

	if (!s || !s->list.interpreter)
		return 1;
	s->list.steps++;
	if (read_user(&next, sizeof(next),
		      s->list.thread ? s->list.thread + s->process.layout.thread_next :
				       s->list.interpreter + s->process.layout.interpreter_threads_head)) {
		s->list.broken = 1;
		return 1;
	}
	if (is_own_thread_state(s, next)) {
		add_thread_state(s, next);
		if (!s->list.all)
			return 1;
	}
	s->list.thread = next;
	if (next)
		return 0;
	s->list.broken = !!read_user(&s->list.interpreter, sizeof(u64), s->list.interpreter + s->process.layout.interpreter_next);
	return s->list.broken;
}

__noinline int thread_list_steps(void)
{
	for (int i = 0; i < THREAD_LIST_STEPS_AT_ONCE; i++)
		if (thread_list_step())
			return 1;
	return 0;
}

/* All threads of all interpreters, bounded. 0: the lists came to their end, or gave what was asked for. */
static __always_inline int thread_states_by_lists(struct scratch *s)
{
	s->list.thread = 0;
	s->list.steps = 0;
	s->list.broken = 0;
	if (read_user(&s->list.interpreter, sizeof(u64), s->process.runtime + s->process.layout.runtime_interpreters_head))
		return -1;
	for (int i = 0; i < THREAD_LIST_STEPS / THREAD_LIST_STEPS_AT_ONCE; i++)
		if (thread_list_steps())
			return s->list.broken ? -1 : 0;
	return -1;
}

static __always_inline int has_several_interpreters(struct scratch *s)
{
	u64 head = 0, next = 0;

	return !read_user(&head, sizeof(head), s->process.runtime + s->process.layout.runtime_interpreters_head) && head &&
	       !read_user(&next, sizeof(next), head + s->process.layout.interpreter_next) && next;
}

/* The chain of ways, cheapest first, to the innermost thread state. `*certain` as above. */
static __always_inline void find_innermost_thread_state(struct scratch *s, int *certain)
{
	struct known_thread_state *known;
	u32 tid = s->stack.sample.tid;
	u64 address = thread_state_by_thread_local(s);

	if (!address)
		address = thread_state_by_key(s, certain);
	if (!address && !*certain) {
		known = bpf_map_lookup_elem(&thread_states, &tid);
		if (known && known->epoch == s->process.epoch) {
			address = known->thread_state;
			if (!address)
				*certain = s->stack.sample.time_ns < known->absent_until_ns;
			else if (!is_own_thread_state(s, address) || !is_listed(s, address))
				address = 0;
		}
	}
	if (address)
		add_thread_state(s, address);
}

/* Fills `thread_states`, which stays empty for a thread without Python; gives a reason when that could not be found out. */
__noinline u64 find_thread_states(void)
{
	struct scratch *s = find_scratch();
	struct known_thread_state found = {};
	int certain = 0, several;
	u32 tid;

	if (!s)
		return REASON_PYTHON_NO_THREAD_STATE;
	s->thread_states.count = 0;
	s->thread_states.missing = 0;
	find_innermost_thread_state(s, &certain);
	several = has_several_interpreters(s);
	/* The key may have lost the state that it had, while the thread runs another one of another interpreter. */
	if (certain && !several)
		return 0;
	if (s->thread_states.count && !several)
		return 0;
	s->list.all = several;
	/* To 3.9 nothing says which one is innermost, and the key names the oldest. Interpreters are listed the newest first. */
	if (several && (s->process.layout.flags & (LAYOUT_CALL_PER_FRAME | LAYOUT_CFRAME)) == LAYOUT_CALL_PER_FRAME)
		s->thread_states.count = 0;
	if (thread_states_by_lists(s)) {
		if (!s->thread_states.count)
			return REASON_PYTHON_NO_THREAD_STATE;
		s->thread_states.missing = 1;
	}
	/* Of more than two the order of the list is not that of their calls. */
	if (s->thread_states.count > 2 &&
	    (s->process.layout.flags & (LAYOUT_CALL_PER_FRAME | LAYOUT_CFRAME)) == LAYOUT_CALL_PER_FRAME)
		s->thread_states.missing = 1;
	tid = s->stack.sample.tid;
	found.epoch = s->process.epoch;
	if (s->thread_states.count)
		found.thread_state = s->thread_states.found[0];
	else if (s->list.steps < THREAD_LIST_STEPS_AT_ONCE)
		return 0;
	else
		found.absent_until_ns = s->stack.sample.time_ns + ABSENCE_NS;
	bpf_map_update_elem(&thread_states, &tid, &found, BPF_ANY);
	return 0;
}

#endif
