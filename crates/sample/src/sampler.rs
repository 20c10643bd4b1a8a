use std::{
    cell::RefCell,
    fmt,
    os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd},
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, RingBuffer, RingBufferBuilder};
use viperf_abi::{
    Configuration, GilPlaces, Lost, Mapping, PlainData, Process, RowTable, UnwindRow, limit,
};

use crate::{
    SampleError,
    capacity::Capacity,
    kernel_log,
    load::load_object,
    mapping_records::{MappingChanges, MappingRecord, MappingRecords, RecordedChange},
    mapping_table::MappingTable,
    memory_map::MemoryMap,
    perf_event, program_statistics,
    row_store::{RowSearch, RowStore},
    tick::{self, Clock},
};

/// The program that runs at every tick of the clock; the others follow processes.
const SAMPLE_PROGRAM: &str = "on_cpu_sample";

/// The loaded programs and their maps. Dropping it detaches and removes everything.
pub struct Sampler {
    object: Object,
    processes: MapHandle,
    counters: MemoryMap,
    rows: RowStore,
    mappings: MappingTable,
    ring: RingBuffer<'static>,
    received: Rc<RefCell<Vec<u8>>>,
    mapping_records: Vec<MappingRecords>,
    /// How many of the kernel's ticks are sampled, where they are the clock.
    ticks: Option<MemoryMap>,
    /// Of the clock, and of the events of processes.
    clock: Vec<Link>,
    /// The events of the clock, as long as they are attached.
    clock_events: Vec<OwnedFd>,
    links: Vec<Link>,
    gils: MapHandle,
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

/// Memory of unwind rows, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowMemory {
    /// That of all shards.
    pub bytes: usize,
    /// That of the rows in them, those that were given up a moment ago included.
    pub used: usize,
    /// What the shards may take.
    pub limit: usize,
    /// Some rows were given up a moment ago, and their memory cannot be used again yet.
    pub is_clearing: bool,
}

/// What one poll brought.
#[derive(Debug)]
pub struct Polled {
    records: Vec<u8>,
    /// Processes whose mappings are to be read again.
    pub mapping_changes: Vec<MappingChange>,
    /// What processes did to their executable mappings, in the order of CPUs: all that was done before any of the records.
    pub mapping_records: Vec<MappingRecord>,
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
    /// Loads the programs and opens the rings. Nothing is sampled yet. Unwind rows will take `row_bytes` of memory at most.
    ///
    /// # Errors
    /// Not permitted, a kernel that lacks something, or a verifier that refuses (with its last lines).
    pub fn load(configuration: Configuration, row_bytes: usize) -> Result<Self, SampleError> {
        Self::load_for(Clock::Event, configuration, row_bytes)
    }

    /// As [`Self::load`], to sample by one clock or the other.
    ///
    /// # Errors
    /// The same, and a kernel without the clock that is wanted.
    pub fn load_for(
        clock: Clock,
        configuration: Configuration,
        row_bytes: usize,
    ) -> Result<Self, SampleError> {
        kernel_log::capture();
        let cpu_count = libbpf_rs::num_possible_cpus()
            .map_err(|source| SampleError::from_bpf("counting the CPUs", source))?
            as u32;
        let capacity = Capacity::of(&configuration, cpu_count);
        let object = load_object(configuration, &capacity, clock)?;
        let ticks = (clock == Clock::Tick).then(|| {
            let shares = find_map(&object, tick::SHARE_MAP)?;
            MemoryMap::new(shares.as_fd(), size_of::<u64>())
        });
        let mapping_array = find_map(&object, "mappings")?;
        let bytes = capacity.mappings() * size_of::<Mapping>();
        let row_tables = find_map(&object, "row_tables")?;
        let table_bytes = capacity.row_tables() * size_of::<RowTable>();
        let row_tables = MemoryMap::new(row_tables.as_fd(), table_bytes)?;
        let received = Rc::new(RefCell::new(Vec::new()));
        Ok(Self {
            processes: find_map(&object, "processes")?,
            counters: MemoryMap::new(
                find_map(&object, ".data.lost")?.as_fd(),
                Lost::KINDS * size_of::<u64>(),
            )?,
            rows: RowStore::new(find_map(&object, "unwind_rows")?, row_tables, row_bytes),
            mappings: MappingTable::new(MemoryMap::new(mapping_array.as_fd(), bytes)?),
            ring: open_ring(&find_map(&object, "records")?, Rc::clone(&received))?,
            received,
            mapping_records: online_cpus()?
                .into_iter()
                .map(MappingRecords::open)
                .collect::<Result<_, _>>()?,
            ticks: ticks.transpose()?,
            clock: Vec::new(),
            clock_events: Vec::new(),
            links: Vec::new(),
            gils: find_map(&object, "gils")?,
            _statistics: program_statistics::enable().ok(),
            object,
        })
    }

