/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * The Python stack: from the thread to its state, from the state along the interpreter's frames, and for each run of
 * frames the native frame that owns it. The same walk in Rust is `viperf_cpython::frames`.
 *
 * The owner is found by address: CPython keeps, for each run of Python frames entered from C, an object on the C stack
 * of the eval call that runs them. The first native frame whose CFA lies above it is that call. Both lists ascend, so
 * one cursor suffices.
 */
#ifndef VIPERF_PYTHON_WALK_H
#define VIPERF_PYTHON_WALK_H

#include "code_objects.h"

enum {
	THREAD_LIST_STEPS = 4096,
	THREAD_LIST_STEPS_AT_ONCE = 64,
	PYTHON_STEPS_AT_ONCE = 32,
	/* Unit offsets have 28 bits, one of which is spent on -1. */
	MAX_UNIT = (1 << 28) - 2,
};

/* Whether the thread state at `address` is this thread's: its thread_id is pthread_self(), which is the thread
 * pointer on x86-64. */
static __always_inline int is_own_thread_state(struct scratch *s, u64 address)
{
	u64 thread_id = 0;

	return address && !(address & 7) && !read_user(&thread_id, sizeof(thread_id), address + s->process.layout.thread_id) &&
	       thread_id == s->fsbase;
}

/* The thread-local _Py_tss_tstate (3.12): set only while the thread is attached. */
static __always_inline u64 thread_state_by_thread_local(struct scratch *s)
{
	u64 address = 0;

	if (s->process.layout.thread_state_tls)
		read_user(&address, sizeof(address), s->fsbase + (s64)s->process.layout.thread_state_tls);
	return is_own_thread_state(s, address) ? address : 0;
}

/* The pthread key of the GIL state, as glibc stores its value: also while the thread waits or has released the GIL.
 * `*certain` is set when the answer "none" can be believed. */
static __always_inline u64 thread_state_by_key(struct scratch *s, int *certain)
{
	/* Py_tss_t: is_initialized, key. */
	u32 key[2] = {};
	/* struct pthread_key_data: sequence number, value. */
	u64 data[2] = {};
	u64 at;

	if (read_user(key, sizeof(key), s->process.runtime + s->process.layout.runtime_auto_tss_key))
		return 0;
	if (!key[0]) {
		/* The interpreter has not started. */
		*certain = 1;
		return 0;
	}
	if (!(s->process.layout.flags & LAYOUT_GLIBC_KEYS) || key[1] >= 1024)
		return 0;
	/* struct pthread: 32 keys at 784, then pointers to blocks of 32 at 1296. */
	at = s->fsbase + 784 + 16 * (u64)key[1];
	if (key[1] >= 32) {
		u64 block = 0;

		if (read_user(&block, sizeof(block), s->fsbase + 1296 + 8 * (u64)(key[1] / 32)))
			return 0;
		if (!block) {
			*certain = 1;
			return 0;
		}
		at = block + 16 * (u64)(key[1] % 32);
	}
	if (read_user(data, sizeof(data), at))
		return 0;
	if (!data[1]) {
		*certain = 1;
		return 0;
	}
	return is_own_thread_state(s, data[1]) ? data[1] : 0;
}

/* One thread of one interpreter, or on to the next interpreter: 0 go on, 1 found or at the end. */
__noinline int thread_list_step(void)
{
	struct scratch *s = find_scratch();
	u64 next = 0;

	if (!s || !s->list.interpreter)
		return 1;
	if (read_user(&next, sizeof(next),
		      s->list.thread ? s->list.thread + s->process.layout.thread_next :
				       s->list.interpreter + s->process.layout.interpreter_threads_head))
		return 1;
	if (is_own_thread_state(s, next)) {
		s->thread_state = next;
		return 1;
	}
	s->list.thread = next;
	return !next && read_user(&s->list.interpreter, sizeof(u64), s->list.interpreter + s->process.layout.interpreter_next);
}

__noinline int thread_list_steps(void)
{
	for (int i = 0; i < THREAD_LIST_STEPS_AT_ONCE; i++)
		if (thread_list_step())
			return 1;
	return 0;
}

