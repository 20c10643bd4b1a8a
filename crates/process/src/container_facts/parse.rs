//! The runtimes' descriptions of containers, as JSON.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ContainerFacts;
use crate::Runtime;

/// A name longer than this is cut; images may bring labels of any length.
const NAME_BYTES: usize = 256;

type Labels = BTreeMap<String, serde_json::Value>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    #[serde(default)]
    name: String,
    config: Option<DockerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<Labels>,
}

/// `config.v2.json`. In a pod the labels of the kubelet (dockershim, cri-dockerd) name it.
pub(super) fn parse_docker(text: &[u8]) -> Option<ContainerFacts> {
    let Docker { name, config } = serde_json::from_slice(text).ok()?;
    let (image, labels) = match config {
        Some(DockerConfig { image, labels }) => (image, labels.unwrap_or_default()),
        None => Default::default(),
    };
    let own_name = name.trim_start_matches('/').to_owned();
    Some(ContainerFacts {
        runtime: Some(Runtime::Docker),
        name: label(&labels, &["io.kubernetes.container.name"]).or_else(|| bounded(&own_name)),
        image: bounded(&image),
        pod: label(&labels, &["io.kubernetes.pod.name"]),
        pod_namespace: label(&labels, &["io.kubernetes.pod.namespace"]),
    })
}

/// `data-root` of `/etc/docker/daemon.json`.
pub(super) fn parse_docker_root(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Daemon {
        #[serde(rename = "data-root")]
        data_root: String,
    }
    let Daemon { data_root } = serde_json::from_slice(text).ok()?;
    data_root.starts_with('/').then_some(data_root)
}

/// The annotations of an OCI description: those of containerd's CRI plugin, of CRI-O and of nerdctl. `namespace` is
/// containerd's, empty for other runtimes; Docker uses `moby`.
pub(super) fn parse_oci(text: &[u8], namespace: &str) -> Option<ContainerFacts> {
    #[derive(Deserialize)]
    struct Description {
        #[serde(default)]
        annotations: Option<Labels>,
    }
    let Description { annotations } = serde_json::from_slice(text).ok()?;
    let annotations = annotations.unwrap_or_default();
    let is_crio = annotations
        .keys()
        .any(|key| key.starts_with("io.kubernetes.cri-o."));
    let runtime = match namespace {
        "moby" => Some(Runtime::Docker),
        "" => is_crio.then_some(Runtime::CriO),
        _ => Some(Runtime::Containerd),
    };
    let is_sandbox = label(
        &annotations,
        &[
            "io.kubernetes.cri.container-type",
            "io.kubernetes.cri-o.ContainerType",
        ],
    )
    .is_some_and(|kind| kind == "sandbox");
    let name = [
        "io.kubernetes.cri.container-name",
        "io.kubernetes.container.name",
        "nerdctl/name",
    ];
    Some(ContainerFacts {
        runtime,
        name: label(&annotations, &name).or_else(|| is_sandbox.then(|| "POD".to_owned())),
        image: label(
            &annotations,
            &[
                "io.kubernetes.cri.image-name",
                "io.kubernetes.cri-o.ImageName",
            ],
        ),
        pod: label(
            &annotations,
            &["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"],
        ),
        pod_namespace: label(
            &annotations,
            &[
                "io.kubernetes.cri.sandbox-namespace",
                "io.kubernetes.pod.namespace",
            ],
        ),
    })
}

/// `containers.json` of containers/storage: names, and metadata that is JSON in a string.
pub(super) fn parse_storage(text: &[u8], id: &str) -> Option<ContainerFacts> {
    #[derive(Deserialize)]
    struct Stored {
        id: String,
        #[serde(default)]
        names: Option<Vec<String>>,
        #[serde(default)]
        metadata: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Metadata {
        #[serde(default)]
        image_name: String,
        /// CRI-O's.
        #[serde(default)]
        pod_name: Option<String>,
    }
    let all: Vec<Stored> = serde_json::from_slice(text).ok()?;
    let Stored {
        names, metadata, ..
    } = all.into_iter().find(|stored| stored.id == id)?;
    let Metadata {
        image_name,
        pod_name,
    } = serde_json::from_str(&metadata).unwrap_or_default();
    let runtime = match pod_name {
        Some(_) => Runtime::CriO,
        None => Runtime::Podman,
    };
    Some(ContainerFacts {
        runtime: Some(runtime),
        name: names
            .unwrap_or_default()
            .first()
            .and_then(|name| bounded(name)),
        image: bounded(&image_name),
        ..ContainerFacts::default()
    })
}

/// The first of these labels that is there.
fn label(labels: &Labels, names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| bounded(labels.get(*name)?.as_str()?))
}

/// A text that is not empty, cut where it is too long.
fn bounded(text: &str) -> Option<String> {
    let end = (0..=NAME_BYTES.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end))?;
    let text = text.get(..end)?;
    (!text.is_empty()).then(|| text.to_owned())
}