    /// A map, to be shared with other programs.
    pub(crate) fn map(&self, name: &str) -> Result<MapHandle, SampleError> {
        find_map(&self.object, name)
    }

    /// A new table of unwind rows, for `Mapping::row_table`. Until it is filled or cleared, walks that need it are deferred.
    ///
    /// # Errors
    /// There are too many.
    pub fn add_row_table(&mut self) -> Result<u32, SampleError> {
        self.rows.add_table(Instant::now())
    }

    /// Gives a table its rows, sorted by pc, in the place of those that it has; false, and nothing changed, when there is no
    /// room for them now.
    ///
    /// # Errors
    /// No memory.
    pub fn fill_rows(&mut self, table: u32, rows: &[UnwindRow]) -> Result<bool, SampleError> {
        self.rows.fill(table, rows, Instant::now())
    }

    /// Takes the rows of a table away; walks that need them are deferred until it is filled again.
    pub fn evict_rows(&mut self, table: u32) {
        self.rows.clear(table, true, Instant::now());
    }

    /// Takes the rows of a table away; walks that need them end there.
    pub fn clear_rows(&mut self, table: u32) {
        self.rows.clear(table, false, Instant::now());
    }

    /// Says whether the instructions of a table's file can tell rows where it has none: walks that lack one are deferred until
    /// this is called with `false`.
    pub fn expect_more_rows(&self, table: u32, can_be_more: bool) {
        self.rows.expect_more(table, can_be_more);
    }

    /// Gives a table back that no mapping names any longer.
    pub fn release_row_table(&mut self, table: u32) {
        self.rows.release(table, Instant::now());
    }

    /// How long ago a walk last needed rows of a table; `None` when none ever did.
    #[must_use]
    pub fn row_table_idle(&self, table: u32) -> Option<Duration> {
        let last = self.rows.last_used(table);
        let idle = u64::from(row_tick().saturating_sub(last)) << limit::ROW_TABLE_TICK_SHIFT;
        (last > 0).then(|| Duration::from_nanos(idle))
    }

    /// Memory of rows: what is behind them, what they take of it, and the limit.
    #[must_use]
    pub fn row_memory(&self) -> RowMemory {
        RowMemory {
            bytes: self.rows.bytes(),
            used: self.rows.used_bytes(),
            limit: self.rows.limit_bytes(),
            is_clearing: self.rows.is_clearing(Instant::now()),
        }
    }

