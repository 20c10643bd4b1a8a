// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
//
// Names of the kernel's functions, asked of the kernel itself: a few look-ups instead of its whole list of 120,000 lines.
// It needs Linux 5.14 (programs of this kind; `bpf_snprintf` has come with 5.13).
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "viperf_abi.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* User space writes the addresses, up to a zero, and reads the texts: the name, and behind a blank the module in brackets; or
 * the address itself, which begins with a zero. */
u64 addresses[KERNEL_NAMES] SEC(".data.addresses") = {};
char names[KERNEL_NAMES][KERNEL_NAME_BYTES] SEC(".data.names") = {};

SEC("syscall")
int name_kernel_functions(void *context)
{
	for (u32 i = 0; i < KERNEL_NAMES; i++) {
		u64 address = addresses[i];

		if (!address)
			break;
		/* Should there be no text for it, it shall not have that of the call before. */
		names[i][0] = 0;
		BPF_SNPRINTF(names[i], KERNEL_NAME_BYTES, "%ps", address);
	}
	return 0;
}
