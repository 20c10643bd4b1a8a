// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
//
// viperf's programs: one that takes a sample, three that follow the life of processes.
#include "maps.h"
#include "native_walk.h"
#include "python_walk.h"
#include "stack_cache.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The user registers of the interrupted thread, whether it ran in user space or in the kernel. */
static __always_inline int read_registers(struct scratch *s, struct task_struct *task)
{
	struct pt_regs *registers = (void *)bpf_task_pt_regs(task);

	return bpf_probe_read_kernel(&s->registers, sizeof(s->registers), registers);
}

static __always_inline void walk_native(struct scratch *s)
{
	s->native.ip = s->registers.by_position[SAVED_IP];
	s->native.sp = s->registers.by_position[SAVED_SP];
	s->native.bp = s->registers.by_position[SAVED_BP];
	s->native.innermost = 1;
	s->native.exact_ip = 1;
	s->native.bp_known = 1;
	if (!(s->process.flags & PROCESS_READ)) {
		end_native(s, REASON_PROCESS_NOT_READ);
		return;
	}
	if (!configuration.native)
		return;
	for (int i = 0; i <= MAX_NATIVE_FRAMES / NATIVE_STEPS_AT_ONCE; i++)
		if (walk_native_steps())
			return;
	/* Guesses that were taken back have used up the steps. */
	end_native(s, REASON_NATIVE_TOO_DEEP);
}

/* Half way through execve the old program's memory is gone and the new one's is not in use: there is no user stack. */
static __always_inline int has_lost_its_memory(struct scratch *s, struct task_struct *task)
{
	return (s->native.end_reason == REASON_NATIVE_UNREADABLE || s->native.end_reason == REASON_NATIVE_NO_MAPPING) &&
	       s->native.frames <= 1 && bpf_core_field_exists(task->in_execve) && BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
}

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

/* The walk met an address in no known mapping, or none is known: user space can walk on once it has read them. */
static __always_inline int is_deferred(struct scratch *s)
{
	return configuration.native && !(s->process.flags & PROCESS_NEVER_DEFER) &&
	       (s->native.end_reason == REASON_NATIVE_NO_MAPPING || s->native.end_reason == REASON_PROCESS_NOT_READ);
}

/* Registers and stack as the walk met them. */
static __always_inline void send_capture(struct scratch *s)
{
	u32 zero = 0, size;
	struct capture_record *capture = bpf_map_lookup_elem(&captures, &zero);
	u64 sp = s->registers.by_position[SAVED_SP];

	if (!capture)
		return;
	capture->header.kind = RECORD_CAPTURE;
	capture->tgid = s->stack.sample.tgid;
	capture->cpu = s->stack.sample.cpu;
	capture->captured = 0;
	capture->reserved = 0;
	capture->ip = s->registers.by_position[SAVED_IP];
	capture->sp = sp;
	capture->bp = s->registers.by_position[SAVED_BP];
	for (int i = 0; i < 16; i++) {
		u32 position = position_of_dwarf_register[i];

		if (position < 21)
			capture->registers[i] = s->registers.by_position[position];
	}
	/* A block with one page that is not there fails whole: page by page, the first one only to its end. */
	for (int page = 0; page < CAPTURE_BYTES / 4096; page++) {
		u32 captured = capture->captured;
		u32 size = 4096 - ((sp + captured) & 4095);

		if (captured > CAPTURE_BYTES - 4096 || size > 4096 || read_user(capture->stack + captured, size, sp + captured))
			break;
		capture->captured = captured + size;
	}
	size = capture->captured;
	if (size > CAPTURE_BYTES)
		size = CAPTURE_BYTES;
	size += __builtin_offsetof(struct capture_record, stack);
	capture->header.size = size;
	/* User space is waited for: the next samples of this process lack the same mapping. */
	bpf_ringbuf_output(&records, capture, size, BPF_RB_FORCE_WAKEUP);
}

SEC("perf_event")
int on_cpu_sample(struct bpf_perf_event_data *context)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tgid = pid_tgid >> 32;
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);
	struct scratch *s;
	long size;

	if (!process || !(process->flags & PROCESS_TARGET))
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
	size = configuration.kernel ? bpf_get_stack(context, s->stack.words, MAX_KERNEL_FRAMES * sizeof(u64), 0) : 0;
	s->stack.kernel_count = size > 0 ? size / sizeof(u64) : 0;
	s->stack.native_count = 0;
	s->stack.python_count = 0;
	s->borrowed = 0;
	prepare_python(s);
	if (read_registers(s, task))
		end_native(s, REASON_NATIVE_UNREADABLE);
	else
		walk_native(s);
	if (has_lost_its_memory(s, task)) {
		s->native.frames = 0;
		s->native.end_reason = 0;
		s->process.flags &= ~PROCESS_PYTHON;
	}
	if (BPF_CORE_READ(task, vfork_done)) {
		s->borrowed = SAMPLE_BORROWED_MEMORY;
		/* A child on a new stack, behind the system call that has made it: nothing has called. */
		if (s->native.end_reason == REASON_NATIVE_NO_MAPPING && s->native.frames == 2) {
			s->native.frames = 1;
			s->native.end_reason = 0;
		}
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
	if (!known || !(configuration.follow_children || (known->flags & PROCESS_STARTS_TARGET)))
		return 0;
	copy = *known;
	copy.epoch = __sync_fetch_and_add(&next_epoch, 1);
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
		fresh.epoch = __sync_fetch_and_add(&next_epoch, 1);
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

	/* The last thread: the count has been lowered before this tracepoint (kernel/exit.c, do_exit). */
	if (task->signal->live.counter != 0 || bpf_map_delete_elem(&processes, &tgid))
		return 0;
	report_process(RECORD_EXIT, tgid, 0, 0);
	return 0;
}
