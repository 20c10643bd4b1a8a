//! Looks at threads that do not run, through the kernel's iterator over tasks.

use std::{fmt, io::Read, os::fd::AsFd};

use libbpf_rs::{AsRawLibbpf, Iter, Link, Object, ObjectBuilder};
use viperf_abi::{Configuration, PlainData};

use crate::{
    SampleError, Sampler, kernel_log,
    load::{explain_refusal, is_before_5_15},
};

/// The first kernel whose iterator can be limited to a process, and that lets a program find a task by its number
/// (`bpf_task_from_pid`): <https://github.com/torvalds/linux/blob/v6.2/kernel/bpf/helpers.c#L2013>
const FIRST_KERNEL: &str = "6.2";

/// What the sampling programs know of processes, and what user space knows already.
const SHARED_MAPS: &[&str] = &[
    "records",
    "processes",
    "mappings",
    "unwind_rows",
    "row_tables",
    "thread_states",
    "codes",
    "gils",
    ".data.lost",
    ".data.code_ids",
];

/// Only sampling needs these.
const UNUSED_MAPS: &[&str] = &["stack_caches", "captures"];

/// At whom to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Every thread of this pid.
    Process(u32),
    /// This tid.
    Thread(u32),
}

/// The loaded iterator. What it sees comes through the [`Sampler`]'s ring.
pub struct ThreadLooker {
    object: Object,
}

impl fmt::Debug for ThreadLooker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ThreadLooker")
            .finish_non_exhaustive()
    }
}

impl ThreadLooker {
    /// Loads the iterator, for the processes that the sampler knows.
    ///
    /// # Errors
    /// Not permitted, a kernel before 6.2, or a verifier that refuses.
    pub fn load(sampler: &Sampler, configuration: Configuration) -> Result<Self, SampleError> {
        kernel_log::capture();
        if is_before_5_15() {
            return Err(lacks_iterator());
        }
        let cpu_count = libbpf_rs::num_possible_cpus()
            .map_err(|source| SampleError::from_bpf("counting the CPUs", source))?;
        let mut open = ObjectBuilder::default()
            .name("viperf_threads")
            .and_then(|builder| builder.open_memory(viperf_bpf::thread_programs()))
            .map_err(|source| SampleError::from_bpf("opening the embedded programs", source))?;
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            let changed = if name == ".rodata.configuration" {
                map.set_initial_value(configuration.as_bytes())
            } else if SHARED_MAPS.contains(&name.as_str()) {
                let shared = sampler.map(&name)?;
                map.reuse_fd(shared.as_fd())
            } else if UNUSED_MAPS.contains(&name.as_str()) {
                map.set_autocreate(false)
            } else if name == "scratches" {
                map.set_max_entries(cpu_count as u32)
            } else {
                Ok(())
            };
            changed.map_err(|source| SampleError::from_bpf("configuring the programs", source))?;
        }
        let object = open.load().map_err(explain_missing_iterator)?;
        Ok(Self { object })
    }

    /// Looks once. A process or thread that is not there any longer gives nothing.
    ///
    /// # Errors
    /// The iterator cannot be attached or read.
    pub fn look(&self, at: Look) -> Result<(), SampleError> {
        let Some(link) = self.attach(at)? else {
            return Ok(());
        };
        let mut iterator = Iter::new(&link)
            .map_err(|source| SampleError::from_bpf("opening the iterator over threads", source))?;
        // It writes nothing; reading is what runs it.
        let mut nothing = [0; 64];
        loop {
            match iterator.read(&mut nothing) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // So many threads at once: it goes on where it was.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(source) => {
                    return Err(SampleError::System {
                        what: "reading the iterator over threads",
                        source,
                    });
                }
            }
        }
    }

    /// `None`: there is no such process or thread. libbpf-rs knows iterators over maps and cgroups only.
    fn attach(&self, at: Look) -> Result<Option<Link>, SampleError> {
        let mut information = libbpf_sys::bpf_iter_link_info::default();
        match at {
            Look::Process(pid) => information.task.pid = pid,
            Look::Thread(tid) => information.task.tid = tid,
        }
        let options = libbpf_sys::bpf_iter_attach_opts {
            sz: size_of::<libbpf_sys::bpf_iter_attach_opts>() as _,
            link_info: &raw mut information,
            link_info_len: size_of::<libbpf_sys::bpf_iter_link_info>() as _,
            ..Default::default()
        };
        let Some(program) = self.object.progs().next() else {
            return Ok(None);
        };
        // SAFETY: the program is loaded and lives as long as `self`; the options and what they point to live across the
        // call, which copies them.
        let link = unsafe {
            libbpf_sys::bpf_program__attach_iter(
                program.as_libbpf_object().as_ptr(),
                &raw const options,
            )
        };
        let Some(link) = std::ptr::NonNull::new(link) else {
            let source = std::io::Error::last_os_error();
            return match source.raw_os_error() {
                Some(libc::ESRCH) => Ok(None),
                _ => Err(SampleError::System {
                    what: "attaching the iterator over threads",
                    source,
                }),
            };
        };
        // SAFETY: libbpf has made it for us, and nobody else has it.
        Ok(Some(unsafe { Link::from_ptr(link) }))
    }

    /// Nanoseconds that the iterator has run so far, by the kernel's own count.
    #[must_use]
    pub fn run_time_ns(&self) -> u64 {
        let programs = self.object.progs();
        programs
            .filter_map(|program| crate::program_statistics::read_run_time_ns(program.as_fd()).ok())
            .sum()
    }
}

/// As for the sampling programs, which have been loaded already: it is what only the iterator needs.
fn explain_missing_iterator(source: libbpf_rs::Error) -> SampleError {
    let log = kernel_log::last_lines();
    if source.kind() == libbpf_rs::ErrorKind::PermissionDenied && !log.contains("processed") {
        return explain_refusal(source);
    }
    // libbpf's words for a function that the kernel does not export to programs.
    if log.contains("bpf_task_from_pid") || log.contains("bpf_task_release") {
        return lacks_iterator();
    }
    SampleError::Rejected { source, log }
}

fn lacks_iterator() -> SampleError {
    SampleError::KernelLacks {
        what: "an iterator over threads whose programs can find them (bpf_task_from_pid)",
        since: FIRST_KERNEL,
    }
}
