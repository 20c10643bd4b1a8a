use std::{
    cell::RefCell,
    fmt,
    os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd},
    rc::Rc,
    time::{Duration, Instant},
};

use libbpf_rs::{
    Link, MapCore, MapFlags, MapHandle, MapType, Object, ObjectBuilder, ProgramType, RingBuffer,
    RingBufferBuilder,
};
use viperf_abi::{Configuration, Lost, Mapping, PlainData, Process, UnwindRow, limit};

use crate::{
    SampleError, kernel_log,
    mapping_table::MappingTable,
    memory_map::MemoryMap,
    perf_event::{self, MappingChanges, MappingRecords},
    program_statistics,
    row_table::RowTable,
};

/// The program that runs at every tick of the clock; the others follow processes.
const SAMPLE_PROGRAM: &str = "on_cpu_sample";

/// The loaded programs and their maps. Dropping it detaches and removes everything.
pub struct Sampler {
    object: Object,
    processes: MapHandle,
    counters: MapHandle,
    rows: RowTable,
    mappings: MappingTable,
    ring: RingBuffer<'static>,
    received: Rc<RefCell<Vec<u8>>>,
    mapping_records: Vec<MappingRecords>,
    links: Vec<Link>,
    /// Keeps the kernel's statistics on.
    _statistics: Option<OwnedFd>,
}

/// Who has mapped something executable since the last poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingChange {
    /// This pid.
    Pid(u32),
    /// Records were lost: any process may have.
    Any,
}

/// What one poll brought.
#[derive(Debug)]
pub struct Polled {
    records: Vec<u8>,
    /// Processes whose mappings are to be read again.
    pub mapping_changes: Vec<MappingChange>,
}

