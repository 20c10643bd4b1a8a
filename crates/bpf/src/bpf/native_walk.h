/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * The native user stack, frame by frame: by unwind rows (unwind_rules.h), and through code that has none (lost_way.h).
 *
 * Steps are global functions, as searches are.
 */
#ifndef VIPERF_NATIVE_WALK_H
#define VIPERF_NATIVE_WALK_H

#include "lost_way.h"

enum {
	NATIVE_STEPS_AT_ONCE = 64,
	/* Frames from the oldest eval call to the root: the start of the program, or of the thread. */
	FRAMES_FROM_OLDEST_ENTRY = 128,
	/* 0f 05 */
	SYSCALL_INSTRUCTION = 0x050f,
	/* Numbers of system calls. */
	CALL_CLONE = 56,
	CALL_CLONE3 = 435,
};

/* The return address is in a register (glibc's vfork, whose child uses the same stack). */
static __always_inline int step_by_register(struct scratch *s, u32 rule)
{
	u32 position = position_of_dwarf_register[(rule >> 12) & 15];
	u64 cfa = s->native.sp + (s64)((s32)rule >> 16) * 8;

	if (!s->native.innermost || position >= 21)
		return lose_way(REASON_NATIVE_REGISTER_LOST);
	if (cfa < s->native.sp)
		return lose_way(REASON_NATIVE_NOT_ASCENDING);
	s->cfas[frame_place(s->native.frames - 1)] = cfa;
	s->native.sp = cfa;
	s->native.ip = s->registers.by_position[position];
	s->native.exact_ip = 0;
	s->native.innermost = 0;
	return s->native.ip == 0 ? end_at_root(s) : 0;
}

/* To the caller: its return address is at CFA - 8, its rbp where the rule says. */
static __always_inline int step_to_caller(struct scratch *s, u32 rule, u64 cfa)
{
	u32 place = frame_place(s->native.frames - 1);
	u64 reason;

	if (s->native.expected_cfa > UNKNOWN_EVAL_CALL && cfa >= s->native.expected_cfa) {
		if (cfa != s->native.expected_cfa)
			return resume_at_eval_call();
		/* It is the eval call: no guess was wrong. */
		s->native.expected_cfa = 0;
		s->native.guessed_leaf = 0;
	}
	reason = go_to_caller(s, rule, cfa);
	if (reason)
		return lose_way(reason);
	s->cfas[place] = cfa;
	s->rules[place] = rule;
	return s->native.ip == 0 ? end_at_root(s) : 0;
}

static __always_inline u64 native_word(struct mapping *mapping, u64 address)
{
	return (u64)WORD_NATIVE << 60 | (u64)(mapping->executable & 0xfffff) << 40 |
	       ((address - mapping->load_bias) & 0xffffffffffull);
}

/* Where the rows of the frame in hand are, and that they have been looked for. */
static __always_inline void find_rows(struct scratch *s, u32 index)
{
	struct row_table *table = bpf_map_lookup_elem(&row_tables, &index);
	u32 now = s->stack.sample.time_ns >> ROW_TABLE_TICK_SHIFT;

	/* Read at once, and in this order: user space changes them at any time, the place first. */
	s->native.placement = table ? *(volatile u32 *)&table->placement : 0;
	s->native.rows = table ? *(volatile u64 *)&table->place : 0;
	if (table && table->last_used != now)
		table->last_used = now;
}

/* The mapping of the frame in hand, most often that of the frame before; or 0. */
static __always_inline struct mapping *find_mapping_of_frame(struct scratch *s, u64 lookup)
{
	u32 index = s->native.last_mapping;
	struct mapping *mapping = bpf_map_lookup_elem(&mappings, &index);
	s64 found;

	if (mapping && lookup >= mapping->start && lookup < mapping->end)
		return mapping;
	found = find_mapping(s->process.first_mapping, s->process.mapping_count, lookup);
	index = found;
	mapping = found < 0 ? 0 : bpf_map_lookup_elem(&mappings, &index);
	if (!mapping || lookup >= mapping->end)
		return 0;
	s->native.last_mapping = index;
	return mapping;
}

/* The rule at `pc`. Calls are remembered, the innermost frame's instructions are too many. */
static __always_inline s64 find_rule_of_frame(struct scratch *s, u32 pc)
{
	u64 key = (u64)(s->native.placement >> ROWS_PLACEMENT_SHIFT) << 32 | pc;
	/* The constant is 2^64 divided by the golden ratio. */
	u32 place = key * 0x9e3779b97f4a7c15ull >> 32;
	struct rule_at_call *known = &s->rules_at_calls[MASKED(place, CALLS_WITH_RULES - 1)];
	s64 found;

	if (s->native.exact_ip)
		return find_rule(s->native.rows, s->native.rows >> 32, pc);
	if (known->key == key)
		return known->rule;
	found = find_rule(s->native.rows, s->native.rows >> 32, pc);
	if (found >= 0) {
		known->rule = found;
		known->key = key;
	}
	return found;
}