    /// The unwind rule that holds at `pc` (SVMA) in a table: the kernel's search, for walks in user space.
    #[must_use]
    pub fn find_rule(&self, table: u32, pc: u32) -> RowSearch {
        self.rows.find_rule(table, pc, row_tick())
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
        let is_alive = |known: &Process| known.epoch == process.epoch && known.last_thread == 0;
        let Some(known) = known.filter(is_alive) else {
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

    /// Chooses the control group whose processes are the targets, with `Configuration::in_control_group`; `folder` is its
    /// folder, opened.
    ///
    /// # Errors
    /// It is no control group of the second version.
    pub fn set_control_group(&self, folder: impl AsFd) -> Result<(), SampleError> {
        let map = find_map(&self.object, "control_groups")?;
        let folder = folder.as_fd().as_raw_fd();
        map.update(&0_u32.to_ne_bytes(), &folder.to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| SampleError::from_bpf("choosing the control group", source))
    }

    /// Whether the kernel still takes samples of a process: also after its end, as long as it has something left to do.
    #[must_use]
    pub fn knows_process(&self, pid: u32, epoch: u32) -> bool {
        let known = self.processes.lookup(&pid.to_ne_bytes(), MapFlags::ANY);
        let known = known.ok().flatten();
        let known = known.and_then(|bytes| Process::read_from(&bytes));
        known.is_some_and(|known| known.epoch == epoch)
    }

    /// A process has ended. Where its entry was written while it did, the mark of its end is gone, and so the kernel would never
    /// forget it: it is forgotten here.
    pub fn forget_unless_ending(&self, pid: u32, epoch: u32) {
        let known = self.processes.lookup(&pid.to_ne_bytes(), MapFlags::ANY);
        let known = known.ok().flatten();
        let known = known.and_then(|bytes| Process::read_from(&bytes));
        if known.is_some_and(|known| known.epoch == epoch && known.last_thread == 0) {
            self.remove_process(pid);
        }
    }

    /// Forgets a process.
    pub fn remove_process(&self, pid: u32) {
        // An error means that the kernel has removed it already, after its exit.
        let _ = self.processes.delete(&pid.to_ne_bytes());
    }

    /// Starts sampling on every CPU.
    ///
    /// # Errors
    /// The events cannot be opened or the programs not attached, or the kernel ticks less often.
    pub fn attach(&mut self, period: Duration) -> Result<(), SampleError> {
        if let Some(shares) = &self.ticks {
            tick::set_period(shares, period)?;
            let programs = self.object.progs_mut();
            for program in programs.filter(|program| program.name() == SAMPLE_PROGRAM) {
                self.clock.push(tick::attach(&program)?);
            }
            return Ok(());
        }
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
                self.clock.push(link);
            }
            let kept = event.try_clone().map_err(|source| SampleError::System {
                what: "keeping the cpu-clock event",
                source,
            })?;
            self.clock_events.push(kept);
            // The link closes the event's descriptor with itself (bpf_link_perf_detach in libbpf.c).
            let _ = event.into_raw_fd();
        }
        Ok(())
    }

    /// Stops sampling; records that are in the ring can still be polled.
    pub fn detach(&mut self) {
        self.detach_clock();
        self.links.clear();
    }

    /// Stops the clock; processes are still followed, and the clock can be attached again.
    pub fn detach_clock(&mut self) {
        self.clock.clear();
        self.clock_events.clear();
    }

    /// Samples from now on with another period. The time of the kernel's clock, as samples have it, from which it holds.
    ///
    /// # Errors
    /// The kernel does not take it; the CPUs that come after the one that did not keep the old one.
    pub fn set_period(&self, period: Duration) -> Result<u64, SampleError> {
        if let Some(shares) = &self.ticks {
            tick::set_period(shares, period)?;
        }
        for event in &self.clock_events {
            perf_event::set_period(event, period.as_nanos() as u64)?;
        }
        Ok(perf_event::now_ns())
    }

