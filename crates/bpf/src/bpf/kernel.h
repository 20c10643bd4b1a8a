/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * The few kernel types that the programs name. libbpf moves every access to where the running kernel has the field
 * (CO-RE), so only names and nesting matter here, not offsets; a generated header of 100,000 lines is not needed.
 */
#ifndef VIPERF_KERNEL_H
#define VIPERF_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_CGROUP_ARRAY = 8,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_MMAPABLE = 1 << 10,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_RING_SIZE = 1,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct thread_struct {
	unsigned long fsbase;
};

struct signal_struct {
	atomic_t live;
};

struct mm_struct {
	unsigned long start_stack;
};

struct task_struct {
	void *stack;
	int pid;
	int tgid;
	/* The next ones for the iterator over threads. */
	unsigned int __state;
	int on_cpu;
	struct mm_struct *mm;
	unsigned long nvcsw;
	unsigned long nivcsw;
	char comm[16];
	unsigned int flags;
	struct signal_struct *signal;
	struct task_struct *group_leader;
	/* Set in a child of vfork until it runs exec or ends. */
	void *vfork_done;
	/* Not in all kernels. */
	unsigned int in_execve : 1;
	struct thread_struct thread;
};

struct hrtimer {
	void *function;
};

struct linux_binprm;

struct bpf_iter_meta;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

/* The registers as the kernel's entry code stores them, in the order of the stable ABI
 * (arch/x86/include/uapi/asm/ptrace.h). Read as a plain copy: a newer kernel's BTF narrows `cs` to 16 bits, and CO-RE
 * would then narrow the access. */
struct saved_registers {
	u64 by_position[21];
};
enum saved_register {
	SAVED_BP = 4,
	SAVED_AX = 10,
	/* The number of the system call; negative: it is none. */
	SAVED_CALL = 15,
	SAVED_IP = 16,
	SAVED_SP = 19,
};

/* Masks an index where the verifier of 6.1 must see it: the compiler leaves a mask away that a comparison before it has made
 * superfluous, and the verifier has lost that comparison by then. */
#ifdef __bpf__
#define MASKED(index, mask)                                               \
	({                                                                \
		u64 masked_index = (index);                               \
		asm volatile("%0 &= %1" : "+r"(masked_index) : "i"(mask)); \
		masked_index;                                             \
	})
#else
#define MASKED(index, mask) ((index) & (mask))
#endif

struct pt_regs;
struct bpf_perf_event_data;

#endif