/* Behind a system call: it was the one that has made this thread, on a stack where nothing has called. In the kernel its number
 * is known; in user space only a child of vfork is known to be one. */
static __always_inline int has_just_begun(struct scratch *s)
{
	u64 call = s->registers.by_position[SAVED_CALL];

	if (s->registers.by_position[SAVED_AX])
		return 0;
	return call == CALL_CLONE || call == CALL_CLONE3 || ((s64)call < 0 && s->borrowed);
}

/* No row holds at the address looked up, but perhaps at the one beside it. */
static __always_inline u32 find_rule_beside(struct scratch *s, struct mapping *mapping)
{
	u64 pc = s->native.ip - mapping->load_bias;
	u16 instruction = 0;
	s64 found;

	if (s->native.exact_ip) {
		if (!s->native.innermost || read_user(&instruction, sizeof(instruction), s->native.ip - 2) ||
		    instruction != SYSCALL_INSTRUCTION)
			return RULE_NONE;
		if (has_just_begun(s))
			return RULE_END;
		/* In a system call the registers are those after the instruction, which can be the last one of its row. */
		if (!s->stack.kernel_count)
			return RULE_NONE;
		found = find_rule(s->native.rows, s->native.rows >> 32, pc - 1);
		return found < 0 ? RULE_NONE : found;
	}
	/* Where the stack of a context begins (makecontext), nothing has called: the return address is the first byte of a
	 * function that ends the stack. */
	if (s->native.ip >= mapping->end)
		return RULE_NONE;
	found = find_rule(s->native.rows, s->native.rows >> 32, pc);
	return found >= 0 && (found & 15) == RULE_END ? RULE_END : RULE_NONE;
}

/* Generated code with rows, which are guesses: its functions can have been replaced since. */
FUNCTION_OF_ITS_OWN int step_in_generated_code(u64 lookup, u32 rule)
{
	struct scratch *s = find_scratch();
	u64 cfa, reason = 0;

	if (!s)
		return 1;
	if (((rule & 15) == RULE_RSP || (rule & 15) == RULE_RBP) && s->native.frames < LEAFMOST_NATIVE) {
		if (!s->native.expected_cfa)
			remember_way(s, REASON_NATIVE_NO_TABLE);
		cfa = find_cfa(s, rule, lookup, &reason);
		if (!reason && cfa > s->native.sp && guess_caller(s, cfa, rule, 1))
			return 0;
	}
	return lose_way(REASON_NATIVE_NO_TABLE);
}

/* Enough frames: once, the walk goes on at the oldest eval call that Python knows of, near the root. */
__noinline int leap_to_root(void)
{
	struct scratch *s = find_scratch();
	u64 entry;

	if (!s)
		return 1;
	if (s->native.has_leapt || !s->process.eval_above_entry)
		return end_native(s, REASON_NATIVE_TOO_DEEP);
	entry = find_oldest_entry();
	if (entry <= s->native.sp)
		return end_native(s, REASON_NATIVE_TOO_DEEP);
	s->native.has_leapt = 1;
	/* Of the root-most frames that are kept, those before the leap would only take room. */
	s->native.frames -= FRAMES_FROM_OLDEST_ENTRY;
	s->native.lost_frames = s->native.frames;
	s->native.lost_reason = REASON_NATIVE_TOO_DEEP;
	s->native.guessed_leaf = 0;
	s->native.expected_cfa = entry + s->process.eval_above_entry;
	return resume_at_eval_call();
}

