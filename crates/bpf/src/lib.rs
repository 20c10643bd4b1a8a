//! viperf's BPF programs, compiled by clang and embedded.
//!
//! `src/bpf` holds the C: `viperf.bpf.c` the programs that sample, `threads.bpf.c` the one that looks at threads which do not run, `names.bpf.c` the one that names the kernel's functions, `native_walk.h` (with `unwind_rules.h`, `lost_way.h`, `entries.h`), `python_walk.h`, `code_objects.h` and
//! `stack_cache.h` the stages of a sample, `older_kernels.h` what old ones lack, `clock.h` what makes a sample be taken, `maps.h` what is shared with user space beside the records of `viperf-abi`.
//! The build asks for clang 17 or newer. Loading is `viperf-sample`'s.
#![forbid(unsafe_code)]

/// An ELF object, aligned as its reader wants it.
#[derive(Debug)]
#[repr(align(8))]
struct Aligned<const LENGTH: usize>([u8; LENGTH]);

macro_rules! object {
    ($name:literal) => {{
        const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $name));
        static OBJECT: Aligned<{ BYTES.len() }> =
            Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", $name)));
        &OBJECT.0
    }};
}

/// The object with the programs and maps.
#[must_use]
pub fn programs() -> &'static [u8] {
    object!("viperf.bpf.o")
}

/// The object with the iterator that looks at threads which do not run.
#[must_use]
pub fn thread_programs() -> &'static [u8] {
    object!("threads.bpf.o")
}

/// The object with the program that names the kernel's functions.
#[must_use]
pub fn name_programs() -> &'static [u8] {
    object!("names.bpf.o")
}

/// The sampling programs for kernels before 5.15, with what stands in for the things that they lack (`older_kernels.h`).
#[must_use]
pub fn programs_before_5_15() -> &'static [u8] {
    object!("viperf-before-5.15.bpf.o")
}

/// The sampling programs that the kernel's timer tick runs (`clock.h`); Linux 5.15 or newer.
#[must_use]
pub fn tick_programs() -> &'static [u8] {
    object!("viperf-tick.bpf.o")
}

/// The object whose BTF describes every record; for the test that compares it with Rust.
#[must_use]
pub fn abi() -> &'static [u8] {
    object!("abi.bpf.o")
}
