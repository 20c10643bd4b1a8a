/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * What kernels before 5.15 lack, and what stands in for it there. The programs are compiled twice, and user space loads the
 * ones with BEFORE_5_15 where the kernel needs them: a condition at run time would not do, for an old verifier looks at
 * instructions that nothing reaches, too.
 *
 * - bpf_get_current_task_btf (5.11): the thread as a plain address, whose fields are read with the helper.
 * - atomic instructions that return something (5.12): a counter for each CPU; nothing that counts can be interrupted by itself
 *   there, for tracepoints and events of perf run with preemption off.
 * - bpf_task_pt_regs (5.15): the registers lie at the end of the thread's kernel stack.
 */
#ifndef VIPERF_OLDER_KERNELS_H
#define VIPERF_OLDER_KERNELS_H

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#ifdef BEFORE_5_15

enum {
	/* THREAD_SIZE of x86-64 without KASAN (arch/x86/include/asm/page_64_types.h), and sizeof(struct pt_regs). */
	KERNEL_STACK_BYTES = 16384,
	SAVED_REGISTER_BYTES = 21 * 8,
	/* Of a number, the highest bits are the CPU's. */
	COUNTING_CPUS = 1024,
	CODES_PER_CPU = 1 << 22,
	EPOCHS_PER_CPU = 1 << 21,
};

/* As below. */
u32 code_ids[COUNTING_CPUS] SEC(".data.code_ids") = {};
u32 epochs[COUNTING_CPUS] = {};

static __always_inline struct task_struct *current_task(void)
{
	return (void *)bpf_get_current_task();
}

static __always_inline void *find_user_registers(struct task_struct *task)
{
	return (char *)BPF_CORE_READ(task, stack) + KERNEL_STACK_BYTES - SAVED_REGISTER_BYTES;
}

static __always_inline u32 new_code_id(void)
{
	u32 cpu = bpf_get_smp_processor_id() & (COUNTING_CPUS - 1);

	return cpu * CODES_PER_CPU | (++code_ids[cpu] & (CODES_PER_CPU - 1));
}

static __always_inline u32 new_epoch(void)
{
	u32 cpu = bpf_get_smp_processor_id() & (COUNTING_CPUS - 1);

	return 1u << 31 | cpu * EPOCHS_PER_CPU | (++epochs[cpu] & (EPOCHS_PER_CPU - 1));
}

#else

/* Shared by the objects that share `codes`. */
u32 next_code_id SEC(".data.code_ids") = 1;
/* The epochs of forked or exec'ed processes; user space's own epochs lie below 2^31. */
u32 next_epoch = 1u << 31;

static __always_inline struct task_struct *current_task(void)
{
	return (void *)bpf_get_current_task_btf();
}

static __always_inline void *find_user_registers(struct task_struct *task)
{
	return (void *)bpf_task_pt_regs(task);
}

static __always_inline u32 new_code_id(void)
{
	return __sync_fetch_and_add(&next_code_id, 1);
}

static __always_inline u32 new_epoch(void)
{
	return __sync_fetch_and_add(&next_epoch, 1);
}

#endif

#endif
