//! Compiles the headers of the walks for the host, with traps for undefined behaviour in place.

fn main() {
    for watched in ["host", "../bpf/src/bpf", "../abi/include"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    cc::Build::new()
        .file("host/walk.c")
        // First: `bpf/bpf_helpers.h` and its neighbours are then ours instead of libbpf's.
        .include("host")
        .include("../bpf/src/bpf")
        .include("../abi/include")
        .std("gnu11")
        .opt_level(2)
        .debug(true)
        .flag("-Wextra")
        // The kernel's types are marked for CO-RE by pragmas that only clang knows.
        .flag("-Wno-unknown-pragmas")
        // As in the kernel, members of a block are read as what they are, wherever they lie.
        .flag("-fno-strict-aliasing")
        .flag("-fsanitize=undefined")
        .flag("-fno-sanitize=alignment")
        .flag("-fsanitize-undefined-trap-on-error")
        .compile("viperf_host_walk");
}
