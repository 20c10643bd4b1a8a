/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * The Python stack: from the thread's state along the interpreter's frames, and for each run of frames the native frame that
 * owns it.
 *
 * The owner is found by address: from 3.10 on CPython keeps, for each run of Python frames entered from C, an object on the C
 * stack of the eval call that runs them. The first native frame whose CFA lies above it is that call. Both lists ascend, so
 * one cursor suffices. Before 3.10 nothing ties a frame to the C stack; each frame is one eval call, and user space counts.
 */
#ifndef VIPERF_PYTHON_WALK_H
#define VIPERF_PYTHON_WALK_H

#include "code_objects.h"
#include "entries.h"
#include "python_frames.h"

enum {
	PYTHON_STEPS_AT_ONCE = 128,
	/* Unit offsets have 28 bits, one of which is spent on -1. */
	MAX_UNIT = (1 << 28) - 2,
	/* f_executable of 3.14 and later: references are tagged in their two lowest bits. */
	REFERENCE_TAGS = 3,
	/* co_flags: CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR. */
	ANY_GENERATOR = 0x20 | 0x80 | 0x100 | 0x200,
	/* 3.11: `owner`, FRAME_OWNED_BY_GENERATOR. */
	OWNED_BY_GENERATOR = 1,
};

enum {
	RUN_GOES_ON,
	RUN_ENDS,
	/* The chain is being changed. */
	RUN_IS_TORN,
};

static __always_inline void push_python(struct scratch *s, u64 word)
{
	u32 index = s->stack.kernel_count + s->native.words + kept_place(s->python.words, LEAFMOST_PYTHON);

	s->stack.words[index & (MAX_STACK_WORDS - 1)] = word;
	s->python.words++;
}

static __always_inline int end_python(struct scratch *s, u64 reason)
{
	push_python(s, reason_word(reason));
	return 1;
}

/* 3.11: the frame that the previous cframe is at called into C, and that called the first frame of this cframe's run. */
static __always_inline void find_boundary(struct scratch *s)
{
	const struct python_layout *layout = &s->process.layout;
	u64 previous = 0;

	s->python.boundary = 0;
	if ((layout->flags & LAYOUT_CFRAME_PER_RUN) &&
	    !read_user(&previous, sizeof(previous), s->python.cframe + layout->cframe_previous) && previous)
		read_user(&s->python.boundary, sizeof(u64), previous + layout->cframe_current_frame);
}

/* 3.11 and 3.12: the chain begins at a cframe. */
static __always_inline int start_at_cframe(struct scratch *s)
{
	find_boundary(s);
	if (read_user(&s->python.frame, sizeof(u64), s->python.cframe + s->process.layout.cframe_current_frame))
		return end_python(s, REASON_PYTHON_UNREADABLE);
	return 0;
}

/* Begins the walk of one of the thread's states. */
static __always_inline int start_python(struct scratch *s, u64 thread_state)
{
	const struct python_layout *layout = &s->process.layout;

	s->python.thread_state = thread_state;
	s->python.first_word = s->python.words;
	s->python.cursor = 0;
	s->python.entry = 0;
	s->python.restarted = 0;
	s->python.base_frame = 0;
	s->python.lowest_entry = s->registers.by_position[SAVED_SP];
	if (layout->flags & LAYOUT_CFRAME) {
		if (read_user(&s->python.cframe, sizeof(u64), thread_state + layout->thread_cframe))
			return end_python(s, REASON_PYTHON_UNREADABLE);
		s->python.first_cframe = s->python.cframe;
		if (!(layout->flags & LAYOUT_CALL_PER_FRAME))
			return start_at_cframe(s);
	}
	if (read_user(&s->python.frame, sizeof(u64), thread_state + layout->thread_frame) ||
	    (layout->thread_base_frame &&
	     read_user(&s->python.base_frame, sizeof(u64), thread_state + layout->thread_base_frame)))
		return end_python(s, REASON_PYTHON_UNREADABLE);
	return 0;
}

/* In the prologue of eval, 3.11 and 3.12 link the new cframe some instructions before they fill it: what it points to
 * is whatever the stack held, often a frame of an earlier call. The cframe before it is whole: once, the walk begins
 * again there. The prologue calls nothing, so that it can only be the innermost native frame. */
