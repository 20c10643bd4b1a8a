use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_sys::perf_event_attr;

use crate::SampleError;

/// A timer on one CPU that fires only while something runs there.
pub(crate) fn open_cpu_clock(cpu: u32, period_ns: u64) -> Result<OwnedFd, SampleError> {
    let mut attributes = software_event(libbpf_sys::PERF_COUNT_SW_CPU_CLOCK);
    attributes.__bindgen_anon_1.sample_period = period_ns;
    attributes.set_exclude_idle(1);
    open(&attributes, cpu, "opening the cpu-clock event")
}

/// Gives an open event another period.
pub(crate) fn set_period(event: &OwnedFd, period_ns: u64) -> Result<(), SampleError> {
    // _IOW('$', 4, __u64): https://github.com/torvalds/linux/blob/v6.1/include/uapi/linux/perf_event.h#L571
    const PERF_EVENT_IOC_PERIOD: libc::c_ulong = 0x4008_2404;
    // SAFETY: the kernel reads the number, which lives across the call.
    let done = unsafe {
        libc::ioctl(
            event.as_raw_fd(),
            PERF_EVENT_IOC_PERIOD,
            &raw const period_ns,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(SampleError::last_system_error(
            "changing the period of the cpu-clock event",
        )),
    }
}

/// The kernel's clock, as `bpf_ktime_get_ns` and the times of samples have it.
#[must_use]
pub fn now_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel fills the struct, which lives across the call; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// What processes on one CPU map, and that they run another program; each record ends with its time, by the clock of samples.
pub(crate) fn open_mapping_event(cpu: u32) -> Result<OwnedFd, SampleError> {
    let mut attributes = software_event(libbpf_sys::PERF_COUNT_SW_DUMMY);
    attributes.set_mmap(1);
    attributes.set_mmap2(1);
    attributes.set_comm(1);
    attributes.set_comm_exec(1);
    attributes.sample_type = libbpf_sys::PERF_SAMPLE_TIME.into();
    attributes.set_sample_id_all(1);
    attributes.set_use_clockid(1);
    attributes.clockid = libc::CLOCK_MONOTONIC;
    attributes.set_watermark(0);
    attributes.__bindgen_anon_2.wakeup_events = 1;
    open(&attributes, cpu, "opening the event for mappings")
}

fn software_event(config: u32) -> perf_event_attr {
    perf_event_attr {
        type_: libbpf_sys::PERF_TYPE_SOFTWARE,
        size: size_of::<perf_event_attr>() as u32,
        config: config.into(),
        ..Default::default()
    }
}

/// Opens an event for all processes on one CPU.
fn open(
    attributes: &perf_event_attr,
    cpu: u32,
    what: &'static str,
) -> Result<OwnedFd, SampleError> {
    let (any_process, no_group) = (-1, -1);
    // SAFETY: the kernel reads the struct, whose size it is told, and returns a descriptor or an error.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(attributes),
            any_process,
            cpu as libc::c_int,
            no_group,
            libbpf_sys::PERF_FLAG_FD_CLOEXEC,
        )
    };
    if descriptor < 0 {
        return Err(SampleError::last_system_error(what));
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// Waits until one of the descriptors can be read or the time is over.
pub(crate) fn wait(descriptors: impl Iterator<Item = i32>, timeout: std::time::Duration) {
    let mut polled: Vec<libc::pollfd> = descriptors
        .map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: the array lives across the call and its length is given; an interruption is as good as a timeout.
    unsafe {
        libc::poll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            timeout.as_millis() as libc::c_int,
        )
    };
}

/// The number of an open event, for poll.
pub(crate) fn number(descriptor: BorrowedFd<'_>) -> i32 {
    descriptor.as_raw_fd()
}
