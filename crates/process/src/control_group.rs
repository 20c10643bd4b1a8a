//! What the path of a control group says: container, pod, systemd unit.

use crate::{Pid, ProcessError};

/// What makes and runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// Docker, also as the runtime of Kubernetes.
    Docker,
    /// containerd, mostly under Kubernetes or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// LXC, also under Incus, LXD and Proxmox.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
}

impl Runtime {
    /// As people write it, in small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::Nspawn => "systemd-nspawn",
        }
    }
}

/// A container, as far as the path of its control group tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its ID; for LXC and systemd-nspawn, whose containers have none, its name.
    pub id: String,
    /// Who made it; `None` where the path does not tell.
    pub runtime: Option<Runtime>,
}

/// A Kubernetes pod, as far as the path of its control group tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its UID.
    pub uid: String,
    /// `guaranteed`, `burstable` or `besteffort`.
    pub qos: &'static str,
}

/// What the path of a control group says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlGroup {
    /// From the root of the hierarchy: `/system.slice/ssh.service`.
    pub path: String,
    /// The container. Of containers in each other it is the outermost: what stands below that is that one's own claim.
    pub container: Option<Container>,
    /// The pod that the container belongs to.
    pub pod: Option<Pod>,
    /// The systemd unit of the machine that holds the process, unless that is the container.
    pub unit: Option<String>,
}

/// A path longer than this is cut: the kernel's own limit.
const PATH_BYTES: usize = 4096;

/// More hierarchies than this are not looked at; the kernel has some fifteen controllers.
const MOST_PATHS: usize = 32;

/// Reads the control group of a process.
///
/// # Errors
///
/// [`ProcessError::NoSuchProcess`], [`ProcessError::NotPermitted`], [`ProcessError::Io`].
pub fn read_control_group(pid: Pid) -> Result<ControlGroup, ProcessError> {
    let text = std::fs::read(format!("/proc/{pid}/cgroup"))
        .map_err(|source| ProcessError::from_io(pid, "control group", source))?;
    Ok(parse_control_group(&text))
}

/// From the text of `/proc/PID/cgroup` ([`cgroups(7)`](https://man7.org/linux/man-pages/man7/cgroups.7.html)): the path in the
/// unified hierarchy, or, where that is not in use, in systemd's or that of a controller. Where both versions are in use, a
/// container may be in one of them only: the first of these paths that leads to one is taken.
#[must_use]
pub fn parse_control_group(text: &[u8]) -> ControlGroup {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        })
        .collect();
    let preference = |controllers: &str| match controllers {
        "" => 0,
        "name=systemd" => 1,
        _ => 2,
    };
    let mut paths: Vec<(u32, &str)> = lines
        .iter()
        .map(|(controllers, path)| (preference(controllers), *path))
        .filter(|(_, path)| *path != "/")
        .collect();
    paths.sort_by_key(|(preference, _)| *preference);
    // Controllers mostly agree.
    paths.dedup_by_key(|(_, path)| *path);
    paths.truncate(MOST_PATHS);
    let mut groups = paths.iter().map(|(_, path)| describe_path(path));
    let preferred = groups.next();
    let preferred = preferred.unwrap_or_else(|| {
        let first = lines.first();
        describe_path(first.map_or("", |(_, path)| path))
    });
    if preferred.container.is_some() {
        return preferred;
    }
    let in_container = groups.find(|group| group.container.is_some());
    in_container.unwrap_or(preferred)
}

/// What a path says.
fn describe_path(path: &str) -> ControlGroup {
    let end = (0..=PATH_BYTES.min(path.len()))
        .rev()
        .find(|&end| path.is_char_boundary(end));
    let path = path.get(..end.unwrap_or(0)).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut group = ControlGroup {
        path: path.to_owned(),
        ..ControlGroup::default()
    };
    let mut qos = "guaranteed";
    for (index, part) in parts.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| parts.get(index));
        if let Some(class) = ["burstable", "besteffort"]
            .into_iter()
            .find(|class| *part == *class || is_slice_of(part, class))
        {
            qos = class;
        }
        if let Some(uid) = find_pod(part, before.copied()) {
            let class = ["burstable", "besteffort"]
                .into_iter()
                .find(|class| part.contains(class));
            let qos = class.unwrap_or(qos);
            group.pod = Some(Pod { uid, qos });
        }
        let container = find_container(part, before.copied(), group.pod.is_some());
        if let Some(container) = container {
            group.container = Some(container);
            group.unit = None;
            return group;
        }
        let is_unit = part.ends_with(".service") || part.ends_with(".scope");
        // A slice holds units; it is one for a process that is in no other.
        let is_bare_slice =
            part.ends_with(".slice") && group.unit.is_none() && index + 1 == parts.len();
        if is_unit || is_bare_slice {
            group.unit = Some((*part).to_owned());
        }
    }
    group
}

fn is_slice_of(part: &str, class: &str) -> bool {
    part.strip_suffix(".slice")
        .is_some_and(|part| part.ends_with(&format!("kubepods-{class}")))
}

