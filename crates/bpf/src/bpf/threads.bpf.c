// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
//
// Looks at threads that do not run: the same walks as those of a sample, over the memory of another thread. An object of its
// own, because it needs Linux 6.2; it shares the maps of the sampling programs that say what a process is.
#define VIPERF_OTHER_THREADS
#include "maps.h"
#include "native_walk.h"
#include "python_walk.h"
#include "stack_cache.h"
#include "gil.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct thread_record);
} thread_records SEC(".maps");

/* A thread that has not run between two calls gives the same number at both, and is not on a CPU at either. */
static __always_inline u64 count_switches(struct task_struct *task)
{
	return task->nvcsw + task->nivcsw;
}

static __always_inline void read_system_call(struct scratch *s, struct thread_record *record)
{
	s64 number = s->registers.by_position[SAVED_CALL];

	record->system_call = number >= 0 && number < (1 << 20) ? number : -1;
	/* rdi, rsi, rdx, r10, r8, r9: arch/x86/entry/entry_64.S, entry_SYSCALL_64. */
	record->arguments[0] = s->registers.by_position[14];
	record->arguments[1] = s->registers.by_position[13];
	record->arguments[2] = s->registers.by_position[12];
	record->arguments[3] = s->registers.by_position[7];
	record->arguments[4] = s->registers.by_position[9];
	record->arguments[5] = s->registers.by_position[8];
}

static __always_inline void prepare_record(struct scratch *s, struct thread_record *record, struct task_struct *task)
{
	__builtin_memset(record, 0, sizeof(*record));
	record->header.kind = RECORD_THREAD;
	record->header.size = sizeof(*record);
	record->tgid = task->tgid;
	record->tid = task->pid;
	record->epoch = s->process.epoch;
	record->state = task->__state;
	record->system_call = -1;
	record->switches = count_switches(task);
	bpf_probe_read_kernel(record->thread_name, sizeof(record->thread_name), task->comm);
}

static __always_inline void prepare_sample(struct scratch *s, struct task_struct *task)
{
	s->stack.sample.time_ns = bpf_ktime_get_ns();
	s->stack.sample.tgid = task->tgid;
	s->stack.sample.tid = task->pid;
	s->stack.sample.cpu = 0;
	s->stack.sample.slot = 0;
	s->stack.sample.epoch = s->process.epoch;
	bpf_probe_read_kernel(s->stack.sample.thread_name, sizeof(s->stack.sample.thread_name), task->comm);
	s->fsbase = BPF_CORE_READ(task, thread.fsbase);
	s->stack.sample.thread_pointer = s->fsbase;
	__builtin_memset(&s->native, 0, sizeof(s->native));
	__builtin_memset(&s->python, 0, sizeof(s->python));
	s->stack.native_count = 0;
	s->stack.python_count = 0;
	s->borrowed = 0;
	s->deferred = 0;
	s->definitions = 0;
}

/* Python's part of the walk, and what it says of the sample. */
static __always_inline void finish_walk(struct scratch *s)
{
	close_native(s);
	s->stack.sample.flags = SAMPLE_LOOKED_AT;
	if (s->process.flags & PROCESS_PYTHON) {
		s->stack.sample.flags |= SAMPLE_PYTHON;
		if (s->process.layout.flags & LAYOUT_CALL_PER_FRAME)
			s->stack.sample.flags |= SAMPLE_CALL_PER_FRAME;
	}
	walk_python(s);
	s->stack.native_count = s->native.words;
	s->stack.native_skipped = s->native.skipped;
	close_python(s);
}

static __always_inline void send_record(struct thread_record *record)
{
	if (bpf_ringbuf_output(&records, record, sizeof(*record), ring_flags()))
		__sync_fetch_and_add(&lost[LOST_SAMPLES], 1);
}

SEC("iter.s/task")
int look_at_thread(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	u32 zero = 0, tgid;
	struct thread_record *record = bpf_map_lookup_elem(&thread_records, &zero);
	struct process *process;
	struct pt_regs *registers;
	struct scratch *s;
	long size;

	if (!task || !record)
		return 0;
	tgid = task->tgid;
	process = bpf_map_lookup_elem(&processes, &tgid);
	if (!process || !(process->flags & PROCESS_TARGET))
		return 0;
	s = find_scratch();
	if (!s)
		return 0;
	s->process = *process;
	prepare_record(s, record, task);
	if (!task->mm)
		record->flags |= THREAD_ENDS;
	else if (task->on_cpu)
		record->flags |= THREAD_RUNS;
	if (record->flags || take_in_hand(task->pid)) {
		send_record(record);
		return 0;
	}
	prepare_sample(s, task);
	size = configuration.kernel ? bpf_get_task_stack(task, s->stack.words, MAX_KERNEL_FRAMES * sizeof(u64), 0) : 0;
	s->stack.kernel_count = size > 0 ? size / sizeof(u64) : 0;
	registers = (void *)bpf_task_pt_regs(task);
	prepare_python(s);
	if (bpf_probe_read_kernel(&s->registers, sizeof(s->registers), registers))
		end_native(s, REASON_NATIVE_UNREADABLE);
	else
		walk_native(s);
	finish_walk(s);
	read_system_call(s, record);
	record->thread_pointer = s->fsbase;
	record->thread_state = s->thread_states.count ? s->thread_states.found[0] : 0;
	s->stack.sample.flags |= read_gil();
	record->gil = s->gil;
	take_in_hand(0);
	if (task->on_cpu || count_switches(task) != record->switches)
		record->flags |= THREAD_HAS_MOVED;
	send_record(record);
	if (!(record->flags & THREAD_HAS_MOVED))
		send_whole(s);
	return 0;
}
