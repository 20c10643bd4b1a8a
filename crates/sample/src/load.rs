use libbpf_rs::{MapType, Object, ObjectBuilder, OpenObject, ProgramType};
use viperf_abi::{Configuration, PlainData};

use crate::{
    SampleError,
    capacity::Capacity,
    kernel_log,
    tick::{self, Clock},
};

/// Loads the programs that fit this kernel.
pub(crate) fn load_object(
    configuration: Configuration,
    capacity: &Capacity,
    clock: Clock,
) -> Result<Object, SampleError> {
    open_object(configuration, capacity, clock)?
        .load()
        .map_err(explain_refusal)
}

/// The programs that fit this kernel, configured and not yet loaded.
pub(crate) fn open_object(
    configuration: Configuration,
    capacity: &Capacity,
    clock: Clock,
) -> Result<OpenObject, SampleError> {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(SampleError::NoBtf);
    }
    let programs = match clock {
        Clock::Tick => {
            tick::check_kernel()?;
            viperf_bpf::tick_programs()
        }
        Clock::Event if is_before_5_15() => viperf_bpf::programs_before_5_15(),
        Clock::Event => viperf_bpf::programs(),
    };
    let mut open = ObjectBuilder::default()
        .name("viperf")
        .and_then(|builder| builder.open_memory(programs))
        .map_err(|source| SampleError::from_bpf("opening the embedded programs", source))?;
    for mut map in open.maps_mut() {
        let entries = capacity.entries(&map.name().to_string_lossy());
        let changed = match entries {
            Some(entries) => map.set_max_entries(entries),
            None if map.name() == ".rodata.configuration" => {
                map.set_initial_value(configuration.as_bytes())
            }
            None => Ok(()),
        };
        changed.map_err(|source| SampleError::from_bpf("configuring the programs", source))?;
    }
    Ok(open)
}

/// By what it can do, for distributions add to old kernels; where that cannot be asked, it is taken for a new one.
pub(crate) fn is_before_5_15() -> bool {
    ProgramType::PerfEvent
        .is_helper_supported(libbpf_sys::BPF_FUNC_task_pt_regs)
        .is_ok_and(|supported| !supported)
}

/// Why the kernel does not take the programs: it is too old, the caller may not, or the verifier says why.
pub(crate) fn explain_refusal(source: libbpf_rs::Error) -> SampleError {
    let log = kernel_log::last_lines();
    let verified = log.contains("processed");
    if source.kind() == libbpf_rs::ErrorKind::PermissionDenied && !verified {
        return SampleError::from_bpf("loading BPF programs", source);
    }
    // It is asked by trying; an answer that cannot be had is no reason to blame the kernel's age.
    let lacks_ring = MapType::RingBuf
        .is_supported()
        .is_ok_and(|supported| !supported);
    if lacks_ring {
        return SampleError::KernelLacks {
            what: "the BPF ring buffer",
            since: "5.8",
        };
    }
    SampleError::Rejected { source, log }
}
