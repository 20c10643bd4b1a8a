/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * A stack goes to user space whole once, and from then on as the number of its slot.
 * The hash only finds the slot; all words are compared before a stack counts as known.
 */
#ifndef VIPERF_STACK_CACHE_H
#define VIPERF_STACK_CACHE_H

#include "maps.h"

enum {
	/* Words are hashed, compared and copied by so many, the last ones filled up with zeros: the verifier's work grows
	 * faster than the number of turns of a loop that can end early, and 2,048 turns took it 0.1 s each. */
	CHUNK_WORDS = 8,
	CHUNKS = MAX_STACK_WORDS / CHUNK_WORDS,
};

static __always_inline u32 word_count(struct scratch *s)
{
	return (s->stack.kernel_count + s->stack.native_count + s->stack.python_count) & (MAX_STACK_WORDS - 1);
}

static __always_inline u32 chunk_count(struct scratch *s)
{
	return (word_count(s) + CHUNK_WORDS - 1) / CHUNK_WORDS;
}

static __always_inline u64 *chunk(u64 *words, u64 chunk_index, u64 word_limit)
{
	return &words[(chunk_index * CHUNK_WORDS) & (word_limit - CHUNK_WORDS)];
}

static __always_inline void fill_last_chunk(struct scratch *s)
{
	u32 count = word_count(s);

	for (u32 i = 0; i < CHUNK_WORDS; i++)
		s->stack.words[(count + i) & (MAX_STACK_WORDS - 1)] = 0;
}

__noinline u64 hash_stack(void)
{
	struct scratch *s = find_scratch();
	u64 hash = 0x9e3779b97f4a7c15ull;
	u32 chunks;

	if (!s)
		return 0;
	hash ^= s->process.epoch;
	chunks = chunk_count(s);
	for (u32 i = 0; i < CHUNKS && i < chunks; i++) {
		const u64 *words = chunk(s->stack.words, i, MAX_STACK_WORDS);

		for (u32 j = 0; j < CHUNK_WORDS; j++) {
			hash = (hash ^ words[j]) * 0xff51afd7ed558ccdull;
			hash ^= hash >> 32;
		}
	}
	return hash;
}

static __always_inline struct stack_cache *find_stack_cache(void)
{
	u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&stack_caches, &cpu);
}

/* Section counts as one word. */
static __always_inline u64 sections(struct scratch *s)
{
	return ((u64)s->stack.kernel_count << 24 | (u64)(s->stack.native_count & 0xfff) << 12 | (s->stack.python_count & 0xfff)) ^
	       (u64)s->stack.native_skipped << 48 ^ (u64)s->stack.python_skipped << 32;
}

/* 1 when the slot holds exactly the stack in hand. */
__noinline int is_known_stack(u64 hash, u32 slot)
{
	struct scratch *s = find_scratch();
	struct stack_cache *cache = find_stack_cache();
	struct known_stack *known;
	u64 position;
	u32 chunks;

	if (!s || !cache)
		return 0;
	known = &cache->slots[slot & (STACK_CACHE_SLOTS - 1)];
	chunks = chunk_count(s);
	position = known->position;
	if (known->hash != hash || known->chunks != chunks || known->sections != sections(s) ||
	    known->epoch != s->process.epoch ||
	    cache->head - position > STACK_CACHE_WORDS / CHUNK_WORDS)
		return 0;
	for (u32 i = 0; i < CHUNKS && i < chunks; i++) {
		const u64 *known_words = chunk(cache->words, position + i, STACK_CACHE_WORDS);
		const u64 *words = chunk(s->stack.words, i, MAX_STACK_WORDS);
		u64 difference = 0;

		for (u32 j = 0; j < CHUNK_WORDS; j++)
			difference |= known_words[j] ^ words[j];
		if (difference)
			return 0;
	}
	return 1;
}

/* Puts the stack in hand into the slot; called only after user space was sent it. */
__noinline int remember_stack(u64 hash, u32 slot)
{
	struct scratch *s = find_scratch();
	struct stack_cache *cache = find_stack_cache();
	struct known_stack *known;
	u64 position;
	u32 chunks;

	if (!s || !cache)
		return 0;
	known = &cache->slots[slot & (STACK_CACHE_SLOTS - 1)];
	chunks = chunk_count(s);
	position = cache->head;
	for (u32 i = 0; i < CHUNKS && i < chunks; i++) {
		u64 *known_words = chunk(cache->words, position + i, STACK_CACHE_WORDS);
		const u64 *words = chunk(s->stack.words, i, MAX_STACK_WORDS);

		for (u32 j = 0; j < CHUNK_WORDS; j++)
			known_words[j] = words[j];
	}
	cache->head = position + chunks;
	known->hash = hash;
	known->position = position;
	known->chunks = chunks;
	known->sections = sections(s);
	known->epoch = s->process.epoch;
	return 1;
}

/* Makes sure that the slot is not taken for the stack that user space has never got. */
static __always_inline void forget_stack(u32 slot)
{
	struct stack_cache *cache = find_stack_cache();

	if (cache)
		cache->slots[slot & (STACK_CACHE_SLOTS - 1)].chunks = 0;
}

/* Sends the sample with its stack: 0, or the ring was full. */
static __always_inline long send_whole(struct scratch *s)
{
	u32 size = __builtin_offsetof(struct stack_record, words) + word_count(s) * sizeof(u64);
	long failed;

	s->stack.sample.header.kind = RECORD_STACK;
	s->stack.sample.header.size = size;
	failed = bpf_ringbuf_output(&records, &s->stack, size, ring_flags());
	if (failed)
		__sync_fetch_and_add(&lost[LOST_SAMPLES], 1);
	return failed;
}

/* Sends the sample in hand: whole, or as the number of a stack that user space has. */
static __always_inline void send_sample(struct scratch *s)
{
	u64 hash;
	u32 slot;

	fill_last_chunk(s);
	hash = hash_stack();
	slot = hash & (STACK_CACHE_SLOTS - 1);
	s->stack.sample.slot = slot;
	if (word_count(s) && is_known_stack(hash, slot)) {
		s->stack.sample.header.kind = RECORD_SAMPLE;
		s->stack.sample.header.size = sizeof(struct sample_record);
		if (bpf_ringbuf_output(&records, &s->stack.sample, sizeof(struct sample_record), ring_flags()))
			__sync_fetch_and_add(&lost[LOST_SAMPLES], 1);
		return;
	}
	if (send_whole(s))
		forget_stack(slot);
	else
		remember_stack(hash, slot);
}

#endif
