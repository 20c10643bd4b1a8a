/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * The way through code without rows, where that is safe: a leaf that has pushed nothing is crossed by its return address;
 * generated code by rows that user space has made of its instructions, or by frame pointers; a CFA in a register that younger
 * frames have saved by what they saved.
 *
 * Each such step is a guess until the walk meets the next eval call of Python exactly where Python says it is (entries.h). A
 * guess that misses it is taken back, and the walk goes on at that eval call, with a reason in the gap. A frame too many or too
 * few can reach the eval call as well: so the call instruction before a return address must be one that leads to the very
 * function, and only rows may be led by a call through a pointer.
 */
#ifndef VIPERF_LOST_WAY_H
#define VIPERF_LOST_WAY_H

#include "entries.h"
#include "unwind_rules.h"

enum {
	/* A function of code without rows is not larger, where its caller must be told from a chance word of the stack. */
	LARGEST_FUNCTION = 1 << 20,
	/* How far below a frame its callees' saved registers are looked for, and how large it is at most. */
	SAVED_REGISTER_WORDS = 256,
	/* So many words for all frames of a sample: a stack made for it could have 256 tried in each of 1,024. */
	MOST_TRIED_WORDS = 2048,
	LARGEST_FRAME = 1 << 20,
};

/* `expected_cfa` of a walk that has lost its way where no eval call is above. */
#define NO_EVAL_CALL (~0ull)
/* There may be one above: nothing can be guessed, for nothing would tell a wrong guess. No CFA is as small. */
#define UNKNOWN_EVAL_CALL 8ull

/* Whether an entry of a linkage table is at `address`: endbr64, perhaps, and jmp *place(%rip), perhaps with a prefix. */
static __always_inline int is_linkage(u64 address)
{
	u8 code[8] = {};
	u32 at;

	if (read_user(code, sizeof(code), address))
		return 0;
	at = code[0] == 0xf3 && code[1] == 0x0f && code[2] == 0x1e && code[3] == 0xfa ? 4 : 0;
	if (at)
		return (code[4] == 0xff && code[5] == 0x25) || (code[4] == 0xf2 && code[5] == 0xff && code[6] == 0x25);
	return (code[0] == 0xff && code[1] == 0x25) || (code[0] == 0xf2 && code[1] == 0xff && code[2] == 0x25);
}

/* Whether a call instruction that can have led to `callee` (0: to anything) ends at `address`: otherwise that is no return
 * address. A call through a pointer can have led anywhere: `through_pointer` says whether that is enough. */
__noinline int follows_call(u64 address, u64 callee, u32 through_pointer)
{
	struct scratch *s = find_scratch();
	struct mapping *mapping;
	u8 bytes[8] = {};
	u64 target;
	s64 found;
	s32 distance;
	u32 index;

	if (!s)
		return 0;
	found = find_mapping(s->process.first_mapping, s->process.mapping_count, address - 1);
	index = found;
	mapping = found < 0 ? 0 : bpf_map_lookup_elem(&mappings, &index);
	if (!mapping || address > mapping->end || read_user(bytes, 7, address - 7))
		return 0;
	/* call *r/m: opcode FF with 2 in the middle of the byte that follows, which says how many more there are. */
	if ((bytes[5] == 0xff && (bytes[6] & 0x38) == 0x10) || (bytes[4] == 0xff && (bytes[5] & 0x38) == 0x10) ||
	    (bytes[3] == 0xff && bytes[4] == 0x54) || (bytes[1] == 0xff && (bytes[2] & 0x38) == 0x10) ||
	    (bytes[0] == 0xff && bytes[1] == 0x94))
		return through_pointer;
	if (bytes[2] != 0xe8)
		return 0;
	if (!callee)
		return 1;
	__builtin_memcpy(&distance, &bytes[3], sizeof(distance));
	target = address + (s64)distance;
	/* To the very function, or through the linker's table to another library. */
	if (find_mapping(s->process.first_mapping, s->process.mapping_count, target) ==
	    find_mapping(s->process.first_mapping, s->process.mapping_count, callee))
		return target <= callee && callee - target < LARGEST_FUNCTION;
	return is_linkage(target);
}

/* The frame whose word was pushed last has this CFA, unless it would reach into the next eval call: 1 when the walk can go
 * on. */
static __always_inline int guess_caller(struct scratch *s, u64 cfa, u32 rule, u32 through_pointer)
{
	u64 return_address = 0, callee = s->native.exact_ip ? s->native.ip : s->native.ip - 1;

	if (cfa >= s->native.expected_cfa || read_user(&return_address, sizeof(return_address), cfa - 8) ||
	    !follows_call(return_address, callee, through_pointer) || go_to_caller(s, rule, cfa))
		return 0;
	s->cfas[frame_place(s->native.frames - 1)] = cfa;
	return 1;
}

/* push %rbp; mov %rsp,%rbp */
static __always_inline int guess_by_frame_pointer(struct scratch *s)
{
	/* Back from a wrong guess there must still be the frames before it. */
	return s->native.frames < LEAFMOST_NATIVE && s->native.generated && s->native.bp_known && !(s->native.bp & 7) && s->native.bp >= s->native.sp &&
	       guess_caller(s, s->native.bp + 16, RULE_RBP | 2 << 4, 0);
}

