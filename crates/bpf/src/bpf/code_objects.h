/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Code objects are defined at first sight, here, because the process may be gone a millisecond later. An address is
 * looked up together with what it points to: CPython reuses the memory of a freed code object at once.
 */
#ifndef VIPERF_CODE_OBJECTS_H
#define VIPERF_CODE_OBJECTS_H

#include "code_text.h"
#include "first_argument.h"

enum code_failure {
	/* Results of find_code; ids are positive. */
	CODE_UNREADABLE = -1,
	CODE_NOT_CODE = -2,
	CODE_LOST = -3,
};

static __always_inline void capture_line_table(struct code_record *record, u64 address, const struct python_layout *layout)
{
	u64 size = 0;
	u32 captured;

	record->line_table_address = address;
	record->line_table_size = 0;
	record->line_table_captured = 0;
	if (read_user(&size, sizeof(size), address + layout->bytes_size) || size > (1u << 30))
		return;
	record->line_table_size = size;
	captured = size > MAX_LINE_TABLE_BYTES ? MAX_LINE_TABLE_BYTES : size;
	if (!read_user(record->line_table, captured, address + layout->bytes_data))
		record->line_table_captured = captured;
}

static __always_inline u32 is_cut(const struct text_header *text)
{
	return text->kind && text->captured / text->kind < text->length;
}

/* What did not fit is read by user space, which must be at it while the object lives: its poll may come too late. */
static __always_inline u64 definition_flags(const struct code_record *record)
{
	u32 cut = is_cut(&record->qualname) || is_cut(&record->filename) ||
		   record->line_table_captured < record->line_table_size;

	return cut ? BPF_RB_FORCE_WAKEUP : ring_flags();
}

/* Sends the definition of the code object in `code_block`: 1 it is whole, 0 a name could not be read and it is to be sent
 * again, or CODE_LOST when the ring is full. */
__noinline s64 define_code(u64 address, u32 id)
{
	struct scratch *s = find_scratch();
	u32 zero = 0, size;
	struct code_record *record = bpf_map_lookup_elem(&code_records, &zero);
	const struct python_layout *layout;
	u64 filename, name, flags;

	if (!s || !record)
		return CODE_LOST;
	layout = &s->process.layout;
	filename = block_u64(s->code_block, layout->code_filename, CODE_BLOCK_BYTES);
	name = block_u64(s->code_block, layout->code_name, CODE_BLOCK_BYTES);
	record->header.kind = RECORD_CODE;
	record->id = id;
	record->epoch = s->process.epoch;
	record->tgid = s->stack.sample.tgid;
	record->address = address;
	record->line_table_kind = layout->line_table_kind;
	record->first_line = block_u64(s->code_block, layout->code_first_line, CODE_BLOCK_BYTES);
	/* From 3.12 a class call is run by static code whose name stands for its file, too. */
	record->flags = record->first_line == 0 && filename == name ? CODE_SHIM : 0;
	record->class_address = 0;
	record->class_name[0] = 0;
	if (layout->flags & LAYOUT_CALL_PER_FRAME)
		capture_class(s, record);
	capture_text(&record->qualname, record->qualname_bytes,
		     block_u64(s->code_block, layout->code_qualname, CODE_BLOCK_BYTES), layout);
	capture_text(&record->filename, record->filename_bytes, filename, layout);
	capture_line_table(record, block_u64(s->code_block, layout->code_line_table, CODE_BLOCK_BYTES), layout);
	flags = definition_flags(record);
	size = record->line_table_captured;
	/* As in send_capture_part: the verifier of 5.10 has to see the bound of the very number that is passed on. */
	barrier_var(size);
	if (size > MAX_LINE_TABLE_BYTES)
		size = MAX_LINE_TABLE_BYTES;
	size += __builtin_offsetof(struct code_record, line_table);
	record->header.size = size;
	if (bpf_ringbuf_output(&records, record, size, flags)) {
		__sync_fetch_and_add(&lost[LOST_CODES], 1);
		return CODE_LOST;
	}
	return record->qualname.kind && record->filename.kind;
}

