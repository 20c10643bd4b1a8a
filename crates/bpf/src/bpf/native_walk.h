/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * The native user stack, by unwind rows. The same walk in Rust is `viperf_unwind::walk`.
 *
 * Code without rows is crossed where that is safe: a leaf that has pushed nothing, by its return address; generated code, by
 * rows that user space has made of its instructions, or by frame pointers. Each such step is a guess until the walk meets the next eval call of Python exactly where Python says it is
 * (entries.h). A guess that misses it is taken back, and the walk goes on at that eval call, with a reason in the gap. A frame
 * too many or too few can reach the eval call as well: so the call instruction before a return address must be one that leads to
 * the very function, and only rows may be led by a call through a pointer.
 *
 * Steps and searches are global functions: the verifier looks at each once instead of once per frame, which keeps a
 * walk of 512 frames in one program on every kernel (10,600 instructions for 64 frames against 90,000 inlined, 5.10 to
 * 7.2). Their arguments must then be scalars.
 */
#ifndef VIPERF_NATIVE_WALK_H
#define VIPERF_NATIVE_WALK_H

#include "entries.h"

enum {
	/* 2^18 mappings, 2^26 rows. */
	MAPPING_SEARCH_STEPS = 18,
	ROW_SEARCH_STEPS = 26,
	NOT_FOUND = -1,
	NATIVE_STEPS_AT_ONCE = 16,
	/* A function of code without rows is not larger, where its caller must be told from a chance word of the stack. */
	LARGEST_FUNCTION = 1 << 20,
	/* How far below a frame its callees' saved registers are looked for, and how large it is at most. */
	SAVED_REGISTER_WORDS = 256,
	LARGEST_FRAME = 1 << 20,
	/* Frames from the oldest eval call to the root: the start of the program, or of the thread. */
	FRAMES_FROM_OLDEST_ENTRY = 128,
	/* 0f 05 */
	SYSCALL_INSTRUCTION = 0x050f,
};

/* `expected_cfa` of a walk that has lost its way where no eval call is above. */
#define NO_EVAL_CALL (~0ull)
/* There may be one above: nothing can be guessed, for nothing would tell a wrong guess. No CFA is as small. */
#define UNKNOWN_EVAL_CALL 8ull

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
	if (read_user(saved, sizeof(saved), cfa - 16) &&
	    (saved_bp == 2 || read_user(&saved[1], sizeof(u64), cfa - 8)))
		return REASON_NATIVE_UNREADABLE;
	if (saved_bp == RBP_UNKNOWN) {
		s->native.bp_known = 0;
	} else if (saved_bp == 2) {
		s->native.bp = saved[0];
		s->native.bp_known = 1;
	} else if (saved_bp && (saved_bp != RBP_AT_RBP || s->native.bp_known)) {
		u64 place = saved_bp == RBP_AT_RBP ? s->native.bp : cfa - 8 * (u64)saved_bp;

		if (read_user(&s->native.bp, sizeof(u64), place))
			return REASON_NATIVE_UNREADABLE;
		s->native.bp_known = 1;
	}
	s->native.sp = cfa;
	s->native.ip = saved[1];
	s->native.exact_ip = 0;
	s->native.innermost = 0;
	return 0;
}

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

/* The CFA is in a register other than rbp, whose value younger frames may have saved: the nearest one that has, if any. Whatever
 * is taken for it is a guess. */
