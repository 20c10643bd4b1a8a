//! The records that cross the kernel boundary: one C header, one Rust mirror, proved equal through BTF.
