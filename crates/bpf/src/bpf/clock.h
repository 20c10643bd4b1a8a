/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * What makes the program run that takes a sample, and the kernel's stack at that instant. The programs are compiled for each
 * of the two clocks, and user space loads those of the one that is wanted:
 *
 * - an event of perf on each CPU, whose interrupts come as often as samples are wanted;
 * - with CLOCK_TICK the kernel's own timer tick, which comes anyway: no interrupt more, and none on a CPU that sleeps.
 */
#ifndef VIPERF_CLOCK_H
#define VIPERF_CLOCK_H

#include "maps.h"

#ifdef CLOCK_TICK

/* Not irq_vectors:local_timer_entry, which is before all timers of the interrupt and cannot be told whose it is: those of
 * programs come just before these run, and would be no clock. The tick is one of the timers that run out here. */
#define SAMPLE_SECTION "raw_tp/hrtimer_expire_entry"

/* Of 2^32 ticks so many are sampled, drawn by lot: work that begins with a tick is met as often as any other. User space
 * writes it. */
u64 ticks_sampled SEC(".data.clock") = 0;

/* The function that the tick's timer calls; learnt by its name, for its address is not to be had otherwise. */
u64 tick_function = 0;

/* How many frames the interrupt and this program have above the ones that were interrupted, and the last of them: learnt where
 * there are no others. */
u32 own_frames = 0;
u64 last_own_frame = 0;

enum {
	MOST_OWN_FRAMES = 32,
	FUNCTION_NAME_BYTES = 24,
};

struct bpf_raw_tracepoint_args {
	__u64 args[1];
};

/* Each with zeros up to its end: Linux 6.1 does not see that a comparison ends with the shorter one. Before Linux 6.8 it has the
 * second name: <https://github.com/torvalds/linux/commit/dba428a67b40>. */
static const char tick_names[][FUNCTION_NAME_BYTES] = {"tick_nohz_handler", "tick_sched_timer"};

static __always_inline int is_name(const char *name, const char *wanted)
{
	for (int i = 0; i < FUNCTION_NAME_BYTES; i++) {
		if (name[i] != wanted[i])
			return 0;
		if (!name[i])
			return 1;
	}
	return 0;
}

/* Until the first tick has come, the names of all functions are looked at. */
static __noinline int is_function_of_tick(u64 function)
{
	char name[FUNCTION_NAME_BYTES] = {};

	BPF_SNPRINTF(name, sizeof(name), "%ps", function);
	if (!is_name(name, tick_names[0]) && !is_name(name, tick_names[1]))
		return 0;
	tick_function = function;
	return 1;
}

static __always_inline int is_due(void *context)
{
	struct hrtimer *timer = (void *)((struct bpf_raw_tracepoint_args *)context)->args[0];
	u64 function = (u64)BPF_CORE_READ(timer, function);

	if (tick_function ? function != tick_function : !is_function_of_tick(function))
		return 0;
	return bpf_get_prandom_u32() < ticks_sampled;
}

/* Interrupted in user space there are no frames but our own. In a system call there are more: its number is above zero. */
static __always_inline int learn_own_frames(struct scratch *s, struct task_struct *task, long size)
{
	u64 call, count = size / sizeof(u64);

	if (size <= 0 || count > MOST_OWN_FRAMES || (own_frames && count >= own_frames))
		return 0;
	if (bpf_probe_read_kernel(&call, sizeof(call), (u64 *)find_user_registers(task) + SAVED_CALL) || (s64)call >= 0)
		return 0;
	own_frames = count;
	last_own_frame = s->stack.words[MASKED(count - 1, MOST_OWN_FRAMES - 1)];
	return 1;
}

/* The kernel's stack as it was interrupted, in bytes; none if user space was. */
static __always_inline long take_kernel_stack(void *context, struct scratch *s, struct task_struct *task)
{
	const u32 all = MAX_KERNEL_FRAMES * sizeof(u64);
	long size;

	size = bpf_get_stack(context, s->stack.words, all, own_frames ? own_frames - 1 : 0);
	if (own_frames && size > 0 && s->stack.words[0] == last_own_frame)
		return size > (long)sizeof(u64) ? bpf_get_stack(context, s->stack.words, all, own_frames) : 0;
	size = bpf_get_stack(context, s->stack.words, all, 0);
	if (learn_own_frames(s, task, size) || !own_frames)
		return 0;
	for (u32 i = 0; i < MOST_OWN_FRAMES; i++)
		if (s->stack.words[i] == last_own_frame)
			return bpf_get_stack(context, s->stack.words, all, i + 1);
	return 0;
}

#else

#define SAMPLE_SECTION "perf_event"

static __always_inline int is_due(void *context)
{
	return 1;
}

static __always_inline long take_kernel_stack(void *context, struct scratch *s, struct task_struct *task)
{
	return bpf_get_stack(context, s->stack.words, MAX_KERNEL_FRAMES * sizeof(u64), 0);
}

#endif

#endif
