use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use crate::SampleError;

/// Switches the kernel's own run-time statistics of BPF programs on for as long as the descriptor is open.
pub(crate) fn enable() -> Result<OwnedFd, SampleError> {
    // SAFETY: takes a number and returns a descriptor or an error.
    let descriptor = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
    if descriptor < 0 {
        return Err(SampleError::last_system_error(
            "switching on the statistics of BPF programs",
        ));
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Nanoseconds that a program has run.
pub(crate) fn read_run_time_ns(program: BorrowedFd<'_>) -> io::Result<u64> {
    let mut information = libbpf_sys::bpf_prog_info::default();
    let mut size = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `size` bytes of a plain struct that lives across the call.
    let result = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(
            program.as_fd().as_raw_fd(),
            &raw mut information,
            &raw mut size,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(information.run_time_ns)
}
