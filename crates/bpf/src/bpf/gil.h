/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Whether the thread in hand holds the GIL. While it is looked at it does not run, so it can neither take nor give it.
 */
#ifndef VIPERF_GIL_H
#define VIPERF_GIL_H

#include "maps.h"

/* User space writes, for a dump. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCESSES);
	__type(key, u32);
	__type(value, struct gil_places);
} gils SEC(".maps");

/* By one of the thread's states: SAMPLE_GIL_KNOWN and so on. */
static __always_inline u32 gil_of_state(struct scratch *s, const struct gil_places *places, u64 thread_state)
{
	u64 interpreter = 0, gil = places->gil, holder = 0;
	u32 locked = 0, attached = 0;

	if (places->thread_attached) {
		if (read_user(&attached, sizeof(attached), thread_state + places->thread_attached))
			return 0;
		return SAMPLE_ATTACHMENT_KNOWN | (attached == 1 ? SAMPLE_IS_ATTACHED : 0);
	}
	if (places->current_thread_state) {
		if (read_user(&holder, sizeof(holder), places->current_thread_state))
			return 0;
		return SAMPLE_GIL_KNOWN | (holder == thread_state ? SAMPLE_HOLDS_GIL : 0);
	}
	if (places->interpreter_gil &&
	    (read_user(&interpreter, sizeof(interpreter), thread_state + s->process.layout.thread_interpreter) ||
	     read_user(&gil, sizeof(gil), interpreter + places->interpreter_gil)))
		return 0;
	if (!gil || read_user(&holder, sizeof(holder), gil + places->gil_holder) ||
	    read_user(&locked, sizeof(locked), gil + places->gil_locked))
		return 0;
	if (!s->gil)
		s->gil = gil;
	return SAMPLE_GIL_KNOWN | (locked == 1 && holder == thread_state ? SAMPLE_HOLDS_GIL : 0);
}

/* SAMPLE_GIL_KNOWN, SAMPLE_HOLDS_GIL and so on, by all of the thread's states; `gil` becomes the first one's. */
__noinline u32 read_gil(void)
{
	struct scratch *s = find_scratch();
	struct gil_places *places;
	u32 flags = 0, tgid;

	if (!s)
		return 0;
	s->gil = 0;
	tgid = s->stack.sample.tgid;
	places = bpf_map_lookup_elem(&gils, &tgid);
	if (!places || places->epoch != s->process.epoch)
		return 0;
	for (u32 i = 0; i < MAX_OWN_THREAD_STATES && i < s->thread_states.count; i++)
		flags |= gil_of_state(s, places, s->thread_states.found[i & (MAX_OWN_THREAD_STATES - 1)]);
	return flags;
}

#endif