static __always_inline int restart_or_end(struct scratch *s, u64 reason)
{
	u32 flags = s->process.layout.flags;

	if (s->python.restarted || !(flags & LAYOUT_CFRAME) || (flags & LAYOUT_CALL_PER_FRAME))
		return end_python(s, reason);
	if (!s->deferred && s->native.frames && s->cfas[0] <= s->python.first_cframe)
		return end_python(s, reason);
	s->python.restarted = 1;
	if (read_user(&s->python.cframe, sizeof(u64), s->python.first_cframe + s->process.layout.cframe_previous) ||
	    !s->python.cframe)
		return end_python(s, reason);
	s->python.words = s->python.first_word;
	s->python.cursor = 0;
	s->python.entry = 0;
	s->python.lowest_entry = s->python.first_cframe;
	return start_at_cframe(s);
}

static __always_inline u64 root_cframe(struct scratch *s)
{
	return s->python.thread_state + s->process.layout.thread_root_cframe;
}

/* A run of Python frames has ended, at `entry`. Where there are cframes, there is one for each run, and they tell whether
 * the chain of frames is the true one: 0 it may be, 1 it is not. */
static __always_inline int end_run(struct scratch *s, u64 entry)
{
	u64 previous = 0;

	s->python.entry = entry;
	if (!(s->process.layout.flags & LAYOUT_CFRAME))
		return 0;
	if (s->python.cframe == root_cframe(s) && (s->process.layout.flags & LAYOUT_CALL_PER_FRAME)) {
		/* Frames without an eval call, or one whose cframe is gone already: user space counts. */
		s->python.entry = 0;
		return 0;
	}
	if (s->python.cframe == root_cframe(s) ||
	    read_user(&previous, sizeof(previous), s->python.cframe + s->process.layout.cframe_previous))
		return 1;
	/* 3.12: cframe and entry frame lie in the same part of the C stack, that of their eval call; the compiler says which
	 * of them higher. */
	if (entry < s->python.lowest_entry || (previous != root_cframe(s) && entry >= previous))
		return 1;
	s->python.lowest_entry = s->python.cframe;
	s->python.cframe = previous;
	find_boundary(s);
	return 0;
}

/* On to the state that the thread has in another interpreter. Their runs alternate on the C stack; user space orders them. */
static __always_inline int end_thread_state(struct scratch *s)
{
	u32 next = ++s->python.state;

	if (next >= s->thread_states.count || next >= MAX_OWN_THREAD_STATES)
		return s->thread_states.missing ? end_python(s, REASON_PYTHON_NO_THREAD_STATE) : 1;
	return start_python(s, s->thread_states.found[next & (MAX_OWN_THREAD_STATES - 1)]);
}

/* The chain of frames is at its end; so must be the chain of cframes. greenlet begins each of its stacks with a cframe of
 * its own that has no frame (green_g_initialstub), and ends the chain there. */
static __always_inline int end_chain(struct scratch *s)
{
	const struct python_layout *layout = &s->process.layout;
	u64 previous = 0, frame = 1;

	if (!(layout->flags & LAYOUT_CFRAME) || s->python.cframe == root_cframe(s))
		return end_thread_state(s);
	if (layout->flags & LAYOUT_CALL_PER_FRAME) {
		/* One more than frames: greenlet's, or an eval call that has linked its cframe and not yet its frame (two
		 * instructions of 3.10). Only user space can tell whose native frame it is in. */
		if (read_user(&previous, sizeof(previous), s->python.cframe + layout->cframe_previous) ||
		    previous != root_cframe(s))
			return end_python(s, REASON_PYTHON_CUT_OFF);
		s->python.entry = s->python.cframe;
		s->python.cframe = previous;
		return 0;
	}
	if (!read_user(&frame, sizeof(frame), s->python.cframe + layout->cframe_current_frame) && !frame)
		return end_thread_state(s);
	return restart_or_end(s, REASON_PYTHON_CUT_OFF);
}