/* Back to where the way was lost, and on from the eval call above: 0, or 1 and the walk has ended. */
__noinline int resume_at_eval_call(void)
{
	struct scratch *s = find_scratch();
	u64 cfa, return_address = 0;

	if (!s)
		return 1;
	s->native.frames = s->native.lost_frames;
	/* What was guessed of it holds no longer. */
	s->cfas[frame_place(s->native.frames - 1)] = 0;
	cfa = s->native.expected_cfa;
	if (s->native.guessed_leaf) {
		/* The registers are those of the innermost frame still. */
		s->native.guessed_leaf = 0;
		s->native.ip = s->registers.by_position[SAVED_IP];
		s->native.sp = s->registers.by_position[SAVED_SP];
		s->native.bp = s->registers.by_position[SAVED_BP];
		s->native.generated = s->native.lost_in_generated;
		s->native.exact_ip = 1;
		s->native.bp_known = 1;
		if (guess_by_frame_pointer(s))
			return 0;
	}
	s->native.expected_cfa = 0;
	/* 3.10 and 3.11: greenlet has an entry of its own, in a call that is none of eval. */
	if (read_user(&return_address, sizeof(return_address), cfa - 8) || !follows_call(return_address, 0, 1))
		return end_native(s, s->native.lost_reason);
	/* What Python ran in the gap, if it is a large one, belongs to the mark. */
	s->native.has_gap = 1;
	push_frame(s, reason_word(s->native.lost_reason), cfa - s->process.eval_above_entry, 0);
	push_frame(s, s->process.eval_word, cfa, s->process.eval_rule);
	s->native.bp_known = 0;
	if (go_to_caller(s, s->process.eval_rule, cfa))
		return end_native(s, REASON_NATIVE_UNREADABLE);
	return s->native.ip == 0;
}

/* Before the first guess: where to come back to, and the eval call that must be met. */
static __always_inline void remember_way(struct scratch *s, u64 reason)
{
	u64 entry = s->process.eval_above_entry ? find_entry_above(s->native.sp) : 0;

	s->native.expected_cfa = entry ? entry + s->process.eval_above_entry : NO_EVAL_CALL;
	if (entry == UNKNOWN_ENTRY)
		s->native.expected_cfa = UNKNOWN_EVAL_CALL;
	s->native.lost_frames = s->native.frames;
	s->native.lost_reason = reason;
	s->native.lost_in_generated = s->native.generated;
	if (!s->native.certain_frames)
		s->native.certain_frames = s->native.frames;
}

enum {
	/* Results of try_saved_register. */
	NOT_THE_REGISTER,
	IS_THE_REGISTER,
	NO_MORE_WORDS,
};

/* Whether `value` was in the register that the CFA of the frame in hand is counted from: it must be an address of the stack. */
static __always_inline int guess_by_register_value(struct scratch *s, u64 value, u32 rule)
{
	return !(value & 7) && value > s->native.sp && value - s->native.sp < LARGEST_FRAME &&
	       guess_caller(s, value + (s64)((s32)rule >> 16) * 8, rule, 1);
}

/* Tries the word of the stack that is so many words below the frame in hand: a turn of the loop below, a function of its own
 * because the verifier's work for 256 turns of it was a third of all (58,000 instructions). */
__noinline int try_saved_register(u32 rule, u32 words_below)
{
	struct scratch *s = find_scratch();
	u64 value, place;

	if (!s || s->native.tried_words >= MOST_TRIED_WORDS)
		return NO_MORE_WORDS;
	s->native.tried_words++;
	place = s->native.sp - 16 - 8 * (u64)words_below;
	if (place < s->registers.by_position[SAVED_SP] || place > s->native.sp || read_user(&value, sizeof(value), place))
		return NO_MORE_WORDS;
	return guess_by_register_value(s, value, rule) ? IS_THE_REGISTER : NOT_THE_REGISTER;
}

/* The CFA is in a register other than rbp, whose value younger frames may have saved: the nearest one that has, if any. Whatever
 * is taken for it is a guess. */
__noinline int guess_by_saved_register(u32 rule)
{
	struct scratch *s = find_scratch();
	u32 position = position_of_dwarf_register[(rule >> 12) & 15];

	if (!s || position >= 21)
		return 0;
	for (u32 i = 0; i < SAVED_REGISTER_WORDS; i++) {
		int found = try_saved_register(rule, i);

		if (found == IS_THE_REGISTER)
			return 1;
		if (found == NO_MORE_WORDS)
			break;
	}
	/* Nobody has saved it: it is where it was. That is not known when there were words left to try. */
	return s->native.tried_words < MOST_TRIED_WORDS &&
	       guess_by_register_value(s, s->registers.by_position[position], rule);
}

/* No row says where the caller of the frame pushed last is: 0 when there is a way to go on, 1 when the walk has ended. */
__noinline int lose_way(u64 reason)
{
	struct scratch *s = find_scratch();

	if (!s)
		return 1;
	if (!s->native.expected_cfa) {
		remember_way(s, reason);
		if (s->native.innermost && guess_caller(s, s->native.sp + 8, RULE_RSP, 0)) {
			s->native.guessed_leaf = 1;
			return 0;
		}
	}
	if (guess_by_frame_pointer(s))
		return 0;
	if (s->native.expected_cfa == NO_EVAL_CALL || s->native.expected_cfa == UNKNOWN_EVAL_CALL)
		return end_native(s, reason);
	return resume_at_eval_call();
}

/* There is no caller; but an eval call that Python knows of must have been met before. */
static __always_inline int end_at_root(struct scratch *s)
{
	if (s->native.expected_cfa > UNKNOWN_EVAL_CALL && s->native.expected_cfa != NO_EVAL_CALL)
		return resume_at_eval_call();
	return 1;
}

#endif
