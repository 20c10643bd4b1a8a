/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Whether the interrupted thread belongs to a target.
 */
#ifndef VIPERF_TARGETS_H
#define VIPERF_TARGETS_H

#include "maps.h"

/* From include/linux/sched.h, where it has been this number since there is a git history. */
#define TASK_IS_EXITING 0x4

static __always_inline void report_process(u32 kind, u32 tgid, u32 parent, u32 epoch)
{
	struct process_record record = {
		.header = { .kind = kind, .size = sizeof(record) },
		.time_ns = bpf_ktime_get_ns(),
		.tgid = tgid,
		.parent_tgid = parent,
		.epoch = epoch,
	};

	if (bpf_ringbuf_output(&records, &record, sizeof(record), BPF_RB_FORCE_WAKEUP))
		__sync_fetch_and_add(&lost[LOST_PROCESS_EVENTS], 1);
}

/* The name of the process is that of its first thread. */
static __always_inline int has_wanted_name(struct task_struct *task)
{
	char name[THREAD_NAME_BYTES] = {};
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	bpf_core_read_str(name, sizeof(name), &leader->comm);
	/* Byte by byte: a copy of what is volatile would be one of the zeros that the compiler knows. */
	for (int i = 0; i < THREAD_NAME_BYTES; i++)
		if (name[i] != configuration.name[i])
			return 0;
	return 1;
}

/* A process that was not known becomes a target with this sample, which user space finishes. One that ends would leave its
 * entry to the next owner of its number. */
static __always_inline struct process *adopt(struct task_struct *task, u32 tgid)
{
	struct scratch *s = find_scratch();
	u32 epoch;

	if (!s || !tgid || tgid == configuration.own_tgid || BPF_CORE_READ(task, flags) & TASK_IS_EXITING)
		return 0;
	/* Not on the stack, which is too small. */
	__builtin_memset(&s->process, 0, sizeof(s->process));
	epoch = new_epoch();
	s->process.flags = PROCESS_TARGET;
	s->process.epoch = epoch;
	/* It fails as well when another CPU was faster, which has reported it then. */
	if (!bpf_map_update_elem(&processes, &tgid, &s->process, BPF_NOEXIST))
		report_process(RECORD_ADOPTED, tgid, 0, epoch);
	return bpf_map_lookup_elem(&processes, &tgid);
}

/* What is no target costs one look-up, or the question whether it is in the control group. */
static __always_inline struct process *find_target(struct task_struct *task, u32 tgid)
{
	struct process *process;

	if (configuration.in_control_group && bpf_current_task_under_cgroup(&control_groups, 0) != 1)
		return 0;
	process = bpf_map_lookup_elem(&processes, &tgid);
	if (process ? !(process->flags & PROCESS_TARGET) : !configuration.adopt)
		return 0;
	if (configuration.has_name && !has_wanted_name(task))
		return 0;
	return process ? process : adopt(task, tgid);
}

#endif
