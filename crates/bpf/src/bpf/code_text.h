/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Strings of a code object, copied at first sight.
 */
#ifndef VIPERF_CODE_TEXT_H
#define VIPERF_CODE_TEXT_H

#include "maps.h"

static __always_inline u64 block_u64(const u8 *block, u32 offset, u32 size)
{
	/* Masked for the verifier; layouts are checked in user space. Blocks are 8 bytes longer than `size`. */
	return *(const u64 *)(block + (offset & (size - 1)));
}

/* Copies a string; the header tells how much of it. A failure leaves kind 0 and the address, for user space to try. */
static __always_inline void capture_text(struct text_header *header, u8 *bytes, u64 address, const struct python_layout *layout)
{
	u64 length = 0;
	u32 state = 0, size;
	u8 kind, ascii, compact;

	header->address = address;
	header->kind = 0;
	header->captured = 0;
	if (read_user(&length, sizeof(length), address + layout->text_length) ||
	    (layout->text_state && read_user(&state, sizeof(state), address + layout->text_state)))
		return;
	state >>= layout->text_kind_shift & 31;
	kind = state & 7;
	/* The characters follow the header: this always holds for names made by the compiler. */
	compact = (state >> 3) & 1;
	ascii = (state >> 4) & 1;
	if (layout->flags & LAYOUT_BYTE_STRINGS)
		kind = compact = ascii = 1;
	if (!compact || (kind != 1 && kind != 2 && kind != 4) || length > (1u << 30))
		return;
	size = length > MAX_TEXT_BYTES / kind ? MAX_TEXT_BYTES : length * kind;
	if (size > MAX_TEXT_BYTES)
		size = MAX_TEXT_BYTES;
	if (read_user(bytes, size, address + (ascii ? layout->text_ascii_data : layout->text_compact_data)))
		return;
	header->length = length;
	header->kind = kind;
	header->ascii = ascii;
	header->captured = size;
}

#endif