/// `pod<UID>` (cgroupfs), `kubepods-burstable-pod<UID>.slice` (systemd, with `_` for `-`), the same before `:` in containerd's
/// mixed form. The UID is a UUID, or 32 digits for a pod that the node itself defines.
fn find_pod(part: &str, before: Option<&str>) -> Option<String> {
    let part = part.split(':').next().unwrap_or(part);
    let is_below = matches!(before, Some("kubepods" | "burstable" | "besteffort"));
    let uid = match part.strip_suffix(".slice") {
        Some(slice) => slice
            .find("kubepods")
            .and_then(|start| slice.get(start..)?.split_once("pod").map(|_| slice))
            .and_then(|slice| slice.rsplit_once("-pod")),
        None => part
            .strip_prefix("pod")
            .filter(|_| is_below)
            .map(|uid| ("", uid)),
    };
    let (_, uid) = uid?;
    let uid = uid.replace('_', "-");
    let digits = uid.chars().filter(char::is_ascii_hexdigit).count();
    let is_uid = digits == 32
        && uid
            .chars()
            .all(|character| character.is_ascii_hexdigit() || character == '-');
    is_uid.then_some(uid)
}

/// The container whose control group has this name.
pub(crate) fn find_container(part: &str, before: Option<&str>, in_pod: bool) -> Option<Container> {
    let with = |id: &str, runtime| {
        Some(Container {
            id: id.to_owned(),
            runtime,
        })
    };
    // containerd's mixed form: `kubepods-burstable-pod<UID>.slice:cri-containerd:<ID>`, `system.slice:docker:<ID>`.
    if let [_, prefix, id] = part.split(':').collect::<Vec<_>>().as_slice()
        && is_id(id)
    {
        return with(id, runtime_of_prefix(prefix));
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    if let Some((prefix, id)) = name.rsplit_once('-')
        && is_id(id)
        && !prefix.ends_with("conmon")
    {
        let runtime = runtime_of_prefix(prefix);
        // Other scopes may end in 64 digits, too; a prefix that nobody knows is one only in a pod.
        return (runtime.is_some() || in_pod).then(|| with(id, runtime))?;
    }
    if is_id(part) {
        return with(part, before.and_then(runtime_of_folder));
    }
    if before == Some("ecs") || before.is_some_and(is_task) && is_task_container(part) {
        return is_task_container(part).then(|| with(part, Some(Runtime::Docker)))?;
    }
    find_named_container(part, before)
}

/// LXC and systemd-nspawn, which know containers by name.
fn find_named_container(part: &str, before: Option<&str>) -> Option<Container> {
    let named = |name: &str, runtime| {
        (!name.is_empty()).then(|| Container {
            id: unescape(name),
            runtime: Some(runtime),
        })
    };
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return named(name, Runtime::Lxc);
    }
    if matches!(before, Some("lxc" | "lxc.payload")) {
        return named(part, Runtime::Lxc);
    }
    if let Some(name) = part.strip_prefix("systemd-nspawn@") {
        return named(name.strip_suffix(".service")?, Runtime::Nspawn);
    }
    let machine = part.strip_prefix("machine-")?.strip_suffix(".scope")?;
    // Those of libvirt: virtual machines, whose processes are the machine's own.
    let is_virtual = machine.starts_with(r"qemu\x2d") || machine.starts_with(r"lxc\x2d");
    (!is_virtual).then(|| named(machine, Runtime::Nspawn))?
}

fn runtime_of_prefix(prefix: &str) -> Option<Runtime> {
    match prefix {
        "docker" => Some(Runtime::Docker),
        "cri-containerd" | "containerd" | "nerdctl" => Some(Runtime::Containerd),
        "crio" => Some(Runtime::CriO),
        "libpod" => Some(Runtime::Podman),
        _ => None,
    }
}

fn runtime_of_folder(folder: &str) -> Option<Runtime> {
    match folder {
        "docker" | "actions_job" => Some(Runtime::Docker),
        // containerd's namespaces, with the driver that makes folders.
        "default" | "k8s.io" => Some(Runtime::Containerd),
        _ => None,
    }
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hexadecimal(text)
}

/// A task of Amazon ECS: 32 digits, or a UUID.
fn is_task(text: &str) -> bool {
    is_hexadecimal(&text.replace('-', "")) && text.replace('-', "").len() == 32
}

/// A container of a task of Amazon ECS on Fargate: `<task>-<number>`.
fn is_task_container(text: &str) -> bool {
    text.rsplit_once('-').is_some_and(|(task, number)| {
        is_task(task) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// systemd's `\x2d` for `-`: <https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html>.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(start) = rest.find(r"\x") {
        let (before, after) = rest.split_at(start);
        bytes.extend_from_slice(before.as_bytes());
        let code = after
            .get(2..4)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(br"\x"),
        }
        let used = if code.is_some() { 4 } else { 2 };
        rest = after.get(used..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