__noinline int guess_by_saved_register(u32 rule)
{
	struct scratch *s = find_scratch();
	u32 position = position_of_dwarf_register[(rule >> 12) & 15];
	s64 offset = (s64)((s32)rule >> 16) * 8;
	u64 candidate, lowest;

	if (!s || position >= 21)
		return 0;
	lowest = s->registers.by_position[SAVED_SP];
	for (u32 i = 0; i < SAVED_REGISTER_WORDS; i++) {
		u64 place = s->native.sp - 16 - 8 * (u64)i;

		if (place < lowest || place > s->native.sp || read_user(&candidate, sizeof(candidate), place))
			break;
		if (!(candidate & 7) && candidate > s->native.sp && candidate - s->native.sp < LARGEST_FRAME &&
		    guess_caller(s, candidate + offset, rule, 1))
			return 1;
	}
	/* Nobody has saved it: it is where it was. */
	candidate = s->registers.by_position[position];
	return !(candidate & 7) && candidate > s->native.sp && candidate - s->native.sp < LARGEST_FRAME &&
	       guess_caller(s, candidate + offset, rule, 1);
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

/* No row holds at the address looked up, but perhaps at the one beside it. */
static __always_inline u32 find_rule_beside(struct scratch *s, struct mapping *mapping)
{
	u64 pc = s->native.ip - mapping->load_bias;
	u16 instruction = 0;
	s64 found;

	if (s->native.exact_ip) {
		/* In a system call the registers are those after the instruction, which can be the last one of its row. */
		if (!s->native.innermost || !s->stack.kernel_count ||
		    read_user(&instruction, sizeof(instruction), s->native.ip - 2) || instruction != SYSCALL_INSTRUCTION)
			return RULE_NONE;
		found = find_rule(mapping->first_row, mapping->row_count, pc - 1);
		return found < 0 ? RULE_NONE : found;
	}
	/* Where the stack of a context begins (makecontext), nothing has called: the return address is the first byte of a
	 * function that ends the stack. */
	if (s->native.ip >= mapping->end)
		return RULE_NONE;
	found = find_rule(mapping->first_row, mapping->row_count, pc);
	return found >= 0 && (found & 15) == RULE_END ? RULE_END : RULE_NONE;
}

/* Generated code with rows, which are guesses: its functions can have been replaced since. */
__noinline int step_in_generated_code(u64 lookup, u32 rule)
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
	u32 index, rule;

	if (!s)
		return 1;
	/* With room for a reason and the frame behind it. */
	if (s->native.frames >= MAX_NATIVE_FRAMES - 2)
		return leap_to_root();
	/* A return address may be the first byte behind a function that never returns: look up the call before it. */
	lookup = s->native.exact_ip ? s->native.ip : s->native.ip - 1;
	found = find_mapping(s->process.first_mapping, s->process.mapping_count, lookup);
	index = found;
	mapping = found < 0 ? 0 : bpf_map_lookup_elem(&mappings, &index);
	if (mapping && lookup >= mapping->end)
		mapping = 0;
	s->native.generated = mapping && !mapping->executable;
	if (!mapping || !mapping->row_count) {
		push_frame(s, (u64)WORD_ADDRESS << 60 | (lookup & ((1ull << 60) - 1)), 0, 0);
		/* User space may know the mapping by now (is_deferred). */
		if (!mapping && !(s->process.flags & PROCESS_NEVER_DEFER) &&
		    (s->native.expected_cfa <= UNKNOWN_EVAL_CALL || s->native.expected_cfa == NO_EVAL_CALL))
			return end_native(s, REASON_NATIVE_NO_MAPPING);
		return lose_way(mapping ? REASON_NATIVE_NO_TABLE : REASON_NATIVE_NO_MAPPING);
	}
	/* The address looked up is the one that names the frame, too: the call, not what follows it. */
	if (s->native.generated)
		push_frame(s, (u64)WORD_ADDRESS << 60 | (lookup & ((1ull << 60) - 1)), 0, 0);
	else
		push_frame(s, (u64)WORD_NATIVE << 60 | (u64)(mapping->executable & 0xfffff) << 40 |
			      ((lookup - mapping->load_bias) & 0xffffffffffull), 0, 0);
	found = find_rule(mapping->first_row, mapping->row_count, lookup - mapping->load_bias);
	rule = found < 0 ? RULE_NONE : found;
	if (s->native.generated)
		return step_in_generated_code(lookup, rule);
	if ((rule & 15) == RULE_NONE)
		rule = find_rule_beside(s, mapping);
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
