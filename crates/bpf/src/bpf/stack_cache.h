/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * A stack goes to user space whole once, and from then on as the number of its slot.
 * The hash only finds the slot; all words are compared before a stack counts as known.
 */
#ifndef VIPERF_STACK_CACHE_H
#define VIPERF_STACK_CACHE_H

#include "maps.h"

enum {
	/* Words are hashed, compared and copied by so many, the last ones filled up with zeros. */
	CHUNK_WORDS = 8,
	/* The verifier's work grows faster than the number of turns of a loop that can end early (26,000 instructions for 512
	 * turns of eight words): a function does so many, and is called as often as it takes. */
	CHUNKS_AT_ONCE = 16,
	BLOCKS = MAX_STACK_WORDS / CHUNK_WORDS / CHUNKS_AT_ONCE,
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

/* The end of the block's chunks that are there. */
static __always_inline u32 block_end(u32 block, u32 chunks)
{
	u32 end = (block + 1) * CHUNKS_AT_ONCE;

	return end < chunks ? end : chunks;
}

__noinline u64 hash_block(u64 hash, u32 block)
{
	struct scratch *s = find_scratch();
	u32 first = block * CHUNKS_AT_ONCE, end;

	if (!s)
		return 0;
	end = block_end(block, chunk_count(s));
	for (u32 i = 0; i < CHUNKS_AT_ONCE && first + i < end; i++) {
		const u64 *words = chunk(s->stack.words, first + i, MAX_STACK_WORDS);

		for (u32 j = 0; j < CHUNK_WORDS; j++) {
			hash = (hash ^ words[j]) * 0xff51afd7ed558ccdull;
			hash ^= hash >> 32;
		}
	}
	return hash;
}

static __always_inline u64 hash_stack(struct scratch *s)
{
	u64 hash = 0x9e3779b97f4a7c15ull ^ s->process.epoch;
	u32 chunks = chunk_count(s);

	for (u32 block = 0; block < BLOCKS && block * CHUNKS_AT_ONCE < chunks; block++)
		hash = hash_block(hash, block);
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

/* 1 when the words of the block are those in the cache from `position` on. */
__noinline int is_known_block(u64 position, u32 block)
{
	struct scratch *s = find_scratch();
	struct stack_cache *cache = find_stack_cache();
	u32 first = block * CHUNKS_AT_ONCE, end;
	u64 difference = 0;

	if (!s || !cache)
		return 0;
	end = block_end(block, chunk_count(s));
	for (u32 i = 0; i < CHUNKS_AT_ONCE && first + i < end; i++) {
		const u64 *known_words = chunk(cache->words, position + first + i, STACK_CACHE_WORDS);
		const u64 *words = chunk(s->stack.words, first + i, MAX_STACK_WORDS);

		for (u32 j = 0; j < CHUNK_WORDS; j++)
			difference |= known_words[j] ^ words[j];
	}
	return !difference;
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
	for (u32 block = 0; block < BLOCKS && block * CHUNKS_AT_ONCE < chunks; block++)
		if (!is_known_block(position, block))
			return 0;
	return 1;
}

__noinline int remember_block(u64 position, u32 block)
{
	struct scratch *s = find_scratch();
	struct stack_cache *cache = find_stack_cache();
	u32 first = block * CHUNKS_AT_ONCE, end;

	if (!s || !cache)
		return 0;
	end = block_end(block, chunk_count(s));
	for (u32 i = 0; i < CHUNKS_AT_ONCE && first + i < end; i++) {
		u64 *known_words = chunk(cache->words, position + first + i, STACK_CACHE_WORDS);
		const u64 *words = chunk(s->stack.words, first + i, MAX_STACK_WORDS);

		for (u32 j = 0; j < CHUNK_WORDS; j++)
			known_words[j] = words[j];
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
	for (u32 block = 0; block < BLOCKS && block * CHUNKS_AT_ONCE < chunks; block++)
		remember_block(position, block);
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
	hash = hash_stack(s);
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