/* All threads of all interpreters, bounded. */
static __always_inline void thread_state_by_lists(struct scratch *s)
{
	s->list.thread = 0;
	if (read_user(&s->list.interpreter, sizeof(u64), s->process.runtime + s->process.layout.runtime_interpreters_head))
		return;
	for (int i = 0; i < THREAD_LIST_STEPS / THREAD_LIST_STEPS_AT_ONCE; i++)
		if (thread_list_steps())
			break;
}

/* The chain of ways to the thread state, cheapest first. Sets `thread_state`, which stays 0 for a thread without Python;
 * gives a reason when that could not be found out. */
__noinline u64 find_thread_state(void)
{
	struct scratch *s = find_scratch();
	struct known_thread_state *known;
	struct known_thread_state found = {};
	int certain = 0;
	u32 tid;

	if (!s)
		return REASON_PYTHON_NO_THREAD_STATE;
	s->thread_state = thread_state_by_thread_local(s);
	if (s->thread_state)
		return 0;
	s->thread_state = thread_state_by_key(s, &certain);
	if (s->thread_state || certain)
		return 0;
	tid = s->stack.sample.tid;
	known = bpf_map_lookup_elem(&thread_states, &tid);
	if (known && known->epoch == s->process.epoch && is_own_thread_state(s, known->thread_state)) {
		s->thread_state = known->thread_state;
		return 0;
	}
	thread_state_by_lists(s);
	found.thread_state = s->thread_state;
	found.epoch = s->process.epoch;
	if (!found.thread_state)
		return REASON_PYTHON_NO_THREAD_STATE;
	bpf_map_update_elem(&thread_states, &tid, &found, BPF_ANY);
	return 0;
}

static __always_inline void push_python(struct scratch *s, u64 word)
{
	u32 index = s->stack.kernel_count + s->native.words + s->python.words;

	s->stack.words[index & (MAX_STACK_WORDS - 1)] = word;
	s->python.words++;
}

static __always_inline int end_python(struct scratch *s, u64 reason)
{
	push_python(s, reason_word(reason));
	return 1;
}

/* Where the chain begins: at the thread state, or through the cframe that it points to. */
static __always_inline int start_at_cframe(struct scratch *s)
{
	if (read_user(&s->python.frame, sizeof(u64), s->python.cframe + s->process.layout.cframe_current_frame))
		return end_python(s, REASON_PYTHON_UNREADABLE);
	return 0;
}

static __always_inline int start_python(struct scratch *s)
{
	u64 at = s->thread_state + s->process.layout.thread_frame;

	if (!(s->process.layout.flags & LAYOUT_CFRAME)) {
		if (read_user(&s->python.frame, sizeof(u64), at))
			return end_python(s, REASON_PYTHON_UNREADABLE);
		return 0;
	}
	if (read_user(&s->python.cframe, sizeof(u64), at))
		return end_python(s, REASON_PYTHON_UNREADABLE);
	s->python.first_cframe = s->python.cframe;
	return start_at_cframe(s);
}

/* In the prologue of eval, 3.11 and 3.12 link the new cframe some instructions before they fill it: what it points to
 * is whatever the stack held, often a frame of an earlier call. The cframe before it is whole: once, the walk begins
 * again there. */
static __always_inline int restart_or_end(struct scratch *s, u64 reason)
{
	if (s->python.restarted || !(s->process.layout.flags & LAYOUT_CFRAME))
		return end_python(s, reason);
	s->python.restarted = 1;
	if (read_user(&s->python.cframe, sizeof(u64), s->python.first_cframe + s->process.layout.cframe_previous) ||
	    !s->python.cframe)
		return end_python(s, reason);
	s->python.words = 0;
	s->python.cursor = 0;
	s->python.entry = 0;
	return start_at_cframe(s);
}

/* A run of Python frames has ended, at `entry`. Where there are cframes, there is one for each run, and they tell whether
 * the chain of frames is the true one: 0 it may be, 1 it is not. */
static __always_inline int end_run(struct scratch *s, u64 entry)
{
	u64 root = s->thread_state + s->process.layout.thread_root_cframe;
	u64 previous = 0;

	s->python.entry = entry;
	if (!(s->process.layout.flags & LAYOUT_CFRAME))
		return 0;
	if (s->python.cframe == root ||
	    read_user(&previous, sizeof(previous), s->python.cframe + s->process.layout.cframe_previous))
		return 1;
	/* 3.12: cframe and entry frame lie in the same part of the C stack, that of their eval call. */
	if (entry != s->python.cframe && (entry < s->python.cframe || (previous != root && entry >= previous)))
		return 1;
	s->python.cframe = previous;
	return 0;
}

