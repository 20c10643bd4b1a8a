/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Reading CPython's frames. From 3.11 on those of one thread lie behind each other in a few large blocks of memory, the callers
 * below the called (Python/pystate.c, _PyThreadState_PushFrame); so a deep stack is read by windows of some 15 frames, for one
 * read costs much more than the bytes that it copies.
 */
#ifndef VIPERF_PYTHON_FRAMES_H
#define VIPERF_PYTHON_FRAMES_H

#include "maps.h"

enum {
	/* Frames that lie close to each other before more than one is read at once: most stacks end before. */
	FRAMES_BEFORE_WINDOW = 16,
};

static __always_inline const u8 *frame_in_hand(struct scratch *s)
{
	return &s->frames[s->python.frame_place & (FRAME_WINDOW_BYTES - 1)];
}

static __always_inline u64 frame_u64(struct scratch *s, u32 offset)
{
	/* Masked for the verifier; layouts are checked in user space. */
	return *(const u64 *)(frame_in_hand(s) + (offset & (FRAME_BLOCK_BYTES - 1)));
}

static __always_inline u8 frame_u8(struct scratch *s, u32 offset)
{
	return frame_in_hand(s)[offset & (FRAME_BLOCK_BYTES - 1)];
}

/* Reads `size` bytes of the frame at `python.frame`, which is in hand then; or takes them from the window. 0, or it could not be
 * read. */
static __always_inline int read_frame(struct scratch *s, u32 size)
{
	u64 frame = s->python.frame, place = frame - s->python.window;

	if (s->python.window && place <= FRAME_WINDOW_BYTES - FRAME_BLOCK_BYTES) {
		s->python.frame_place = place;
		s->python.frame_before = frame;
		return 0;
	}
	s->python.frames_in_row = s->python.frame_before - frame < FRAME_WINDOW_BYTES / 2 ? s->python.frames_in_row + 1 : 0;
	s->python.frame_before = frame;
	s->python.window = 0;
	if (s->python.frames_in_row >= FRAMES_BEFORE_WINDOW) {
		u64 start = frame + FRAME_BLOCK_BYTES - FRAME_WINDOW_BYTES;

		if (!read_user(s->frames, FRAME_WINDOW_BYTES, start)) {
			s->python.window = start;
			s->python.frame_place = FRAME_WINDOW_BYTES - FRAME_BLOCK_BYTES;
			return 0;
		}
	}
	s->python.frame_place = 0;
	return read_user(s->frames, size, frame);
}

#endif
