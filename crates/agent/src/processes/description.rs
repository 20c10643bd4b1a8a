//! What the profile says of a process.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use viperf_abi::ProcessRecord;
use viperf_process::{ContainerFacts, ControlGroup, Pid};
use viperf_profile::{Placement, Process, StringTable};

use super::Processes;

/// So many control groups are remembered; beyond that they are read again.
const REMEMBERED_PLACEMENTS: usize = 4096;

/// What the profile says of a process. An exec makes a new one.
#[derive(Clone, Debug)]
pub(crate) struct ProcessDescription {
    pub(crate) pid: u32,
    pub(crate) parent: Option<u32>,
    pub(crate) name: String,
    pub(crate) title: Option<String>,
    pub(crate) command_line: String,
    pub(crate) python_version: Option<String>,
    pub(crate) start_time_ns: u64,
    place: Option<Arc<Place>>,
}

/// A control group and whose it is.
#[derive(Debug)]
struct Place {
    group: ControlGroup,
    facts: ContainerFacts,
}

/// The control groups that were met, by path. A container keeps its names as long as it lives.
#[derive(Debug, Default)]
pub(crate) struct Placements(HashMap<String, Arc<Place>>);

impl Placements {
    fn read(&mut self, pid: u32) -> Option<Arc<Place>> {
        let group = viperf_process::read_control_group(Pid(pid)).ok()?;
        if let Some(known) = self.0.get(&group.path) {
            return Some(Arc::clone(known));
        }
        if self.0.len() >= REMEMBERED_PLACEMENTS {
            self.0.clear();
        }
        let facts = viperf_process::read_container_facts(&group);
        let path = group.path.clone();
        let place = Arc::new(Place { group, facts });
        // A container's own files are written while it starts: what is not there yet may be there for its next process.
        if place.group.container.is_none() || place.facts != ContainerFacts::default() {
            self.0.insert(path, Arc::clone(&place));
        }
        Some(place)
    }
}

impl ProcessDescription {
    /// A process of which nothing has been read.
    pub(crate) fn new(pid: u32, parent: Option<u32>) -> Self {
        Self {
            pid,
            parent,
            name: format!("pid {pid}"),
            title: None,
            command_line: String::new(),
            python_version: None,
            start_time_ns: 0,
            place: None,
        }
    }

    /// A child has what its parent has, until it is read itself.
    pub(super) fn forked(&self, record: &ProcessRecord) -> Self {
        Self {
            pid: record.tgid,
            parent: Some(record.parent_tgid),
            start_time_ns: record.time_ns,
            ..self.clone()
        }
    }

    /// Reads what a process can change at any time: programs rename themselves.
    pub(super) fn read_names(&mut self, title_of_parent: Option<&str>) {
        let pid = Pid(self.pid);
        if let Ok(name) = viperf_process::read_comm(pid) {
            self.name = name;
        }
        // A process that ends has no arguments any longer; it keeps those it had.
        let arguments = viperf_process::read_argument_text(pid);
        if let Some(text) = arguments.ok().filter(|text| !text.is_empty()) {
            self.title = viperf_process::describe_program(&text, &self.name, title_of_parent);
            let words: Vec<_> = text
                .split(|&byte| byte == 0)
                .map(String::from_utf8_lossy)
                .collect();
            self.command_line = words.join(" ").trim_end().to_owned();
        }
        if self.parent.is_none() {
            self.parent = viperf_process::read_parent(pid).ok().map(|parent| parent.0);
        }
    }

    /// Whether it is called otherwise by now: the name of its first thread, ended by a NUL, is its own.
    pub(super) fn is_renamed(&self, name_of_thread: &[u8]) -> bool {
        until_nul(name_of_thread) != self.name.as_str()
    }

    /// It is called as its first thread is.
    pub(super) fn rename(&mut self, name_of_thread: &[u8]) {
        self.name = until_nul(name_of_thread).into_owned();
    }

    /// What it is called, as far as that can change.
    pub(super) fn names(&self) -> (String, Option<String>, String) {
        (
            self.name.clone(),
            self.title.clone(),
            self.command_line.clone(),
        )
    }

    /// Reads where it runs and since when, which seldom changes.
    pub(super) fn read_place(&mut self, placements: &mut Placements) {
        if let Ok(start_time_ns) = viperf_process::read_start_time_ns(Pid(self.pid)) {
            self.start_time_ns = start_time_ns;
        }
        self.place = placements.read(self.pid).or(self.place.take());
    }

    /// Its row in a profile.
    pub(crate) fn intern(&self, strings: &mut StringTable) -> Process {
        let name = strings.intern(&self.name);
        let command_line = strings.intern(&self.command_line);
        let mut optional = |text: Option<&str>| text.map(|text| strings.intern(text));
        let title = optional(self.title.as_deref());
        let python_version = optional(self.python_version.as_deref());
        let placement = self.place.as_deref().map(|Place { group, facts }| {
            let container = group.container.as_ref();
            let runtime = container
                .and_then(|container| container.runtime)
                .or(facts.runtime);
            Placement {
                cgroup: optional(Some(&group.path)),
                unit: optional(group.unit.as_deref()),
                container_id: optional(container.map(|container| container.id.as_str())),
                container_name: optional(facts.name.as_deref()),
                container_runtime: optional(runtime.map(viperf_process::Runtime::name)),
                container_image: optional(facts.image.as_deref()),
                pod: optional(facts.pod.as_deref()),
                pod_namespace: optional(facts.pod_namespace.as_deref()),
                pod_uid: optional(group.pod.as_ref().map(|pod| pod.uid.as_str())),
                pod_qos: optional(group.pod.as_ref().map(|pod| pod.qos)),
            }
        });
        Process {
            parent_pid: self.parent,
            title,
            python_version,
            start_time_ns: self.start_time_ns,
            placement: placement.unwrap_or_default(),
            ..Process::new(self.pid, name, command_line)
        }
    }
}

fn until_nul(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default())
}

impl Processes {
    /// What a target runs, in few words.
    pub(super) fn title(&self, pid: Option<u32>) -> Option<String> {
        let tracked = self.tracked.get(&pid?)?;
        self.descriptions.find(tracked.description)?.title.clone()
    }
}
