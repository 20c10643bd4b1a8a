/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Reads of a thread's memory that is not the current one's, for programs that may sleep: a page that is not there is brought.
 *
 * The helper wants a pointer to the task that the verifier trusts. The walks are global functions, which can have no such
 * argument, so the pointer waits in a map and is taken out for each read (two atomic exchanges, some nanoseconds against the
 * microsecond of the read).
 */
#ifndef VIPERF_OTHER_THREAD_H
#define VIPERF_OTHER_THREAD_H

extern struct task_struct *bpf_task_from_pid(s32 pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

struct thread_in_hand {
	struct task_struct __kptr *task;
};
/* One: user space runs one iterator at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct thread_in_hand);
} threads_in_hand SEC(".maps");

enum {
	/* The largest read: a line table. */
	FETCHED_BYTES = MAX_LINE_TABLE_BYTES,
};
/* A variable and not a map: a look-up that may fail at each read is a branch that the verifier follows. */
u8 fetched[FETCHED_BYTES] SEC(".data.fetched");

/* Takes the thread in hand whose number this is, or lays down the one that was: 0, or it has ended. */
static __always_inline int take_in_hand(s32 tid)
{
	u32 zero = 0;
	struct thread_in_hand *hand = bpf_map_lookup_elem(&threads_in_hand, &zero);
	struct task_struct *task, *before;

	if (!hand)
		return -1;
	task = tid ? bpf_task_from_pid(tid) : 0;
	if (tid && !task)
		return -1;
	before = bpf_kptr_xchg(&hand->task, task);
	if (before)
		bpf_task_release(before);
	return 0;
}

/* Reads into `fetched`, for `read_user` to copy: 0, or it failed and there are zeros. A global function, which the verifier looks
 * at once: with all of it at each read, loading took 0.9 s instead of 0.1. */
__noinline int fetch(u32 size, u64 address)
{
	u32 zero = 0;
	struct thread_in_hand *hand = bpf_map_lookup_elem(&threads_in_hand, &zero);
	struct task_struct *task, *before;
	int failed;

	if (!hand || size > FETCHED_BYTES)
		return -1;
	task = bpf_kptr_xchg(&hand->task, 0);
	if (!task) {
		/* Nothing is at address 0: zeros. */
		bpf_probe_read_kernel(fetched, size, 0);
		return -1;
	}
	failed = bpf_copy_from_user_task(fetched, size, (const void *)address, task, 0) != 0;
	before = bpf_kptr_xchg(&hand->task, task);
	if (before)
		bpf_task_release(before);
	return failed;
}

static __always_inline int read_user(void *to, u32 size, u64 address)
{
	int failed = fetch(size, address);

	bpf_probe_read_kernel(to, size, fetched);
	return failed;
}

/* As much as there is up to the end of the page, and of the next one if that is there. */
static __always_inline int read_user_string(char *to, u32 size, u64 address)
{
	u32 first = 4096 - (address & 4095);

	if (!read_user(to, size, address)) {
		to[size - 1] = 0;
		return 0;
	}
	if (first >= size)
		return -1;
	if (read_user(to, first, address))
		return -1;
	to[first] = 0;
	return 0;
}

#endif