    /// How many CPUs are sampled: those that are online.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn count_cpus() -> Result<usize, SampleError> {
        Ok(online_cpus()?.len())
    }

    /// Says where a process keeps its GIL, for `Configuration::gil`.
    ///
    /// # Errors
    /// No room for another process.
    pub fn set_gil(&self, pid: u32, places: &GilPlaces) -> Result<(), SampleError> {
        self.gils
            .update(&pid.to_ne_bytes(), places.as_bytes(), MapFlags::ANY)
            .map_err(|source| SampleError::from_bpf("telling where a GIL is", source))
    }

    /// Waits for records, at most so long, and takes what there is. `buffer` is memory to use again.
    pub fn poll(&mut self, timeout: Duration, buffer: Vec<u8>) -> Polled {
        let descriptors = self
            .mapping_records
            .iter()
            .map(|records| perf_event::number(records.descriptor()));
        perf_event::wait(descriptors.chain([self.ring.epoll_fd()]), timeout);
        let mut buffer = buffer;
        buffer.clear();
        self.received.replace(buffer);
        self.ring.consume_raw();
        // Records of mappings last, so that none is missing without which a sample in hand makes no sense.
        let mut changes = MappingChanges::default();
        for records in &self.mapping_records {
            records.read(&mut changes);
        }
        let is_mapping =
            |record: &&MappingRecord| matches!(record.change, RecordedChange::Mapped(_));
        let mapped = changes.records.iter().filter(is_mapping);
        let mut pids: Vec<u32> = mapped.map(|record| record.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        let mut mapping_changes: Vec<_> = pids.into_iter().map(MappingChange::Pid).collect();
        if changes.lost {
            mapping_changes.push(MappingChange::Any);
        }
        Polled {
            records: self.received.take(),
            mapping_changes,
            mapping_records: changes.records,
        }
    }

    /// Lost records so far; index with `Lost`.
    #[must_use]
    pub fn lost(&self) -> [u64; Lost::KINDS] {
        let words = self.counters.words();
        std::array::from_fn(|index| {
            let word = words.get(index);
            word.map_or(0, |word| word.load(Ordering::Relaxed))
        })
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

pub(crate) fn find_map(object: &Object, name: &str) -> Result<MapHandle, SampleError> {
    let map = object.maps().find(|map| map.name() == name);
    let map = map.ok_or(SampleError::KernelLacks {
        what: "a map of the embedded programs",
        since: "5.10",
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

/// The clock of samples, in the units of `row_table.last_used`.
fn row_tick() -> u32 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live value of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let nanoseconds = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    (nanoseconds >> limit::ROW_TABLE_TICK_SHIFT) as u32
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

    /// As libraries come and go on a machine with memory for eight of them: each has its own rows while it has any.
    #[test]
    fn memory_stays_flat_while_a_thousand_tables_come_and_go() {
        const ROWS: u32 = 50_000;
        const AT_ONCE: usize = 6;
        let mut sampler = match Sampler::load(Configuration::default(), 4 << 20) {
            Ok(sampler) => sampler,
            Err(error) => {
                return println!(
                    "skipped: memory_stays_flat_while_a_thousand_tables_come_and_go: {error}"
                );
            }
        };
        let store = &mut sampler.rows;
        let mut now = Instant::now();
        let mut loaded: std::collections::VecDeque<(u32, u32)> = std::collections::VecDeque::new();
        for number in 0..1000 {
            let table = store.add_table(now).unwrap();
            assert_eq!(store.find_rule(table, 7, 1), RowSearch::Awaited);
            let rows: Vec<UnwindRow> = (0..ROWS + number)
                .map(|index| UnwindRow {
                    pc: index * 4,
                    rule: number ^ index,
                })
                .collect();
            if loaded.len() == AT_ONCE {
                let (oldest, _) = loaded.pop_front().unwrap();
                store.clear(oldest, true, now);
                assert_eq!(store.find_rule(oldest, 7, 1), RowSearch::Awaited);
                store.release(oldest, now);
            }
            // A sample in progress may still read them.
            now += Duration::from_secs(1);
            assert!(store.fill(table, &rows, now).unwrap(), "table {number}");
            loaded.push_back((table, number));
            for (table, number) in &loaded {
                for index in [0, 1, ROWS / 2, ROWS - 1] {
                    let rule = RowSearch::Rule(number ^ index);
                    assert_eq!(store.find_rule(*table, index * 4 + 3, 1), rule);
                }
            }
            assert!(store.bytes() <= 4 << 20);
        }
        assert!(loaded.iter().all(|(table, _)| *table < 32), "{loaded:?}");
    }

    #[test]
    fn cpu_lists_of_sysfs_are_read() {
        assert_eq!(parse_cpu_list("0-3,5,8-9"), [0, 1, 2, 3, 5, 8, 9]);
        assert_eq!(parse_cpu_list("0"), [0]);
        assert_eq!(parse_cpu_list(""), [0_u32; 0]);
    }
}
