//! The only reader of `/proc`: mappings, identity, threads, remote memory, own capabilities; and who runs a process: what its
//! arguments, its control group and the files of container runtimes say.
//!
//! **What it does.** Every function reads one fact about one process and returns a value.
//! The texts of `/proc` are parsed by pure functions ([`parse_mappings`] is public for tests and for recorded texts);
//! everything named `read_`, `list_` or `open_` does I/O.
//!
//! **What it asks of you.** Privileges: another user's process needs `CAP_SYS_PTRACE`, and
//! `/proc/PID/map_files` needs `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`.
//! [`Pid`] and [`Tid`] are numbers of *our* PID namespace; [`read_namespaced_tid`] gives the number a thread calls itself.
//!
//! **What it will not do.** It never stops, traces or changes a process, and never trusts what it reads:
//! a process that ends halfway is [`ProcessError::NoSuchProcess`], never a panic, and a number that has been given
//! to another process is told apart by [`read_start_time`].
//!
//! ```
//! use viperf_process::{Pid, read_mappings};
//!
//! let own = Pid(std::process::id());
//! let executable = read_mappings(own)?.into_iter().filter(|mapping| mapping.executable).count();
//! assert!(executable > 0);
//! # Ok::<(), viperf_process::ProcessError>(())
//! ```

mod capabilities;
mod container_facts;
mod control_group;
mod control_group_tree;
mod error;
mod host;
mod identity;
mod living_thread;
mod mapped_file;
mod mappings;
mod memory;
mod memory_reader;
mod own_usage;
mod patience;
mod process_list;
mod program_title;
mod target_file;

pub use capabilities::{Capabilities, Capability, effective_capabilities, give_up_capabilities};
pub use container_facts::{ContainerFacts, read_container_facts};
pub use control_group::{
    Container, ControlGroup, Pod, Runtime, parse_control_group, read_control_group,
};
pub use control_group_tree::{
    ControlGroupVersion, find_control_groups, list_containers, list_control_group,
    read_control_group_version,
};
pub use error::ProcessError;
pub use host::{read_hostname, read_kernel_release};
pub use identity::{
    has_thread, is_gone, is_in_first_pid_namespace, is_kernel_thread, read_argument_text,
    read_comm, read_command_line, read_namespaced_tid, read_parent, read_start_time,
    read_start_time_ns, read_thread_comm, read_thread_group,
};
pub use living_thread::root_folder;
pub use mapped_file::{is_unchanged_for, open_file_of_departed, open_mapped_file};
pub use mappings::{Mapping, MappingKind, parse_mappings, parse_recorded_path, read_mappings};
pub use memory::read_memory;
pub use memory_reader::MemoryReader;
pub use own_usage::{
    OwnUsage, Priority, give_freed_memory_back, raise_open_file_limit, read_map_memory,
    read_own_usage, set_priority,
};
pub use process_list::{descendants, list_children, list_processes, list_threads};
pub use program_title::describe_program;
pub use target_file::{read_file_of, read_start_instant};

/// A process as people count them: the kernel's *tgid*, in our own PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

/// A thread: the kernel's *pid*, in our own PID namespace. A process's first thread has the number of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub u32);

impl std::fmt::Display for Pid {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::fmt::Display for Tid {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}
