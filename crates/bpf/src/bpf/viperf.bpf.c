// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
//
// viperf's programs: one that takes a sample, four that follow the life of processes.
#include "clock.h"
#include "maps.h"
#include "native_walk.h"
#include "python_walk.h"
#include "stack_cache.h"
#include "gil.h"
#include "targets.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The user registers of the interrupted thread, whether it ran in user space or in the kernel. */
static __always_inline int read_registers(struct scratch *s, struct task_struct *task)
{
	return bpf_probe_read_kernel(&s->registers, sizeof(s->registers), find_user_registers(task));
}

/* Half way through execve the old program's memory is gone and the new one's is not in use: there is no user stack. */
static __always_inline int has_lost_its_memory(struct scratch *s, struct task_struct *task)
{
	return (s->native.end_reason == REASON_NATIVE_UNREADABLE || s->native.end_reason == REASON_NATIVE_NO_MAPPING) &&
	       s->native.frames <= 1 && bpf_core_field_exists(task->in_execve) && BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
}

/* The walk met an address in no known mapping, or none is known: user space can walk on once it has read them. Or it
 * could not get through a place whose row only its instructions can tell, at which nobody has looked yet. */
static __always_inline int is_deferred(struct scratch *s)
{
	if (s->native.awaits_more && (s->native.end_reason || s->native.has_gap))
		return 1;
	return configuration.native && (s->native.awaits_rows || !(s->process.flags & PROCESS_NEVER_DEFER)) &&
	       (s->native.end_reason == REASON_NATIVE_NO_MAPPING || s->native.end_reason == REASON_PROCESS_NOT_READ);
}

/* Above where the first thread's stack began lie the program's arguments; the loader may move it up by a few words. */
#define ABOVE_START_OF_STACK 256

/* How much of the stack there is from `start` on, at most. */
static __always_inline u32 find_stack_size(struct scratch *s, u64 start)
{
	u64 end = BPF_CORE_READ(current_task(), mm, start_stack) + ABOVE_START_OF_STACK;
	u64 size = CAPTURE_PARTS * CAPTURE_BYTES;

	if (end > start && end - start < size)
		size = end - start;
	/* No stack goes beyond what libc keeps of its thread: the other threads have it at the upper end of theirs. */
	if (s->fsbase > start && s->fsbase - start < size)
		size = s->fsbase - start;
	return size;
}

/* Copies and sends what lies from `offset` on, where the whole stack has `limit` bytes; 1: there is no room to spare. */
__noinline int send_capture_part(u32 offset, u32 limit)
{
	u32 zero = 0;
	u64 start, size;
	struct capture_record *capture = bpf_map_lookup_elem(&captures, &zero);

	if (!capture)
		return 1;
	/* Samples need the ring more than what is far from the top of one. */
	if (offset && bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) > bpf_ringbuf_query(&records, BPF_RB_RING_SIZE) / 2)
		return 1;
	start = capture->sp - capture->below + offset;
	capture->offset = offset;
	capture->captured = 0;
	/* A block with one page that is not there fails whole: page by page, the first one only to its end. */
	for (int page = 0; page < CAPTURE_BYTES / 4096; page++) {
		u32 captured = capture->captured;
		u32 size = 4096 - ((start + captured) & 4095);

		if (offset + captured >= limit || captured > CAPTURE_BYTES - 4096 || size > 4096 ||
		    read_user(capture->stack + captured, size, start + captured))
			break;
		capture->captured = captured + size;
	}
	size = capture->captured;
	/* What is above is not sent: the ring has to hold the captures of a process that has just started. */
	if (size > limit - offset)
		size = limit - offset;
	/* Verifiers up to 6.1 forget the bound of a number that has been on the program's stack, and the compiler, which does not,
	 * could leave this comparison away. */
	barrier_var(size);
	if (size > CAPTURE_BYTES)
		size = CAPTURE_BYTES;
	capture->captured = size;
	if (offset && !size)
		return 0;
	size += __builtin_offsetof(struct capture_record, stack);
	capture->header.size = size;
	/* User space is waited for: the next samples of this process lack the same mapping. */
	return bpf_ringbuf_output(&records, capture, size, offset ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP) != 0;
}

