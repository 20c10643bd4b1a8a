/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Where Python says that its eval calls are on the C stack, for a native walk that has lost its way: from 3.10 on each run of
 * Python frames has such an address (python_walk.h). The CFA of the eval call lies at a distance above it that is the same in
 * every call of one interpreter; the kernel learns it, with the rule that leads on, from a walk that was whole.
 */
#ifndef VIPERF_ENTRIES_H
#define VIPERF_ENTRIES_H

#include "code_text.h"
#include "thread_states.h"

enum {
	ENTRY_STEPS_AT_ONCE = 128,
	/* As deep as the walk of Python frames goes; for all searches of one sample. */
	ENTRY_STEPS = 4096,
	/* An eval call's part of the C stack has some hundred bytes. */
	LARGEST_DISTANCE = 4096,
};

static __always_inline int entries_are_cframes(const struct python_layout *layout)
{
	return (layout->flags & LAYOUT_CFRAME) && (layout->flags & (LAYOUT_CFRAME_PER_RUN | LAYOUT_CALL_PER_FRAME));
}

/* What find_entry_above says when the chain of frames could not be followed. */
#define UNKNOWN_ENTRY (~0ull)

/* To 3.9 nothing ties a frame to the C stack. */
static __always_inline int has_entries(const struct python_layout *layout)
{
	return (layout->flags & (LAYOUT_CFRAME | LAYOUT_CALL_PER_FRAME)) != LAYOUT_CALL_PER_FRAME;
}

/* One cframe or frame of the chain: 0 go on, 1 at the end or at an entry above the address. */
__noinline int find_entry_step(void)
{
	struct scratch *s = find_scratch();
	const struct python_layout *layout;
	u32 size;
	u64 at;
	int is_entry;

	if (!s || s->entries.steps >= ENTRY_STEPS)
		return 1;
	layout = &s->process.layout;
	at = s->entries.at;
	size = layout->frame_size;
	if (size > FRAME_BLOCK_BYTES)
		size = FRAME_BLOCK_BYTES;
	is_entry = entries_are_cframes(layout);
	if (!at || (is_entry && at == s->entries.root)) {
		s->entries.at = 0;
		return 1;
	}
	s->entries.steps++;
	if ((at & 7) || (!is_entry && read_user(s->frame_block, size, at))) {
		s->entries.is_broken = 1;
		return 1;
	}
	if (!is_entry) {
		is_entry = s->frame_block[layout->frame_owner & (FRAME_BLOCK_BYTES - 1)] >= layout->entry_owner;
		s->entries.at = block_u64(s->frame_block, layout->frame_previous, FRAME_BLOCK_BYTES);
	} else if (read_user(&s->entries.at, sizeof(u64), at + layout->cframe_previous)) {
		s->entries.is_broken = 1;
		return 1;
	}
	if (!is_entry || at <= s->entries.above)
		return 0;
	if (s->entries.oldest) {
		s->entries.found = at;
		return 0;
	}
	if (!s->entries.found || at < s->entries.found)
		s->entries.found = at;
	/* The next search begins with it. */
	s->entries.at = at;
	return 1;
}

__noinline int find_entry_steps(void)
{
	for (int i = 0; i < ENTRY_STEPS_AT_ONCE; i++)
		if (find_entry_step())
			return 1;
	return 0;
}

/* Begins at the innermost cframe or frame of a thread state. */
static __always_inline void start_entries(struct scratch *s, u64 thread_state)
{
	const struct python_layout *layout = &s->process.layout;
	u64 at = 0;

	s->entries.at = 0;
	if (read_user(&at, sizeof(at), thread_state + (layout->flags & LAYOUT_CFRAME ? layout->thread_cframe : layout->thread_frame)))
		return;
	/* 3.12 has cframes, and entry frames besides. */
	if ((layout->flags & LAYOUT_CFRAME) && !entries_are_cframes(layout) &&
	    read_user(&at, sizeof(at), at + layout->cframe_current_frame))
		return;
	s->entries.at = at;
}

/* The lowest entry above an address of the C stack; 0: there is none. */
__noinline u64 find_entry_above(u64 address)
{
	struct scratch *s = find_scratch();

	if (!s || !(s->process.flags & PROCESS_PYTHON) || !has_entries(&s->process.layout))
		return 0;
	if (s->thread_states.reason || s->thread_states.missing)
		return UNKNOWN_ENTRY;
	s->entries.above = address;
	s->entries.found = 0;
	s->entries.oldest = 0;
	for (u32 state = 0; state < MAX_OWN_THREAD_STATES && state < s->thread_states.count; state++) {
		u64 thread_state = s->thread_states.found[state & (MAX_OWN_THREAD_STATES - 1)];

		s->entries.root = thread_state + s->process.layout.thread_root_cframe;
		if (s->entries.is_started)
			s->entries.at = s->entries.places[state & (MAX_OWN_THREAD_STATES - 1)];
		else
			start_entries(s, thread_state);
		for (int i = 0; i < ENTRY_STEPS / ENTRY_STEPS_AT_ONCE; i++)
			if (find_entry_steps())
				break;
		s->entries.places[state & (MAX_OWN_THREAD_STATES - 1)] = s->entries.at;
	}
	s->entries.is_started = 1;
	return s->entries.is_broken || s->entries.steps >= ENTRY_STEPS ? UNKNOWN_ENTRY : s->entries.found;
}

/* The entry of the thread's first eval call, of its innermost thread state; 0: it was not found. */
__noinline u64 find_oldest_entry(void)
{
	struct scratch *s = find_scratch();

	if (!s || !(s->process.flags & PROCESS_PYTHON) || !has_entries(&s->process.layout) || !s->thread_states.count)
		return 0;
	s->entries.above = 0;
	s->entries.found = 0;
	s->entries.oldest = 1;
	s->entries.steps = 0;
	s->entries.is_broken = 0;
	s->entries.root = s->thread_states.found[0] + s->process.layout.thread_root_cframe;
	start_entries(s, s->thread_states.found[0]);
	for (int i = 0; i < ENTRY_STEPS / ENTRY_STEPS_AT_ONCE; i++)
		if (find_entry_steps())
			break;
	return s->entries.is_broken || s->entries.steps >= ENTRY_STEPS ? 0 : s->entries.found;
}

/* Keeps what there is to know of eval calls, once for each process: the run of frames whose entry is given belongs to the
 * native frame `owner`. */
__noinline int learn_eval_call(u32 owner, u64 entry)
{
	struct scratch *s = find_scratch();
	struct process *process;
	u64 word, distance;
	u32 tgid, rule;

	/* Behind a gap the mark's number is not that of a frame. */
	if (!s || (s->native.skipped && owner >= LEAFMOST_NATIVE))
		return 0;
	word = s->stack.words[(s->stack.kernel_count + frame_place(owner)) & (MAX_STACK_WORDS - 1)];
	rule = s->rules[frame_place(owner)];
	distance = s->cfas[frame_place(owner)] - entry;
	/* Another evaluator (PEP 523) has a frame of another size. */
	if (word >> 60 != WORD_NATIVE || ((word >> 40) & 0xfffff) != s->process.interpreter ||
	    ((rule & 15) != RULE_RSP && (rule & 15) != RULE_RBP) || distance >= LARGEST_DISTANCE)
		return 0;
	tgid = s->stack.sample.tgid;
	process = bpf_map_lookup_elem(&processes, &tgid);
	if (!process || process->epoch != s->process.epoch)
		return 0;
	process->eval_rule = rule;
	process->eval_word = word;
	process->eval_above_entry = distance;
	s->process.eval_above_entry = distance;
	return 0;
}

#endif
