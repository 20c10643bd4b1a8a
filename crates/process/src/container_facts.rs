//! Names of containers and pods, from the files that runtimes keep on the machine.

mod parse;

use std::{
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{ControlGroup, Runtime};

/// More of a container's description is not read.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// More entries of a folder are not looked at.
const FOLDER_ENTRIES: usize = 16 * 1024;

/// What is known of a container and its pod. Each is `None` when it does not apply or cannot be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Who made the container, where its files tell and its control group does not.
    pub runtime: Option<Runtime>,
    /// The container's name; in a pod, the name that the pod gives it.
    pub name: Option<String>,
    /// The image it was made from.
    pub image: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's namespace.
    pub pod_namespace: Option<String>,
}

/// What the runtimes' files on this machine say of the container that holds a control group.
///
/// No daemon is asked. Only regular files of the superuser are read, below the folders that runtimes use by default, and
/// nothing is looked up for a control group below `user.slice`: there a user makes containers, and can give any ID to one.
#[must_use]
pub fn read_container_facts(group: &ControlGroup) -> ContainerFacts {
    read_facts_below(Path::new("/"), group, 0)
}

/// `owner`: the user whose files are believed.
fn read_facts_below<'a>(root: &'a Path, group: &ControlGroup, owner: u32) -> ContainerFacts {
    let files = Files { root, owner };
    let is_users_own = group
        .path
        .split('/')
        .find(|part| !part.is_empty() && *part != "..")
        == Some("user.slice");
    let Some(container) = group.container.as_ref().filter(|_| !is_users_own) else {
        return ContainerFacts::default();
    };
    // The ID becomes part of paths: a name such as `..` must not.
    let is_id = container.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || container.id.len() != 64 {
        return ContainerFacts::default();
    }
    let mut facts = ContainerFacts::default();
    let sources: [fn(&Files<'a>, &str) -> Option<ContainerFacts>; 4] = [
        Files::read_docker,
        Files::read_containerd,
        Files::read_storage,
        Files::read_log_name,
    ];
    for source in sources {
        facts.add(source(&files, &container.id).unwrap_or_default());
        if facts.name.is_some() && (group.pod.is_none() || facts.pod.is_some()) {
            break;
        }
    }
    if let (Some(pod), None) = (&group.pod, &facts.pod) {
        facts.add(files.read_pod_name(&pod.uid).unwrap_or_default());
    }
    facts
}

impl ContainerFacts {
    /// Takes what is not known yet.
    fn add(&mut self, other: Self) {
        let Self {
            runtime,
            name,
            image,
            pod,
            pod_namespace,
        } = other;
        self.runtime = self.runtime.or(runtime);
        for (own, other) in [
            (&mut self.name, name),
            (&mut self.image, image),
            (&mut self.pod, pod),
            (&mut self.pod_namespace, pod_namespace),
        ] {
            if own.is_none() {
                *own = other.filter(|text| !text.is_empty());
            }
        }
    }
}

/// Where the files are, and whose they must be.
struct Files<'a> {
    root: &'a Path,
    owner: u32,
}

impl Files<'_> {
    /// <https://github.com/moby/moby/blob/v27.0.0/container/container.go>: `config.v2.json`.
    fn read_docker(&self, id: &str) -> Option<ContainerFacts> {
        let configured = self.read("etc/docker/daemon.json");
        let configured = configured.and_then(|text| parse::parse_docker_root(&text));
        let folder = match configured {
            Some(folder) => PathBuf::from(folder.trim_start_matches('/')),
            None => PathBuf::from("var/lib/docker"),
        };
        let file = folder.join("containers").join(id).join("config.v2.json");
        parse::parse_docker(&self.read(file)?)
    }

    /// The OCI description of a running container: by containerd's namespace, then the ID.
    fn read_containerd(&self, id: &str) -> Option<ContainerFacts> {
        const FOLDERS: [&str; 4] = [
            "run/containerd",
            "run/k3s/containerd",
            "run/docker/containerd/daemon",
            "var/snap/microk8s/common/run/containerd",
        ];
        for folder in FOLDERS {
            let tasks = Path::new(folder).join("io.containerd.runtime.v2.task");
            for namespace in self.list(&tasks) {
                let file = tasks.join(&namespace).join(id).join("config.json");
                if let Some(text) = self.read(file) {
                    return parse::parse_oci(&text, &namespace);
                }
            }
        }
        None
    }

    /// What Podman and CRI-O store: a list of all containers, and the OCI description of each.
    fn read_storage(&self, id: &str) -> Option<ContainerFacts> {
        const FOLDERS: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];
        let mut facts = ContainerFacts::default();
        for folder in FOLDERS {
            let folder = Path::new(folder).join("overlay-containers");
            let own = self.read(folder.join(id).join("userdata/config.json"));
            facts.add(
                own.and_then(|text| parse::parse_oci(&text, ""))
                    .unwrap_or_default(),
            );
            let list = self.read(folder.join("containers.json"));
            facts.add(
                list.and_then(|text| parse::parse_storage(&text, id))
                    .unwrap_or_default(),
            );
        }
        Some(facts)
    }

    /// The name of a container's log, which the kubelet makes: `<pod>_<namespace>_<container>-<id>.log`.
    fn read_log_name(&self, id: &str) -> Option<ContainerFacts> {
        let end = format!("-{id}.log");
        let names = self.list(Path::new("var/log/containers"));
        let name = names.iter().find_map(|name| name.strip_suffix(&end))?;
        let mut parts = name.splitn(3, '_').map(str::to_owned);
        Some(ContainerFacts {
            pod: parts.next(),
            pod_namespace: parts.next(),
            name: parts.next(),
            ..ContainerFacts::default()
        })
    }

    /// The name of the folder of a pod's logs, which the kubelet makes: `<namespace>_<pod>_<uid>`.
    fn read_pod_name(&self, uid: &str) -> Option<ContainerFacts> {
        let end = format!("_{uid}");
        let names = self.list(Path::new("var/log/pods"));
        let name = names.iter().find_map(|name| name.strip_suffix(&end))?;
        let (namespace, pod) = name.split_once('_')?;
        Some(ContainerFacts {
            pod: Some(pod.to_owned()),
            pod_namespace: Some(namespace.to_owned()),
            ..ContainerFacts::default()
        })
    }

    /// A regular file of the owner's, whole; `None` when there is none or it is too large.
    fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        // Without waiting for the writer of a FIFO.
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(self.root.join(path))
            .ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.uid() != self.owner || metadata.len() > FILE_BYTES {
            return None;
        }
        let mut text = Vec::new();
        file.take(FILE_BYTES).read_to_end(&mut text).ok()?;
        Some(text)
    }

    /// The names in a folder.
    fn list(&self, path: &Path) -> Vec<String> {
        fs::read_dir(self.root.join(path))
            .into_iter()
            .flatten()
            .take(FOLDER_ENTRIES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect()
    }
}

#[cfg(test)]
mod tests;