/* The chain of frames is at its end; so must be the chain of cframes. greenlet begins each of its stacks with a cframe of
 * its own that has no frame (green_g_initialstub), and ends the chain there. */
static __always_inline int end_chain(struct scratch *s)
{
	u64 frame = 1;

	if (!(s->process.layout.flags & LAYOUT_CFRAME) ||
	    s->python.cframe == s->thread_state + s->process.layout.thread_root_cframe)
		return 1;
	if (!read_user(&frame, sizeof(frame), s->python.cframe + s->process.layout.cframe_current_frame) && !frame)
		return 1;
	return restart_or_end(s, REASON_PYTHON_CUT_OFF);
}

/* Moves the cursor by one native frame, or marks the owner. */
static __always_inline int search_owner(struct scratch *s)
{
	u64 owner = NO_OWNER;

	if (s->deferred) {
		push_python(s, (u64)WORD_ENTRY_ADDRESS << 60 | (s->python.entry & ((1ull << 60) - 1)));
		s->python.entry = 0;
		return 0;
	}
	/* Below the innermost frame there is nobody's stack. */
	if (s->python.entry >= s->registers.by_position[SAVED_SP] && s->python.cursor < s->native.frames) {
		if (s->cfas[s->python.cursor & (MAX_NATIVE_FRAMES - 1)] <= s->python.entry) {
			s->python.cursor++;
			return 0;
		}
		owner = s->python.cursor;
	}
	push_python(s, (u64)WORD_ENTRY << 60 | owner);
	s->python.entry = 0;
	return 0;
}

/* One Python frame, or one native frame of the search for an owner: 0 go on, 1 the walk has ended. */
__noinline int walk_python_step(void)
{
	struct scratch *s = find_scratch();
	const struct python_layout *layout;
	u64 code, previous, instruction;
	s64 id, unit;

	if (!s)
		return 1;
	layout = &s->process.layout;
	if (s->python.entry)
		return search_owner(s);
	if (!s->python.frame)
		return end_chain(s);
	if (s->python.words >= MAX_PYTHON_WORDS - 1)
		return end_python(s, REASON_PYTHON_TOO_DEEP);
	if ((s->python.frame & 7) || read_user(s->frame_block, 80, s->python.frame))
		return restart_or_end(s, REASON_PYTHON_UNREADABLE);
	previous = block_u64(s->frame_block, layout->frame_previous, FRAME_BLOCK_BYTES);
	if (!(layout->flags & LAYOUT_IS_ENTRY) &&
	    s->frame_block[layout->frame_owner & (FRAME_BLOCK_BYTES - 1)] >= layout->entry_owner) {
		if (end_run(s, s->python.frame))
			return restart_or_end(s, REASON_PYTHON_CUT_OFF);
		s->python.frame = previous;
		return 0;
	}
	code = block_u64(s->frame_block, layout->frame_code, FRAME_BLOCK_BYTES);
	id = find_code(code);
	if (id == CODE_NOT_CODE)
		return restart_or_end(s, REASON_PYTHON_NOT_CODE);
	if (id == CODE_UNREADABLE)
		return restart_or_end(s, REASON_PYTHON_UNREADABLE);
	if (id == CODE_LOST)
		return end_python(s, REASON_PYTHON_CODE_LOST);
	instruction = block_u64(s->frame_block, layout->frame_instruction, FRAME_BLOCK_BYTES);
	unit = (s64)(instruction - code - layout->code_instructions) >> 1;
	if (unit < -1 || unit > MAX_UNIT)
		unit = -1;
	push_python(s, (u64)WORD_PYTHON << 60 | (u64)(u32)id << 28 | (u64)(unit + 1));
	if ((layout->flags & LAYOUT_IS_ENTRY) && s->frame_block[layout->frame_is_entry & (FRAME_BLOCK_BYTES - 1)] &&
	    end_run(s, s->python.cframe))
		return restart_or_end(s, REASON_PYTHON_CUT_OFF);
	s->python.frame = previous;
	return 0;
}

/* As walk_native_steps. */
__noinline int walk_python_steps(void)
{
	for (int i = 0; i < PYTHON_STEPS_AT_ONCE; i++)
		if (walk_python_step())
			return 1;
	return 0;
}

#endif