/* What tells the code object in `code_block` from another one at the same address. */
static __always_inline void read_identity(struct scratch *s, struct code_identity *identity)
{
	const struct python_layout *layout = &s->process.layout;
	u64 head[3] = {};

	identity->qualname = block_u64(s->code_block, layout->code_qualname, CODE_BLOCK_BYTES);
	identity->filename = block_u64(s->code_block, layout->code_filename, CODE_BLOCK_BYTES);
	identity->line_table = block_u64(s->code_block, layout->code_line_table, CODE_BLOCK_BYTES);
	identity->first_line = block_u64(s->code_block, layout->code_first_line, CODE_BLOCK_BYTES);
	if (layout->code_version) {
		identity->version = block_u64(s->code_block, layout->code_version, CODE_BLOCK_BYTES);
		return;
	}
	/* To 3.11. What cannot be read is zero and tells nothing. A str begins with length, hash (-1 unless interned) and state;
	 * the byte string of 2.7 with length and hash. */
	if (!read_user(head, sizeof(head), identity->qualname + layout->text_length)) {
		int bytes = layout->flags & LAYOUT_BYTE_STRINGS;
		u64 data = identity->qualname +
			   (bytes || head[2] & 1 << 6 ? layout->text_ascii_data : layout->text_compact_data);
		u64 size = head[0] * (bytes ? 1 : (head[2] >> 2) & 7);

		identity->contents[0] = head[0];
		identity->contents[1] = head[1];
		/* The end: names of one function made again differ there, and what is behind a short name is not its own. */
		if (size > CODE_IDENTITY_NAME_BYTES) {
			data += size - CODE_IDENTITY_NAME_BYTES;
			size = CODE_IDENTITY_NAME_BYTES;
		}
		read_user(&identity->contents[2], size, data);
	}
	/* bytes: ob_size, ob_shash, the first bytes, and nothing behind them: that is another object's, and changes. */
	if (!read_user(&identity->contents[10], 2 * sizeof(u64), identity->line_table + layout->bytes_size)) {
		u64 size = identity->contents[10];

		if (size > 4 * sizeof(u64))
			size = 4 * sizeof(u64);
		read_user(&identity->contents[12], size, identity->line_table + layout->bytes_data);
	}
}

static __always_inline int is_same_code(const struct code_identity *left, const struct code_identity *right)
{
	u64 difference = (left->qualname ^ right->qualname) | (left->filename ^ right->filename) |
			 (left->line_table ^ right->line_table) | (u32)(left->first_line ^ right->first_line) |
			 (left->version ^ right->version);

	for (int i = 0; i < CODE_IDENTITY_WORDS; i++)
		difference |= left->contents[i] ^ right->contents[i];
	return !difference;
}

/* The id of the code object in `code_block`, which is sent to user space if it is new; or a code_failure. */
static __always_inline s64 find_identity(struct scratch *s, u64 address)
{
	struct code_identity *known, *identity = &s->identity;
	struct code_key key = {};
	s64 defined;

	__builtin_memset(identity, 0, sizeof(*identity));
	read_identity(s, identity);
	key.address = address;
	key.epoch = s->process.epoch;
	known = bpf_map_lookup_elem(&codes, &key);
	if (known && is_same_code(known, identity))
		return known->id;
	if (s->definitions >= MAX_DEFINITIONS_PER_SAMPLE)
		return CODE_LOST;
	s->definitions++;
	identity->id = new_code_id();
	defined = define_code(address, identity->id);
	if (defined < 0)
		return defined;
	if (defined)
		bpf_map_update_elem(&codes, &key, identity, BPF_ANY);
	return identity->id;
}

static __always_inline struct met_code *place_of_met_code(struct scratch *s, u64 address)
{
	return &s->met_codes[(address >> 4 ^ address >> 10) & (MET_CODES - 1)];
}

/* The id of the code object at `address`, or a code_failure; what else is needed of it is in `code`. */
__noinline s64 find_code(u64 address)
{
	struct scratch *s = find_scratch();
	const struct python_layout *layout;
	u32 size;
	s64 id;

	if (!s)
		return CODE_UNREADABLE;
	layout = &s->process.layout;
	size = layout->code_size;
	if (size > CODE_BLOCK_BYTES)
		size = CODE_BLOCK_BYTES;
	if (!address || (address & 7) || read_user(s->code_block, size, address))
		return CODE_UNREADABLE;
	if (block_u64(s->code_block, layout->object_type, CODE_BLOCK_BYTES) != s->process.code_type)
		return CODE_NOT_CODE;
	id = find_identity(s, address);
	if (id < 0)
		return id;
	s->code.serial = s->serial;
	s->code.address = address;
	s->code.id = id;
	s->code.flags = block_u64(s->code_block, layout->code_flags, CODE_BLOCK_BYTES);
	s->code.copies = block_u64(s->code_block, layout->code_copies, CODE_BLOCK_BYTES);
	*place_of_met_code(s, address) = s->code;
	return id;
}

/* As find_code, which is only asked for what this sample has not met. */
static __always_inline s64 meet_code(struct scratch *s, u64 address)
{
	struct met_code *met = place_of_met_code(s, address);

	if (met->address != address || met->serial != s->serial)
		return find_code(address);
	s->code = *met;
	return met->id;
}

#endif