/* Registers and stack as the walk met them. */
static __always_inline void send_capture(struct scratch *s)
{
	u32 zero = 0, limit, offset;
	struct capture_record *capture = bpf_map_lookup_elem(&captures, &zero);
	u64 sp = s->registers.by_position[SAVED_SP], start = sp - RED_ZONE_BYTES;

	if (!capture)
		return;
	capture->header.kind = RECORD_CAPTURE;
	capture->tgid = s->stack.sample.tgid;
	capture->cpu = s->stack.sample.cpu;
	/* The page below may not be there. */
	if ((sp & 4095) < RED_ZONE_BYTES && read_user(capture->stack, sizeof(u64), start))
		start = sp;
	limit = find_stack_size(s, start);
	capture->below = sp - start;
	capture->ip = s->registers.by_position[SAVED_IP];
	capture->sp = sp;
	capture->bp = s->registers.by_position[SAVED_BP];
	for (int i = 0; i < 16; i++) {
		u32 position = position_of_dwarf_register[i];

		if (position < 21)
			capture->registers[i] = s->registers.by_position[position];
	}
	/* Each part but the first begins with a page. */
	offset = CAPTURE_BYTES - (start & 4095);
	for (int part = 1; part < CAPTURE_PARTS; part++) {
		if (offset >= limit || send_capture_part(offset, limit))
			break;
		offset += CAPTURE_BYTES;
	}
	send_capture_part(0, limit);
}

SEC(SAMPLE_SECTION)
int on_cpu_sample(void *context)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tgid = pid_tgid >> 32;
	struct task_struct *task = current_task();
	struct process *process;
	struct scratch *s;
	int has_memory;
	long size;

	if (!is_due(context))
		return 0;
	process = find_target(task, tgid);
	if (!process)
		return 0;
	s = find_scratch();
	if (!s)
		return 0;
	s->process = *process;
	s->stack.sample.time_ns = bpf_ktime_get_ns();
	s->stack.sample.tgid = tgid;
	s->stack.sample.tid = pid_tgid;
	s->stack.sample.cpu = bpf_get_smp_processor_id();
	s->stack.sample.epoch = process->epoch;
	bpf_get_current_comm(s->stack.sample.thread_name, sizeof(s->stack.sample.thread_name));
	s->fsbase = BPF_CORE_READ(task, thread.fsbase);
	s->stack.sample.thread_pointer = s->fsbase;
	__builtin_memset(&s->native, 0, sizeof(s->native));
	__builtin_memset(&s->python, 0, sizeof(s->python));
	size = configuration.kernel ? take_kernel_stack(context, s, task) : 0;
	s->stack.kernel_count = size > 0 ? size / sizeof(u64) : 0;
	s->stack.native_count = 0;
	s->stack.python_count = 0;
	s->borrowed = BPF_CORE_READ(task, vfork_done) ? SAMPLE_BORROWED_MEMORY : 0;
	/* Threads of the kernel and processes that end have none, and no user stack; user space lets the mappings of those that
	 * have ended go. */
	has_memory = BPF_CORE_READ(task, mm) != 0 && !process->last_thread;
	prepare_python(s);
	if (has_memory && read_registers(s, task))
		end_native(s, REASON_NATIVE_UNREADABLE);
	else if (has_memory)
		walk_native(s);
	if (!has_memory || has_lost_its_memory(s, task)) {
		s->native.frames = 0;
		s->native.end_reason = 0;
		s->process.flags &= ~PROCESS_PYTHON;
	}
	/* A child on a new stack, behind the system call that has made it, of which a row speaks: nothing has called. */
	if (s->borrowed && s->native.end_reason == REASON_NATIVE_NO_MAPPING && s->native.frames == 2) {
		s->native.frames = 1;
		s->native.end_reason = 0;
	}
	close_native(s);
	s->deferred = is_deferred(s);
	s->stack.sample.flags = s->borrowed | (s->deferred ? SAMPLE_DEFERRED : 0);
	if (s->process.flags & PROCESS_PYTHON) {
		s->stack.sample.flags |= SAMPLE_PYTHON;
		if (s->process.layout.flags & LAYOUT_CALL_PER_FRAME)
			s->stack.sample.flags |= SAMPLE_CALL_PER_FRAME;
	}
	s->definitions = 0;
	walk_python(s);
	s->stack.native_count = s->native.words;
	s->stack.native_skipped = s->native.skipped;
	close_python(s);
	if (configuration.gil)
		s->stack.sample.flags |= read_gil();
	if (!s->deferred)
		send_sample(s);
	else if (send_whole(s))
		return 0;
	if (s->deferred || configuration.capture)
		send_capture(s);
	return 0;
}

