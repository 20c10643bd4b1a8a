/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * What the walks need of libbpf's header of this name, for the host: `walk.c` has the functions.
 */
#ifndef VIPERF_HOST_BPF_HELPERS_H
#define VIPERF_HOST_BPF_HELPERS_H

#define SEC(name)
#define __uint(name, number) int (*name)[number]
#define __type(name, what) what *name
#define __array(name, what) what *name[]
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))

void *bpf_map_lookup_elem(void *map, const void *key);
long bpf_map_update_elem(void *map, const void *key, const void *value, u64 flags);
long bpf_probe_read_user(void *to, u32 size, const void *address);
long bpf_probe_read_user_str(void *to, u32 size, const void *address);
long bpf_ringbuf_output(void *ring, void *record, u64 size, u64 flags);
u32 bpf_get_smp_processor_id(void);
u64 bpf_ringbuf_query(void *ring, u64 what);
/* Named by functions that nobody calls here. */
void *bpf_get_current_task_btf(void);
void *bpf_task_pt_regs(void *task);

#define barrier_var(var) __asm__ volatile("" : "+r"(var))

#endif
