/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * What unwind rows say: where a frame's CFA is, and its caller. The same in Rust is `viperf_unwind::walk`.
 *
 * Searches are global functions: the verifier looks at each once instead of once per frame, which keeps a walk of 512 frames
 * in one program on every kernel (10,600 instructions for 64 frames against 90,000 inlined, 5.10 to 7.2). Their arguments
 * must then be scalars.
 */
#ifndef VIPERF_UNWIND_RULES_H
#define VIPERF_UNWIND_RULES_H

#include "maps.h"

enum {
	/* 2^18 mappings, 2^26 rows. */
	MAPPING_SEARCH_STEPS = 18,
	ROW_SEARCH_STEPS = 26,
	NOT_FOUND = -1,
};

/* Where pt_regs keeps the register of a DWARF number (System V AMD64 ABI, figure 3.36). */
static const u8 position_of_dwarf_register[16] = { 10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0 };

/* The last of `count` mappings from `first` that starts at or below the address: its index, or NOT_FOUND. */
__noinline s64 find_mapping(u32 first, u32 count, u64 address)
{
	s64 found = NOT_FOUND;

	for (int step = 0; step < MAPPING_SEARCH_STEPS && count > 0; step++) {
		u32 half = count / 2;
		u32 middle = first + half;
		struct mapping *mapping = bpf_map_lookup_elem(&mappings, &middle);

		if (!mapping)
			return NOT_FOUND;
		if (mapping->start <= address) {
			found = middle;
			first = middle + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return found;
}

/* The rule that holds at `pc` among `count` rows from `first`, or NOT_FOUND. */
__noinline s64 find_rule(u32 first, u32 count, u32 pc)
{
	s64 found = NOT_FOUND;

	for (int step = 0; step < ROW_SEARCH_STEPS && count > 0; step++) {
		u32 half = count / 2;
		u32 middle = first + half;
		u32 shard_index = middle / ROWS_PER_SHARD;
		u32 slot = middle % ROWS_PER_SHARD;
		void *shard = bpf_map_lookup_elem(&unwind_rows, &shard_index);
		struct unwind_row *row = shard ? bpf_map_lookup_elem(shard, &slot) : 0;

		if (!row)
			return NOT_FOUND;
		if (row->pc <= pc) {
			found = row->rule;
			first = middle + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return found;
}

/* A frame, or a reason between frames; what has no CFA owns no Python frames. */
static __always_inline void push_frame(struct scratch *s, u64 word, u64 cfa, u32 rule)
{
	u32 place = frame_place(s->native.frames);

	if (s->native.frames >= LEAFMOST_NATIVE + ROOTMOST && s->cfas[place] > s->native.skipped_cfa)
		s->native.skipped_cfa = s->cfas[place];
	s->cfas[place] = cfa;
	s->rules[place] = rule;
	s->stack.words[(s->stack.kernel_count + place) & (MAX_STACK_WORDS - 1)] = word;
	s->native.frames++;
}

static __always_inline int end_native(struct scratch *s, u64 reason)
{
	s->native.end_reason = reason;
	return 1;
}

/* Arguments of a rule, each 8 bytes a unit; signed by shifting. */
static __always_inline s64 offset_20(u32 rule)
{
	return (s64)((s32)rule >> 12) * 8;
}

/* The frame's CFA, or 0 with a reason in `*reason`. */
static __always_inline u64 find_cfa(struct scratch *s, u32 rule, u64 pc, u64 *reason)
{
	struct native_walk *walk = &s->native;
	s64 pre = (s64)((s32)(rule << 8) >> 20) * 8;
	u64 post = (u64)(rule >> 24) * 8;
	u64 value = 0;

	switch (rule & 15) {
	case RULE_RSP:
		return walk->sp + offset_20(rule);
	case RULE_PLT:
		return walk->sp + 8 + ((pc & 15) >= (rule >> 12) ? 8 : 0);
	case RULE_RBP:
		if (walk->bp_known)
			return walk->bp + offset_20(rule);
		*reason = REASON_NATIVE_REGISTER_LOST;
		return 0;
	case RULE_DEREF_RSP:
	case RULE_DEREF_RBP:
		if ((rule & 15) == RULE_DEREF_RBP && !walk->bp_known) {
			*reason = REASON_NATIVE_REGISTER_LOST;
			return 0;
		}
		if (read_user(&value, sizeof(value), ((rule & 15) == RULE_DEREF_RBP ? walk->bp : walk->sp) + pre)) {
			*reason = REASON_NATIVE_UNREADABLE;
			return 0;
		}
		return value + post;
	case RULE_REGISTER:
		if (walk->innermost) {
			u32 position = position_of_dwarf_register[(rule >> 12) & 15];

			if (position < 21)
				return s->registers.by_position[position] + (s64)((s32)rule >> 16) * 8;
		}
		*reason = REASON_NATIVE_REGISTER_LOST;
		return 0;
	case RULE_DEREF_INDEX:
		if (walk->innermost) {
			u32 position = position_of_dwarf_register[(rule >> 12) & 15];
			s64 displacement = (s64)((s32)(rule << 4) >> 20) * 8;

			if (position < 21) {
				if (read_user(&value, sizeof(value),
					      walk->sp + 8 * s->registers.by_position[position] + displacement)) {
					*reason = REASON_NATIVE_UNREADABLE;
					return 0;
				}
				return value + (u64)(rule >> 28) * 8;
			}
		}
		*reason = REASON_NATIVE_REGISTER_LOST;
		return 0;
	case RULE_NONE:
		*reason = REASON_NATIVE_NO_ROW;
		return 0;
	default:
		*reason = REASON_NATIVE_UNSUPPORTED_RULE;
		return 0;
	}
}

/* From a signal handler's frame to the code that was interrupted: the registers are in the ucontext at rsp
 * (arch/x86/include/uapi/asm/sigcontext.h). */
static __always_inline int cross_signal(struct scratch *s)
{
	u64 saved[7];

	/* rbp at 120, rbx, rdx, rax, rcx, rsp at 160, rip at 168. */
	if (read_user(saved, sizeof(saved), s->native.sp + 120))
		return end_native(s, REASON_NATIVE_UNREADABLE);
	s->cfas[frame_place(s->native.frames - 1)] = s->native.sp + 8;
	s->native.bp = saved[0];
	s->native.sp = saved[5];
	s->native.ip = saved[6];
	s->native.bp_known = 1;
	s->native.exact_ip = 1;
	s->native.innermost = 0;
	return 0;
}

/* Reads what a frame with this CFA says of its caller, and goes there; 0, or a reason. */
static __always_inline u64 go_to_caller(struct scratch *s, u32 rule, u64 cfa)
{
	u32 saved_bp = (rule >> 4) & 255;
	/* The word below the return address is where nearly every frame that saves rbp keeps it: one read for both. */
	u64 saved[2];

	if (cfa <= s->native.sp)
		return REASON_NATIVE_NOT_ASCENDING;
	/* At a function's first instruction the word below may lie in a page that does not exist yet. */
	if (read_user(saved, sizeof(saved), cfa - 16)) {
		if (read_user(&saved[1], sizeof(u64), cfa - 8))
			return REASON_NATIVE_UNREADABLE;
		/* An rbp that cannot be read is missed only where a caller needs it. */
		if (saved_bp == 2)
			saved_bp = RBP_UNKNOWN;
	}
	if (saved_bp == RBP_UNKNOWN) {
		s->native.bp_known = 0;
	} else if (saved_bp == 2) {
		s->native.bp = saved[0];
		s->native.bp_known = 1;
	} else if (saved_bp == RBP_AT_RBP) {
		/* gcc says so behind `leave` as well, where rbp is the caller's again: no place in this frame. */
		if (s->native.bp_known && s->native.bp >= s->native.sp && s->native.bp < cfa)
			s->native.bp_known = !read_user(&s->native.bp, sizeof(u64), s->native.bp);
	} else if (saved_bp) {
		s->native.bp_known = !read_user(&s->native.bp, sizeof(u64), cfa - 8 * (u64)saved_bp);
	}
	s->native.sp = cfa;
	s->native.ip = saved[1];
	s->native.exact_ip = 0;
	s->native.innermost = 0;
	return 0;
}

#endif