impl Polled {
    /// The records, in the order in which the kernel wrote them.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.records.as_slice();
        std::iter::from_fn(move || {
            let (size, after) = rest.split_first_chunk::<8>()?;
            let (record, after) = after.split_at_checked(u64::from_le_bytes(*size) as usize)?;
            rest = after;
            Some(record)
        })
    }

    /// The memory of the records, to be used again by the next poll.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.records
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sampler")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Sampler {
    /// Loads the programs and opens the rings. Nothing is sampled yet.
    ///
    /// # Errors
    /// Not permitted, a kernel that lacks something, or a verifier that refuses (with its last lines).
    pub fn load(configuration: Configuration) -> Result<Self, SampleError> {
        kernel_log::capture();
        let cpu_count = libbpf_rs::num_possible_cpus()
            .map_err(|source| SampleError::from_bpf("counting the CPUs", source))?
            as u32;
        let object = load_object(configuration, cpu_count)?;
        let mapping_array = find_map(&object, "mappings")?;
        let bytes = limit::MAX_MAPPINGS * size_of::<Mapping>();
        let received = Rc::new(RefCell::new(Vec::new()));
        Ok(Self {
            processes: find_map(&object, "processes")?,
            counters: find_map(&object, ".data.lost")?,
            rows: RowTable::new(find_map(&object, "unwind_rows")?)?,
            mappings: MappingTable::new(MemoryMap::new(mapping_array.as_fd(), bytes)?),
            ring: open_ring(&find_map(&object, "records")?, Rc::clone(&received))?,
            received,
            mapping_records: online_cpus()?
                .into_iter()
                .map(MappingRecords::open)
                .collect::<Result<_, _>>()?,
            links: Vec::new(),
            _statistics: program_statistics::enable().ok(),
            object,
        })
    }

    /// Adds an executable's unwind rows, sorted by pc: the index of the first, for `Mapping::first_row`.
    ///
    /// # Errors
    /// No room, or no memory.
    pub fn add_rows(&mut self, rows: &[UnwindRow]) -> Result<u32, SampleError> {
        self.rows.append(rows)
    }

    /// The unwind rule that holds at `pc` (SVMA) among rows that were added: the kernel's search, for walks in user space.
    #[must_use]
    pub fn find_rule(&self, first_row: u32, row_count: u32, pc: u32) -> Option<u32> {
        self.rows.find_rule(first_row, row_count, pc)
    }

    /// Writes the executable mappings of a process, sorted by start: the index of the first, for
    /// `Process::first_mapping`.
    ///
    /// # Errors
    /// No room.
    pub fn write_mappings(&mut self, mappings: &[Mapping]) -> Result<u32, SampleError> {
        self.mappings.write(mappings, Instant::now())
    }

    /// Gives mappings back that no process points to any longer.
    pub fn release_mappings(&mut self, first: u32, count: u32) {
        self.mappings.release(first, count as usize, Instant::now());
    }

    /// Makes a process known to the kernel, or another program in the same pid.
    ///
    /// # Errors
    /// No room for another process.
    pub fn add_process(&self, pid: u32, process: &Process) -> Result<(), SampleError> {
        self.processes
            .update(&pid.to_ne_bytes(), process.as_bytes(), MapFlags::ANY)
            .map_err(|source| SampleError::from_bpf("adding a process", source))
    }

    /// Changes what the kernel knows of a process; false, and nothing changed, when it has ended or become another
    /// program since: the record of that is on its way. What a dead process leaves behind would wait for the next owner
    /// of its pid.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn update_process(&self, pid: u32, process: &Process) -> Result<bool, SampleError> {
        let key = pid.to_ne_bytes();
        let known = self.processes.lookup(&key, MapFlags::ANY).ok().flatten();
        let known = known.and_then(|bytes| Process::read_from(&bytes));
        let Some(known) = known.filter(|known| known.epoch == process.epoch) else {
            return Ok(false);
        };
        let mut process = *process;
        if known.interpreter == process.interpreter {
            // What the kernel has learnt of this interpreter goes on being true.
            process.eval_above_entry = known.eval_above_entry;
            process.eval_rule = known.eval_rule;
            process.eval_word = known.eval_word;
        }
        match self
            .processes
            .update(&key, process.as_bytes(), MapFlags::EXIST)
        {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == libbpf_rs::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(SampleError::from_bpf("changing a process", source)),
        }
    }

    /// Forgets a process.
    pub fn remove_process(&self, pid: u32) {
        // An error means that the kernel has removed it already, at its exit.
        let _ = self.processes.delete(&pid.to_ne_bytes());
    }

    /// Starts sampling on every CPU.
    ///
    /// # Errors
    /// The events cannot be opened or the programs not attached.
    pub fn attach(&mut self, period: Duration) -> Result<(), SampleError> {
        let period_ns = period.as_nanos() as u64;
        for cpu in online_cpus()? {
            let event = perf_event::open_cpu_clock(cpu, period_ns)?;
            for program in self
                .object
                .progs_mut()
                .filter(|program| program.name() == SAMPLE_PROGRAM)
            {
                let link = program
                    .attach_perf_event(event.as_raw_fd())
                    .map_err(|source| {
                        SampleError::from_bpf("attaching to the cpu-clock event", source)
                    })?;
                self.links.push(link);
            }
            // The link closes the event's descriptor with itself (bpf_link_perf_detach in libbpf.c).
            let _ = event.into_raw_fd();
        }
        Ok(())
    }

    /// Stops sampling; records that are in the ring can still be polled.
    pub fn detach(&mut self) {
        self.links.clear();
    }

    /// Waits for records, at most so long, and takes what there is. `buffer` is memory to use again.
    pub fn poll(&mut self, timeout: Duration, buffer: Vec<u8>) -> Polled {
        let descriptors = self
            .mapping_records
            .iter()
            .map(|records| perf_event::number(records.descriptor()));
        perf_event::wait(descriptors.chain([self.ring.epoll_fd()]), timeout);
        // Records of mappings first: what they announce is needed to make sense of the samples.
        let mut changes = MappingChanges::default();
        for records in &self.mapping_records {
            records.read(&mut changes);
        }
        let mut buffer = buffer;
        buffer.clear();
        self.received.replace(buffer);
        self.ring.consume_raw();
        changes.pids.sort_unstable();
        changes.pids.dedup();
        let mut mapping_changes: Vec<_> =
            changes.pids.into_iter().map(MappingChange::Pid).collect();
        if changes.lost {
            mapping_changes.push(MappingChange::Any);
        }
        Polled {
            records: self.received.take(),
            mapping_changes,
        }
    }

    /// Lost records so far; index with `Lost`.
    #[must_use]
    pub fn lost(&self) -> [u64; Lost::KINDS] {
        let bytes = self
            .counters
            .lookup(&0u32.to_ne_bytes(), MapFlags::ANY)
            .ok()
            .flatten()
            .unwrap_or_default();
        std::array::from_fn(|index| bytes.get(index * 8..).and_then(u64::read_from).unwrap_or(0))
    }

    /// Nanoseconds that all programs have run so far, by the kernel's own count; 0 where it does not count.
    #[must_use]
    pub fn run_time_ns(&self) -> u64 {
        self.object
            .progs()
            .filter_map(|program| program_statistics::read_run_time_ns(program.as_fd()).ok())
            .sum()
    }

    /// Every map, by which the kernel can be asked for its memory.
    pub fn map_descriptors(&self) -> impl Iterator<Item = RawFd> {
        let own = self.object.maps().map(|map| map.as_fd().as_raw_fd());
        own.chain(self.rows.maps().map(|map| map.as_fd().as_raw_fd()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Starts to follow forks, execs and exits; call it before looking for targets, so that none is missed.
    ///
    /// # Errors
    /// The programs cannot be attached.
    pub fn follow_processes(&mut self) -> Result<(), SampleError> {
        for program in self
            .object
            .progs_mut()
            .filter(|program| program.name() != SAMPLE_PROGRAM)
        {
            let link = program
                .attach()
                .map_err(|source| SampleError::from_bpf("attaching to process events", source))?;
            self.links.push(link);
        }
        Ok(())
    }
}

fn load_object(configuration: Configuration, cpu_count: u32) -> Result<Object, SampleError> {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(SampleError::NoBtf);
    }
    let mut open = ObjectBuilder::default()
        .name("viperf")
        .and_then(|builder| builder.open_memory(viperf_bpf::programs()))
        .map_err(|source| SampleError::from_bpf("opening the embedded programs", source))?;
    for mut map in open.maps_mut() {
        let changed = if map.name() == ".rodata.configuration" {
            map.set_initial_value(configuration.as_bytes())
        } else if map.name() == "stack_caches" || map.name() == "scratches" {
            map.set_max_entries(cpu_count)
        } else {
            Ok(())
        };
        changed.map_err(|source| SampleError::from_bpf("configuring the programs", source))?;
    }
    open.load().map_err(explain_refusal)
}

/// Why the kernel does not take the programs: it is too old, the caller may not, or the verifier says why.
fn explain_refusal(source: libbpf_rs::Error) -> SampleError {
    let log = kernel_log::last_lines();
    let verified = log.contains("processed");
    if source.kind() == libbpf_rs::ErrorKind::PermissionDenied && !verified {
        return SampleError::from_bpf("loading BPF programs", source);
    }
    // Both are asked by trying; an answer that cannot be had is no reason to blame the kernel's age.
    let lacks_ring = MapType::RingBuf
        .is_supported()
        .is_ok_and(|supported| !supported);
    let lacks_registers = ProgramType::PerfEvent
        .is_helper_supported(libbpf_sys::BPF_FUNC_task_pt_regs)
        .is_ok_and(|supported| !supported);
    match (lacks_ring, lacks_registers) {
        (true, _) => SampleError::KernelLacks {
            what: "the BPF ring buffer",
            since: "5.8",
        },
        (_, true) => SampleError::KernelLacks {
            what: "the BPF helper for the user registers of a thread (bpf_task_pt_regs)",
            since: "5.15",
        },
        _ => SampleError::Rejected { source, log },
    }
}

fn find_map(object: &Object, name: &str) -> Result<MapHandle, SampleError> {
    let map = object.maps().find(|map| map.name() == name);
    let map = map.ok_or(SampleError::KernelLacks {
        what: "a map of the embedded programs",
        since: "5.15",
    })?;
    MapHandle::try_from(&map).map_err(|source| SampleError::from_bpf("finding a map", source))
}

fn open_ring(
    map: &MapHandle,
    received: Rc<RefCell<Vec<u8>>>,
) -> Result<RingBuffer<'static>, SampleError> {
    let mut builder = RingBufferBuilder::new();
    builder
        .add(map, move |record| {
            let mut received = received.borrow_mut();
            received.extend_from_slice(&(record.len() as u64).to_le_bytes());
            received.extend_from_slice(record);
            0
        })
        .map_err(|source| SampleError::from_bpf("opening the ring", source))?;
    builder
        .build()
        .map_err(|source| SampleError::from_bpf("opening the ring", source))
}

/// CPUs that can run something, as sysfs lists them: `0-3,5`.
fn online_cpus() -> Result<Vec<u32>, SampleError> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").map_err(|source| {
        SampleError::System {
            what: "listing the CPUs",
            source,
        }
    })?;
    Ok(parse_cpu_list(text.trim()))
}

fn parse_cpu_list(text: &str) -> Vec<u32> {
    text.split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_of_sysfs_are_read() {
        assert_eq!(parse_cpu_list("0-3,5,8-9"), [0, 1, 2, 3, 5, 8, 9]);
        assert_eq!(parse_cpu_list("0"), [0]);
        assert_eq!(parse_cpu_list(""), [0_u32; 0]);
    }
}
