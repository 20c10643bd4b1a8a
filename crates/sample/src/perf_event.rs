use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::atomic::Ordering,
};

use libbpf_sys::perf_event_attr;

use crate::{SampleError, memory_map::MemoryMap};

/// Pages of a ring of mapping records, a power of two: 64 KiB hold about 600 of them.
const RING_PAGES: usize = 16;
const PAGE: usize = 4096;

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

/// The executable mappings that processes make on one CPU.
#[derive(Debug)]
pub(crate) struct MappingRecords {
    event: OwnedFd,
    ring: MemoryMap,
}

/// What one reading of the ring brought.
#[derive(Debug, Default)]
pub(crate) struct MappingChanges {
    /// Pids that mapped something executable, with repetitions.
    pub(crate) pids: Vec<u32>,
    /// Records were lost: any process may have.
    pub(crate) lost: bool,
}

impl MappingRecords {
    pub(crate) fn open(cpu: u32) -> Result<Self, SampleError> {
        let mut attributes = software_event(libbpf_sys::PERF_COUNT_SW_DUMMY);
        attributes.set_mmap(1);
        attributes.set_mmap2(1);
        attributes.set_watermark(0);
        attributes.__bindgen_anon_2.wakeup_events = 1;
        let event = open(&attributes, cpu, "opening the event for mappings")?;
        let ring = MemoryMap::new(event.as_fd(), (RING_PAGES + 1) * PAGE)?;
        Ok(Self { event, ring })
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Reads what has come in; the layout is perf_event_open(2)'s "MMAP layout".
    pub(crate) fn read(&self, changes: &mut MappingChanges) {
        // data_head and data_tail of struct perf_event_mmap_page.
        const HEAD: usize = 1024 / 8;
        const TAIL: usize = 1032 / 8;
        const RECORD_LOST: u32 = 2;
        const RECORD_MMAP2: u32 = 10;
        let words = self.ring.words();
        let (Some(head), Some(tail), Some(data)) =
            (words.get(HEAD), words.get(TAIL), words.get(PAGE / 8..))
        else {
            return;
        };
        let data = data.get(..RING_PAGES * PAGE / 8).unwrap_or(data);
        let word = |position: u64| {
            data.get((position / 8) as usize % data.len())
                .map_or(0, |word| word.load(Ordering::Relaxed))
        };
        let end = head.load(Ordering::Acquire);
        let mut position = tail.load(Ordering::Relaxed);
        while position < end {
            // struct perf_event_header: type u32, misc u16, size u16; then pid u32, tid u32.
            let header = word(position);
            let size = header >> 48;
            if size < 8 {
                changes.lost = true;
                position = end;
                break;
            }
            match header as u32 {
                RECORD_MMAP2 => changes.pids.push(word(position + 8) as u32),
                RECORD_LOST => changes.lost = true,
                _ => {}
            }
            position += size;
        }
        tail.store(position, Ordering::Release);
    }
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
