//! viperf's BPF programs, compiled by clang and embedded as one object.