/* Whether the native frame at the cursor owns the entry in hand. Frames that were left out are one: the mark that user space
 * puts in their place. */
static __always_inline int owns_entry(struct scratch *s)
{
	u32 cursor = s->python.cursor;

	if (s->native.skipped && cursor >= LEAFMOST_NATIVE) {
		if (cursor == LEAFMOST_NATIVE)
			return s->native.skipped_cfa > s->python.entry;
		cursor += s->native.skipped - 1;
	}
	return s->cfas[frame_place(cursor)] > s->python.entry;
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
	if (s->python.entry >= s->registers.by_position[SAVED_SP] && s->python.cursor < s->native.frames - s->native.skipped + !!s->native.skipped) {
		if (!owns_entry(s)) {
			s->python.cursor++;
			return 0;
		}
		owner = s->python.cursor;
		if (!s->process.eval_above_entry && (!s->native.certain_frames || owner < s->native.certain_frames || !s->native.end_reason))
			learn_eval_call(owner, s->python.entry);
	}
	/* Deep stacks of one call per frame: the native walk ends long before, and words are scarce. */
	if (owner != NO_OWNER || !(s->process.layout.flags & LAYOUT_CALL_PER_FRAME))
		push_python(s, (u64)WORD_ENTRY << 60 | owner);
	s->python.entry = 0;
	return 0;
}

/* Where in its code object the frame in hand is: units, or bytes up to 3.9; -1 before the first instruction. Its
 * code object is the one in `code`. */
static __always_inline s64 find_unit(struct scratch *s, u64 code)
{
	const struct python_layout *layout = &s->process.layout;
	u64 instruction = frame_u64(s, layout->frame_instruction);
	u64 start = code + layout->code_instructions;
	s64 unit;

	if (layout->flags & LAYOUT_CALL_PER_FRAME) {
		unit = (s32)instruction;
	} else {
		u32 copy = layout->frame_copy ? frame_u64(s, layout->frame_copy) : 0;

		/* Free-threaded: _PyCodeArray is a count and so many pointers; the copy 0 is the code object's own. */
		if (copy && read_user(&start, sizeof(start), s->code.copies + 8 + 8 * (u64)copy))
			return -1;
		unit = (s64)(instruction - start) >> 1;
	}
	return unit < -1 || unit > MAX_UNIT ? -1 : unit;
}

/* 3.11: is_entry marks the frame that begins a run. A generator that passes an exception on to another one keeps its mark
 * though no eval call runs it (_gen_throw); it belongs to its caller's run. */
static __always_inline int ends_run_of_cframe(struct scratch *s, u64 previous)
{
	const struct python_layout *layout = &s->process.layout;
	u32 marked = frame_u8(s, layout->frame_is_entry);

	if (previous == s->python.boundary)
		return marked ? RUN_ENDS : RUN_IS_TORN;
	return marked && frame_u8(s, layout->frame_owner) != OWNED_BY_GENERATOR ? RUN_IS_TORN : RUN_GOES_ON;
}

/* After the frame in hand, whose word has been pushed: whether its run ends with it. */
static __always_inline int ends_run(struct scratch *s, u64 previous)
{
	const struct python_layout *layout = &s->process.layout;

	if (layout->flags & LAYOUT_CALL_PER_FRAME)
		return layout->flags & LAYOUT_CFRAME ? RUN_ENDS : RUN_GOES_ON;
	return layout->flags & LAYOUT_CFRAME_PER_RUN ? ends_run_of_cframe(s, previous) : RUN_GOES_ON;
}

/* Whether the generator's frame in hand has a value stack to go on with. Such a frame is in the chain when the
 * generator passes an exception on to another one; or when a trace function is called from it. */
static __always_inline int is_suspended(struct scratch *s)
{
	const struct python_layout *layout = &s->process.layout;
	u64 top;

	if (!layout->frame_stack_top || !(s->code.flags & ANY_GENERATOR))
		return 0;
	top = frame_u64(s, layout->frame_stack_top);
	return layout->flags & LAYOUT_CFRAME ? (s32)top >= 0 : top != 0;
}