/* A child has its parent's mappings and layout from its first instruction. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	u32 parent_tgid = parent->tgid, child_tgid = child->tgid;
	struct process *known;
	struct process copy;

	if (parent_tgid == child_tgid)
		return 0;
	known = bpf_map_lookup_elem(&processes, &parent_tgid);
	if (!known || !(configuration.follow_children || (known->flags & PROCESS_STARTS_TARGET))) {
		/* The number has a new owner before the old one was let go. */
		known = bpf_map_lookup_elem(&processes, &child_tgid);
		if (known && known->last_thread)
			bpf_map_delete_elem(&processes, &child_tgid);
		return 0;
	}
	copy = *known;
	copy.epoch = new_epoch();
	copy.last_thread = 0;
	if (bpf_map_update_elem(&processes, &child_tgid, &copy, BPF_ANY))
		__sync_fetch_and_add(&lost[LOST_PROCESS_EVENTS], 1);
	else
		report_process(RECORD_FORK, child_tgid, parent_tgid, copy.epoch);
	return 0;
}

/* Another program in the same pid: nothing that was known holds any longer. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task)
{
	u32 tgid = task->tgid;
	struct process *known = bpf_map_lookup_elem(&processes, &tgid);
	struct process fresh = {};

	if (known) {
		fresh.flags = known->flags & (PROCESS_TARGET | PROCESS_STARTS_TARGET) ? PROCESS_TARGET : 0;
		fresh.epoch = new_epoch();
		if (bpf_map_update_elem(&processes, &tgid, &fresh, BPF_ANY))
			__sync_fetch_and_add(&lost[LOST_PROCESS_EVENTS], 1);
	}
	if (known || configuration.report_every_exec)
		report_process(RECORD_EXEC, tgid, 0, fresh.epoch);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	u32 tgid = task->tgid;
	struct process *known;

	/* The last thread: the count has been lowered before this tracepoint (kernel/exit.c, do_exit). */
	/* Not followed as a pointer that the verifier knows: it would look the names of its safe fields up among all types. */
	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	known = bpf_map_lookup_elem(&processes, &tgid);
	if (!known)
		return 0;
	/* From Linux 6.16 on its memory is given back after this, which takes a short process up to a tenth of its time
	 * (https://github.com/torvalds/linux/blob/v6.16/kernel/exit.c, do_exit: exit_mm). */
	known->last_thread = task->pid;
	report_process(RECORD_EXIT, tgid, 0, 0);
	return 0;
}

/* Called for each thread when no CPU has to do with it any longer; by then its number may be another's. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(process_free, struct task_struct *task)
{
	u32 tgid = task->tgid, thread = task->pid;
	struct process *ended = bpf_map_lookup_elem(&processes, &tgid);

	if (ended && ended->last_thread == thread)
		bpf_map_delete_elem(&processes, &tgid);
	return 0;
}