/* One frame: 0 go on, 1 the walk has ended, and a reason word says if too early. */
__noinline int walk_native_step(void)
{
	struct scratch *s = find_scratch();
	struct mapping *mapping;
	u64 lookup, cfa, reason = 0;
	s64 found;
	u32 rule;

	if (!s)
		return 1;
	/* With room for a reason and the frame behind it. */
	if (s->native.frames >= MAX_NATIVE_FRAMES - 2)
		return leap_to_root();
	/* A return address may be the first byte behind a function that never returns: look up the call before it. */
	lookup = s->native.exact_ip ? s->native.ip : s->native.ip - 1;
	mapping = find_mapping_of_frame(s, lookup);
	if (mapping)
		find_rows(s, mapping->row_table);
	/* As good as not known yet: user space finishes the walk when it has the rows. */
	if (mapping && s->native.rows >> 32 == ROWS_AWAITED) {
		mapping = 0;
		s->native.awaits_rows = 1;
	}
	s->native.generated = mapping && !mapping->executable;
	if (!mapping || !(s->native.rows >> 32)) {
		if (mapping && mapping->executable && mapping->row_table)
			push_frame(s, native_word(mapping, lookup), 0, 0);
		else
			push_frame(s, (u64)WORD_ADDRESS << 60 | (lookup & ((1ull << 60) - 1)), 0, 0);
		/* User space may know the mapping by now (is_deferred). */
		if (!mapping && (s->native.awaits_rows || !(s->process.flags & PROCESS_NEVER_DEFER)) &&
		    (s->native.expected_cfa <= UNKNOWN_EVAL_CALL || s->native.expected_cfa == NO_EVAL_CALL))
			return end_native(s, REASON_NATIVE_NO_MAPPING);
		return lose_way(mapping ? REASON_NATIVE_NO_TABLE : REASON_NATIVE_NO_MAPPING);
	}
	/* The address looked up is the one that names the frame, too: the call, not what follows it. */
	if (s->native.generated)
		push_frame(s, (u64)WORD_ADDRESS << 60 | (lookup & ((1ull << 60) - 1)), 0, 0);
	else
		push_frame(s, native_word(mapping, lookup), 0, 0);
	found = find_rule_of_frame(s, lookup - mapping->load_bias);
	rule = found < 0 ? RULE_NONE : found;
	if (s->native.generated)
		return step_in_generated_code(lookup, rule);
	if ((rule & 15) == RULE_NONE)
		rule = find_rule_beside(s, mapping);
	/* The walk goes on as it can, and user space walks again when it has looked at the instructions. */
	if ((rule & 15) == RULE_NONE && s->native.placement & ROWS_CAN_BE_MORE)
		s->native.awaits_more = 1;
	if ((rule & 15) == RULE_END)
		return end_at_root(s);
	if ((rule & 15) == RULE_SIGNAL)
		return cross_signal(s);
	if ((rule & 15) == RULE_RETURN_REGISTER)
		return step_by_register(s, rule);
	cfa = find_cfa(s, rule, lookup, &reason);
	if (reason == REASON_NATIVE_REGISTER_LOST && (rule & 15) == RULE_REGISTER && s->native.frames < LEAFMOST_NATIVE) {
		if (!s->native.expected_cfa)
			remember_way(s, reason);
		if (guess_by_saved_register(rule))
			return 0;
	}
	if (reason)
		return lose_way(reason);
	return step_to_caller(s, rule, cfa);
}

/* So many frames, then back to the caller: the verifier's work grows faster than the number of turns of one loop. */
__noinline int walk_native_steps(void)
{
	for (int i = 0; i < NATIVE_STEPS_AT_ONCE; i++)
		if (walk_native_step())
			return 1;
	return 0;
}

/* The whole walk, from the registers in `registers`. */
static __always_inline void walk_native(struct scratch *s)
{
	s->native.ip = s->registers.by_position[SAVED_IP];
	s->native.sp = s->registers.by_position[SAVED_SP];
	s->native.bp = s->registers.by_position[SAVED_BP];
	s->native.last_mapping = MAX_MAPPINGS;
	s->native.innermost = 1;
	s->native.exact_ip = 1;
	s->native.bp_known = 1;
	if (!(s->process.flags & PROCESS_READ)) {
		end_native(s, REASON_PROCESS_NOT_READ);
		return;
	}
	if (!configuration.native)
		return;
	for (int i = 0; i <= MAX_NATIVE_FRAMES / NATIVE_STEPS_AT_ONCE; i++)
		if (walk_native_steps())
			return;
	/* Guesses that were taken back have used up the steps. */
	end_native(s, REASON_NATIVE_TOO_DEEP);
}

/* The native section, once the walk is over. */
static __always_inline void close_native(struct scratch *s)
{
	u32 kept = s->native.frames;

	if (kept > LEAFMOST_NATIVE + ROOTMOST)
		kept = LEAFMOST_NATIVE + ROOTMOST;
	s->native.skipped = s->native.frames - kept;
	s->native.words = kept;
	if (s->native.end_reason) {
		s->stack.words[(s->stack.kernel_count + kept) & (MAX_STACK_WORDS - 1)] = reason_word(s->native.end_reason);
		s->native.words++;
	}
}

#endif