/* The frame in hand is no Python frame, but the mark that C called here (3.12 and later). */
static __always_inline int is_entry_frame(struct scratch *s)
{
	const struct python_layout *layout = &s->process.layout;

	return !(layout->flags & (LAYOUT_CFRAME_PER_RUN | LAYOUT_CALL_PER_FRAME)) &&
	       frame_u8(s, layout->frame_owner) >= layout->entry_owner;
}

/* One Python frame, or one native frame of the search for an owner: 0 go on, 1 the walk has ended. */
__noinline int walk_python_step(void)
{
	struct scratch *s = find_scratch();
	const struct python_layout *layout;
	u64 code, previous;
	u32 size;
	s64 id;
	int ends;

	if (!s)
		return 1;
	layout = &s->process.layout;
	if (s->python.entry)
		return search_owner(s);
	if (!s->python.frame || s->python.frame == s->python.base_frame)
		return end_chain(s);
	if (s->python.words >= MAX_PYTHON_WORDS - 2)
		return end_python(s, REASON_PYTHON_TOO_DEEP);
	size = layout->frame_size;
	if (size > FRAME_BLOCK_BYTES)
		size = FRAME_BLOCK_BYTES;
	if ((s->python.frame & 7) || read_frame(s, size))
		return restart_or_end(s, REASON_PYTHON_UNREADABLE);
	previous = frame_u64(s, layout->frame_previous);
	if (is_entry_frame(s)) {
		if (end_run(s, s->python.frame))
			return restart_or_end(s, REASON_PYTHON_CUT_OFF);
		s->python.frame = previous;
		return 0;
	}
	code = frame_u64(s, layout->frame_code) & ~(u64)REFERENCE_TAGS;
	id = meet_code(s, code);
	if (id == CODE_NOT_CODE)
		return restart_or_end(s, REASON_PYTHON_NOT_CODE);
	if (id == CODE_UNREADABLE)
		return restart_or_end(s, REASON_PYTHON_UNREADABLE);
	if (id == CODE_LOST)
		return end_python(s, REASON_PYTHON_CODE_LOST);
	push_python(s, (u64)WORD_PYTHON << 60 | (u64)(u32)id << 28 | (u64)(find_unit(s, code) + 1));
	if (is_suspended(s))
		push_python(s, (u64)WORD_SUSPENDED << 60);
	ends = ends_run(s, previous);
	if (ends == RUN_IS_TORN || (ends == RUN_ENDS && end_run(s, s->python.cframe)))
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

/* Before the native walk, which may have to ask Python for its way. */
static __always_inline void prepare_python(struct scratch *s)
{
	s->thread_states.count = 0;
	s->thread_states.missing = 0;
	s->thread_states.reason = 0;
	s->serial++;
	s->entries.is_started = 0;
	s->entries.is_broken = 0;
	s->entries.steps = 0;
	if (s->process.flags & PROCESS_PYTHON)
		s->thread_states.reason = find_thread_states();
}

/* All states of the thread, one after the other. */
static __always_inline void walk_python(struct scratch *s)
{
	if (!(s->process.flags & PROCESS_PYTHON))
		return;
	if (s->thread_states.reason) {
		end_python(s, s->thread_states.reason);
		return;
	}
	if (!s->thread_states.count) {
		s->stack.sample.flags |= SAMPLE_NO_THREAD_STATE;
		return;
	}
	if (start_python(s, s->thread_states.found[0]))
		return;
	/* The search for owners runs over the native frames once for each thread state. */
	for (int i = 0; i <= (MAX_PYTHON_WORDS + MAX_OWN_THREAD_STATES * (LEAFMOST_NATIVE + ROOTMOST)) / PYTHON_STEPS_AT_ONCE; i++)
		if (walk_python_steps())
			return;
	end_python(s, REASON_PYTHON_TOO_DEEP);
}

/* The Python section, once the walk is over. */
static __always_inline void close_python(struct scratch *s)
{
	u32 kept = s->python.words;

	if (kept > LEAFMOST_PYTHON + ROOTMOST)
		kept = LEAFMOST_PYTHON + ROOTMOST;
	s->stack.python_count = kept;
	s->stack.python_skipped = s->python.words - kept;
}

#endif
