use viperf_abi::{Configuration, limit};

/// CPUs that a ring of 8 MiB serves; one of twice that size serves more.
const CPUS_OF_SMALL_RING: u32 = 8;

/// Entries of the maps whose need depends on what is profiled. The memory of all is taken when they are made, and the ring
/// counts twice in a process that maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    mappings: usize,
    row_tables: usize,
    processes: usize,
    thread_states: usize,
    code_objects: usize,
    ring_bytes: usize,
    gils: usize,
    cpus: usize,
}

impl Capacity {
    /// What the configured targets need: all that the programs can use for a whole machine, less for one program and its
    /// children. Where the kernel has its own eviction (thread states, code objects) less costs time, not samples.
    pub(crate) fn of(configuration: &Configuration, cpus: u32) -> Self {
        let is_machine = configuration.report_every_exec != 0 || configuration.adopt != 0;
        let part = if is_machine { 1 } else { 4 };
        let processes = limit::MAX_PROCESSES / part;
        Self {
            // A tree can have many processes with the same few hundred mappings each.
            mappings: limit::MAX_MAPPINGS / part.min(2),
            row_tables: limit::MAX_ROW_TABLES / part,
            processes,
            thread_states: limit::MAX_THREAD_STATES / part,
            code_objects: limit::MAX_CODE_OBJECTS / part,
            ring_bytes: match cpus {
                ..=CPUS_OF_SMALL_RING => 8 << 20,
                _ => 16 << 20,
            },
            gils: if configuration.gil == 0 { 1 } else { processes },
            cpus: cpus as usize,
        }
    }

    /// The entries of the map of this name; `None` where the programs say how many.
    pub(crate) fn entries(&self, map: &str) -> Option<u32> {
        let entries = match map {
            "mappings" => self.mappings,
            "row_tables" => self.row_tables,
            "processes" => self.processes,
            "thread_states" => self.thread_states,
            "codes" => self.code_objects,
            "records" => self.ring_bytes,
            "gils" => self.gils,
            "stack_caches" | "scratches" => self.cpus,
            _ => return None,
        };
        u32::try_from(entries).ok()
    }

    /// Entries of `mappings`.
    pub(crate) fn mappings(&self) -> usize {
        self.mappings
    }

    /// Entries of `row_tables`.
    pub(crate) fn row_tables(&self) -> usize {
        self.row_tables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_takes_less_than_the_machine_and_the_ring_is_whole_pages_of_a_power_of_two() {
        let machine = Configuration {
            report_every_exec: 1,
            ..Configuration::default()
        };
        let (machine, program) = (
            Capacity::of(&machine, 64),
            Capacity::of(&Configuration::default(), 2),
        );
        assert_eq!(machine.mappings(), limit::MAX_MAPPINGS);
        assert_eq!(
            machine.entries("codes"),
            Some(limit::MAX_CODE_OBJECTS as u32)
        );
        for map in ["mappings", "row_tables", "processes", "codes", "records"] {
            assert!(program.entries(map) < machine.entries(map), "{map}");
        }
        assert!(
            program
                .entries("records")
                .is_some_and(|bytes| bytes.is_power_of_two() && bytes % 4096 == 0)
        );
        assert_eq!(program.entries("scratches"), Some(2));
        assert_eq!(program.entries("unwind_rows"), None);
    }
}
